#include "run/run.h"

#include "conf/build.h"
#include "run/run_impl.h"

#include <math.h>
#include <string.h>

enum { EXIT_STOPPED = 75, EXIT_DIVERGED = 76, MOST_ROLLBACKS = 3 };

static const double lock_patience_s = 30;

static void warn_line(void *ctx, const char *text) {
  mxsi_log_warn(ctx, "%s", text);
}

/* ---- the start ----------------------------------------------------------------------------- */

/* Temporary names must be unlike those of an earlier start that may still be dying. */
static void make_tag(mxsi_run *run) {
  const mxsi_owner *owner = &run->owner;
  if (run->root)
    (void)snprintf(run->tag, sizeof run->tag, "%.64s-%ld-%.64s-%ld",
                   owner->job[0] != '\0' ? owner->job : "nojob", owner->restart, owner->host,
                   owner->pid);
  for (char *c = run->tag; *c != '\0'; c++)
    if (*c == '/')
      *c = '_';
  mxs_comm_bcast(run->comm, run->tag, sizeof run->tag, 0);
}

static mxs_status begin(mxsi_run *run) {
  char threads[48] = "";
  mxsi_owner_find(&run->owner);
  make_tag(run);
  mxs_status status = mxsi_log_begin(&run->log, run->root, &run->settings, &run->owner);
  run->log.warnings_in_copy = run->part->within;
  if (status == MXS_OK && run->root)
    status =
        mxsi_rundir_open(run->path, &run->owner, lock_patience_s, warn_line, &run->log, &run->dir);
  run->dir.hasty = run->part->within;
  MXS_TRY(mxs_comm_agree(run->comm, status));
  mxsi_walltime_begin(run);
  MXS_TRY(mxsi_watchdog_start(run->comm,
                              &(mxsi_watchdog_options){.path = run->path,
                                                       .dir = &run->dir,
                                                       .warning_s = run->settings.stall_warning,
                                                       .limit_s = run->settings.stall_limit},
                              &run->watchdog));
  mxs_machine_find(run->comm, &run->machine);
  if (run->settings.threads > 1)
    (void)snprintf(threads, sizeof threads, ", %lld threads each,",
                   (long long)run->settings.threads);
  mxsi_log_line(&run->log, MXSI_BOTH, "mxsense %s, %d rank%s%s on %lld host%s",
                mxs_build_get().version, run->machine.ranks, run->machine.ranks == 1 ? "" : "s",
                threads, (long long)run->machine.hosts, run->machine.hosts == 1 ? "" : "s");
  return MXS_OK;
}

/* ---- files --------------------------------------------------------------------------------- */

static const char *const files[] = {"config.yaml", "metrics.csv", "log.txt", "events.jsonl",
                                    "summary.json"};

/* The checkpoint that the run goes on from becomes the newest, or the next one would put a damaged
 * one in the place of a good one. */
static mxs_status promote_checkpoint(const mxsi_run *run) {
  if (run->resumed_name[0] == '\0' || strcmp(run->resumed_name, "checkpoint.h5") == 0)
    return MXS_OK;
  return mxsi_file_rename(&run->dir, run->resumed_name, "checkpoint.h5");
}

/* From here on the directory holds this run. config.yaml comes first: it makes the directory a run.
 */
