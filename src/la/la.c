#define _GNU_SOURCE /* RTLD_DEFAULT */

#include "la/la.h"

#include <dlfcn.h>
#include <math.h>
#include <string.h>

void dgemm_(const char *transa,
            const char *transb,
            const int *m,
            const int *n,
            const int *k,
            const double *alpha,
            const double *a,
            const int *lda,
            const double *b,
            const int *ldb,
            const double *beta,
            double *c,
            const int *ldc);
void dgemv_(const char *trans,
            const int *m,
            const int *n,
            const double *alpha,
            const double *a,
            const int *lda,
            const double *x,
            const int *incx,
            const double *beta,
            double *y,
            const int *incy);
void dgelqf_(const int *m,
             const int *n,
             double *a,
             const int *lda,
             double *tau,
             double *work,
             const int *lwork,
             int *info);
void dorglq_(const int *m,
             const int *n,
             const int *k,
             double *a,
             const int *lda,
             const double *tau,
             double *work,
             const int *lwork,
             int *info);
void dsyev_(const char *jobz,
            const char *uplo,
            const int *n,
            double *a,
            const int *lda,
            double *w,
            double *work,
            const int *lwork,
            int *info);
void dgesdd_(const char *jobz,
             const int *m,
             const int *n,
             double *a,
             const int *lda,
             double *s,
             double *u,
             const int *ldu,
             double *vt,
             const int *ldvt,
             double *work,
             const int *lwork,
             int *iwork,
             int *info);

static int64_t min64(int64_t a, int64_t b) {
  return a < b ? a : b;
}

static int64_t max64(int64_t a, int64_t b) {
  return a > b ? a : b;
}

mxs_status mxs_la_prepare(void) {
  enum { WORKSPACE = 160 << 20, N = 64, SQUARE = N * N }; /* OpenBLAS takes 128 MB */
  double *room = NULL;
  MXS_TRY(mxs_alloc(WORKSPACE, 1, &room));
  mxs_release(&room);
  MXS_TRY(mxs_alloc(SQUARE, 2 * sizeof *room, &room));
  memset(room, 0, sizeof *room * 2 * SQUARE);
  const mxs_cmat A = mxs_cview(room, N, N);
  mxs_la_gemm(0, 0, 1, A, A, 0, (mxs_mat){.a = room + SQUARE, .rows = N, .cols = N, .ld = N});
  mxs_release(&room);
  return MXS_OK;
}

/* Row-major C = op(A) op(B) is column-major C^T = op(B)^T op(A)^T on the same memory. */
void mxs_la_gemm(int transpose_A,
                 int transpose_B,
                 double alpha,
                 mxs_cmat A,
                 mxs_cmat B,
                 double beta,
                 mxs_mat C) {
  const int m = (int)C.cols;
  const int n = (int)C.rows;
  const int k = (int)(transpose_A ? A.rows : A.cols);
  if (m == 0 || n == 0)
    return;
  const int ldb = (int)max64(B.ld, 1);
  const int lda = (int)max64(A.ld, 1);
  const int ldc = (int)max64(C.ld, 1);
  dgemm_(transpose_B ? "T" : "N", transpose_A ? "T" : "N", &m, &n, &k, &alpha, B.a, &ldb, A.a, &lda,
         &beta, C.a, &ldc);
}

void mxs_la_gemv(int transpose, double alpha, mxs_cmat A, const double *x, double beta, double *y) {
  const int m = (int)A.cols;
  const int n = (int)A.rows;
  const int lda = (int)max64(A.ld, 1);
  const int one = 1;
  if (m > 0 && n > 0)
    dgemv_(transpose ? "N" : "T", &m, &n, &alpha, A.a, &lda, x, &one, &beta, y, &one);
}

static void copy_contiguous(mxs_cmat A, double *out) {
  for (int64_t i = 0; i < A.rows; i++)
    memcpy(out + i * A.cols, A.a + i * A.ld, (size_t)A.cols * sizeof *out);
}

/* Row-major A (rows x cols) is column-major A^T (cols x rows): A = Q R is A^T = L Q' with L = R^T,
 * Q' = Q^T. */
