/* Sums over bytes with the products of bytes of AVX-512: an unsigned byte of a level times a signed
 * digit of a number in fixed point, four columns (forward) or four rows (adjoint) a lane of 32
 * bits.
 *
 * Strip: 64 bytes a row and tile, rows next to each other. X: digit l of a tile is 64 bytes, digits
 * next to each other. */
#include "op/signs_levels.h"

#if MXS_SIGNS_X86
#include <immintrin.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))
#define VNNI __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni")))

enum {
  TWO = 2,         /* rows of a step forward: their 14 sums, and not 28, fit the registers */
  QUAD = 4,        /* rows of a step of the adjoint */
  LANES = 16,      /* sums of 32 bits in a vector */
  NEAR = 32,       /* tiles whose digits stay in the nearest cache */
  FLUSH = 1 << 13, /* tiles before a lane could overflow: 2^13 4 255 128 < 2^31 */
  COLUMNS = 32     /* that the adjoint takes at a time */
};

static void prepare(const int64_t *const *x, int64_t tiles, void *prepared) {
  for (int64_t t = 0; t < tiles; t++)
    mxsi_digits(x[0] + t * MXS_TILE, MXS_TILE, MXS_TILE,
                (int8_t *)prepared + t * MXS_DIGITS * MXS_TILE);
}

/* t + 128 where bit 7 of the random byte is clear, else 128 - t = -(t + 128) mod 256. */
VNNI static void arrange(const uint64_t *words, int64_t ld, int64_t row, const mxs_tiles *to) {
  _Alignas(64) uint8_t table[128];
  for (unsigned v = 0; v < 128; v++)
    table[v] = mxs_level_byte(v);
  const __m512i low = _mm512_load_si512(table);
  const __m512i high = _mm512_load_si512(table + 64);
  for (int64_t t = 0; t < to->count; t++)
    for (int64_t i = 0; i < MXS_OCTET; i++) {
      const __m512i v = _mm512_loadu_si512(words + i * ld + t * (MXS_TILE / 8));
      const __m512i b = _mm512_permutex2var_epi8(low, v, high);
      const __m512i zero = _mm512_setzero_si512();
      _mm512_store_si512((uint8_t *)to->entries + t * MXS_LEVELS_TILE + (row + i) * MXS_TILE,
                         _mm512_mask_sub_epi8(b, _mm512_movepi8_mask(v), zero, b));
    }
}

/* Sums of TWO rows over tiles: lanes of 32 bits, kept in `sums` meanwhile. */
VNNI INLINE void forward_rows(const uint8_t *b,
                              const int8_t *digits,
                              int64_t tiles,
                              int32_t sums[TWO][MXS_DIGITS][LANES]) {
  __m512i sum[TWO][MXS_DIGITS];
  for (int i = 0; i < TWO; i++)
    for (int l = 0; l < MXS_DIGITS; l++)
      sum[i][l] = _mm512_load_si512(sums[i][l]);
  for (int64_t t = 0; t < tiles; t++) {
    __m512i level[TWO];
    for (int i = 0; i < TWO; i++)
      level[i] = _mm512_load_si512(b + t * MXS_LEVELS_TILE + i * MXS_TILE);
    for (int l = 0; l < MXS_DIGITS; l++) {
      const __m512i digit = _mm512_load_si512(digits + (t * MXS_DIGITS + l) * MXS_TILE);
      for (int i = 0; i < TWO; i++)
        sum[i][l] = _mm512_dpbusd_epi32(sum[i][l], level[i], digit);
    }
  }
  for (int i = 0; i < TWO; i++)
    for (int l = 0; l < MXS_DIGITS; l++)
      _mm512_store_si512(sums[i][l], sum[i][l]);
}

VNNI static void forward(const mxs_tiles *tiles, const void *prepared, mxs_wide *sums) {
  _Alignas(64) int32_t near[MXS_STRIP][MXS_DIGITS][LANES];
  const uint8_t *b = tiles->entries;
  const int8_t *digits = (const int8_t *)prepared + tiles->first * MXS_DIGITS * MXS_TILE;
  for (int64_t start = 0; start < tiles->count; start += FLUSH) {
    const int64_t end = start + FLUSH < tiles->count ? start + FLUSH : tiles->count;
    memset(near, 0, sizeof near);
    for (int64_t t = start; t < end; t += NEAR)
      for (int64_t i = 0; i < tiles->rows; i += TWO)
        forward_rows(b + t * MXS_LEVELS_TILE + i * MXS_TILE, digits + t * MXS_DIGITS * MXS_TILE,
                     end - t < NEAR ? end - t : NEAR, &near[i]);
    for (int64_t i = 0; i < tiles->rows; i++)
      for (int l = MXS_DIGITS - 1; l >= 0; l--) {
        int64_t sum = 0;
        for (int k = 0; k < LANES; k++)
          sum += near[i][l][k];
        sums[i] += sum * ((mxs_wide)1 << (8 * l));
      }
  }
}