static mxs_status commit_root(mxsi_run *run) {
  run->fresh = !mxsi_rundir_has(&run->dir, files[0]) &&
               !mxsi_rundir_has(&run->dir, "checkpoint.h5") &&
               !mxsi_rundir_has(&run->dir, "checkpoint.prev.h5");
  mxsi_rundir_sweep(&run->dir, run->replicas > 1 ? run->replicas : 0);
  MXS_TRY(promote_checkpoint(run));
  MXS_TRY(mxsi_file_replace(&run->dir, files[0], run->config));
  MXS_TRY(mxsi_replicas_open(run));
  mxsi_rundir_remove(&run->dir, "summary.json"); /* it tells of an end that is no longer the last */
  MXS_TRY(mxsi_log_open(&run->log, &run->dir));
  const int resumed = run->saved_iteration >= 0;
  mxsi_log_event(&run->log, resumed ? "resume" : "start", resumed ? run->saved_iteration : 0,
                 json_pack("{s:i, s:s, s:I, s:s}", "ranks", run->comm->size, "host",
                           run->owner.host, "pid", (json_int_t)run->owner.pid, "version",
                           mxs_build_get().version));
  if (run->dir.taken[0] != '\0')
    mxsi_log_event(&run->log, "takeover", run->saved_iteration,
                   json_pack("{s:s}", "from", run->dir.taken));
  return MXS_OK;
}

static mxs_status commit(mxsi_run *run) {
  run->committed = 1;
  return mxs_comm_agree(run->comm, run->root ? commit_root(run) : MXS_OK);
}

static void undo_files(mxsi_run *run) {
  if (run->fresh)
    mxsi_replicas_undo(run);
  for (size_t i = 0; run->fresh && i < sizeof files / sizeof *files; i++)
    mxsi_rundir_remove(&run->dir, files[i]);
}

/* ---- the end ------------------------------------------------------------------------------- */

/* Rank 0: `results` tells whether there is more to say than `result`. */
static mxs_status write_summaries(mxsi_run *run,
                                  const char *reason,
                                  const mxs_result *result,
                                  const mxs_result *results,
                                  const mxsi_timings *timings) {
  if (results == NULL || run->replicas == 1)
    return mxsi_summary_write(&run->dir, reason, result, timings, &run->machine,
                              mxs_settings_k(&run->settings, 0, 0));
  MXS_TRY(mxsi_replicas_summaries(run, timings));
  return mxsi_summary_write_all(&run->dir, result, timings, &run->machine, &run->settings, results,
                                run->replicas);
}

/* Rank 0: the summary comes last but for the log, so that a run with one is complete. */
static mxs_status write_end(mxsi_run *run,
                            const char *reason,
                            const mxs_result *result,
                            const mxs_result *results,
                            const mxsi_timings *timings) {
  mxs_status status = mxsi_replicas_close(run);
  if (status == MXS_OK)
    status = write_summaries(run, reason, result, results, timings);
  if (run->stop_file)
    mxsi_rundir_remove(&run->dir, "STOP");
  mxsi_log_event(&run->log, "stop", result->iterations, json_pack("{s:s}", "reason", reason));
  return status;
}

/* An error in the middle: the summary says so as far as it can be written. */
static void end_badly(mxsi_run *run) {
  const mxs_result result = {.iterations =
                                 run->progress.iteration >= 0 ? run->progress.iteration : 0,
                             .best_iteration = -1,
                             .alpha = NAN,
                             .step = NAN,
                             .loss = run->progress.loss,
                             .relative_residual = run->progress.relative_residual,
                             .validation_loss = NAN,
                             .test_error = NAN,
                             .passes_over_A = NAN,
                             .seconds = NAN};
  const mxsi_timings timings = mxsi_profile_gather(run);
  if (run->root && write_end(run, "error", &result, NULL, &timings) != MXS_OK)
    mxsi_log_warn(&run->log, "%s", mxs_last_error());
}

/* A signal that another rank caught, told once by rank 0. */
static void tell_of_other_ranks(mxsi_run *run, const mxs_result *result) {
  const int number = (int)mxs_comm_max(run->comm, mxsi_signal_stop());
  if (run->root && number != 0 && !run->signal_told)
    mxsi_log_event(&run->log, "signal", result->iterations,
                   json_pack("{s:s}", "signal", mxsi_signal_name(number)));
}

