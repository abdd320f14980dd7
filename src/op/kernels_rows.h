/** @file
 *  Visits to rows of full measurement matrices in memory: both directions of a pass while the rows
 *  are in cache, for one matrix or for many. Room `op`.
 *
 *  For one matrix (symbols in kernels.h), with fma a fused multiply-add and n' = n - n mod 16:
 *   - <a_i, x>: lane l = 0 .. 15 sums a_ij x_j over j < n', j mod 16 = l, by fma, j ascending; then
 *     s_l = lane l + lane l+8, ((s_0 + s_4) + (s_2 + s_6)) + ((s_1 + s_5) + (s_3 + s_7)), and on it
 *     fma over j >= n';
 *   - g_j = fma(a_ij, c_i, g_j), i ascending.
 *  For many: sums over MXS_TILE_COLUMNS columns by fma from zero, added up in order; g_j likewise.
 *  So neither the grouping of rows below, nor how a range is cut into passes, nor the instruction
 *  set, nor the other matrices change a bit.
 *
 *  Paths, by the size of a row and the storage alone:
 *   - near: a group of rows, and the next one, fit the second-level cache (for doubles: the
 *     last-level cache). The adjoint direction runs from there, and brings in rows of the next
 *     group while memory would be idle;
 *   - behind: narrower entries, and the groups fit the last-level cache. The adjoint direction runs
 *     one group behind, in the same loop that reads the next group from memory;
 *   - far: they fit none, and A is read twice. Many rows share a part of x and of g; the adjoint
 *     direction goes backwards, so that it finds the end of the rows in cache. */
#ifndef MXS_OP_KERNELS_ROWS_H
#define MXS_OP_KERNELS_ROWS_H

#include "mxsense/op.h"
#include "op/kernels.h"

/** Workspace of one thread, for many matrices of W = width numbers a column. */
typedef struct mxs_rows_thread {
  double *g;    /**< entries x W */
  double *c;    /**< MXS_TILE_ROWS x W */
  double *tile; /**< MXS_TILE_ROWS x MXS_TILE_COLUMNS */
} mxs_rows_thread;

typedef struct mxs_rows {
  mxs_storage storage;
  int64_t entries;
  const mxs_kernels *kernels; /**< tests may replace it before `plan` */
  int64_t near_bytes;         /**< second-level cache of a core; tests may replace it */
  int64_t far_bytes;          /**< last-level cache of a core; tests may replace it */
  int64_t replicas;           /**< planned; for 1 there is nothing below */
  int threads;
  double *x; /**< entries x W, interleaved by `point` */
  int64_t pointed;
  mxs_rows_thread *thread;
} mxs_rows;

/** The fastest kernels of this processor. Local. */
void mxsi_rows_init(mxs_rows *rows, mxs_storage storage, int64_t entries);

/** Free the workspaces. Local. */
void mxsi_rows_clear(mxs_rows *rows);

/** As in mxs_op_table. Once R > 1 matrices are planned, the kernels for many serve any number.
 *  Memory for R > 1: entries x W numbers (W: R up to a multiple of 8), and as much again a thread.
 */
MXS_CHECKED mxs_status mxsi_rows_plan(mxs_rows *rows, int64_t replicas, int threads);
MXS_CHECKED mxs_status mxsi_rows_point(mxs_rows *rows, int64_t replicas, const double *const *x);

/** A pass: begin, any number of visits, end. `begin` takes G into the workspace of the thread,
 *  `end` brings it back; the matrices of a pass are the first ones of `point`.
 *  @retval MXS_ERR_INTERNAL more matrices than were pointed to or planned, or no such thread */
MXS_CHECKED mxs_status mxsi_rows_begin(const mxs_rows *rows, const mxs_pass *pass);
void mxsi_rows_end(const mxs_rows *rows, const mxs_pass *pass);

/** The pass->count rows at a: a part of the pass that began (mxsi_pass_part), in ascending order.
 *  `following` rows behind them in memory may come into cache. Local. */
void mxsi_rows_visit(const mxs_rows *rows, const mxs_pass *pass, const void *a, int64_t following);

/** The visit for many matrices. */
void mxsi_rows_visit_many(const mxs_rows *rows, const mxs_pass *pass, const char *a);

/** *sum = sum of squares of count rows at a. Local. */
double mxsi_rows_squares(const mxs_rows *rows, int64_t count, const void *a);

/** Path and bytes of the workspaces. Local. */
void mxsi_rows_info(const mxs_rows *rows, mxs_op_info *info);

static inline int64_t mxsi_row_bytes(const mxs_rows *rows) {
  return rows->entries * mxsi_entry_bytes(rows->storage);
}

/** W for R matrices. */
static inline int64_t mxsi_rows_width(int64_t replicas) {
  return (replicas + 7) / 8 * 8;
}

#endif
