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
 *  width. A group is read from memory once, and from cache for the second direction, while
 *  MXS_GROUP n entries fit the cache. */
#ifndef MXS_OP_KERNELS_H
#define MXS_OP_KERNELS_H

#include "op/op.h"

enum { MXS_GROUP = 4 };

/** For one matrix, one group of 1 <= group->count <= MXS_GROUP rows of n entries at a. */
void mxsi_kernel_f64(const mxs_single *group, int64_t n, const double *a);
void mxsi_kernel_f32(const mxs_single *group, int64_t n, const float *a);

#endif
