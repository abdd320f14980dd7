/* Study files: order of points, lists that advance together, ranges, sizes, repeats, derived
 * numbers, names, passes, and messages with line and nearest key. */
#include "study/study_impl.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PROBLEM "problem: {n: 12, rank: 2, measurements: 100}\n"

static mxs_status read_size(const char *text, const char *size, mxs_study **out) {
  return mxs_study_read("s.yaml", text, strlen(text), size, out);
}

static mxs_study *study_of(const char *text) {
  mxs_study *study = NULL;
  if (read_size(text, NULL, &study) != MXS_OK)
    fail_msg("%s", mxs_last_error());
  return study;
}

static const char *value(const mxs_study *study, int64_t point, const char *name) {
  for (int64_t c = 0; c < study->columns; c++)
    if (strcmp(study->column[c].name, name) == 0)
      return study->point[point].values[c];
  fail_msg("no column %s", name);
  return "";
}

/* The values of a column over the points, separated by blanks. */
static void assert_column(const mxs_study *study, const char *name, const char *wanted) {
  char all[1024] = "";
  for (int64_t i = 0; i < study->count; i++) {
    const size_t used = strlen(all);
    (void)snprintf(all + used, sizeof all - used, "%s%s", i == 0 ? "" : " ", value(study, i, name));
  }
  assert_string_equal(all, wanted);
}

static void assert_refused(const char *text, const char *const parts[]) {
  mxs_study *study = NULL;
  assert_int_equal(read_size(text, NULL, &study), MXS_ERR_SETTINGS);
  assert_null(study);
  for (int i = 0; parts[i] != NULL; i++)
    if (strstr(mxs_last_error(), parts[i]) == NULL)
      fail_msg("\"%s\" does not contain \"%s\"", mxs_last_error(), parts[i]);
}

static int no_leak(void **state) {
  (void)state;
  return (int)mxs_alloc_outstanding();
}

static void the_last_axis_is_the_fastest(void **state) {
  (void)state;
  mxs_study *study = study_of("title: a study\n"
                              "solve: {method: gd, alpha: [1e-1, 1e-2]}\n"
                              "problem: {n: 12, rank: [1, 2, 3], rho: 4}\n"
                              "repeats: 2\n");
  assert_int_equal(study->count, 12);
  assert_string_equal(study->title, "a study");
  assert_column(study, "alpha", "0.1 0.1 0.1 0.1 0.1 0.1 0.01 0.01 0.01 0.01 0.01 0.01");
  assert_column(study, "rank", "1 1 2 2 3 3 1 1 2 2 3 3");
  assert_column(study, "problem.seed", "0 1 0 1 0 1 0 1 0 1 0 1");
  assert_column(study, "solve.seed", "0 1 0 1 0 1 0 1 0 1 0 1");
  for (int64_t i = 0; i < study->count; i++)
    assert_true(study->point[i].index == i && study->point[i].repeat == i % 2);
  char text[64];
  mxsi_study_describe(study, &study->point[9], text, sizeof text);
  assert_string_equal(text, "alpha 0.01, rank 2, #1");
  mxsi_study_describe(study, &study->point[9], text, 9);
  assert_string_equal(text, "alpha 0.");
  mxs_study_destroy(&study);
}

static void zipped_lists_advance_together(void **state) {
  (void)state;
  mxs_study *study = study_of("solve: {method: gd, k: [2, 4], alpha: [1e-1, 1e-2]}\n"
                              "problem: {n: 12, rank: [1, 2], seed: [5, 6], measurements: 100}\n"
                              "zip: [[rank, solve.k], [problem.seed, alpha]]\n");
  assert_int_equal(study->count, 4);
  assert_column(study, "k", "2 2 4 4");
  assert_column(study, "rank", "1 1 2 2");
  assert_column(study, "alpha", "0.1 0.01 0.1 0.01");
  assert_column(study, "problem.seed", "5 6 5 6");
  mxs_study_destroy(&study);
  study = study_of("problem: {n: 12, rank: 1, measurements_per_rank: 50}\nsolve: {max_iterations: "
                   "[7, 8]}\nranks: [1, 2]\nzip: [[max_iterations, ranks]]\n");
  assert_int_equal(study->count, 2);
  assert_true(study->point[0].ranks == 1 && study->point[1].ranks == 2);
  mxs_planting planting;
  assert_int_equal(mxsi_study_planting(study, &study->point[1], &planting), MXS_OK);
  assert_int_equal(planting.measurements, 100);
  mxs_study_destroy(&study);
}

