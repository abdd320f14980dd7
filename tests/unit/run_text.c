/* The text that a run writes: table, metrics file, summary, events. */
#include "run/run_impl.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char path[512];
static mxsi_rundir dir;
static const mxsi_owner owner = {.host = "here", .job = "99", .pid = 1, .restart = 3};

static void no_warning(void *ctx, const char *text) {
  (void)ctx;
  fail_msg("%s", text);
}

static int set_up(void **state) {
  (void)state;
  const char *tmp = getenv("MXS_TEST_TMP");
  (void)snprintf(path, sizeof path, "%s/runtextXXXXXX", tmp != NULL ? tmp : "/tmp");
  if (mkdtemp(path) == NULL)
    return -1;
  return mxsi_rundir_open(path, &owner, 0, no_warning, NULL, &dir) == MXS_OK ? 0 : -1;
}

static int tear_down(void **state) {
  (void)state;
  static const char *const names[] = {"metrics.csv", "summary.json", "log.txt", "events.jsonl"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    mxsi_rundir_remove(&dir, names[i]);
  mxsi_rundir_close(&dir, 0);
  return rmdir(path); /* nothing else may be left */
}

static const char *const names[] = {"iteration", "seconds", "loss",      "grad_norm",
                                    "phase",     "step",    "test_error"};
enum { COLUMNS = 7 };

static void metrics_file(void **state) {
  (void)state;
  const double first[COLUMNS] = {0, 0.1, 1.0 / 3, 1e300, 1, 5e-324, (double)NAN};
  const double second[COLUMNS] = {10, 0.2, -0.0, (double)INFINITY, 2, 1e22, -(double)NAN};
  mxs_history history = {.names = names, .columns = COLUMNS};
  FILE *file = NULL;
  double copy[COLUMNS];
  memcpy(copy, first, sizeof copy);
  history.values = copy;
  history.rows = 1;
  assert_int_equal(mxsi_csv_open(&dir, &history, &file), MXS_OK);
  assert_int_equal(mxsi_csv_row(&dir, file, second, COLUMNS), MXS_OK);
  char *text = mxsi_file_read(dir.fd, "metrics.csv"); /* a row is there before the file is closed */
  assert_string_equal(text, "iteration,seconds,loss,grad_norm,phase,step,test_error\n"
                            "0,0.1,0.3333333333333333,1e+300,1,5e-324,nan\n"
                            "10,0.2,-0,inf,2,1e+22,nan\n");
  mxs_release(&text);
  assert_int_equal(mxsi_file_close(&dir, "metrics.csv", &file), MXS_OK);
}

static void summary_file(void **state) {
  (void)state;
  const mxs_result result = {.iterations = 120,
                             .loss = 0.1,
                             .relative_residual = 1e-9,
                             .validation_loss = (double)NAN,
                             .test_error = (double)INFINITY,
                             .rank_estimate = 3,
                             .passes_over_A = 122,
                             .seconds = 1.5};
  const mxsi_timings timings = {.wall = 2,
                                .passes = 121,
                                .visits = 122,
                                .compute = {1, 1, 1},
                                .entries_s = {1e9, 2e9, 3e9},
                                .bytes_s = {8e9, 16e9, 24e9},
                                .limit = 32e9,
                                .path = "fused"};
  const mxs_machine machine = {.ranks = 4, .hosts = 2, .cpu = "a \"cpu\"", .mpi = "m", .hdf5 = "h"};
  assert_int_equal(mxsi_summary_write(&dir, "tolerance", &result, &timings, &machine, 5), MXS_OK);
  char reason[16];
  int64_t iterations = 0;
  double residual = 0;
  assert_true(mxsi_summary_read(&dir, reason, &iterations, &residual));
  assert_string_equal(reason, "tolerance");
  assert_int_equal(iterations, 120);
  assert_true(residual == 1e-9);
  char *text = mxsi_file_read(dir.fd, "summary.json");
  json_t *object = json_loads(text, 0, NULL);
  static const char *const keys[] = {"reason",
                                     "iterations",
                                     "best_iteration",
                                     "estimates",
                                     "loss",
                                     "relative_residual",
                                     "validation_loss",
                                     "test_error",
                                     "rank_estimate",
                                     "certificate",
                                     "passes_over_A",
                                     "timings",
                                     "rates",
                                     "build",
                                     "machine",
                                     "k",
                                     "alpha",
                                     "step"};
  assert_int_equal(json_object_size(object), sizeof keys / sizeof *keys);
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
    assert_non_null(json_object_get(object, keys[i]));
  assert_true(json_is_null(json_object_get(object, "validation_loss")));
  assert_true(json_is_null(json_object_get(object, "test_error")));
  assert_true(json_is_null(json_object_get(object, "certificate")));
  const json_t *rates = json_object_get(object, "rates");
  const json_t *bytes = json_object_get(rates, "bytes_per_second");
  assert_true(json_real_value(json_object_get(bytes, "max")) == 24e9);
  assert_true(json_real_value(json_object_get(rates, "fraction_of_limit")) == 0.5);
  assert_true(json_number_value(json_object_get(rates, "passes_over_A")) == 122.0);
  assert_string_equal(json_string_value(json_object_get(rates, "kernel")), "fused");
  json_decref(object);
  mxs_release(&text);
  mxsi_rundir_remove(&dir, "summary.json");
  assert_false(mxsi_summary_read(&dir, reason, &iterations, &residual));
  assert_int_equal(mxsi_file_replace(&dir, "summary.json", "{\"reason\": 3"), MXS_OK);
  assert_false(mxsi_summary_read(&dir, reason, &iterations, &residual));
}

/* Lines from before the directory may hold files are not lost, also those of a quiet run. */
static void log_and_events(void **state) {
  (void)state;
  mxsi_log log;
  const mxs_settings settings = {.quiet = 1};
  assert_int_equal(mxsi_log_begin(&log, 1, &settings, &owner), MXS_OK);
  mxsi_log_line(&log, MXSI_COPY_ONLY, "early %d", 1);
  mxsi_log_event(&log, "lost", 0, NULL);
  assert_int_equal(mxsi_log_open(&log, &dir), MXS_OK);
  mxsi_log_line(&log, MXSI_BOTH, "late");
  mxsi_log_event(&log, "start", 7, json_pack("{s:i}", "ranks", 2));
  assert_int_equal(mxsi_log_close(&log, &dir), MXS_OK);
  char *text = mxsi_file_read(dir.fd, "log.txt");
  assert_string_equal(text, "early 1\nlate\n");
  mxs_release(&text);
  text = mxsi_file_read(dir.fd, "events.jsonl");
  json_t *event = json_loads(text, 0, NULL);
  assert_string_equal(json_string_value(json_object_get(event, "event")), "start");
  assert_string_equal(json_string_value(json_object_get(event, "job")), "99");
  assert_int_equal(json_integer_value(json_object_get(event, "restart")), 3);
  assert_int_equal(json_integer_value(json_object_get(event, "iteration")), 7);
  assert_int_equal(json_integer_value(json_object_get(event, "ranks")), 2);
  const char *when = json_string_value(json_object_get(event, "time"));
  assert_int_equal(strlen(when), strlen("2026-01-31T23:59:59Z"));
  assert_int_equal(when[19], 'Z');
  json_decref(event);
  mxs_release(&text);
}

static int64_t count_lines(const char *text) {
  int64_t lines = 0;
  for (const char *c = text; *c != '\0'; c++)
    lines += *c == '\n';
  return lines;
}

/* 10 000 rows in no time make a page, with the first and the last among them. */
static void table_is_thinned(void **state) {
  (void)state;
  mxsi_log log;
  mxsi_progress progress;
  const mxs_settings settings = {.max_iterations = 100000, .progress = MXS_PROGRESS_OFF};
  assert_int_equal(mxsi_log_begin(&log, 1, &settings, &owner), MXS_OK);
  log.screen.live = 1; /* the table goes to the copy only */
  assert_int_equal(mxsi_log_open(&log, &dir), MXS_OK);
  mxsi_progress_begin(&progress, &log, &settings, names, COLUMNS);
  log.screen.live = 1;
  progress.live_at = mxs_clock() + 1e6;
  for (int64_t i = 0; i <= 9999; i++) {
    const double row[COLUMNS] = {(double)(10 * i), 1e-3 * (double)i, 4, 5, 1, 6, 0.25};
    mxsi_progress_pass(&progress, 10 * i, 4, 0.5);
    mxsi_progress_row(&progress, row);
  }
  mxsi_progress_end(&progress);
  assert_int_equal(mxsi_log_close(&log, &dir), MXS_OK);
  char *text = mxsi_file_read(dir.fd, "log.txt");
  assert_in_range(count_lines(text), 10, 30);
  assert_non_null(strstr(text, "test error"));
  assert_null(strstr(text, "validation"));
  assert_non_null(
      strstr(text, "\n          0    4.0000e+00    5.0000e-01    5.0000e+00    2.5000e-01"));
  assert_non_null(strstr(text, "\n      99990    4.0000e+00    5.0000e-01"));
  mxs_release(&text);
}

static void durations(void **state) {
  (void)state;
  static const struct {
    double seconds;
    const char *text;
  } cases[] = {{0, "0.0 s"},          {59.94, "59.9 s"},       {59.96, "1 min 00 s"},
               {3599, "59 min 59 s"}, {3599.6, "1 h 00 min"},  {90000, "25 h 00 min"},
               {200000, "2 d 07 h"},  {(double)INFINITY, "-"}, {(double)NAN, "-"}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char text[32];
    mxs_duration_text(cases[i].seconds, text);
    assert_string_equal(text, cases[i].text);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(metrics_file, set_up, tear_down),
      cmocka_unit_test_setup_teardown(summary_file, set_up, tear_down),
      cmocka_unit_test_setup_teardown(log_and_events, set_up, tear_down),
      cmocka_unit_test_setup_teardown(table_is_thinned, set_up, tear_down),
      cmocka_unit_test(durations),
  };
  const int failed = cmocka_run_group_tests(tests, NULL, NULL);
  return failed != 0 || mxs_alloc_outstanding() != 0;
}
