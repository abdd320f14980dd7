#include "run/run_impl.h"

#include <math.h>
#include <string.h>

enum { LINE_SIZE = 512, PLACE_SIZE = 64 };

static const double live_every_s = 0.2;
static const double rate_window_s = 5;

int64_t mxsi_find_name(const char *const *names, int64_t count, const char *name) {
  for (int64_t j = 0; j < count; j++)
    if (strcmp(names[j], name) == 0)
      return j;
  return -1;
}

void mxsi_progress_begin(mxsi_progress *progress,
                         mxsi_log *log,
                         const mxs_settings *settings,
                         const char *const *names,
                         int64_t columns) {
  static const char *const fields[] = {"iteration",       "loss",  "grad_norm", "test_error",
                                       "validation_loss", "phase", "seconds",   "step"};
  *progress = (mxsi_progress){.log = log,
                              .verbose = settings->verbose,
                              .max_iterations = settings->max_iterations,
                              .tolerance = settings->tolerance,
                              .automatic = settings->method == MXS_METHOD_AUTO,
                              .stage = "",
                              .started_at = mxs_clock(),
                              .first = -1,
                              .iteration = -1,
                              .loss = NAN,
                              .relative_residual = NAN};
  for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
    progress->column[i] = mxsi_find_name(names, columns, fields[i]);
}

/* 1, 2, 5, 10, 20, 50, ... */
static int is_milestone(int64_t count) {
  while (count >= 10 && count % 10 == 0)
    count /= 10;
  return count == 1 || count == 2 || count == 5;
}

/* Rows after the first ones: a line every 10 s, then every 60th of the time so far, at most 5 min
 * apart. */
static double line_pause(const mxsi_progress *progress, double now) {
  return fmin(fmax((now - progress->started_at) / 60, 10), 300);
}

int mxsi_progress_is_due(const mxsi_progress *progress, double now) {
  return progress->verbose || is_milestone(progress->rows) ||
         now - progress->shown_at >= line_pause(progress, now);
}

/* A table line is for standard output unless a live line stands for it there. */
void mxsi_progress_put(mxsi_progress *progress, const char *line) {
  const mxsi_where where =
      progress->log->screen.live && !progress->verbose ? MXSI_COPY_ONLY : MXSI_BOTH;
  mxsi_log_line(progress->log, where, "%s", line);
}

static void show_heading(mxsi_progress *progress) {
  char line[LINE_SIZE];
  progress->has_test = !isnan(progress->row.test_error);
  progress->has_validation = !isnan(progress->row.validation_loss);
  (void)snprintf(line, sizeof line, "%11s  %12s  %12s  %12s%s%s  %5s  %10s", "iteration", "loss",
                 "residual", "gradient", progress->has_test ? "    test error" : "",
                 progress->has_validation ? "    validation" : "", "phase", "elapsed");
  if (!isnan(progress->row.step) && !progress->automatic)
    mxsi_log_line(progress->log, MXSI_BOTH, "  step       %.6g", progress->row.step);
  mxsi_progress_put(progress, "");
  mxsi_progress_put(progress, line);
}

static void show_row(mxsi_progress *progress, double now) {
  const mxsi_table_row *row = &progress->row;
  char line[LINE_SIZE], test[32] = "", validation[32] = "", elapsed[32];
  if (progress->shown_at == 0)
    show_heading(progress);
  if (progress->has_test)
    (void)snprintf(test, sizeof test, "  %12.4e", row->test_error);
  if (progress->has_validation)
    (void)snprintf(validation, sizeof validation, "  %12.4e", row->validation_loss);
  mxs_duration_text(row->seconds, elapsed);
  (void)snprintf(line, sizeof line, "%11lld  %12.4e  %12.4e  %12.4e%s%s  %5.0f  %10s",
                 (long long)row->iteration, row->loss, row->residual, row->grad_norm, test,
                 validation, row->phase, elapsed);
  mxsi_progress_put(progress, line);
  progress->shown_at = now;
  progress->shown = 1;
}