static void repeats_count_up_the_seeds(void **state) {
  (void)state;
  mxs_study *study = study_of("problem: {n: 12, rank: 1, measurements: 100, seed: 3}\n"
                              "solve: {seed: [10, 20]}\nrepeats: 2\nrepeat_over: start\n");
  assert_column(study, "problem.seed", "3 3 3 3");
  assert_column(study, "solve.seed", "10 11 20 21");
  mxs_study_destroy(&study);
  study = study_of("problem: p.h5\nsolve: {seed: 4}\nrepeats: 3\n");
  assert_column(study, "solve.seed", "4 5 6");
  assert_true(study->problem_file[0] == '/');
  mxs_study_destroy(&study);
}

static void ranges_end_where_they_should(void **state) {
  (void)state;
  static const struct {
    const char *section, *key, *range, *wanted;
  } cases[] = {
      {"problem", "rho", "{from: 1, to: 2, step: 0.25}", "1 1.25 1.5 1.75 2"},
      {"problem", "rho", "{from: 0.1, to: 0.7, step: 0.1}", "0.1 0.2 0.3 0.4 0.5 0.6 0.7"},
      {"problem", "rho", "{from: 2, to: 1, step: -0.5}", "2 1.5 1"},
      {"problem", "rho", "{from: 3, to: 3, step: 1}", "3"},
      {"problem", "rho", "{from: 1, to: 2, count: 3}", "1 1.5 2"},
      {"problem", "rho", "{from: 1, to: 2, count: 4, scale: linear}",
       "1 1.33333333333 1.66666666667 2"},
      {"solve", "alpha", "{from: 1e-1, to: 1e-6, count: 6, scale: log}",
       "0.1 0.01 0.001 0.0001 1e-5 1e-6"},
      {"solve", "alpha", "{from: 0.1234567890123456, to: 3, count: 2, scale: log}",
       "0.1234567890123456 3"},
      {"solve", "k", "{from: 1, to: 64, count: 7, scale: log}", "1 2 4 8 16 32 64"},
      {"solve", "k", "{from: 1, to: 10, count: 4, scale: log}", "1 2 5 10"},
      {"solve", "max_iterations", "{from: 10, to: 30, step: 10}", "10 20 30"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    char text[256];
    const int solve = strcmp(cases[i].section, "solve") == 0;
    (void)snprintf(
        text, sizeof text, "problem: {n: 12, rank: 1%s%s%s}\nsolve: {method: gd%s%s%s%s}\n",
        solve ? ", rho: 3" : ", rho: ", solve ? "" : cases[i].range, "", solve ? ", " : "",
        solve ? cases[i].key : "", solve ? ": " : "", solve ? cases[i].range : "");
    mxs_study *study = study_of(text);
    assert_column(study, cases[i].key, cases[i].wanted);
    mxs_study_destroy(&study);
  }
}

static void sizes_override(void **state) {
  (void)state;
  static const char text[] = "title: x\n"
                             "size: small  # or full\n"
                             "sizes:\n"
                             "  small: {problem: {n: 10}, repeats: 2}\n"
                             "  full: {problem: {n: 30, seed: 7}, solve: {k: [2, 3]}}\n"
                             "  file: {problem: p.h5, zip: []}\n"
                             "problem: {n: 99, rank: 1, measurements: 50}\n"
                             "solve: {method: gd}\n";
  mxs_study *study = study_of(text);
  assert_int_equal(study->count, 2);
  assert_string_equal(study->size, "small");
  assert_string_equal(study->text, text);
  assert_column(study, "n", "10 10");
  mxs_study_destroy(&study);
  assert_int_equal(read_size(text, "full", &study), MXS_OK);
  assert_int_equal(study->count, 2);
  assert_column(study, "k", "2 3");
  assert_column(study, "problem.seed", "7 7");
  assert_non_null(strstr(study->text, "\nsize: full  # or full\n"));
  mxs_study *again = study_of(study->text);
  assert_string_equal(again->size, "full");
  assert_string_equal(again->text, study->text);
  assert_string_equal(again->point[1].name, study->point[1].name);
  mxs_study_destroy(&again);
  mxs_study_destroy(&study);
  assert_int_equal(read_size(text, "file", &study), MXS_OK);
  assert_non_null(study->problem_file);
  assert_int_equal(study->count, 1);
  mxs_study_destroy(&study);
  assert_int_equal(read_size(text, "large", &study), MXS_ERR_SETTINGS);
  assert_non_null(strstr(mxs_last_error(), "'large': there are small, full, file"));
}

/* A size that the command line chose is written into the text, wherever a file can have it. */
static void the_text_has_the_size(void **state) {
  (void)state;
  static const char *const texts[] = {
      "# caf\xc3\xa9\ntitle: \xc3\xa9\nsizes: {a: {repeats: 2}, b: {repeats: 3}}\n" PROBLEM,
      "# caf\xc3\xa9\r\ntitle: \xc3\xa9\r\nsizes: {a: {repeats: 2}, b: {repeats: 3}}\r\nsize: "
      "\"a\" "
      "# \xc3\xa9\r\n" PROBLEM,
      "---\n  title: x\n  sizes: {a: {}, b: {repeats: 3}}\n  " PROBLEM,
      "{sizes: {a: {repeats: 2}, b: {repeats: 3}}, problem: {n: 12, rank: 2, rho: 3}}"};
  for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
    mxs_study *study = NULL;
    if (read_size(texts[i], "b", &study) != MXS_OK)
      fail_msg("%s", mxs_last_error());
    assert_int_equal(study->count, 3);
    mxs_study *again = study_of(study->text);
    assert_int_equal(again->count, 3);
    assert_string_equal(again->text, study->text);
    mxs_study_destroy(&again);
    mxs_study_destroy(&study);
  }
}

