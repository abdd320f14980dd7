/** @file
 *  What the kernels of bytes for AVX-512 share. Room `op`. */
#ifndef MXS_OP_SIGNS_BYTES_H
#define MXS_OP_SIGNS_BYTES_H

#include "op/signs_levels.h"

#if MXS_SIGNS_X86
#include <immintrin.h>

#define MXS_AVX512_INLINE                                                                          \
  __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl"))) static inline                      \
      __attribute__((always_inline))

enum { MXS_QUAD = 4 /**< rows whose bytes share a lane of 32 bits */ };

/** mxs_signs_kernel.arrange for levels; needs avx512vbmi. Local. */
void mxsi_levels_arrange(const uint64_t *words, int64_t ld, int64_t row, const mxs_tiles *to);

/** The bytes of four rows next to each other, for the columns 16 k + 4 v .. 16 k + 4 v + 3, k = 0
 * .. 3, in vector v = first, first + 1. */
MXS_AVX512_INLINE void mxs_interleave(const uint8_t *b, int first, __m512i out[2]) {
  __m512i row[MXS_QUAD], pair[2];
  for (int64_t i = 0; i < MXS_QUAD; i++)
    row[i] = _mm512_load_si512(b + i * MXS_TILE);
  for (int64_t h = 0; h < 2; h++)
    pair[h] = first == 0 ? _mm512_unpacklo_epi8(row[2 * h], row[2 * h + 1])
                         : _mm512_unpackhi_epi8(row[2 * h], row[2 * h + 1]);
  out[0] = _mm512_unpacklo_epi16(pair[0], pair[1]);
  out[1] = _mm512_unpackhi_epi16(pair[0], pair[1]);
}

/** sum_l 256^l sum[l], 16 lanes as two vectors. Two digits fit 32 bits: 64 255 128 (1 + 256) < 2^30
 * of a strip. */
MXS_AVX512_INLINE void mxs_combine(const __m512i sum[MXS_DIGITS], __m512i out[2]) {
  for (int64_t h = 0; h < 2; h++)
    out[h] = _mm512_setzero_si512();
  for (int l = MXS_DIGITS - 1; l >= 0; l -= 2) {
    const __m512i two =
        l == 0 ? sum[0] : _mm512_add_epi32(sum[l - 1], _mm512_slli_epi32(sum[l], 8));
    for (int64_t h = 0; h < 2; h++) {
      const __m256i half = h == 0 ? _mm512_castsi512_si256(two) : _mm512_extracti64x4_epi64(two, 1);
      const __m512i before = _mm512_slli_epi64(out[h], l == 0 ? 8 : 16);
      out[h] = _mm512_add_epi64(before, _mm512_cvtepi32_epi64(half));
    }
  }
}

/** G_j of the columns of vector v of a tile (mxs_interleave) from the sums of its digits. */
MXS_AVX512_INLINE void mxs_put_columns(const __m512i sum[MXS_DIGITS], int64_t v, int64_t *G) {
  __m512i out[2];
  mxs_combine(sum, out);
  for (int64_t h = 0; h < 2; h++) {
    int64_t *to = G + h * 32 + v * MXS_QUAD;
    _mm256_store_si256((__m256i *)to, _mm512_castsi512_si256(out[h]));
    _mm256_store_si256((__m256i *)(to + 16), _mm512_extracti64x4_epi64(out[h], 1));
  }
}
#endif

#endif
