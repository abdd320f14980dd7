#include "base/simd.h"
#include "base/stream.h"
#include "op/signs.h"
#include "op/signs_levels.h"

MXS_SIMD
static void expand_signs(const uint64_t *words, int64_t entries, double *row) {
  for (int64_t j = 0; j < entries; j++)
    row[j] = 1.0 - 2.0 * (double)((words[j / MXS_TILE] >> (j % MXS_TILE)) & 1U);
}

static void expand_levels(const uint64_t *words, int64_t entries, double *row) {
  for (int64_t j = 0; j < entries; j++) {
    const unsigned v = (unsigned)(words[j / 8] >> (8 * (j % 8))) & 0xFFU;
    row[j] = MXS_LEVEL_UNIT * (double)((int)mxs_level_byte(v) - 128);
  }
}

void mxsi_signs_row(int levels, uint64_t seed, int64_t entries, int64_t row, double *values) {
  uint64_t words[MXS_STREAM_CHUNK];
  const int64_t per_word = levels ? 8 : MXS_TILE;
  const int64_t chunk = MXS_STREAM_CHUNK * per_word;
  for (int64_t start = 0; start < entries; start += chunk) {
    const int64_t n = entries - start < chunk ? entries - start : chunk;
    const int64_t count =
        ((n + per_word - 1) / per_word + MXS_STREAM_STEP - 1) / MXS_STREAM_STEP * MXS_STREAM_STEP;
    mxs_stream_rows(seed, MXS_STREAM_ENSEMBLE, row, 1, start / per_word, count, words, count);
    if (levels)
      expand_levels(words, n, values + start);
    else
      expand_signs(words, n, values + start);
  }
}
