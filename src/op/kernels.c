#include "op/kernels.h"

#include "base/simd.h"

#include <string.h>

#define INLINE static inline __attribute__((always_inline))

/* Storage is a constant in every caller, so each kernel is compiled for its own. */
typedef enum element { F64, F32 } element;

INLINE mxs_lanes load_f64(const double *p) {
  mxs_lanes v;
  memcpy(&v, p, sizeof v);
  return v;
}

INLINE mxs_lanes load(element e, const void *row, int64_t j) {
  if (e == F64)
    return load_f64((const double *)row + j);
  mxs_flanes v;
  memcpy(&v, (const float *)row + j, sizeof v);
  return __builtin_convertvector(v, mxs_lanes);
}

INLINE double entry(element e, const void *row, int64_t j) {
  return e == F64 ? ((const double *)row)[j] : (double)((const float *)row)[j];
}

INLINE double sum_lanes(mxs_lanes v) {
  return ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7]));
}

/* z_i = <a_i, x>; two accumulators a row hide the latency of the addition. */
INLINE void forward(
    element e, int64_t n, const void *const r[MXS_GROUP], const double *x, double *z) {
  const int64_t stride = 2 * (int64_t)MXS_LANES;
  mxs_lanes even[MXS_GROUP] = {{0}};
  mxs_lanes odd[MXS_GROUP] = {{0}};
  int64_t j = 0;
  for (; j + stride <= n; j += stride) {
    const mxs_lanes x0 = load_f64(x + j);
    const mxs_lanes x1 = load_f64(x + j + MXS_LANES);
    for (int i = 0; i < MXS_GROUP; i++) {
      even[i] += load(e, r[i], j) * x0;
      odd[i] += load(e, r[i], j + MXS_LANES) * x1;
    }
  }
  for (int i = 0; i < MXS_GROUP; i++)
    z[i] = sum_lanes(even[i] + odd[i]);
  for (; j < n; j++)
    for (int i = 0; i < MXS_GROUP; i++)
      z[i] += entry(e, r[i], j) * x[j];
}

/* g += sum_i c_i a_i. */
INLINE void adjoint(
    element e, int64_t n, const void *const r[MXS_GROUP], const double *c, double *g) {
  int64_t j = 0;
  for (; j + MXS_LANES <= n; j += MXS_LANES) {
    mxs_lanes sum = load_f64(g + j);
    for (int i = 0; i < MXS_GROUP; i++)
      sum += load(e, r[i], j) * c[i];
    memcpy(g + j, &sum, sizeof sum);
  }
  for (; j < n; j++)
    for (int i = 0; i < MXS_GROUP; i++)
      g[j] += entry(e, r[i], j) * c[i];
}

/* A short group repeats its last row with coefficient 0. */
INLINE void kernel(element e, const mxs_single *group, int64_t n, const void *a) {
  const void *r[MXS_GROUP];
  double c[MXS_GROUP] = {0};
  const int64_t row_bytes = n * (int64_t)(e == F64 ? sizeof(double) : sizeof(float));
  for (int64_t i = 0; i < MXS_GROUP; i++)
    r[i] = (const char *)a + (i < group->count ? i : group->count - 1) * row_bytes;
  if (group->x != NULL) {
    double z[MXS_GROUP];
    forward(e, n, r, group->x, z);
    for (int64_t i = 0; i < group->count; i++)
      group->w[i] = group->y != NULL ? z[i] - group->y[i] : z[i];
  }
  if (group->g == NULL)
    return;
  for (int64_t i = 0; i < group->count; i++)
    c[i] = group->weight != NULL ? group->weight[i] * group->w[i] : group->w[i];
  adjoint(e, n, r, c, group->g);
}

MXS_SIMD
void mxsi_kernel_f64(const mxs_single *group, int64_t n, const double *a) {
  kernel(F64, group, n, a);
}

MXS_SIMD
void mxsi_kernel_f32(const mxs_single *group, int64_t n, const float *a) {
  kernel(F32, group, n, a);
}
