/** @file
 *  Exact sums over rows of signs: the same integers on every processor. Room `op`.
 *
 *  | symbol | meaning |
 *  |--------|--------------------------------------------------------------------------------------|
 *  | b_ij   | bit of row i, entry j: the sign is 1 - 2 b_ij | | x_j    | X = U V^T in fixed point
 * relative to its largest entry, 54 bits and a sign           | | r_i    | weighted residual in
 * fixed point, likewise                                           |
 *
 *      <a_i, x> = sum_j x_j - 2 sum_j b_ij x_j,      G_j = sum_i r_i - 2 sum_i b_ij r_i
 *
 *  Sums of integers have no rounding, hence no order: any vector width gives the same numbers. Bits
 * are made once for a strip of MXS_STRIP rows and used for both directions. */
#ifndef MXS_OP_SIGNS_H
#define MXS_OP_SIGNS_H

#include "op/op.h"

enum { MXS_STRIP = 64 };

typedef struct mxs_signs mxs_signs;

/** Workspace for rows of `entries` signs of the rademacher ensemble of `seed` (op.h). Local. */
MXS_CHECKED mxs_status mxsi_signs_create(int64_t entries, uint64_t seed, mxs_signs **out);

void mxsi_signs_destroy(mxs_signs **signs);

/** Use the kernels that every processor has, to compare with. Local. */
void mxsi_signs_use_portable(mxs_signs *signs);

/** A pass for one matrix over generated rows first .. first + pass->count - 1. What is not finite
 * in x or w makes all of w, or an entry of g, NaN. Local. */
void mxsi_signs_pass(mxs_signs *signs, int64_t first, const mxs_single *pass);

#endif
