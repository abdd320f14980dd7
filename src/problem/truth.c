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

/* Singular values s, and A = left diag(s) right, of `order` triplets: keep the numerical rank and
 * its vectors. `left` is n1 x order, `right` is order x n2. */
static mxs_status keep_vectors(
    mxs_problem *p, int64_t order, const double *s, const double *left, const double *right) {
  mxs_truth *truth = &p->truth;
  while (truth->rank < order && s[truth->rank] > (double)(p->n1 + p->n2) * DBL_EPSILON * s[0])
    truth->rank++;
  MXS_TRY(mxs_alloc(p->n1 * truth->rank, sizeof(double), &truth->left));
  MXS_TRY(mxs_alloc(p->n2 * truth->rank, sizeof(double), &truth->right));
  for (int64_t j = 0; j < truth->rank; j++) {
    for (int64_t i = 0; i < p->n1; i++)
      truth->left[i * truth->rank + j] = left[i * order + j];
    for (int64_t i = 0; i < p->n2; i++)
      truth->right[i * truth->rank + j] = right[j * p->n2 + i];
  }
  return MXS_OK;
}

/* Singular triplets of a matrix. */
static mxs_status decompose_matrix(mxs_problem *p, mxs_cmat X) {
  const int64_t order = p->n1 < p->n2 ? p->n1 : p->n2;
  double *s = NULL;
  double *left = NULL;
  double *right = NULL;
  mxs_status status = MXS_OK;
  MXS_TRY_GOTO(status, mxs_alloc(order, sizeof *s, &s), cleanup);
  MXS_TRY_GOTO(status, mxs_alloc(p->n1 * order, sizeof *left, &left), cleanup);
  MXS_TRY_GOTO(status, mxs_alloc(order * p->n2, sizeof *right, &right), cleanup);
  MXS_TRY_GOTO(status, mxs_la_svd(X, s, left, right), cleanup);
  status = keep_vectors(p, order, s, left, right);
cleanup:
  mxs_release(&s);
  mxs_release(&left);
  mxs_release(&right);
  return status;
}

/* Singular triplets of U V^T from the small core of U = Q_1 R_1 and V = Q_2 R_2: R_1 R_2^T = a
 * diag(s) b. */
static mxs_status decompose_factors(mxs_problem *p, mxs_cmat U, mxs_cmat V) {
  const int64_t c = U.cols;
  const int64_t p1 = c < p->n1 ? c : p->n1;
  const int64_t p2 = c < p->n2 ? c : p->n2;
  const int64_t order = p1 < p2 ? p1 : p2;
  double *Q1 = NULL;
  double *Q2 = NULL;
  double *small = NULL; /* R_1, R_2, core, s, a, b */
  double *left = NULL;
  double *right = NULL;
  mxs_status status = MXS_OK;
  MXS_TRY_GOTO(status, mxs_alloc(p->n1 * p1, sizeof *Q1, &Q1), cleanup);
  MXS_TRY_GOTO(status, mxs_alloc(p->n2 * p2, sizeof *Q2, &Q2), cleanup);
  MXS_TRY_GOTO(status, mxs_alloc(6 * c * c, sizeof *small, &small), cleanup);
  MXS_TRY_GOTO(status, mxs_alloc(p->n1 * order, sizeof *left, &left), cleanup);
  MXS_TRY_GOTO(status, mxs_alloc(order * p->n2, sizeof *right, &right), cleanup);
  double *R1 = small;
  double *R2 = R1 + c * c;
  double *core = R2 + c * c;
  double *s = core + c * c;
  double *a = s + c * c;
  double *b = a + c * c;
  MXS_TRY_GOTO(status, mxs_la_qr(U, Q1, R1), cleanup);
  MXS_TRY_GOTO(status, mxs_la_qr(V, Q2, R2), cleanup);
  mxs_la_gemm(0, 1, 1.0, mxs_cview(R1, p1, c), mxs_cview(R2, p2, c), 0.0, mxs_view(core, p1, p2));
  MXS_TRY_GOTO(status, mxs_la_svd(mxs_cview(core, p1, p2), s, a, b), cleanup);
  mxs_la_gemm(0, 0, 1.0, mxs_cview(Q1, p->n1, p1), mxs_cview(a, p1, order), 0.0,
              mxs_view(left, p->n1, order));
  mxs_la_gemm(0, 1, 1.0, mxs_cview(b, order, p2), mxs_cview(Q2, p->n2, p2), 0.0,
              mxs_view(right, order, p->n2));
  status = keep_vectors(p, order, s, left, right);
cleanup:
  mxs_release(&Q1);
  mxs_release(&Q2);
  mxs_release(&small);
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
  MXS_TRY(decompose_factors(p, U, V));
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
  MXS_TRY(decompose_matrix(p, X));
  return copy_view(X, &p->truth.X);
}
