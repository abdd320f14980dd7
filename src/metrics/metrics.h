/** @file
 *  What the theory watches along a run, from replicated factors: no communication. Room `metrics`.
 *
 *  Columns: iteration, seconds, loss, grad_norm, test_error, validation_loss, imbalance, sigma_1 ..
 *  sigma_q, effective_rank, angle_left, angle_right, angle_data_left, angle_data_right, phase,
 *  step. NaN where not defined.
 *
 *   - test_error        ||U V^T - X*||_F / ||X*||_F from the small core of the QR factorisations of
 *     [U, U*] and [V, V*], or from X* itself where that is smaller: accurate to rounding, also
 *     below 1e-8
 *   - imbalance         ||U^T U - V^T V||_2
 *   - sigma_i           singular values of U V^T;  effective_rank  exp(-sum p_i log p_i), p_i =
 *     sigma_i / sum sigma
 *   - angle_*           largest principal angle (radians) between the leading-r left / right
 *     singular subspaces of U V^T and of X*; angle_data_*: of the back-projection A*(y). r is the
 *     rank of X*, else the gap of A*(y); NaN if k < r
 *   - phase             1 alignment, 2 saddle avoidance, 3 refinement (mxs_phase) */
#ifndef MXS_METRICS_METRICS_H
#define MXS_METRICS_METRICS_H

#include "problem/problem_impl.h"
#include "spectral/spectral.h"

/** State of the causal phase rule, all that it remembers. The rule, at each row, with r the gap of
 *  the back-projection: 1 -> 2  the r-th singular value of U V^T is 100 times its first value, and
 *  the leading-r subspaces of U V^T are within 0.4 rad of those of the back-projection, or no
 *  closer than one row before; any -> 3  the relative residual is below 1/2. */
typedef struct mxs_phase {
  double phase;        /**< 0 before the first row */
  double sigma_start;  /**< sigma_r at the first row */
  double angle_before; /**< at the row before */
} mxs_phase;

enum { MXS_PHASE_NUMBERS = 3 };

/** What the solver knows of an iterate. */
typedef struct mxs_iterate {
  int64_t iteration;
  int64_t gap_rank; /**< of the back-projection, at most k */
  double seconds, loss, grad_norm, validation_loss, relative_residual, step;
  mxs_cmat U, V;
} mxs_iterate;

typedef struct mxs_metrics mxs_metrics;

/** For `sigmas` columns of singular values. Problem and spectrum are borrowed. Local. */
MXS_CHECKED mxs_status mxs_metrics_create(const mxs_problem *problem,
                                          const mxs_spectrum *spectrum,
                                          int64_t sigmas,
                                          mxs_metrics **out);

void mxs_metrics_destroy(mxs_metrics **metrics);

/** Names of the columns, owned by the metrics. @returns their number */
int64_t mxs_metrics_columns(const mxs_metrics *metrics, const char *const **names);

/** Column of a name in every row. */
enum {
  MXS_COLUMN_ITERATION,
  MXS_COLUMN_SECONDS,
  MXS_COLUMN_LOSS,
  MXS_COLUMN_GRAD_NORM,
  MXS_COLUMN_TEST_ERROR
};

/** Fill a row and move the phase on. Local, the same bits on all ranks. Cost: O((n1 + n2) (k +
 *  r)^2).
 *  @param[out] rank_estimate singular values above the largest gap */
MXS_CHECKED mxs_status mxs_metrics_row(mxs_metrics *metrics,
                                       const mxs_iterate *at,
                                       mxs_phase *phase,
                                       double *row,
                                       int64_t *rank_estimate);

#endif