static void numbers_are_derived(void **state) {
  (void)state;
  mxs_study *study = study_of("problem: {n1: 20, n2: 10, rank: [1, 2], rho: [1, 1.5, 1.1], noise: "
                              "0.1, ensemble: fast}\nsolve: {k: 2r}\n");
  static const int64_t wanted[] = {29, 44, 32, 56, 84, 62};
  for (int64_t i = 0; i < study->count; i++) {
    mxs_planting planting;
    assert_int_equal(mxsi_study_planting(study, &study->point[i], &planting), MXS_OK);
    assert_int_equal(planting.measurements, wanted[i]);
    assert_true(planting.n1 == 20 && planting.n2 == 10 && planting.noise == 0.1);
    assert_int_equal(planting.ensemble, MXS_ENSEMBLE_FAST);
    const int64_t alone[] = {i};
    const mxsi_pass pass = {.count = 1, .points = (int64_t *)(uintptr_t)alone};
    mxs_settings settings;
    assert_int_equal(mxsi_study_settings(study, &pass, "/p.h5", &settings), MXS_OK);
    assert_true(settings.k.count == 1 && settings.k.values[0] == 2 * planting.rank);
    assert_string_equal(settings.problem, "/p.h5");
    mxs_settings_clear(&settings);
  }
  mxs_study_destroy(&study);
}

