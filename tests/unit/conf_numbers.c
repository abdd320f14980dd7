/* Numbers and times: all of the text must be one, every value reads back, and no locale has a say.
 */
#include "conf/settings.h"

#include <locale.h>
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

static void contains(const char *text, const char *part) {
  if (strstr(text, part) == NULL)
    fail_msg("\"%s\" does not contain \"%s\"", text, part);
}

static void integers(void **state) {
  (void)state;
  static const struct {
    const char *text;
    int64_t value;
  } good[] = {{"0", 0},
              {"-0", 0},
              {"7", 7},
              {"+7", 7},
              {"007", 7},
              {"1e3", 1000},
              {"1E+3", 1000},
              {"2.50e1", 25},
              {"1.0", 1},
              {"5.", 5},
              {".5e1", 5},
              {"1000e-3", 1},
              {"0e99999999999", 0},
              {"0.000", 0},
              {"-3", -3},
              {"9223372036854775807", INT64_MAX},
              {"-9223372036854775808", INT64_MIN},
              {"9.223372036854775807e18", INT64_MAX}};
  static const char *const bad[] = {"",
                                    " ",
                                    "1.5",
                                    "1e-3",
                                    "15e-1",
                                    "e3",
                                    "1e",
                                    "1e+",
                                    "1e3x",
                                    "1x",
                                    "x",
                                    " 1",
                                    "1 ",
                                    "1_000",
                                    "1,000",
                                    "0x10",
                                    "nan",
                                    "inf",
                                    "-",
                                    "+",
                                    ".",
                                    "--1",
                                    "1e1.5",
                                    "1.2.3",
                                    "9223372036854775808",
                                    "-9223372036854775809",
                                    "1e19",
                                    "1e999999999999999999999",
                                    "true",
                                    "\xd9\xa3"};
  for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
    int64_t value = -99;
    assert_int_equal(mxs_parse_integer(good[i].text, &value), MXS_OK);
    assert_true(value == good[i].value);
  }
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    int64_t value = -99;
    if (mxs_parse_integer(bad[i], &value) != MXS_ERR_SETTINGS || value != -99)
      fail_msg("'%s' was taken as %lld", bad[i], (long long)value);
  }
}

static void reals(void **state) {
  (void)state;
  static const struct {
    const char *text;
    double value;
  } good[] = {{"0", 0.0},
              {"1e-8", 1e-8},
              {"1E-8", 1e-8},
              {".5", 0.5},
              {"5.", 5.0},
              {"-2.5e+3", -2500.0},
              {"0.1", 0.1},
              {"0e-999999", 0.0},
              {"4.9406564584124654e-324", 4.9406564584124654e-324},
              {"1.7976931348623157e308", 1.7976931348623157e308}};
  static const char *const bad[] = {"",      "1e-5x",  "nan",    "NaN",   "inf", "-inf", "infinity",
                                    "1e999", "-1e999", "1e-999", "0x1p3", "1,5", "1e",   ".",
                                    "e5",    " 1",     "1 ",     "auto",  "1d5", "1.0f"};
  for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
    double value = -99.0;
    assert_int_equal(mxs_parse_real(good[i].text, &value), MXS_OK);
    assert_memory_equal(&value, &good[i].value, sizeof value);
  }
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    double value = -99.0;
    if (mxs_parse_real(bad[i], &value) != MXS_ERR_SETTINGS || value > -99.0)
      fail_msg("'%s' was taken as %g", bad[i], value);
  }
}

static void shortest_text_reads_back(void **state) {
  (void)state;
  static const struct {
    double value;
    const char *text;
  } known[] = {{0.0, "0"},
               {-0.0, "-0"},
               {0.1, "0.1"},
               {1e-8, "1e-8"},
               {1e-100, "1e-100"},
               {10000.0, "10000"},
               {1e300, "1e+300"},
               {0.1 + 0.2, "0.30000000000000004"},
               {1.0 / 3.0, "0.3333333333333333"},
               {2500.0, "2500"},
               {1234567.5, "1234567.5"}};
  char text[MXS_REAL_TEXT];
  for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
    mxs_format_real(known[i].value, text);
    assert_string_equal(text, known[i].text);
  }
  mxs_format_real((double)NAN, text);
  assert_string_equal(text, "nan");
  mxs_format_real(-(double)INFINITY, text);
  assert_string_equal(text, "-inf");
  uint64_t bits = 88172645463325252U;
  for (int i = 0; i < 20000; i++) { /* any bits that are a number: xorshift64 */
    bits ^= bits << 13;
    bits ^= bits >> 7;
    bits ^= bits << 17;
    double value = 0.0;
    double back = 0.0;
    memcpy(&value, &bits, sizeof value);
    if (!isfinite(value))
      continue;
    mxs_format_real(value, text);
    assert_int_equal(mxs_parse_real(text, &back), MXS_OK);
    assert_memory_equal(&back, &value, sizeof value);
  }
}

