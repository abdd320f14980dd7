/** @file
 *  The loss and its factor gradients over all measurements, at one or many points at once. Room
 *  `objective`.
 *
 *      f(U, V) = 1/(2m) sum_i R_i^2,  R_i = <A_i, U V^T> - y_i,  G = (1/m) sum_i R_i A_i,
 *      gU = G V,  gV = G^T U
 *
 *  One pass visits each measurement of this rank once for all points (replicas), block by block on
 *  one or more threads, and ends with one allreduce: of (n1 + n2) k numbers a replica, or of G
 *  itself where that is smaller, with the losses and the status words. Sums over blocks are exact
 *  and everything else has a fixed order, so the bits depend neither on ranks nor on threads. */
#ifndef MXS_OBJECTIVE_OBJECTIVE_H
#define MXS_OBJECTIVE_OBJECTIVE_H

#include "mxsense/solve.h"
#include "problem/problem_impl.h"

typedef struct mxs_objective mxs_objective;

/** A point (U, V): n1 x k, n2 x k. */
typedef struct mxs_point {
  mxs_cmat U, V;
  int idle; /**< left out of the pass */
} mxs_point;

/** Outcome of a pass at one point, the same on all ranks: means over the training measurements of
 *  its sample, zero where it has none. */
typedef struct mxs_evaluation {
  double loss;
  double validation_loss; /**< over the held-out measurements that were visited; NaN without any */
  const double *gU, *gV;  /**< n1 x k, n2 x k; owned by the objective, valid until the next pass */
  const double *G;        /**< n1 x n2, where it was formed (mxs_objective_keep_gradient()); NULL */
  int64_t train, held;    /**< measurements visited over all ranks: training and held-out ones */
  int nonfinite; /**< a block's contribution was NaN or Inf: the numbers above are not to be used */
} mxs_evaluation;

/** What passes visit, and label noise. */
typedef struct mxs_sample {
  int64_t first, count; /**< positions in the fixed order of canonical blocks of the training set,
                           cyclically; count = 0, or as many as there are: all blocks */
  int skip_validation;  /**< leave out the problem's separate held-out set; else every pass visits
                           all of it, whatever the blocks. Measurements held out inside the blocks
                           are visited with them */
  int keep_nothing;     /**< no Jacobian is kept of these passes */
  double label_noise;   /**< standard deviation of what is added to y for the gradient: a number
                           drawn by counter, of (seed, draw, measurement), the same for all
                           replicas. The losses are those of the true y. 0: none */
  uint64_t seed;
  int64_t draw; /**< not negative */
} mxs_sample;

/** What ranks ask for; it travels with a pass. In: 0 or 1 of this rank; out: ranks that asked. */
typedef struct mxs_requests {
  int64_t stop, checkpoint, walltime;
} mxs_requests;

/** Workspace for `replicas` points with factors of k[r] columns, on `threads` threads a rank.
 *  `problem` is borrowed. Collective. */
MXS_CHECKED mxs_status mxs_objective_create(mxs_problem *problem,
                                            mxs_reduction reduction,
                                            const int64_t *k,
                                            int64_t replicas,
                                            int threads,
                                            mxs_objective **out);

void mxs_objective_destroy(mxs_objective **objective);

/** What passes, lines and back-projections visit from now on; NULL: everything, without noise, of
 *  which back-projections take none. A rank may own no block of a sample. Local; the same on all
 *  ranks. */
void mxs_objective_sample(mxs_objective *objective, const mxs_sample *sample);

/** One pass at points[r], with its outcome in out[r]; that of idle points is left as it is.
 *  Collective: an operator that fails on one rank fails the call on all. The sums are compared over
 *  the ranks, with the points, before anything follows from them. Cost: 4 m n1 n2 / P flops
 *  a replica where A is stored, and 4 n1 n2 k flops a block. */
MXS_CHECKED mxs_status mxs_objective_pass(mxs_objective *objective,
                                          const mxs_point *points,
                                          mxs_requests *requests,
                                          mxs_evaluation *out);

