/*  | symbol | meaning                                                              |
 *  |--------|----------------------------------------------------------------------|
 *  | v      | low half of the word + 1/2 = 2^32 u_0                                |
 *  | e, f   | u_0 = (1 + f) 2^e, sqrt(1/2) <= 1 + f < sqrt(2)                      |
 *  | y      | 1 - 4 u_1 for the upper half turn, 3 - 4 u_1 for the lower: |y| < 1  |
 *
 *  The polynomials are minimax ones, rounded to doubles; all are of degree 12 or less, so that none
 *  waits for a division or a table. */
#include "base/normal.h"

#include "base/simd.h"

#include <math.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

/* Words whose radii wait in cache for their angles: two short chains instead of a long one. */
enum { BATCH = 32 };

#define MAGIC UINT64_C(0x4330000000000000)     /* 2^52: its last place is 1 */
#define HALF_TURN UINT64_C(0x4140000000000000) /* 2^21: its last place is 2^-31 */
#define ONE UINT64_C(0x3FF0000000000000)
#define ROOT UINT64_C(0x3FE6A09E667F3BCD) /* sqrt(1/2) */
#define MANTISSA UINT64_C(0x000FFFFFFFFFFFFF)
#define SIGN UINT64_C(0x8000000000000000)
#define LOW UINT64_C(0xFFFFFFFF)

INLINE double number(uint64_t bits) {
  double value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

INLINE uint64_t bits_of(double value) {
  uint64_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

/* -2 log(1 + f) / f, relative error < 1.7e-11. */
INLINE double log_factor(double f) {
  const double f2 = f * f;
  const double f4 = f2 * f2;
  const double c01 = 0x1.0000000286ad2p+0 * f - 0x1.ffffffffe11efp+0;
  const double c23 = 0x1.fffff80e4a5e5p-2 * f - 0x1.55555601334fdp-1;
  const double c45 = 0x1.5556c8b6e8f44p-2 * f - 0x1.9998fa1334745p-2;
  const double c67 = 0x1.ffe5a27a6c40ap-3 * f - 0x1.24adedf713885p-2;
  const double c89 = 0x1.967097e18d3a6p-3 * f - 0x1.c2c4ab8aa03dap-3;
  const double c1011 = 0x1.958a384be41dfp-3 * f - 0x1.9af5ade24e7a4p-3;
  const double high = (c1011 - 0x1.b7549293fe720p-4 * f2) * f4 + (c89 * f2 + c67);
  return (high * f4 + (c45 * f2 + c23)) * f2 + c01;
}

/* sin(pi/2 y) / y, relative error < 1e-13, of z = y^2. */
INLINE double sine_factor(double z) {
  const double z2 = z * z;
  const double c12 = 0x1.466bc66dc7d8dp-4 * z - 0x1.4abbce6247ec4p-1;
  const double c34 = 0x1.5076fe9f637eep-13 * z - 0x1.32d2c96c611a1p-8;
  const double c56 = 0x1.d4ec6979e0e01p-25 * z - 0x1.e297cfd3f35d9p-19;
  return ((c56 * z2 + c34) * z2 + c12) * z + 0x1.921fb54442b5fp+0;
}

/* cos(pi/2 y), absolute error < 1e-12, of z = y^2. */
INLINE double cosine(double z) {
  const double z2 = z * z;
  const double c12 = 0x1.03c1f06d7e71bp-2 * z - 0x1.3bd3cc9b93a17p+0;
  const double c34 = 0x1.e1f24e5b7bc1ep-11 * z - 0x1.55d3c04b70149p-6;
  const double c56 = 0x1.e259c6c7fa0fep-22 * z - 0x1.a651cf200e7dap-16;
  return ((c56 * z2 + c34) * z2 + c12) * z + 0x1.fffffffffe5adp-1;
}

/* -2 log u_0. Integers below 2^52 become doubles by way of the mantissa: AVX2 converts no others.
 * Adding 1 - sqrt(1/2) in units of the mantissa carries into the exponent when 1 + f >= sqrt(2). */
INLINE double radius2(uint64_t word) {
  const double v = number((word & LOW) | MAGIC) - (0x1p52 - 0.5);
  const uint64_t moved = bits_of(v) + (ONE - ROOT);
  const double e = number((moved >> 52) | MAGIC) - (0x1p52 + 1023.0 + 32.0);
  const double f = number((moved & MANTISSA) + ROOT) - 1.0;
  return f * log_factor(f) - e * 0x1.62e42fefa39efp+0;
}

/* (r cos t, r sin t): t is a half turn with y, cos t = sin(pi/2 y) and sin t = cos(pi/2 y), or the
 * other half turn with both signs turned, which is the top bit of the word. */
INLINE void turn(uint64_t word, double r2, double *a, double *b) {
  const double y = (0x1p21 + 1.0) - number((word >> 31 & (LOW - 1)) | (HALF_TURN | 1));
  const double z = y * y;
  const double r = number(bits_of(sqrt(r2)) | (word & SIGN));
  *a = r * (y * sine_factor(z));
  *b = r * cosine(z);
}

/* `count` is a constant in every caller. */
INLINE void pairs(int count, const uint64_t *words, double *values) {
  double r2[BATCH];
  for (int i = 0; i < count; i++)
    r2[i] = radius2(words[i]);
  for (int s = 0; s < count; s += MXS_NORMAL_STEP)
    for (int l = 0; l < MXS_NORMAL_STEP; l++)
      turn(words[s + l], r2[s + l], &values[2 * s + l], &values[2 * s + MXS_NORMAL_STEP + l]);
}

MXS_SIMD
void mxs_normal_pairs(int64_t count, const uint64_t *restrict words, double *restrict values) {
  int64_t i = 0;
  for (; i + BATCH <= count; i += BATCH)
    pairs(BATCH, words + i, values + 2 * i);
  for (; i < count; i += MXS_NORMAL_STEP)
    pairs(MXS_NORMAL_STEP, words + i, values + 2 * i);
}
