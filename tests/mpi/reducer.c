/* The exact reduction: the same bits however blocks are dealt to ranks, close to the true sum, and
 * honest about its room. */
#include "comm/reducer.h"
#include "base/random.h"
#include "comm/blocks.h"

#include "mpi_test.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LENGTH = 37, SECOND = 5, TOTAL = LENGTH + SECOND, BLOCKS = 300 };

static const int64_t lengths[2] = {LENGTH, SECOND};

/* Contribution of a block: magnitudes over twelve decades in the first quantity, near `size` in the
 * second. */
static void contribution(int64_t block, double size, double *leaf) {
  double normal[4 * ((TOTAL + 3) / 4)];
  mxs_random_gaussian(1, MXS_STREAM_NOISE, block, 0, (TOTAL + 3) / 4, normal);
  for (int64_t i = 0; i < TOTAL; i++)
    leaf[i] = size * normal[i] * (i < LENGTH ? pow(10.0, -(double)(block % 13)) : 1.0);
}

/* A whole pass over the blocks of this rank, in ascending or descending order; returns the number
 * of redone passes. */
static int pass(
    const mxs_comm *comm, mxs_reducer *reducer, double size, int descending, mxs_reduced *out) {
  mxs_blocks blocks;
  assert_ok(mxs_blocks_create(BLOCKS, 1, comm->rank, comm->size, &blocks));
  int redone = -1;
  do {
    mxs_reducer_begin(reducer);
    for (int64_t j = 0; j < blocks.own_count; j++) {
      const int64_t block = blocks.own[descending ? blocks.own_count - 1 - j : j];
      double leaf[TOTAL];
      contribution(block, size, leaf);
      mxs_reducer_commit(reducer, leaf);
    }
    mxs_reducer_count(reducer, 1, comm->rank == comm->size - 1);
    assert_ok(mxs_reducer_finish(reducer, 0, out));
    redone++;
  } while (out->redo);
  mxs_blocks_clear(&blocks);
  return redone;
}

/* Passes with sizes that creep, jump up and jump down; the sums of each are kept. */
static void run(
    const mxs_comm *comm, mxs_reduction mode, int descending, double *sums, int *redone) {
  static const double sizes[] = {1.0, 0.7, 1e3, 1e9, 1e-7, 1e-12, 3e-12};
  mxs_reducer *reducer = NULL;
  mxs_reduced out = {0};
  *redone = 0;
  assert_ok(mxs_reducer_create(comm, mode, lengths, 2, &reducer));
  for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
    *redone += pass(comm, reducer, sizes[s], descending, &out);
    assert_int_equal(out.words[1], 1);
    assert_int_equal(out.nonfinite[0] + out.nonfinite[1], 0);
    memcpy(sums + s * TOTAL, out.sum, TOTAL * sizeof *sums);
  }
  mxs_reducer_destroy(&reducer);
}

static void same_bits_in_any_order_on_any_ranks(void **state) {
  (void)state;
  mxs_comm *world = NULL;
  mxs_comm *self = NULL;
  double together[7 * TOTAL];
  double reversed[7 * TOTAL];
  double alone[7 * TOTAL];
  int redone[3];
  assert_ok(mxs_comm_create(MPI_COMM_WORLD, &world));
  assert_ok(mxs_comm_create(MPI_COMM_SELF, &self));
  run(world, MXS_REDUCTION_REPRODUCIBLE, 0, together, &redone[0]);
  run(world, MXS_REDUCTION_REPRODUCIBLE, 1, reversed, &redone[1]);
  run(self, MXS_REDUCTION_REPRODUCIBLE, 0, alone, &redone[2]);
  assert_everywhere(mpi_test_same_bits(together, alone, sizeof alone));
  assert_everywhere(mpi_test_same_bits(together, reversed, sizeof alone));
  assert_everywhere(redone[0] == redone[2] && redone[1] == redone[2]);
  /* No scale at the start, the jumps to 1e9, 1e-7: one redone pass each, and none for what stays in
   * the room. */
  assert_everywhere(redone[2] == 3);
  mxs_comm_destroy(&world);
  mxs_comm_destroy(&self);
}

static void sum_is_accurate(void **state) {
  (void)state;
  mxs_comm *world = NULL;
  double exact[7 * TOTAL];
  double fast[7 * TOTAL];
  int redone = 0;
  assert_ok(mxs_comm_create(MPI_COMM_WORLD, &world));
  run(world, MXS_REDUCTION_REPRODUCIBLE, 0, exact, &redone);
  run(world, MXS_REDUCTION_FAST, 0, fast, &redone);
  assert_everywhere(redone == 0);
  long double reference[TOTAL] = {0};
  long double absolute[TOTAL] = {0};
  double largest = 0.0;
  for (int64_t block = 0; block < BLOCKS; block++) {
    double leaf[TOTAL];
    contribution(block, 1.0, leaf);
    for (int64_t i = 0; i < TOTAL; i++) {
      reference[i] += leaf[i];
      absolute[i] += fabsl((long double)leaf[i]);
      largest = fmax(largest, fabs(leaf[i]));
    }
  }
  for (int64_t i = 0; i < TOTAL; i++) {
    const double expected = (double)reference[i];
    /* Each block is off by at most 2^-53 of the largest entry, the final rounding by half a unit.
     */
    assert_everywhere(fabs(exact[i] - expected) <=
                      BLOCKS * 0x1p-53 * largest + DBL_EPSILON * fabs(expected));
    assert_everywhere(fabs(fast[i] - expected) <= BLOCKS * DBL_EPSILON * (double)absolute[i]);
  }
  mxs_comm_destroy(&world);
}

