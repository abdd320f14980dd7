#include "problem/problem_impl.h"

#include "la/la.h"

#include <float.h>
#include <math.h>
#include <string.h>

static mxs_status copy_view(mxs_cmat from, double **out) {
  MXS_TRY(mxs_alloc(from.rows * from.cols, sizeof **out, out));
  for (int64_t i = 0; i < from.rows; i++)
    memcpy(*out + i * from.cols, from.a + i * from.ld, (size_t)from.cols * sizeof **out);
  return MXS_OK;
}

static mxs_status check_entries(mxs_cmat A, const char *name) {
  for (int64_t i = 0; i < A.rows; i++)
    for (int64_t j = 0; j < A.cols; j++)
      if (!isfinite(A.a[i * A.ld + j]))
        return mxs_fail(MXS_ERR_DATA, "%s[%lld, %lld] is %g: the truth must be finite", name,
                        (long long)i, (long long)j, A.a[i * A.ld + j]);
  return MXS_OK;
}

/* The first `rank` of `order` columns. */
static mxs_status leading_columns(
    const double *from, int64_t rows, int64_t order, int64_t rank, double **out) {
  return copy_view((mxs_cmat){from, rows, rank, order}, out);
}

/* The numerical rank of X* and its singular vectors: of the matrix X, or of U V^T where X.a is
 * NULL. */
static mxs_status decompose(mxs_problem *p, mxs_cmat X, mxs_cmat U, mxs_cmat V) {
  mxs_truth *truth = &p->truth;
  const int64_t least = p->n1 < p->n2 ? p->n1 : p->n2;
  const int64_t order = X.a != NULL || U.cols > least ? least : U.cols;
  double *s = NULL;
  double *left = NULL;
  double *right = NULL;
  mxs_status status = MXS_OK;
  MXS_TRY_GOTO(status, mxs_alloc(order, sizeof *s, &s), cleanup);
  MXS_TRY_GOTO(status, mxs_alloc(p->n1 * order, sizeof *left, &left), cleanup);
  MXS_TRY_GOTO(status, mxs_alloc(p->n2 * order, sizeof *right, &right), cleanup);
  MXS_TRY_GOTO(status,
               X.a != NULL ? mxs_la_leading(X, order, s, left, right)
                           : mxs_la_svd_product(U, V, s, left, right),
               cleanup);
  while (truth->rank < order && s[truth->rank] > (double)(p->n1 + p->n2) * DBL_EPSILON * s[0])
    truth->rank++;
  MXS_TRY_GOTO(status, leading_columns(left, p->n1, order, truth->rank, &truth->left), cleanup);
  status = leading_columns(right, p->n2, order, truth->rank, &truth->right);
cleanup:
  mxs_release(&s);
  mxs_release(&left);
  mxs_release(&right);
  return status;
}

mxs_status mxsi_problem_set_truth(mxs_problem *p, mxs_cmat U, mxs_cmat V) {
  if (U.rows != p->n1 || V.rows != p->n2 || U.cols != V.cols || U.cols < 1)
    return mxs_fail(
        MXS_ERR_DATA,
        "truth/U is %lld x %lld and truth/V %lld x %lld, expected %lld x r and %lld x r",
        (long long)U.rows, (long long)U.cols, (long long)V.rows, (long long)V.cols,
        (long long)p->n1, (long long)p->n2);
  MXS_TRY(check_entries(U, "truth/U"));
  MXS_TRY(check_entries(V, "truth/V"));
  MXS_TRY(decompose(p, (mxs_cmat){0}, U, V));
  p->truth.cols = U.cols;
  /* Metrics compare [U, U*] and [V, V*] by QR, as long as these are tall; else X* itself is
   * cheaper. */
  if (p->k + U.cols < (p->n1 < p->n2 ? p->n1 : p->n2)) {
    MXS_TRY(copy_view(U, &p->truth.U));
    return copy_view(V, &p->truth.V);
  }
  MXS_TRY(mxs_alloc(p->n1 * p->n2, sizeof(double), &p->truth.X));
  mxs_la_gemm(0, 1, 1.0, U, V, 0.0, mxs_view(p->truth.X, p->n1, p->n2));
  return MXS_OK;
}

mxs_status mxsi_problem_set_truth_matrix(mxs_problem *p, mxs_cmat X) {
  if (X.rows != p->n1 || X.cols != p->n2)
    return mxs_fail(MXS_ERR_DATA, "truth/X is %lld x %lld, expected %lld x %lld", (long long)X.rows,
                    (long long)X.cols, (long long)p->n1, (long long)p->n2);
  MXS_TRY(check_entries(X, "truth/X"));
  MXS_TRY(decompose(p, X, (mxs_cmat){0}, (mxs_cmat){0}));
  return copy_view(X, &p->truth.X);
}
