#include "problem/problem_impl.h"

#include "base/hash.h"
#include "base/random.h"
#include "comm/reducer.h"
#include "la/la.h"
#include "op/fast.h"
#include "op/signs.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

static mxs_status check_sizes(const mxs_shape *shape, const mxs_problem_options *options) {
  const int64_t n1 = shape->n1;
  const int64_t n2 = shape->n2;
  const int64_t m = shape->m;
  int64_t entries = 0;
  if (n1 < 1 || n2 < 1 || n1 > MXS_LA_MAX || n2 > MXS_LA_MAX ||
      __builtin_mul_overflow(n1, n2, &entries) || entries > INT64_MAX / 64)
    return mxs_fail(MXS_ERR_SETTINGS,
                    "n1 = %lld, n2 = %lld: each must be 1 .. %d, and n1 n2 below 2^57",
                    (long long)n1, (long long)n2, (int)MXS_LA_MAX);
  if (m < 1)
    return mxs_fail(MXS_ERR_SETTINGS, "measurements = %lld: at least one is needed", (long long)m);
  if (options->k < 1 || options->k > MXS_LA_MAX / 16)
    return mxs_fail(MXS_ERR_SETTINGS, "k = %lld is not in 1 .. %d", (long long)options->k,
                    (int)MXS_LA_MAX / 16);
  if (options->measurements < 0 || options->measurements > m)
    return mxs_fail(MXS_ERR_SETTINGS,
                    "measurements = %lld, but the problem has %lld: give 1 .. %lld, or 0 for all",
                    (long long)options->measurements, (long long)m, (long long)m);
  if (options->block_rows < 0 || (shape->block_rows > 0 && options->block_rows > 0 &&
                                  options->block_rows != shape->block_rows))
    return mxs_fail(
        MXS_ERR_SETTINGS,
        "block_rows = %lld: must be positive, and of the ensemble fast that of the file, "
        "%lld: leave it out",
        (long long)options->block_rows, (long long)shape->block_rows);
  if (!(options->hold_out >= 0.0 && options->hold_out < 1.0))
    return mxs_fail(MXS_ERR_SETTINGS, "hold_out = %g is not in [0, 1)", options->hold_out);
  return MXS_OK;
}

/* Blocks of one set of measurements, and its y. Local. */
static mxs_status begin_data(const mxs_problem *p, int64_t m, int64_t block_rows, mxs_data *data) {
  const int64_t rows = block_rows > 0 ? block_rows : mxs_blocks_rows(m, p->k);
  const long long least = (m - 1) / MXS_MAX_BLOCKS + 1;
  if (rows < least)
    return mxs_fail(
        MXS_ERR_SETTINGS,
        "block_rows = %lld cuts %lld measurements into more than %d blocks: give %lld or more",
        (long long)rows, (long long)m, (int)MXS_MAX_BLOCKS, least);
  MXS_TRY(mxs_blocks_create(m, rows, p->comm->rank, p->comm->size, &data->blocks));
  MXS_TRY(mxs_alloc(data->blocks.own_count, sizeof *data->guards, &data->guards));
  return mxs_alloc(mxs_blocks_own_rows(&data->blocks), sizeof *data->y, &data->y);
}

mxs_status mxsi_problem_begin(MPI_Comm comm,
                              const mxs_shape *shape,
                              const mxs_problem_options *options,
                              mxs_problem **out) {
  *out = NULL;
  MXS_TRY(check_sizes(shape, options));
  mxs_comm *own = NULL;
  mxs_problem *p = NULL;
  MXS_TRY(mxs_comm_create(comm, &own));
  mxs_status status = mxs_comm_agree(own, mxs_alloc(1, sizeof *p, &p));
  if (status != MXS_OK) {
    mxs_release(&p);
    mxs_comm_destroy(&own);
    return status;
  }
  p->comm = own;
  p->n1 = shape->n1;
  p->n2 = shape->n2;
  p->k = options->k;
  p->block_rows = shape->block_rows;
  p->scale2 = 1.0;
  const int64_t used = options->measurements > 0 ? options->measurements : shape->m;
  const int64_t rows = shape->block_rows > 0 ? shape->block_rows : options->block_rows;
  status = begin_data(p, used, rows, &p->train);
  if (status == MXS_OK)
    status = begin_data(p, shape->m_validation, rows, &p->validation);
  if (status == MXS_OK && options->hold_out > 0.0)
    status =
        mxs_alloc(mxs_blocks_own_rows(&p->train.blocks), sizeof *p->train.weight, &p->train.weight);
  status = mxs_comm_agree(p->comm, status);
  if (status != MXS_OK)
    mxs_problem_destroy(&p);
  *out = p;
  return status;
}