/* Runs and problems are known by what they are, not by how the file says it. */
static void names_are_of_the_content(void **state) {
  (void)state;
  static const char *const same[] = {
      "problem: {n: 12, rank: 2, measurements: 132}\nsolve: {method: gd, k: 4, alpha: 1e-3}\n",
      "title: other\nsolve: {alpha: 0.0010, tolerance: 1e-8, method: gd, k: 2r}\n"
      "problem: {rho: 3, rank: 2, n1: 12, n2: 12, noise: 0, seed: 0}\npack: off\n"};
  static const char *const other[] = {
      "problem: {n: 12, rank: 2, measurements: 133}\nsolve: {method: gd, k: 4, alpha: 1e-3}\n",
      "problem: {n: 12, rank: 2, measurements: 132}\nsolve: {method: gd, k: 4, alpha: 1e-3, seed: "
      "1}\n",
      "problem: {n: 12, rank: 2, measurements: 132}\nsolve: {method: gd, k: 4, alpha: 1e-3}\n"
      "ranks: 2\n"};
  mxs_study *first = study_of(same[0]);
  mxs_study *second = study_of(same[1]);
  assert_string_equal(first->pass[0].run, second->pass[0].run);
  assert_string_equal(first->pass[0].problem, second->pass[0].problem);
  assert_int_equal(strlen(first->pass[0].run), 16);
  assert_int_equal(strspn(first->pass[0].run, "0123456789abcdef"), 16);
  for (int i = 0; i < 3; i++) {
    mxs_study *third = study_of(other[i]);
    assert_string_not_equal(first->pass[0].run, third->pass[0].run);
    assert_int_equal(strcmp(first->pass[0].problem, third->pass[0].problem) == 0, i > 0);
    mxs_study_destroy(&third);
  }
  mxs_study_destroy(&second);
  /* Golden: a directory that was begun with another version of the program is known again. */
  assert_string_equal(first->pass[0].problem, "5f8e9b5499fdb72f");
  assert_string_equal(first->pass[0].run, "ca69e73b217e446e");
  mxs_study_destroy(&first);
}

static void like_points_share_a_pass(void **state) {
  (void)state;
  mxs_study *study = study_of("problem: {n: 12, rank: [1, 2], measurements: 100}\n"
                              "solve: {method: gd, alpha: [1e-1, 1e-2], k: [2, 3], tolerance: "
                              "[1e-3, 1e-4]}\nrepeats: 5\nrepeat_over: start\n");
  assert_int_equal(study->count, 80);
  assert_int_equal(study->passes, 8); /* of 20 alike: 16 and 4 */
  const mxsi_pass *pass = &study->pass[0];
  assert_true(pass->count == 16 && pass->points[4] == 4 && pass->points[5] == 10);
  for (int64_t i = 0; i < study->count; i++) {
    const mxsi_point *point = &study->point[i];
    assert_int_equal(study->pass[point->pass].points[point->replica], i);
  }
  mxs_settings *settings = calloc(1, sizeof *settings);
  assert_int_equal(mxsi_study_settings(study, pass, "/p.h5", settings), MXS_OK);
  assert_int_equal(mxs_settings_check(settings), MXS_OK);
  assert_true(settings->alpha.count == 16 && settings->alpha.values[15] == 1e-2);
  assert_true(settings->k.count == 16 && settings->k.values[5] == 3 && settings->k.values[4] == 2);
  assert_true(settings->seed.count == 16 && settings->seed.values[6] == 1);
  assert_true(settings->step.count == 1 && isnan(settings->step.values[0]));
  mxs_settings_clear(settings);
  free(settings);
  /* A part of a pass has a name of its own; alone a point has that of the point. */
  mxsi_pass part = *pass;
  part.count = 3;
  mxsi_study_name_pass(study, &part);
  assert_string_not_equal(part.run, pass->run);
  assert_string_equal(part.problem, pass->problem);
  part.count = 1;
  mxsi_study_name_pass(study, &part);
  assert_string_equal(part.run, study->point[0].name);
  mxs_study_destroy(&study);
}

