#include "comm/blocks.h"

enum {
  MANY = 1024,    /* blocks that are enough to share */
  FEW = 64,       /* blocks that are too few */
  STRIP = 64,     /* measurements that the kernels of signs take at a time */
  LEAST_ROWS = 32 /* of a block */
};

static int64_t reverse_bits(int64_t value, int bits) {
  int64_t reversed = 0;
  for (int b = 0; b < bits; b++)
    reversed |= ((value >> b) & 1) << (bits - 1 - b);
  return reversed;
}

static int64_t min64(int64_t a, int64_t b) {
  return a < b ? a : b;
}

static int64_t max64(int64_t a, int64_t b) {
  return a > b ? a : b;
}

int64_t mxs_blocks_rows(int64_t m, int64_t k) {
  const int64_t columns = min64(k, INT64_C(1) << 40);
  const int64_t wanted = max64(10 * columns, min64(100 * columns, m / MANY));
  const int64_t least =
      max64(m / MXS_MAX_BLOCKS + (m % MXS_MAX_BLOCKS != 0), max64(2 * columns, LEAST_ROWS));
  const int64_t strips = min64((wanted + STRIP - 1) / STRIP, m / FEW / STRIP);
  const int64_t rows = max64(strips > 0 ? strips * STRIP : m / FEW, least);
  const int64_t unit = rows >= MANY ? STRIP : 8;
  return (rows + unit - 1) / unit * unit;
}

mxs_status mxs_blocks_create(int64_t m, int64_t rows, int rank, int size, mxs_blocks *out) {
  *out = (mxs_blocks){.m = m, .rows = rows, .count = m / rows + (m % rows != 0)};
  if (out->count > MXS_MAX_BLOCKS)
    return mxs_fail(MXS_ERR_ARG, "%lld measurements in blocks of %lld are more than %d blocks",
                    (long long)m, (long long)rows, (int)MXS_MAX_BLOCKS);
  out->own_count = out->count / size + (rank < out->count % size);
  mxs_status status = MXS_OK;
  MXS_TRY_GOTO(status, mxs_alloc(out->own_count, sizeof *out->own, &out->own), cleanup);
  MXS_TRY_GOTO(status, mxs_alloc(out->own_count + 1, sizeof *out->offset, &out->offset), cleanup);
  int bits = 0;
  while ((INT64_C(1) << bits) < out->count)
    bits++;
  int64_t position = 0;
  int64_t own = 0;
  for (int64_t t = 0; t < INT64_C(1) << bits; t++) {
    const int64_t block = reverse_bits(t, bits);
    if (block >= out->count)
      continue;
    if (position % size == rank) {
      out->own[own] = block;
      out->offset[own + 1] = out->offset[own] + mxs_blocks_size(out, block);
      own++;
    }
    position++;
  }
cleanup:
  if (status != MXS_OK)
    mxs_blocks_clear(out);
  return status;
}

void mxs_blocks_clear(mxs_blocks *blocks) {
  mxs_release(&blocks->own);
  mxs_release(&blocks->offset);
  *blocks = (mxs_blocks){0};
}

int64_t mxs_blocks_first(const mxs_blocks *blocks, int64_t block) {
  return block * blocks->rows;
}

int64_t mxs_blocks_size(const mxs_blocks *blocks, int64_t block) {
  const int64_t left = blocks->m - block * blocks->rows;
  return left < blocks->rows ? left : blocks->rows;
}

int64_t mxs_blocks_own_rows(const mxs_blocks *blocks) {
  return blocks->offset == NULL ? 0 : blocks->offset[blocks->own_count];
}
