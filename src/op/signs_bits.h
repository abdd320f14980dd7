/** @file
 *  What the kernels of bits share. Room `op`. */
#ifndef MXS_OP_SIGNS_BITS_H
#define MXS_OP_SIGNS_BITS_H

#include "op/signs_kernel.h"

/** Bit i of to[j] <- bit j of from[i], i, j = 0 .. 63. Local. */
void mxsi_signs_transpose(const uint64_t *from, uint64_t *to);

/** Kernels of bits take X as it is. Local. */
void mxsi_signs_prepare(const int64_t *const *x, int64_t tiles, void *prepared);

#endif
