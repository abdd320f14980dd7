/* Sums over bits by tables: eight bits choose one of 256 sums. Every processor can do that, and it
 * takes one addition for eight entries. The layout of a strip is that of signs_avx512.c. */
#include "op/signs_bits.h"

#include "base/simd.h"

#include <string.h>

#define INLINE static inline __attribute__((always_inline))

enum {
  BYTES = 8, /* in a word */
  SUMS = 256 /* of the subsets of eight numbers */
};

/* Squares of 2^k x 2^k bits off the diagonal change places, k = 5 .. 0. */
INLINE void swap_squares(uint64_t v[MXS_TILE], int size, uint64_t right) {
  for (int block = 0; block < MXS_TILE; block += 2 * size)
    for (int i = block; i < block + size; i++) {
      const uint64_t change = ((v[i] >> size) ^ v[i + size]) & right;
      v[i + size] ^= change;
      v[i] ^= change << size;
    }
}

MXS_SIMD
void mxsi_signs_transpose(const uint64_t *from, uint64_t *to) {
  uint64_t v[MXS_TILE];
  memcpy(v, from, sizeof v);
  swap_squares(v, 32, UINT64_C(0x00000000FFFFFFFF));
  swap_squares(v, 16, UINT64_C(0x0000FFFF0000FFFF));
  swap_squares(v, 8, UINT64_C(0x00FF00FF00FF00FF));
  swap_squares(v, 4, UINT64_C(0x0F0F0F0F0F0F0F0F));
  swap_squares(v, 2, UINT64_C(0x3333333333333333));
  swap_squares(v, 1, UINT64_C(0x5555555555555555));
  memcpy(to, v, sizeof v);
}

INLINE void subsets(const int64_t *x, int64_t sums[SUMS]) {
  sums[0] = 0;
  sums[1] = x[0];
  sums[2] = x[1];
  sums[3] = x[0] + x[1];
  for (int k = 2; k < 8; k++)
    for (int n = 0; n < 1 << k; n++)
      sums[(1 << k) + n] = sums[n] + x[k];
}

/* Sum over the bits of a word: at most 64 2^54. */
INLINE int64_t look_up(uint64_t word, int64_t table[BYTES][SUMS], int bytes) {
  int64_t sum = 0;
  for (int b = 0; b < bytes; b++)
    sum += table[b][(word >> (8 * b)) & 0xFF];
  return sum;
}

void mxsi_signs_prepare(const int64_t *const *x, int64_t tiles, void *prepared) {
  memcpy(prepared, x[0], (size_t)(tiles * MXS_TILE) * sizeof *x[0]);
}

static void arrange(const uint64_t *words, int64_t ld, int64_t row, const mxs_tiles *to) {
  uint64_t *out = (uint64_t *)to->entries + row;
  for (int64_t t = 0; t < to->count; t++)
    for (int64_t i = 0; i < MXS_OCTET; i++)
      out[t * MXS_STRIP + i] = words[i * ld + t];
}

MXS_SIMD
static void forward(const mxs_tiles *tiles, const void *prepared, mxs_wide *sums) {
  int64_t table[BYTES][SUMS];
  for (int64_t t = 0; t < tiles->count; t++) {
    const uint64_t *word = (const uint64_t *)tiles->entries + t * MXS_STRIP;
    const int64_t *x = (const int64_t *)prepared + (tiles->first + t) * MXS_TILE;
    for (int b = 0; b < BYTES; b++)
      subsets(x + (ptrdiff_t)b * 8, table[b]);
    for (int64_t i = 0; i < tiles->rows; i++)
      sums[i] += look_up(word[i], table, BYTES);
  }
}

MXS_SIMD
static void adjoint(const mxs_tiles *tiles, const mxs_gradient *to, int64_t entries) {
  const int bytes = (int)tiles->rows / MXS_OCTET;
  int64_t table[BYTES][SUMS];
  for (int b = 0; b < bytes; b++)
    subsets(to->r + (ptrdiff_t)b * 8, table[b]);
  for (int64_t t = 0; t < tiles->count; t++) {
    uint64_t column[MXS_TILE];
    int64_t G[MXS_TILE];
    mxsi_signs_transpose((const uint64_t *)tiles->entries + t * MXS_STRIP, column);
    if (bytes == BYTES)
      for (int j = 0; j < MXS_TILE; j++)
        G[j] = look_up(column[j], table, BYTES);
    else
      for (int j = 0; j < MXS_TILE; j++)
        G[j] = look_up(column[j], table, bytes);
    mxs_signs_finish(G, tiles->first + t, entries, to);
  }
}

static int always(void) {
  return 1;
}

const mxs_signs_kernel mxsi_signs_portable = {.name = "tables",
                                              .available = always,
                                              .together = 1,
                                              .prepared_size = MXS_TILE * (int64_t)sizeof(int64_t),
                                              .arranged_size =
                                                  MXS_STRIP * (int64_t)sizeof(uint64_t),
                                              .prepare = mxsi_signs_prepare,
                                              .arrange = arrange,
                                              .forward = forward,
                                              .adjoint = adjoint};