/* What the solver does not take together is alone: automatic among numbers, one run at a time. */
static void others_are_alone(void **state) {
  (void)state;
  static const struct {
    const char *solve;
    int64_t passes;
  } cases[] = {{"method: auto, k: [2, 3]", 2},
               {"method: sgd, k: [2, 3]", 2},
               {"method: gauss_newton, k: [2, 3]", 2},
               {"method: gd, label_noise: 0.1, k: [2, 3]", 2},
               {"method: gd, alpha: [auto, 0.1, 0.2]", 2},
               {"method: [gd, scaled_gd], k: [2, 3]", 2},
               {"method: gd, k: [2, 3]}\npack: off\nranks: {from: 1, to: 2, step: 1", 4},
               {"method: gd, k: [2, 3]}\nranks: {from: 1, to: 2, step: 1", 2}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    char text[256];
    (void)snprintf(text, sizeof text, PROBLEM "solve: {%s}\n", cases[i].solve);
    mxs_study *study = study_of(text);
    assert_int_equal(study->passes, cases[i].passes);
    for (int64_t j = 0; j < study->count; j++)
      assert_int_equal(study->point[j].replica < 0, study->pass[study->point[j].pass].count == 1);
    mxs_study_destroy(&study);
  }
}

/* Two values of rho that give the same number of measurements are one solve. */
static void same_points_are_solved_once(void **state) {
  (void)state;
  mxs_study *study = study_of("problem: {n: 12, rank: 1, rho: [2, 2.001, 2.002, 3]}\n"
                              "solve: {method: gd, alpha: [0.1, 0.2]}\n");
  assert_int_equal(study->count, 8);
  assert_int_equal(study->passes, 3);
  assert_true(study->point[2].pass == 1 && study->point[4].pass == 1 && study->point[5].pass == 1 &&
              study->point[5].replica == 1);
  assert_int_equal(study->pass[1].count, 2);
  mxs_study_destroy(&study);
}

