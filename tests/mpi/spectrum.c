/* Singular triplets of the back-projection: replicated, iterated and distributed routes against a
 * full SVD. */
#include "base/random.h"
#include "la/la.h"
#include "spectral/spectral.h"

#include "mpi_test.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* rows x cols matrix with singular values decay^j, from random orthonormal factors. */
static void planted(int64_t rows, int64_t cols, int64_t order, double decay, double *A) {
  double *left = NULL;
  double *right = NULL;
  assert_int_equal(mxs_alloc(rows * (order + 3), sizeof *left, &left), MXS_OK);
  assert_int_equal(mxs_alloc(cols * (order + 3), sizeof *right, &right), MXS_OK);
  mxs_random_gaussian(1, MXS_STREAM_TRUTH_U, 0, 0, (rows * order + 3) / 4, left);
  mxs_random_gaussian(1, MXS_STREAM_TRUTH_V, 0, 0, (cols * order + 3) / 4, right);
  assert_int_equal(mxs_la_qr(mxs_cview(left, rows, order), left, NULL), MXS_OK);
  assert_int_equal(mxs_la_qr(mxs_cview(right, cols, order), right, NULL), MXS_OK);
  for (int64_t i = 0; i < rows; i++)
    for (int64_t j = 0; j < order; j++)
      left[i * order + j] *= pow(decay, (double)j);
  mxs_la_gemm(0, 1, 1.0, mxs_cview(left, rows, order), mxs_cview(right, cols, order), 0.0,
              mxs_view(A, rows, cols));
  mxs_release(&left);
  mxs_release(&right);
}

/* ||A V - U diag(s)|| and ||U^T U - I||, ||V^T V - I|| are rounding, and s is what was planted. */
static void check_triplets(
    mxs_cmat A, int64_t count, double decay, const double *s, const double *U, const double *V) {
  double *AV = NULL;
  double *gram = NULL;
  const double tolerance = 100.0 * DBL_EPSILON * sqrt((double)(A.rows + A.cols));
  assert_int_equal(mxs_alloc(A.rows * count, sizeof *AV, &AV), MXS_OK);
  assert_int_equal(mxs_alloc(count * count, sizeof *gram, &gram), MXS_OK);
  mxs_la_gemm(0, 0, 1.0, A, mxs_cview(V, A.cols, count), 0.0, mxs_view(AV, A.rows, count));
  for (int64_t i = 0; i < A.rows * count; i++)
    assert_true(fabs(AV[i] - U[i] * s[i % count]) <= tolerance);
  for (int64_t j = 0; j < count; j++)
    assert_true(fabs(s[j] - pow(decay, (double)j)) <= tolerance);
  for (int side = 0; side < 2; side++) {
    const mxs_cmat W = side ? mxs_cview(V, A.cols, count) : mxs_cview(U, A.rows, count);
    mxs_la_gemm(1, 0, 1.0, W, W, 0.0, mxs_view(gram, count, count));
    for (int64_t i = 0; i < count * count; i++)
      assert_true(fabs(gram[i] - (i / count == i % count ? 1.0 : 0.0)) <= tolerance);
  }
  mxs_release(&AV);
  mxs_release(&gram);
}

typedef struct triplets {
  double *A, *s, *U, *V;
} triplets;

static void triplets_create(triplets *t, int64_t rows, int64_t cols, int64_t count) {
  assert_int_equal(mxs_alloc(rows * cols, sizeof(double), &t->A), MXS_OK);
  assert_int_equal(mxs_alloc(count, sizeof(double), &t->s), MXS_OK);
  assert_int_equal(mxs_alloc(rows * count, sizeof(double), &t->U), MXS_OK);
  assert_int_equal(mxs_alloc(cols * count, sizeof(double), &t->V), MXS_OK);
}

static void triplets_release(triplets *t) {
  mxs_release(&t->A);
  mxs_release(&t->s);
  mxs_release(&t->U);
  mxs_release(&t->V);
}

static void leading(void **state) {
  (void)state;
  /* Small shapes take the full SVD, the large ones subspace iteration. */
  static const int64_t shapes[][3] = {{40, 30, 7}, {30, 40, 30}, {900, 800, 6}, {800, 1000, 1}};
  if (mpi_test_rank() != 0)
    return;
  for (size_t c = 0; c < sizeof shapes / sizeof *shapes; c++) {
    const int64_t rows = shapes[c][0];
    const int64_t cols = shapes[c][1];
    const int64_t count = shapes[c][2];
    triplets t;
    triplets_create(&t, rows, cols, count);
    planted(rows, cols, 30, 0.5, t.A);
    assert_int_equal(mxs_la_leading(mxs_cview(t.A, rows, cols), count, t.s, t.U, t.V), MXS_OK);
    check_triplets(mxs_cview(t.A, rows, cols), count, 0.5, t.s, t.U, t.V);
    triplets_release(&t);
  }
}

static void distributed(void **state) {
  (void)state;
  static const int64_t shapes[][3] = {{70, 50, 6}, {50, 90, 9}, {130, 100, 1}, {5, 3, 3}};
  mxs_comm *world = NULL;
  assert_ok(mxs_comm_create(MPI_COMM_WORLD, &world));
  for (size_t c = 0; c < sizeof shapes / sizeof *shapes; c++) {
    const int64_t rows = shapes[c][0];
    const int64_t cols = shapes[c][1];
    const int64_t count = shapes[c][2];
    triplets t;
    double *share = NULL;
    triplets_create(&t, rows, cols, count);
    assert_int_equal(mxs_alloc(rows * cols, sizeof *share, &share), MXS_OK);
    planted(rows, cols, rows < 30 ? 3 : 30, 0.5, t.A);
    /* Shares that sum to A but of which none resembles it. */
    for (int64_t i = 0; i < rows * cols; i++)
      share[i] = (world->rank == 0 ? t.A[i] : 0.0) +
                 sin((double)i) * (world->rank + 1 < world->size ? 1.0 : 1.0 - world->size);
    const mxs_status status = mxsi_distributed_svd(world, share, rows, cols, count, t.s, t.U, t.V);
    if (status == MXS_ERR_SETTINGS) {
      assert_non_null(strstr(mxs_last_error(), "no ScaLAPACK"));
    } else {
      assert_ok(status);
      check_triplets(mxs_cview(t.A, rows, cols), count, 0.5, t.s, t.U, t.V);
    }
    mxs_release(&share);
    triplets_release(&t);
  }
  mxs_comm_destroy(&world);
}

static void gaps(void **state) {
  (void)state;
  static const double s[] = {5.0, 4.0, 1.0, 0.9, 0.0};
  assert_int_equal(mxs_gap_rank(s, 5, 3), 2);
  assert_int_equal(mxs_gap_rank(s, 5, 5), 4); /* what is followed by zero is the rank */
  assert_int_equal(mxs_gap_rank(s, 1, 1), 1);
  assert_int_equal(mxs_gap_rank(s + 4, 1, 1), 1);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(leading),
    cmocka_unit_test(distributed),
    cmocka_unit_test(gaps),
};

MPI_TEST_MAIN(tests)
