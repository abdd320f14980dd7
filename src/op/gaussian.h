/** @file
 *  The generated ensemble of double-precision normal entries; its formula is in op.h. Room `op`. */
#ifndef MXS_OP_GAUSSIAN_H
#define MXS_OP_GAUSSIAN_H

#include "op/op.h"

/** Rows are made a few at a time, a block of columns at a time. While they fit in this many bytes
 * of a thread's cache they are kept for the second direction, and else made a second time: memory
 * is shared by all cores, arithmetic is not. The bits do not depend on it. */
enum { MXS_GAUSSIAN_CACHE = 4 << 20 };

/** The operator; its destroy frees `self`. Takes replicas and threads. */
extern const mxs_op_table mxsi_op_gaussian;

/** `self` for rows of `entries` numbers; `cache` is MXS_GAUSSIAN_CACHE but for tests. Local. */
MXS_CHECKED mxs_status mxsi_gaussian_create(int64_t entries,
                                            uint64_t seed,
                                            int64_t cache,
                                            void **self);

/** Write measurements first .. first + count - 1: count x entries doubles, row-major. Local. */
void mxsi_gaussian_rows(uint64_t seed, int64_t entries, int64_t first, int64_t count, double *rows);

#endif
