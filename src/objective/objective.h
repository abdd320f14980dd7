/** @file
 *  The loss and its factor gradients over all measurements. Room `objective`.
 *
 *      f = 1/(2m) sum_i R_i^2,  R_i = <A_i, U V^T> - y_i,  G = (1/m) sum_i R_i A_i,  gU = G V,  gV
 *      = G^T U
 *
 *  One pass visits each measurement of this rank once, block by block, and ends with one allreduce:
 *  of (n1 + n2) k numbers, or of G itself where that is smaller, with the losses and the status
 *  words. */
#ifndef MXS_OBJECTIVE_OBJECTIVE_H
#define MXS_OBJECTIVE_OBJECTIVE_H

#include "mxsense/solve.h"
#include "problem/problem_impl.h"

typedef struct mxs_objective mxs_objective;

/** Outcome of a pass, the same on all ranks. */
typedef struct mxs_evaluation {
  double loss;
  double validation_loss; /**< NaN without held-out measurements */
  const double *gU, *gV;  /**< n1 x k, n2 x k; owned by the objective, valid until the next pass */
  int nonfinite; /**< a block's contribution was NaN or Inf: the numbers above are not to be used */
  int64_t stop, checkpoint; /**< ranks that asked for it */
} mxs_evaluation;

/** Workspace for factors of problem->k columns. `problem` is borrowed. Collective. */
MXS_CHECKED mxs_status mxs_objective_create(mxs_problem *problem,
                                            mxs_reduction reduction,
                                            mxs_objective **out);

void mxs_objective_destroy(mxs_objective **objective);

/** One pass at (U, V). `stop` and `checkpoint`: this rank asks for it (0 or 1). Collective: an
 *  operator that fails on one rank fails the call on all. Cost: 4 m n1 n2 / P flops where A is
 *  stored, and 4 n1 n2 k flops a block. */
MXS_CHECKED mxs_status mxs_objective_pass(mxs_objective *objective,
                                          mxs_cmat U,
                                          mxs_cmat V,
                                          int stop,
                                          int checkpoint,
                                          mxs_evaluation *out);

/** Back-projection S = (1/m) sum_i y_i A_i over the training measurements, n1 x n2, on all ranks.
 *  Collective. One pass. */
MXS_CHECKED mxs_status mxs_objective_back_projection(mxs_objective *objective, double *S);

/** This rank's share of the back-projection, not yet summed over ranks. Local. */
MXS_CHECKED mxs_status mxs_objective_back_projection_local(mxs_objective *objective, double *S);

enum { MXS_OBJECTIVE_SCALES = 4 };

/** Scales of the exact reduction, MXS_OBJECTIVE_SCALES of them: state to save and restore. Local.
 */
int64_t *mxs_objective_scales(mxs_objective *objective);

/** Counters of this rank since creation. Local. */
typedef struct mxs_objective_profile {
  double compute_s, reduce_s;
  int64_t passes, reduce_bytes;
} mxs_objective_profile;
mxs_objective_profile mxs_objective_get_profile(const mxs_objective *objective);

#endif
