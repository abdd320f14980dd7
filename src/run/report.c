#include "conf/build.h"
#include "optim/optim.h"
#include "run/run_impl.h"

#include <math.h>
#include <string.h>

enum { LINE_SIZE = 512, ERROR_SIZE = 160 };

static void bytes_text(double bytes, char text[32]) {
  static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
  size_t unit = 0;
  for (; bytes >= 999.5 && unit < 4; unit++)
    bytes /= 1000;
  (void)snprintf(text, 32, "%.3g %s", bytes, units[unit]);
}

static void number_text(double value, const char *automatic, char text[32]) {
  if (isnan(value))
    (void)snprintf(text, 32, "%s", automatic);
  else
    (void)snprintf(text, 32, "%.6g", value);
}

static void say(mxsi_run *run, const char *label, const char *text) {
  mxsi_log_line(&run->log, MXSI_BOTH, "  %-11s%s", label, text);
}

void mxsi_report_load(mxsi_run *run) {
  char line[128];
  say(run, "directory", run->path);
  if (run->resumed != NULL) {
    (void)snprintf(line, sizeof line, "from iteration %lld",
                   (long long)mxs_ckpt_get_info(run->resumed)->iteration);
    say(run, "resumed", line);
  }
  say(run, "problem", run->settings.problem);
  if (run->root && isfinite(run->time_up_at)) {
    char left[32];
    mxs_duration_text(fmax(run->time_up_at - mxs_clock(), 0.0), left);
    (void)snprintf(line, sizeof line, "stops with a checkpoint within %s%s", left,
                   isnan(run->settings.max_walltime) ? ", when the Slurm job ends" : "");
    say(run, "time", line);
  }
}

static void report_problem(mxsi_run *run) {
  const mxs_problem_info *info = &run->info;
  char line[512], held_out[64] = "", truth[96] = "";
  char stored[16] = "";
  if (info->storage != MXS_STORAGE_AS_FILE)
    (void)snprintf(stored, sizeof stored, " (%s)", mxs_storage_name(info->storage));
  if (info->m_validation > 0)
    (void)snprintf(held_out, sizeof held_out, " + %lld held out", (long long)info->m_validation);
  if (info->truth_rank > 0) {
    const double r = (double)info->truth_rank;
    (void)snprintf(truth, sizeof truth, ", truth of rank %.0f, m / (r (n1 + n2 - r)) = %.3g", r,
                   (double)info->m / (r * ((double)info->n1 + (double)info->n2 - r)));
  }
  (void)snprintf(line, sizeof line, "%lld x %lld, m = %lld%s, %s%s%s", (long long)info->n1,
                 (long long)info->n2, (long long)info->m, held_out,
                 mxs_ensemble_name(info->ensemble), stored, truth);
  say(run, "", line);
}

/* Where the factors start, if not at those of a file: what `init` says, or suits the method. */
static mxs_start start_of(const mxsi_run *run) {
  const mxs_start wanted = mxs_settings_start(&run->settings);
  const mxs_start natural = mxs_rule_of((mxs_method)run->settings.method)->start;
  return wanted != MXS_START_AUTO ? wanted : natural != MXS_START_AUTO ? natural : MXS_START_RANDOM;
}

static void report_start(mxsi_run *run, char line[LINE_SIZE]) {
  const mxs_settings *settings = &run->settings;
  const char *automatic = run->k_given ? "" : " (auto)";
  const mxs_replica one = mxs_settings_replica(settings, 0);
  const int from_file = strncmp(settings->init, "file:", 5) == 0;
  const mxs_start start = start_of(run);
  const char *from_data = start == MXS_START_NYSTROM ? "start from a sketch of A*(y)"
                                                     : "start from singular vectors of A*(y)";
  char alpha[32];
  number_text(one.alpha, "auto", alpha);
  if (run->replicas > 1)
    (void)snprintf(line, LINE_SIZE, "%lld replicas in every pass over A, %s%s",
                   (long long)run->replicas,
                   from_file                   ? "start from "
                   : start == MXS_START_RANDOM ? "random starts"
                                               : from_data,
                   from_file ? settings->init + 5 : "");
  else if (from_file)
    (void)snprintf(line, LINE_SIZE, "k = %lld%s, start from %s", (long long)one.k, automatic,
                   settings->init + 5);
  else if (start != MXS_START_RANDOM)
    (void)snprintf(line, LINE_SIZE, "k = %lld%s, %s", (long long)one.k, automatic, from_data);
  else
    (void)snprintf(line, LINE_SIZE, "k = %lld%s, random start, alpha %s, seed %llu",
                   (long long)one.k, automatic, alpha, (unsigned long long)one.seed);
  say(run, "factors", line);
}

