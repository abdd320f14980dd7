/** @file
 *  The levels of gaussian8, and what the kernels of bytes share. Room `op`. */
#ifndef MXS_OP_SIGNS_LEVELS_H
#define MXS_OP_SIGNS_LEVELS_H

#include "op/signs_kernel.h"

/** The double nearest to 1 / sqrt(mean of T^2) = 8 / sqrt(123491). */
#define MXS_LEVEL_UNIT 0x1.74fc5bf48cc39p-6

/** Bytes from a tile of a strip to the next: a row more than there is, or the same row of all tiles
 *  would fall on one set of the nearest cache. */
enum { MXS_LEVELS_TILE = (MXS_STRIP + 1) * MXS_TILE };

/** T[u], u = 0 .. 127 (signs.h). */
extern const uint8_t mxsi_levels[128];

/** t + 128 = 1 .. 255 of a random byte: what kernels take. Local. */
static inline uint8_t mxs_level_byte(unsigned v) {
  const unsigned t = mxsi_levels[v & 127U];
  return (uint8_t)(v & 128U ? 128U - t : 128U + t);
}

/** Digits of n numbers |v| <= 2^54, v = sum_l 256^l d_l, d_l = -128 .. 127: digit l of number j at
 *  digits[l * plane + j]. Local. */
void mxsi_digits(const int64_t *v, int64_t n, int64_t plane, int8_t *digits);

#endif
