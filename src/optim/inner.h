/** @file
 *  The linear least squares of a step of Gauss-Newton, H x = r on the tangent space. Room `optim`.
 *
 *  Three ways, which give the same step but for 1e-6 of it:
 *
 *   - conjugate gradients on J (cg): every product reads the rows of J, m n numbers of 4 bytes in
 * all with n = (n1 + n2) k, and ends with an allreduce;
 *   - the same on L^T L / m (gram), formed once per step by m n^2 flops: products read 4 n^2 bytes
 *     on every rank, without communication;
 *   - its Cholesky factorisation (cholesky), n^3 / 3 flops more, and no products.
 *
 *  L are the rows of J in coordinates without gauge (mxsi_tangent_embed()); of what these have more
 *  than the tangent space H is scale2. gram and cholesky take 24 n^2 bytes on every rank while they
 *  sum, and 8 n^2 then. With MXS_REDUCTION_FAST, more than one rank, n of 1024 at least and
 *  ScaLAPACK, cholesky is spread over the ranks: 16 n^2 / P bytes, and the rows of L in single
 *  precision.
 *
 *  MXS_INNER_AUTO takes cholesky where m is at least the degrees of freedom, rows of J are kept,
 * and
 *
 *      m n^2 + n^3 / 3 < 24 q m n,   q = (1 + c) / (1 - c) ln(2000) / 2 <= 160,   c^2 = dof / m,
 *
 *  the products that a relative accuracy of 1e-3 takes at the condition of a random J, and 24 the
 *  flops of forming the matrix in the time that a product takes for one number of J; else cg. */
#ifndef MXS_OPTIM_INNER_H
#define MXS_OPTIM_INNER_H

#include "optim/optim.h"
#include "optim/tangent.h"

/** A step: its space, its right-hand side, and what H has beside J^T J / m. */
typedef struct mxsi_inner {
  mxs_optim *optim;
  mxsi_tangent t;
  int symmetric;
  int weighted, curved;
  double outside;            /**< largest singular value of P */
  double tolerance;          /**< of the last solution */
  double *weight_K, *weight; /**< k x k; k */
  double *P;                 /**< n1 x n2 */
  double *x0, *x, *r, *z, *p, *q;
  double *d, *Nd; /**< changes of the factors */
  double *room;
  /* Of gram and cholesky. */
  mxs_inner route; /**< not MXS_INNER_AUTO */
  int64_t order;
  double *G;                 /**< L^T L / m */
  double *Y, *NY, *diagonal; /**< order each */
  double *small;             /**< room of each thread: a tangent vector, k x k */
  float *rows;               /**< of L, where the factorisation is spread; G is not formed */
  int64_t count, all;        /**< rows of this rank, and of all */
} mxsi_inner;

/** The way that MXS_INNER_AUTO takes with k columns and m training measurements; others are taken
 *  as they are. Local. */
mxs_inner mxsi_inner_route(const mxs_problem *problem, mxs_inner asked, int64_t k, int64_t m);

/** The weight of number i of a tangent vector. Local. */
double mxsi_inner_weight(const mxsi_inner *inner, int64_t i);

/** Choose the way, and form what it needs at the evaluation. Collective. */
MXS_CHECKED mxs_status mxsi_inner_begin(mxsi_inner *inner);

/** x <- about H^-1 r, and r what is left, to a relative `tolerance` at least; `*indefinite` where H
 *  is. Collective. */
MXS_CHECKED mxs_status mxsi_inner_solve(mxsi_inner *inner, double tolerance, int *indefinite);

void mxsi_inner_end(mxsi_inner *inner);

#endif
