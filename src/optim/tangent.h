/** @file
 *  The tangent space of the n1 x n2 matrices of rank k at X = U diag(s) V^T, U and V orthonormal:
 *
 *      D = U K V^T + C V^T + U B^T,   U^T C = 0,  V^T B = 0,
 *      ||D||_F^2 = ||K||_F^2 + ||C||_F^2 + ||B||_F^2.
 *
 *  A tangent vector is K (k x k), C (n1 x k), B (n2 x k), one after the other, row-major. Local and
 *  replicated. Room `optim`. */
#ifndef MXS_OPTIM_TANGENT_H
#define MXS_OPTIM_TANGENT_H

#include "mxsense/base.h"

typedef struct mxsi_tangent {
  int64_t n1, n2, k;
  int64_t C, B, length;    /**< where C and B begin in a tangent vector, and its numbers */
  double *U, *s, *V;       /**< n1 x k, k, n2 x k */
  double *norm_U, *norm_V; /**< of the columns of the factors */
  double *small;           /**< room: k x k */
  double *buffer;
} mxsi_tangent;

MXS_CHECKED mxs_status mxsi_tangent_create(int64_t n1, int64_t n2, int64_t k, mxsi_tangent *out);
void mxsi_tangent_clear(mxsi_tangent *tangent);

/** The space at factors that mxs_optim_balance() left. No column may be zero. */
void mxsi_tangent_at(mxsi_tangent *tangent, const double *F_U, const double *F_V);

/** The factors' change d (dF_U over dF_V) that stands for a tangent vector: dF_U F_V^T + F_U dF_V^T
 *  = D. */
void mxsi_tangent_to_factors(const mxsi_tangent *tangent, const double *x, double *d);

/** The transpose of that: what a gradient in d is in (K, C, B). */
void mxsi_tangent_from_factors(const mxsi_tangent *tangent, const double *g, double *x);

/** <X, Y> of two tangent vectors. */
double mxsi_tangent_dot(const mxsi_tangent *tangent, const double *x, const double *y);

/** Project a tangent vector on those of symmetric matrices: K symmetric, B = C. Needs n1 = n2. */
void mxsi_tangent_symmetrise(const mxsi_tangent *tangent, double *x);

/** Numbers of the coordinates Y below: (n1 + n2) k, n1 k of symmetric matrices. */
int64_t mxsi_tangent_order(const mxsi_tangent *tangent, int symmetric);

/** Coordinates without gauge, of the same norm: Y = (U K + C, B), or U K + sqrt(2) C where K = K^T
 *  and B = C. */
void mxsi_tangent_embed(const mxsi_tangent *tangent, int symmetric, const double *x, double *Y);

/** The transpose of that; of a Y that no tangent vector has, the nearest one. */
void mxsi_tangent_extract(const mxsi_tangent *tangent, int symmetric, const double *Y, double *x);

/** P = (I - U U^T) G (I - V V^T): what of G is normal to the space. P may be G. */
MXS_CHECKED mxs_status mxsi_tangent_normal(const mxsi_tangent *tangent, const double *G, double *P);

/** F_U, F_V <- the balanced factors of P_k(U K V^T + C V^T + U B^T), where K holds diag(s) too.
 *  @param[out] lost ||P_k(X) - X||_F^2, what that leaves out */
MXS_CHECKED mxs_status mxsi_tangent_retract(const mxsi_tangent *tangent,
                                            int symmetric,
                                            const double *x,
                                            double *F_U,
                                            double *F_V,
                                            double *lost);

#endif
