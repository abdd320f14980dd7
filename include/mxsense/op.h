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
 *   - `pass` for operators whose A_i are full matrices: both directions in one visit to each A_i.
 */
#ifndef MXSENSE_OP_H
#define MXSENSE_OP_H

#include "mxsense/base.h"

#ifdef __cplusplus
extern "C" {
#endif

/** One visit to a range of measurements of a full-matrix operator, in one or both directions. No
 *  aliasing. */
typedef struct mxs_pass {
  int64_t first, count; /**< measurements first .. first + count - 1 */
  const double *x;      /**< X row-major, n1 n2 numbers; NULL: adjoint only, w is input and stays */
  const double *y;      /**< count numbers; NULL: zero */
  const double *weight; /**< count numbers, of the adjoint only; NULL: one */
  double *w;            /**< count numbers: the residual */
  double *g;            /**< G row-major, n1 n2 numbers, added to; NULL: forward only */
} mxs_pass;

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

  /** w_i = <A_i, X> - y_i  and  G += sum_i weight_i w_i A_i,  each A_i visited once (mxs_pass). */
  mxs_status (*pass)(void *self, const mxs_pass *pass);

  /** *sum = sum_i ||A_i||_F^2 over the range. NULL: taken as n1 n2 for every A_i (unit variance).
   */
  mxs_status (*frobenius2)(void *self, int64_t first, int64_t count, double *sum);

  /** Free `self`. NULL: the caller keeps it. */
  void (*destroy)(void *self);
} mxs_op_table;

#ifdef __cplusplus
}
#endif
#endif
