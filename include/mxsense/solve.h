/** @file
 *  Recovery of a low-rank matrix by its factors, for problems of problem.h.
 *
 *      f(U, V) = 1/(2m) sum_i R_i^2,   R_i = <A_i, U V^T> - y_i,   U: n1 x k,  V: n2 x k
 *
 *  The core is gradient descent from a small random start,
 *
 *      G = (1/m) sum_i R_i A_i;   U <- U - step G V,   V <- V - step G^T U
 *
 *  (both steps from the old pair), the method of Soltanolkotabi, Stoeger and Xie, "Implicit
 * balancing and regularization" (COLT 2023), in raw (not 1/sqrt(m)-normalised) measurements: the
 * iterates are the paper's for the same step. mxs_method has the others, up to MXS_METHOD_AUTO,
 * which needs no setting, finds the rank and says in a certificate what held-out measurements tell
 * of the result.
 *
 *  Many trajectories that differ in seed, start scale, step or k may share the passes over A
 *  (replicas): each has the bits of its solo run on the same problem.
 *
 *  One allreduce per iteration carries the factor gradients, the loss, the held-out loss and the
 *  status words. With MXS_REDUCTION_REPRODUCIBLE, factors and metrics (but times) are the same bits
 *  at any number of ranks, for one BLAS kernel and one number of BLAS threads (1 is right with a
 * rank per core). */
#ifndef MXSENSE_SOLVE_H
#define MXSENSE_SOLVE_H

#include "mxsense/problem.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum mxs_reduction { MXS_REDUCTION_REPRODUCIBLE, MXS_REDUCTION_FAST } mxs_reduction;

/** Route of the singular value decomposition of the back-projection A*(y). */
typedef enum mxs_svd_route {
  MXS_SVD_AUTO,       /**< replicated, but distributed for large shapes with MXS_REDUCTION_FAST,
                         and randomized for large shapes of operators without `pass` */
  MXS_SVD_REPLICATED, /**< LAPACK on every rank: same bits at any number of ranks */
  MXS_SVD_SCALAPACK,  /**< ScaLAPACK on a BLACS grid of all ranks; needs MXS_REDUCTION_FAST */
  MXS_SVD_RANDOMIZED  /**< subspace iteration by passes, for operators that know products only: no
                         rank forms A*(y); same bits at any number of ranks */
} mxs_svd_route;

/** How the factors move; README, "Methods", compares them. One iteration is one evaluation (a pass
 * over A) and one update. */
typedef enum mxs_method {
  MXS_METHOD_AUTO,          /**< finds the rank, start and step sizes, and certifies the result */
  MXS_METHOD_GD,            /**< gradient descent */
  MXS_METHOD_NESTEROV,      /**< gradient descent with momentum */
  MXS_METHOD_SGD,           /**< gradient descent on batches of canonical blocks */
  MXS_METHOD_SCALED_GD,     /**< gradients preconditioned by (V^T V + lambda I)^-1, (U^T U + lambda
                               I)^-1: Tong, Ma, Chi (2021); with lambda > 0 Xu, Shen, Chi, Ma (2023) */
  MXS_METHOD_AGN,           /**< the same, one factor at a time: Jia, Feng, Meng, Sun (2024) */
  MXS_METHOD_RIEMANNIAN_GD, /**< on the manifold of rank-k matrices: Wei, Cai, Chan, Leung (2016) */
  MXS_METHOD_GAUSS_NEWTON   /**< least squares on the compressed Jacobian */
} mxs_method;

/** The unknown matrix: U V^T, or U U^T (symmetric, positive semidefinite; n1 = n2; V = U
 * throughout). */
typedef enum mxs_model { MXS_MODEL_ASYMMETRIC, MXS_MODEL_SYMMETRIC } mxs_model;

/** Where the factors start. */
typedef enum mxs_start {
  MXS_START_AUTO,     /**< random for gd, nesterov and sgd, spectral for the other methods */
  MXS_START_RANDOM,   /**< i.i.d. N(0, alpha^2) entries */
  MXS_START_SPECTRAL, /**< leading k singular triplets of A*(y) / scale^2, balanced; of a symmetric
                         model eigenvectors of its symmetric part */
  MXS_START_NYSTROM   /**< the same of a sketch of A*(y): its range, and its projection on it */
} mxs_start;

