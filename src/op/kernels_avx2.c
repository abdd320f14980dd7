#include "base/simd.h"
#include "op/kernels.h"

#ifdef __x86_64__
#include <immintrin.h>

#define NAME "AVX2"
#define TARGET __attribute__((target("avx2,fma")))
#define WIDE 0

typedef struct vec {
  __m256d low, high;
} vec;

#define VEC static inline __attribute__((always_inline)) TARGET

VEC vec vec_all(double v) {
  return (vec){_mm256_set1_pd(v), _mm256_set1_pd(v)};
}

VEC vec vec_get(const double *p) {
  return (vec){_mm256_loadu_pd(p), _mm256_loadu_pd(p + 4)};
}

VEC void vec_put(double *p, vec v) {
  _mm256_storeu_pd(p, v.low);
  _mm256_storeu_pd(p + 4, v.high);
}

VEC vec vec_fma(vec a, vec b, vec c) {
  return (vec){_mm256_fmadd_pd(a.low, b.low, c.low), _mm256_fmadd_pd(a.high, b.high, c.high)};
}

VEC vec widen_f32(__m256 v) {
  return (vec){_mm256_cvtps_pd(_mm256_castps256_ps128(v)),
               _mm256_cvtps_pd(_mm256_extractf128_ps(v, 1))};
}

VEC vec vec_from_f32(const float *p) {
  return widen_f32(_mm256_loadu_ps(p));
}

VEC void vec_from_bf16(const uint16_t *p, vec *low, vec *high) {
  const __m256i words = _mm256_loadu_si256((const __m256i *)(const void *)p);
  const __m256i upper = _mm256_set1_epi32(-65536);
  *low = widen_f32(_mm256_castsi256_ps(_mm256_slli_epi32(words, 16)));
  *high = widen_f32(_mm256_castsi256_ps(_mm256_and_si256(words, upper)));
}

#include "op/kernels_body.h"

const mxs_kernels *mxsi_kernels_avx2(void) {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? &table : NULL;
}
#else
const mxs_kernels *mxsi_kernels_avx2(void) {
  return NULL;
}
#endif
