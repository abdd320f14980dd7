/* Counter-based numbers: published vectors, and independence of how they are asked for. */
#include "base/random.h"
#include "mpi/mpi_test.h"

#include <math.h>
#include <string.h>

static void philox_known_answers(void **state) {
  (void)state;
  static const struct {
    uint32_t key[2], counter[4], out[4];
  } vectors[] = {
      {{0, 0}, {0, 0, 0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
      {{0xffffffff, 0xffffffff},
       {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
       {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
      {{0xa4093822, 0x299f31d0},
       {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
       {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
  };
  for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
    uint32_t out[4];
    mxs_philox4x32(vectors[i].key, vectors[i].counter, out);
    assert_memory_equal(out, vectors[i].out, sizeof out);
  }
}

static void words_are_philox(void **state) {
  (void)state;
  const uint64_t seed = 0x123456789abcdef0U;
  const int64_t row = (INT64_C(3) << 32) + 5, first = (INT64_C(1) << 32) - 2;
  uint32_t words[4 * 100];
  mxs_random_words(seed, MXS_STREAM_START_V, row, first, 100, words);
  for (int64_t i = 0; i < 100; i++) {
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    const uint64_t c = (uint64_t)(first + i);
    const uint32_t counter[4] = {(uint32_t)c,
                                 (uint32_t)(c >> 32) | (uint32_t)MXS_STREAM_START_V << 16,
                                 (uint32_t)row, (uint32_t)((uint64_t)row >> 32)};
    uint32_t out[4];
    mxs_philox4x32(key, counter, out);
    assert_memory_equal(out, words + 4 * i, sizeof out);
  }
}

static void pieces_are_the_whole(void **state) {
  (void)state;
  double whole[4 * 150], piece[4 * 150];
  mxs_random_gaussian(9, MXS_STREAM_NOISE, 77, 1000, 150, whole);
  for (int64_t start = 0, count = 1; start < 150; start += count, count = 2 * count + 1) {
    const int64_t n = start + count < 150 ? count : 150 - start;
    mxs_random_gaussian(9, MXS_STREAM_NOISE, 77, 1000 + start, n, piece);
    assert_memory_equal(piece, whole + 4 * start, sizeof *piece * 4 * (size_t)n);
  }
}

static void gaussian_is_box_muller(void **state) {
  (void)state;
  enum { COUNT = 5000 };
  static uint32_t words[4 * COUNT];
  static double values[4 * COUNT];
  mxs_random_words(1, MXS_STREAM_ENSEMBLE, 3, 0, COUNT, words);
  mxs_random_gaussian(1, MXS_STREAM_ENSEMBLE, 3, 0, COUNT, values);
  for (int i = 0; i < 4 * COUNT; i += 2) {
    const double u = ((double)words[i] + 0.5) * 0x1p-32, v = ((double)words[i + 1] + 0.5) * 0x1p-32;
    const double radius = sqrt(-2.0 * log(u)), angle = 2.0 * 3.14159265358979323846 * v;
    assert_true(fabs(values[i] - radius * cos(angle)) < 1e-11 * radius);
    assert_true(fabs(values[i + 1] - radius * sin(angle)) < 1e-11 * radius);
  }
}

/* Start factors ask for rows of any length. */
static void rows_are_cut(void **state) {
  (void)state;
  enum { COUNT = 301 };
  double whole[4 * ((COUNT + 3) / 4)], row[COUNT + 1];
  mxs_random_gaussian(6, MXS_STREAM_START_U, 8, 0, (COUNT + 3) / 4, whole);
  for (int64_t count = 0; count <= COUNT; count++) {
    for (int64_t i = 0; i <= COUNT; i++)
      row[i] = 9.0;
    mxs_random_gaussian_row(6, MXS_STREAM_START_U, 8, count, row);
    assert_memory_equal(row, whole, sizeof *row * (size_t)count);
    assert_true(row[count] == 9.0);
  }
}

static void uniform_is_open(void **state) {
  (void)state;
  double sum = 0.0;
  for (int64_t i = 0; i < 20000; i++) {
    const double u = mxs_random_uniform(4, MXS_STREAM_HOLD_OUT, i);
    assert_true(u > 0.0 && u < 1.0);
    sum += u;
  }
  assert_true(fabs(sum / 20000 - 0.5) < 5.0 * sqrt(1.0 / 12.0 / 20000));
}

static void streams_differ(void **state) {
  (void)state;
  double a[4], b[4], c[4];
  mxs_random_gaussian(0, MXS_STREAM_START_U, 0, 0, 1, a);
  mxs_random_gaussian(0, MXS_STREAM_START_V, 0, 0, 1, b);
  mxs_random_gaussian(0, MXS_STREAM_TRUTH_U, 0, 0, 1, c);
  assert_true(!mpi_test_same_bits(a, b, sizeof a) && !mpi_test_same_bits(a, c, sizeof a) &&
              !mpi_test_same_bits(b, c, sizeof b));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(philox_known_answers), cmocka_unit_test(words_are_philox),
      cmocka_unit_test(pieces_are_the_whole), cmocka_unit_test(gaussian_is_box_muller),
      cmocka_unit_test(rows_are_cut),         cmocka_unit_test(uniform_is_open),
      cmocka_unit_test(streams_differ),
  };
  return cmocka_run_group_tests(tests, NULL, NULL) || mxs_alloc_outstanding() != 0;
}