/** Weights of Gauss-Newton's least squares. */
typedef enum mxs_weights {
  MXS_WEIGHTS_AUTO, /**< log-det with fewer than 1.5 measurements per degree of freedom */
  MXS_WEIGHTS_NONE,
  MXS_WEIGHTS_LOG_DET /**< towards low rank, falling: MatrixIRLS in the tangent space */
} mxs_weights;

/** How Gauss-Newton solves its least squares; the steps are the same but for rounding and 1e-6. */
typedef enum mxs_inner {
  MXS_INNER_AUTO,    /**< what costs less for the shapes: cg, but of small orders cholesky */
  MXS_INNER_CG,      /**< conjugate gradients on the Jacobian */
  MXS_INNER_GRAM,    /**< conjugate gradients on its Gram matrix, of order (n1 + n2) k */
  MXS_INNER_CHOLESKY /**< a factorisation of that; with MXS_REDUCTION_FAST spread over the ranks
                        where it is large */
} mxs_inner;

/** What ends a run, beside max_iterations. Methods that step on batches look only where a row of
 * metrics is due. */
typedef enum mxs_stop {
  MXS_STOP_TOLERANCE,  /**< the relative residual is at most the tolerance */
  MXS_STOP_VALIDATION, /**< that, or the held-out loss has not fallen by 1e-5 of it for `patience`
                          iterations; the answer is the point where it was lowest, however the run
                          ends */
  MXS_STOP_DISCREPANCY /**< that, or ||R||^2 / m <= noise_std^2 (1 + 2 sqrt(2/m)): what the noise
                          alone leaves stays below in 98 of 100 cases */
} mxs_stop;

/** What may differ between trajectories that share the ensemble and the data. NaN, or 0 for k, mean
 *  as for mxs_solve_options. */
typedef struct mxs_replica {
  double alpha, step;
  uint64_t seed;
  int64_t k; /**< columns of the factors, at most the k of the problem; 0: that */
} mxs_replica;

/** Settings of a solve; start from mxs_solve_defaults(). NaN for a number means automatic. */
typedef struct mxs_solve_options {
  double alpha;                /**< start scale: entries of U0, V0 i.i.d. N(0, alpha^2); NaN: 1e-3
                                  sqrt(s_1/scale^2) */
  double step;                 /**< mu; NaN: 0.25 / s_1, s_1 the top singular value of A*(y), of gd
                                  and nesterov; the same or less of sgd, 1/2 of scaled_gd, near 1 of
                                  agn, the best one in every iteration of riemannian_gd */
  uint64_t seed;               /**< of the start */
  const mxs_replica *replicas; /**< trajectories to advance together in one pass over A (copied);
                                    their alpha, step and seed take the place of those above; NULL:
                                    one */
  int64_t replica_count;       /**< of `replicas`; 0: one trajectory */
  int threads;      /**< of every rank, over the blocks of measurements; the same bits as one */
  mxs_cmat start_U; /**< start from these factors instead (n1 x k, copied); .a = NULL: random;
                         with replicas all start from them */
  mxs_cmat start_V; /**< n2 x k */
  mxs_method method;
  mxs_model model;
  mxs_start start;
  double momentum;        /**< of nesterov, in [0, 1) */
  double lambda;          /**< of scaled_gd and agn, relative to s_1/scale^2 */
  double balance;         /**< weight of the regulariser ||U^T U - V^T V||_F^2 / 4 x scale^2, of the
                             first-order methods; 0: none */
  double label_noise;     /**< standard deviation of fresh noise on y for every gradient; 0: none */
  double perturb;         /**< radius of the ball of a random kick, relative to the norm of the
                             factors, where the gradient is nearly zero; 0: none */
  int line_search;        /**< exact along the step's direction: gd and scaled_gd */
  int64_t batch;          /**< measurements of a step of sgd, whole blocks; 0: all */
  double step_decay;      /**< sgd: step / (1 + t / step_delay)^step_decay; 0: constant */
  double step_delay;      /**< iterations */
  mxs_weights weights;    /**< of gauss_newton */
  mxs_inner inner;        /**< of gauss_newton */
  int progressive;        /**< auto: begin with a part of the measurements, where there are many */
  double jacobian_memory; /**< auto: bytes over all ranks that the Jacobian may take */
  mxs_stop stop;
  int64_t patience; /**< of MXS_STOP_VALIDATION, iterations; 0: what the smallest signal s_r
                       takes to grow tenfold from the start, and a thousandfold at least,
                       ln(10 max(100, sqrt(s_r / scale2) / alpha)) / ln(1 + step s_r), with
                       s_r that of A*(y) above its largest gap; 30 where the step is not of a
                       gradient */
  double noise_std; /**< standard deviation of the noise in y, for MXS_STOP_DISCREPANCY and the
                       estimates; NaN: not known */
  int64_t max_iterations;  /**< absolute */
  double tolerance;        /**< stop when ||R|| / ||y|| <= tolerance; 0: never */
  int64_t metrics_every;   /**< iterations between metrics rows */
  int64_t singular_values; /**< columns sigma_1 .. sigma_q of the metrics; 0: min(k, 10) */
  mxs_reduction reduction;
  mxs_svd_route svd;
} mxs_solve_options;

