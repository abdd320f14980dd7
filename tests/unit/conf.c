/* Settings: messages with file, line and nearest key, echo that reads back,
 * comparison on resume. */
#include "conf/settings.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

typedef struct pair {
  const char *text, *wanted;
} pair;

static void contains(const char *text, const char *part) {
  if (strstr(text, part) == NULL)
    fail_msg("\"%s\" does not contain \"%s\"", text, part);
}

static mxs_settings defaults(void) {
  mxs_settings settings;
  assert_int_equal(mxs_settings_defaults(&settings), MXS_OK);
  return settings;
}

static mxs_status merge(mxs_settings *settings, const char *text) {
  return mxs_settings_merge_yaml(settings, "run.yaml", text, strlen(text));
}

static char *echo_of(const mxs_settings *settings) {
  char *text = NULL;
  assert_int_equal(mxs_settings_echo(settings, &text), MXS_OK);
  return text;
}

static int no_leak(void **state) {
  (void)state;
  return (int)mxs_alloc_outstanding();
}

static void defaults_are_those_of_the_contract(void **state) {
  (void)state;
  mxs_settings s = defaults();
  assert_null(s.problem);
  assert_string_equal(s.init, "auto");
  assert_int_equal(s.method, MXS_METHOD_AUTO);
  assert_true(s.measurements == 0 && s.k.count == 1 && s.k.values[0] == 0 && s.seed.count == 1 &&
              s.seed.values[0] == 0 && s.max_iterations == 10000);
  assert_true(s.metrics_every == 10 && s.singular_values == 0 &&
              s.checkpoint_every.iterations == 0);
  assert_true(s.alpha.count == 1 && isnan(s.alpha.values[0]) && s.step.count == 1 &&
              isnan(s.step.values[0]) && isnan(s.hold_out) && s.tolerance == 1e-8);
  assert_true(s.checkpoint_every.seconds == 600.0 && s.quiet == 0 && s.verbose == 0);
  assert_int_equal(s.storage, MXS_STORAGE_AS_FILE);
  assert_int_equal(s.reduction, MXS_REDUCTION_REPRODUCIBLE);
  assert_int_equal(s.svd, MXS_SVD_AUTO);
  assert_int_equal(s.progress, MXS_PROGRESS_AUTO);
  mxs_settings_clear(&s);
  assert_null(s.init);
}

/* Value refused: the message names key, value and what is accepted, and the field keeps what it
 * had. */
static void bad_values(void **state) {
  (void)state;
  static const struct {
    const char *key, *value, *accepted;
  } bad[] = {{"k", "1.5", "an integer >= 1, or auto"},
             {"k", "0", "an integer >= 1, or auto"},
             {"k", "-3", "out of range"},
             {"k", "", "not an integer"},
             {"k", "Auto", "or auto"},
             {"measurements", "auto", "or all"},
             {"max_iterations", "1e-5x", "an integer >= 0"},
             {"max_iterations", "auto", "an integer >= 0"},
             {"tolerance", "-1e-9", "a number >= 0"},
             {"tolerance", "nan", "a number >= 0"},
             {"alpha", "0", "a number > 0, or auto"},
             {"step", "inf", "a number > 0, or auto"},
             {"hold_out", "1", "a number >= 0 and < 1, or auto"},
             {"seed", "-1", "an integer >= 0"},
             {"model", "hermitian", "asymmetric or symmetric"},
             {"method", "adam", "auto, gd, nesterov"},
             {"storage", "F64", "auto, f64, f32, bf16, bits or stream"},
             {"init", "Spectral", "spectral or nystrom or file:PATH"},
             {"init", "file:", "names no file"},
             {"problem", "", "a path"},
             {"problem", "a\tb", "control character"},
             {"problem", "\xff.h5", "UTF-8"},
             {"quiet", "1", "true or false"},
             {"checkpoint_every", "10 minutes", "10min"},
             {"metrics_every", "0", "an integer >= 1"},
             {"alpha", "1e-2,x", "has 'x', which is not a finite number"},
             {"alpha", "1e-2,-1", "has '-1', which is out of range"},
             {"alpha", "1e-2,", "has '', which is not a finite number"},
             {"alpha", "auto,1e-2", "has 'auto' among other values"},
             {"alpha", "1e-2, [1]", "has '[1]'"},
             {"alpha", "[1e-2, 1", "has '[1e-2'"},
             {"alpha", "1e-2 1e-3", "is not a finite number"},
             {"k", "[]", "an integer >= 1, or auto, or a list with one for each replica"},
             {"k", "[2, 1.5]", "has '1.5', which is not an integer"},
             {"seed", "1,auto", "has 'auto', which is not an integer"},
             {"step", "[0.1,\t0.2]", "which is not a finite number"},
             {"seed", "1,00000000000000000000000000000000000000000000000000000000000000000002",
              "more than 63 characters"},
             {"replicas", "0", "an integer >= 1 and <= 1024, or auto"},
             {"replicas", "1025", "out of range"},
             {"replicas", "2,3", "an integer >= 1 and <= 1024, or auto"},
             {"threads", "0", "an integer >= 1 and <= 4096"},
             {"singular_values", "0", "or auto"}};
  mxs_settings s = defaults();
  char *before = echo_of(&s);
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    if (mxs_settings_set(&s, bad[i].key, bad[i].value) != MXS_ERR_SETTINGS)
      fail_msg("%s = '%s' was taken", bad[i].key, bad[i].value);
    contains(mxs_last_error(), bad[i].key);
    contains(mxs_last_error(), bad[i].accepted);
  }
  char *after = echo_of(&s);
  assert_string_equal(before, after);
  mxs_release(&before);
  mxs_release(&after);
  mxs_settings_clear(&s);
}

