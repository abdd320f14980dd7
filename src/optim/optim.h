/** @file
 *  Step rules: how the factors of a trajectory move, given the loss and its gradient at them. Room
 *  `optim`.
 *
 *  An iteration of the solver evaluates f at (U, V) (a pass over A), looks at the outcome, and has
 *  the rule of the method advance U and V. What a rule has to remember from one iteration to the
 *  next is in `memory_U`, `memory_V` and `number`, which are saved with the factors. Everything is
 *  replicated: the same code on the same numbers on every rank. */
#ifndef MXS_OPTIM_OPTIM_H
#define MXS_OPTIM_OPTIM_H

#include "spectral/spectral.h"

/** What a rule remembers beside matrices. */
enum {
  MXS_OPTIM_STATIONARY, /**< 1: at rest, no step would change X by more than rounding, or a tenth of
                           the tolerance */
  MXS_OPTIM_GAIN,       /**< of gauss_newton: the part of ||R||^2 that the last step took, as far as
                           the linear model tells */
  MXS_OPTIM_STEP,       /**< of gauss_newton: ||step|| / ||X||; 0: none yet */
  MXS_OPTIM_EXPECTED,   /**< of gauss_newton: the loss that it expects after the step; 0: none */
  MXS_OPTIM_OWN,        /**< the rule's own */
  MXS_OPTIM_NUMBERS = 6
};

/** What of G = (1/m) sum_i R_i A_i no tangent vector at X reaches, by its leading singular
 * triplets: directions that X lacks, and noise. */
typedef struct mxs_outside {
  int64_t count;        /**< triplets wanted */
  double *s;            /**< descending */
  double *left, *right; /**< n1 x count, n2 x count */
} mxs_outside;

/** A trajectory as its rule sees it. */
typedef struct mxs_optim {
  const mxs_problem *problem;
  mxs_objective *objective;
  const mxs_solve_options *options;
  int64_t replica; /**< of the objective's points */
  int64_t k;
  uint64_t seed;
  const mxs_spectrum *spectrum; /**< of A*(y) */
  double s1;                    /**< its largest */
  double step;                  /**< of this trajectory */
  int automatic;                /**< the step was not given */
  /* State. */
  int64_t iteration;           /**< updates made */
  double *U, *V;               /**< n1 x k, n2 x k; advanced in place */
  double *memory_U, *memory_V; /**< the same shapes, zero at the start; NULL unless `remembers` */
  double number[MXS_OPTIM_NUMBERS]; /**< zero at the start */
  const mxs_evaluation *at;         /**< f at (U, V) */
  double inner_s;                   /**< seconds of this rank in least squares of gauss_newton */
  mxs_outside *outside;             /**< to be filled by gauss_newton; NULL: not wanted */
  double *work_U, *work_V;          /**< room of the shapes of U and V */
} mxs_optim;

typedef struct mxs_rule {
  const char *name;
  mxs_start start;       /**< of MXS_START_AUTO */
  int remembers;         /**< needs memory_U and memory_V */
  int many;              /**< trajectories may share the passes (replicas) */
  int stochastic;        /**< evaluates f on batches, mxs_optim_batch() */
  int keeps_jacobian;    /**< needs the Jacobian of the evaluation */
  int line_search;       /**< takes options->line_search */
  double automatic_step; /**< times 1 / s_1 where `scaled_by_s1` */
  int scaled_by_s1;
  /** A further factor of the automatic step, for factors of k columns; NULL: 1. Local. */
  double (*damping)(const mxs_problem *problem, const mxs_solve_options *options, int64_t k);
  /** Bring the start into the form that the method wants. NULL: nothing to do. Collective. */
  mxs_status (*prepare)(mxs_optim *optim);
  /** (U, V) <- the next iterate. Collective, with the same status on all ranks.
   *  @retval MXS_ERR_NUMERIC a factorisation failed: the trajectory has diverged */
  mxs_status (*advance)(mxs_optim *optim);
} mxs_rule;

/** U V^T with columns of U and V that are orthogonal, longest first, and of the same norm in both;
 * of the symmetric part without its negative eigenvalues, and V = U, for MXS_MODEL_SYMMETRIC.
 * Local. */
MXS_CHECKED mxs_status mxs_optim_balance(mxs_model model, mxs_mat U, mxs_mat V);

/** Largest singular value of what of G no tangent vector at U V^T reaches; U and V as
 *  mxs_optim_balance() leaves them. Needs G in `at`. Zero at X = 0. Local.
 *  @param[out] s `count` leading values */
MXS_CHECKED mxs_status mxs_optim_outside(const mxs_optim *optim, int64_t count, double *s);

/** Rule of a method; that of MXS_METHOD_AUTO, which goes by those of others, has a name only.
 * Local.
 */
const mxs_rule *mxs_rule_of(mxs_method method);

/** Step size of factors of k columns where none is given. Local. */
double mxs_rule_step(const mxs_rule *rule,
                     const mxs_problem *problem,
                     const mxs_solve_options *options,
                     int64_t k,
                     double s1);

/** The measurements of step t of a stochastic method: whole canonical blocks, a window of their
 *  fixed order that starts at a place drawn by counter from (seed, t). Every block is as likely as
 *  any other, all ranks share the work, and the choice does not depend on their number. Local. */
void mxs_optim_batch(const mxs_problem *problem,
                     const mxs_solve_options *options,
                     uint64_t seed,
                     int64_t iteration,
                     mxs_sample *sample);

#endif
