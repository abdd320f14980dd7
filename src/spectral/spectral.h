/** @file
 *  Leading singular triplets of the back-projection S = A*(y): step size, start scale, rank, data
 *  subspaces. Room `spectral`. */
#ifndef MXS_SPECTRAL_SPECTRAL_H
#define MXS_SPECTRAL_SPECTRAL_H

#include "objective/objective.h"

/** Leading part of the SVD of S, the same on all ranks. */
typedef struct mxs_spectrum {
  int64_t count;  /**< triplets: min(k + 1, n1, n2) */
  double *s;      /**< descending */
  double *left;   /**< n1 x count */
  double *right;  /**< n2 x count */
  int64_t visits; /**< of measurements, beside those that the objective counted */
} mxs_spectrum;

/** Room for the spectrum of a problem. Local. */
MXS_CHECKED mxs_status mxs_spectrum_create(const mxs_problem *problem, mxs_spectrum *out);

void mxs_spectrum_clear(mxs_spectrum *spectrum);

/** Fill it: one pass over A, then an SVD by `route`, or by passes alone. MXS_SVD_AUTO takes the
 *  latter where the operator has no `pass`, n1 n2 is at least 2^22 and the triplets, with those of
 *  a quarter of the smaller side: forming S costs n2 / 64 visits
 *  there. Collective. */
MXS_CHECKED mxs_status mxs_spectrum_compute(mxs_problem *problem,
                                            mxs_objective *objective,
                                            mxs_svd_route route,
                                            mxs_reduction reduction,
                                            mxs_spectrum *spectrum);

/** Leading triplets by block subspace iteration, of `count` and 10 columns from a random start, two
 *  passes an iteration: until no value moves by more than 1e-10 s_1, at most 12 times. A value with
 *  the (count + 11)th at a ratio q below it has a relative error of about q^(4 i) after i
 *  iterations. Room for (n1 + n2) columns, and a workspace of its own for the passes; no n1 x n2
 *  matrix where the operator forms none. The same bits at any number of ranks. Collective. */
MXS_CHECKED mxs_status mxsi_spectrum_by_passes(mxs_problem *problem,
                                               mxs_reduction reduction,
                                               int threads,
                                               mxs_spectrum *spectrum);

/** A pass whose gradients serve as products with S: -S V at (0, V), and -S^T U at (U, 0). at[r] is
 *  checked to be finite. Collective. */
MXS_CHECKED mxs_status mxs_spectrum_apply(mxs_objective *objective,
                                          const mxs_point *points,
                                          int64_t r,
                                          mxs_evaluation *at);

/** Place of the largest gap s_i / s_{i+1} among the first `most` of `count` values; 1 at least.
 *  Local. */
int64_t mxs_gap_rank(const double *s, int64_t count, int64_t most);

/** Leading `count` triplets of S = sum over the ranks of `share` (n1 x n2 row-major each,
 *  overwritten), on all ranks, by a distributed SVD: a reduce-scatter to row slabs, redistribution
 *  to a BLACS grid, PDGESVD. No rank holds all of S. Collective. Bits depend on the grid. @retval
 *  MXS_ERR_SETTINGS this build has no ScaLAPACK */
MXS_CHECKED mxs_status mxsi_distributed_svd(const mxs_comm *comm,
                                            double *share,
                                            int64_t n1,
                                            int64_t n2,
                                            int64_t count,
                                            double *s,
                                            double *left,
                                            double *right);

/** Can factorisations be spread over the ranks? Local. */
int mxs_has_distributed(void);

/** A symmetric matrix H = unit L^T L + E of a large order n. */
typedef struct mxs_definite_system {
  int64_t order;
  const float *rows; /**< rows of L that this rank holds, of n numbers each */
  int64_t count;
  double unit;
  void (*extra)(void *ctx,
                int64_t column,
                double *out); /**< a column of E, the same on all ranks */
  void *ctx;
} mxs_definite_system;

/** x <- H^{-1} x, of n numbers, the same on all ranks, by a distributed Cholesky factorisation:
 *  column panels are summed onto the ranks in turn, then redistributed to a BLACS grid; PDPOTRF,
 *  PDPOTRS. No rank holds all of H: 16 n^2 / P bytes each, and 384 columns. Where H is not
 *  definite *solved is 0 and x stays. Collective. Bits depend on the grid.
 *  @retval MXS_ERR_SETTINGS this build has no ScaLAPACK */
MXS_CHECKED mxs_status mxs_distributed_definite(const mxs_comm *comm,
                                                const mxs_definite_system *system,
                                                double *x,
                                                int *solved);

#endif