static void unknown_keys(void **state) {
  (void)state;
  static const pair known[] = {{"max_itertions", "'max_iterations'"},
                               {"max-itertions", "'max_iterations'"},
                               {"maxiterations", "'max_iterations'"},
                               {"stpe", "'step'"},
                               {"sed", "'seed'"},
                               {"max_iter", "'max_iterations'"},
                               {"toler", "'tolerance'"},
                               {"holdout", "'hold_out'"},
                               {"Problem", "'problem'"},
                               {"checkpointevery", "'checkpoint_every'"}};
  static const char *const later[] = {
      "order",
      "spectra",
      "",
      "zzzzzzzz",
      "k_",
      "k ",
      "a_key_that_is_much_longer_than_any_key_that_this_program_has_or_will_ever_have"};
  mxs_settings s = defaults();
  for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
    assert_int_equal(mxs_settings_set(&s, known[i].text, "1"), MXS_ERR_USAGE);
    contains(mxs_last_error(), known[i].text);
    contains(mxs_last_error(), known[i].wanted);
    contains(mxs_last_error(), "did you mean");
  }
  for (size_t i = 0; i < sizeof later / sizeof later[0]; i++)
    assert_int_equal(mxs_settings_set(&s, later[i], "1"), MXS_ERR_USAGE);
  assert_int_equal(mxs_settings_set(&s, "metrics-every", "1e2"), MXS_OK);
  assert_true(s.metrics_every == 100);
  mxs_settings_clear(&s);
}

static void yaml_good(void **state) {
  (void)state;
  mxs_settings s = defaults();
  assert_int_equal(merge(&s, ""), MXS_OK);
  assert_int_equal(merge(&s, "# only a comment\n"), MXS_OK);
  assert_int_equal(merge(&s, "---\n{}\n"), MXS_OK);
  assert_int_equal(
      merge(&s,
            "# run\nk: 1e1   # ten\nalpha: auto\nstep: 0.25\n'seed': \"7\"\nmetrics-every: 5\r\n"
            "checkpoint_every: 200,10min\nquiet: yes\nstorage: f32\nproblem: /data/p.h5\n"),
      MXS_OK);
  assert_true(s.k.values[0] == 10 && isnan(s.alpha.values[0]) && s.step.values[0] == 0.25 &&
              s.seed.values[0] == 7 && s.metrics_every == 5);
  assert_true(s.checkpoint_every.iterations == 200 && s.checkpoint_every.seconds == 600.0 &&
              s.quiet == 1);
  assert_int_equal(s.storage, MXS_STORAGE_F32);
  assert_string_equal(s.problem, "/data/p.h5");
  assert_int_equal(merge(&s, "{k: 3, seed: 9}"), MXS_OK);
  assert_true(s.k.values[0] == 3 && s.seed.values[0] == 9 && s.step.values[0] == 0.25);
  assert_int_equal(mxs_settings_set(&s, "k", "4"),
                   MXS_OK); /* the command line comes last and wins */
  assert_true(s.k.count == 1 && s.k.values[0] == 4);
  mxs_settings_clear(&s);
}