static mxs_status finish(mxsi_run *run, int *exit_code) {
  int64_t best = 0;
  const mxs_result outcome = mxsi_replicas_outcome(run, &best);
  const mxs_result *result = &outcome;
  if (run->replicas > 1)
    mxsi_sweep_end(run);
  else
    mxsi_progress_end(&run->progress);
  tell_of_other_ranks(run, result);
  if (run->trouble != MXS_OK)
    (void)mxs_fail(run->trouble, "%s", run->trouble_text);
  MXS_TRY(mxs_comm_agree(run->comm, run->trouble));
  mxs_status status = MXS_OK;
  const mxsi_timings timings = mxsi_profile_gather(run);
  run->ended = 1;
  if (run->root)
    status = write_end(run, mxs_reason_text(result->reason), result, run->results, &timings);
  mxsi_report_end(run, result, best, &timings);
  if (run->root) {
    const mxs_status log_status = mxsi_log_close(&run->log, &run->dir);
    status = status != MXS_OK ? status : log_status;
  }
  *exit_code = result->reason > 0
                   ? 0
                   : (result->reason == MXS_REASON_DIVERGED ? EXIT_DIVERGED : EXIT_STOPPED);
  return mxs_comm_agree(run->comm, status);
}

/* ---- the whole ----------------------------------------------------------------------------- */

static mxs_status say_nothing_to_do(mxsi_run *run) {
  const mxs_ckpt_info *info = mxs_ckpt_get_info(run->resumed);
  mxs_status status = MXS_OK;
  if (run->root) {
    status = mxsi_log_open(&run->log, &run->dir);
    mxsi_rundir_remove(&run->dir, "STOP");
    mxsi_log_line(&run->log, MXSI_BOTH, "nothing to do: %s is finished at iteration %lld (%s)",
                  run->path, (long long)info->iteration, info->reason);
    const mxs_status closed = mxsi_log_close(&run->log, &run->dir);
    status = status != MXS_OK ? status : closed;
  }
  return mxs_comm_agree(run->comm, status);
}

static double memory_bytes(const mxsi_run *run) {
  const mxs_problem_info *info = &run->info;
  const mxs_problem_size size = {info->n1, info->n2, info->m, info->rows_local, info->ensemble};
  int64_t rank = 0;
  return (double)info->bytes_local + mxs_settings_jacobian_bytes(&run->settings, &size, &rank) +
         mxs_solver_bytes(run->info.n1, run->info.n2, mxs_settings_k(&run->settings, 0, 0),
                          run->replicas, mxs_solver_profile(run->solver).threads, 1);
}

static double state_bytes(mxsi_run *run) {
  mxs_array *arrays = NULL;
  const int64_t count = mxs_solver_state(run->solver, &arrays);
  double bytes = 0.0;
  for (int64_t i = 0; i < count; i++)
    bytes += (double)arrays[i].rows * (double)arrays[i].cols * sizeof(double);
  return bytes;
}

/* Rank 0: metrics.csv as it was then. */
static mxs_status rewind_files(mxsi_run *run, const char *why) {
  mxsi_log_warn(&run->log, "%s; back to iteration %lld", why, (long long)run->saved_iteration);
  mxsi_log_event(&run->log, "rollback", run->saved_iteration, json_pack("{s:s}", "reason", why));
  mxsi_replicas_drop(run);
  MXS_TRY(promote_checkpoint(run));
  return mxsi_replicas_open(run);
}

/* Ranks that no longer hold the same: what they computed since the last checkpoint is void. */
static mxs_status roll_back(mxsi_run *run) {
  char why[1024];
  (void)snprintf(why, sizeof why, "%s", mxs_last_error());
  if (run->rollbacks++ == MOST_ROLLBACKS)
    return mxs_fail(MXS_ERR_CORRUPT,
                    "%s: for the %dth time since the last checkpoint, which is good: check that "
                    "host, and run the same line on others",
                    why, MOST_ROLLBACKS + 1);
  MXS_TRY(mxsi_run_roll_back(run));
  run->saved_at = mxs_clock();
  return mxs_comm_agree(run->comm, run->root ? rewind_files(run, why) : MXS_OK);
}

