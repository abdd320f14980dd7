/** @file
 *  Dense linear algebra on row-major views, through BLAS and LAPACK. Room `la`; all Local and
 *  sequential, so replicated calls give the same bits on all ranks of one kind of CPU. */
#ifndef MXS_LA_LA_H
#define MXS_LA_LA_H

#include "mxsense/base.h"

/** Largest dimension that BLAS and LAPACK take here. */
enum { MXS_LA_MAX = INT32_MAX };

/** Have BLAS take the memory that it works in. It would do so at its first product, and try again
 *  for ever where there is none; here that is an error.
 *  @retval MXS_ERR_MEMORY there is none */
MXS_CHECKED mxs_status mxs_la_prepare(void);

/** C <- alpha op(A) op(B) + beta C, op = transpose where asked; shapes must agree, no aliasing. */
void mxs_la_gemm(
    int transpose_A, int transpose_B, double alpha, mxs_cmat A, mxs_cmat B, double beta, mxs_mat C);

/** y <- alpha op(A) x + beta y, op = transpose where asked; no aliasing. */
void mxs_la_gemv(int transpose, double alpha, mxs_cmat A, const double *x, double beta, double *y);

/** Thin QR: A = Q R with p = min(rows, cols); Q: rows x p, R: p x cols upper trapezoidal, both
 *  contiguous. Q may be NULL.
 *  @retval MXS_ERR_NUMERIC LAPACK refused */
MXS_CHECKED mxs_status mxs_la_qr(mxs_cmat A, double *Q, double *R);

/** Thin SVD: A = U diag(s) Vt, s descending, p = min(rows, cols); U: rows x p, Vt: p x cols,
 *  contiguous, or both NULL.
 *  @retval MXS_ERR_NUMERIC no convergence, or an entry is not finite */
MXS_CHECKED mxs_status mxs_la_svd(mxs_cmat A, double *s, double *U, double *Vt);

/** Thin SVD of U V^T (U: n1 x k, V: n2 x k) through the small core of the factors' QR
 * factorisations, or of U V^T itself where k >= min(n1, n2). With p = min(k, n1, n2): s: p, left:
 * n1 x p, right: n2 x p (not transposed), or both NULL.
 *  @retval MXS_ERR_NUMERIC as mxs_la_svd() */
MXS_CHECKED mxs_status
mxs_la_svd_product(mxs_cmat U, mxs_cmat V, double *s, double *left, double *right);

/** Largest singular value of A. */
MXS_CHECKED mxs_status mxs_la_norm2(mxs_cmat A, double *norm);

/** The same of a symmetric A, of which the upper triangle is read. NaN in A gives NaN or an error.
 */
MXS_CHECKED mxs_status mxs_la_norm2_symmetric(mxs_cmat A, double *norm);

/** Frobenius norm of A, scaled so that it neither overflows nor underflows. */
double mxs_la_frobenius(mxs_cmat A);

/** Leading `count` singular triplets of a large A by block subspace iteration on the smaller side,
 *  to rounding where the gap after them allows: s: count, U: rows x count, V: cols x count (not
 *  transposed). Deterministic. For small A this is mxs_la_svd(). */
MXS_CHECKED mxs_status mxs_la_leading(mxs_cmat A, int64_t count, double *s, double *U, double *V);

/** B <- B A^{-1} for a symmetric positive definite A (k x k; B: rows x k), by a Cholesky
 *  factorisation. Where a pivot is not above `least` times the largest diagonal entry of A,
 *  *definite is 0 and B stays as it is.
 *  @retval MXS_ERR_NUMERIC an entry of A is not finite */
MXS_CHECKED mxs_status mxs_la_solve_definite(mxs_cmat A, double least, mxs_mat B, int *definite);

/** x <- A^{-1} x for a large symmetric positive definite A, contiguous, by a Cholesky factorisation
 *  in the place of its lower triangle and diagonal; what is above stays. Where A is not definite,
 * or not finite, x stays.
 *  @returns whether it is definite */
int mxs_la_solve_in_place(mxs_mat A, double *x);

/** y <- A x of a symmetric A, contiguous, of which one triangle is read. */
void mxs_la_symv(mxs_cmat A, const double *x, double *y);

/** B <- B A^+ for a symmetric positive semidefinite A: eigenvalues of at most `least` times the
 *  largest count as zero.
 *  @retval MXS_ERR_NUMERIC as mxs_la_eigen_symmetric() */
MXS_CHECKED mxs_status mxs_la_solve_semidefinite(mxs_cmat A, double least, mxs_mat B);

/** Eigenvalues of a symmetric n x n matrix, of which the lower triangle is read, ascending, and its
 *  eigenvectors: row j of `vectors` (n x n) is that of values[j].
 *  @retval MXS_ERR_NUMERIC no convergence, or an entry is not finite */
MXS_CHECKED mxs_status mxs_la_eigen_symmetric(mxs_cmat A, double *values, double *vectors);

/** Name of the BLAS kernel in use ("SkylakeX", "Haswell", ...), "unknown" where the library does
 *  not tell. */
const char *mxs_la_blas_kernel(void);

/** Description of the BLAS library in use, "unknown" where it does not tell. */
const char *mxs_la_blas_config(void);

#endif
