/* What standard output and the log say of many replicas: who they are, a line per row of the
 * metrics for all of them, one for each that ends, and how they ended. */
#include "run/run_impl.h"

#include <math.h>
#include <string.h>

/* Lines of a table on standard output; the log has them all. */
enum { SHOWN = 32, LINE_SIZE = 256 };

static void number_text(double value, char text[32]) {
  if (isnan(value))
    (void)snprintf(text, 32, "auto");
  else
    (void)snprintf(text, 32, "%.6g", value);
}

/* A line of the table for replica `r`; the terminal is told once that the rest is in the log. */
static void put_row(mxsi_run *run, int64_t r, const char *line) {
  mxsi_log_line(&run->log, r < SHOWN ? MXSI_BOTH : MXSI_COPY_ONLY, "%s", line);
  if (r == SHOWN && run->log.root)
    mxsi_log_line(&run->log, MXSI_BOTH, "%11s  %lld more: see log.txt", "",
                  (long long)(run->replicas - SHOWN));
}

void mxsi_sweep_list(mxsi_run *run) {
  char line[LINE_SIZE], alpha[32], step[32];
  mxsi_log_line(&run->log, MXSI_BOTH, "%11s  %20s  %6s  %12s  %12s", "replica", "seed", "k",
                "alpha", "step");
  for (int64_t r = 0; r < run->replicas; r++) {
    const mxs_replica one = mxs_settings_replica(&run->settings, r);
    number_text(one.alpha, alpha);
    number_text(one.step, step);
    (void)snprintf(line, sizeof line, "%11lld  %20llu  %6lld  %12s  %12s", (long long)r,
                   (unsigned long long)one.seed, (long long)one.k, alpha, step);
    put_row(run, r, line);
  }
}

/* ---- while they run ------------------------------------------------------------------------ */

static void show_line(mxsi_run *run, double now) {
  mxsi_sweep *sweep = &run->sweep;
  mxsi_progress *progress = &run->progress;
  const int has_test = !isnan(sweep->best_test_error);
  char line[LINE_SIZE], test[32] = "", elapsed[32];
  if (progress->shown_at == 0) {
    (void)snprintf(line, sizeof line, "%11s  %7s  %14s  %14s%s  %10s", "iteration", "running",
                   "worst residual", "best residual", has_test ? "  best test error" : "",
                   "elapsed");
    mxsi_progress_put(progress, "");
    mxsi_progress_put(progress, line);
  }
  if (has_test)
    (void)snprintf(test, sizeof test, "  %15.4e", sweep->best_test_error);
  mxs_duration_text(sweep->seconds, elapsed);
  (void)snprintf(line, sizeof line, "%11lld  %7lld  %14.4e  %14.4e%s  %10s",
                 (long long)sweep->iteration, (long long)sweep->running, sweep->worst, sweep->best,
                 test, elapsed);
  mxsi_progress_put(progress, line);
  progress->shown_at = now;
  progress->shown = 1;
}

/* The rows of a pass are in when the next one is told of. */
static void close_pass(mxsi_run *run) {
  mxsi_progress *progress = &run->progress;
  if (!run->sweep.due)
    return;
  run->sweep.due = 0;
  progress->rows++;
  progress->shown = 0;
  progress->row.test_error = run->sweep.best_test_error;
  const double now = mxs_clock();
  if (mxsi_progress_is_due(progress, now))
    show_line(run, now);
}

static void tell_end(mxsi_run *run, int64_t r, mxs_reason reason, int64_t iteration) {
  mxsi_replica *replica = &run->replica[r];
  char test[48] = "", residual[64] = "";
  replica->told = 1;
  if (reason != MXS_REASON_DIVERGED) {
    (void)snprintf(residual, sizeof residual, ", relative residual %.3e", replica->residual);
    if (!isnan(replica->test_error))
      (void)snprintf(test, sizeof test, ", test error %.3e", replica->test_error);
  }
  mxsi_log_line(&run->log, MXSI_BOTH, "replica %lld: %s at iteration %lld%s%s", (long long)r,
                mxs_reason_text(reason), (long long)iteration, residual, test);
}

static mxs_reason find_reason(const mxsi_run *run, const mxsi_replica *replica) {
  static const mxs_reason of_rule[] = {[MXS_STOP_TOLERANCE] = MXS_REASON_TOLERANCE,
                                       [MXS_STOP_VALIDATION] = MXS_REASON_VALIDATION,
                                       [MXS_STOP_DISCREPANCY] = MXS_REASON_DISCREPANCY};
  if (replica->residual <= run->settings.tolerance)
    return MXS_REASON_TOLERANCE;
  return replica->row_iteration >= run->settings.max_iterations ? MXS_REASON_TARGET
                                                                : of_rule[run->settings.stop];
}

/* Those that made no step after the pass before have ended there: with a last row, unless they
 * diverged. */
