#include "la/la.h"

#include <math.h>
#include <string.h>

void dpotrf_(const char *uplo, const int *n, double *a, const int *lda, int *info);
void dpotrs_(const char *uplo,
             const int *n,
             const int *nrhs,
             const double *a,
             const int *lda,
             double *b,
             const int *ldb,
             int *info);
void dsymv_(const char *uplo,
            const int *n,
            const double *alpha,
            const double *a,
            const int *lda,
            const double *x,
            const int *incx,
            const double *beta,
            double *y,
            const int *incy);
void dsyev_(const char *jobz,
            const char *uplo,
            const int *n,
            double *a,
            const int *lda,
            double *w,
            double *work,
            const int *lwork,
            int *info);

/* A copy of a small square matrix, which must be finite. */
static mxs_status copy_finite(mxs_cmat A, double *out) {
  for (int64_t i = 0; i < A.rows; i++)
    for (int64_t j = 0; j < A.cols; j++) {
      out[i * A.cols + j] = A.a[i * A.ld + j];
      if (!isfinite(out[i * A.cols + j]))
        return mxs_fail(MXS_ERR_NUMERIC, "a symmetric matrix has an entry that is not finite");
    }
  return MXS_OK;
}

/* Pivots of the factor in `a` against the largest diagonal entry of A. */
static int is_definite(mxs_cmat A, const double *a, double least) {
  double largest = 0.0;
  for (int64_t i = 0; i < A.rows; i++)
    largest = fmax(largest, A.a[i * A.ld + i]);
  for (int64_t i = 0; i < A.rows; i++)
    if (!(a[i * A.rows + i] * a[i * A.rows + i] > least * largest))
      return 0;
  return 1;
}

/* Rows of B are columns in LAPACK's eyes: A X^T = B^T. */
mxs_status mxs_la_solve_definite(mxs_cmat A, double least, mxs_mat B, int *definite) {
  const int k = (int)A.rows;
  const int rows = (int)B.rows;
  const int ldb = (int)B.ld;
  int info = 0;
  double *a = NULL;
  *definite = 0;
  if (k == 0)
    return MXS_OK;
  MXS_TRY(mxs_alloc(A.rows * A.rows, sizeof *a, &a));
  mxs_status status = copy_finite(A, a);
  if (status == MXS_OK) {
    dpotrf_("U", &k, a, &k, &info);
    *definite = info == 0 && is_definite(A, a, least);
  }
  if (*definite)
    dpotrs_("U", &k, &rows, a, &k, B.a, &ldb, &info);
  mxs_release(&a);
  return status;
}

/* LAPACK's upper triangle is the lower one of rows. */
int mxs_la_solve_in_place(mxs_mat A, double *x) {
  const int n = (int)A.rows;
  const int one = 1;
  int info = 0;
  dpotrf_("U", &n, A.a, &n, &info);
  for (int64_t i = 0; i < A.rows && info == 0; i++)
    info = !isfinite(A.a[i * A.rows + i]);
  if (info == 0)
    dpotrs_("U", &n, &one, A.a, &n, x, &n, &info);
  return info == 0;
}

void mxs_la_symv(mxs_cmat A, const double *x, double *y) {
  const int n = (int)A.rows;
  const int ld = (int)A.ld;
  const int one = 1;
  const double unit = 1.0;
  const double zero = 0.0;
  dsymv_("U", &n, &unit, A.a, &ld, x, &one, &zero, y, &one);
}

mxs_status mxs_la_eigen_symmetric(mxs_cmat A, double *values, double *vectors) {
  const int n = (int)A.rows;
  const int lwork = 64 * n + 3 * n;
  int info = 0;
  double *work = NULL;
  if (n == 0)
    return MXS_OK;
  MXS_TRY(copy_finite(A, vectors));
  MXS_TRY(mxs_alloc(lwork, sizeof *work, &work));
  dsyev_("V", "U", &n, vectors, &n, values, work, &lwork, &info);
  mxs_release(&work);
  return info == 0 ? MXS_OK
                   : mxs_fail(MXS_ERR_NUMERIC,
                              "LAPACK's eigenvalues of a symmetric matrix of order %d: it returned "
                              "%d",
                              n, info);
}

/* B V f(W) V^T with f(w) = 1 / w for what counts. */
mxs_status mxs_la_solve_semidefinite(mxs_cmat A, double least, mxs_mat B) {
  const int64_t k = A.rows;
  double *room = NULL;
  MXS_TRY(mxs_alloc(k + k * k + B.rows * k, sizeof *room, &room));
  double *values = room;
  double *vectors = values + k;
  double *turned = vectors + k * k;
  const mxs_cmat V = mxs_cview(vectors, k, k);
  const mxs_status status = mxs_la_eigen_symmetric(A, values, vectors);
  if (status == MXS_OK) {
    mxs_la_gemm(0, 1, 1.0, (mxs_cmat){B.a, B.rows, B.cols, B.ld}, V, 0.0,
                mxs_view(turned, B.rows, k));
    for (int64_t i = 0; i < B.rows; i++)
      for (int64_t j = 0; j < k; j++)
        turned[i * k + j] = values[j] > least * values[k - 1] ? turned[i * k + j] / values[j] : 0.0;
    mxs_la_gemm(0, 0, 1.0, mxs_cview(turned, B.rows, k), V, 0.0, B);
  }
  mxs_release(&room);
  return status;
}
