#include "run/run_impl.h"

#include "base/place.h"
#include "problem/problem_impl.h"

#include <errno.h>
#include <string.h>

enum { FAILURES_TO_END = 3 };

static const double stop_file_every_s = 0.2;

/* The first trouble is the one that is told. */
static void note_trouble(mxsi_run *run, mxs_status status) {
  if (status == MXS_OK || run->trouble != MXS_OK)
    return;
  run->trouble = status;
  (void)snprintf(run->trouble_text, sizeof run->trouble_text, "%s", mxs_last_error());
}

static void tell_signal(mxsi_run *run, const char *name, int64_t iteration) {
  mxsi_log_event(&run->log, "signal", iteration, json_pack("{s:s}", "signal", name));
}

static int wants_stop(mxsi_run *run, int64_t iteration, double now) {
  const int number = mxsi_signal_stop();
  if (run->root && !run->stop_file && !run->stop_asked &&
      now - run->stop_looked_at >= stop_file_every_s) {
    run->stop_looked_at = now;
    run->stop_file = mxsi_rundir_has(&run->dir, "STOP");
    run->stop_asked = run->part->stop != NULL && run->part->stop(run->part->ctx);
    note_trouble(run, mxsi_rundir_check(&run->dir));
  }
  if ((number != 0 || run->stop_file || run->stop_asked) && !run->signal_told) {
    run->signal_told = 1;
    tell_signal(run, number != 0 ? mxsi_signal_name(number) : "STOP", iteration);
  }
  if (run->log.failed != 0) {
    errno = run->log.failed;
    note_trouble(run, mxsi_file_fail(&run->dir, "log.txt or events.jsonl", "write"));
  }
  return number != 0 || run->stop_file || run->stop_asked || run->trouble != MXS_OK;
}

/* Checkpoints may cost a share of the time: one that took t is followed by t (1 / share - 1) of
 * work. */
static int is_spaced_out(const mxsi_run *run, double now) {
  return now - run->saved_at >= run->save_s * (1.0 / run->settings.checkpoint_share - 1.0);
}

/* The iteration is that of the replica furthest ahead among those running, and falls when it ends
 * ahead of the others. */
static int is_checkpoint_due(mxsi_run *run, int64_t iteration, double now) {
  const mxs_cadence every = run->settings.checkpoint_every;
  if (iteration == run->saved_iteration)
    return 0;
  const int due = (every.iterations > 0 &&
                   iteration / every.iterations != run->saved_iteration / every.iterations) ||
                  (every.seconds > 0 && now - run->saved_at >= every.seconds);
  const int waits = due && run->saved && !is_spaced_out(run, now);
  if (waits && !run->spaced)
    mxsi_log_line(&run->log, MXSI_BOTH,
                  "  checkpoints take %.2g s each: they are spaced out to %.3g %% of the time "
                  "(checkpoint_share)",
                  run->save_s, 100.0 * run->settings.checkpoint_share);
  run->spaced = run->spaced || waits;
  return due && !waits;
}

/* Rank 0: after a time without progress. */
static void tell_stall(mxsi_run *run, int64_t iteration, double seconds) {
  mxsi_log_line(&run->log, MXSI_BOTH, "  goes on at iteration %lld, after %.0f s without progress",
                (long long)iteration, seconds);
  mxsi_log_event(&run->log, "stall", iteration, json_pack("{s:f}", "seconds", seconds));
  mxsi_rundir_remove(&run->dir, MXSI_STALL_NAME);
}

static int on_poll(void *ctx, int64_t iteration) {
  mxsi_run *run = ctx;
  const double now = mxs_clock();
  const double stalled = mxsi_watchdog_beat(run->watchdog, iteration);
  if (run->root && stalled > 0)
    tell_stall(run, iteration, stalled);
  int request = wants_stop(run, iteration, now) ? MXS_REQUEST_STOP : 0;
  if (mxsi_signal_take_checkpoint()) {
    request |= MXS_REQUEST_CHECKPOINT;
    tell_signal(run, "SIGUSR2", iteration);
  }
  if (run->root && is_checkpoint_due(run, iteration, now))
    request |= MXS_REQUEST_CHECKPOINT;
  if (run->root && mxsi_walltime_is_up(run, now))
    request |= MXS_REQUEST_WALLTIME;
  return request;
}