static void yaml_bad(void **state) {
  (void)state;
  static const pair bad[] = {
      {"k: 3\n\n# c\nmax_itertions: 4\n",
       "run.yaml:4: unknown setting 'max_itertions': did you mean 'max_iterations'?"},
      {"k: 3\nweighting: 4\n", "run.yaml:2: unknown setting 'weighting'"},
      {"k: 3\nseed: 1\nk: 4\n", "run.yaml:3: k is given twice, first on line 1"},
      {"metrics_every: 3\nmetrics-every: 4\n", "run.yaml:2: metrics_every is given twice"},
      {"seed: 1\nk: 1.5\n", "run.yaml:2: k: '1.5' is not an integer"},
      {"tolerance: 1e-5x\n", "run.yaml:1: tolerance: '1e-5x' is not a finite number"},
      {"max_iterations: -3\n", "run.yaml:1: max_iterations: '-3' is out of range"},
      {"metrics_every: [1, 2]\n", "run.yaml:1: metrics_every takes a single value"},
      {"k:\n  a: 1\n", "run.yaml:1: k takes a single value"},
      {"seed: 1\nalpha: [0.1, [0.2]]\n", "run.yaml:2: alpha takes a list of single values"},
      {"alpha: [0.1, \"0.2,0.3\"]\n", "run.yaml:1: alpha takes a list of single values"},
      {"alpha: [0.1, a: 1]\n", "run.yaml:1: alpha takes a list of single values"},
      {"alpha: [0.1, ~]\n", "run.yaml:1: alpha: '[0.1, ~]' has '~'"},
      {"seed: 1\nk: []\n", "run.yaml:2: k: '[]' has ''"},
      {"seed: 0\nk:\n", "run.yaml:2: k has no value"},
      {"k: ~\n", "run.yaml:1: k has no value"},
      {"k: ''\n", "run.yaml:1: k: '' is not an integer"},
      {"k: null\n", "has no value"},
      {"[k, 3]\n", "run.yaml:1: not a list of settings"},
      {"just text\n", "run.yaml:1: not a list of settings"},
      {"? [a]\n: 3\n", "run.yaml:1: a key must be plain text"},
      {"\"k\\0x\": 3\n", "a key must be plain text"},
      {"k: 3\n---\nk: 4\n", "run.yaml:3: a second YAML document"},
      {"k: 3\n  seed: 4\n", "run.yaml:2: not valid YAML"},
      {"k: 3\n - {\n", "run.yaml:2: not a setting"},
      {"k: 3\n  5\n", "run.yaml:2: not a setting, but more text for k of line 1"},
      {"problem: \"a\n  b\"\nseed: 1", "run.yaml:2: not a setting, but more text for problem"},
      {"k: 3\n\tseed: 4\n", "not valid YAML"},
      {"k: \"3\n", "not valid YAML"},
      {"k: &a *a\n", "not valid YAML"},
      {"k: 3\n\x01\n", "not valid YAML"},
      {"k: \xff\n", "not valid YAML"},
  };
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    mxs_settings s = defaults();
    if (merge(&s, bad[i].text) != MXS_ERR_SETTINGS)
      fail_msg("taken: %s", bad[i].text);
    contains(mxs_last_error(), bad[i].wanted);
    assert_null(strchr(mxs_last_error(), '\n'));
    mxs_settings_clear(&s);
  }
}

/* A file is not followed into the depths: libyaml stops, and nothing leaks or crashes. */
static void yaml_deep(void **state) {
  (void)state;
  enum { DEPTH = 20000 };
  char *text = malloc(DEPTH + 4);
  assert_non_null(text);
  memcpy(text, "k: ", 3);
  memset(text + 3, '[', DEPTH);
  text[DEPTH + 3] = '\0';
  mxs_settings s = defaults();
  assert_int_equal(merge(&s, text), MXS_ERR_SETTINGS);
  mxs_settings_clear(&s);
  free(text);
}

