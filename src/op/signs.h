/** @file
 *  Matrices of random or stored signs, and of random levels: a pass over them is made of sums of
 *  integers. Room `op`.
 *
 *  Words of row i are those of mxs_stream_rows(seed, MXS_STREAM_ENSEMBLE, i, ...) (base/stream.h).
 *   - signs: the entry in column j is 1 - 2 b, b = bit j mod 64 of word j / 64;
 *   - levels: the entry in column j is C t, v = byte j mod 8 (the lowest first) of word j / 8, t =
 *     T[v mod 128], negative for v >= 128. T[u] = rint(44 z), z the quantile of the standard normal
 *     distribution at 1/2 + (u + 1/2) / 256, and C = 1 / sqrt(mean of T^2): unit variance.
 *
 *  X and the weighted residuals of a strip of 64 rows are taken in fixed point, relative to their
 *  largest: 54 bits and a sign, 48 for the residuals of levels (signs_kernel.h). The sums that
 *  follow are exact, so the doubles that come out are the same on every processor. Entries are made
 *  once for all matrices of a pass and for both directions, while a strip of them fits the cache,
 *  else once for each direction. */
#ifndef MXS_OP_SIGNS_H
#define MXS_OP_SIGNS_H

#include "op/op.h"
#include "op/signs_kernel.h"

typedef struct mxs_signs mxs_signs;

/** Operator whose entries are signs or levels. With `stored` the bits of this rank's blocks are
 *  kept in memory, one bit an entry, rows in the order of stored->own; `stored` must outlive the
 *  operator. Local.
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

/** Use another kernel of its kind, to compare; before the first plan. Local. */
void mxsi_signs_use(mxs_signs *signs, const mxs_signs_kernel *kernel);

/** Row in memory of the first measurement of a stored block; -1: another rank has it. Local. */
int64_t mxsi_signs_slot(const mxs_signs *signs, int64_t block);

/** Store rows row .. row + count - 1 in memory from entries that must be +-1. Local.
 *  @retval MXS_ERR_DATA another number; the text names its index among `values` */
MXS_CHECKED mxs_status mxsi_signs_put(mxs_signs *signs,
                                      int64_t row,
                                      int64_t count,
                                      const double *values);

/** The stored bits, and their bytes; NULL and 0 where rows are generated. Local. */
const void *mxsi_signs_stored(const mxs_signs *signs, int64_t *bytes);

/** Generated rows first .. first + count - 1 as doubles (count x entries, row-major), signs (levels
 *  = 0) or levels. Local. Vectorised. */
void mxsi_signs_rows(
    int levels, uint64_t seed, int64_t entries, int64_t first, int64_t count, double *rows);

/** row[j] = 1 - 2 b, b = bit j mod 64 of words[j / 64], j < entries. Local. Vectorised. */
void mxsi_signs_expand(const uint64_t *words, int64_t entries, double *row);

#endif
