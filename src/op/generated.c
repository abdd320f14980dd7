#include "base/random.h"
#include "base/simd.h"
#include "op/kernels.h"
#include "op/op.h"
#include "op/signs.h"

#include <string.h>

enum { WORDS_AT_ONCE = 1024 };

typedef struct gaussian {
  int64_t entries;
  uint64_t seed;
  double *tile; /* MXS_GROUP rows */
} gaussian;

static void gaussian_destroy(void *self) {
  gaussian *ensemble = self;
  mxs_release(&ensemble->tile);
  mxs_release(&ensemble);
}

static mxs_status gaussian_create(int64_t entries, uint64_t seed, gaussian **out) {
  gaussian *ensemble = NULL;
  MXS_TRY(mxs_alloc(1, sizeof *ensemble, &ensemble));
  ensemble->entries = entries;
  ensemble->seed = seed;
  const mxs_status status = mxs_alloc(MXS_GROUP * entries, sizeof *ensemble->tile, &ensemble->tile);
  if (status != MXS_OK) {
    gaussian_destroy(ensemble);
    return status;
  }
  *out = ensemble;
  return MXS_OK;
}

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
  for (int64_t i = 0; i < count; i++) {
    if (ensemble == MXS_ENSEMBLE_RADEMACHER)
      rademacher_row(seed, entries, first + i, rows + i * entries);
    else
      mxs_random_gaussian_row(seed, MXS_STREAM_ENSEMBLE, first + i, entries, rows + i * entries);
  }
}

/* Rows are made a group at a time, in cache, and used for both directions. */
static mxs_status gaussian_pass(void *self, const mxs_pass *pass) {
  const gaussian *ensemble = self;
  for (int64_t done = 0; done < pass->count; done += MXS_GROUP) {
    const mxs_pass group = mxsi_pass_part(pass, done, MXS_GROUP);
    mxsi_generated_rows(MXS_ENSEMBLE_GAUSSIAN, ensemble->seed, ensemble->entries, group.first,
                        group.count, ensemble->tile);
    for (int64_t r = 0; r < pass->replicas; r++) {
      const mxs_single single = mxsi_pass_single(&group, r);
      mxsi_kernel_f64(&single, ensemble->entries, ensemble->tile);
    }
  }
  return MXS_OK;
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

static const mxs_op_table gaussian_table = {
    .name = "gaussian", .pass = gaussian_pass, .destroy = gaussian_destroy};

static const mxs_op_table rademacher_table = {
    .name = "rademacher", .pass = rademacher_pass, .destroy = rademacher_destroy};

mxs_status mxsi_generated_create(mxs_ensemble ensemble,
                                 int64_t entries,
                                 uint64_t seed,
                                 const mxs_op_table **table,
                                 void **self) {
  *self = NULL;
  if (ensemble == MXS_ENSEMBLE_RADEMACHER) {
    mxs_signs *signs = NULL;
    MXS_TRY(mxsi_signs_create(entries, ensemble, seed, NULL, &signs));
    *table = &rademacher_table;
    *self = signs;
  } else {
    gaussian *normal = NULL;
    MXS_TRY(gaussian_create(entries, seed, &normal));
    *table = &gaussian_table;
    *self = normal;
  }
  return MXS_OK;
}
