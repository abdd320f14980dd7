/* Sums over bytes in doubles: a byte times half of a number in fixed point has at most 35 bits,
 * 2^18 of them add up without rounding. Fused or not, whole or in part, the sums are exact. */
#include "op/signs_levels.h"

#include "base/simd.h"

#include <string.h>

#define INLINE static inline __attribute__((always_inline))

enum {
  HALF = 27,       /* bits in the low half */
  FLUSH = 1 << 12, /* tiles whose sums are exact: 2^12 2^6 = 2^18 columns */
  QUAD = 4,        /* rows that share the loads of x */
  SIXTEEN = 16,    /* columns whose sums stay in registers */
  HALVES = 2
};

const uint8_t mxsi_levels[128] = {
    0,  1,  1,  2,  2,  2,  3,  3,  4,  4,  5,  5,  5,  6,  6,  7,   7,   8,  8,  8,  9,  9,
    10, 10, 11, 11, 12, 12, 12, 13, 13, 14, 14, 15, 15, 16, 16, 17,  17,  17, 18, 18, 19, 19,
    20, 20, 21, 21, 22, 22, 23, 23, 24, 24, 25, 25, 26, 26, 27, 27,  28,  28, 29, 29, 30, 30,
    31, 32, 32, 33, 33, 34, 34, 35, 36, 36, 37, 37, 38, 39, 39, 40,  41,  41, 42, 43, 43, 44,
    45, 46, 46, 47, 48, 49, 49, 50, 51, 52, 53, 54, 55, 56, 56, 57,  59,  60, 61, 62, 63, 64,
    65, 67, 68, 70, 71, 73, 75, 77, 79, 81, 83, 86, 89, 93, 97, 103, 111, 127};

MXS_SIMD
void mxsi_digits(const int64_t *v, int64_t n, int64_t plane, int8_t *digits) {
  for (int64_t j = 0; j < n; j++) {
    int64_t rest = v[j];
    for (int l = 0; l < MXS_DIGITS; l++) {
      const int64_t digit = (int64_t)((uint64_t)(rest + 128) & 0xFF) - 128;
      digits[l * plane + j] = (int8_t)digit;
      rest = (rest - digit) / 256;
    }
  }
}

/* v = 2^HALF high + low, 0 <= low < 2^HALF. */
INLINE int64_t low_half(int64_t v) {
  return (int64_t)((uint64_t)v & ((UINT64_C(1) << HALF) - 1));
}

INLINE int64_t high_half(int64_t v) {
  return (v - low_half(v)) / (INT64_C(1) << HALF);
}

MXS_SIMD
static void prepare(const int64_t *const *x, int64_t tiles, void *prepared) {
  double *to = prepared;
  for (int64_t t = 0; t < tiles; t++)
    for (int64_t j = 0; j < MXS_TILE; j++) {
      to[(2 * t) * MXS_TILE + j] = (double)low_half(x[0][t * MXS_TILE + j]);
      to[(2 * t + 1) * MXS_TILE + j] = (double)high_half(x[0][t * MXS_TILE + j]);
    }
}

static void arrange(const uint64_t *words, int64_t ld, int64_t row, const mxs_tiles *to) {
  uint8_t table[256];
  for (unsigned v = 0; v < 256; v++)
    table[v] = mxs_level_byte(v);
  for (int64_t t = 0; t < to->count; t++)
    for (int64_t i = 0; i < MXS_OCTET; i++) {
      uint8_t *out = (uint8_t *)to->entries + t * MXS_LEVELS_TILE + (row + i) * MXS_TILE;
      for (int w = 0; w < MXS_TILE / 8; w++) {
        const uint64_t word = words[i * ld + t * (MXS_TILE / 8) + w];
        for (int b = 0; b < 8; b++)
          out[8 * w + b] = table[(word >> (8 * b)) & 0xFF];
      }
    }
}

INLINE mxs_lanes load(const double *p) {
  mxs_lanes v;
  memcpy(&v, p, sizeof v);
  return v;
}

INLINE mxs_lanes widen(const uint8_t *p) {
  typedef uint8_t bytes __attribute__((vector_size(MXS_LANES)));
  bytes v;
  memcpy(&v, p, sizeof v);
  return __builtin_convertvector(v, mxs_lanes);
}

