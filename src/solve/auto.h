/** @file
 *  The method `auto`: from measurements alone to a matrix and what can be said of it. Room `solve`.
 *
 *  An attempt pursues the rank by Gauss-Newton: where the back-projection of the residual has
 *  directions that stand out of its noise, the rank is raised by them; where none does and the
 *  residual does not fall any more, the attempt has come to rest. Attempts, until one is certified:
 *
 *   1. from the leading singular triplets of A*(y) that stand out of its noise;
 *   2. with one direction more, where too few measurements are left over to tell;
 *   3. from overparameterised gradient descent with momentum from a small random start, up to the
 *      least held-out loss, and truncated at the largest gap of its singular values;
 *   4. the first start at that rank, with log-det weights.
 *
 *  The best point where an attempt came to rest, by held-out loss, is the answer. Where there are
 *  many more measurements than the rank needs, attempts work on a prefix of the canonical blocks,
 *  and all of them join at the end; where the Jacobian of all takes too much memory, by Riemannian
 *  gradient descent, which then converges fast. */
#ifndef MXS_SOLVE_AUTO_H
#define MXS_SOLVE_AUTO_H

#include "objective/objective.h"

/** Which rule moves the factors; MXSI_STAGE_METHOD: that of the method. */
enum { MXSI_STAGE_METHOD, MXSI_STAGE_PURSUE, MXSI_STAGE_DESCEND, MXSI_STAGE_POLISH };

/** State: integers. */
typedef struct mxsi_auto {
  int64_t attempt; /**< 1 .. 4, and 5 where all are over */
  int64_t steps;   /**< updates since the attempt began, or all blocks joined */
  int64_t window;  /**< canonical blocks that passes visit; 0: all */
  int64_t plain; /**< the next evaluation is of all measurements, for a verdict, without Jacobian */
  int64_t lowered;   /**< directions that do not stand out were left off */
  int64_t stale;     /**< iterations of the descent since its held-out loss fell */
  int64_t gap;       /**< rank that the descent came to; 0: none yet */
  int64_t certified; /**< the kept point is, as far as its own measurements tell */
} mxsi_auto;

/** State: numbers. */
typedef struct mxsi_auto_numbers {
  double best;   /**< least held-out loss of the descent */
  double kept;   /**< held-out loss of the kept point */
  double before; /**< loss of the evaluation before */
} mxsi_auto_numbers;

enum { MXSI_AUTO_INTEGERS = 8, MXSI_AUTO_NUMBERS = 3 };

struct mxs_solver;

/** Measurements to start with, before the spectrum is known. Local. */
void mxsi_auto_begin(struct mxs_solver *solver);

/** The first attempt, once it is. Collective. */
MXS_CHECKED mxs_status mxsi_auto_start(struct mxs_solver *solver);

/** What the next evaluation visits. Local. */
void mxsi_auto_sample(const struct mxs_solver *solver, mxs_sample *sample);

/** After an evaluation: the verdict, where there is one, into the result. Changes no state.
 *  Collective. */
MXS_CHECKED mxs_status mxsi_auto_judge(struct mxs_solver *solver);

/** The next iterate: a step, another rank, or the next attempt. Collective. */
MXS_CHECKED mxs_status mxsi_auto_advance(struct mxs_solver *solver);

#endif
