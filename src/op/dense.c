#include "base/hash.h"
#include "op/kernels.h"
#include "op/op.h"

static int64_t element_size(const mxs_dense *dense) {
  return dense->storage == MXS_STORAGE_F32 ? (int64_t)sizeof(float) : (int64_t)sizeof(double);
}

static void dense_destroy(void *self) {
  mxs_dense *dense = self;
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
  mxs_status status = MXS_OK;
  int64_t total = 0;
  if (__builtin_mul_overflow(mxs_blocks_own_rows(blocks), entries, &total)) {
    status =
        mxs_fail(MXS_ERR_MEMORY, "a shard of %lld measurements of %lld entries does not fit memory",
                 (long long)mxs_blocks_own_rows(blocks), (long long)entries);
    goto cleanup;
  }
  MXS_TRY_GOTO(status, mxs_alloc(total, (size_t)element_size(dense), &dense->rows), cleanup);
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

/* Address of the stored rows of a range inside one block; NULL if another rank has them. */
static const void *rows_at(const mxs_dense *dense, int64_t first) {
  const int64_t block = first / dense->blocks->rows;
  if (dense->slot[block] < 0)
    return NULL;
  const int64_t row = dense->slot[block] + first % dense->blocks->rows;
  return (const char *)dense->rows + row * dense->entries * element_size(dense);
}

static mxs_status dense_pass(void *self, const mxs_pass *pass) {
  const mxs_dense *dense = self;
  const char *a = rows_at(dense, pass->first);
  if (a == NULL)
    return mxs_fail(MXS_ERR_INTERNAL, "measurement %lld is not on this rank",
                    (long long)pass->first);
  for (int64_t done = 0; done < pass->count; done += MXS_GROUP) {
    const mxs_pass group = mxsi_pass_part(pass, done, MXS_GROUP);
    const void *rows = a + done * dense->entries * element_size(dense);
    for (int64_t r = 0; r < pass->replicas; r++) {
      const mxs_single single = mxsi_pass_single(&group, r);
      if (dense->storage == MXS_STORAGE_F32)
        mxsi_kernel_f32(&single, dense->entries, rows);
      else
        mxsi_kernel_f64(&single, dense->entries, rows);
    }
  }
  return MXS_OK;
}

static mxs_status dense_frobenius2(void *self, int64_t first, int64_t count, double *sum) {
  const mxs_dense *dense = self;
  const void *rows = rows_at(dense, first);
  if (rows == NULL)
    return mxs_fail(MXS_ERR_INTERNAL, "measurement %lld is not on this rank", (long long)first);
  double total = 0.0;
  for (int64_t i = 0; i < count; i++) {
    double lanes[8] = {0};
    for (int64_t j = 0; j < dense->entries; j++) {
      const int64_t at = i * dense->entries + j;
      const double a = dense->storage == MXS_STORAGE_F32 ? (double)((const float *)rows)[at]
                                                         : ((const double *)rows)[at];
      lanes[j % 8] += a * a;
    }
    total += ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) +
             ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
  }
  *sum = total;
  return MXS_OK;
}

void mxsi_dense_put(mxs_dense *dense, int64_t row, int64_t count, const double *values) {
  const int64_t first = row * dense->entries;
  for (int64_t j = 0; j < count * dense->entries; j++) {
    if (dense->storage == MXS_STORAGE_F32)
      ((float *)dense->rows)[first + j] = (float)values[j];
    else
      ((double *)dense->rows)[first + j] = values[j];
  }
}

uint64_t mxsi_dense_digest(const mxs_dense *dense, int64_t first, int64_t count) {
  const void *rows = rows_at(dense, first);
  return rows == NULL ? 0
                      : mxs_hash64(rows, (size_t)(count * dense->entries * element_size(dense)), 0);
}

const mxs_op_table mxsi_op_dense = {
    .name = "dense", .pass = dense_pass, .frobenius2 = dense_frobenius2, .destroy = dense_destroy};
