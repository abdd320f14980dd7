/* Canonical blocks: a fixed cut, every measurement owned once, at any number of ranks. */
#include "comm/blocks.h"
#include "mpi/mpi_test.h"

#include <string.h>

static void rows_follow_the_rule(void **state) {
  (void)state;
  static const int64_t ms[] = {0, 1, 7, 300, 262144, INT64_C(1) << 40}, ks[] = {1, 3, 4, 20, 1000};
  for (size_t i = 0; i < sizeof ms / sizeof ms[0]; i++) {
    for (size_t j = 0; j < sizeof ks / sizeof ks[0]; j++) {
      const int64_t rows = mxs_blocks_rows(ms[i], ks[j]);
      assert_true(rows >= 2 * ks[j] && rows >= 32 && rows % 8 == 0);
      assert_true(rows >= 10 * ks[j] || ms[i] <= 64 * (rows + 64));
      assert_true((ms[i] + rows - 1) / rows <= MXS_MAX_BLOCKS);
    }
  }
  assert_int_equal(mxs_blocks_rows(300, 1), 32);
  assert_int_equal(mxs_blocks_rows(300, 20), 40);
  assert_int_equal(mxs_blocks_rows(10000, 10), 128);
  assert_int_equal(mxs_blocks_rows(200000, 5), 256);
  assert_int_equal(mxs_blocks_rows(10000000, 5), 1280);
  assert_int_equal(mxs_blocks_rows(262144, 20), 256);
  assert_int_equal(mxs_blocks_rows(6400, 20), 64);
}

/* Every measurement belongs to one rank; ranks own as many blocks as others, give or take one. */
static void check_partition(int64_t m, int64_t rows, int size) {
  static int owner[600];
  memset(owner, 0, sizeof owner);
  int64_t total = 0;
  for (int rank = 0; rank < size; rank++) {
    mxs_blocks blocks;
    assert_int_equal(mxs_blocks_create(m, rows, rank, size, &blocks), MXS_OK);
    assert_int_equal(blocks.count, (m + rows - 1) / rows);
    assert_true(blocks.own_count == blocks.count / size ||
                blocks.own_count == blocks.count / size + 1);
    int64_t here = 0;
    for (int64_t j = 0; j < blocks.own_count; j++) {
      const int64_t block = blocks.own[j];
      assert_true(block >= 0 && block < blocks.count);
      assert_int_equal(owner[block]++, 0);
      assert_int_equal(blocks.offset[j], here);
      assert_int_equal(mxs_blocks_first(&blocks, block), block * rows);
      here += mxs_blocks_size(&blocks, block);
    }
    assert_int_equal(mxs_blocks_own_rows(&blocks), here);
    total += here;
    mxs_blocks_clear(&blocks);
  }
  assert_int_equal(total, m);
}

static void partitions(void **state) {
  (void)state;
  static const int64_t ms[] = {0, 1, 8, 31, 32, 33, 963, 4000};
  static const int sizes[] = {1, 2, 3, 4, 7, 13, 600};
  for (size_t i = 0; i < sizeof ms / sizeof ms[0]; i++)
    for (size_t j = 0; j < sizeof sizes / sizeof sizes[0]; j++)
      check_partition(ms[i], 8, sizes[j]);
  assert_int_equal(mxs_alloc_outstanding(), 0);
}

/* The order does not depend on the number of ranks: position t of it belongs to rank t mod P. */
static void order_is_bit_reversal(void **state) {
  (void)state;
  static const int64_t expected[] = {0, 4, 2, 1,
                                     5, 3}; /* of 6 blocks: reversal in 3 bits, without 6 and 7 */
  for (int size = 1; size <= 7; size++) {
    for (int rank = 0; rank < size; rank++) {
      mxs_blocks blocks;
      assert_int_equal(mxs_blocks_create(48, 8, rank, size, &blocks), MXS_OK);
      for (int64_t j = 0; j < blocks.own_count; j++)
        assert_int_equal(blocks.own[j], expected[rank + j * size]);
      mxs_blocks_clear(&blocks);
    }
  }
}

static void too_many_blocks(void **state) {
  (void)state;
  mxs_blocks blocks;
  assert_int_equal(mxs_blocks_create(INT64_C(8) * MXS_MAX_BLOCKS + 1, 8, 0, 1, &blocks),
                   MXS_ERR_ARG);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(rows_follow_the_rule),
      cmocka_unit_test(partitions),
      cmocka_unit_test(order_is_bit_reversal),
      cmocka_unit_test(too_many_blocks),
  };
  return cmocka_run_group_tests(tests, NULL, NULL) || mxs_alloc_outstanding() != 0;
}