static void report_automatic(mxsi_run *run) {
  const mxs_settings *settings = &run->settings;
  char line[LINE_SIZE];
  (void)snprintf(line, sizeof line, "automatic: rank (at most %lld%s), start and steps are found",
                 (long long)settings->k.values[0],
                 run->k_given ? "" : ", a quarter of the smaller side; k changes that");
  say(run, "method", line);
  if (run->info.m_validation == 0)
    say(run, "", "nothing is held out, so nothing can be certified: give hold_out: 0.1");
}

static void report_method(mxsi_run *run) {
  const mxs_settings *settings = &run->settings;
  char line[LINE_SIZE], step[32];
  if (settings->method == MXS_METHOD_AUTO) {
    report_automatic(run);
    return;
  }
  report_start(run, line);
  number_text(mxs_settings_replica(settings, 0).step, "auto", step);
  const mxs_method method = (mxs_method)settings->method;
  (void)snprintf(line, sizeof line, "%s%s%s, at most %lld iterations, tolerance %g",
                 method == MXS_METHOD_GD ? "gradient descent" : mxs_rule_of(method)->name,
                 run->replicas > 1 ? "" : ", step ", run->replicas > 1 ? "" : step,
                 (long long)settings->max_iterations, settings->tolerance);
  say(run, "method", line);
  if (run->replicas > 1)
    mxsi_sweep_list(run);
}

/* Threads that were asked for and do nothing. */
static void report_threads(mxsi_run *run) {
  const int used = mxs_solver_profile(run->solver).threads;
  char line[LINE_SIZE];
  if (used >= run->settings.threads)
    return;
  (void)snprintf(line, sizeof line, "%d of %lld: this operator takes one at a time", used,
                 (long long)run->settings.threads);
  say(run, "threads", line);
}

/* More threads than cores wait for each other. */
static void report_cores(mxsi_run *run) {
  const mxs_machine *machine = &run->machine;
  const int64_t threads = mxs_solver_profile(run->solver).threads;
  const int64_t all = machine->ranks_per_host * threads;
  if (machine->cores_per_rank == 0)
    return;
  if (all > machine->cores)
    mxsi_log_warn(&run->log,
                  "%lld rank%s of %lld thread%s share %lld core%s of a host, which takes at least "
                  "%.3g times as long as it needs to: give fewer; the result is the same",
                  (long long)machine->ranks_per_host, machine->ranks_per_host == 1 ? "" : "s",
                  (long long)threads, threads == 1 ? "" : "s", (long long)machine->cores,
                  machine->cores == 1 ? "" : "s", (double)all / (double)machine->cores);
  else if (threads > machine->cores_per_rank)
    mxsi_log_warn(&run->log,
                  "%lld threads of a rank share the %lld core%s that it is bound to: start it with "
                  "mpirun --bind-to none, or srun --cpus-per-task=%lld",
                  (long long)threads, (long long)machine->cores_per_rank,
                  machine->cores_per_rank == 1 ? "" : "s", (long long)threads);
}

void mxsi_report_begin(mxsi_run *run, double memory_bytes) {
  char line[512], memory[32];
  report_problem(run);
  report_method(run);
  (void)snprintf(line, sizeof line, "%s, %lld blocks of %lld measurements",
                 run->settings.reduction == MXS_REDUCTION_FAST ? "fast" : "reproducible",
                 (long long)run->info.blocks, (long long)run->info.rows_per_block);
  say(run, "reduction", line);
  if (run->comm->size > run->info.blocks)
    mxsi_log_warn(&run->log,
                  "%d ranks share %lld block%s, so some have nothing to do: give fewer ranks, or "
                  "smaller blocks (block_rows; gen --blocks for the ensemble fast)",
                  run->comm->size, (long long)run->info.blocks, run->info.blocks == 1 ? "" : "s");
  report_threads(run);
  report_cores(run);
  say(run, "kernel", run->info.path[0] != '\0' ? run->info.path : run->info.operator_name);
  bytes_text(memory_bytes, memory);
  (void)snprintf(line, sizeof line, "%s%s per rank",
                 run->settings.method == MXS_METHOD_AUTO ? "at most " : "", memory);
  say(run, "memory", line);
  (void)snprintf(line, sizeof line, "%s, BLAS kernel %s", run->machine.cpu,
                 run->machine.blas_kernel);
  say(run, "machine", line);
  if (run->settings.verbose) {
    const mxs_build build = mxs_build_get();
    (void)snprintf(line, sizeof line, "%s, %s, HDF5 %s", build.compiler, run->machine.mpi,
                   run->machine.hdf5);
    say(run, "build", line);
    say(run, "BLAS", run->machine.blas);
  }
}

