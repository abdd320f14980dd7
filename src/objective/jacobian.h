/** @file
 *  The Jacobian between the files of the objective. Room `objective`. */
#ifndef MXS_OBJECTIVE_JACOBIAN_H
#define MXS_OBJECTIVE_JACOBIAN_H

#include "objective/kernels.h"
#include "objective/objective_impl.h"

/** What one thread forms rows in. */
typedef struct mxsi_rows_room {
  double *A;    /**< a tile of measurements, n1 n2 each */
  double *row;  /**< of the Jacobian, ld */
  double *C;    /**< of the kernels */
  double *leaf; /**< of a normal product, ld */
} mxsi_rows_room;

/** The Jacobian at the point of the last pass. */
struct mxsi_jacobian {
  const mxsi_loops *loops;
  int matrix_free;   /**< products by visits to A: rows cost more than that */
  int valid;         /**< a pass has been made */
  int64_t length;    /**< (n1 + n2) k */
  int64_t ld;        /**< of rows: length rounded up, zeros behind */
  float *J;          /**< rows of the training measurements of the blocks, as they were visited */
  int64_t room_rows; /**< that there is room for */
  int64_t count;     /**< blocks of the pass */
  int64_t *block;    /**< own blocks j */
  int64_t *start;    /**< their first rows; count + 1 */
  int64_t held;      /**< held-out measurements in them */
  double *point;     /**< U, then V, contiguous */
  double *Vt;        /**< k x ld_v, zeros behind */
  int64_t ld_v;
  int64_t tile; /**< measurements that are fetched at a time */
  mxsi_rows_room *room;
  double *d;       /**< of a normal product: ld */
  double *stacked; /**< its factors: [dU U], [V dV] */
  mxs_reducer *reducer;
};

/** Rows are kept in passes. Local. */
static inline int mxsi_keeps_rows(const mxs_objective *o) {
  return o->jacobian != NULL && !o->jacobian->matrix_free && !o->sample.keep_nothing;
}

/** Before the blocks of a pass at `at`: what they are formed at, and room for their rows. Local. */
MXS_CHECKED mxs_status mxsi_jacobian_begin(mxs_objective *o, const mxs_point *at);

/** A block of the pass: its rows, losses and gradient, into the leaf. Local. */
MXS_CHECKED mxs_status mxsi_jacobian_block(mxs_objective *o, int t, int64_t a);

/** The rows of training measurements of block `a` of the pass as doubles, `ld` apart. Local. */
MXS_CHECKED mxs_status mxsi_jacobian_form(mxs_objective *o, int t, int64_t a, double *rows);

/** U and V of the pass. Local. */
mxs_cmat mxsi_jacobian_U(const mxs_objective *o);
mxs_cmat mxsi_jacobian_V(const mxs_objective *o);

void mxsi_jacobian_destroy(mxs_objective *o);

/** Has a pass been made? Local. */
MXS_CHECKED mxs_status mxsi_jacobian_check(const mxs_objective *o);

/** Root mean square, over the measurements, of entries of A V and of A^T U, next to each other.
 *  Local. */
void mxsi_jacobian_sizes(const mxs_objective *o, double size[2]);

/** Measurements of the pass on this rank, into the words of a reducer. Local. */
void mxsi_jacobian_count(const mxs_objective *o, mxs_reducer *reducer);

#endif