static void cadences(void **state) {
  (void)state;
  static const struct {
    const char *text, *echo;
    int64_t iterations;
    double seconds;
  } good[] = {{"10min", "10min", 0, 600.0},
              {"200", "200", 200, 0.0},
              {"1e3", "1000", 1000, 0.0},
              {"30s", "30s", 0, 30.0},
              {"2h", "2h", 0, 7200.0},
              {"200,10min", "200,10min", 200, 600.0},
              {"10min, 200", "200,10min", 200, 600.0},
              {"90s", "90s", 0, 90.0},
              {"120s", "2min", 0, 120.0},
              {"1.5h", "90min", 0, 5400.0},
              {"0.1s", "0.1s", 0, 0.1},
              {"24h", "1d", 0, 86400.0},
              {"0", "0", 0, 0.0}};
  static const char *const bad[] = {"",        ",",      "200,",        ",200",      "200,300",
                                    "1s,2min", "10 min", "min",         "s",         "-5",
                                    "-5s",     "1.5",    "5m",          "5w",        "nans",
                                    "infh",    "1e400s", "200,10min,3", "10minutes", "1e-400s"};
  for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
    mxs_cadence value = {-1, -1.0};
    mxs_cadence back = {-1, -1.0};
    char text[MXS_CADENCE_TEXT];
    assert_int_equal(mxs_parse_cadence(good[i].text, &value), MXS_OK);
    assert_true(value.iterations == good[i].iterations);
    assert_memory_equal(&value.seconds, &good[i].seconds, sizeof value.seconds);
    mxs_format_cadence(value, text);
    assert_string_equal(text, good[i].echo);
    assert_int_equal(mxs_parse_cadence(text, &back), MXS_OK);
    assert_memory_equal(&back.seconds, &value.seconds, sizeof value.seconds);
  }
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    mxs_cadence value = {-1, -1.0};
    if (mxs_parse_cadence(bad[i], &value) != MXS_ERR_SETTINGS || value.iterations != -1)
      fail_msg("'%s' was taken", bad[i]);
  }
}

static void times(void **state) {
  (void)state;
  static const struct {
    const char *text;
    double seconds;
  } good[] = {{"30s", 30.0},           {"1.5h", 5400.0},
              {"2d", 172800.0},        {"0s", 0.0},
              {"05:30", 330.0},        {"90:00", 5400.0},
              {"01:00:00", 3600.0},    {"100:00:01", 360001.0},
              {"1-00:00:00", 86400.0}, {"2-12:30:15", 217815.0}};
  static const char *const bad[] = {"",          "30",         "5:3",         "1:2:3",
                                    "1-2",       "1-05:30",    "-1-05:30:00", "1:60",
                                    "00:00:60",  "1:00:00:00", "1--00:00:00", "a:00",
                                    "UNLIMITED", "1:00s",      "-5s"};
  for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
    double value = -1.0;
    if (mxs_parse_time(good[i].text, &value) != MXS_OK || value < good[i].seconds ||
        value > good[i].seconds)
      fail_msg("'%s' came to %g", good[i].text, value);
  }
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    double value = -1.0;
    if (mxs_parse_time(bad[i], &value) != MXS_ERR_SETTINGS || value >= 0.0)
      fail_msg("'%s' was taken", bad[i]);
  }
}

/* Number texts are the same under a locale whose decimal point is a comma. */
static void locale_has_no_say(void **state) {
  (void)state;
  static const char yaml[] = "step: 0.25\ntolerance: 1.5e-3\ncheckpoint_every: 0.5s\n";
  char dir[] = "/tmp/mxsense_locale_XXXXXX";
  char command[256];
  assert_non_null(mkdtemp(dir));
  assert_true(snprintf(command, sizeof command,
                       "localedef -i de_DE -f UTF-8 %s/de_DE.utf8 >/dev/null 2>&1", dir) > 0);
  const int built = system(command); /* NOLINT(cert-env33-c) a fixed command */
  (void)built;                       /* it warns with a status of its own; setlocale() tells */
  assert_int_equal(setenv("LOCPATH", dir, 1), 0);
  const int german = setlocale(LC_ALL, "de_DE.utf8") != NULL;
  char probe[16];
  (void)snprintf(probe, sizeof probe, "%.1f", 0.5);
  if (german)
    assert_string_equal(probe, "0,5");
  mxs_settings s;
  assert_int_equal(mxs_settings_defaults(&s), MXS_OK);
  char *text = NULL;
  const mxs_status status = mxs_settings_merge_yaml(&s, "run.yaml", yaml, strlen(yaml));
  assert_int_equal(mxs_settings_echo(&s, &text), MXS_OK);
  double value = 0.0;
  const mxs_status comma = mxs_parse_real("0,5", &value);
  (void)snprintf(probe, sizeof probe, "%.1f", 0.5);
  if (german)
    assert_string_equal(probe, "0,5"); /* and the caller's locale is as it was */
  assert_non_null(setlocale(LC_ALL, "C"));
  assert_int_equal(unsetenv("LOCPATH"), 0);
  assert_true(snprintf(command, sizeof command, "rm -r %s", dir) > 0);
  assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c) */
  assert_int_equal(status, MXS_OK);
  assert_int_equal(comma, MXS_ERR_SETTINGS);
  assert_true(s.step.values[0] == 0.25 && s.tolerance == 1.5e-3 &&
              s.checkpoint_every.seconds == 0.5);
  contains(text, "step: 0.25\n");
  contains(text, "tolerance: 0.0015\n");
  contains(text, "checkpoint_every: 0.5s\n");
  mxs_release(&text);
  mxs_settings_clear(&s);
  if (!german)
    skip();
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(integers),
      cmocka_unit_test(reals),
      cmocka_unit_test(shortest_text_reads_back),
      cmocka_unit_test(cadences),
      cmocka_unit_test(times),
      cmocka_unit_test(locale_has_no_say),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
