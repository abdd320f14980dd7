/* Sums over bits with AVX-512: four bits choose one of sixteen sums, held in two registers.
 *
 * Strip: eight vectors a tile, lane i of vector v is the word of row 8 v + i. Forward, lanes are
 * rows and the sixteen sums those of four x_j; adjoint, the 64 x 64 bits are transposed, lanes are
 * columns and the sums those of four r_i. */
#include "op/signs_bits.h"

#if MXS_SIGNS_X86
#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline))
#define AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl")))
#define GFNI __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,gfni")))

enum {
  LANES = 8,
  VECTORS = MXS_STRIP / LANES,
  NIBBLES = 16, /* in a word */
  NEAR = 4      /* tiles before a lane could overflow: 4 64 2^54 = 2^62 */
};

/* The sums of all subsets of four numbers: low[n] for the bits of n = 0 .. 7, high[n] with the
 * fourth number. */
AVX512 INLINE void subsets(const int64_t *x, __m512i *low, __m512i *high) {
  __m512i sums = _mm512_maskz_set1_epi64(0xAA, x[0]);
  sums = _mm512_mask_add_epi64(sums, 0xCC, sums, _mm512_set1_epi64(x[1]));
  sums = _mm512_mask_add_epi64(sums, 0xF0, sums, _mm512_set1_epi64(x[2]));
  *low = sums;
  *high = _mm512_add_epi64(sums, _mm512_set1_epi64(x[3]));
}

/* Two halves of a lane, 32 bits each, are what 64-bit lanes can add up for long. */
AVX512 INLINE void flush(const __m512i *near, int64_t vectors, int64_t *high, int64_t *low) {
  const __m512i low_half = _mm512_set1_epi64(0xFFFFFFFF);
  for (int64_t v = 0; v < vectors; v++) {
    const __m512i h = _mm512_load_si512(high + v * LANES);
    const __m512i l = _mm512_load_si512(low + v * LANES);
    _mm512_store_si512(high + v * LANES, _mm512_add_epi64(h, _mm512_srai_epi64(near[v], 32)));
    _mm512_store_si512(low + v * LANES, _mm512_add_epi64(l, _mm512_and_si512(near[v], low_half)));
  }
}

AVX512 INLINE void forward_rows(const mxs_tiles *tiles,
                                const int64_t *x,
                                int64_t vectors,
                                mxs_wide *sums) {
  _Alignas(64) int64_t high[MXS_STRIP] = {0};
  _Alignas(64) int64_t low[MXS_STRIP] = {0};
  for (int64_t start = 0; start < tiles->count; start += NEAR) {
    const int64_t end = start + NEAR < tiles->count ? start + NEAR : tiles->count;
    __m512i near[VECTORS];
    for (int64_t v = 0; v < vectors; v++)
      near[v] = _mm512_setzero_si512();
    for (int64_t t = start; t < end; t++) {
      const uint64_t *word = (const uint64_t *)tiles->entries + t * MXS_STRIP;
      const int64_t *xt = x + (tiles->first + t) * MXS_TILE;
      __m512i choice[VECTORS];
      for (int64_t v = 0; v < vectors; v++)
        choice[v] = _mm512_load_si512(word + v * LANES);
      for (int64_t q = 0; q < NIBBLES; q++) {
        __m512i even, odd;
        subsets(xt + q * 4, &even, &odd);
        for (int64_t v = 0; v < vectors; v++) {
          near[v] = _mm512_add_epi64(near[v], _mm512_permutex2var_epi64(even, choice[v], odd));
          choice[v] = _mm512_srli_epi64(choice[v], 4);
        }
      }
    }
    flush(near, vectors, high, low);
  }
  for (int64_t i = 0; i < vectors * LANES; i++)
    sums[i] += high[i] * ((mxs_wide)1 << 32) + low[i];
}

AVX512
static void forward(const mxs_tiles *tiles, const void *prepared, mxs_wide *sums) {
  const int64_t *x = prepared;
  switch (tiles->rows / MXS_OCTET) {
  case 1:
    forward_rows(tiles, x, 1, sums);
    break;
  case 2:
    forward_rows(tiles, x, 2, sums);
    break;
  case 3:
    forward_rows(tiles, x, 3, sums);
    break;
  case 4:
    forward_rows(tiles, x, 4, sums);
    break;
  case 5:
    forward_rows(tiles, x, 5, sums);
    break;
  case 6:
    forward_rows(tiles, x, 6, sums);
    break;
  case 7:
    forward_rows(tiles, x, 7, sums);
    break;
  default:
    forward_rows(tiles, x, 8, sums);
    break;
  }
}

/* Lane k of v[l] <- lane l of v[k]. */
AVX512 INLINE void transpose_lanes(__m512i v[LANES]) {
  __m512i a[LANES], b[LANES];
  for (int64_t k = 0; k < LANES; k += 2) {
    a[k] = _mm512_unpacklo_epi64(v[k], v[k + 1]);
    a[k + 1] = _mm512_unpackhi_epi64(v[k], v[k + 1]);
  }
  for (int64_t k = 0; k < LANES; k += 4) {
    for (int64_t h = 0; h < 2; h++) {
      b[k + h] = _mm512_shuffle_i64x2(a[k + h], a[k + 2 + h], 0x88);
      b[k + 2 + h] = _mm512_shuffle_i64x2(a[k + h], a[k + 2 + h], 0xDD);
    }
  }
  for (int64_t k = 0; k < 4; k++) {
    v[k] = _mm512_shuffle_i64x2(b[k], b[k + 4], 0x88);
    v[k + 4] = _mm512_shuffle_i64x2(b[k], b[k + 4], 0xDD);
  }
}

