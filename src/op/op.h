/** @file
 *  The operators that mxsense brings. Room `op`: local, no communicator. */
#ifndef MXS_OP_OP_H
#define MXS_OP_OP_H

#include "comm/blocks.h"
#include "mxsense/op.h"
#include "mxsense/problem.h"
#include "op/kernels_rows.h"

/** The part of a pass that starts `done` measurements in: up to `most` of them. Local. */
mxs_pass mxsi_pass_part(const mxs_pass *pass, int64_t done, int64_t most);

/** What a pass does for one of its matrices. */
typedef struct mxs_single {
  int64_t count;
  const double *x, *y, *weight;
  double *w, *g;
} mxs_single;

mxs_single mxsi_pass_single(const mxs_pass *pass, int64_t r);

/** A pass for one matrix, measurements first .. first + single->count - 1, `plan` and `point`
 *  included. Local. */
MXS_CHECKED mxs_status mxsi_op_single(const mxs_op_table *op,
                                      void *self,
                                      int64_t first,
                                      const mxs_single *single);

/** `plan`, `point` and `info` of a table that may not have them. Local. */
MXS_CHECKED mxs_status mxsi_op_plan(const mxs_op_table *op,
                                    void *self,
                                    int64_t replicas,
                                    int threads);
MXS_CHECKED mxs_status mxsi_op_point(const mxs_op_table *op,
                                     void *self,
                                     int64_t replicas,
                                     const double *const *x);
mxs_op_info mxsi_op_info(const mxs_op_table *op, const void *self);

/** Stored A: this rank's rows, in the order of blocks->own. */
extern const mxs_op_table mxsi_op_dense;

typedef struct mxs_dense {
  int64_t entries;          /**< n1 n2 */
  mxs_storage storage;      /**< MXS_STORAGE_F64, _F32 or _BF16 */
  void *rows;               /**< own_rows x entries doubles, floats or bf16 (mxsi_entry_place),
                               row-major */
  const mxs_blocks *blocks; /**< borrowed: where a measurement's row is */
  int64_t *slot;            /**< slot[block]: row of its first measurement, -1: not ours */
  mxs_rows visits;
} mxs_dense;

/** Allocate the rows for the blocks that this rank owns; mxsi_op_dense.destroy frees it. Local. */
MXS_CHECKED mxs_status mxsi_dense_create(int64_t entries,
                                         mxs_storage storage,
                                         const mxs_blocks *blocks,
                                         mxs_dense **out);

/** Write rows row .. row + count - 1 of `rows`, each entry rounded once to the storage, to nearest
 *  even; NaN stays NaN. Local. */
void mxsi_dense_put(mxs_dense *dense, int64_t row, int64_t count, const double *values);

/** Generated ensembles, format version 1: entry (i, p, q), j = p n2 + q, words from row i of the
 *  stream MXS_STREAM_ENSEMBLE (base/stream.h).
 *   - rademacher, gaussian8: formulas in op/signs.h;
 *   - gaussian: word 8 s + l, 0 <= l < 8, gives entries 16 s + l and 16 s + 8 + l by Box-Muller
 *     (base/normal.h);
 *   - fast: from streams of its own, in op/fast.h. */

enum { MXS_ENSEMBLE_VERSION = 1 };

/** Operator of an ensemble; the table's destroy frees `*self`. Local. */
MXS_CHECKED mxs_status mxsi_generated_create(
    mxs_ensemble ensemble, int64_t entries, uint64_t seed, const mxs_op_table **table, void **self);

/** Write the entries of measurements first .. first + count - 1 (count x n1 n2 doubles, row-major).
 *  Local. */
void mxsi_generated_rows(mxs_ensemble ensemble,
                         uint64_t seed,
                         int64_t entries,
                         int64_t first,
                         int64_t count,
                         double *rows);

#endif
