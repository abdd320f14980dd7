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
  int64_t visits; /**< of measurements */
  int64_t gap_rank;
  int64_t columns; /**< of the factors */
  int64_t stage;   /**< solve/auto.h */
  int64_t kept;    /**< columns of the kept point; 0: none */
} mxsi_counters;

typedef struct mxsi_numbers {
  double seconds, step, alpha, s1, loss_start;
} mxsi_numbers;

enum {
  MXSI_COUNTERS = 7,
  MXSI_NUMBERS = 5,
  MXSI_ARRAYS = 9, /**< of a trajectory, at most */
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
  /* As they were before the pass of count.iteration: what a checkpoint holds. */
  mxsi_counters count;
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
  int whole;                 /**< the last evaluation was of all measurements */
  mxs_result *result;        /**< reason: why a trajectory does not run any more */
  double *start_U, *start_V; /**< given start factors, or NULL */
  mxsi_auto automatic;
  mxsi_auto_numbers automatic_numbers;
  double *kept_U, *kept_V; /**< best point so far of `auto`, or NULL */
  mxs_array *arrays;
  int64_t shape_count, array_count; /**< those that tell shapes come first */
  double clock;                     /**< MPI_Wtime() at which the solve time would be 0 */
  int64_t visits_before;            /**< visits that the objective had made at a count of 0 */
  double metrics_s, checkpoint_s;
};

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

/** The random, spectral or given start of every trajectory, and automatic settings: once in the
 * life of a run. Collective. */
MXS_CHECKED mxs_status mxsi_solver_start(mxs_solver *solver);

#endif