/** The loss along lines,
 *
 *      f(U_r - t P_r, V_r - t Q_r) = c[0] + c[1] t + c[2] t^2 + c[3] t^3 + c[4] t^4,
 *
 *  (U, V) = points[r], (P, Q) = directions[r], each of up to twice the replica's columns, over the
 *  training measurements of the sample, into
 *  coefficients[r] of each point that is not idle: NaN where a sum is not finite. One visit to A,
 *  forward only, for all replicas, and one allreduce of five numbers a replica, two where the guess
 *  of their magnitude was off. The first call plans the operator for three matrices a replica
 *  (where it has `pass`) and takes 2 n1 n2 numbers a replica. Collective. Cost: 6 m n1 n2 / P flops
 *  a replica. Errors as of a pass. */
MXS_CHECKED mxs_status mxs_objective_line(mxs_objective *objective,
                                          const mxs_point *points,
                                          const mxs_point *directions,
                                          double (*coefficients)[5]);

/** Sums over measurements of what their residuals r and fitted values t, in the given units, tell
 * of how they are distributed: with h2 = t^2 - 1, h3 = t^3 - 3 t. */
enum {
  MXS_MOMENT_COUNT,
  MXS_MOMENT_SQUARE,      /**< r^2 */
  MXS_MOMENT_FOURTH,      /**< r^4 */
  MXS_MOMENT_EVEN,        /**< h2 r */
  MXS_MOMENT_EVEN_SQUARE, /**< h2^2 r^2 */
  MXS_MOMENT_ODD,         /**< h3 r */
  MXS_MOMENT_ODD_SQUARE,  /**< h3^2 r^2 */
  MXS_MOMENTS
};

/** The moments of the fit at one point, over the training and over the held-out measurements of the
 *  sample, for an objective of one replica; NaN where one is not finite. One visit to A, forward
 * only. Collective. Errors as of a pass. */
MXS_CHECKED mxs_status mxs_objective_moments(mxs_objective *objective,
                                             const mxs_point *at,
                                             double unit_fit,
                                             double unit_residual,
                                             double train[MXS_MOMENTS],
                                             double held[MXS_MOMENTS]);

/** How well the held-out measurements of the sample see every row of U and of V:
 *
 *      least = min over p of  sum_i ||row p of A_i V||^2  beside its mean over p,
 *
 *  or the same of A_i^T U, if that is less. Near 1 where the A_i are full, 0 where a row is in none
 *  of them, nothing is held out, or a number is not finite. Visits those measurements alone, one by
 *  one, for an objective of one replica. Collective. Errors as of a pass. Cost: 4 n1 n2 k flops
 *  each. */
MXS_CHECKED mxs_status mxs_objective_seen(mxs_objective *objective,
                                          const mxs_point *at,
                                          double *least);

/** Keep the Jacobian of the residuals in coming passes: rows J_i = [vec(A_i V), vec(A_i^T U)]
 *  (vec: row-major, n1 x k, then n2 x k) of the training measurements of the sample, at the point
 *  of the pass; held-out rows are not kept. The pass then forms J, the residual w = J vec(U, 0) -
 *  y, the loss, and the gradient J^T w / m from it in one visit to A. keep = 0 frees it. For one
 *  replica.
 *
 *  J is kept in single precision; w and the gradient are of the rows before they are rounded, so
 *  that only the steps of a solver feel it. Steps by conjugate gradients down to 1e-4 of the
 *  gradient are then what they are in double precision but for 1e-7. What goes much further must
 *  damp: along the directions that do not change U V^T, J^T J is no longer zero but rounding, some
 *  1e-14 of its norm. Where the rows of A
 *  cost more than a visit (the fast ensemble, operators that know products only) nothing is kept:
 *  passes are as before, and products with J are visits to A. Collective.
 *  @retval MXS_ERR_ARG the objective has more than one replica */
MXS_CHECKED mxs_status mxs_objective_keep_jacobian(mxs_objective *objective, int keep);

/** Memory of this rank for that: 4 (n1 + n2) k bytes for each of its training measurements (for the
 * largest sample, where samples are windows), and workspaces. Local. */
int64_t mxs_objective_jacobian_bytes(const mxs_objective *objective);

/** Memory of that for each training measurement of a sample, on the rank that it belongs to; 0
 * where nothing is kept. Local. */
int64_t mxs_objective_jacobian_row_bytes(const mxs_objective *objective);

/** Are rows of a Jacobian kept for this problem? Local. */
int mxs_objective_jacobian_has_rows(const mxs_problem *problem);

