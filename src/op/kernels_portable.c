/* Plain C. A fused multiply-add is a call of the C library on processors that have no such
 * instruction: slow there, but the same bits. */
#include "base/simd.h"
#include "op/kernels.h"

#define NAME "portable"
#define TARGET
#define WIDE 0

typedef struct vec {
  double v[MXS_LANES];
} vec;

#define VEC static inline __attribute__((always_inline))

VEC vec vec_all(double v) {
  vec out;
  for (int l = 0; l < MXS_LANES; l++)
    out.v[l] = v;
  return out;
}

VEC vec vec_get(const double *p) {
  vec out;
  memcpy(&out, p, sizeof out);
  return out;
}

VEC void vec_put(double *p, vec v) {
  memcpy(p, &v, sizeof v);
}

VEC vec vec_fma(vec a, vec b, vec c) {
  for (int l = 0; l < MXS_LANES; l++)
    c.v[l] = __builtin_fma(a.v[l], b.v[l], c.v[l]);
  return c;
}

VEC vec vec_from_f32(const float *p) {
  vec out;
  for (int l = 0; l < MXS_LANES; l++)
    out.v[l] = (double)p[l];
  return out;
}

VEC void vec_from_bf16(const uint16_t *p, vec *low, vec *high) {
  for (int64_t l = 0; l < MXS_LANES; l++) {
    low->v[l] = mxsi_entry(MXS_STORAGE_BF16, p, 2 * l);
    high->v[l] = mxsi_entry(MXS_STORAGE_BF16, p, 2 * l + 1);
  }
}

#include "op/kernels_body.h"

const mxs_kernels *mxsi_kernels_portable(void) {
  return &table;
}