void mxsi_progress_row(mxsi_progress *progress, const double *row) {
  double field[MXSI_TABLE_FIELDS];
  for (int i = 0; i < MXSI_TABLE_FIELDS; i++)
    field[i] = progress->column[i] >= 0 ? row[progress->column[i]] : (double)NAN;
  progress->row = (mxsi_table_row){(int64_t)field[0], field[1], field[2],
                                   field[3],          field[4], field[5],
                                   field[6],          field[7], progress->relative_residual};
  progress->rows++;
  progress->shown = 0;
  const double now = mxs_clock();
  if (mxsi_progress_is_due(progress, now))
    show_row(progress, now);
}

/* Seconds to the target or, at the rate of the last seconds, to the tolerance; whichever is nearer.
 */
static double time_left(const mxsi_progress *progress, double seconds_per_iteration) {
  double left = (double)(progress->max_iterations - progress->iteration);
  const double made = (double)(progress->iteration - progress->rate_iteration);
  const double fall = log(progress->rate_residual / progress->relative_residual) / made;
  if (progress->tolerance > 0 && fall > 0)
    left = fmin(left, log(progress->relative_residual / progress->tolerance) / fall);
  return fmax(left, 0) * seconds_per_iteration;
}

/* How far it is: of the method auto the rank and the stage. */
static void place_text(const mxsi_progress *progress, char text[PLACE_SIZE]) {
  if (progress->automatic)
    (void)snprintf(text, PLACE_SIZE, "%lld  rank %lld, %s", (long long)progress->iteration,
                   (long long)progress->rank, progress->stage);
  else
    (void)snprintf(text, PLACE_SIZE, "%lld/%lld", (long long)progress->iteration,
                   (long long)progress->max_iterations);
}

static void show_live(mxsi_progress *progress, double now) {
  char line[LINE_SIZE], running[32] = "", test[48] = "", left[64] = "", rate[48] = "", duration[32];
  char place[PLACE_SIZE];
  if (progress->running > 0)
    (void)snprintf(running, sizeof running, "  %lld running", (long long)progress->running);
  if (progress->rows > 0 && !isnan(progress->row.test_error))
    (void)snprintf(test, sizeof test, "  test error %.2e", progress->row.test_error);
  if (progress->iteration > progress->rate_iteration) {
    const double each =
        (now - progress->rate_time) / (double)(progress->iteration - progress->rate_iteration);
    mxs_duration_text(time_left(progress, each), duration);
    if (!progress->automatic)
      (void)snprintf(left, sizeof left, "  %s left", duration);
    (void)snprintf(rate, sizeof rate, "  %.2g s/it", each);
  }
  /* What matters most comes first: a narrow terminal shows what fits. */
  place_text(progress, place);
  (void)snprintf(line, sizeof line, "%s  residual %.2e%s%s%s  loss %.2e%s", place,
                 progress->relative_residual, left, running, test, progress->loss, rate);
  mxs_screen_live(&progress->log->screen, line);
  progress->live_at = now;
  if (now - progress->rate_time > rate_window_s) {
    progress->rate_time = now;
    progress->rate_iteration = progress->iteration;
    progress->rate_residual = progress->relative_residual;
  }
}

void mxsi_progress_pass(mxsi_progress *progress,
                        int64_t iteration,
                        double loss,
                        double relative_residual) {
  progress->iteration = iteration;
  progress->loss = loss;
  progress->relative_residual = relative_residual;
  if (!progress->log->root)
    return;
  if (progress->first >= 0 && !progress->log->screen.live)
    return;
  const double now = mxs_clock();
  if (progress->first < 0) {
    progress->first = progress->rate_iteration = iteration;
    progress->rate_time = now;
    progress->rate_residual = relative_residual;
  }
  if (progress->log->screen.live && now - progress->live_at >= live_every_s)
    show_live(progress, now);
}

void mxsi_progress_end(mxsi_progress *progress) {
  if (progress->log->root && progress->rows > 0 && !progress->shown)
    show_row(progress, mxs_clock());
}
