#include "run/run_impl.h"

#include <string.h>

static const char csv_name[] = "metrics.csv";

/* Files of metrics that stay open: processes may not have many. Those beyond are opened for each
 * row. */
enum { OPEN_FILES = 256 };

mxs_status mxsi_replicas_create(mxsi_run *run) {
  const int64_t count = run->settings.replicas;
  MXS_TRY(mxs_alloc(count, sizeof *run->replica, &run->replica));
  run->replicas = count;
  MXS_TRY(mxs_alloc(count, sizeof *run->histories, &run->histories));
  MXS_TRY(mxs_alloc(count, sizeof *run->results, &run->results));
  run->replica[0].dir = run->dir;
  for (int64_t r = 0; count > 1 && r < count; r++) {
    mxsi_replica *replica = &run->replica[r];
    MXS_TRY(mxs_text_format(&replica->path, "%s/replica_%lld", run->path, (long long)r));
    replica->dir = (mxsi_rundir){.path = replica->path, .fd = -1, .lock_fd = -1};
  }
  return MXS_OK;
}

void mxsi_replicas_destroy(mxsi_run *run) {
  for (int64_t r = 0; r < run->replicas; r++) {
    mxs_release(&run->replica[r].path);
    if (run->histories != NULL)
      mxs_history_clear(&run->histories[r]);
  }
  mxs_release(&run->replica);
  mxs_release(&run->histories);
  mxs_release(&run->results);
}

/* A single one lives in the run's own directory, which is open already. */
static mxs_status enter(const mxsi_run *run, int64_t r, int make) {
  mxsi_replica *replica = &run->replica[r];
  return run->replicas == 1 ? MXS_OK
                            : mxsi_rundir_enter(&run->dir, r, make, replica->path, &replica->dir);
}

static void leave(const mxsi_run *run, int64_t r) {
  if (run->replicas > 1)
    mxsi_rundir_leave(&run->replica[r].dir);
}

static mxs_status open_one(mxsi_run *run, int64_t r) {
  mxsi_replica *replica = &run->replica[r];
  MXS_TRY(enter(run, r, 1));
  mxs_status status = mxsi_csv_open(&replica->dir, &run->histories[r], &replica->csv);
  if (status == MXS_OK && r >= OPEN_FILES)
    status = mxsi_file_close(&replica->dir, csv_name, &replica->csv);
  /* It tells of an end that is no longer the last. */
  mxsi_rundir_remove(&replica->dir, "summary.json");
  leave(run, r);
  return status;
}

mxs_status mxsi_replicas_open(mxsi_run *run) {
  if (run->replicas > 1)
    mxsi_rundir_remove(&run->dir, csv_name); /* of an earlier start with one */
  for (int64_t r = 0; r < run->replicas; r++)
    MXS_TRY(open_one(run, r));
  return MXS_OK;
}

/* A row to a file that is not open. */
static mxs_status append_row(mxsi_run *run, int64_t r, const double *row) {
  mxsi_replica *replica = &run->replica[r];
  FILE *file = NULL;
  MXS_TRY(enter(run, r, 0));
  mxs_status status = mxsi_file_append(&replica->dir, csv_name, &file);
  if (status == MXS_OK)
    status = mxsi_csv_row(&replica->dir, file, row, run->histories[r].columns);
  if (file != NULL && fclose(file) != 0 && status == MXS_OK)
    status = mxsi_file_fail(&replica->dir, csv_name, "write");
  leave(run, r);
  return status;
}

mxs_status mxsi_replicas_row(mxsi_run *run, int64_t r, const double *row) {
  mxsi_replica *replica = &run->replica[r];
  if (replica->csv == NULL)
    return append_row(run, r, row);
  return mxsi_csv_row(&replica->dir, replica->csv, row, run->histories[r].columns);
}

/* Onto the disk, also what was written row by row. */
static mxs_status close_one(mxsi_run *run, int64_t r) {
  mxsi_replica *replica = &run->replica[r];
  mxs_status status = MXS_OK;
  if (r >= OPEN_FILES) {
    MXS_TRY(enter(run, r, 0));
    status = mxsi_file_append(&replica->dir, csv_name, &replica->csv);
    leave(run, r);
  }
  const mxs_status closed = mxsi_file_close(&replica->dir, csv_name, &replica->csv);
  return status != MXS_OK ? status : closed;
}

mxs_status mxsi_replicas_close(mxsi_run *run) {
  mxs_status status = MXS_OK;
  for (int64_t r = 0; r < run->replicas; r++) {
    const mxs_status closed = close_one(run, r);
    status = status != MXS_OK ? status : closed;
  }
  return status;
}

