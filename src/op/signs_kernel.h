/** @file
 *  Kernels of exact sums over a strip of at most 64 rows whose entries are bits or bytes. Room
 *  `op`.
 *
 *  | symbol | meaning                                                                            |
 *  |--------|------------------------------------------------------------------------------------|
 *  | b_ij   | bit (0, 1) or byte (1 .. 255) of row i, column j                                   |
 *  | x_j    | a matrix in fixed point, |x_j| <= 2^54; 0 past the last column                     |
 *  | r_i    | weighted residual in fixed point, |r_i| <= 2^54 for bits and 2^48 for bytes         |
 *  | z_i    | sum_j b_ij x_j, 128 bits                                                           |
 *  | G_j    | sum_i b_ij r_i, 64 bits: below 64 2^54 or 64 255 2^48 < 2^62                       |
 *
 *  Sums of integers have no rounding, hence no order: every kernel gives the same z and G, and what
 *  follows them is common code. */
#ifndef MXS_OP_SIGNS_KERNEL_H
#define MXS_OP_SIGNS_KERNEL_H

#include <stddef.h>
#include <stdint.h>

#if defined(__x86_64__) && defined(__GNUC__)
#define MXS_SIGNS_X86 1
#else
#define MXS_SIGNS_X86 0
#endif

enum {
  MXS_TILE = 64,  /**< columns that kernels take at a time: a word of bits */
  MXS_STRIP = 64, /**< rows */
  MXS_OCTET = 8,  /**< rows that a kernel cannot take apart */
  MXS_X_BITS = 54,
  MXS_R_BITS_OF_SIGNS = 54,
  MXS_R_BITS_OF_LEVELS = 48,
  MXS_DIGITS = 7,           /**< balanced digits to base 256 of a number in fixed point */
  MXS_PAIR = 2,             /**< matrices that a kernel takes at a time, at most */
  MXS_MOST_PREPARED = 1024, /**< prepared_size, at most */
  MXS_MOST_ARRANGED = (MXS_STRIP + 1) * MXS_TILE /**< arranged_size, at most */
};

__extension__ typedef __int128 mxs_wide;

/** Entries of the tiles first .. first + count - 1 of a strip, as `arrange` left them. */
typedef struct mxs_tiles {
  void *entries;
  int64_t first, count;
  int64_t rows; /**< of the strip, rounded up to octets; what is past the last row is not used */
} mxs_tiles;

/** Where the gradient of one matrix goes: g_j += (offset + factor G_j) unit. */
typedef struct mxs_gradient {
  const int64_t *r; /**< MXS_STRIP numbers, 0 past the last row */
  int64_t offset, factor;
  double unit;
  double *g; /**< first column of the matrix; NULL: not wanted */
} mxs_gradient;

/** Functions of one instruction set for one kind of entries. All Local. */
typedef struct mxs_signs_kernel {
  const char *name;
  int (*available)(void);
  int together;          /**< matrices that it takes at a time: 1 or MXS_PAIR */
  int64_t prepared_size; /**< bytes of one tile of the prepared matrices */
  int64_t arranged_size; /**< bytes of one tile of the arranged entries of a strip */

  /** Bring `together` matrices into the form that `forward` wants. */
  void (*prepare)(const int64_t *const *x, int64_t tiles, void *prepared);

  /** Bring words of the rows row .. row + MXS_OCTET - 1 of a strip into the form that the others
   *  want: row row + i at words + i ld, tiles to->first .. to->first + to->count - 1. `entries` is
   *  the place of tile to->first. */
  void (*arrange)(const uint64_t *words, int64_t ld, int64_t row, const mxs_tiles *to);

  /** sums[i] += z_i over the tiles; sums[MXS_STRIP + i] for a second matrix. */
  void (*forward)(const mxs_tiles *tiles, const void *prepared, mxs_wide *sums);

  /** G_j of the tiles of `together` matrices, added to their gradients of `entries` numbers. */
  void (*adjoint)(const mxs_tiles *tiles, const mxs_gradient *gradients, int64_t entries);
} mxs_signs_kernel;

extern const mxs_signs_kernel mxsi_signs_portable, mxsi_levels_portable;
#if MXS_SIGNS_X86
extern const mxs_signs_kernel mxsi_signs_avx512, mxsi_signs_gfni, mxsi_levels_avx2,
    mxsi_levels_vnni, mxsi_levels_amx;
#endif

/** Kernel number `i` of those for bits, or for bytes (levels = 1), fastest first, whatever the
 *  processor; the last one runs everywhere. NULL past it. Local. */
const mxs_signs_kernel *mxsi_signs_kernel(int levels, int i);

/** Does a kernel give the integers of the portable one, for a strip of random entries? Local. */
int mxsi_signs_agrees(int levels, const mxs_signs_kernel *kernel);

/** The first kernel that this processor has and that agrees; the portable one where memory for the
 *  trial is short. Local. */
const mxs_signs_kernel *mxsi_signs_choose(int levels);

/** Add G_j of a tile to a gradient. */
static inline __attribute__((always_inline)) void mxs_signs_finish(const int64_t *G,
                                                                   int64_t tile,
                                                                   int64_t entries,
                                                                   const mxs_gradient *to) {
  const int64_t first = tile * MXS_TILE;
  if (to->g == NULL)
    return;
  double *g = to->g + first;
  if (entries - first >= MXS_TILE) {
    for (int j = 0; j < MXS_TILE; j++)
      g[j] += (double)(to->offset + to->factor * G[j]) * to->unit;
  } else {
    for (int64_t j = 0; j < entries - first; j++)
      g[j] += (double)(to->offset + to->factor * G[j]) * to->unit;
  }
}

#endif