static void paths(void **state) {
  (void)state;
  char here[4096];
  char wanted[8192];
  assert_non_null(getcwd(here, sizeof here));
  mxs_settings s = defaults();
  static const pair relative[] = {
      {"p.h5", "p.h5"}, {"./p.h5", "p.h5"}, {".//./a b/p.h5", "a b/p.h5"}, {"../p.h5", "../p.h5"}};
  for (size_t i = 0; i < sizeof relative / sizeof relative[0]; i++) {
    assert_int_equal(mxs_settings_set(&s, "problem", relative[i].text), MXS_OK);
    assert_true(snprintf(wanted, sizeof wanted, "%s/%s", here, relative[i].wanted) > 0);
    assert_string_equal(s.problem, wanted);
  }
  assert_int_equal(merge(&s, "init: file:start.h5\n"), MXS_OK);
  assert_true(snprintf(wanted, sizeof wanted, "file:%s/start.h5", here) > 0);
  assert_string_equal(s.init, wanted);
  assert_int_equal(mxs_settings_set(&s, "problem", "/a/b.h5"), MXS_OK);
  assert_string_equal(s.problem, "/a/b.h5");
  mxs_settings_clear(&s);
}

/* What is echoed sets the same values, down to the bits, and echoes the same text. */
static void check_round_trip(const mxs_settings *s) {
  char *text = echo_of(s);
  mxs_settings back = defaults();
  if (merge(&back, text) != MXS_OK)
    fail_msg("%s in\n%s", mxs_last_error(), text);
  char *again = echo_of(&back);
  assert_string_equal(text, again);
  assert_memory_equal(&back.tolerance, &s->tolerance, sizeof back.tolerance);
  assert_int_equal(back.alpha.count, s->alpha.count);
  if (!isnan(s->alpha.values[0]))
    assert_memory_equal(back.alpha.values, s->alpha.values,
                        (size_t)s->alpha.count * sizeof *back.alpha.values);
  mxs_release(&again);
  mxs_release(&text);
  mxs_settings_clear(&back);
}

static void echo_reads_back(void **state) {
  (void)state;
  static const char *const names[] = {
      "/plain/p.h5",        "/with space/p.h5", "/q\"uote\\/p.h5",
      "/#hash: colon/p.h5", "/- dash",          "/\xc3\xbc\xe2\x82\xac.h5",
      "/'single'",          "/*star&amp!",      "/%d%s",
      "/[a]{b},c",          "/trailing: ",      "/@`|>"};
  mxs_settings s = defaults();
  check_round_trip(&s);
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    char init[64];
    assert_true(snprintf(init, sizeof init, "file:%s", names[i]) > 0);
    assert_int_equal(mxs_settings_set(&s, "problem", names[i]), MXS_OK);
    assert_int_equal(mxs_settings_set(&s, "init", init), MXS_OK);
    check_round_trip(&s);
  }
  static const pair values[] = {{"k", "12"},
                                {"alpha", "0.1234567890123456789"},
                                {"step", "3e-300"},
                                {"tolerance", "4.9406564584124654e-324"},
                                {"seed", "9223372036854775807"},
                                {"hold_out", "0.3"},
                                {"measurements", "1e6"},
                                {"storage", "f64"},
                                {"reduction", "fast"},
                                {"svd", "scalapack"},
                                {"progress", "on"},
                                {"quiet", "on"},
                                {"checkpoint_every", "7,0.3s"},
                                {"singular_values", "4"}};
  for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
    assert_int_equal(mxs_settings_set(&s, values[i].text, values[i].wanted), MXS_OK);
    check_round_trip(&s);
  }
  char *text = echo_of(&s);
  contains(text, "\nk: 12\n");
  contains(text, "\nquiet: true\n");
  mxs_release(&text);
  mxs_settings_clear(&s);
}

static mxs_status compare_after(const char *key, const char *value) {
  mxs_settings stored = defaults();
  assert_int_equal(mxs_settings_set(&stored, "problem", "/data/p.h5"), MXS_OK);
  char *before = echo_of(&stored);
  assert_int_equal(mxs_settings_set(&stored, key, value), MXS_OK);
  char *now = echo_of(&stored);
  const mxs_status status = mxs_settings_compatible(before, now);
  mxs_release(&before);
  mxs_release(&now);
  mxs_settings_clear(&stored);
  return status;
}