static void data_clear(mxs_data *data) {
  if (data->op != NULL && data->op->destroy != NULL)
    data->op->destroy(data->self);
  mxs_blocks_clear(&data->blocks);
  mxs_release(&data->y);
  mxs_release(&data->weight);
  mxs_release(&data->guards);
}

void mxs_problem_destroy(mxs_problem **problem) {
  mxs_problem *p = *problem;
  if (p == NULL)
    return;
  data_clear(&p->train);
  data_clear(&p->validation);
  mxs_release(&p->truth.U);
  mxs_release(&p->truth.V);
  mxs_release(&p->truth.X);
  mxs_release(&p->truth.left);
  mxs_release(&p->truth.right);
  mxs_comm_destroy(&p->comm);
  mxs_release(problem);
}

mxs_status mxsi_problem_check_storage(mxs_ensemble ensemble,
                                      mxs_storage storage,
                                      const char *where) {
  const int kept = ensemble == MXS_ENSEMBLE_RADEMACHER && storage == MXS_STORAGE_BITS;
  if (storage == MXS_STORAGE_AS_FILE || ensemble == MXS_ENSEMBLE_DENSE || kept)
    return MXS_OK;
  return mxs_fail(
      MXS_ERR_SETTINGS,
      "storage: %s is for a stored A%s, but that of %s is generated (%s): leave storage "
      "out, or set it to auto",
      mxs_storage_name(storage),
      storage == MXS_STORAGE_BITS ? " of entries +-1 and for ensemble rademacher" : "", where,
      mxs_ensemble_name(ensemble));
}

mxs_status mxsi_problem_attach_generated(mxs_problem *p, mxs_data *data, int64_t first) {
  const int64_t entries = p->n1 * p->n2;
  data->first = first;
  if (p->ensemble == MXS_ENSEMBLE_FAST)
    return mxsi_fast_create(entries, p->ensemble_seed, p->block_rows, &data->op, &data->self);
  if (p->storage == MXS_STORAGE_BITS && first == 0) {
    mxs_signs *signs = NULL;
    MXS_TRY(mxsi_signs_create(entries, p->ensemble, p->ensemble_seed, &data->blocks, &signs));
    data->op = &mxsi_op_signs;
    data->self = signs;
    return MXS_OK;
  }
  return mxsi_generated_create(p->ensemble, entries, p->ensemble_seed, &data->op, &data->self);
}

/* Measurements drawn for the hold-out get weight 0; the draw of measurement i is a pure function of
 * (seed, i). */
static void choose_hold_out(mxs_data *data, double fraction, uint64_t seed) {
  for (int64_t j = 0; j < data->blocks.own_count; j++) {
    const int64_t first = mxs_blocks_first(&data->blocks, data->blocks.own[j]);
    for (int64_t i = data->blocks.offset[j]; i < data->blocks.offset[j + 1]; i++) {
      const int64_t measurement = first + i - data->blocks.offset[j];
      data->weight[i] =
          mxs_random_uniform(seed, MXS_STREAM_HOLD_OUT, measurement) < fraction ? 0.0 : 1.0;
    }
  }
}

static mxs_status check_finite(const mxs_data *data, const char *name) {
  for (int64_t j = 0; j < data->blocks.own_count; j++) {
    const int64_t first = mxs_blocks_first(&data->blocks, data->blocks.own[j]);
    for (int64_t i = data->blocks.offset[j]; i < data->blocks.offset[j + 1]; i++)
      if (!isfinite(data->y[i]))
        return mxs_fail(MXS_ERR_DATA, "%s[%lld] is %g: every measurement must be finite", name,
                        (long long)(first + i - data->blocks.offset[j]), data->y[i]);
  }
  return MXS_OK;
}

