#include "problem/file_impl.h"
#include "problem/problem_impl.h"

#include "op/signs.h"

#include <stdlib.h>
#include <string.h>

/* Entries read at a time: little enough to be looked at and digested in the cache. */
enum { BUFFER_ENTRIES = 1 << 19 };

/* An own block, and its position in blocks->own. */
typedef struct own_block {
  int64_t block, position;
} own_block;

static int by_block(const void *a, const void *b) {
  const own_block *x = a;
  const own_block *y = b;
  return (x->block > y->block) - (x->block < y->block);
}

mxs_status mxsi_file_own_order(const mxs_blocks *blocks, int64_t **out) {
  own_block *own = NULL;
  MXS_TRY(mxs_alloc(blocks->own_count, sizeof *own, &own));
  const mxs_status status = mxs_alloc(blocks->own_count, sizeof **out, out);
  for (int64_t j = 0; j < blocks->own_count && status == MXS_OK; j++)
    own[j] = (own_block){blocks->own[j], j};
  if (status == MXS_OK)
    qsort(own, (size_t)blocks->own_count, sizeof *own, by_block);
  for (int64_t j = 0; j < blocks->own_count && status == MXS_OK; j++)
    (*out)[j] = own[j].position;
  mxs_release(&own);
  return status;
}

/* Where this rank's rows of a dataset go, in the order of blocks->own. */
typedef struct shard {
  const mxs_blocks *blocks;
  mxs_storage storage;
  void *rows;       /* F64, F32: in place */
  mxs_dense *dense; /* BF16, F32 */
  mxs_signs *signs; /* BITS */
} shard;

/* A dataset being read, row by row of the file. */
typedef struct reading {
  mxs_store_set set;
  mxsi_file_check check;
  const shard *to;
  int64_t most;   /* rows at a time */
  double *buffer; /* of rows that are not kept as they are read; NULL: straight into place */
} reading;

static hid_t kept_type(const shard *to) {
  return to->storage == MXS_STORAGE_F32 ? H5T_NATIVE_FLOAT : H5T_NATIVE_DOUBLE;
}

static void *place_of(const reading *r, int64_t row) {
  const int64_t bytes = mxsi_file_row_entries(&r->set) * (int64_t)H5Tget_size(kept_type(r->to));
  return (char *)r->to->rows + row * bytes;
}

static mxs_status read_straight(reading *r, int64_t first, int64_t count, int64_t row) {
  void *rows = place_of(r, row);
  MXS_TRY(mxsi_file_rows(&r->set, kept_type(r->to), first, count, rows));
  return mxsi_file_check_rows(&r->check, first, count, rows);
}

/* Read some rows of a block into the buffer, and put them into place in their own form. */
static mxs_status read_narrow(reading *r, int64_t first, int64_t count, int64_t row) {
  const shard *to = r->to;
  MXS_TRY(mxsi_file_rows(&r->set, H5T_NATIVE_DOUBLE, first, count, r->buffer));
  MXS_TRY(mxsi_file_check_doubles(&r->check, first, count, r->buffer));
  if (to->storage == MXS_STORAGE_BITS) {
    MXS_TRY(mxsi_file_check_signs(&r->set, first, count, r->buffer));
    return mxsi_signs_put(to->signs, row, count, r->buffer);
  }
  if (to->storage == MXS_STORAGE_F64) {
    const size_t bytes = (size_t)(count * mxsi_file_row_entries(&r->set)) * sizeof *r->buffer;
    memcpy(place_of(r, row), r->buffer, bytes);
    return MXS_OK;
  }
  if (to->storage == MXS_STORAGE_BF16)
    MXS_TRY(mxsi_file_to_bf16(&r->set, first, count, r->buffer));
  mxsi_dense_put(to->dense, row, count, r->buffer);
  return to->storage == MXS_STORAGE_F32
             ? mxsi_file_check_finite(&r->set, H5T_NATIVE_FLOAT, first, count, place_of(r, row))
             : MXS_OK;
}

/* Own block j. */
static mxs_status read_block(reading *r, int64_t j) {
  const mxs_blocks *blocks = r->to->blocks;
  const int64_t first = mxs_blocks_first(blocks, blocks->own[j]);
  const int64_t count = mxs_blocks_size(blocks, blocks->own[j]);
  const int64_t row = blocks->offset[j];
  for (int64_t done = 0; done < count; done += r->most) {
    const int64_t n = count - done < r->most ? count - done : r->most;
    MXS_TRY(r->buffer != NULL ? read_narrow(r, first + done, n, row + done)
                              : read_straight(r, first + done, n, row + done));
  }
  return MXS_OK;
}

/* Are rows kept as they are read? Those whose digests are of another type are not. */
static int is_straight(const reading *r) {
  return r->to->rows != NULL && (r->check.parts == NULL || r->check.type == kept_type(r->to));
}

