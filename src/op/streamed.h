/** @file
 *  A stored A that stays where it is, because it does not fit in memory: a few rows at a time are
 *  read at every pass, ahead of the pass where the source can. Room `op`.
 *
 *  Rows are read in pieces of a canonical block, some 4 MB each, four rows at least, and visited by
 * the kernels of rows in memory: the bits are those of a dense operator of the same storage. Passes
 * that take the own blocks in their order, from any one on and around the end, find the next piece
 * read; others read for themselves. What is read is compared with a digest of what was read first.
 */
#ifndef MXS_OP_STREAMED_H
#define MXS_OP_STREAMED_H

#include "op/op.h"

typedef struct mxs_streamed mxs_streamed;

/** Where rows come from. */
typedef struct mxs_row_source {
  /** Rows first .. first + count - 1, in the form of the operator's storage; several threads may
   * call it at once. A failure names the source and the rows. */
  mxs_status (*read)(void *self, int64_t first, int64_t count, void *rows);
  void (*destroy)(void *self);
  void *self;
  const char *name; /**< "p.h5: /A", for messages; as long as `self` */
  const char *how;  /**< "read ahead", for the log */
  int ahead; /**< `read` may be called at any time, by a thread of its own; else only inside a
                function of the operator */
} mxs_row_source;

/** The operator, for this rank's blocks; mxsi_op_streamed.destroy frees it. `storage`: F64 or F32.
 *  The source is destroyed with it, also when creation fails. Memory: mxsi_streamed_bytes(). Local.
 */
MXS_CHECKED mxs_status mxsi_streamed_create(int64_t entries,
                                            mxs_storage storage,
                                            const mxs_blocks *blocks,
                                            const mxs_row_source *source,
                                            mxs_streamed **out);

extern const mxs_op_table mxsi_op_streamed;

/** Read own block j for the first time: `look` sees its rows, a few at a time, in ascending order.
 *  Must be done for every own block before the operator is used. Local. @retval that of the source
 *  or of `look` */
MXS_CHECKED mxs_status
mxsi_streamed_look(mxs_streamed *streamed,
                   int64_t j,
                   mxs_status (*look)(void *ctx, int64_t first, int64_t count, const void *rows),
                   void *ctx);

/** Memory of the buffers of such an operator, with blocks of `block_rows` measurements. Local. */
int64_t mxsi_streamed_bytes(int64_t entries, mxs_storage storage, int64_t block_rows, int threads);

#endif