/* Digest of what is stored of A of an own block. */
static uint64_t stored_digest(const mxs_data *data, int64_t block) {
  const int64_t first = data->first + mxs_blocks_first(&data->blocks, block);
  return data->op->digest != NULL
             ? data->op->digest(data->self, first, mxs_blocks_size(&data->blocks, block))
             : 0;
}

static uint64_t y_digest(const mxs_data *data, int64_t j, const double *values, uint64_t seed) {
  const int64_t count = mxs_blocks_size(&data->blocks, data->blocks.own[j]);
  return mxs_hash64(values + data->blocks.offset[j], (size_t)count * sizeof *values, seed);
}

static uint64_t weighted_y_digest(const mxs_data *data, int64_t j) {
  const uint64_t y = y_digest(data, j, data->y, (uint64_t)data->blocks.own[j]);
  return data->weight != NULL ? y_digest(data, j, data->weight, y) : y;
}

/* Of the block's place, y, and the stored A. Summed over the blocks, the same for any distribution
 * of them. What is kept of a generated A does not count: it is the same problem. */
static uint64_t block_digest(const mxs_problem *p, const mxs_data *data, int64_t j) {
  const int64_t block = data->blocks.own[j];
  const uint64_t content = y_digest(data, j, data->y, (uint64_t)block);
  const uint64_t stored = stored_digest(data, block);
  data->guards[j].y = weighted_y_digest(data, j);
  data->guards[j].stored = stored;
  return p->ensemble == MXS_ENSEMBLE_DENSE ? mxs_hash64(&stored, sizeof stored, content) : content;
}

typedef struct totals {
  double frobenius2, y_norm2;
  uint64_t digest;
  int64_t trained;
} totals;

static mxs_status block_totals(
    const mxs_problem *p, const mxs_data *data, int64_t j, double *leaf, totals *sum) {
  const mxs_blocks *blocks = &data->blocks;
  const int64_t block = blocks->own[j];
  const int64_t count = mxs_blocks_size(blocks, block);
  const double *y = data->y + blocks->offset[j];
  leaf[0] = (double)count * (double)p->n1 * (double)p->n2;
  if (data->op->frobenius2 != NULL)
    MXS_TRY(data->op->frobenius2(data->self, data->first + mxs_blocks_first(blocks, block), count,
                                 &leaf[0]));
  for (int64_t i = 0; i < count; i++) {
    const double weight = data->weight != NULL ? data->weight[blocks->offset[j] + i] : 1.0;
    leaf[1] += weight * y[i] * y[i];
    sum->trained += weight != 0.0;
  }
  sum->digest += block_digest(p, data, j);
  return MXS_OK;
}

/* Exact sums over all blocks of a set; Collective. */
static mxs_status set_totals(const mxs_problem *p, const mxs_data *data, totals *out) {
  const int64_t lengths[2] = {1, 1};
  mxs_reducer *reducer = NULL;
  mxs_reduced reduced = {0};
  mxs_status status = mxs_comm_agree(
      p->comm, mxs_reducer_create(p->comm, MXS_REDUCTION_REPRODUCIBLE, lengths, 2, &reducer));
  if (status != MXS_OK)
    goto cleanup;
  do {
    *out = (totals){0};
    mxs_reducer_begin(reducer);
    for (int64_t j = 0; j < data->blocks.own_count && status == MXS_OK; j++) {
      double leaf[2] = {0};
      status = block_totals(p, data, j, leaf, out);
      mxs_reducer_commit(reducer, leaf);
    }
    MXS_TRY_GOTO(status, mxs_comm_agree(p->comm, status), cleanup);
    MXS_TRY_GOTO(status, mxs_reducer_finish(reducer, 0, &reduced), cleanup);
  } while (reduced.redo);
  if (reduced.nonfinite[0] > 0 || reduced.nonfinite[1] > 0) {
    status =
        mxs_fail(MXS_ERR_DATA, "sums of squares of the measurements overflow: rescale A and y");
    goto cleanup;
  }
  out->frobenius2 = reduced.sum[0];
  out->y_norm2 = reduced.sum[1];
  out->digest = (uint64_t)mxs_comm_sum(p->comm, (int64_t)out->digest);
  out->trained = mxs_comm_sum(p->comm, out->trained);
cleanup:
  mxs_reducer_destroy(&reducer);
  return status;
}