static mxs_status begin_reading(hid_t file, const char *path, int which, reading *r) {
  MXS_TRY(mxs_store_set_open(file, path, mxsi_file_name(which), &r->set));
  MXS_TRY(mxsi_file_check_begin(file, &r->set, which, &r->check));
  const int64_t row = mxsi_file_row_entries(&r->set);
  r->most = row < BUFFER_ENTRIES ? BUFFER_ENTRIES / row : 1;
  return is_straight(r) ? MXS_OK : mxs_alloc(r->most * row, sizeof *r->buffer, &r->buffer);
}

/* Read this rank's rows of a dataset, block by block. */
static mxs_status read_own(hid_t file, const char *path, int which, const shard *to) {
  const mxs_blocks *blocks = to->blocks;
  reading r = {.set = {.id = H5I_INVALID_HID}, .to = to};
  int64_t *order = NULL;
  mxs_status status = mxsi_file_own_order(blocks, &order);
  if (status != MXS_OK)
    return status;
  MXS_TRY_GOTO(status, begin_reading(file, path, which, &r), cleanup);
  for (int64_t j = 0; j < blocks->own_count && status == MXS_OK; j++)
    status = read_block(&r, order[j]);
  if (status == MXS_OK)
    status = mxsi_file_check_end(&r.check);
cleanup:
  mxsi_file_check_clear(&r.check);
  mxs_store_set_close(&r.set);
  mxs_release(&r.buffer);
  mxs_release(&order);
  return status;
}

/* Operator of a stored A, still without its entries, and where these go. Local. */
static mxs_status attach_stored(const mxs_problem *problem, mxs_data *data, shard *to) {
  const int64_t entries = problem->n1 * problem->n2;
  *to = (shard){.blocks = &data->blocks, .storage = problem->storage};
  if (problem->storage == MXS_STORAGE_BITS) {
    MXS_TRY(mxsi_signs_create(entries, MXS_ENSEMBLE_DENSE, 0, &data->blocks, &to->signs));
    data->op = &mxsi_op_signs;
    data->self = to->signs;
    return MXS_OK;
  }
  MXS_TRY(mxsi_dense_create(entries, problem->storage, &data->blocks, &to->dense));
  data->op = &mxsi_op_dense;
  data->self = to->dense;
  to->rows = problem->storage == MXS_STORAGE_BF16 ? NULL : to->dense->rows;
  return MXS_OK;
}

/* Fill one set of measurements: y, and A where it is stored. Local. */
static mxs_status read_data(
    mxs_problem *problem, hid_t file, const char *path, int validation, mxs_data *data) {
  const shard y = {.blocks = &data->blocks, .storage = MXS_STORAGE_F64, .rows = data->y};
  MXS_TRY(read_own(file, path, validation ? MXSI_FILE_VALIDATION_Y : MXSI_FILE_Y, &y));
  if (problem->ensemble != MXS_ENSEMBLE_DENSE)
    return MXS_OK;
  if (problem->storage == MXS_STORAGE_STREAM)
    return mxsi_file_stream(file, path, validation ? MXSI_FILE_VALIDATION_A : MXSI_FILE_A, data);
  shard A;
  MXS_TRY(attach_stored(problem, data, &A));
  return read_own(file, path, validation ? MXSI_FILE_VALIDATION_A : MXSI_FILE_A, &A);
}

/* Read the measurements of this rank; the file is opened by all. Collective. */
static mxs_status read_measurements(mxs_problem *problem, const char *path) {
  hid_t file = H5I_INVALID_HID;
  mxs_status status = mxs_store_open_all(problem->comm, path, &file);
  if (status == MXS_OK) {
    status = read_data(problem, file, path, 0, &problem->train);
    if (status == MXS_OK && problem->validation.blocks.m > 0)
      status = read_data(problem, file, path, 1, &problem->validation);
    status = mxs_comm_agree(problem->comm, status);
  }
  (void)mxs_store_close(&file);
  return status;
}

static mxs_status attach_generated(mxs_problem *problem, const mxs_problem_header *header) {
  if (problem->ensemble == MXS_ENSEMBLE_DENSE)
    return MXS_OK;
  MXS_TRY(mxsi_problem_attach_generated(problem, &problem->train, 0));
  return problem->validation.blocks.m > 0
             ? mxsi_problem_attach_generated(problem, &problem->validation, header->m)
             : MXS_OK;
}

/* Matrix of the truth as doubles. Local, serial. */
static mxs_status read_matrix(hid_t file, const char *path, int which, double *out) {
  mxs_store_set set;
  mxsi_file_check check = {.parts = NULL};
  MXS_TRY(mxs_store_set_open(file, path, mxsi_file_name(which), &set));
  mxs_status status = mxsi_file_rows(&set, H5T_NATIVE_DOUBLE, 0, set.dims[0], out);
  if (status == MXS_OK)
    status = mxsi_file_check_begin(file, &set, which, &check);
  if (status == MXS_OK)
    status = mxsi_file_check_doubles(&check, 0, set.dims[0], out);
  mxsi_file_check_clear(&check);
  mxs_store_set_close(&set);
  return status;
}