static void resume_compares(void **state) {
  (void)state;
  static const pair free_ones[] = {
      {"max_iterations", "5"}, {"tolerance", "0"},         {"checkpoint_every", "7"},
      {"metrics_every", "3"},  {"quiet", "true"},          {"verbose", "true"},
      {"progress", "off"},     {"problem", "/moved/p.h5"}, {"k", "auto"},
      {"threads", "4"}};
  static const pair fixed[] = {{"k", "7"},
                               {"seed", "1"},
                               {"seed", "0, 1"},
                               {"replicas", "3"},
                               {"alpha", "0.1"},
                               {"step", "0.5"},
                               {"init", "file:/a"},
                               {"hold_out", "0.1"},
                               {"storage", "f32"},
                               {"reduction", "fast"},
                               {"svd", "replicated"},
                               {"measurements", "50"},
                               {"singular_values", "3"}};
  for (size_t i = 0; i < sizeof free_ones / sizeof free_ones[0]; i++)
    assert_int_equal(compare_after(free_ones[i].text, free_ones[i].wanted), MXS_OK);
  for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++) {
    assert_int_equal(compare_after(fixed[i].text, fixed[i].wanted), MXS_ERR_SETTINGS);
    contains(mxs_last_error(), fixed[i].text);
    contains(mxs_last_error(), fixed[i].wanted);
    contains(mxs_last_error(), "another directory");
  }
  assert_int_equal(mxs_settings_compatible("k: 3\n", "k: 3\nseed: 0\n"), MXS_OK);
  assert_int_equal(mxs_settings_compatible("k: 3\n", "k: 3\nseed: 5\n"), MXS_ERR_SETTINGS);
  contains(mxs_last_error(), "seed: the run was started with '0'");
  assert_int_equal(mxs_settings_compatible("k: 3\nseed: 0\n", "k: 3\n"), MXS_ERR_SETTINGS);
  contains(mxs_last_error(), "seed");
  assert_int_equal(mxs_settings_compatible("", ""), MXS_OK);
  assert_int_equal(mxs_settings_compatible("problem: /a\nk: 3\n", "k: 3\n"), MXS_OK);
}

static void settings_fit_together(void **state) {
  (void)state;
  mxs_settings s = defaults();
  assert_int_equal(mxs_settings_check(&s), MXS_ERR_SETTINGS);
  contains(mxs_last_error(), "--problem");
  assert_int_equal(mxs_settings_set(&s, "problem", "p.h5"), MXS_OK);
  assert_int_equal(mxs_settings_check(&s), MXS_OK);
  assert_int_equal(mxs_settings_set(&s, "svd", "scalapack"), MXS_OK);
  assert_int_equal(mxs_settings_check(&s), MXS_ERR_SETTINGS);
  contains(mxs_last_error(), "reduction: fast");
  assert_int_equal(mxs_settings_set(&s, "reduction", "fast"), MXS_OK);
  assert_int_equal(mxs_settings_check(&s), MXS_OK);
  mxs_settings_clear(&s);
}

/* Each way to write a list gives the same values, and the echo has one way. */
static void lists(void **state) {
  (void)state;
  static const char *const ways[] = {"alpha: 1e-2,2e-3,0.5\n", "alpha: [1e-2, 2e-3, 5e-1]\n",
                                     "alpha: \"[1e-2 ,2e-3,.5]\"\n",
                                     "alpha:\n  - 0.01\n  - 0.002\n  - '0.5'\n"};
  for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
    mxs_settings s = defaults();
    if (merge(&s, ways[i]) != MXS_OK)
      fail_msg("%s: %s", ways[i], mxs_last_error());
    assert_int_equal(s.alpha.count, 3);
    assert_true(s.alpha.values[0] == 0.01 && s.alpha.values[1] == 0.002 &&
                s.alpha.values[2] == 0.5);
    char *text = echo_of(&s);
    contains(text, "\nalpha: [0.01, 0.002, 0.5]\n");
    mxs_release(&text);
    check_round_trip(&s);
    assert_int_equal(mxs_settings_set(&s, "alpha", "[auto]"), MXS_OK);
    assert_true(s.alpha.count == 1 && isnan(s.alpha.values[0]));
    mxs_settings_clear(&s);
  }
}

