/* Sums over bytes with the products of bytes of AVX-512: an unsigned byte of a level times a signed
 * digit of a number in fixed point, four columns (forward) or four rows (adjoint) a lane of 32
 * bits.
 *
 * Strip: 64 bytes a row and tile, rows next to each other. X: digit l of a tile is 64 bytes, digits
 * next to each other. */
#include "op/signs_bytes.h"

#if MXS_SIGNS_X86
#include <string.h>

#define INLINE static inline __attribute__((always_inline))
#define VNNI __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni")))

enum {
  TWO = 2,         /* rows of a step forward: their 14 sums, and not 28, fit the registers */
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
VNNI void mxsi_levels_arrange(const uint64_t *words, int64_t ld, int64_t row, const mxs_tiles *to) {
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
  for (int64_t i = 0; i < TWO; i++)
    for (int64_t l = 0; l < MXS_DIGITS; l++)
      sum[i][l] = _mm512_load_si512(sums[i][l]);
  for (int64_t t = 0; t < tiles; t++) {
    __m512i level[TWO];
    for (int64_t i = 0; i < TWO; i++)
      level[i] = _mm512_load_si512(b + t * MXS_LEVELS_TILE + i * MXS_TILE);
    for (int64_t l = 0; l < MXS_DIGITS; l++) {
      const __m512i digit = _mm512_load_si512(digits + (t * MXS_DIGITS + l) * MXS_TILE);
      for (int64_t i = 0; i < TWO; i++)
        sum[i][l] = _mm512_dpbusd_epi32(sum[i][l], level[i], digit);
    }
  }
  for (int64_t i = 0; i < TWO; i++)
    for (int64_t l = 0; l < MXS_DIGITS; l++)
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
      for (int64_t l = MXS_DIGITS - 1; l >= 0; l--) {
        int64_t sum = 0;
        for (int64_t k = 0; k < LANES; k++)
          sum += near[i][l][k];
        sums[i] += sum * ((mxs_wide)1 << (8 * l));
      }
  }
}

/* G of the columns of two vectors of a tile (mxs_interleave). */
VNNI INLINE void adjoint_columns(const uint8_t *b,
                                 int64_t rows,
                                 int first,
                                 int32_t digits[MXS_STRIP / MXS_QUAD][MXS_DIGITS],
                                 int64_t *G) {
  __m512i sum[2][MXS_DIGITS];
  for (int64_t v = 0; v < 2; v++)
    for (int64_t l = 0; l < MXS_DIGITS; l++)
      sum[v][l] = _mm512_setzero_si512();
  for (int64_t q = 0; q < rows / MXS_QUAD; q++) {
    __m512i level[2];
    mxs_interleave(b + q * MXS_QUAD * MXS_TILE, first, level);
    for (int64_t l = 0; l < MXS_DIGITS; l++) {
      const __m512i digit = _mm512_set1_epi32(digits[q][l]);
      for (int64_t v = 0; v < 2; v++)
        sum[v][l] = _mm512_dpbusd_epi32(sum[v][l], level[v], digit);
    }
  }
  for (int64_t v = 0; v < 2; v++)
    mxs_put_columns(sum[v], first + v, G);
}

VNNI static void adjoint(const mxs_tiles *tiles, const mxs_gradient *to, int64_t entries) {
  int8_t digit[MXS_DIGITS][MXS_STRIP];
  int32_t digits[MXS_STRIP / MXS_QUAD][MXS_DIGITS];
  mxsi_digits(to->r, MXS_STRIP, MXS_STRIP, digit[0]);
  for (int64_t q = 0; q < MXS_STRIP / MXS_QUAD; q++)
    for (int64_t l = 0; l < MXS_DIGITS; l++)
      memcpy(&digits[q][l], &digit[l][q * MXS_QUAD], sizeof digits[q][l]);
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
                                           .prepared_size = MXS_DIGITS * (int64_t)MXS_TILE,
                                           .arranged_size = MXS_LEVELS_TILE,
                                           .prepare = prepare,
                                           .arrange = mxsi_levels_arrange,
                                           .forward = forward,
                                           .adjoint = adjoint};
#endif