/* With one common magnitude the resolution is 2^-75 of it: far better than a sum of doubles. */
static void cancellation_is_exact(void **state) {
  (void)state;
  const int64_t one = 1;
  mxs_comm *world = NULL;
  mxs_reducer *reducer = NULL;
  mxs_reduced out = {0};
  assert_ok(mxs_comm_create(MPI_COMM_WORLD, &world));
  assert_ok(mxs_reducer_create(world, MXS_REDUCTION_REPRODUCIBLE, &one, 1, &reducer));
  mxs_reducer_guess(reducer, 0, 1.0);
  mxs_reducer_begin(reducer);
  if (world->rank == 0) {
    static const double terms[] = {1.0, 0x1p-60, -1.0, 0x1p-70};
    for (size_t i = 0; i < sizeof terms / sizeof *terms; i++) {
      mxs_reducer_commit(reducer, &terms[i]);
    }
  }
  assert_ok(mxs_reducer_finish(reducer, 0, &out));
  assert_everywhere(out.redo == 0 && out.sum[0] == 0x1p-60 + 0x1p-70);
  mxs_reducer_destroy(&reducer);
  mxs_comm_destroy(&world);
}

static void not_finite_is_seen_on_all_ranks(void **state) {
  (void)state;
  static const double bad[] = {NAN, INFINITY, -INFINITY};
  mxs_comm *world = NULL;
  assert_ok(mxs_comm_create(MPI_COMM_WORLD, &world));
  for (int mode = 0; mode < 2; mode++) {
    for (size_t i = 0; i < 3; i++) {
      mxs_reducer *reducer = NULL;
      mxs_reduced out = {0};
      assert_ok(mxs_reducer_create(world, (mxs_reduction)mode, lengths, 2, &reducer));
      mxs_reducer_begin(reducer);
      double leaf[TOTAL];
      contribution(world->rank, 1.0, leaf);
      if (world->rank == world->size - 1)
        leaf[TOTAL - 1] = bad[i];
      mxs_reducer_commit(reducer, leaf);
      assert_ok(mxs_reducer_finish(reducer, 0, &out));
      assert_everywhere(out.nonfinite[0] == 0 && out.nonfinite[1] == 1);
      if (mode == MXS_REDUCTION_FAST)
        assert_everywhere(out.redo == 0);
      mxs_reducer_destroy(&reducer);
    }
  }
  mxs_comm_destroy(&world);
}

/* The most blocks with the largest entries that the room takes must not overflow. */
static void room_holds_the_most_blocks(void **state) {
  (void)state;
  const int64_t one = 1;
  const double largest = nextafter(0x1p14, 0.0);
  const double beyond = 0x1p30;
  mxs_comm *world = NULL;
  mxs_reducer *reducer = NULL;
  mxs_reduced out = {0};
  assert_ok(mxs_comm_create(MPI_COMM_WORLD, &world));
  assert_ok(mxs_reducer_create(world, MXS_REDUCTION_REPRODUCIBLE, &one, 1, &reducer));
  mxs_reducer_guess(reducer, 0, 1.0);
  mxs_reducer_begin(reducer);
  for (int64_t block = world->rank; block < MXS_MAX_BLOCKS; block += world->size) {
    mxs_reducer_commit(reducer, &largest);
  }
  assert_ok(mxs_reducer_finish(reducer, 0, &out));
  assert_everywhere(out.redo == 0 &&
                    fabs(out.sum[0] - MXS_MAX_BLOCKS * largest) <= DBL_EPSILON * 0x1p27);
  mxs_reducer_begin(reducer);
  mxs_reducer_commit(reducer, &beyond);
  assert_ok(mxs_reducer_finish(reducer, 0, &out));
  assert_everywhere(out.redo == 1);
  mxs_reducer_destroy(&reducer);
  mxs_comm_destroy(&world);
}

static void agreement_names_the_lowest_failing_rank(void **state) {
  (void)state;
  mxs_comm *world = NULL;
  assert_ok(mxs_comm_create(MPI_COMM_WORLD, &world));
  for (int culprit = 0; culprit < world->size; culprit++) {
    mxs_status status = MXS_OK;
    if (world->rank >= culprit)
      status = mxs_fail(MXS_ERR_DATA, "told by %d", world->rank);
    status = mxs_comm_agree(world, status);
    char expected[64];
    (void)snprintf(expected, sizeof expected,
                   world->size > 1 ? "[rank %d] told by %d" : "told by %d", culprit, culprit);
    assert_everywhere(status == MXS_ERR_DATA && strcmp(mxs_last_error(), expected) == 0);
  }
  assert_everywhere(mxs_comm_agree(world, MXS_OK) == MXS_OK);
  const mxs_status same =
      mxs_comm_same(world, (uint64_t)(world->rank == world->size - 1), "binary", "take one");
  assert_everywhere(same == (world->size > 1 ? MXS_ERR_MISMATCH : MXS_OK));
  mxs_comm_destroy(&world);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(same_bits_in_any_order_on_any_ranks),
    cmocka_unit_test(sum_is_accurate),
    cmocka_unit_test(cancellation_is_exact),
    cmocka_unit_test(not_finite_is_seen_on_all_ranks),
    cmocka_unit_test(room_holds_the_most_blocks),
    cmocka_unit_test(agreement_names_the_lowest_failing_rank),
};

MPI_TEST_MAIN(tests)
