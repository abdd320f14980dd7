#include "base/stream.h"
#include "mxsense/base.h"
#include "op/signs_kernel.h"

#include <string.h>

enum {
  KERNELS = 5,
  TRIAL = 8, /* tiles */
  COLUMNS = TRIAL * MXS_TILE,
  WORDS = COLUMNS / 8 /* of a row of bytes */
};

static const mxs_signs_kernel *const kernels[2][KERNELS] = {
#if MXS_SIGNS_X86
    {&mxsi_signs_gfni, &mxsi_signs_avx512, &mxsi_signs_portable},
    {&mxsi_levels_amx, &mxsi_levels_vnni, &mxsi_levels_avx2, &mxsi_levels_portable}
#else
    {&mxsi_signs_portable}, {&mxsi_levels_portable}
#endif
};

const mxs_signs_kernel *mxsi_signs_kernel(int levels, int i) {
  return i < KERNELS ? kernels[levels][i] : NULL;
}

/* What a trial needs, and what comes out of it. */
typedef struct trial {
  uint64_t words[MXS_STRIP][WORDS];
  int64_t x[MXS_PAIR][COLUMNS], r[MXS_PAIR][MXS_STRIP];
  mxs_wide sums[MXS_PAIR * MXS_STRIP];
  double g[MXS_PAIR][COLUMNS];
  char prepared[TRIAL * MXS_MOST_PREPARED], arranged[TRIAL * MXS_MOST_ARRANGED];
} trial;

/* Random entries and numbers of all sizes, the largest ones among them. */
static void fill(trial *t) {
  mxs_stream_rows(0, MXS_STREAM_NOISE, 0, MXS_STRIP, 0, WORDS, t->words[0], WORDS);
  mxs_stream_rows(1, MXS_STREAM_NOISE, 0, MXS_PAIR, 0, COLUMNS, (uint64_t *)t->x[0], COLUMNS);
  mxs_stream_rows(2, MXS_STREAM_NOISE, 0, MXS_PAIR, 0, MXS_STRIP, (uint64_t *)t->r[0], MXS_STRIP);
  for (int64_t p = 0; p < MXS_PAIR; p++) {
    for (int64_t j = 0; j < COLUMNS; j++)
      t->x[p][j] /= INT64_C(1) << (63 - MXS_X_BITS + j % 40);
    for (int64_t i = 0; i < MXS_STRIP; i++)
      t->r[p][i] /= INT64_C(1) << (63 - MXS_R_BITS_OF_LEVELS + i % 40);
  }
}

static void run(const mxs_signs_kernel *kernel, trial *t) {
  const mxs_tiles tiles = {.entries = t->arranged, .count = TRIAL, .rows = MXS_STRIP};
  for (int64_t row = 0; row < MXS_STRIP; row += MXS_OCTET)
    kernel->arrange(t->words[row], WORDS, row, &tiles);
  for (int64_t p = 0; p < MXS_PAIR; p += kernel->together) {
    const int64_t *x[MXS_PAIR] = {t->x[p], t->x[MXS_PAIR - 1]};
    mxs_gradient to[MXS_PAIR];
    for (int64_t q = 0; q < kernel->together; q++)
      to[q] = (mxs_gradient){.r = t->r[p + q], .factor = 1, .unit = 1.0, .g = t->g[p + q]};
    kernel->prepare(x, TRIAL, t->prepared);
    kernel->forward(&tiles, t->prepared, t->sums + p * MXS_STRIP);
    kernel->adjoint(&tiles, to, COLUMNS);
  }
}

int mxsi_signs_agrees(int levels, const mxs_signs_kernel *kernel) {
  trial *t[2] = {NULL, NULL};
  int same = 0;
  if (mxs_alloc(1, sizeof *t[0], &t[0]) == MXS_OK && mxs_alloc(1, sizeof *t[1], &t[1]) == MXS_OK) {
    fill(t[0]);
    fill(t[1]);
    run(levels ? &mxsi_levels_portable : &mxsi_signs_portable, t[0]);
    run(kernel, t[1]);
    same = memcmp(t[0]->sums, t[1]->sums, sizeof t[0]->sums) == 0;
    for (int64_t j = 0; j < COLUMNS; j++)
      for (int64_t p = 0; p < MXS_PAIR; p++)
        same = same && t[0]->g[p][j] == t[1]->g[p][j];
  }
  mxs_release(&t[0]);
  mxs_release(&t[1]);
  return same;
}

const mxs_signs_kernel *mxsi_signs_choose(int levels) {
  const mxs_signs_kernel *portable = levels ? &mxsi_levels_portable : &mxsi_signs_portable;
  for (int i = 0; mxsi_signs_kernel(levels, i) != portable; i++) {
    const mxs_signs_kernel *kernel = mxsi_signs_kernel(levels, i);
    if (kernel->available() && mxsi_signs_agrees(levels, kernel))
      return kernel;
  }
  return portable;
}
