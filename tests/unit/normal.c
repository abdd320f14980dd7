/* Normal numbers from words: right to the stated error, the same however they are asked for. */
#include "base/normal.h"
#include "base/stream.h"
#include "mpi/mpi_test.h"

#include <math.h>
#include <string.h>

enum { WORDS = MXS_STREAM_CHUNK };

static const long double pi = 3.14159265358979323846264338327950288L;

static uint64_t word(uint32_t low, uint32_t high) {
  return low | (uint64_t)high << 32;
}

/* Each number of each word against the formula in long double. */
static void check(const uint64_t *words, int64_t count) {
  static double values[2 * WORDS];
  mxs_normal_pairs(count, words, values);
  for (int64_t i = 0; i < count; i++) {
    const long double u0 = ((long double)(uint32_t)words[i] + 0.5L) * 0x1p-32L;
    const long double u1 = ((long double)(words[i] >> 32) + 0.5L) * 0x1p-32L;
    const long double r = sqrtl(-2.0L * logl(u0));
    const double *a = &values[16 * (i / 8) + i % 8];
    assert_true(fabsl((long double)a[0] - r * cosl(2.0L * pi * u1)) < 1e-11L * r);
    assert_true(fabsl((long double)a[8] - r * sinl(2.0L * pi * u1)) < 1e-11L * r);
    assert_true(fabs(a[0]) < 6.77 && fabs(a[8]) < 6.77);
  }
}

static void random_words(void **state) {
  (void)state;
  uint64_t words[WORDS];
  for (int64_t row = 0; row < 400; row++) {
    mxs_stream_rows(5, MXS_STREAM_ENSEMBLE, row, 1, 0, WORDS, words, WORDS);
    check(words, WORDS);
  }
}

/* Words around every power of two and its double's border sqrt(1/2), and around every quarter turn:
 * where an exponent, a sign or a branch of the formula changes. */
static void borders(void **state) {
  (void)state;
  uint32_t place[16 * 33 * 2];
  int places = 0;
  for (int shift = 0; shift <= 32; shift++)
    for (int64_t near = -8; near < 8; near++) {
      const int64_t power = INT64_C(1) << shift;
      place[places++] = (uint32_t)(power + near);
      place[places++] = (uint32_t)((int64_t)((double)power * 0x1.6a09e667f3bcdp-1) + near);
    }
  uint64_t words[WORDS];
  for (int i = 0; i < places; i++) {
    for (uint32_t w = 0; w < WORDS / 8; w++)
      for (uint32_t q = 0; q < 4; q++) {
        words[8 * w + q] = word(place[i], (q << 30) + w - WORDS / 16);
        words[8 * w + 4 + q] = word(w * 0x04030201U, place[i] + (q << 30));
      }
    check(words, WORDS);
  }
}

static void counts(void **state) {
  (void)state;
  uint64_t words[WORDS];
  double whole[2 * WORDS], part[2 * WORDS];
  mxs_stream_rows(6, MXS_STREAM_ENSEMBLE, 0, 1, 0, WORDS, words, WORDS);
  mxs_normal_pairs(WORDS, words, whole);
  for (int64_t count = 0; count < WORDS; count += MXS_NORMAL_STEP) {
    memset(part, 0x55, sizeof part);
    const double untouched = part[0];
    mxs_normal_pairs(count, words, part);
    assert_memory_equal(part, whole, sizeof *part * 2 * (size_t)count);
    assert_memory_equal(&part[2 * count], &untouched, sizeof untouched);
  }
}

/* Computed by the numpy twin, tools/mxsense_ensembles.py. */
static void golden_values(void **state) {
  (void)state;
  static const uint64_t words[MXS_NORMAL_STEP] = {
      0x0000000000000000U, 0xffffffffffffffffU, 0x80000000b504f333U, 0x7fffffffffffffffU,
      0x4000000000000000U, 0x0123456789abcdefU, 0xc0000000ffffffffU, 0x3fffffff00000000U};
  static const double golden[2 * MXS_NORMAL_STEP] = {
      0x1.b0e08d9986c69p+2,   0x1.0000000018596p-16,  -0x1.aa449917ac248p-1,
      -0x1.0000000018596p-16, -0x1.53fb1e0735ce8p-28, 0x1.1d079322b4c2ap+0,
      0x1.921fb54468d9ap-47,  0x1.53fb1e0735ce8p-28,  0x1.545426a52f6a4p-28,
      -0x1.92890400262dbp-47, -0x1.4f21eee316195p-31, 0x1.92890400262dbp-47,
      0x1.b0e08d998544ap+2,   0x1.fd8acf6368880p-6,   -0x1.0000000017752p-16,
      0x1.b0e08d998544ap+2};
  double values[2 * MXS_NORMAL_STEP];
  mxs_normal_pairs(MXS_NORMAL_STEP, words, values);
  assert_memory_equal(values, golden, sizeof golden);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(random_words),
      cmocka_unit_test(borders),
      cmocka_unit_test(counts),
      cmocka_unit_test(golden_values),
  };
  return cmocka_run_group_tests(tests, NULL, NULL) || mxs_alloc_outstanding() != 0;
}
