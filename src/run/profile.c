#include "bench/bench.h"
#include "problem/problem_impl.h"
#include "run/run_impl.h"

#include <math.h>

/* Less than this may sit in caches; more tells nothing new. */
enum { LEAST_BYTES = 64 << 20, MOST_BYTES = 512 << 20 };

static const double limit_takes_s = 0.1;

mxs_status mxsi_profile_limit(mxsi_run *run) {
  int64_t bytes = 0;
  const char *rows = mxsi_problem_stored(run->problem, &bytes);
  run->limit = (double)NAN;
  if (mxs_comm_spread(run->comm, (double)bytes).min < (double)LEAST_BYTES)
    return MXS_OK;
  double rate = 0.0;
  const int64_t most = bytes < MOST_BYTES ? bytes : MOST_BYTES;
  const int threads = mxs_solver_profile(run->solver).threads;
  MXS_TRY(mxs_bench_read(run->comm, rows, most, threads, limit_takes_s, &rate));
  run->limit = mxs_comm_spread(run->comm, rate).mean;
  return MXS_OK;
}

mxsi_timings mxsi_profile_gather(const mxsi_run *run) {
  const mxs_problem_info *info = &run->info;
  const mxs_profile profile =
      run->solver != NULL ? mxs_solver_profile(run->solver) : (mxs_profile){0};
  mxsi_timings timings = {.load = mxs_comm_spread(run->comm, run->load_s),
                          .compute = mxs_comm_spread(run->comm, profile.compute_s),
                          .generate = mxs_comm_spread(run->comm, profile.generate_s),
                          .reduce = mxs_comm_spread(run->comm, profile.reduce_s),
                          .inner = mxs_comm_spread(run->comm, profile.inner_s),
                          .metrics = mxs_comm_spread(run->comm, profile.metrics_s),
                          .checkpoint = mxs_comm_spread(run->comm, profile.checkpoint_s),
                          .wall = mxs_clock() - run->began_at,
                          .visits = profile.passes,
                          .reduce_bytes = profile.reduce_bytes,
                          .limit = run->limit,
                          .path = info->path[0] != '\0' ? info->path : info->operator_name};
  if (run->progress.first >= 0)
    timings.passes = run->progress.iteration - run->progress.first + 1;
  const double entries =
      profile.passes * (double)info->rows_local * (double)info->n1 * (double)info->n2;
  const double rate = profile.compute_s > 0.0 ? entries / profile.compute_s : 0.0;
  int64_t bytes = 0;
  const int stored = run->problem != NULL && mxsi_problem_stored(run->problem, &bytes) != NULL;
  timings.entries_s = mxs_comm_spread(run->comm, rate);
  timings.bytes_s =
      mxs_comm_spread(run->comm, stored ? rate * mxs_storage_bytes(info->storage) : 0.0);
  return timings;
}

double mxsi_fraction_of_limit(const mxsi_timings *timings) {
  return timings->limit > 0.0 ? timings->bytes_s.mean / timings->limit : (double)NAN;
}