static mxs_status solve(mxsi_run *run, int *exit_code) {
  const mxs_hooks hooks = mxsi_run_hooks(run);
  MXS_TRY(mxsi_profile_limit(run));
  mxsi_report_begin(run, mxs_comm_spread(run->comm, memory_bytes(run)).max);
  mxsi_progress_begin(&run->progress, &run->log, &run->settings, run->histories[0].names,
                      run->histories[0].columns);
  mxsi_sweep_begin(run);
  MXS_TRY(commit(run));
  run->saved_iteration = run->saved_iteration >= 0 ? run->saved_iteration : 0;
  run->saved_at = mxs_clock();
  mxsi_walltime_state(run, state_bytes(run));
  mxs_status status = mxs_solver_run(run->solver, &hooks, run->results);
  while (status == MXS_ERR_CORRUPT) {
    MXS_TRY(roll_back(run));
    status = mxs_solver_run(run->solver, &hooks, run->results);
  }
  if (status == MXS_OK)
    status = finish(run, exit_code);
  return status;
}

static int is_undone(mxs_status status) {
  switch (mxs_status_exit_code(status)) {
  case 64:
  case 65:
  case 66:
  case 69:
  case 73:
  case 77:
  case 78:
    return 1;
  default:
    return 0;
  }
}

/* Collective. What goes wrong here cannot change how the run ended. */
static void end(mxsi_run *run, mxs_status status) {
  const int undo = status != MXS_OK && (!run->committed || (is_undone(status) && !run->iterated));
  /* Permission: the directory is another run's now. */
  if (status != MXS_OK && status != MXS_ERR_PERMISSION && run->committed && !undo && !run->ended)
    end_badly(run);
  mxsi_watchdog_stop(&run->watchdog);
  mxs_solver_destroy(&run->solver);
  mxs_problem_destroy(&run->problem);
  mxs_ckpt_destroy(&run->resumed);
  mxs_release(&run->start);
  mxs_release(&run->config);
  if (run->root) {
    mxsi_replicas_drop(run);
    (void)mxsi_log_close(&run->log, &run->dir);
    if (undo && run->committed)
      undo_files(run);
    mxsi_rundir_remove(&run->dir, MXSI_STALL_NAME);
    mxsi_rundir_close(&run->dir, undo);
  }
  mxsi_replicas_destroy(run);
  mxs_comm_destroy(&run->comm);
}

mxs_status mxs_run_solve_part(MPI_Comm comm,
                              const mxs_settings *settings,
                              const char *dir,
                              const mxs_run_part *part,
                              int *exit_code) {
  mxsi_run run;
  char text[2048];
  int nothing_to_do = 0;
  memset(&run, 0, sizeof run);
  MXS_TRY(mxs_comm_create(comm, &run.comm));
  run.root = run.comm->rank == 0;
  run.settings = *settings;
  run.k_given = settings->k.values[0] != 0;
  run.path = dir;
  run.part = part;
  run.saved_iteration = -1;
  run.began_at = mxs_clock();
  mxs_status status = begin(&run);
  if (status == MXS_OK)
    status = mxsi_run_prepare(&run, &nothing_to_do);
  if (status == MXS_OK && nothing_to_do) {
    *exit_code = 0;
    status = say_nothing_to_do(&run);
  } else if (status == MXS_OK) {
    status = solve(&run, exit_code);
  }
  (void)snprintf(text, sizeof text, "%s", mxs_last_error());
  end(&run, status);
  return status == MXS_OK ? MXS_OK : mxs_fail(status, "%s", text);
}

mxs_status mxs_run_solve(MPI_Comm comm,
                         const mxs_settings *settings,
                         const char *dir,
                         int *exit_code) {
  const mxs_run_part all = {0};
  return mxs_run_solve_part(comm, settings, dir, &all, exit_code);
}
