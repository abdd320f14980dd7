/** @file
 *  Pieces of something that does not fit in memory: read when they are wanted, and by a thread of
 *  its own before they are. Room `op`.
 *
 *  A few slots hold a piece each. A thread that takes a piece which no slot has reads it itself;
 *  what it says it will take next is read meanwhile. A wrong word costs time and nothing else. */
#ifndef MXS_OP_PIECES_H
#define MXS_OP_PIECES_H

#include "mxsense/base.h"

typedef struct mxs_pieces mxs_pieces;

enum { MXS_PIECES_AHEAD = 2 /**< pieces that a thread may name in advance */ };

typedef struct mxs_pieces_source {
  int64_t bytes; /**< of the largest piece */
  /** Read a piece; several threads may do so at once. */
  mxs_status (*read)(void *ctx, int64_t piece, void *to);
  void *ctx;
  int ahead; /**< `read` may be called at any time, by a thread of its own; else only inside
                mxsi_pieces_take() */
} mxs_pieces_source;

/** Slots for one thread; no thread is started yet. Local. */
MXS_CHECKED mxs_status mxsi_pieces_create(const mxs_pieces_source *source, mxs_pieces **out);

/** End the thread, free the slots and set to NULL; NULL-safe. Local. */
void mxsi_pieces_destroy(mxs_pieces **pieces);

/** Slots for so many threads, and the thread that reads ahead; nobody holds a piece. A plan for
 *  fewer changes nothing. Local. @retval MXS_ERR_MEMORY */
MXS_CHECKED mxs_status mxsi_pieces_plan(mxs_pieces *pieces, int threads);

/** Hold a piece: `*data` stays until mxsi_pieces_give(). `next`: the pieces that will be taken
 *  soon, -1 for none. A thread holds one piece at a time. Local. @retval that of `read` */
MXS_CHECKED mxs_status mxsi_pieces_take(mxs_pieces *pieces,
                                        int64_t piece,
                                        const int64_t next[MXS_PIECES_AHEAD],
                                        const void **data);
void mxsi_pieces_give(mxs_pieces *pieces, int64_t piece);

/** Memory of the slots for so many threads, for pieces of `bytes` bytes. Local. */
int64_t mxsi_pieces_memory(int64_t bytes, int threads);

/** What has happened so far. Local. */
typedef struct mxs_pieces_info {
  int64_t bytes;       /**< memory of the slots */
  int64_t reads;       /**< pieces read */
  int64_t reads_ahead; /**< of them before they were taken */
  double wait_s;       /**< seconds that threads waited for a piece or read one, added up */
} mxs_pieces_info;
mxs_pieces_info mxsi_pieces_get_info(mxs_pieces *pieces);

#endif
