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

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(random_words),
      cmocka_unit_test(borders),
      cmocka_unit_test(counts),
  };
  return cmocka_run_group_tests(tests, NULL, NULL) || mxs_alloc_outstanding() != 0;
}