/** Gradient descent, the method that all options apply to; MXS_METHOD_AUTO needs a problem with
 *  held-out measurements (mxs_problem_options.hold_out, 0.1 is usual) to certify anything. Local.
 */
MXS_API mxs_solve_options mxs_solve_defaults(void);

/** Why a solve ended. Values > 0: finished; < 0: stopped early or failed numerically. */
typedef enum mxs_reason {
  MXS_REASON_RUNNING = 0,
  MXS_REASON_TARGET = 1,      /**< max_iterations reached */
  MXS_REASON_TOLERANCE = 2,   /**< relative residual below the tolerance */
  MXS_REASON_VALIDATION = 3,  /**< the held-out loss was at its minimum */
  MXS_REASON_DISCREPANCY = 4, /**< the residual is that of the noise */
  MXS_REASON_STATIONARY = 5,  /**< the method has come to rest above the tolerance */
  MXS_REASON_STOPPED = -1,    /**< a hook asked for it */
  MXS_REASON_DIVERGED = -2,   /**< loss or gradient not finite, or loss beyond all bounds */
  MXS_REASON_WALLTIME = -3    /**< a hook said that the time is up */
} mxs_reason;

/** Name of a reason as in summary.json: "target", "tolerance", "validation", "discrepancy",
 *  "stopped", "diverged", "walltime". Local. */
MXS_API const char *mxs_reason_text(mxs_reason reason);

/** Requests of a hook, combined by or. A request of one rank is a request of all. */
enum { MXS_REQUEST_STOP = 1, MXS_REQUEST_CHECKPOINT = 2, MXS_REQUEST_WALLTIME = 4 };

typedef struct mxs_solver mxs_solver;

/** Callbacks of a solve; any may be NULL. */
typedef struct mxs_hooks {
  void *ctx;
  /** What this rank asks for, read once per iteration. Local. */
  int (*poll)(void *ctx, int64_t iteration);
  /** A metrics row of a trajectory; names from mxs_solver_columns(). Logically collective, the same
   *  bits on all ranks. */
  mxs_status (*row)(void *ctx, int64_t replica, const double *row);
  /** Every iteration, after the pass and before its rows: of the trajectory with the largest
   * residual among the `running` ones. Logically collective. */
  void (*progress)(
      void *ctx, int64_t iteration, int64_t running, double loss, double relative_residual);
  /** What the method auto has decided or found, in a line; `warning`: something is wrong with the
   *  problem. Of the iteration after which it did. Logically collective, the same on all ranks. */
  void (*tell)(void *ctx, int64_t iteration, int warning, const char *text);
  /** Save the solver's state now (mxs_solver_state()); `iteration` updates are in it. Called when a
   *  hook asked for it, and at every end but divergence; `reason` tells which. Collective. */
  mxs_status (*checkpoint)(void *ctx, int64_t iteration, mxs_reason reason);
} mxs_hooks;

/** Verdict on a result, from held-out measurements. */
typedef enum mxs_certificate_status {
  MXS_NOT_CERTIFIED,
  MXS_RECOVERED_UP_TO_NOISE,
  MXS_RECOVERED
} mxs_certificate_status;