static void longest_list(void **state) {
  (void)state;
  char text[2 * (MXS_LIST_LIMIT + 1) + 1];
  for (int i = 0; i <= MXS_LIST_LIMIT; i++)
    memcpy(text + 2 * (ptrdiff_t)i, "7,", 2);
  mxs_settings s = defaults();
  text[2 * MXS_LIST_LIMIT - 1] = '\0';
  assert_int_equal(mxs_settings_set(&s, "seed", text), MXS_OK);
  assert_int_equal(s.seed.count, MXS_LIST_LIMIT);
  check_round_trip(&s);
  text[2 * MXS_LIST_LIMIT - 1] = ',';
  text[2 * MXS_LIST_LIMIT + 1] = '\0';
  assert_int_equal(mxs_settings_set(&s, "seed", text), MXS_ERR_SETTINGS);
  contains(mxs_last_error(), "more than 1024 values");
  mxs_settings_clear(&s);
}

static void replicas(void **state) {
  (void)state;
  mxs_settings s = defaults();
  assert_int_equal(mxs_settings_replicas(&s), 1);
  assert_int_equal(merge(&s, "problem: /p.h5\nmethod: gd\nseed: 5\nreplicas: 3\n"), MXS_OK);
  assert_int_equal(mxs_settings_check(&s), MXS_OK);
  assert_int_equal(mxs_settings_replicas(&s), 3);
  assert_int_equal(mxs_settings_replica(&s, 2).seed, 7);
  /* A list leaves the other keys as they are. */
  assert_int_equal(merge(&s, "alpha: [0.1, 0.2, 0.4]\nk: [4, 6, 5]\n"), MXS_OK);
  assert_int_equal(mxs_settings_check(&s), MXS_OK);
  const mxs_replica one = mxs_settings_replica(&s, 1);
  assert_true(one.seed == 5 && one.alpha == 0.2 && one.k == 6 && isnan(one.step));
  assert_int_equal(mxs_settings_k(&s, 100, 80), 6);
  assert_int_equal(mxs_settings_set(&s, "replicas", "auto"), MXS_OK);
  mxs_settings_resolve(&s, 100, 80, 9000, 0);
  assert_int_equal(s.replicas, 3);
  assert_true(s.k.count == 3 && s.k.values[2] == 5);
  assert_int_equal(mxs_settings_set(&s, "k", "auto"), MXS_OK);
  mxs_settings_resolve(&s, 100, 80, 9000, 0);
  assert_true(s.k.count == 1 && mxs_settings_replica(&s, 2).k == 20);
  mxs_settings_clear(&s);
}

static void replicas_that_do_not_fit(void **state) {
  (void)state;
  static const struct {
    const char *text, *one, *other;
  } bad[] = {
      {"alpha: [0.1, 0.2]\nseed: [1, 2, 3]\n", "alpha", "seed"},
      {"k: [3, 4]\nstep: [0.1, 0.2, 0.3]\n", "k", "step"},
      {"alpha: [0.1, 0.2]\nreplicas: 3\n", "alpha", "replicas"},
      {"seed: [1, 2]\nreplicas: 1\n", "seed", "replicas"},
      {"seed: 9223372036854775807\nreplicas: 2\n", "seed", "replicas"},
  };
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    mxs_settings s = defaults();
    assert_int_equal(mxs_settings_set(&s, "problem", "/p.h5"), MXS_OK);
    assert_int_equal(merge(&s, bad[i].text), MXS_OK);
    assert_int_equal(mxs_settings_check(&s), MXS_ERR_SETTINGS);
    contains(mxs_last_error(), bad[i].one);
    contains(mxs_last_error(), bad[i].other);
    mxs_settings_clear(&s);
  }
}

