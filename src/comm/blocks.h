/** @file
 *  Canonical blocks: how measurements are cut and which rank owns which. Room `comm`.
 *
 *  Blocks are fixed by shapes, never by the number of ranks. Their order is the bit reversal of the
 *  block index over the next power of two, and the block at position t of that order belongs to
 *  rank t mod P: every prefix of the order is a fair sample of a sorted file and is spread over all
 *  ranks. */
#ifndef MXS_COMM_BLOCKS_H
#define MXS_COMM_BLOCKS_H

#include "mxsense/base.h"

enum { MXS_MAX_BLOCKS = 8192 };

typedef struct mxs_blocks {
  int64_t m;     /**< measurements; 0 is legal: no blocks */
  int64_t rows;  /**< measurements per block; the last block may have fewer */
  int64_t count; /**< blocks, at most MXS_MAX_BLOCKS */
  int64_t own_count;
  int64_t *own;    /**< this rank's blocks, in the fixed order */
  int64_t *offset; /**< offset[j]: measurements of this rank before its block own[j]; own_count + 1
                      entries */
} mxs_blocks;

/** Measurements per block for m measurements: 10 k to 100 k, so that the projection of a block's
 *  gradient on the factors is a small part of the work on its entries, the more the nearer that
 *  comes to 1024 blocks; fewer, down to 2 k and 32, where that gives 64 blocks to share; at most
 *  MXS_MAX_BLOCKS blocks; a multiple of 64 where it is more, else of 8. Local. */
int64_t mxs_blocks_rows(int64_t m, int64_t k);

/** Cut m measurements and list this rank's blocks. Local. */
MXS_CHECKED mxs_status
mxs_blocks_create(int64_t m, int64_t rows, int rank, int size, mxs_blocks *out);

void mxs_blocks_clear(mxs_blocks *blocks);

/** First measurement of block `block`, and its number of measurements. Local. */
int64_t mxs_blocks_first(const mxs_blocks *blocks, int64_t block);
int64_t mxs_blocks_size(const mxs_blocks *blocks, int64_t block);

/** Measurements owned by this rank. Local. */
int64_t mxs_blocks_own_rows(const mxs_blocks *blocks);

#endif
