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

/** Operator whose entries are signs or levels of one byte (op.h). With `stored` the bits of this
 *  rank's blocks are kept in memory, one bit an entry, rows in the order of stored->own; `stored`
 *  must outlive the operator. Local.
 *  @param ensemble MXS_ENSEMBLE_RADEMACHER, MXS_ENSEMBLE_GAUSSIAN8 (never stored), or
 *                  MXS_ENSEMBLE_DENSE: stored signs, all +1 until mxsi_signs_put() */
MXS_CHECKED mxs_status mxsi_signs_create(int64_t entries,
                                         mxs_ensemble ensemble,
                                         uint64_t seed,
                                         const mxs_blocks *stored,
                                         mxs_signs **out);

void mxsi_signs_destroy(mxs_signs **signs);

/** Its table, for every ensemble of mxsi_signs_create(); its destroy is mxsi_signs_destroy(). */
extern const mxs_op_table mxsi_op_signs;

/** Row in memory of the first measurement of a stored block; -1: another rank has it. Local. */
int64_t mxsi_signs_slot(const mxs_signs *signs, int64_t block);

/** Store rows row .. row + count - 1 in memory from entries that must be +-1. Local.
 *  @retval MXS_ERR_DATA another number; the text names its index among `values` */
MXS_CHECKED mxs_status mxsi_signs_put(mxs_signs *signs,
                                      int64_t row,
                                      int64_t count,
                                      const double *values);

/** Digest of the stored bits of a range inside one own block. Local. */
uint64_t mxsi_signs_digest(const mxs_signs *signs, int64_t first, int64_t count);

/** Use the kernels that every processor has, to compare with. Local. */
void mxsi_signs_use_portable(mxs_signs *signs);

/** A pass for one matrix over generated rows first .. first + pass->count - 1. What is not finite
 * in x or w makes all of w, or an entry of g, NaN. Local. */
void mxsi_signs_pass(mxs_signs *signs, int64_t first, const mxs_single *pass);

#endif