/** Why a result is not certified. */
typedef enum mxs_doubt {
  MXS_DOUBT_NONE,
  MXS_DOUBT_NOT_HELD_OUT,
  MXS_DOUBT_FEW,
  MXS_DOUBT_STALLS,
  MXS_DOUBT_OVERFITS,
  MXS_DOUBT_EXPLAINS_LITTLE,
  MXS_DOUBT_WEAKEST,
  MXS_DOUBT_WIDE,
  MXS_DOUBT_DEPENDS,
  MXS_DOUBT_TAILS,
  MXS_DOUBT_UNFINISHED,
  MXS_DOUBT_UNSEEN
} mxs_doubt;

/** What is known of ||X - X*||_F / ||X*||_F. `recovered`: below 1e-6 by held-out measurements
 * alone, whatever the noise is. `recovered up to noise`: all that would show another minimum, rank
 * or model does not show. NaN where not defined. */
typedef struct mxs_certificate {
  int given; /**< 0: the method gives none, or nothing is held out */
  mxs_certificate_status status;
  mxs_doubt doubt;
  int64_t rank;
  double relative_error; /**< estimate; */
  double low, high;      /**< its interval, if what the fit leaves is noise */
  double bound;          /**< upper bound at 99.95 %, if nothing of it is */
  double noise_std;      /**< estimate, in units of y */
} mxs_certificate;

/** "recovered", "recovered up to noise", "not certified"; and why not. Local. */
MXS_API const char *mxs_certificate_text(mxs_certificate_status status);
MXS_API const char *mxs_doubt_text(mxs_doubt doubt);

/** Where the noise level of an estimate is from, or why there is none. */
typedef enum mxs_noise_basis {
  MXS_NOISE_NONE,      /**< nothing is held out */
  MXS_NOISE_GIVEN,     /**< noise_std */
  MXS_NOISE_RESIDUAL,  /**< the training residual of a fitted model */
  MXS_NOISE_FEW,       /**< unknown: no more measurements than degrees of freedom */
  MXS_NOISE_UNFITTED,  /**< unknown: the gradient says that there is more to fit */
  MXS_NOISE_OVERFITTED /**< unknown: what follows the estimated rank has taken up noise */
} mxs_noise_basis;

/** What held-out measurements tell of the noise and of the error ||U V^T - X*||_F / ||X*||_F. NaN
 *  where not defined. */
typedef struct mxs_estimate {
  double noise_std;
  double relative_error;
  double relative_error_low, relative_error_high; /**< at a level of 95 %; where the noise is
                                                     unknown, high counts all of it as error */
  mxs_noise_basis basis;
} mxs_estimate;

/** Name of a basis as in summary.json. Local. */
MXS_API const char *mxs_noise_basis_text(mxs_noise_basis basis);

/** Outcome of a trajectory. With MXS_STOP_VALIDATION the figures are those of the best point, but
 *  for iterations, passes and seconds. */
typedef struct mxs_result {
  mxs_reason reason;
  int64_t iterations;
  int64_t best_iteration; /**< of the lowest held-out loss; -1 without MXS_STOP_VALIDATION */
  double loss, relative_residual, validation_loss, test_error; /**< NaN where not defined */
  int64_t rank_estimate;          /**< singular values of U V^T above the largest gap */
  double passes_over_A;           /**< visits to all measurements, since the first start */
  double seconds;                 /**< cumulative, as the column of the metrics */
  double step, alpha, scale2, s1; /**< what automatic settings came to */
  mxs_certificate certificate;    /**< of MXS_METHOD_AUTO */
  mxs_estimate estimate;
} mxs_result;

/** Where the time of a solver went: this rank, since it was created. */
typedef struct mxs_profile {
  double compute_s;  /**< residual and gradient, making entries included */
  double generate_s; /**< making the entries of a generated ensemble */
  double reduce_s, metrics_s, checkpoint_s;
  double
      inner_s; /**< least squares of gauss_newton, with their sums over the ranks, beside the above
                */
  double passes;        /**< visits to all measurements */
  int64_t reduce_bytes; /**< payload of one iteration's allreduce */
  int threads;          /**< in use: one where the operator does not `plan` */
} mxs_profile;