static mxs_status read_truth_file(const char *path,
                                  const mxs_problem_header *header,
                                  double *left,
                                  double *right) {
  hid_t file = H5I_INVALID_HID;
  MXS_TRY(mxs_store_open(path, &file));
  mxs_status status = MXS_OK;
  if (header->truth == MXS_TRUTH_MATRIX)
    status = read_matrix(file, path, MXSI_FILE_X, left);
  else
    status = read_matrix(file, path, MXSI_FILE_U, left);
  if (status == MXS_OK && header->truth == MXS_TRUTH_FACTORS)
    status = read_matrix(file, path, MXSI_FILE_V, right);
  (void)mxs_store_close(&file);
  return status;
}

/* Rank 0 reads the truth, all receive it. Collective. */
static mxs_status load_truth(mxs_problem *problem,
                             const char *path,
                             const mxs_problem_header *header) {
  if (header->truth == MXS_TRUTH_NONE)
    return MXS_OK;
  const int is_matrix = header->truth == MXS_TRUTH_MATRIX;
  const int64_t cols = is_matrix ? header->n2 : header->truth_rank;
  const int64_t right_rows = is_matrix ? 0 : header->n2;
  double *left = NULL;
  double *right = NULL;
  mxs_status status = mxs_alloc(header->n1 * cols, sizeof *left, &left);
  if (status == MXS_OK)
    status = mxs_alloc(right_rows * cols, sizeof *right, &right);
  if (status == MXS_OK && problem->comm->rank == 0)
    status = read_truth_file(path, header, left, right);
  MXS_TRY_GOTO(status, mxs_comm_agree(problem->comm, status), cleanup);
  mxs_comm_bcast(problem->comm, left, header->n1 * cols * (int64_t)sizeof *left, 0);
  mxs_comm_bcast(problem->comm, right, right_rows * cols * (int64_t)sizeof *right, 0);
  if (is_matrix)
    status = mxsi_problem_set_truth_matrix(problem, mxs_cview(left, header->n1, cols));
  else
    status = mxsi_problem_set_truth(problem, mxs_cview(left, header->n1, cols),
                                    mxs_cview(right, header->n2, cols));
  status = mxs_comm_agree(problem->comm, status);
cleanup:
  mxs_release(&left);
  mxs_release(&right);
  return status;
}

/* Rank 0 looks at the file first, so that a bad one is refused before all open it. Collective. */
static mxs_status load_header(MPI_Comm mpi, const char *path, mxs_problem_header *header) {
  mxs_comm *comm = NULL;
  MXS_TRY(mxs_comm_create(mpi, &comm));
  mxs_status status = comm->rank == 0 ? mxs_problem_peek(path, header) : MXS_OK;
  status = mxs_comm_agree(comm, status);
  if (status == MXS_OK)
    mxs_comm_bcast(comm, header, sizeof *header, 0);
  mxs_comm_destroy(&comm);
  return status;
}

/* Options that only make sense against the file. Logically collective. */
static mxs_status check_options(const char *path,
                                const mxs_problem_header *header,
                                const mxs_problem_options *options) {
  if (options->measurements > header->m)
    return mxs_fail(MXS_ERR_SETTINGS,
                    "measurements: %lld asked for, but %s has %lld; lower it or leave it out",
                    (long long)options->measurements, path, (long long)header->m);
  if (options->hold_out > 0.0 && header->m_validation > 0)
    return mxs_fail(MXS_ERR_SETTINGS,
                    "hold_out: %s has its own held-out measurements in /validation; leave it out",
                    path);
  return mxsi_problem_check_storage(header->ensemble, options->storage, path);
}

mxs_status mxs_problem_load(MPI_Comm comm,
                            const char *path,
                            const mxs_problem_options *options,
                            mxs_problem **problem) {
  *problem = NULL;
  mxs_problem_header header = {0};
  mxs_problem *loaded = NULL;
  mxs_status status = MXS_OK;
  MXS_TRY(load_header(comm, path, &header));
  MXS_TRY(check_options(path, &header, options));
  const mxs_shape shape = {.n1 = header.n1,
                           .n2 = header.n2,
                           .m = header.m,
                           .m_validation = header.m_validation,
                           .block_rows = header.block_rows};
  MXS_TRY(mxsi_problem_begin(comm, &shape, options, &loaded));
  loaded->ensemble = header.ensemble;
  loaded->ensemble_seed = header.seed;
  loaded->storage = options->storage != MXS_STORAGE_AS_FILE ? options->storage : header.storage;
  MXS_TRY_GOTO(status, mxs_comm_agree(loaded->comm, attach_generated(loaded, &header)), cleanup);
  MXS_TRY_GOTO(status, load_truth(loaded, path, &header), cleanup);
  MXS_TRY_GOTO(status, read_measurements(loaded, path), cleanup);
  MXS_TRY_GOTO(status, mxsi_problem_finish(loaded, options), cleanup);
  *problem = loaded;
  loaded = NULL;
cleanup:
  mxs_problem_destroy(&loaded);
  return status;
}
