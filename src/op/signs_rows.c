#include "base/simd.h"
#include "base/stream.h"
#include "op/signs.h"
#include "op/signs_levels.h"

#include <string.h>

enum { BYTES = 8, LEVELS = 256, TOGETHER = 4 /* rows made side by side */ };

typedef uint64_t words_lanes __attribute__((vector_size(64)));

/* Bit 8 part + l of the word becomes the sign of lane l. */
MXS_SIMD
void mxsi_signs_expand(const uint64_t *words, int64_t entries, double *row) {
  const words_lanes place = {63, 62, 61, 60, 59, 58, 57, 56};
  const words_lanes sign = (words_lanes){0} + (UINT64_C(1) << 63);
  const words_lanes one = (words_lanes){0} + UINT64_C(0x3FF0000000000000);
  const int64_t whole = entries / MXS_TILE;
  for (int64_t w = 0; w < whole; w++)
    for (int64_t part = 0; part < MXS_TILE / MXS_LANES; part++) {
      const words_lanes word = (words_lanes){0} + words[w];
      const words_lanes v = ((word << (place - MXS_LANES * (uint64_t)part)) & sign) | one;
      memcpy(row + w * MXS_TILE + part * MXS_LANES, &v, sizeof v);
    }
  for (int64_t j = whole * MXS_TILE; j < entries; j++)
    row[j] = (words[whole] >> (j % MXS_TILE)) & 1 ? -1.0 : 1.0;
}

static void expand_levels(const double *level, const uint64_t *words, int64_t n, double *row) {
  const int64_t whole = n / BYTES;
  for (int64_t w = 0; w < whole; w++)
    for (int b = 0; b < BYTES; b++)
      row[w * BYTES + b] = level[words[w] >> (8 * b) & 0xFF];
  for (int64_t j = whole * BYTES; j < n; j++)
    row[j] = level[words[whole] >> (8 * (j % BYTES)) & 0xFF];
}

/* Level of every byte; all 0 for signs, which need none. */
static void fill_levels(int levels, double *level) {
  for (unsigned v = 0; v < LEVELS; v++)
    level[v] = levels ? MXS_LEVEL_UNIT * (double)((int)mxs_level_byte(v) - 128) : 0.0;
}

static void write_rows(const double *level,
                       uint64_t seed,
                       int64_t entries,
                       int64_t first,
                       int64_t count,
                       int levels,
                       double *rows) {
  uint64_t words[TOGETHER * MXS_STREAM_CHUNK];
  const int64_t per_word = levels ? BYTES : MXS_TILE;
  const int64_t chunk = MXS_STREAM_CHUNK * per_word;
  const int64_t step = MXS_STREAM_STEP * per_word;
  for (int64_t start = 0; start < entries; start += chunk) {
    const int64_t n = entries - start < chunk ? entries - start : chunk;
    mxs_stream_rows(seed, MXS_STREAM_ENSEMBLE, first, count, start / per_word,
                    (n + step - 1) / step * MXS_STREAM_STEP, words, MXS_STREAM_CHUNK);
    for (int64_t i = 0; i < count; i++) {
      const uint64_t *of_row = words + i * MXS_STREAM_CHUNK;
      double *row = rows + i * entries + start;
      if (levels)
        expand_levels(level, of_row, n, row);
      else
        mxsi_signs_expand(of_row, n, row);
    }
  }
}

void mxsi_signs_rows(
    int levels, uint64_t seed, int64_t entries, int64_t first, int64_t count, double *rows) {
  double level[LEVELS];
  fill_levels(levels, level);
  for (int64_t i = 0; i < count; i += TOGETHER)
    write_rows(level, seed, entries, first + i, count - i < TOGETHER ? count - i : TOGETHER, levels,
               rows + i * entries);
}
