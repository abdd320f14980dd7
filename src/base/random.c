#include "base/random.h"

#include "base/philox.h"
#include "base/simd.h"

#include <math.h>
#include <string.h>

enum { BATCH = 64 };

static inline __attribute__((always_inline)) void batch(
    uint64_t seed, mxs_stream stream, int64_t row, int64_t first, uint32_t c[4][BATCH]) {
  for (int i = 0; i < BATCH; i++)
    mxs_philox_counter(c[0], BATCH, i, stream, row, (uint64_t)first + (uint64_t)i);
  mxs_philox_rounds(c[0], BATCH, (uint32_t)seed, (uint32_t)(seed >> 32));
}

void mxs_philox4x32(const uint32_t key[2], const uint32_t counter[4], uint32_t out[4]) {
  memcpy(out, counter, 4 * sizeof *out);
  mxs_philox_rounds(out, 1, key[0], key[1]);
}

MXS_SIMD
void mxs_random_words(
    uint64_t seed, mxs_stream stream, int64_t row, int64_t first, int64_t count, uint32_t *words) {
  for (int64_t start = 0; start < count; start += BATCH) {
    uint32_t c[4][BATCH];
    batch(seed, stream, row, first + start, c);
    const int64_t n = count - start < BATCH ? count - start : BATCH;
    for (int64_t i = 0; i < n; i++)
      for (int64_t w = 0; w < 4; w++)
        words[4 * (start + i) + w] = c[w][i];
  }
}

/* log(u) for u = (w + 1/2) 2^-32: u = m 2^e with m in [sqrt(1/2), sqrt(2)), log m = 2 atanh((m - 1)
 * / (m + 1)) as a series to the 21st power; |relative error| < 4e-16. */
static inline __attribute__((always_inline)) double log_uniform(uint32_t w) {
  const double u = ((double)w + 0.5) * 0x1p-32;
  uint64_t bits = 0;
  memcpy(&bits, &u, sizeof bits);
  /* Adding (1 - sqrt(1/2)) in mantissa units carries into the exponent exactly when m >= sqrt(2).
   */
  const uint64_t moved = bits + (0x3FF0000000000000U - 0x3FE6A09E667F3BCDU);
  const int32_t e = (int32_t)(uint32_t)(moved >> 52) - 1023;
  const uint64_t mantissa = (moved & 0x000FFFFFFFFFFFFFU) + 0x3FE6A09E667F3BCDU;
  double m = 0.0;
  memcpy(&m, &mantissa, sizeof m);
  const double s = (m - 1.0) / (m + 1.0);
  const double z = s * s;
  double p = 1.0 / 21.0;
  p = p * z + 1.0 / 19.0;
  p = p * z + 1.0 / 17.0;
  p = p * z + 1.0 / 15.0;
  p = p * z + 1.0 / 13.0;
  p = p * z + 1.0 / 11.0;
  p = p * z + 1.0 / 9.0;
  p = p * z + 1.0 / 7.0;
  p = p * z + 1.0 / 5.0;
  p = p * z + 1.0 / 3.0;
  const double series = 2.0 * s + 2.0 * s * (z * p);
  return (double)e * 0x1.62e42fefa39efp-1 + series;
}

/* (cos t, sin t), t = 2 pi u: u = q / 4 + r exactly, |2 pi r| <= pi / 4, Taylor series to the 17th
 * power. */
static inline __attribute__((always_inline)) void cos_sin(uint32_t w,
                                                          double *cosine,
                                                          double *sine) {
  const uint32_t q = (w + 0x20000000U) >> 30;
  const double r = ((double)(int32_t)(w - (q << 30)) + 0.5) * 0x1p-32;
  const double x = r * 0x1.921fb54442d18p+2;
  const double z = x * x;
  double s = 1.0 / 355687428096000.0;
  s = s * z - 1.0 / 1307674368000.0;
  s = s * z + 1.0 / 6227020800.0;
  s = s * z - 1.0 / 39916800.0;
  s = s * z + 1.0 / 362880.0;
  s = s * z - 1.0 / 5040.0;
  s = s * z + 1.0 / 120.0;
  s = s * z - 1.0 / 6.0;
  s = x + x * (z * s);
  double c = 1.0 / 20922789888000.0;
  c = c * z - 1.0 / 87178291200.0;
  c = c * z + 1.0 / 479001600.0;
  c = c * z - 1.0 / 3628800.0;
  c = c * z + 1.0 / 40320.0;
  c = c * z - 1.0 / 720.0;
  c = c * z + 1.0 / 24.0;
  c = c * z - 0.5;
  c = 1.0 + z * c;
  const double a = (q & 1U) ? s : c;
  const double b = (q & 1U) ? c : s;
  *cosine = ((q + 1U) & 2U) ? -a : a;
  *sine = (q & 2U) ? -b : b;
}

MXS_SIMD
void mxs_random_gaussian(
    uint64_t seed, mxs_stream stream, int64_t row, int64_t first, int64_t count, double *values) {
  for (int64_t start = 0; start < count; start += BATCH) {
    uint32_t c[4][BATCH];
    double g[4][BATCH];
    batch(seed, stream, row, first + start, c);
    for (int pair = 0; pair < 4; pair += 2) {
      for (int i = 0; i < BATCH; i++) {
        const double radius = sqrt(-2.0 * log_uniform(c[pair][i]));
        double cosine = 0.0;
        double sine = 0.0;
        cos_sin(c[pair + 1][i], &cosine, &sine);
        g[pair][i] = radius * cosine;
        g[pair + 1][i] = radius * sine;
      }
    }
    const int64_t n = count - start < BATCH ? count - start : BATCH;
    for (int64_t i = 0; i < n; i++)
      for (int64_t w = 0; w < 4; w++)
        values[4 * (start + i) + w] = g[w][i];
  }
}

void mxs_random_gaussian_row(
    uint64_t seed, mxs_stream stream, int64_t row, int64_t count, double *values) {
  const int64_t whole = count / 4;
  mxs_random_gaussian(seed, stream, row, 0, whole, values);
  if (count % 4 != 0) {
    double last[4];
    mxs_random_gaussian(seed, stream, row, whole, 1, last);
    memcpy(values + 4 * whole, last, (size_t)(count % 4) * sizeof *values);
  }
}

double mxs_random_uniform(uint64_t seed, mxs_stream stream, int64_t row) {
  uint32_t words[4];
  mxs_random_words(seed, stream, row, 0, 1, words);
  const uint64_t bits = ((uint64_t)words[1] << 32 | words[0]) >> 12;
  return ((double)bits + 0.5) * 0x1p-52;
}