/** Prepare a solve: spectrum of the back-projection (one pass), start, workspace. Collective.
 *  `problem` is borrowed and must outlive the solver. Memory per rank:
 *  mxs_solver_bytes().
 *  @retval MXS_ERR_SETTINGS an option is out of range  @retval MXS_ERR_DATA start factors not
 *  finite */
MXS_API MXS_CHECKED mxs_status mxs_solver_create(mxs_problem *problem,
                                                 const mxs_solve_options *options,
                                                 mxs_solver **solver);

/** Bytes that a solver with trajectories of k columns takes on every rank at its peak, beside the
 *  problem's own; `dense`: the operator has `pass`. Local. */
MXS_API double mxs_solver_bytes(
    int64_t n1, int64_t n2, int64_t k, int64_t replicas, int threads, int dense);

/** Free a solver and set the pointer to NULL; NULL-safe. Collective. */
MXS_API void mxs_solver_destroy(mxs_solver **solver);

/** Trajectories of a solver. Local. */
MXS_API int64_t mxs_solver_replicas(const mxs_solver *solver);

/** Iterate until every trajectory has come to an end; may be called again after a stop. Each stops,
 *  converges or diverges for itself; those that are left share the passes. Collective. Divergence
 * is a reason, not an error.
 *  @param[out] results one for each trajectory */
MXS_API MXS_CHECKED mxs_status mxs_solver_run(mxs_solver *solver,
                                              const mxs_hooks *hooks,
                                              mxs_result *results);

/** How all of them ended: stopped, or out of time, if one was; diverged if all did; else target if
 * one reached it, or what ended one of them. Local. */
MXS_API mxs_reason mxs_reason_of_all(const mxs_result *results, int64_t count);

/** What MXS_METHOD_AUTO is at, "pursuit", "descent" or "polish", and of other methods ""; `rank`:
 *  columns of the factors of the first trajectory. Local. */
MXS_API const char *mxs_solver_stage(const mxs_solver *solver, int64_t *rank);

MXS_API mxs_profile mxs_solver_profile(const mxs_solver *solver);

/** The factors of a trajectory, with MXS_STOP_VALIDATION those of its best point so far; owned by
 *  the solver, valid until it runs again or is destroyed. Local. */
MXS_API void mxs_solver_factors(const mxs_solver *solver,
                                int64_t replica,
                                mxs_cmat *U,
                                mxs_cmat *V);

/** Names of the columns of a metrics row of a trajectory. Local. @returns their number */
MXS_API int64_t mxs_solver_columns(const mxs_solver *solver,
                                   int64_t replica,
                                   const char *const **names);

/** One named array of the state of a solver, of doubles or of 64-bit integers, the same on all
 *  ranks. */
typedef struct mxs_array {
  const char *name; /**< "factors/U", "state/scales"; of many trajectories "replica_3/factors/U" */
  int is_integer;
  int64_t rows, cols; /**< contiguous, row-major */
  void *data;         /**< double * or int64_t *, owned by the solver */
  int optional;       /**< a checkpoint of an earlier release may lack it: then it stays as it is */
} mxs_array;

/** Everything that is needed to go on: save all arrays; to resume, create a solver with the same
 *  problem and options, fill those of mxs_solver_shapes(), call mxs_solver_reshape(), fill all, and
 *  call mxs_solver_restored(). The list is valid until the solver runs or is reshaped. Local.
 *  @returns their number */
MXS_API int64_t mxs_solver_state(mxs_solver *solver, mxs_array **arrays);

/** The first arrays of the state, which tell the shapes of the others. Local. @returns their number
 */
MXS_API int64_t mxs_solver_shapes(mxs_solver *solver, mxs_array **arrays);

/** Make the other arrays fit those of mxs_solver_shapes(). Collective.
 *  @retval MXS_ERR_DATA they make no sense */
MXS_API MXS_CHECKED mxs_status mxs_solver_reshape(mxs_solver *solver);

/** Tell the solver that its state was filled in. The pass of the saved iteration is repeated, so
 *  rows from that iteration on come again, with the same bits. Collective. */
MXS_API MXS_CHECKED mxs_status mxs_solver_restored(mxs_solver *solver);

#ifdef __cplusplus
}
#endif
#endif