static void find_ended(mxsi_run *run) {
  for (int64_t r = 0; r < run->replicas; r++) {
    mxsi_replica *replica = &run->replica[r];
    const int64_t now = *replica->iteration;
    if (replica->told || now > replica->last_pass) {
      replica->last_pass = now;
      continue;
    }
    mxs_reason reason = MXS_REASON_DIVERGED;
    if (replica->row_iteration == now)
      reason = find_reason(run, replica);
    tell_end(run, r, reason, now);
  }
}

void mxsi_sweep_begin(mxsi_run *run) {
  for (int64_t r = 0; r < run->replicas; r++) {
    mxsi_replica *replica = &run->replica[r];
    replica->last_pass = replica->row_iteration = -1;
    replica->residual = replica->test_error = (double)NAN;
  }
}

void mxsi_sweep_pass(
    mxsi_run *run, int64_t iteration, int64_t running, double loss, double relative_residual) {
  mxsi_sweep *sweep = &run->sweep;
  close_pass(run);
  find_ended(run);
  *sweep = (mxsi_sweep){.iteration = iteration,
                        .running = running,
                        .worst = relative_residual,
                        .best = relative_residual,
                        .best_test_error = (double)NAN,
                        .residual_of_loss = loss > 0 ? relative_residual / sqrt(loss) : 0};
  run->progress.running = running;
}

static double value_of(const mxs_history *history, const double *row, const char *name) {
  const int64_t column = mxsi_find_name(history->names, history->columns, name);
  return column < 0 ? (double)NAN : row[column];
}

void mxsi_sweep_row(mxsi_run *run, int64_t r, const double *row) {
  mxsi_sweep *sweep = &run->sweep;
  mxsi_replica *replica = &run->replica[r];
  const mxs_history *history = &run->histories[r];
  replica->row_iteration = (int64_t)value_of(history, row, "iteration");
  replica->residual = sweep->residual_of_loss * sqrt(value_of(history, row, "loss"));
  replica->test_error = value_of(history, row, "test_error");
  sweep->seconds = value_of(history, row, "seconds");
  sweep->due = sweep->due || replica->row_iteration % run->settings.metrics_every == 0;
  sweep->best = fmin(sweep->best, replica->residual);
  sweep->best_test_error = fmin(sweep->best_test_error, replica->test_error);
}

/* ---- the end ------------------------------------------------------------------------------- */

/* One line of warning for those that diverged while others did not. */
static void warn_of_diverged(mxsi_run *run) {
  char names[200] = "";
  int64_t diverged = 0;
  for (int64_t r = 0; r < run->replicas; r++) {
    const size_t used = strlen(names);
    if (run->results[r].reason != MXS_REASON_DIVERGED)
      continue;
    diverged++;
    if (used + 32 < sizeof names)
      (void)snprintf(names + used, sizeof names - used, "%s%lld", used > 0 ? ", " : "",
                     (long long)r);
    else if (names[used - 1] != '.')
      (void)snprintf(names + used, sizeof names - used, ", ...");
  }
  if (diverged > 0 && diverged < run->replicas)
    mxsi_log_warn(&run->log,
                  "%lld of %lld replicas diverged (%s): try a smaller step or alpha for them",
                  (long long)diverged, (long long)run->replicas, names);
}

static void show_outcomes(mxsi_run *run) {
  char line[LINE_SIZE];
  mxsi_log_line(&run->log, MXSI_BOTH, "%s", "");
  mxsi_log_line(&run->log, MXSI_BOTH, "%11s  %-10s  %10s  %12s  %12s  %12s  %5s  %12s", "replica",
                "end", "iteration", "loss", "residual", "test error", "rank", "alpha");
  for (int64_t r = 0; r < run->replicas; r++) {
    const mxs_result *one = &run->results[r];
    char test[32] = "-", rank[24] = "-";
    if (!isnan(one->test_error) && one->reason != MXS_REASON_DIVERGED)
      (void)snprintf(test, sizeof test, "%.4e", one->test_error);
    if (one->reason != MXS_REASON_DIVERGED)
      (void)snprintf(rank, sizeof rank, "%lld", (long long)one->rank_estimate);
    (void)snprintf(line, sizeof line, "%11lld  %-10s  %10lld  %12.4e  %12.4e  %12s  %5s  %12.6g",
                   (long long)r, mxs_reason_text(one->reason), (long long)one->iterations,
                   one->loss, one->relative_residual, test, rank, one->alpha);
    put_row(run, r, line);
  }
}

void mxsi_sweep_end(mxsi_run *run) {
  if (!run->log.root)
    return;
  close_pass(run);
  if (run->progress.rows > 0 && !run->progress.shown)
    show_line(run, mxs_clock());
  for (int64_t r = 0; r < run->replicas; r++) {
    const mxs_reason reason = run->results[r].reason;
    if (!run->replica[r].told && (reason > MXS_REASON_TARGET || reason == MXS_REASON_DIVERGED))
      tell_end(run, r, reason, run->results[r].iterations);
  }
  show_outcomes(run);
  warn_of_diverged(run);
}
