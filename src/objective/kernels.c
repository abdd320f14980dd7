/* | symbol | meaning                                        |
 * |--------|------------------------------------------------|
 * | A      | a measurement, n1 x n2                         |
 * | U, Vt  | the point: n1 x k, and k x n2                  |
 * | C      | (A^T U)^T, k x n2: sums over the rows so far   |
 * | J, t   | rows of the Jacobian, and t = J d of a group   |
 */
#include "objective/kernels.h"

#include <string.h>
#ifdef __x86_64__
#include <immintrin.h>
#endif

#define LANES ((int64_t)MXSI_TANGENT_LANES)

enum {
  PANEL_BYTES = 16 << 10,  /* of A, between its two products, */
  PANEL_ROWS = 8,          /* but so many rows at least: C is read and written once a panel */
  GROUP_BYTES = 128 << 10, /* of J, between its two products */
  GROUP = 8                /* rows, at most */
};

#define INLINE static inline __attribute__((always_inline)) TARGET

/* Plain C: a fused multiply-add is a call of the C library on processors that have no such
 * instruction, slow there, but the same bits. */
typedef struct eight {
  double v[LANES];
} eight;

#define TARGET
#define FUNCTION(name) name##_plain
#define VEC eight
#define ROWS 1
#define COLUMNS 5

INLINE eight all_plain(double v) {
  return (eight){{v, v, v, v, v, v, v, v}};
}

INLINE eight get_plain(const double *p) {
  eight v;
  memcpy(&v, p, sizeof v);
  return v;
}

INLINE void put_plain(double *p, eight v) {
  memcpy(p, &v, sizeof v);
}

INLINE eight fma_plain(eight a, eight b, eight c) {
  for (int64_t l = 0; l < LANES; l++)
    c.v[l] = __builtin_fma(a.v[l], b.v[l], c.v[l]);
  return c;
}

INLINE eight widen_plain(const float *p) {
  eight v;
  for (int64_t l = 0; l < LANES; l++)
    v.v[l] = (double)p[l];
  return v;
}

#include "objective/kernels_body.h"
#undef TARGET
#undef FUNCTION
#undef VEC
#undef ROWS
#undef COLUMNS

#ifdef __x86_64__
typedef struct halves {
  __m256d low, high;
} halves;

#define TARGET __attribute__((target("avx2,fma")))
#define FUNCTION(name) name##_avx2
#define VEC halves
#define ROWS 1
#define COLUMNS 5

INLINE halves all_avx2(double v) {
  return (halves){_mm256_set1_pd(v), _mm256_set1_pd(v)};
}

INLINE halves get_avx2(const double *p) {
  return (halves){_mm256_loadu_pd(p), _mm256_loadu_pd(p + 4)};
}

INLINE void put_avx2(double *p, halves v) {
  _mm256_storeu_pd(p, v.low);
  _mm256_storeu_pd(p + 4, v.high);
}

INLINE halves fma_avx2(halves a, halves b, halves c) {
  return (halves){_mm256_fmadd_pd(a.low, b.low, c.low), _mm256_fmadd_pd(a.high, b.high, c.high)};
}

INLINE halves widen_avx2(const float *p) {
  return (halves){_mm256_cvtps_pd(_mm_loadu_ps(p)), _mm256_cvtps_pd(_mm_loadu_ps(p + 4))};
}

#include "objective/kernels_body.h"
#undef TARGET
#undef FUNCTION
#undef VEC
#undef ROWS
#undef COLUMNS

#define TARGET __attribute__((target("avx512f,avx512dq,avx512vl,avx512bw,avx2,fma")))
#define FUNCTION(name) name##_avx512
#define VEC __m512d
#define ROWS 2
#define COLUMNS 10

INLINE __m512d all_avx512(double v) {
  return _mm512_set1_pd(v);
}

INLINE __m512d get_avx512(const double *p) {
  return _mm512_loadu_pd(p);
}

INLINE void put_avx512(double *p, __m512d v) {
  _mm512_storeu_pd(p, v);
}

INLINE __m512d fma_avx512(__m512d a, __m512d b, __m512d c) {
  return _mm512_fmadd_pd(a, b, c);
}

INLINE __m512d widen_avx512(const float *p) {
  return _mm512_cvtps_pd(_mm256_loadu_ps(p));
}

#include "objective/kernels_body.h"
#undef TARGET
#undef FUNCTION
#undef VEC
#undef ROWS
#undef COLUMNS
#endif

#define LOOPS(set)                                                                                 \
  static const mxsi_loops set = {tangent_row_##set, dot_##set, axpy_##set, to_single_##set,        \
                                 normal_rows_##set}

LOOPS(plain);
#ifdef __x86_64__
LOOPS(avx2);
LOOPS(avx512);
#endif

const mxsi_loops *mxsi_loops_of(int set) {
#ifdef __x86_64__
  const int has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const int has_avx512 = has_avx2 && __builtin_cpu_supports("avx512f") &&
                         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                         __builtin_cpu_supports("avx512bw");
  if (set == 2)
    return has_avx512 ? &avx512 : NULL;
  if (set == 1)
    return has_avx2 ? &avx2 : NULL;
#endif
  return set == 0 ? &plain : NULL;
}

const mxsi_loops *mxsi_loops_fastest(void) {
  for (int set = MXSI_LOOPS - 1; set > 0; set--)
    if (mxsi_loops_of(set) != NULL)
      return mxsi_loops_of(set);
  return mxsi_loops_of(0);
}
