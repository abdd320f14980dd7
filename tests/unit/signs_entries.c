/* Entries of the ensembles of signs and levels: known values, stored bits against generated ones,
 * and bits put by hand. */
#include "mpi/mpi_test.h"
#include "op/op.h"
#include "op/signs.h"
#include "op/signs_levels.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ENTRIES = 1000, M = 75, BLOCK = 32, COUNT = 8 };

/* From an independent implementation of the format. */
static void known_entries(void **state) {
  (void)state;
  static const struct {
    uint64_t seed;
    int64_t row, first;
    int sign[COUNT], level[COUNT];
  } known[] = {
      {UINT64_C(0x0), 0, 0, {-1, -1, -1, 1, -1, -1, 1, 1}, {25, 49, -13, 33, 28, -20, -77, 47}},
      {UINT64_C(0x0), 0, 32764, {-1, -1, -1, -1, -1, 1, -1, 1}, {26, 30, 36, -52, 97, 36, 47, 61}},
      {UINT64_C(0x0), 0, 4092, {1, -1, 1, 1, 1, -1, -1, -1}, {10, -19, -31, -77, -33, 6, -46, 12}},
      {UINT64_C(0x0), 3, 0, {-1, 1, 1, 1, 1, 1, 1, -1}, {-1, -7, -9, -2, 81, 36, -37, -53}},
      {UINT64_C(0x0), 3, 32764, {1, 1, 1, -1, -1, 1, 1, -1}, {-127, 23, -12, -12, 59, 65, -53, 15}},
      {UINT64_C(0x0), 3, 4092, {1, 1, -1, -1, 1, 1, 1, 1}, {-7, 44, -28, -1, -60, -44, -39, -45}},
      {UINT64_C(0x123456789ABCDEF),
       0,
       0,
       {-1, -1, 1, 1, -1, -1, -1, 1},
       {73, 24, 5, -53, 56, 83, 12, 5}},
      {UINT64_C(0x123456789ABCDEF),
       0,
       32764,
       {1, -1, -1, -1, 1, 1, -1, 1},
       {-49, 46, -32, -97, -36, -53, -111, 13}},
      {UINT64_C(0x123456789ABCDEF),
       0,
       4092,
       {1, -1, -1, -1, 1, 1, -1, -1},
       {14, 8, -4, -51, 2, -70, -28, -20}},
      {UINT64_C(0x123456789ABCDEF),
       3,
       0,
       {-1, -1, 1, 1, 1, -1, -1, 1},
       {54, 6, 37, -29, 17, 56, -19, -31}},
      {UINT64_C(0x123456789ABCDEF),
       3,
       32764,
       {-1, 1, 1, 1, -1, -1, 1, -1},
       {32, -3, -41, 15, -21, 59, 42, -56}},
      {UINT64_C(0x123456789ABCDEF),
       3,
       4092,
       {-1, 1, 1, -1, 1, -1, 1, 1},
       {26, 9, 23, 13, -93, 27, -86, -5}},
  };
  enum { LONG = 32764 + COUNT };
  static double values[LONG];
  for (size_t k = 0; k < sizeof known / sizeof *known; k++) {
    mxsi_generated_rows(MXS_ENSEMBLE_RADEMACHER, known[k].seed, LONG, known[k].row, 1, values);
    for (int j = 0; j < COUNT; j++)
      assert_true(values[known[k].first + j] == known[k].sign[j]);
    mxsi_generated_rows(MXS_ENSEMBLE_GAUSSIAN8, known[k].seed, LONG, known[k].row, 1, values);
    for (int j = 0; j < COUNT; j++)
      assert_true(values[known[k].first + j] == known[k].level[j] * MXS_LEVEL_UNIT);
  }
}

/* Quantiles of the normal distribution in units of 1/44, and unit variance to the last bit. */
static void levels_are_quantiles(void **state) {
  (void)state;
  double squares = 0.0;
  for (int u = 0; u < 128; u++) {
    const double t = mxsi_levels[u];
    const double p = 0.5 + (u + 0.5) / 256.0;
    assert_true(0.5 * erfc(-(t - 0.5) / 44.0 / sqrt(2.0)) < p);
    assert_true(0.5 * erfc(-(t + 0.5) / 44.0 / sqrt(2.0)) > p);
    squares += t * t;
  }
  assert_true(MXS_LEVEL_UNIT == 1.0 / sqrt(squares / 128.0));
}

static mxs_signs *make(mxs_ensemble ensemble, const mxs_blocks *stored) {
  mxs_signs *signs = NULL;
  assert_int_equal(mxsi_signs_create(ENTRIES, ensemble, 4, stored, &signs), MXS_OK);
  return signs;
}

static void pass(mxs_signs *signs, int64_t first, int64_t count, double *w, double *g) {
  double x[ENTRIES];
  for (int j = 0; j < ENTRIES; j++) {
    x[j] = 1.0 / (1.0 + j);
    g[j] = 0.0;
  }
  const mxs_single single = {.count = count, .x = x, .w = w, .g = g};
  assert_int_equal(mxsi_op_single(&mxsi_op_signs, signs, first, &single), MXS_OK);
}

