#include "base/simd.h"
#include "op/kernels.h"

#ifdef __x86_64__
#include <immintrin.h>

#define NAME "AVX-512"
#define TARGET __attribute__((target("avx512f,avx512dq,avx512vl,avx512bw,avx2,fma")))
#define WIDE 1

typedef __m512d vec;

#define VEC static inline __attribute__((always_inline)) TARGET

VEC vec vec_all(double v) {
  return _mm512_set1_pd(v);
}

VEC vec vec_get(const double *p) {
  return _mm512_loadu_pd(p);
}

VEC void vec_put(double *p, vec v) {
  _mm512_storeu_pd(p, v);
}

VEC vec vec_fma(vec a, vec b, vec c) {
  return _mm512_fmadd_pd(a, b, c);
}

VEC vec vec_from_f32(const float *p) {
  return _mm512_cvtps_pd(_mm256_loadu_ps(p));
}

VEC void vec_from_bf16(const uint16_t *p, vec *low, vec *high) {
  const __m256i words = _mm256_loadu_si256((const __m256i *)(const void *)p);
  const __m256i upper = _mm256_set1_epi32(-65536);
  *low = _mm512_cvtps_pd(_mm256_castsi256_ps(_mm256_slli_epi32(words, 16)));
  *high = _mm512_cvtps_pd(_mm256_castsi256_ps(_mm256_and_si256(words, upper)));
}

#include "op/kernels_body.h"

const mxs_kernels *mxsi_kernels_avx512(void) {
  const int has = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                  __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("fma");
  return has ? &table : NULL;
}
#else
const mxs_kernels *mxsi_kernels_avx512(void) {
  return NULL;
}
#endif
