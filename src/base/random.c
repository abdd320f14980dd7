#include "base/random.h"

#include "base/normal.h"
#include "base/philox.h"
#include "base/simd.h"

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

void mxs_random_gaussian(
    uint64_t seed, mxs_stream stream, int64_t row, int64_t first, int64_t count, double *values) {
  enum { PAIRS = 2 * BATCH };
  for (int64_t start = 0; start < count; start += BATCH) {
    uint32_t words[2 * PAIRS];
    uint64_t pairs[PAIRS] = {0};
    double normals[2 * PAIRS];
    const int64_t n = count - start < BATCH ? count - start : BATCH;
    mxs_random_words(seed, stream, row, first + start, n, words);
    for (int64_t i = 0; i < 2 * n; i++)
      pairs[i] = words[2 * i] | (uint64_t)words[2 * i + 1] << 32;
    const int64_t steps = (2 * n + MXS_NORMAL_STEP - 1) / MXS_NORMAL_STEP;
    mxs_normal_pairs(steps * MXS_NORMAL_STEP, pairs, normals);
    for (int64_t i = 0; i < 2 * n; i++)
      for (int64_t half = 0; half < 2; half++)
        values[4 * start + 2 * i + half] =
            normals[i + (i / MXS_NORMAL_STEP + half) * MXS_NORMAL_STEP];
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