mxs_status mxsi_problem_finish(mxs_problem *p, const mxs_problem_options *options) {
  if (p->train.weight != NULL)
    choose_hold_out(&p->train, options->hold_out, options->seed);
  mxs_status status = check_finite(&p->train, "y");
  if (status == MXS_OK)
    status = check_finite(&p->validation, "validation/y");
  MXS_TRY(mxs_comm_agree(p->comm, status));
  totals train = {0};
  totals validation = {0};
  MXS_TRY(set_totals(p, &p->train, &train));
  if (p->validation.blocks.m > 0)
    MXS_TRY(set_totals(p, &p->validation, &validation));
  p->m_train = train.trained;
  p->m_validation = p->train.blocks.m - train.trained + p->validation.blocks.m;
  p->y_norm2 = train.y_norm2;
  if (p->m_train == 0)
    return mxs_fail(MXS_ERR_SETTINGS,
                    "hold_out = %g leaves none of the %lld measurements to train on",
                    options->hold_out, (long long)p->train.blocks.m);
  p->scale2 = train.frobenius2 / ((double)p->train.blocks.m * (double)p->n1 * (double)p->n2);
  /* Bits kept are those generated: the same problem. */
  const int is_generated = p->ensemble != MXS_ENSEMBLE_DENSE && p->ensemble != MXS_ENSEMBLE_USER;
  const uint64_t storage = (uint64_t)(is_generated ? MXS_STORAGE_AS_FILE : p->storage);
  const uint64_t parts[8] = {(uint64_t)p->n1,       (uint64_t)p->n2,  (uint64_t)p->train.blocks.m,
                             (uint64_t)p->ensemble, p->ensemble_seed, storage,
                             train.digest,          validation.digest};
  p->digest = mxs_hash64(parts, sizeof parts, (uint64_t)p->block_rows);
  return MXS_OK;
}

mxs_status mxs_problem_create(MPI_Comm comm,
                              const mxs_problem_spec *spec,
                              const mxs_problem_options *options,
                              mxs_problem **problem) {
  mxs_problem *p = NULL;
  const mxs_shape shape = {.n1 = spec->n1, .n2 = spec->n2, .m = spec->m};
  mxs_status status = mxsi_problem_begin(comm, &shape, options, &p);
  if (status != MXS_OK) {
    if (spec->table->destroy != NULL)
      spec->table->destroy(spec->self);
    return status;
  }
  p->ensemble = MXS_ENSEMBLE_USER;
  p->storage = MXS_STORAGE_F64;
  p->train.op = spec->table;
  p->train.self = spec->self;
  const mxs_blocks *blocks = &p->train.blocks;
  if (spec->table->pass == NULL && (spec->table->apply == NULL || spec->table->adjoint_mul == NULL))
    status = mxs_fail(MXS_ERR_ARG,
                      "operator \"%s\" has neither `pass` nor both `apply` and `adjoint_mul`",
                      spec->table->name);
  for (int64_t j = 0; j < blocks->own_count && status == MXS_OK; j++)
    status =
        spec->measurements(spec->self, mxs_blocks_first(blocks, blocks->own[j]),
                           mxs_blocks_size(blocks, blocks->own[j]), p->train.y + blocks->offset[j]);
  if (status == MXS_OK && spec->truth_U.a != NULL)
    status = mxsi_problem_set_truth(p, spec->truth_U, spec->truth_V);
  MXS_TRY_GOTO(status, mxs_comm_agree(p->comm, status), cleanup);
  MXS_TRY_GOTO(status, mxsi_problem_finish(p, options), cleanup);
cleanup:
  if (status != MXS_OK)
    mxs_problem_destroy(&p);
  *problem = p;
  return status;
}

static mxs_status fail_guard(const mxs_data *data, const char *what, int64_t block) {
  char host[256] = "unknown";
  (void)gethostname(host, sizeof host - 1);
  const int64_t first = mxs_blocks_first(&data->blocks, block);
  return mxs_fail(
      MXS_ERR_INTERNAL,
      "%s of block %lld (measurements %lld .. %lld) is not what was loaded: memory of node %s "
      "changed "
      "under the run; run the same line again to go on from the last checkpoint, and have the node "
      "checked",
      what, (long long)block, (long long)first,
      (long long)(first + mxs_blocks_size(&data->blocks, block) - 1), host);
}

