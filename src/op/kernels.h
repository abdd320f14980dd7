/** @file
 *  Kernels over rows of full measurement matrices: both directions in one visit. Room `op`.
 *
 *  | symbol | meaning                                            |
 *  |--------|----------------------------------------------------|
 *  | a      | rows of A, n entries each                          |
 *  | x      | X = U V^T, n entries                               |
 *  | y, w   | measurements and residual, w_i = <a_i, x> - y_i    |
 *  | g      | G += sum_i weight_i w_i a_i                        |
 *
 *  Sums run in eight fixed lanes, rows in groups of MXS_GROUP: the same bits for every vector
 * width. A group is read from memory once, and from cache for the second direction, while MXS_GROUP
 * n entries fit the cache. */
#ifndef MXS_OP_KERNELS_H
#define MXS_OP_KERNELS_H

#include <stdint.h>

enum { MXS_GROUP = 4 };

/** Arguments of mxs_op_table.pass for a run of rows; x, y, weight and g may be NULL. */
typedef struct mxsi_group {
  int64_t rows, n;
  const double *x, *y, *weight;
  double *w, *g;
} mxsi_group;

/** The group of up to MXS_GROUP rows that starts `done` rows into a longer run. */
mxsi_group mxsi_group_at(const mxsi_group *all, int64_t done);

/** One group of 1 <= rows <= MXS_GROUP rows at a. */
void mxsi_kernel_f64(const mxsi_group *group, const double *a);
void mxsi_kernel_f32(const mxsi_group *group, const float *a);

#endif
