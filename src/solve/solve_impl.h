/** @file
 *  What the files of the solver share. Room `solve`. */
#ifndef MXS_SOLVE_SOLVE_IMPL_H
#define MXS_SOLVE_SOLVE_IMPL_H

#include "metrics/metrics.h"
#include "objective/objective.h"
#include "optim/optim.h"
#include "solve/auto.h"
#include "spectral/spectral.h"

/** Integers and numbers of the state of a trajectory, as saved. */
typedef struct mxsi_counters {
  int64_t started, iteration;
  int64_t passes; /**< over all measurements, whole ones */
  int64_t gap_rank;
} mxsi_counters;

/** What checkpoints of version 1 did not have from the beginning: of one that does not, the
 * solver's own as it was made. */
typedef struct mxsi_extent {
  int64_t visits;  /**< of measurements; 0: `passes` tells */
  int64_t columns; /**< of the factors */
  int64_t stage;   /**< solve/auto.h */
  int64_t kept;    /**< columns of the kept point; 0: none */
} mxsi_extent;

typedef struct mxsi_numbers {
  double seconds, step, alpha, s1, loss_start;
} mxsi_numbers;

/** Figures of a point. */
typedef struct mxsi_figures {
  double iteration; /**< -1: there is none yet */
  double loss, validation_loss, grad_norm;
  double train, held; /**< measurements that the losses are of */
} mxsi_figures;

/** The point of the lowest held-out loss, and the last that was lower by as much as counts; as
 *  saved. */
typedef struct mxsi_best {
  mxsi_figures point;
  double mark_iteration, mark_loss;
} mxsi_best;

enum {
  MXSI_COUNTERS = 4,
  MXSI_EXTENT = 4,
  MXSI_NUMBERS = 5,
  MXSI_BEST = 8,
  MXSI_ARRAYS = 13, /**< of a trajectory, at most */
  MXSI_SHARED_ARRAYS = 7,
  MXSI_NAME = 48
};

/** One trajectory. */
typedef struct mxsi_trajectory {
  mxs_replica want;
  int64_t k; /**< columns of the factors */
  const mxs_rule *rule;
  mxs_optim optim; /**< the factors, and what their rule remembers */
  mxs_metrics *metrics;
  double *row;
  mxsi_figures last; /**< of the last evaluation of all measurements */
  /* Of the lowest held-out loss, that of the last pass included: the pass that a restored solver
   * repeats finds it there, and changes nothing. The factors are NULL unless it is the answer. */
  mxsi_best best;
  double *best_U, *best_V;
  /* As they were before the pass of count.iteration: what a checkpoint holds. */
  mxsi_counters count;
  mxsi_extent extent;
  mxsi_numbers number;
  mxs_phase phase;
  mxs_phase next_phase; /**< after the pass */
  int64_t scales[MXS_OBJECTIVE_SCALES];
  char name[MXSI_ARRAYS][MXSI_NAME]; /**< of its arrays in the state */
  int names;
} mxsi_trajectory;

struct mxs_solver {
  mxs_problem *problem;
  mxs_solve_options options;
  mxs_objective *objective;
  mxs_spectrum spectrum;
  int64_t replicas;
  mxsi_trajectory *trajectory;
  mxs_point *points;
  mxs_evaluation *at;
  int lost;                  /**< `auto`: the last evaluation was of an attempt that diverged */
  int whole;                 /**< the last evaluation was of all measurements */
  mxs_result *result;        /**< reason: why a trajectory does not run any more */
  double *start_U, *start_V; /**< given start factors, or NULL */
  mxsi_auto automatic;
  mxsi_auto_numbers automatic_numbers;
  double *kept_U, *kept_V; /**< best point so far of `auto`, or NULL */
  const mxs_hooks *hooks;  /**< of the run that is under way, or NULL */
  mxs_array *arrays;
  int64_t shape_count, array_count; /**< those that tell shapes come first */
  double clock;                     /**< MPI_Wtime() at which the solve time would be 0 */
  mxs_objective_profile spent;      /**< of objectives that are no more */
  int64_t visits_before;            /**< visits that the objective had made at a count of 0 */
  double metrics_s, checkpoint_s;
};

/** Measurements of a problem, held-out ones too. Local. */
static inline int64_t mxsi_measurements(const mxs_problem *p) {
  return p->train.blocks.m + p->validation.blocks.m;
}

/** Degrees of freedom of a matrix of rank k: k (n1 + n2 - k), or k (2 n - k + 1) / 2 of the
 * symmetric model. Local. */
int64_t mxsi_freedom(const mxs_solver *solver, int64_t k);

/** Visits of measurements since the first start. Local. */
int64_t mxsi_solver_visits(const mxs_solver *solver);

/** Have trajectory r start with factors of k columns, all zero, and forget what it remembers; the
 *  objective has to be made anew before the next pass. Local. */
MXS_CHECKED mxs_status mxsi_solver_set_columns(mxs_solver *solver, int64_t r, int64_t k);

/** Room for the kept point. Local. */
MXS_CHECKED mxs_status mxsi_solver_set_kept(mxs_solver *solver, int64_t k);

/** Factors of i.i.d. N(0, alpha^2) entries. Local. */
void mxsi_start_randomly(const mxs_solver *solver, mxsi_trajectory *trajectory, double alpha);

/** Make the objective for the columns of all trajectories, in the place of the one there is.
 *  Collective. */
MXS_CHECKED mxs_status mxsi_solver_set_objective(mxs_solver *solver);

/** List the arrays of the state anew. Local. */
void mxsi_solver_list_arrays(mxs_solver *solver);

/** ||R|| / ||y|| of a loss; 0 if y = 0. Local. */
double mxsi_relative_residual(const mxs_problem *problem, double loss);

/** ||(dU, dV)||_F of the last evaluation of trajectory r. Local. */
double mxsi_solver_grad_norm(const mxs_solver *solver, int64_t r);

/** Tell the hook of the run something, for its log. Logically collective. */
void mxsi_solver_tell(const mxs_solver *solver, int warning, const char *format, ...)
    MXS_PRINTF(3, 4);

/* ---- stop.c -------------------------------------------------------------------------------- */

/** Whether the answer is the best point. Local. */
int mxsi_stop_keeps_best(const mxs_solver *solver);

/** Local. @retval MXS_ERR_SETTINGS the problem lacks what the rule looks at */
MXS_CHECKED mxs_status mxsi_stop_check(const mxs_problem *problem,
                                       const mxs_solve_options *options);

/** Look at the evaluation of trajectory r, which was of all measurements: remember the point if it
 *  is the best so far, and tell whether `stop` ends the trajectory. Local. */
mxs_reason mxsi_stop_watch(mxs_solver *solver, int64_t r);

/** Figures of the answer of trajectory r, and what its held-out measurements tell. Local, the same
 *  on all ranks. Cost: O((n1 + n2) k^2). */
MXS_CHECKED mxs_status mxsi_stop_answer(mxs_solver *solver, int64_t r, mxs_result *result);

/** The random, spectral or given start of every trajectory, and automatic settings: once in the
 * life of a run. Collective. */
MXS_CHECKED mxs_status mxsi_solver_start(mxs_solver *solver);

#endif
