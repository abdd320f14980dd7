/** @file
 *  Measurement operators: linear maps A(X) = (<A_0, X>, ..., <A_{m-1}, X>) of an n1 x n2 matrix X.
 *
 *  An operator is a table of functions over ranges of measurements. The functions are local: they
 *  know no rank and send no message, and are only called for ranges inside one canonical block. The
 *  same range and arguments must give the same bits at every call: the solver's reproducibility
 *  rests on it.
 *
 *  A table supplies one of two families; the solver composes everything else from it:
 *   - `apply` and `adjoint_mul` for structured operators (entries, rank-one, masks, ...), which
 *     then never touch n1 x n2 numbers;
 *   - `pass` for operators whose A_i are full matrices: both directions in one visit to each A_i,
 *     for one or for many X at once (`plan`, `point`).
 */
#ifndef MXSENSE_OP_H
#define MXSENSE_OP_H

#include "mxsense/base.h"

#ifdef __cplusplus
extern "C" {
#endif

/** One visit to a range of measurements of a full-matrix operator, for R matrices at once, in one
 * or both directions. No aliasing. */
typedef struct mxs_pass {
  int64_t first, count;   /**< measurements first .. first + count - 1 */
  int64_t replicas;       /**< R >= 1 matrices X_r, each with its own w_r and G_r */
  const double *const *x; /**< x[r]: X_r row-major, n1 n2 numbers; NULL: adjoint only, w is input
                             and stays */
  const double *y;        /**< count numbers, the same for all r; NULL: zero */
  const double *weight;   /**< count numbers, of the adjoint only; NULL: one */
  double *w;              /**< w_r at w + r stride: count numbers, the residual */
  int64_t stride;         /**< any for R = 1 */
  double *const *g;       /**< g[r]: G_r row-major, n1 n2 numbers, added to; NULL: forward only */
  int thread; /**< 0 <= thread < threads of `plan`; passes of different threads may run at
                   the same time */
} mxs_pass;

/** What an operator says of itself. */
typedef struct mxs_op_info {
  char path[128];    /**< which kernel runs, for the log: "fused, f64, AVX-512" */
  int64_t bytes;     /**< memory it holds, workspaces included */
  double generate_s; /**< seconds its passes spent making entries, or waiting for them to be read,
                        summed over its threads */
} mxs_op_info;

/** Functions of a measurement operator. `self` is the pointer given together with the table. All
 *  Local. A status other than MXS_OK (with mxs_fail() for the text) ends the solve on all ranks. */
typedef struct mxs_op_table {
  /** Short name, shown in the log. */
  const char *name;

  /** z_i = <A_i, U V^T>,  i = first .. first + count - 1.
   *  U: n1 x c, V: n2 x c, any c >= 1; z: count doubles, overwritten; no aliasing. */
  mxs_status (*apply)(void *self, int64_t first, int64_t count, mxs_cmat U, mxs_cmat V, double *z);

  /** C += (sum_i w_i A_i) B  (transpose = 0; B: n2 x c, C: n1 x c), or
   *  C += (sum_i w_i A_i)^T B (transpose = 1; B: n1 x c, C: n2 x c).  w: count doubles; no
   *  aliasing. */
  mxs_status (*adjoint_mul)(void *self,
                            int64_t first,
                            int64_t count,
                            const double *w,
                            int transpose,
                            mxs_cmat B,
                            mxs_mat C);

  /** w_ri = <A_i, X_r> - y_i  and  G_r += sum_i weight_i w_ri A_i,  each A_i visited once
   *  (mxs_pass). Between two calls of `point` the matrices X_r do not change. */
  mxs_status (*pass)(void *self, const mxs_pass *pass);

  /** Get ready for passes over up to `replicas` matrices at once, on up to `threads` threads;
   * called before the first pass, and again by whatever else uses the operator. A plan for less
   * changes nothing: earlier plans still hold, and workspaces stay. The bits of a matrix must not
   * depend on plans, nor on the other matrices of a pass. NULL: `pass` is called with one matrix at
   * a time, from one thread at a time. */
  mxs_status (*plan)(void *self, int64_t replicas, int threads);

  /** The matrices X_r (row-major) of the coming passes; called by one thread, none is in a pass.
   * The place to bring them into the form that the kernels want. NULL: nothing to do. */
  mxs_status (*point)(void *self, int64_t replicas, const double *const *x);

  /** *sum = sum_i ||A_i||_F^2 over the range. NULL: taken as n1 n2 for every A_i (unit variance).
   */
  mxs_status (*frobenius2)(void *self, int64_t first, int64_t count, double *sum);

  /** *rows = the A_i of the range as doubles, count x n1 n2, row-major: in `room` (count n1 n2
   * doubles), or where they are stored. Needs no plan; threads may call it at the same time, each
   * with a room of its own. NULL: composed of `adjoint_mul`, or not to be had. */
  mxs_status (*rows)(void *self, int64_t first, int64_t count, double *room, const double **rows);

  /** A 64-bit digest of what is stored of the measurements of the range, so that memory that
   * changes under a run is noticed. NULL: nothing is stored, or it need not be watched. */
  uint64_t (*digest)(const void *self, int64_t first, int64_t count);

  /** Fill `info`, which is zero. NULL: nothing to say. */
  void (*info)(const void *self, mxs_op_info *info);

  /** Free `self`. NULL: the caller keeps it. */
  void (*destroy)(void *self);
} mxs_op_table;

#ifdef __cplusplus
}
#endif
#endif