mxs_status mxs_la_qr(mxs_cmat A, double *Q, double *R) {
  const int c = (int)A.cols;
  const int n = (int)A.rows;
  const int p = (int)min64(c, n);
  double *a = NULL;
  double *tau = NULL;
  double *work = NULL;
  mxs_status status = MXS_OK;
  int info = 0;
  if (p == 0)
    return MXS_OK;
  const int lwork = 64 * (int)max64(c, p);
  MXS_TRY_GOTO(status, mxs_alloc(A.rows * A.cols, sizeof *a, &a), cleanup);
  MXS_TRY_GOTO(status, mxs_alloc(p, sizeof *tau, &tau), cleanup);
  MXS_TRY_GOTO(status, mxs_alloc(lwork, sizeof *work, &work), cleanup);
  copy_contiguous(A, a);
  dgelqf_(&c, &n, a, &c, tau, work, &lwork, &info);
  if (R != NULL)
    for (int i = 0; i < p; i++)
      for (int j = 0; j < c; j++)
        R[(int64_t)i * c + j] = j >= i ? a[j + (int64_t)i * c] : 0.0;
  if (info == 0 && Q != NULL) {
    dorglq_(&p, &n, &p, a, &c, tau, work, &lwork, &info);
    for (int j = 0; j < n; j++)
      memcpy(Q + (int64_t)j * p, a + (int64_t)j * c, (size_t)p * sizeof *Q);
  }
  if (info != 0)
    status = mxs_fail(MXS_ERR_NUMERIC, "LAPACK's QR factorisation returned %d for a %d x %d matrix",
                      info, n, c);
cleanup:
  mxs_release(&a);
  mxs_release(&tau);
  mxs_release(&work);
  return status;
}

/* Row-major A is column-major A^T = U' S V'^T, so A = V' S U'^T, and U', V'^T lie in memory as Vt
 * and U row-major. */
mxs_status mxs_la_svd(mxs_cmat A, double *s, double *U, double *Vt) {
  const int m = (int)A.cols;
  const int n = (int)A.rows;
  const int p = (int)min64(m, n);
  double *a = NULL;
  double *work = NULL;
  int *iwork = NULL;
  mxs_status status = MXS_OK;
  if (p == 0)
    return MXS_OK;
  const char *job = U != NULL ? "S" : "N";
  MXS_TRY_GOTO(status, mxs_alloc(A.rows * A.cols, sizeof *a, &a), cleanup);
  MXS_TRY_GOTO(status, mxs_alloc(8 * (int64_t)p, sizeof *iwork, &iwork), cleanup);
  copy_contiguous(A, a);
  for (int64_t i = 0; i < A.rows * A.cols; i++) {
    if (!isfinite(a[i])) {
      status =
          mxs_fail(MXS_ERR_NUMERIC, "singular values of a matrix with an entry that is not finite");
      goto cleanup;
    }
  }
  int info = 0;
  int lwork = -1;
  double wanted = 0.0;
  const int ldu = U != NULL ? m : 1;
  const int ldvt = U != NULL ? p : 1;
  dgesdd_(job, &m, &n, a, &m, s, Vt, &ldu, U, &ldvt, &wanted, &lwork, iwork, &info);
  /* Release 0.3.21 of OpenBLAS asks for less than dgesdd uses in some shapes; the documented bound
   * never does. */
  const double bound = 4.0 * p * p + 7.0 * p + (double)max64(m, n);
  lwork = (int)fmin(fmax(wanted, bound), 2147483000.0);
  MXS_TRY_GOTO(status, mxs_alloc(lwork, sizeof *work, &work), cleanup);
  dgesdd_(job, &m, &n, a, &m, s, Vt, &ldu, U, &ldvt, work, &lwork, iwork, &info);
  if (info != 0)
    status = mxs_fail(MXS_ERR_NUMERIC, "LAPACK's SVD returned %d for a %d x %d matrix", info, n, m);
cleanup:
  mxs_release(&a);
  mxs_release(&work);
  mxs_release(&iwork);
  return status;
}

/* With as many columns as the smaller side the core would be no smaller than U V^T itself. */
static mxs_status svd_of_whole(mxs_cmat U, mxs_cmat V, double *s, double *left, double *right) {
  const int64_t p = min64(U.rows, V.rows);
  double *X = NULL;
  double *Vt = NULL;
  mxs_status status = MXS_OK;
  MXS_TRY_GOTO(status, mxs_alloc(U.rows * V.rows, sizeof *X, &X), cleanup);
  if (right != NULL)
    MXS_TRY_GOTO(status, mxs_alloc(p * V.rows, sizeof *Vt, &Vt), cleanup);
  mxs_la_gemm(0, 1, 1.0, U, V, 0.0, mxs_view(X, U.rows, V.rows));
  MXS_TRY_GOTO(status, mxs_la_svd(mxs_cview(X, U.rows, V.rows), s, left, Vt), cleanup);
  for (int64_t i = 0; right != NULL && i < V.rows; i++)
    for (int64_t j = 0; j < p; j++)
      right[i * p + j] = Vt[j * V.rows + i];
cleanup:
  mxs_release(&X);
  mxs_release(&Vt);
  return status;
}