static mxs_status verify_data(const mxs_data *data, const char *y_name, const char *A_name) {
  for (int64_t j = 0; j < data->blocks.own_count; j++) {
    const int64_t block = data->blocks.own[j];
    if (weighted_y_digest(data, j) != data->guards[j].y)
      return fail_guard(data, y_name, block);
    if (stored_digest(data, block) != data->guards[j].stored)
      return fail_guard(data, A_name, block);
  }
  return MXS_OK;
}

mxs_status mxsi_problem_verify(const mxs_problem *p) {
  MXS_TRY(verify_data(&p->train, "y", "A"));
  return verify_data(&p->validation, "validation/y", "validation/A");
}

const char *mxs_ensemble_name(mxs_ensemble ensemble) {
  static const char *const names[] = {[MXS_ENSEMBLE_DENSE] = "dense",
                                      [MXS_ENSEMBLE_GAUSSIAN] = "gaussian",
                                      [MXS_ENSEMBLE_RADEMACHER] = "rademacher",
                                      [MXS_ENSEMBLE_GAUSSIAN8] = "gaussian8",
                                      [MXS_ENSEMBLE_FAST] = "fast",
                                      [MXS_ENSEMBLE_USER] = "user"};
  return names[ensemble];
}

const char *mxs_storage_name(mxs_storage storage) {
  static const char *const names[] = {
      [MXS_STORAGE_AS_FILE] = "auto", [MXS_STORAGE_F64] = "f64",   [MXS_STORAGE_F32] = "f32",
      [MXS_STORAGE_BF16] = "bf16",    [MXS_STORAGE_BITS] = "bits", [MXS_STORAGE_STREAM] = "stream"};
  return names[storage];
}

double mxs_storage_bytes(mxs_storage storage) {
  switch (storage) {
  case MXS_STORAGE_F32:
    return 4.0;
  case MXS_STORAGE_BF16:
    return 2.0;
  case MXS_STORAGE_BITS:
    return 0.125;
  case MXS_STORAGE_STREAM:
    return 0.0;
  case MXS_STORAGE_AS_FILE:
  case MXS_STORAGE_F64:
    break;
  }
  return 8.0;
}

const void *mxsi_problem_stored(const mxs_problem *p, int64_t *bytes) {
  *bytes = 0;
  if (p->train.op == &mxsi_op_signs)
    return mxsi_signs_stored(p->train.self, bytes);
  if (p->train.op != &mxsi_op_dense)
    return NULL;
  const mxs_dense *dense = p->train.self;
  const double entries = (double)mxs_blocks_own_rows(&p->train.blocks) * (double)dense->entries;
  *bytes = (int64_t)(entries * mxs_storage_bytes(dense->storage));
  return dense->rows;
}

mxs_problem_info mxs_problem_get_info(const mxs_problem *p) {
  const int64_t rows =
      mxs_blocks_own_rows(&p->train.blocks) + mxs_blocks_own_rows(&p->validation.blocks);
  int64_t bytes = rows * (int64_t)sizeof(double) + mxsi_op_info(p->train.op, p->train.self).bytes;
  if (p->validation.op != NULL)
    bytes += mxsi_op_info(p->validation.op, p->validation.self).bytes;
  mxs_problem_info info = {.n1 = p->n1,
                           .n2 = p->n2,
                           .m = p->m_train,
                           .m_validation = p->m_validation,
                           .blocks = p->train.blocks.count,
                           .rows_per_block = p->train.blocks.rows,
                           .truth_rank = p->truth.rank,
                           .bytes_local = bytes,
                           .rows_local = rows,
                           .ensemble = p->ensemble,
                           .storage = p->storage,
                           .operator_name = p->train.op->name,
                           .digest = p->digest};
  const mxs_op_info op = mxsi_op_info(p->train.op, p->train.self);
  memcpy(info.path, op.path, sizeof info.path);
  return info;
}