/* The bytes of four rows next to each other, for the columns 16 k + 4 v .. 16 k + 4 v + 3, k = 0 ..
 * 3, in vector v = first, first + 1. */
VNNI INLINE void interleave(const uint8_t *b, int first, __m512i out[2]) {
  __m512i row[QUAD], pair[2];
  for (int i = 0; i < QUAD; i++)
    row[i] = _mm512_load_si512(b + (ptrdiff_t)i * MXS_TILE);
  for (int h = 0; h < 2; h++)
    pair[h] = first == 0 ? _mm512_unpacklo_epi8(row[2 * h], row[2 * h + 1])
                         : _mm512_unpackhi_epi8(row[2 * h], row[2 * h + 1]);
  out[0] = _mm512_unpacklo_epi16(pair[0], pair[1]);
  out[1] = _mm512_unpackhi_epi16(pair[0], pair[1]);
}

/* sum_l 256^l sum[l], 16 lanes as two vectors. Two digits fit 32 bits: 64 255 128 (1 + 256) < 2^30
 * of a strip. */
VNNI INLINE void combine(const __m512i sum[MXS_DIGITS], __m512i out[2]) {
  for (int h = 0; h < 2; h++)
    out[h] = _mm512_setzero_si512();
  for (int l = MXS_DIGITS - 1; l >= 0; l -= 2) {
    const __m512i two =
        l == 0 ? sum[0] : _mm512_add_epi32(sum[l - 1], _mm512_slli_epi32(sum[l], 8));
    for (int h = 0; h < 2; h++) {
      const __m256i half = h == 0 ? _mm512_castsi512_si256(two) : _mm512_extracti64x4_epi64(two, 1);
      const __m512i before = _mm512_slli_epi64(out[h], l == 0 ? 8 : 16);
      out[h] = _mm512_add_epi64(before, _mm512_cvtepi32_epi64(half));
    }
  }
}

/* G of the columns of two vectors of a tile (interleave). */
VNNI INLINE void adjoint_columns(const uint8_t *b,
                                 int64_t rows,
                                 int first,
                                 int32_t digits[MXS_STRIP / QUAD][MXS_DIGITS],
                                 int64_t *G) {
  __m512i sum[2][MXS_DIGITS];
  for (int v = 0; v < 2; v++)
    for (int l = 0; l < MXS_DIGITS; l++)
      sum[v][l] = _mm512_setzero_si512();
  for (int64_t q = 0; q < rows / QUAD; q++) {
    __m512i level[2];
    interleave(b + q * QUAD * MXS_TILE, first, level);
    for (int l = 0; l < MXS_DIGITS; l++) {
      const __m512i digit = _mm512_set1_epi32(digits[q][l]);
      for (int v = 0; v < 2; v++)
        sum[v][l] = _mm512_dpbusd_epi32(sum[v][l], level[v], digit);
    }
  }
  for (int v = 0; v < 2; v++) {
    __m512i out[2];
    combine(sum[v], out);
    for (int h = 0; h < 2; h++) {
      int64_t *to = G + (ptrdiff_t)h * 32 + (ptrdiff_t)(first + v) * QUAD;
      _mm256_store_si256((__m256i *)to, _mm512_castsi512_si256(out[h]));
      _mm256_store_si256((__m256i *)(to + 16), _mm512_extracti64x4_epi64(out[h], 1));
    }
  }
}

VNNI static void adjoint(const mxs_tiles *tiles, const mxs_gradient *to, int64_t entries) {
  int8_t digit[MXS_DIGITS][MXS_STRIP];
  int32_t digits[MXS_STRIP / QUAD][MXS_DIGITS];
  mxsi_digits(to->r, MXS_STRIP, MXS_STRIP, digit[0]);
  for (int q = 0; q < MXS_STRIP / QUAD; q++)
    for (int l = 0; l < MXS_DIGITS; l++)
      memcpy(&digits[q][l], &digit[l][q * QUAD], sizeof digits[q][l]);
  for (int64_t t = 0; t < tiles->count; t++) {
    _Alignas(64) int64_t G[MXS_TILE];
    const uint8_t *b = (const uint8_t *)tiles->entries + t * MXS_LEVELS_TILE;
    adjoint_columns(b, tiles->rows, 0, digits, G);
    adjoint_columns(b, tiles->rows, 2, digits, G);
    mxs_signs_finish(G, tiles->first + t, entries, to);
  }
}

static int available(void) {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vnni");
}

const mxs_signs_kernel mxsi_levels_vnni = {.name = "AVX-512 VNNI",
                                           .available = available,
                                           .together = 1,
                                           .prepared_size = MXS_DIGITS * MXS_TILE,
                                           .arranged_size = MXS_LEVELS_TILE,
                                           .prepare = prepare,
                                           .arrange = arrange,
                                           .forward = forward,
                                           .adjoint = adjoint};
#endif