/* What the method finds for itself is refused by name, and goes with another method. */
static void what_auto_decides(void **state) {
  (void)state;
  static const pair bad[] = {{"alpha", "1e-3"},      {"alpha", "1e-3,1e-2"},
                             {"step", "0.1"},        {"init", "random"},
                             {"init", "file:/s.h5"}, {"stop", "validation"},
                             {"label_noise", "0.1"}, {"replicas", "2"},
                             {"seed", "1,2"},        {"k", "3,4"}};
  static const pair good[] = {{"k", "3"},           {"seed", "4"},     {"hold_out", "0"},
                              {"replicas", "1"},    {"alpha", "auto"}, {"stop", "tolerance"},
                              {"tolerance", "0"},   {"init", "auto"},  {"max_iterations", "7"},
                              {"progressive", "no"}};
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    mxs_settings s = defaults();
    assert_int_equal(mxs_settings_set(&s, "problem", "/p.h5"), MXS_OK);
    assert_int_equal(mxs_settings_set(&s, bad[i].text, bad[i].wanted), MXS_OK);
    if (mxs_settings_check(&s) != MXS_ERR_SETTINGS)
      fail_msg("%s = %s was taken", bad[i].text, bad[i].wanted);
    contains(mxs_last_error(), bad[i].text);
    contains(mxs_last_error(), "method: gd");
    assert_int_equal(mxs_settings_set(&s, "method", "gd"), MXS_OK);
    assert_int_equal(mxs_settings_check(&s), MXS_OK);
    mxs_settings_clear(&s);
  }
  mxs_settings s = defaults();
  assert_int_equal(mxs_settings_set(&s, "problem", "/p.h5"), MXS_OK);
  for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
    assert_int_equal(mxs_settings_set(&s, good[i].text, good[i].wanted), MXS_OK);
    assert_int_equal(mxs_settings_check(&s), MXS_OK);
  }
  mxs_settings_clear(&s);
}

static double resolved_hold_out(const char *text, int64_t m, int64_t m_validation) {
  mxs_settings s = defaults();
  assert_int_equal(merge(&s, text), MXS_OK);
  mxs_settings_resolve(&s, 30, 20, m, m_validation);
  mxs_settings_clear(&s);
  return s.hold_out;
}

static void automatic_hold_out(void **state) {
  (void)state;
  assert_true(resolved_hold_out("", 1000, 0) == 0.1);
  assert_true(resolved_hold_out("method: auto\n", 10, 0) == 0.1);
  assert_true(resolved_hold_out("", 9, 0) == 0.0);
  assert_true(resolved_hold_out("measurements: 9\n", 1000, 0) == 0.0);
  assert_true(resolved_hold_out("", 1000, 50) == 0.0);
  assert_true(resolved_hold_out("method: gd\n", 1000, 0) == 0.0);
  assert_true(resolved_hold_out("hold_out: 0\n", 1000, 0) == 0.0);
  assert_true(resolved_hold_out("method: gd\nhold_out: 0.25\n", 1000, 0) == 0.25);
}

static void help_shows_every_key(void **state) {
  (void)state;
  mxs_text help = {0};
  assert_int_equal(mxs_table_help(&mxs_settings_table, &help), MXS_OK);
  for (int i = 0; i < mxs_settings_table.count; i++) {
    char key[64];
    assert_true(snprintf(key, sizeof key, "\n  --%s", mxs_settings_table.options[i].key) > 0);
    contains(help.data, key);
  }
  for (const char *line = help.data; *line != '\0';) {
    const size_t length = strcspn(line, "\n");
    assert_true(length <= 80);
    line += length + (line[length] == '\n');
  }
  mxs_release(&help.data);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_teardown(defaults_are_those_of_the_contract, no_leak),
      cmocka_unit_test_teardown(bad_values, no_leak),
      cmocka_unit_test_teardown(unknown_keys, no_leak),
      cmocka_unit_test_teardown(yaml_good, no_leak),
      cmocka_unit_test_teardown(yaml_bad, no_leak),
      cmocka_unit_test_teardown(yaml_deep, no_leak),
      cmocka_unit_test_teardown(paths, no_leak),
      cmocka_unit_test_teardown(echo_reads_back, no_leak),
      cmocka_unit_test_teardown(resume_compares, no_leak),
      cmocka_unit_test_teardown(settings_fit_together, no_leak),
      cmocka_unit_test_teardown(lists, no_leak),
      cmocka_unit_test_teardown(longest_list, no_leak),
      cmocka_unit_test_teardown(replicas, no_leak),
      cmocka_unit_test_teardown(replicas_that_do_not_fit, no_leak),
      cmocka_unit_test_teardown(what_auto_decides, no_leak),
      cmocka_unit_test_teardown(automatic_hold_out, no_leak),
      cmocka_unit_test_teardown(help_shows_every_key, no_leak),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