/* The multiplication by a matrix of bits does 8 x 8 at a time, with the rows of each square upside
 * down, which the first permutation of bytes undoes. */
GFNI static void transpose_gfni(const uint64_t *from, uint64_t *to) {
  _Alignas(64) uint8_t first[64], last[64];
  for (int64_t c = 0; c < LANES; c++)
    for (int64_t k = 0; k < LANES; k++) {
      first[8 * c + k] = (uint8_t)(8 * (7 - k) + c);
      last[8 * c + k] = (uint8_t)(8 * k + c);
    }
  const __m512i unit = _mm512_set1_epi64((int64_t)UINT64_C(0x8040201008040201));
  const __m512i gather = _mm512_load_si512(first);
  const __m512i spread = _mm512_load_si512(last);
  __m512i v[LANES];
  for (int64_t k = 0; k < LANES; k++) {
    const __m512i rows = _mm512_load_si512(from + k * LANES);
    v[k] = _mm512_gf2p8affine_epi64_epi8(unit, _mm512_permutexvar_epi8(gather, rows), 0);
  }
  transpose_lanes(v);
  for (int64_t c = 0; c < LANES; c++)
    _mm512_store_si512(to + c * LANES, _mm512_permutexvar_epi8(spread, v[c]));
}

AVX512 INLINE void adjoint_with(const mxs_tiles *tiles,
                                const mxs_gradient *to,
                                int64_t entries,
                                void (*transpose)(const uint64_t *from, uint64_t *to)) {
  const int nibbles = (int)tiles->rows / 4;
  __m512i table[NIBBLES][2];
  for (int64_t q = 0; q < nibbles; q++)
    subsets(to->r + q * 4, &table[q][0], &table[q][1]);
  for (int64_t t = 0; t < tiles->count; t++) {
    _Alignas(64) uint64_t column[MXS_TILE];
    _Alignas(64) int64_t G[MXS_TILE];
    __m512i choice[VECTORS], sum[VECTORS];
    transpose((const uint64_t *)tiles->entries + t * MXS_STRIP, column);
    for (int64_t v = 0; v < VECTORS; v++) {
      choice[v] = _mm512_load_si512(column + v * LANES);
      sum[v] = _mm512_setzero_si512();
    }
    for (int64_t q = 0; q < nibbles; q++)
      for (int64_t v = 0; v < VECTORS; v++) {
        const __m512i chosen = _mm512_permutex2var_epi64(table[q][0], choice[v], table[q][1]);
        sum[v] = _mm512_add_epi64(sum[v], chosen);
        choice[v] = _mm512_srli_epi64(choice[v], 4);
      }
    for (int64_t v = 0; v < VECTORS; v++)
      _mm512_store_si512(G + v * LANES, sum[v]);
    mxs_signs_finish(G, tiles->first + t, entries, to);
  }
}

AVX512
static void adjoint(const mxs_tiles *tiles, const mxs_gradient *to, int64_t entries) {
  adjoint_with(tiles, to, entries, mxsi_signs_transpose);
}

AVX512
static void adjoint_gfni(const mxs_tiles *tiles, const mxs_gradient *to, int64_t entries) {
  adjoint_with(tiles, to, entries, transpose_gfni);
}

AVX512
static void arrange(const uint64_t *words, int64_t ld, int64_t row, const mxs_tiles *to) {
  uint64_t *out = (uint64_t *)to->entries + row;
  for (int64_t t = 0; t < to->count; t += LANES) {
    __m512i v[LANES];
    for (int64_t i = 0; i < LANES; i++)
      v[i] = _mm512_loadu_si512(words + i * ld + t);
    transpose_lanes(v);
    for (int64_t i = 0; i < LANES; i++)
      _mm512_store_si512(out + (t + i) * MXS_STRIP, v[i]);
  }
}

static int available(void) {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

static int available_gfni(void) {
  return available() && __builtin_cpu_supports("gfni") && __builtin_cpu_supports("avx512vbmi");
}

const mxs_signs_kernel mxsi_signs_avx512 = {.name = "AVX-512 tables",
                                            .available = available,
                                            .together = 1,
                                            .prepared_size = MXS_TILE * (int64_t)sizeof(int64_t),
                                            .arranged_size = MXS_STRIP * (int64_t)sizeof(uint64_t),
                                            .prepare = mxsi_signs_prepare,
                                            .arrange = arrange,
                                            .forward = forward,
                                            .adjoint = adjoint};

const mxs_signs_kernel mxsi_signs_gfni = {.name = "AVX-512 tables, GFNI",
                                          .available = available_gfni,
                                          .together = 1,
                                          .prepared_size = MXS_TILE * (int64_t)sizeof(int64_t),
                                          .arranged_size = MXS_STRIP * (int64_t)sizeof(uint64_t),
                                          .prepare = mxsi_signs_prepare,
                                          .arrange = arrange,
                                          .forward = forward,
                                          .adjoint = adjoint_gfni};
#endif