/** out = (1/m) J^T J d, with J of the last pass and m the rows in it. d and out: (n1 + n2) k
 *  numbers, dU over dV; NaN where a sum is not finite. Every row of J is read once; without rows,
 *  one visit to A in both directions. One allreduce, and another reading where the guess of its
 *  magnitude was off; the bits depend on d and on that pass alone. Collective. Cost: 4 m (n1 + n2)
 *  k / P flops.
 *  @retval MXS_ERR_ARG no pass has been made since J is kept */
MXS_CHECKED mxs_status mxs_objective_normal(mxs_objective *objective, const double *d, double *out);

/** A linear map of the rows of J, on one of several threads; the same on all ranks. */
typedef struct mxs_rows_map {
  int64_t order; /**< numbers of a mapped row */
  double size;   /**< their root mean square, about */
  void (*map)(void *ctx, int thread, const double *row, double *out);
  void *ctx;
} mxs_rows_map;

/** G = (1/m) L^T L with L the rows of J, mapped (`map` = NULL: as they are), of order n = (n1 + n2)
 *  k or map->order, on all ranks, both triangles; NaN where a sum is not finite. One allreduce of
 *  the half of it. Memory: G's for the sums, rows of some blocks, and a panel a thread. Without
 *  rows they are formed once more, in one visit to A. Collective. Cost: m n^2 / P flops. Errors as
 *  of mxs_objective_normal(). */
MXS_CHECKED mxs_status mxs_objective_gram(mxs_objective *objective,
                                          const mxs_rows_map *map,
                                          double *G);

/** The mapped rows of this rank, contiguous, in single precision, the caller's to free; `*train`:
 *  rows over all ranks. For factorisations over the ranks. Collective. Errors as of
 *  mxs_objective_normal(). */
MXS_CHECKED mxs_status mxs_objective_mapped_rows(mxs_objective *objective,
                                                 const mxs_rows_map *map,
                                                 float **rows,
                                                 int64_t *count,
                                                 int64_t *train);

/** Rows of J that this rank holds since the last pass, in the order of its visit: `*rows` of them,
 * one every `*ld` numbers, zeros behind the (n1 + n2) k of each; NULL and 0 where none are kept.
 * For factorisations over the ranks. Local. */
const float *mxs_objective_jacobian_rows(const mxs_objective *objective,
                                         int64_t *rows,
                                         int64_t *ld);

/** Have coming passes deliver G too, and sum it in the place of its products with the factors: n1
 * n2 numbers a replica, for operators without `pass` by products with the columns of the identity.
 *  Forgets the scales of the reduction. Collective. */
MXS_CHECKED mxs_status mxs_objective_keep_gradient(mxs_objective *objective);

/** Back-projection S = (1/m) sum_i y_i A_i over the training measurements of the sample, n1 x n2,
 * on all ranks;
 * `*S` is the caller's to use until the next pass. Collective. One pass. */
MXS_CHECKED mxs_status mxs_objective_back_projection(mxs_objective *objective, double **S);

/** This rank's share of the back-projection, not yet summed over ranks; the same room. Collective.
 */
MXS_CHECKED mxs_status mxs_objective_back_projection_local(mxs_objective *objective, double **S);

enum { MXS_OBJECTIVE_SCALES = 4 };

/** Scales of the exact reduction of a replica, MXS_OBJECTIVE_SCALES of them: state to save and
 *  restore. Local. */
int64_t *mxs_objective_scales(mxs_objective *objective, int64_t replica);

/** Have the next pass of a replica expect a loss, where it is known better than from the pass
 * before: sums of other magnitudes would cost another pass. Changes its scales, where G is summed.
 * Local; the same on all ranks. */
void mxs_objective_expect(mxs_objective *objective, int64_t replica, double loss);

/** Threads in use: what was asked for, or 1 where the operator takes one at a time. Local. */
int mxs_objective_threads(const mxs_objective *objective);

/** Counters of this rank since creation. Local. */
typedef struct mxs_objective_profile {
  double compute_s;  /**< on the blocks, making entries included; products with the Jacobian are
                        timed by who wants them */
  double generate_s; /**< making entries, a thread's share */
  double reduce_s;
  int64_t passes, reduce_bytes;
  int64_t visits; /**< measurements visited over all ranks, held-out ones too, by passes (redone
                     ones too), lines, back-projections, and products with a Jacobian that is
                     not kept: each counts one for all replicas */
} mxs_objective_profile;
mxs_objective_profile mxs_objective_get_profile(const mxs_objective *objective);

#endif
