#include "base/hash.h"
#include "base/simd.h"
#include "op/op.h"

#include <string.h>

static void dense_destroy(void *self) {
  mxs_dense *dense = self;
  mxsi_rows_clear(&dense->visits);
  mxs_release(&dense->rows);
  mxs_release(&dense->slot);
  mxs_release(&dense);
}

mxs_status mxsi_dense_create(int64_t entries,
                             mxs_storage storage,
                             const mxs_blocks *blocks,
                             mxs_dense **out) {
  *out = NULL;
  mxs_dense *dense = NULL;
  MXS_TRY(mxs_alloc(1, sizeof *dense, &dense));
  dense->entries = entries;
  dense->storage = storage;
  dense->blocks = blocks;
  mxsi_rows_init(&dense->visits, storage, entries);
  mxs_status status = MXS_OK;
  int64_t total = 0;
  if (__builtin_mul_overflow(mxs_blocks_own_rows(blocks), entries, &total)) {
    status =
        mxs_fail(MXS_ERR_MEMORY, "a shard of %lld measurements of %lld entries does not fit memory",
                 (long long)mxs_blocks_own_rows(blocks), (long long)entries);
    goto cleanup;
  }
  MXS_TRY_GOTO(status, mxs_alloc(total, (size_t)mxsi_entry_bytes(storage), &dense->rows), cleanup);
  MXS_TRY_GOTO(status, mxs_alloc(blocks->count, sizeof *dense->slot, &dense->slot), cleanup);
  for (int64_t block = 0; block < blocks->count; block++)
    dense->slot[block] = -1;
  for (int64_t j = 0; j < blocks->own_count; j++)
    dense->slot[blocks->own[j]] = blocks->offset[j];
  *out = dense;
cleanup:
  if (status != MXS_OK)
    dense_destroy(dense);
  return status;
}

/* Place of the stored row of a measurement; -1 if another rank has it. */
static int64_t row_of(const mxs_dense *dense, int64_t first) {
  const int64_t slot = dense->slot[first / dense->blocks->rows];
  return slot < 0 ? -1 : slot + first % dense->blocks->rows;
}

static void *row_at(const mxs_dense *dense, int64_t row) {
  return (char *)dense->rows + row * mxsi_row_bytes(&dense->visits);
}

static mxs_status not_ours(int64_t first) {
  return mxs_fail(MXS_ERR_INTERNAL, "measurement %lld is not on this rank", (long long)first);
}

static mxs_status dense_pass(void *self, const mxs_pass *pass) {
  const mxs_dense *dense = self;
  const int64_t row = row_of(dense, pass->first);
  if (row < 0)
    return not_ours(pass->first);
  MXS_TRY(mxsi_rows_begin(&dense->visits, pass));
  /* Blocks lie in the order of their passes: the next one is what the next pass wants. */
  mxsi_rows_visit(&dense->visits, pass, row_at(dense, row),
                  mxs_blocks_own_rows(dense->blocks) - row - pass->count);
  return MXS_OK;
}

static mxs_status dense_plan(void *self, int64_t replicas, int threads) {
  mxs_dense *dense = self;
  return mxsi_rows_plan(&dense->visits, replicas, threads);
}

static mxs_status dense_frobenius2(void *self, int64_t first, int64_t count, double *sum) {
  const mxs_dense *dense = self;
  const int64_t row = row_of(dense, first);
  if (row < 0)
    return not_ours(first);
  *sum = mxsi_rows_squares(&dense->visits, count, row_at(dense, row));
  return MXS_OK;
}

static mxs_status dense_rows(
    void *self, int64_t first, int64_t count, double *room, const double **rows) {
  const mxs_dense *dense = self;
  const int64_t row = row_of(dense, first);
  if (row < 0)
    return not_ours(first);
  *rows = mxsi_rows_doubles(&dense->visits, count, row_at(dense, row), room);
  return MXS_OK;
}

static void dense_info(const void *self, mxs_op_info *info) {
  const mxs_dense *dense = self;
  mxsi_rows_info(&dense->visits, info);
  info->bytes += mxs_blocks_own_rows(dense->blocks) * mxsi_row_bytes(&dense->visits) +
                 dense->blocks->count * (int64_t)sizeof *dense->slot;
}

/* A float between whose low bits and v nothing is lost: what is not exact ends in an odd digit, so
 * that rounding it further is rounding v. */
static uint32_t rounded_to_odd(double v) {
  const float f = (float)v;
  uint32_t bits = 0;
  memcpy(&bits, &f, sizeof bits);
  const double back = (double)f;
  if (back == v)
    return bits;
  return (__builtin_fabs(back) > __builtin_fabs(v) ? bits - 1 : bits) | 1U;
}

static uint16_t to_bf16(double v) {
  const uint32_t bits = rounded_to_odd(v);
  if (v != v)
    return (uint16_t)(bits >> 16 | 0x40U);
  return (uint16_t)((bits + 0x7FFFU + (bits >> 16 & 1U)) >> 16);
}

MXS_SIMD
static void put_f32(float *row, int64_t n, const double *values) {
  for (int64_t j = 0; j < n; j++)
    row[j] = (float)values[j];
}

void mxsi_dense_put(mxs_dense *dense, int64_t row, int64_t count, const double *values) {
  const int64_t n = dense->entries;
  for (int64_t i = 0; i < count; i++) {
    void *to = row_at(dense, row + i);
    const double *from = values + i * n;
    if (dense->storage == MXS_STORAGE_F32)
      put_f32(to, n, from);
    else if (dense->storage == MXS_STORAGE_BF16)
      for (int64_t j = 0; j < n; j++)
        ((uint16_t *)to)[mxsi_entry_place(dense->storage, n, j)] = to_bf16(from[j]);
    else
      memcpy(to, from, (size_t)n * sizeof *from);
  }
}

static uint64_t dense_digest(const void *self, int64_t first, int64_t count) {
  const mxs_dense *dense = self;
  const int64_t row = row_of(dense, first);
  return row < 0
             ? 0
             : mxs_hash64(row_at(dense, row), (size_t)(count * mxsi_row_bytes(&dense->visits)), 0);
}

const mxs_op_table mxsi_op_dense = {.name = "dense",
                                    .pass = dense_pass,
                                    .plan = dense_plan,
                                    .frobenius2 = dense_frobenius2,
                                    .rows = dense_rows,
                                    .digest = dense_digest,
                                    .info = dense_info,
                                    .destroy = dense_destroy};
