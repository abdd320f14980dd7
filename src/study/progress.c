#include "base/clock.h"
#include "study/execute.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_SIZE = 512, WHAT_SIZE = 160, WHAT_LEAST = 16, WHAT_MOST = 64 };

static void say(mxsi_report *report, const char *text) {
  char line[LINE_SIZE + 1];
  (void)snprintf(line, sizeof line, "%s\n", text);
  mxs_screen_line(&report->screen, line);
}

/* What a pass is: its first point, and how many more it has. */
static void describe(const mxsi_report *report, const mxsi_pass *pass, char what[WHAT_SIZE]) {
  mxsi_study_describe(report->study, &report->study->point[pass->points[0]], what, WHAT_SIZE);
  const size_t length = strlen(what);
  if (pass->count > 1)
    (void)snprintf(what + length, WHAT_SIZE - length, "%s+%lld", length > 0 ? " " : "",
                   (long long)(pass->count - 1));
}

/* Passes and points of this process. */
static int64_t count(mxsi_report *report, const mxs_study_options *options) {
  const mxs_study *study = report->study;
  int64_t passes = 0;
  for (int64_t i = 0; i < study->passes; i++)
    if (mxsi_pass_is_mine(options, i)) {
      passes++;
      report->points += study->pass[i].count;
    }
  return passes;
}

/* What is to come. */
static void look_ahead(mxsi_report *report, const mxsi_pass *passes, int64_t to_come) {
  report->before = report->points;
  report->what_width = WHAT_LEAST;
  for (int64_t i = 0; i < to_come; i++) {
    char what[WHAT_SIZE];
    describe(report, &passes[i], what);
    report->before -= passes[i].count;
    if ((int)strlen(what) > report->what_width)
      report->what_width = (int)strlen(what);
  }
  if (report->what_width > WHAT_MOST)
    report->what_width = WHAT_MOST;
  report->done = report->before;
}

static int compare(const void *a, const void *b) {
  return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Different ones among those of this process; 0: out of memory. */
static int64_t count_problems(const mxs_study *study, const mxs_study_options *options) {
  const char **names = NULL;
  int64_t passes = 0;
  int64_t problems = 0;
  if (mxs_alloc(study->passes, sizeof *names, &names) != MXS_OK)
    return 0;
  for (int64_t i = 0; i < study->passes; i++)
    if (mxsi_pass_is_mine(options, i))
      names[passes++] = study->pass[i].problem;
  qsort(names, (size_t)passes, sizeof *names, compare);
  for (int64_t i = 0; i < passes; i++)
    problems += i == 0 || strcmp(names[i - 1], names[i]) != 0;
  mxs_release(&names);
  return problems;
}

void mxsi_report_open(mxsi_report *report,
                      const mxs_study *study,
                      const mxs_study_options *options,
                      const mxsi_pass *passes,
                      int64_t to_come) {
  char line[LINE_SIZE], part[64] = "";
  *report = (mxsi_report){.study = study, .quiet = options->quiet, .began = mxs_clock()};
  mxs_screen_open(&report->screen, options->quiet, MXS_PROGRESS_AUTO);
  const int64_t all = count(report, options);
  look_ahead(report, passes, to_come);
  if (options->quiet)
    return;
  if (options->parts > 1)
    (void)snprintf(part, sizeof part, ", part %lld of %lld", (long long)options->part,
                   (long long)options->parts);
  const int sized = study->size[0] != '\0';
  const int64_t problems = count_problems(study, options);
  (void)snprintf(line, sizeof line,
                 "mxsense study: %.200s%s%s%s%s: %lld point%s in %lld run%s, %lld problem%s; %lld "
                 "done before",
                 study->title, sized ? " (" : "", study->size, sized ? ")" : "", part,
                 (long long)report->points, report->points == 1 ? "" : "s", (long long)all,
                 all == 1 ? "" : "s", (long long)problems, problems == 1 ? "" : "s",
                 (long long)report->before);
  say(report, line);
  report->done_width = 2 * snprintf(line, sizeof line, "%lld", (long long)report->points) + 1;
  if (report->before == report->points)
    return;
  if (report->screen.live) {
    (void)snprintf(line, sizeof line, "%lld/%lld points", (long long)report->done,
                   (long long)report->points);
    mxs_screen_live(&report->screen, line);
    return;
  }
  (void)snprintf(line, sizeof line, "%*s  %8s  %-*s  %-11s  %10s  %10s  %9s  %s",
                 report->done_width, "done", "point", report->what_width, "what", "end",
                 "iterations", "test error", "seconds", "remaining");
  say(report, line);
}

/* A live line shows what matters most first: a narrow terminal has what fits. */
static void show_live(mxsi_report *report,
                      const char *what,
                      const mxsi_outcome *outcome,
                      const char *remaining) {
  char line[LINE_SIZE], error[48] = "";
  if (!isnan(outcome->test_error))
    (void)snprintf(error, sizeof error, "  test error %.1e", outcome->test_error);
  (void)snprintf(line, sizeof line, "%lld/%lld points  %s left  %s  %s  %lld iterations%s",
                 (long long)report->done, (long long)report->points, remaining, what,
                 outcome->reason, (long long)outcome->iterations, error);
  mxs_screen_live(&report->screen, line);
}

void mxsi_report_pass(mxsi_report *report,
                      const mxsi_pass *pass,
                      const mxsi_outcome *outcome,
                      double seconds) {
  char line[LINE_SIZE], what[WHAT_SIZE], remaining[32], error[32] = "", done[48];
  report->done += pass->count;
  if (report->quiet)
    return;
  const int64_t now = report->done - report->before;
  const int64_t left = report->points - report->done;
  const double each = (mxs_clock() - report->began) / (double)(now > 0 ? now : 1);
  mxs_duration_text(each * (double)left, remaining);
  describe(report, pass, what);
  if (report->screen.live) {
    show_live(report, what, outcome, remaining);
    return;
  }
  if (!isnan(outcome->test_error))
    (void)snprintf(error, sizeof error, "%.1e", outcome->test_error);
  (void)snprintf(done, sizeof done, "%lld/%lld", (long long)report->done,
                 (long long)report->points);
  (void)snprintf(line, sizeof line, "%*s  %8lld  %-*.*s  %-11s  %10lld  %10s  %9.3g  %s",
                 report->done_width, done, (long long)report->study->point[pass->points[0]].index,
                 report->what_width, report->what_width, what, outcome->reason,
                 (long long)outcome->iterations, error, seconds, remaining);
  say(report, line);
}

void mxsi_report_close(mxsi_report *report) {
  mxs_screen_hide(&report->screen);
  mxs_screen_close(&report->screen);
}