static void put(mxs_signs *signs, const mxs_blocks *blocks) {
  static double rows[M * ENTRIES];
  for (int64_t j = 0; j < blocks->own_count; j++) {
    const int64_t block = blocks->own[j];
    const int64_t size = mxs_blocks_size(blocks, block);
    mxsi_generated_rows(MXS_ENSEMBLE_RADEMACHER, 4, ENTRIES, mxs_blocks_first(blocks, block), size,
                        rows);
    assert_int_equal(mxsi_signs_put(signs, mxsi_signs_slot(signs, block), size, rows), MXS_OK);
  }
}

/* Generated, stored from the generator and put by hand: one operator. */
static void stored_is_generated(void **state) {
  (void)state;
  for (int rank = 0; rank < 2; rank++) {
    static double w[3][M], g[3][ENTRIES];
    mxs_blocks blocks;
    assert_int_equal(mxs_blocks_create(M, BLOCK, rank, 2, &blocks), MXS_OK);
    mxs_signs *signs[3] = {make(MXS_ENSEMBLE_RADEMACHER, NULL),
                           make(MXS_ENSEMBLE_RADEMACHER, &blocks),
                           make(MXS_ENSEMBLE_DENSE, &blocks)};
    put(signs[2], &blocks);
    for (int64_t block = 0; block < blocks.count; block++) {
      const int64_t first = block * BLOCK;
      const int64_t size = mxs_blocks_size(&blocks, block);
      if (mxsi_signs_slot(signs[1], block) < 0) {
        const mxs_single single = {.count = 1, .w = w[0], .g = g[0]};
        assert_int_equal(mxsi_op_single(&mxsi_op_signs, signs[1], first, &single),
                         MXS_ERR_INTERNAL);
        assert_true(mxsi_op_signs.digest(signs[1], first, 1) == 0);
        continue;
      }
      for (int64_t skip = 0; skip < size; skip += 5) {
        for (int s = 0; s < 3; s++)
          pass(signs[s], first + skip, size - skip, w[s], g[s]);
        for (int s = 1; s < 3; s++) {
          assert_memory_equal(w[0], w[s], (size_t)(size - skip) * sizeof w[0][0]);
          assert_memory_equal(g[0], g[s], sizeof g[0]);
        }
      }
      assert_true(mxsi_op_signs.digest(signs[1], first, size) ==
                  mxsi_op_signs.digest(signs[2], first, size));
      assert_true(mxsi_op_signs.digest(signs[1], first, size) !=
                  mxsi_op_signs.digest(signs[1], first, size - 1));
    }
    for (int s = 0; s < 3; s++)
      mxsi_signs_destroy(&signs[s]);
    mxs_blocks_clear(&blocks);
  }
}

static void only_signs_are_stored(void **state) {
  (void)state;
  static double rows[3 * ENTRIES];
  static const double bad[] = {0.0, 0.5, -1.0000000000000002, (double)NAN, (double)INFINITY};
  mxs_blocks blocks;
  assert_int_equal(mxs_blocks_create(M, BLOCK, 0, 1, &blocks), MXS_OK);
  mxs_signs *signs = make(MXS_ENSEMBLE_DENSE, &blocks);
  for (size_t b = 0; b < sizeof bad / sizeof *bad; b++) {
    for (int j = 0; j < 3 * ENTRIES; j++)
      rows[j] = 1.0;
    rows[2 * ENTRIES + 17] = bad[b];
    assert_int_equal(mxsi_signs_put(signs, 0, 3, rows), MXS_ERR_DATA);
    assert_non_null(strstr(mxs_last_error(), "2017"));
  }
  mxsi_signs_destroy(&signs);
  assert_int_equal(mxsi_signs_create(ENTRIES, MXS_ENSEMBLE_GAUSSIAN8, 4, &blocks, &signs),
                   MXS_ERR_ARG);
  assert_null(signs);
  mxs_blocks_clear(&blocks);
}

static void info_tells_the_path(void **state) {
  (void)state;
  enum { HELD = ((M + 8) * 16 + 3) * 8, X = ENTRIES * 8 }; /* bytes: bits and slots; fixed point */
  static double w[BLOCK], g[ENTRIES];
  mxs_blocks blocks;
  assert_int_equal(mxs_blocks_create(M, BLOCK, 0, 1, &blocks), MXS_OK);
  mxs_signs *signs[2] = {make(MXS_ENSEMBLE_GAUSSIAN8, NULL),
                         make(MXS_ENSEMBLE_RADEMACHER, &blocks)};
  for (int s = 0; s < 2; s++) {
    const mxs_op_info before = mxsi_op_info(&mxsi_op_signs, signs[s]);
    pass(signs[s], 0, BLOCK, w, g);
    const mxs_op_info info = mxsi_op_info(&mxsi_op_signs, signs[s]);
    assert_non_null(strstr(info.path, "exact integers, "));
    assert_non_null(strstr(info.path, s == 0 ? ", generated" : ", stored bits"));
    assert_true(before.bytes == (s == 0 ? 0 : HELD));
    assert_true(info.bytes > before.bytes + X);
    assert_true(before.generate_s == 0.0 && (info.generate_s > 0.0) == (s == 0));
    mxsi_signs_destroy(&signs[s]);
  }
  mxs_blocks_clear(&blocks);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(known_entries),       cmocka_unit_test(levels_are_quantiles),
      cmocka_unit_test(stored_is_generated), cmocka_unit_test(only_signs_are_stored),
      cmocka_unit_test(info_tells_the_path),
  };
  return cmocka_run_group_tests(tests, NULL, NULL) || mxs_alloc_outstanding() != 0;
}