static const struct {
  const char *text, *parts[4];
} mistakes[] = {
    {"problem: {n: 12, rnk: 2}\n", {"s.yaml:1: unknown key of problem 'rnk'", "'rank'"}},
    {PROBLEM "\nsolve:\n  alhpa: 1\n", {"s.yaml:4: unknown setting 'alhpa'", "'alpha'"}},
    {PROBLEM "repeat: 1\n", {"s.yaml:2: unknown key 'repeat'", "did you mean 'repeats'"}},
    {PROBLEM "repeats: 0\n", {"s.yaml:2: repeats: '0'", "an integer >= 1"}},
    {PROBLEM "repeats: [1, 2]\n", {"s.yaml:2: repeats takes a single value"}},
    {PROBLEM "solve: {k: [2, x]}\n", {"s.yaml:2: k: 'x'", "an integer"}},
    {PROBLEM "solve: {k: [2, [3]]}\n", {"s.yaml:2: k takes a single value"}},
    {PROBLEM "solve: {k: 0r}\n", {"s.yaml:2: k: '0r'"}},
    {PROBLEM "solve: {k: '3,5'}\n", {"s.yaml:2: k: '3,5' is a list", "k: [A, B]"}},
    {PROBLEM "solve: {k: []}\n", {"s.yaml:2: k: the list is empty"}},
    {PROBLEM "solve: {k: }\n", {"s.yaml:2: k has no value"}},
    {PROBLEM "solve: {problem: p.h5}\n", {"s.yaml:2: solve.problem: not in a study"}},
    {PROBLEM "solve: {replicas: 3}\n", {"solve.replicas: not in a study", "repeats: N"}},
    {PROBLEM "solve: {max-walltime: 1h}\n", {"solve.max_walltime: not in a study"}},
    {PROBLEM "solve: {quiet: true}\n", {"solve.quiet", "--quiet"}},
    {PROBLEM "solve: 3\n", {"s.yaml:2: solve: give settings"}},
    {PROBLEM "solve: {method: {from: 1, to: 2, step: 1}}\n", {"a range is for numbers"}},
    {PROBLEM "solve: {k: {from: 1, to: 2, stp: 1}}\n", {"key of a range 'stp'", "'step'"}},
    {PROBLEM "solve: {k: {from: 1, to: 2}}\n", {"s.yaml:2: k: a range is {from"}},
    {PROBLEM "solve: {k: {from: 1, to: 4, step: 2}}\n", {"does not end at 4", "to: 3"}},
    {PROBLEM "solve: {k: {from: 1, to: 4, step: -1}}\n", {"turn it round"}},
    {PROBLEM "solve: {k: {from: 1, to: 4, step: 0}}\n", {"s.yaml:2: k: step"}},
    {PROBLEM "solve: {k: {from: 1, to: 4, count: 9}}\n", {"k: the range has", "twice"}},
    {PROBLEM "solve: {alpha: {from: 0, to: 4, count: 9, scale: log}}\n", {"ends above 0"}},
    {PROBLEM "solve: {alpha: {from: 1, to: 1e9, step: 1}}\n", {"more than 100000"}},
    {PROBLEM "solve: {method: gd, k: {from: 1, to: 9000, step: 1}}\nrepeats: 12\n",
     {"more than 100000 points"}},
    {PROBLEM "solve: {k: [1, 2], alpha: [1, 2, 3], method: gd}\nzip: [[k, alpha]]\n",
     {"s.yaml:3: zip: alpha has 3 values, and k has 2"}},
    {PROBLEM "zip: [rank, n]\n", {"s.yaml:2: zip is a list of groups"}},
    {PROBLEM "zip: [[rank, rnk]]\n", {"s.yaml:2: zip: no key 'rnk'"}},
    {PROBLEM "zip: [[rank, rank]]\n", {"zip: rank comes twice"}},
    {PROBLEM "zip: [[rank, n], [measurements, rank]]\n", {"zip: rank comes twice"}},
    {"problem: {n: 9, rank: 1, rho: 2, seed: 1}\nsolve: {seed: 2}\nzip: [[seed, n]]\n",
     {"'seed' is a key of problem and of solve"}},
    {"problem: {n: 9, n1: 8, rank: 1, rho: 2}\n", {"problem.n1: not together with n"}},
    {"problem: {n: 9, rank: 1, rho: 2, measurements: 3}\n",
     {"problem.rho: not together with measurements"}},
    {"problem: {n: 9, rank: 1}\n", {"problem.measurements is missing", "rho"}},
    {"problem: {n1: 9, rank: 1, rho: 3}\n", {"problem.n2 is missing"}},
    {"problem: {n: 9, rho: 1}\n", {"problem.rank is missing"}},
    {"solve: {k: 2}\n", {"problem.n1 is missing"}},
    {"problem: {n: 9, rank: 1, measurements_per_rank: 9}\n", {"add 'ranks: P'"}},
    {"problem: {n: 9, rank: 1, measurements_per_rank: 9}\nranks: all\n", {"point 0", "ranks"}},
    {"problem: {n: 9, rank: [3, 10], rho: 1}\n", {"point 1 (rank 10): rank: 10 is more"}},
    {"problem: {n: 9, rank: 1, rho: 3, storage: f32}\n", {"storage: only ensemble dense"}},
    {"problem: {n: 9, rank: 1, rho: 3, blocks: 2}\n", {"blocks: only ensemble fast"}},
    {PROBLEM "solve: {alpha: 0.1}\n", {"point 0", "alpha: 0.1 does not go with method: auto"}},
    {PROBLEM "solve: {method: [gd, nesterov], line_search: true}\n",
     {"point 1 (method nesterov): line_search"}},
    {PROBLEM "solve: {measurements: [100, 101]}\n",
     {"point 1 (solve.measurements 101): solve.measurements: 101, but the problem has 100"}},
    {"problem: {n: 9, rank: 1, rho: 9, hold_out: 0.1}\nsolve: {hold_out: 0.2}\n",
     {"point 0", "its own held-out measurements"}},
    {"problem: {n1: 9, n2: 8, rank: 1, rho: 9}\nsolve: {model: symmetric}\n", {"9 x 8"}},
    {"problem: {n: 9, rank: [1, 5], rho: 2}\nsolve: {method: riemannian_gd, k: 2r}\n",
     {"point 1 (rank 5): k: riemannian_gd"}},
    {"problem: {n: 9, rank: 1, rho: 2, ensemble: fast}\nsolve: {block_rows: 3}\n",
     {"block_rows: that of the ensemble fast"}},
    {PROBLEM "solve: {storage: f32}\n", {"point 0", "storage: f32"}},
    {"problem: p.h5\nsolve: {k: 2r}\n", {"s.yaml:2: solve.k: 2r is of the rank"}},
    {"problem: p.h5\nrepeats: 2\nrepeat_over: problem\n", {"repeat_over: start"}},
    {"problem: [a.h5, b.h5]\n", {"s.yaml:1: problem: give keys of mxsense gen, or one"}},
    {"problem: {n: 9, n: 9}\n", {"n is given twice, first on line 1"}},
    {PROBLEM "solve: {k: 2}\nsolve: {k: 3}\n", {"s.yaml:3: solve is given twice"}},
    {PROBLEM "size: small\n", {"size: 'small', and the file has no sizes"}},
    {PROBLEM "sizes: {small: {repeats: 2}}\n", {"size: none is chosen", "there are small"}},
    {PROBLEM "size: a\nsizes: {a: {}, b: {solve: {kk: 1}}}\n", {"unknown setting 'kk'"}},
    {PROBLEM "size: a\nsizes: {a: {}, b: {solve: {k: x}}}\n", {"k: 'x'"}},
    {PROBLEM "size: a\nsizes: {a: {sizes: 1}}\n", {"sizes: not inside of a size"}},
    {PROBLEM "title: \"a\\nb\"\n", {"s.yaml:2: title", "control character"}},
    {"- a\n", {"s.yaml:1: not a study"}},
    {"", {"s.yaml:1: not a study"}},
    {PROBLEM "a: [\n", {"not valid YAML"}},
    {PROBLEM "---\nk: 2\n", {"a second YAML document"}},
    {"problem: {n: 9, rank: 1, rho: 2, seed: 9223372036854775807}\nrepeats: 2\n",
     {"s.yaml:1: problem.seed", "too large for 2 repeats"}},
};

