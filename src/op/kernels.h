/** @file
 *  Kernels over rows of full measurement matrices, one table of them per instruction set. Room
 *  `op`; kernels_rows.h drives them.
 *
 *  | symbol | meaning                                                   |
 *  |--------|-----------------------------------------------------------|
 *  | a      | rows of A, n entries each                                 |
 *  | x      | X, n entries; for R matrices one of them each             |
 *  | c      | weighted residual, one number a row (and matrix)          |
 *  | g      | G += sum_i c_i a_i, shaped as x                           |
 *
 *  All tables give the same bits: every product and sum is one fused multiply-add, in an order that
 *  the text below fixes. */
#ifndef MXS_OP_KERNELS_H
#define MXS_OP_KERNELS_H

#include "mxsense/problem.h"

#include <string.h>

enum {
  MXS_STEP = 16,          /**< lanes of a sum over columns: column j belongs to lane j mod 16 */
  MXS_GROUP = 4,          /**< rows that share a load of x or g */
  MXS_TILE_COLUMNS = 1024 /**< of a tile, at most */
};

/** Columns from .. to - 1, both multiples of MXS_STEP, of a few rows. */
typedef struct mxs_strip {
  mxs_storage storage;
  const char *a; /**< first row, its column 0 */
  int64_t row_bytes;
  int64_t rows; /**< 1 .. MXS_GROUP */
  int64_t from, to;
  int64_t hint[MXS_GROUP]; /**< bytes from an entry of row i to what should come into cache
                              meanwhile; 0: nothing */
} mxs_strip;

/** A few columns of a group of rows in double precision, for R matrices. */
typedef struct mxs_tile {
  const double *a;
  int64_t ld_a;     /**< from row to row */
  int64_t rows;     /**< 1 .. MXS_GROUP */
  int64_t columns;  /**< a multiple of MXS_STEP, at most MXS_TILE_COLUMNS */
  int64_t from;     /**< of them the first */
  int64_t replicas; /**< R */
  int64_t ahead;    /**< bytes from an entry to what should come into cache meanwhile; 0: nothing */
} mxs_tile;

typedef struct mxs_kernels {
  const char *name;

  /** lanes[16 i + j mod 16] += a_ij x_j, j ascending. */
  void (*forward)(const mxs_strip *strip, const double *x, double *lanes);

  /** g_j += c_i a_ij, i ascending. */
  void (*adjoint)(const mxs_strip *strip, const double *c, double *g);

  /** `forward` of `next` and `adjoint` of `last` (MXS_GROUP rows each, the same columns, f32 or
   * bf16) in one loop: memory is read for the one while the other is computed from cache. NULL: no
   * gain. */
  void (*both)(const mxs_strip *next,
               const double *x,
               double *lanes,
               const mxs_strip *last,
               const double *c,
               double *g);

  /** lanes[j mod 16] += a_0j^2, j ascending. */
  void (*square)(const mxs_strip *strip, double *lanes);

  /** tile[MXS_TILE_COLUMNS i + j - from] = a_ij. */
  void (*widen)(const mxs_strip *strip, double *tile);

  /** lanes[16 (R i + r) + j mod 16] += a_ij x[r]_j, j ascending. */
  void (*tile_forward)(const mxs_tile *tile, const double *const *x, double *lanes);

  /** g[r]_j += c[R i + r] a_ij, i ascending. */
  void (*tile_adjoint)(const mxs_tile *tile, const double *c, double *const *g);
} mxs_kernels;

/** A table; NULL where this build or processor does not have the instructions. Local. */
const mxs_kernels *mxsi_kernels_avx512(void);
const mxs_kernels *mxsi_kernels_avx2(void);
const mxs_kernels *mxsi_kernels_portable(void);

/** Bytes of an entry. Local. */
static inline int64_t mxsi_entry_bytes(mxs_storage storage) {
  return storage == MXS_STORAGE_F32    ? (int64_t)sizeof(float)
         : storage == MXS_STORAGE_BF16 ? (int64_t)sizeof(uint16_t)
                                       : (int64_t)sizeof(double);
}

/** Place of column j in a stored row of n entries. Rows of bf16 hold columns 16 s + l and 16 s + 8
 *  + l, l < 8, next to each other: one word gives both by a shift and a mask. */
static inline int64_t mxsi_entry_place(mxs_storage storage, int64_t n, int64_t j) {
  if (storage != MXS_STORAGE_BF16 || j >= n - n % MXS_STEP)
    return j;
  const int64_t lane = j % MXS_STEP;
  return j - lane + lane % 8 * 2 + lane / 8;
}

/** Entry at a place of a stored row. */
static inline double mxsi_entry(mxs_storage storage, const void *row, int64_t place) {
  if (storage == MXS_STORAGE_F32)
    return (double)((const float *)row)[place];
  if (storage != MXS_STORAGE_BF16)
    return ((const double *)row)[place];
  const uint32_t bits = (uint32_t)((const uint16_t *)row)[place] << 16;
  float value = 0.0F;
  memcpy(&value, &bits, sizeof value);
  return (double)value;
}

#endif
