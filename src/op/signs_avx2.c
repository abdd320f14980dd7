/* Sums over bytes with the products of 16-bit numbers of AVX2: two neighbours, of a row (forward)
 * or of a column (adjoint), a lane of 32 bits.
 *
 * Numbers in fixed point are four digits of 14 bits, -8192 .. 8191. X: digit l of a tile is 64
 * numbers of 16 bits, digits next to each other. Strip: as in signs_vnni.c. */
#include "op/signs_levels.h"

#if MXS_SIGNS_X86
#include <immintrin.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))
#define AVX2 __attribute__((target("avx2")))

enum {
  DIGITS = 4,
  DIGIT_BITS = 14,
  TWO = 2,      /* rows of a step */
  SIXTEEN = 16, /* columns of a step */
  LANES = 8,
  NEAR = 64 /* tiles before a lane could overflow: 2^6 8 255 2^13 < 2^31 */
};

INLINE void split(int64_t value, int16_t digit[DIGITS]) {
  const int64_t half = INT64_C(1) << (DIGIT_BITS - 1);
  int64_t rest = value;
  for (int l = 0; l < DIGITS; l++) {
    const int64_t d = (int64_t)((uint64_t)(rest + half) & (uint64_t)(2 * half - 1)) - half;
    digit[l] = (int16_t)d;
    rest = (rest - d) / (2 * half);
  }
}

static void prepare(const int64_t *const *x, int64_t tiles, void *prepared) {
  for (int64_t t = 0; t < tiles; t++) {
    int16_t *to = (int16_t *)prepared + t * DIGITS * MXS_TILE;
    for (int64_t j = 0; j < MXS_TILE; j++) {
      int16_t digit[DIGITS];
      split(x[0][t * MXS_TILE + j], digit);
      for (int64_t l = 0; l < DIGITS; l++)
        to[l * MXS_TILE + j] = digit[l];
    }
  }
}

/* T[v mod 128] from eight tables of sixteen, chosen by bits 6, 5 and 4, which a shift brings to the
 * top of the byte; then the sign of bit 7. */
AVX2 INLINE __m256i translate(__m256i v, __m256i table[8]) {
  const __m256i low = _mm256_and_si256(v, _mm256_set1_epi8(15));
  __m256i t[8];
  for (int64_t k = 0; k < 8; k++)
    t[k] = _mm256_shuffle_epi8(table[k], low);
  for (int bit = 4; bit < 7; bit++) {
    const __m256i chosen = _mm256_slli_epi16(v, 7 - bit);
    for (int64_t k = 0; k < 1 << (6 - bit); k++)
      t[k] = _mm256_blendv_epi8(t[2 * k], t[2 * k + 1], chosen);
  }
  const __m256i sign = _mm256_or_si256(v, _mm256_set1_epi8(1));
  return _mm256_add_epi8(_mm256_sign_epi8(t[0], sign), _mm256_set1_epi8(-128));
}

AVX2 static void arrange(const uint64_t *words, int64_t ld, int64_t row, const mxs_tiles *to) {
  __m256i table[8];
  for (int64_t k = 0; k < 8; k++)
    table[k] =
        _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(mxsi_levels + 16 * k)));
  for (int64_t t = 0; t < to->count; t++)
    for (int64_t i = 0; i < MXS_OCTET; i++) {
      const uint64_t *from = words + i * ld + t * (MXS_TILE / 8);
      uint8_t *out = (uint8_t *)to->entries + t * MXS_LEVELS_TILE + (row + i) * MXS_TILE;
      for (int64_t h = 0; h < 2; h++)
        _mm256_store_si256((__m256i *)out + h,
                           translate(_mm256_loadu_si256((const __m256i *)from + h), table));
    }
}

AVX2 INLINE int64_t total(__m256i lanes) {
  int32_t lane[LANES];
  int64_t sum = 0;
  memcpy(lane, &lanes, sizeof lane);
  for (int k = 0; k < LANES; k++)
    sum += lane[k];
  return sum;
}

/* Sixteen bytes as numbers of 16 bits. */
AVX2 INLINE __m256i widen(const uint8_t *b) {
  return _mm256_cvtepu8_epi16(_mm_load_si128((const __m128i *)b));
}