INLINE int64_t whole(mxs_lanes v) {
  int64_t sum = 0;
  for (int l = 0; l < MXS_LANES; l++)
    sum += (int64_t)v[l];
  return sum;
}

/* QUAD rows, tiles start .. end - 1. */
INLINE void forward_rows(
    const uint8_t *b, const double *x, int64_t start, int64_t end, mxs_wide *sums) {
  mxs_lanes low[QUAD], high[QUAD];
  for (int64_t i = 0; i < QUAD; i++)
    low[i] = high[i] = (mxs_lanes){0};
  for (int64_t t = start; t < end; t++) {
    const double *xt = x + t * HALVES * MXS_TILE;
    for (int64_t j = 0; j < MXS_TILE; j += MXS_LANES)
      for (int64_t i = 0; i < QUAD; i++) {
        const mxs_lanes level = widen(b + t * MXS_LEVELS_TILE + i * MXS_TILE + j);
        low[i] += level * load(xt + j);
        high[i] += level * load(xt + MXS_TILE + j);
      }
  }
  for (int64_t i = 0; i < QUAD; i++)
    sums[i] += whole(high[i]) * ((mxs_wide)1 << HALF) + whole(low[i]);
}

MXS_SIMD
static void forward(const mxs_tiles *tiles, const void *prepared, mxs_wide *sums) {
  const double *x = (const double *)prepared + tiles->first * HALVES * MXS_TILE;
  for (int64_t start = 0; start < tiles->count; start += FLUSH) {
    const int64_t end = start + FLUSH < tiles->count ? start + FLUSH : tiles->count;
    for (int64_t i = 0; i < tiles->rows; i += QUAD)
      forward_rows((const uint8_t *)tiles->entries + i * MXS_TILE, x, start, end, sums + i);
  }
}

/* G of sixteen columns. */
INLINE void adjoint_columns(const uint8_t *b, int64_t rows, double r[][HALVES], int64_t *G) {
  enum { VECTORS = SIXTEEN / MXS_LANES };
  mxs_lanes low[VECTORS], high[VECTORS];
  for (int64_t v = 0; v < VECTORS; v++)
    low[v] = high[v] = (mxs_lanes){0};
  for (int64_t i = 0; i < rows; i++)
    for (int64_t v = 0; v < VECTORS; v++) {
      const mxs_lanes level = widen(b + i * MXS_TILE + v * MXS_LANES);
      low[v] += level * r[i][0];
      high[v] += level * r[i][1];
    }
  for (int64_t v = 0; v < VECTORS; v++)
    for (int l = 0; l < MXS_LANES; l++)
      G[v * MXS_LANES + l] = (int64_t)high[v][l] * (INT64_C(1) << HALF) + (int64_t)low[v][l];
}

MXS_SIMD
static void adjoint(const mxs_tiles *tiles, const mxs_gradient *to, int64_t entries) {
  double r[MXS_STRIP][HALVES];
  for (int64_t i = 0; i < MXS_STRIP; i++) {
    r[i][0] = (double)low_half(to->r[i]);
    r[i][1] = (double)high_half(to->r[i]);
  }
  for (int64_t t = 0; t < tiles->count; t++) {
    int64_t G[MXS_TILE];
    const uint8_t *b = (const uint8_t *)tiles->entries + t * MXS_LEVELS_TILE;
    for (int64_t j = 0; j < MXS_TILE; j += SIXTEEN)
      adjoint_columns(b + j, tiles->rows, r, G + j);
    mxs_signs_finish(G, tiles->first + t, entries, to);
  }
}

static int always(void) {
  return 1;
}

const mxs_signs_kernel mxsi_levels_portable = {.name = "doubles",
                                               .available = always,
                                               .together = 1,
                                               .prepared_size =
                                                   HALVES * (int64_t)sizeof(double) * MXS_TILE,
                                               .arranged_size = MXS_LEVELS_TILE,
                                               .prepare = prepare,
                                               .arrange = arrange,
                                               .forward = forward,
                                               .adjoint = adjoint};