/* U = Q_1 R_1, V = Q_2 R_2, R_1 R_2^T = a diag(s) b: U V^T = (Q_1 a) diag(s) (Q_2 b^T)^T. */
mxs_status mxs_la_svd_product(mxs_cmat U, mxs_cmat V, double *s, double *left, double *right) {
  const int64_t k = U.cols;
  const int64_t p1 = min64(U.rows, k);
  const int64_t p2 = min64(V.rows, k);
  const int64_t p = min64(p1, p2);
  const int vectors = left != NULL;
  if (k >= min64(U.rows, V.rows))
    return svd_of_whole(U, V, s, left, right);
  double *Q1 = NULL;
  double *Q2 = NULL;
  double *small = NULL; /* R_1, R_2, core, a, b: each at most k x k */
  mxs_status status = MXS_OK;
  if (vectors) {
    MXS_TRY_GOTO(status, mxs_alloc(U.rows * p1, sizeof *Q1, &Q1), cleanup);
    MXS_TRY_GOTO(status, mxs_alloc(V.rows * p2, sizeof *Q2, &Q2), cleanup);
  }
  MXS_TRY_GOTO(status, mxs_alloc(5 * k * k, sizeof *small, &small), cleanup);
  double *R1 = small;
  double *R2 = R1 + k * k;
  double *core = R2 + k * k;
  double *a = core + k * k;
  double *b = a + k * k;
  MXS_TRY_GOTO(status, mxs_la_qr(U, Q1, R1), cleanup);
  MXS_TRY_GOTO(status, mxs_la_qr(V, Q2, R2), cleanup);
  mxs_la_gemm(0, 1, 1.0, mxs_cview(R1, p1, k), mxs_cview(R2, p2, k), 0.0, mxs_view(core, p1, p2));
  MXS_TRY_GOTO(status,
               mxs_la_svd(mxs_cview(core, p1, p2), s, vectors ? a : NULL, vectors ? b : NULL),
               cleanup);
  if (vectors) {
    mxs_la_gemm(0, 0, 1.0, mxs_cview(Q1, U.rows, p1), mxs_cview(a, p1, p), 0.0,
                mxs_view(left, U.rows, p));
    mxs_la_gemm(0, 1, 1.0, mxs_cview(Q2, V.rows, p2), mxs_cview(b, p, p2), 0.0,
                mxs_view(right, V.rows, p));
  }
cleanup:
  mxs_release(&Q1);
  mxs_release(&Q2);
  mxs_release(&small);
  return status;
}

mxs_status mxs_la_norm2(mxs_cmat A, double *norm) {
  double *s = NULL;
  *norm = 0.0;
  MXS_TRY(mxs_alloc(min64(A.rows, A.cols), sizeof *s, &s));
  const mxs_status status = mxs_la_svd(A, s, NULL, NULL);
  if (status == MXS_OK && min64(A.rows, A.cols) > 0)
    *norm = s[0];
  mxs_release(&s);
  return status;
}

mxs_status mxs_la_norm2_symmetric(mxs_cmat A, double *norm) {
  const int n = (int)A.rows;
  const int lwork = 64 * (int)max64(n, 1);
  double *a = NULL;
  double *values = NULL;
  double *work = NULL;
  int info = 0;
  mxs_status status = MXS_OK;
  *norm = 0.0;
  if (n == 0)
    return MXS_OK;
  MXS_TRY_GOTO(status, mxs_alloc(A.rows * A.rows, sizeof *a, &a), cleanup);
  MXS_TRY_GOTO(status, mxs_alloc(n, sizeof *values, &values), cleanup);
  MXS_TRY_GOTO(status, mxs_alloc(lwork, sizeof *work, &work), cleanup);
  copy_contiguous(A, a);
  dsyev_("N", "L", &n, a, &n, values, work, &lwork, &info);
  *norm = fmax(fabs(values[0]), fabs(values[n - 1]));
  if (info != 0)
    status = mxs_fail(MXS_ERR_NUMERIC, "LAPACK's eigenvalues returned %d for order %d", info, n);
cleanup:
  mxs_release(&a);
  mxs_release(&values);
  mxs_release(&work);
  return status;
}

double mxs_la_frobenius(mxs_cmat A) {
  double largest = 0.0;
  for (int64_t i = 0; i < A.rows; i++)
    for (int64_t j = 0; j < A.cols; j++)
      largest = fmax(largest, fabs(A.a[i * A.ld + j]));
  if (largest == 0.0 || !isfinite(largest))
    return largest;
  const double unit = ldexp(1.0, -ilogb(largest));
  double sum = 0.0;
  for (int64_t i = 0; i < A.rows; i++)
    for (int64_t j = 0; j < A.cols; j++)
      sum += (A.a[i * A.ld + j] * unit) * (A.a[i * A.ld + j] * unit);
  return sqrt(sum) / unit;
}

static const char *ask_blas(const char *name) {
  void *symbol = dlsym(RTLD_DEFAULT, name);
  if (symbol == NULL)
    return "unknown";
  char *(*function)(void) = NULL;
  memcpy(&function, &symbol, sizeof function);
  return function();
}

const char *mxs_la_blas_kernel(void) {
  return ask_blas("openblas_get_corename");
}

const char *mxs_la_blas_config(void) {
  return ask_blas("openblas_get_config");
}