static void mistakes_are_named(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof mistakes / sizeof mistakes[0]; i++)
    assert_refused(mistakes[i].text, mistakes[i].parts);
}

/* As many points as there may be. */
static void a_large_study(void **state) {
  (void)state;
  mxs_study *study = study_of(
      "problem: {n: 24, rank: {from: 1, to: 10, step: 1}, rho: {from: 1, to: 5, count: 100}}\n"
      "solve: {method: gd, k: [1r, 2r]}\nrepeats: 50\n");
  assert_int_equal(study->count, 100000);
  assert_int_equal(study->passes, 50000);
  mxs_study_destroy(&study);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_teardown(the_last_axis_is_the_fastest, no_leak),
      cmocka_unit_test_teardown(zipped_lists_advance_together, no_leak),
      cmocka_unit_test_teardown(repeats_count_up_the_seeds, no_leak),
      cmocka_unit_test_teardown(ranges_end_where_they_should, no_leak),
      cmocka_unit_test_teardown(sizes_override, no_leak),
      cmocka_unit_test_teardown(the_text_has_the_size, no_leak),
      cmocka_unit_test_teardown(numbers_are_derived, no_leak),
      cmocka_unit_test_teardown(names_are_of_the_content, no_leak),
      cmocka_unit_test_teardown(like_points_share_a_pass, no_leak),
      cmocka_unit_test_teardown(others_are_alone, no_leak),
      cmocka_unit_test_teardown(same_points_are_solved_once, no_leak),
      cmocka_unit_test_teardown(mistakes_are_named, no_leak),
      cmocka_unit_test_teardown(a_large_study, no_leak),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
