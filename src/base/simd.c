#include "base/simd.h"

#include <string.h>

MXS_SIMD
int64_t mxs_largest_bits(const double *v, int64_t n) {
  int64_t largest = 0;
  for (int64_t i = 0; i < n; i++) {
    int64_t bits = 0;
    memcpy(&bits, &v[i], sizeof bits);
    bits &= INT64_MAX;
    largest = bits > largest ? bits : largest;
  }
  return largest;
}
