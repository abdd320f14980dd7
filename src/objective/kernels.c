/* | symbol | meaning                                        |
 * |--------|------------------------------------------------|
 * | A      | a measurement, n1 x n2                         |
 * | U, Vt  | the point: n1 x k, and k x n2                  |
 * | C      | (A^T U)^T, k x n2: sums over the rows so far   |
 * | J, t   | rows of the Jacobian, and t = J d of a group   |
 *
 * Compiled with contraction of products into sums (CMakeLists.txt). */
#include "objective/kernels.h"

#include "base/simd.h"

#include <string.h>

enum {
  LANES = MXSI_TANGENT_LANES,
  COLUMNS = 5,             /* of the factors at a time, at most */
  PANEL_BYTES = 48 << 10,  /* of A, between its two products */
  GROUP_BYTES = 128 << 10, /* of J, between its two products */
  GROUP = 8                /* rows, at most */
};

typedef float singles __attribute__((vector_size(32)));

#define TARGET
#define FUNCTION(name) name##_plain
#include "objective/kernels_body.h"
#undef TARGET
#undef FUNCTION

#if defined(__x86_64__)
#define TARGET __attribute__((target("avx2,fma")))
#define FUNCTION(name) name##_avx2
#include "objective/kernels_body.h"
#undef TARGET
#undef FUNCTION

#define TARGET __attribute__((target("avx512f,avx512dq,avx512vl,avx512bw,avx2,fma")))
#define FUNCTION(name) name##_avx512
#include "objective/kernels_body.h"
#undef TARGET
#undef FUNCTION
#endif

typedef struct loops {
  void (*tangent_row)(const mxsi_tangent *at, const double *A, double *row);
  double (*dot)(const double *a, const double *b, int64_t n);
  void (*axpy)(double s, const double *a, double *b, int64_t n);
  void (*to_single)(const double *a, float *to, int64_t n);
  void (*normal_rows)(const float *J, int64_t rows, int64_t ld, const double *d, double *out);
} loops;

#define LOOPS(set)                                                                                 \
  static const loops set = {tangent_row_##set, dot_##set, axpy_##set, to_single_##set,             \
                            normal_rows_##set}

LOOPS(plain);
#if defined(__x86_64__)
LOOPS(avx2);
LOOPS(avx512);
#endif

static const loops *chosen(void) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw"))
    return &avx512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    return &avx2;
#endif
  return &plain;
}

void mxsi_tangent_row(const mxsi_tangent *at, const double *A, double *row) {
  chosen()->tangent_row(at, A, row);
}

double mxsi_dot(const double *a, const double *b, int64_t n) {
  return chosen()->dot(a, b, n);
}

void mxsi_axpy(double s, const double *a, double *b, int64_t n) {
  chosen()->axpy(s, a, b, n);
}

void mxsi_to_single(const double *a, float *to, int64_t n) {
  chosen()->to_single(a, to, n);
}

void mxsi_normal_rows(const float *J, int64_t rows, int64_t ld, const double *d, double *out) {
  chosen()->normal_rows(J, rows, ld, d, out);
}