static void report_share(mxsi_run *run, const char *what, mxs_spread seconds, double wall) {
  mxsi_log_line(&run->log, MXSI_BOTH, "  %-11s%10.3f  %10.3f  %10.3f  %5.1f %%", what, seconds.min,
                seconds.mean, seconds.max, wall > 0 ? 100 * seconds.mean / wall : 0);
}

static void report_table(mxsi_run *run, const mxsi_timings *timings) {
  mxsi_log_line(&run->log, MXSI_BOTH, "  %-11s%10s  %10s  %10s  %7s", "seconds", "min", "mean",
                "max", "share");
  report_share(run, "load", timings->load, timings->wall);
  report_share(run, "compute", timings->compute, timings->wall);
  report_share(run, "  generate", timings->generate, timings->wall);
  report_share(run, "reduce", timings->reduce, timings->wall);
  report_share(run, "inner", timings->inner, timings->wall);
  report_share(run, "metrics", timings->metrics, timings->wall);
  report_share(run, "checkpoint", timings->checkpoint, timings->wall);
}

static void report_time(mxsi_run *run, const mxsi_timings *timings) {
  const double percent = timings->wall > 0 ? 100 / timings->wall : 0;
  char line[256], elapsed[32], generate[48] = "", inner[48] = "";
  mxs_duration_text(timings->wall, elapsed);
  if (timings->generate.mean > 0)
    (void)snprintf(generate, sizeof generate, " (%.0f %% entries of A)",
                   percent * timings->generate.mean);
  if (timings->inner.mean > 0)
    (void)snprintf(inner, sizeof inner, "inner solve %.0f %%, ", percent * timings->inner.mean);
  (void)snprintf(
      line, sizeof line,
      "%s: compute %.0f %%%s, reduce %.0f %%, %smetrics %.0f %%, checkpoint %.0f %%, load "
      "%.0f %%",
      elapsed, percent * timings->compute.mean, generate, percent * timings->reduce.mean, inner,
      percent * timings->metrics.mean, percent * timings->checkpoint.mean,
      percent * timings->load.mean);
  say(run, "time", line);
}

static void report_rate(mxsi_run *run, const mxsi_timings *timings) {
  char line[256], bytes[48] = "", limit[64] = "";
  if (timings->bytes_s.mean > 0)
    (void)snprintf(bytes, sizeof bytes, ", %.3g GB/s", timings->bytes_s.mean * 1e-9);
  if (timings->limit > 0)
    (void)snprintf(limit, sizeof limit, ", %.2f of the limit %.3g GB/s",
                   mxsi_fraction_of_limit(timings), timings->limit * 1e-9);
  const double rate = timings->entries_s.mean * 1e-9;
  (void)snprintf(line, sizeof line, "%.4g passes over A: %.3g %s entries/s%s per rank%s",
                 timings->visits, rate < 1e3 ? rate : 1e-3 * rate, rate < 1e3 ? "G" : "T", bytes,
                 limit);
  say(run, "rate", line);
}

static void report_reduction(mxsi_run *run, const mxsi_timings *timings) {
  char line[160], bytes[32], slowest[64] = "";
  bytes_text((double)timings->reduce_bytes, bytes);
  if (run->comm->size > 1 && timings->compute.mean > 0)
    (void)snprintf(slowest, sizeof slowest, "; the slowest rank computes %.2f times the mean",
                   timings->compute.max / timings->compute.mean);
  (void)snprintf(line, sizeof line, "%s per iteration%s", bytes, slowest);
  say(run, "reduced", line);
}

static void report_profile(mxsi_run *run, const mxs_result *result, const mxsi_timings *timings) {
  char line[96];
  mxsi_log_line(&run->log, MXSI_BOTH, "%s", "");
  if (run->settings.verbose)
    report_table(run, timings);
  report_time(run, timings);
  report_rate(run, timings);
  report_reduction(run, timings);
  if (run->replicas == 1 && run->settings.method != MXS_METHOD_AUTO &&
      strncmp(run->settings.init, "file:", 5) != 0 && start_of(run) == MXS_START_RANDOM) {
    (void)snprintf(line, sizeof line, "alpha %.6g", result->alpha);
    say(run, "start", line);
  }
}