/* Two rows, at most NEAR tiles. */
AVX2 INLINE void forward_rows(const uint8_t *b,
                              const int16_t *digits,
                              int64_t tiles,
                              mxs_wide *sums) {
  __m256i sum[TWO][DIGITS];
  for (int64_t i = 0; i < TWO; i++)
    for (int64_t l = 0; l < DIGITS; l++)
      sum[i][l] = _mm256_setzero_si256();
  for (int64_t t = 0; t < tiles; t++)
    for (int64_t j = 0; j < MXS_TILE; j += SIXTEEN) {
      const __m256i first = widen(b + t * MXS_LEVELS_TILE + j);
      const __m256i second = widen(b + t * MXS_LEVELS_TILE + MXS_TILE + j);
      for (int64_t l = 0; l < DIGITS; l++) {
        const __m256i digit =
            _mm256_load_si256((const __m256i *)(digits + (t * DIGITS + l) * MXS_TILE + j));
        sum[0][l] = _mm256_add_epi32(sum[0][l], _mm256_madd_epi16(first, digit));
        sum[1][l] = _mm256_add_epi32(sum[1][l], _mm256_madd_epi16(second, digit));
      }
    }
  for (int64_t i = 0; i < TWO; i++)
    for (int64_t l = 0; l < DIGITS; l++)
      sums[i] += total(sum[i][l]) * ((mxs_wide)1 << (DIGIT_BITS * l));
}

AVX2 static void forward(const mxs_tiles *tiles, const void *prepared, mxs_wide *sums) {
  const uint8_t *b = tiles->entries;
  const int16_t *digits = (const int16_t *)prepared + tiles->first * DIGITS * MXS_TILE;
  for (int64_t t = 0; t < tiles->count; t += NEAR)
    for (int64_t i = 0; i < tiles->rows; i += TWO)
      forward_rows(b + t * MXS_LEVELS_TILE + i * MXS_TILE, digits + t * DIGITS * MXS_TILE,
                   tiles->count - t < NEAR ? tiles->count - t : NEAR, sums + i);
}

/* G of sixteen columns; digits of two rows next to each other. */
AVX2 INLINE void adjoint_columns(const uint8_t *b,
                                 int64_t rows,
                                 int32_t digits[MXS_STRIP / TWO][DIGITS],
                                 int64_t *G) {
  __m256i sum[DIGITS][2];
  int32_t lane[DIGITS][SIXTEEN];
  for (int64_t l = 0; l < DIGITS; l++)
    sum[l][0] = sum[l][1] = _mm256_setzero_si256();
  for (int64_t i = 0; i < rows; i += TWO) {
    const __m128i first = _mm_load_si128((const __m128i *)(b + i * MXS_TILE));
    const __m128i second = _mm_load_si128((const __m128i *)(b + (i + 1) * MXS_TILE));
    const __m256i low = _mm256_cvtepu8_epi16(_mm_unpacklo_epi8(first, second));
    const __m256i high = _mm256_cvtepu8_epi16(_mm_unpackhi_epi8(first, second));
    for (int64_t l = 0; l < DIGITS; l++) {
      const __m256i digit = _mm256_set1_epi32(digits[i / TWO][l]);
      sum[l][0] = _mm256_add_epi32(sum[l][0], _mm256_madd_epi16(low, digit));
      sum[l][1] = _mm256_add_epi32(sum[l][1], _mm256_madd_epi16(high, digit));
    }
  }
  memcpy(lane, sum, sizeof lane);
  for (int64_t j = 0; j < SIXTEEN; j++) {
    int64_t value = 0;
    for (int l = DIGITS - 1; l >= 0; l--)
      value = value * (1 << DIGIT_BITS) + lane[l][j];
    G[j] = value;
  }
}

AVX2 static void adjoint(const mxs_tiles *tiles, const mxs_gradient *to, int64_t entries) {
  int32_t digits[MXS_STRIP / TWO][DIGITS];
  for (int64_t i = 0; i < MXS_STRIP; i += TWO) {
    int16_t digit[TWO][DIGITS];
    split(to->r[i], digit[0]);
    split(to->r[i + 1], digit[1]);
    for (int64_t l = 0; l < DIGITS; l++) {
      const int16_t pair[TWO] = {digit[0][l], digit[1][l]};
      memcpy(&digits[i / TWO][l], pair, sizeof pair);
    }
  }
  for (int64_t t = 0; t < tiles->count; t++) {
    int64_t G[MXS_TILE];
    const uint8_t *b = (const uint8_t *)tiles->entries + t * MXS_LEVELS_TILE;
    for (int64_t j = 0; j < MXS_TILE; j += SIXTEEN)
      adjoint_columns(b + j, tiles->rows, digits, G + j);
    mxs_signs_finish(G, tiles->first + t, entries, to);
  }
}

static int available(void) {
  return __builtin_cpu_supports("avx2") != 0;
}

const mxs_signs_kernel mxsi_levels_avx2 = {.name = "AVX2",
                                           .available = available,
                                           .together = 1,
                                           .prepared_size =
                                               DIGITS * (int64_t)sizeof(int16_t) * MXS_TILE,
                                           .arranged_size = MXS_LEVELS_TILE,
                                           .prepare = prepare,
                                           .arrange = arrange,
                                           .forward = forward,
                                           .adjoint = adjoint};
#endif
