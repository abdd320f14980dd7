/** @file
 *  Visits to rows of full measurement matrices in memory: both directions of a pass while the rows
 *  are in cache, for one matrix or for many. Room `op`.
 *
 *  For one matrix (symbols in kernels.h), with fma a fused multiply-add and n' = n - n mod 16:
 *   - <a_i, x>: lane l = 0 .. 15 sums a_ij x_j over j < n', j mod 16 = l, by fma, j ascending; then
 *     s_l = lane l + lane l+8, ((s_0 + s_4) + (s_2 + s_6)) + ((s_1 + s_5) + (s_3 + s_7)), and on it
 *     fma over j >= n';
 *   - g_j = fma(a_ij, c_i, g_j), i ascending.
 *  For many the same, each matrix for itself. So neither the grouping of rows below, nor how a
 * range is cut into passes, nor the instruction set, nor the plan, nor the other matrices change a
 * bit.
 *
 *  Paths for one matrix, by the size of a row and the storage alone:
 *   - near: a group of rows, and the next one, fit the second-level cache (for doubles: the
 *     last-level cache). The adjoint direction runs from there, and brings in rows of the next
 *     group while memory would be idle;
 *   - behind: narrower entries, and the groups fit the last-level cache. The adjoint direction runs
 *     one group behind, in the same loop that reads the next group from memory;
 *   - far: they fit none, and A is read twice. Many rows share a part of x and of g; the adjoint
 *     direction goes backwards, so that it finds the end of the rows in cache.
 *  Two or three matrices visit a group of rows one after another, unless it is far. More of them
 *  share bands of rows, tile by tile (kernels_many.c). */
#ifndef MXS_OP_KERNELS_ROWS_H
#define MXS_OP_KERNELS_ROWS_H

#include "mxsense/op.h"
#include "op/kernels.h"

enum {
  MXS_MANY_ROWS = 64, /**< rows that share a visit to many X and G, at most */
  MXS_GATHERED = 136  /**< numbers of a matrix next to those of the others */
};

/** Workspace of one thread, for R planned matrices. */
typedef struct mxs_rows_thread {
  double *lanes;    /**< MXS_MANY_ROWS x R x MXS_STEP */
  double *c;        /**< MXS_MANY_ROWS x R */
  double *tile;     /**< MXS_GROUP x MXS_TILE_COLUMNS */
  double *gathered; /**< R x MXS_GATHERED */
  double **at;      /**< its rows */
} mxs_rows_thread;

typedef struct mxs_rows {
  mxs_storage storage;
  int64_t entries;
  const mxs_kernels *kernels; /**< tests may replace it before `plan` */
  int64_t near_bytes;         /**< second-level cache of a core; tests may replace it */
  int64_t far_bytes;          /**< last-level cache of a core; tests may replace it */
  int64_t replicas;           /**< the most that were planned; for 1 no workspaces */
  int threads;
  mxs_rows_thread *thread;
} mxs_rows;

/** The fastest kernels of this processor. Local. */
void mxsi_rows_init(mxs_rows *rows, mxs_storage storage, int64_t entries);

/** Free the workspaces. Local. */
void mxsi_rows_clear(mxs_rows *rows);

/** As in mxs_op_table. Memory for R > 1: about 10 kB a matrix and thread. */
MXS_CHECKED mxs_status mxsi_rows_plan(mxs_rows *rows, int64_t replicas, int threads);

/** Before the visits of a pass.
 *  @retval MXS_ERR_INTERNAL more matrices than were planned, or no such thread */
MXS_CHECKED mxs_status mxsi_rows_begin(const mxs_rows *rows, const mxs_pass *pass);

/** The pass->count rows at a: a part of the pass that began (mxsi_pass_part), in ascending order.
 *  `following` rows behind them in memory may come into cache. Local. */
void mxsi_rows_visit(const mxs_rows *rows, const mxs_pass *pass, const void *a, int64_t following);

/** The visit for several matrices. */
void mxsi_rows_visit_many(const mxs_rows *rows, const mxs_pass *pass, const char *a);

/** *sum = sum of squares of count rows at a. Local. */
double mxsi_rows_squares(const mxs_rows *rows, int64_t count, const void *a);

/** count rows at a as doubles: in `room`, or `a` itself where they are doubles. Local. */
const double *mxsi_rows_doubles(const mxs_rows *rows, int64_t count, const void *a, double *room);

/** Path and bytes of the workspaces. Local. */
void mxsi_rows_info(const mxs_rows *rows, mxs_op_info *info);

static inline int64_t mxsi_row_bytes(const mxs_rows *rows) {
  return rows->entries * mxsi_entry_bytes(rows->storage);
}

/** The lanes of a sum over columns in their order. */
static inline double mxsi_sum_lanes(const double *v) {
  double s[8];
  for (int l = 0; l < 8; l++)
    s[l] = v[l] + v[l + 8];
  return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
}

#endif