void mxsi_replicas_drop(mxsi_run *run) {
  for (int64_t r = 0; r < run->replicas; r++) {
    FILE **csv = &run->replica[r].csv;
    if (*csv != NULL)
      (void)fclose(*csv); /* what was in it is removed, or was told of */
    *csv = NULL;
  }
}

void mxsi_replicas_undo(mxsi_run *run) {
  for (int64_t r = 0; run->replicas > 1 && r < run->replicas; r++)
    mxsi_rundir_drop(&run->dir, r);
}

mxs_status mxsi_replicas_summaries(mxsi_run *run, const mxsi_timings *timings) {
  for (int64_t r = 0; run->replicas > 1 && r < run->replicas; r++) {
    const mxs_result *result = &run->results[r];
    MXS_TRY(enter(run, r, 1));
    const mxs_status status =
        mxsi_summary_write(&run->replica[r].dir, mxs_reason_text(result->reason), result, timings,
                           &run->machine, mxs_settings_replica(&run->settings, r).k);
    leave(run, r);
    MXS_TRY(status);
  }
  return MXS_OK;
}

/* The residual that met the tolerance is not that of the summary where the answer is another point.
 */
static int meets_tolerance(const mxsi_run *run, double residual) {
  return run->settings.stop == MXS_STOP_VALIDATION
             ? mxs_settings_same(mxs_ckpt_config(run->resumed), run->config, "tolerance")
             : residual <= run->settings.tolerance;
}

/* One that diverged stays so, and what other rules look at cannot change; the others are asked
 * whether the settings of now want more. */
static int is_met(const mxsi_run *run, int64_t r) {
  char reason[16];
  int64_t iterations = -1;
  double residual = 0;
  if (enter(run, r, 0) != MXS_OK)
    return 0;
  const int told = mxsi_summary_read(&run->replica[r].dir, reason, &iterations, &residual);
  leave(run, r);
  return told && (strcmp(reason, "diverged") == 0 || strcmp(reason, "validation") == 0 ||
                  strcmp(reason, "discrepancy") == 0 || strcmp(reason, "stationary") == 0 ||
                  iterations >= run->settings.max_iterations ||
                  (strcmp(reason, "tolerance") == 0 && meets_tolerance(run, residual)));
}

int mxsi_replicas_met(const mxsi_run *run) {
  for (int64_t r = 0; r < run->replicas; r++)
    if (!is_met(run, r))
      return 0;
  return 1;
}

void mxsi_replicas_attach(mxsi_run *run) {
  mxs_array *arrays = NULL;
  const int64_t count = mxs_solver_state(run->solver, &arrays);
  int64_t r = 0;
  for (int64_t i = 0; i < count && r < run->replicas; i++) {
    const char *name = strstr(arrays[i].name, "state/counters");
    if (name != NULL)
      run->replica[r++].iteration = (const int64_t *)arrays[i].data + 1;
  }
  for (r = 0; r < run->replicas; r++) {
    mxs_history *history = &run->histories[r];
    history->columns = mxs_solver_columns(run->solver, r, &history->names);
  }
}

int64_t mxsi_replicas_furthest(const mxsi_run *run) {
  int64_t furthest = 0;
  for (int64_t r = 0; r < run->replicas; r++)
    if (*run->replica[r].iteration > furthest)
      furthest = *run->replica[r].iteration;
  return furthest;
}

static double badness(const mxsi_run *run, int64_t r) {
  const mxs_result *result = &run->results[r];
  return run->settings.stop == MXS_STOP_VALIDATION ? result->validation_loss
                                                   : result->relative_residual;
}

/* Of those that did not diverge. */
static int64_t find_best(const mxsi_run *run) {
  int64_t best = -1;
  for (int64_t r = 0; r < run->replicas; r++)
    if (run->results[r].reason != MXS_REASON_DIVERGED &&
        (best < 0 || badness(run, r) < badness(run, best)))
      best = r;
  return best < 0 ? 0 : best;
}

mxs_result mxsi_replicas_outcome(const mxsi_run *run, int64_t *best) {
  *best = find_best(run);
  mxs_result all = run->results[*best];
  all.reason = mxs_reason_of_all(run->results, run->replicas);
  for (int64_t r = 0; r < run->replicas; r++) {
    const mxs_result *one = &run->results[r];
    if (one->iterations > all.iterations)
      all.iterations = one->iterations;
    if (one->passes_over_A > all.passes_over_A)
      all.passes_over_A = one->passes_over_A;
    if (one->seconds > all.seconds)
      all.seconds = one->seconds;
  }
  return all;
}