static mxs_status on_row(void *ctx, int64_t replica, const double *row) {
  mxsi_run *run = ctx;
  const mxs_status status = mxs_history_append(&run->histories[replica], row);
  run->history_failed = run->history_failed || status != MXS_OK;
  note_trouble(run, status);
  if (run->root && run->trouble == MXS_OK)
    note_trouble(run, mxsi_replicas_row(run, replica, row));
  if (run->root && run->replicas > 1)
    mxsi_sweep_row(run, replica, row);
  else if (run->root)
    mxsi_progress_row(&run->progress, row);
  return MXS_OK;
}

static void on_progress(
    void *ctx, int64_t iteration, int64_t running, double loss, double relative_residual) {
  mxsi_run *run = ctx;
  run->iterated = 1;
  run->progress.stage = mxs_solver_stage(run->solver, &run->progress.rank);
  if (run->root && run->replicas > 1)
    mxsi_sweep_pass(run, iteration, running, loss, relative_residual);
  mxsi_progress_pass(&run->progress, iteration, loss, relative_residual);
}

static void on_tell(void *ctx, int64_t iteration, int warning, const char *text) {
  mxsi_run *run = ctx;
  if (!run->root)
    return;
  if (warning)
    mxsi_log_warn(&run->log, "%s", text);
  else
    mxsi_log_line(&run->log, MXSI_BOTH, "  %-11s%s", "auto", text);
  mxsi_log_event(&run->log, "auto", iteration, json_pack("{s:s}", "text", text));
}

static mxs_status guard(void *ctx) {
  return mxsi_rundir_check(ctx);
}

/* A checkpoint vouches for what it was computed from. Collective. */
static mxs_status check_before_saving(mxsi_run *run) {
  if (mxs_comm_max(run->comm, run->history_failed) != 0)
    return mxs_fail(MXS_ERR_MEMORY, "cannot save the metrics: out of memory");
  (void)mxs_place_enter("compares A in memory with its digests");
  return mxs_comm_agree(run->comm, mxsi_problem_verify(run->problem));
}

static mxs_status save(mxsi_run *run, int64_t iteration, mxs_reason reason) {
  mxs_ckpt_info info = {.iteration = mxsi_replicas_furthest(run),
                        .finished = reason > 0,
                        .problem_digest = run->info.digest,
                        .replicas = run->replicas};
  mxs_array *arrays = NULL;
  const double began = mxs_clock();
  MXS_TRY(check_before_saving(run));
  (void)snprintf(info.reason, sizeof info.reason, "%s", mxs_reason_text(reason));
  (void)snprintf(info.blas_kernel, sizeof info.blas_kernel, "%s", run->machine.blas_kernel);
  const int64_t count = mxs_solver_state(run->solver, &arrays);
  run->saved_iteration = iteration;
  mxsi_watchdog_checkpoint(run->watchdog, 1);
  (void)mxs_place_enter("writes a checkpoint");
  const mxs_ckpt_place place = {.dir = run->path,
                                .tag = run->tag,
                                .keep = run->settings.checkpoint_keep,
                                .guard = guard,
                                .ctx = &run->dir};
  const mxs_status status =
      mxs_ckpt_write(run->comm, &place, &info, arrays, count, run->histories, run->config);
  (void)mxs_place_enter("goes on after a checkpoint");
  mxsi_watchdog_checkpoint(run->watchdog, 0);
  run->saved_at = mxs_clock();
  run->save_s = run->saved_at - began;
  run->saved = 1;
  run->failures = status == MXS_OK ? 0 : run->failures + 1;
  if (status == MXS_OK) {
    run->rollbacks = 0;
    mxsi_log_event(&run->log, "checkpoint", iteration, json_pack("{s:f}", "seconds", run->save_s));
  }
  return status;
}

/* In the middle of a run a checkpoint may fail now and then; at its end it may not. */
static mxs_status on_checkpoint(void *ctx, int64_t iteration, mxs_reason reason) {
  mxsi_run *run = ctx;
  const mxs_status status = save(run, iteration, reason);
  if ((status != MXS_ERR_IO && status != MXS_ERR_MEMORY) || reason != MXS_REASON_RUNNING)
    return status;
  if (run->failures >= FAILURES_TO_END)
    return mxs_fail(MXS_ERR_IO, "%d checkpoints in a row failed, the last with: %s", run->failures,
                    mxs_last_error());
  mxsi_log_warn(&run->log, "no checkpoint at iteration %lld, the one before is kept: %s",
                (long long)iteration, mxs_last_error());
  return MXS_OK;
}

mxs_hooks mxsi_run_hooks(mxsi_run *run) {
  return (mxs_hooks){.ctx = run,
                     .poll = on_poll,
                     .row = on_row,
                     .progress = on_progress,
                     .tell = on_tell,
                     .checkpoint = on_checkpoint};
}