static void report_estimate(mxsi_run *run, const mxs_result *result) {
  const mxs_estimate *estimate = &result->estimate;
  char line[256];
  if (estimate->basis == MXS_NOISE_NONE || result->reason == MXS_REASON_DIVERGED)
    return;
  if (isnan(estimate->noise_std))
    (void)snprintf(line, sizeof line, "relative error at most %.3g (%s)",
                   estimate->relative_error_high, mxs_noise_basis_text(estimate->basis));
  else
    (void)snprintf(
        line, sizeof line, "relative error %.3g, at 95 %% in %.3g .. %.3g; noise %.3g (%s)",
        estimate->relative_error, estimate->relative_error_low, estimate->relative_error_high,
        estimate->noise_std, mxs_noise_basis_text(estimate->basis));
  say(run, "held out", line);
}

/* What can be said of the error, and from what. */
static void error_text(const mxs_certificate *c, char text[ERROR_SIZE]) {
  text[0] = '\0';
  if (c->status == MXS_RECOVERED_UP_TO_NOISE)
    (void)snprintf(text, ERROR_SIZE,
                   ", relative error %.2g (%.2g to %.2g, by held-out measurements and the noise "
                   "that the fit leaves, %.2g)",
                   c->relative_error, c->low, c->high, c->noise_std);
  else if (isfinite(c->bound))
    (void)snprintf(text, ERROR_SIZE, ", relative error at most %.2g by held-out measurements alone",
                   c->bound);
}

/* The last line of the method auto: its verdict. */
static void report_verdict(mxsi_run *run, const mxs_result *result) {
  const mxs_certificate *c = &result->certificate;
  char elapsed[32], error[ERROR_SIZE], test[64] = "";
  const char *doubt = c->given ? mxs_doubt_text(c->doubt) : "no measurements were held out";
  const int bounded = c->status == MXS_NOT_CERTIFIED && result->reason != MXS_REASON_TARGET &&
                      c->rank >= run->settings.k.values[0];
  error_text(c, error);
  if (!isnan(result->test_error))
    (void)snprintf(test, sizeof test, ", test error %.3e", result->test_error);
  mxs_duration_text(result->seconds, elapsed);
  mxsi_log_line(&run->log, MXSI_BOTH,
                "%s%s%s: rank %lld%s%s, residual %.3e, %.3g passes over A, %s%s",
                mxs_certificate_text(c->status), doubt[0] != '\0' ? ", " : "", doubt,
                (long long)(c->given ? c->rank : result->rank_estimate), error, test,
                result->relative_residual, result->passes_over_A, elapsed,
                bounded ? "; k allows no larger rank: give a larger k" : "");
}

void mxsi_report_end(mxsi_run *run,
                     const mxs_result *result,
                     int64_t best,
                     const mxsi_timings *timings) {
  char elapsed[32], answer[96] = "", who[96] = "";
  const char *what = "stopped", *advice = "; the same command goes on";
  report_profile(run, result, timings);
  if (run->settings.method == MXS_METHOD_AUTO && result->reason > 0) {
    report_verdict(run, result);
    return;
  }
  report_estimate(run, result);
  if (result->reason > 0)
    advice = "";
  if (result->reason == MXS_REASON_TARGET)
    what = "target reached";
  else if (result->reason == MXS_REASON_TOLERANCE)
    what = "tolerance reached";
  else if (result->reason == MXS_REASON_STATIONARY)
    what = "at rest";
  else if (result->reason == MXS_REASON_VALIDATION)
    what = "past the lowest held-out loss";
  else if (result->reason == MXS_REASON_DISCREPANCY)
    what = "residual as small as the noise";
  else if (result->reason == MXS_REASON_WALLTIME)
    what = "stopped, the time is up";
  else if (result->reason == MXS_REASON_DIVERGED) {
    what = "diverged";
    advice = "; try a smaller step or alpha";
  }
  if (result->reason != MXS_REASON_DIVERGED && !isnan(result->test_error))
    (void)snprintf(answer, sizeof answer, ", test error %.3e", result->test_error);
  if (result->reason != MXS_REASON_DIVERGED)
    (void)snprintf(answer + strlen(answer), sizeof answer - strlen(answer), ", rank %lld",
                   (long long)result->rank_estimate);
  if (run->replicas > 1)
    (void)snprintf(who, sizeof who, "best replica %lld, ", (long long)best);
  if (result->best_iteration >= 0 && result->reason != MXS_REASON_DIVERGED)
    (void)snprintf(who + strlen(who), sizeof who - strlen(who), "best at iteration %lld, ",
                   (long long)result->best_iteration);
  mxs_duration_text(result->seconds, elapsed);
  mxsi_log_line(&run->log, MXSI_BOTH, "%s: iteration %lld, %s, %sloss %.3e, residual %.3e%s%s",
                what, (long long)result->iterations, elapsed, who, result->loss,
                result->relative_residual, answer, advice);
}
