#include "base/random.h"
#include "base/simd.h"
#include "op/gaussian.h"
#include "op/op.h"
#include "op/signs.h"

#include <string.h>

enum { WORDS_AT_ONCE = 1024 };

/* Bit b of a word is the sign of entry b: the bit moves to the sign of 1.0. */
MXS_SIMD
static void expand_signs(const uint32_t *words, int64_t entries, double *row) {
  const double one = 1.0;
  uint64_t pattern = 0;
  memcpy(&pattern, &one, sizeof pattern);
  const int64_t whole = entries / 32;
  for (int64_t w = 0; w < whole; w++) {
    for (int b = 0; b < 32; b++) {
      const uint64_t bits = pattern | (uint64_t)(words[w] >> b) << 63;
      memcpy(&row[32 * w + b], &bits, sizeof bits);
    }
  }
  for (int64_t j = 32 * whole; j < entries; j++)
    row[j] = (words[whole] >> (j % 32)) & 1U ? -1.0 : 1.0;
}

static void rademacher_row(uint64_t seed, int64_t entries, int64_t i, double *row) {
  uint32_t words[WORDS_AT_ONCE];
  const int64_t chunk = 32 * (int64_t)WORDS_AT_ONCE;
  for (int64_t start = 0; start < entries; start += chunk) {
    const int64_t n = entries - start < chunk ? entries - start : chunk;
    mxs_random_words(seed, MXS_STREAM_ENSEMBLE, i, start / 128, (n + 127) / 128, words);
    expand_signs(words, n, row + start);
  }
}

void mxsi_generated_rows(mxs_ensemble ensemble,
                         uint64_t seed,
                         int64_t entries,
                         int64_t first,
                         int64_t count,
                         double *rows) {
  if (ensemble == MXS_ENSEMBLE_GAUSSIAN) {
    mxsi_gaussian_rows(seed, entries, first, count, rows);
    return;
  }
  for (int64_t i = 0; i < count; i++)
    rademacher_row(seed, entries, first + i, rows + i * entries);
}

static mxs_status rademacher_pass(void *self, const mxs_pass *pass) {
  for (int64_t r = 0; r < pass->replicas; r++) {
    const mxs_single single = mxsi_pass_single(pass, r);
    mxsi_signs_pass(self, pass->first, &single);
  }
  return MXS_OK;
}

static void rademacher_destroy(void *self) {
  mxs_signs *signs = self;
  mxsi_signs_destroy(&signs);
}

static const mxs_op_table rademacher_table = {
    .name = "rademacher", .pass = rademacher_pass, .destroy = rademacher_destroy};

mxs_status mxsi_generated_create(mxs_ensemble ensemble,
                                 int64_t entries,
                                 uint64_t seed,
                                 const mxs_op_table **table,
                                 void **self) {
  *self = NULL;
  if (ensemble == MXS_ENSEMBLE_GAUSSIAN) {
    *table = &mxsi_op_gaussian;
    return mxsi_gaussian_create(entries, seed, MXS_GAUSSIAN_CACHE, self);
  }
  mxs_signs *signs = NULL;
  MXS_TRY(mxsi_signs_create(entries, seed, &signs));
  *table = &rademacher_table;
  *self = signs;
  return MXS_OK;
}
