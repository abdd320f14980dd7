#include "base/text.h"
#include "problem/file_impl.h"
#include "problem/problem_impl.h"

#include "base/hash.h"
#include "conf/build.h"
#include "la/la.h"
#include "op/op.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* One dataset to be written, with digests of its groups of rows; groups.rows = 0: absent. */
typedef struct output {
  hid_t type, memory; /* in the file, in memory */
  int ndims;
  int64_t dims[MXS_STORE_DIMS];
  mxsi_file_groups groups;
  hid_t set, digest_set;
} output;

typedef struct gen {
  const mxs_plant *plant;
  mxs_storage storage;
  const mxs_comm *comm;
  const char *path;
  char *temporary;
  mxs_problem *problem; /* its blocks and y */
  double *U, *V, *X;
  mxs_blocks one; /* a single block, where A is made */
  mxs_dense *dense;
  double *row;
  hid_t file;
  output outputs[MXSI_FILE_SETS];
} gen;

static int is_dense(const gen *g) {
  return g->plant->ensemble == MXS_ENSEMBLE_DENSE;
}

/* Rank 0 takes a name beside the target, before any work. Collective. */
static mxs_status reserve(gen *g) {
  struct stat what;
  int64_t number = (int64_t)getpid();
  mxs_comm_bcast(g->comm, &number, (int64_t)sizeof number, 0);
  mxs_status status = mxs_text_format(&g->temporary, "%s.tmp.%lld", g->path, (long long)number);
  if (status == MXS_OK && g->comm->rank == 0) {
    if (lstat(g->path, &what) == 0)
      status =
          mxs_fail(MXS_ERR_CREATE, "%s: exists already; remove it or choose another name", g->path);
    else
      status = mxs_store_reserve(g->temporary);
  }
  status = mxs_comm_agree(g->comm, status);
  if (status != MXS_OK)
    mxs_release(&g->temporary); /* not ours to remove */
  return status;
}

static mxs_status describe(output *out, hid_t type, int ndims, int64_t d0, int64_t d1, int64_t d2) {
  out->memory = type;
  out->type = type == H5T_NATIVE_FLOAT ? H5T_IEEE_F32LE : H5T_IEEE_F64LE;
  out->ndims = ndims;
  out->dims[0] = d0;
  out->dims[1] = d1;
  out->dims[2] = d2;
  return MXS_OK;
}

static mxs_status describe_rows(
    output *out, hid_t type, int ndims, const mxs_blocks *blocks, int64_t n1, int64_t n2) {
  MXS_TRY(describe(out, type, ndims, blocks->m, n1, n2));
  return mxsi_file_groups_create(blocks->m, blocks->rows, &out->groups);
}

/* What goes into the file. Local. */
static mxs_status describe_outputs(gen *g) {
  const mxs_plant *plant = g->plant;
  const mxs_blocks *train = &g->problem->train.blocks;
  const mxs_blocks *validation = &g->problem->validation.blocks;
  const hid_t entries = g->storage == MXS_STORAGE_F64 ? H5T_NATIVE_DOUBLE : H5T_NATIVE_FLOAT;
  output *out = g->outputs;
  MXS_TRY(describe_rows(&out[MXSI_FILE_Y], H5T_NATIVE_DOUBLE, 1, train, 0, 0));
  MXS_TRY(describe_rows(&out[MXSI_FILE_VALIDATION_Y], H5T_NATIVE_DOUBLE, 1, validation, 0, 0));
  if (is_dense(g)) {
    MXS_TRY(describe_rows(&out[MXSI_FILE_A], entries, 3, train, plant->n1, plant->n2));
    MXS_TRY(
        describe_rows(&out[MXSI_FILE_VALIDATION_A], entries, 3, validation, plant->n1, plant->n2));
  }
  MXS_TRY(describe(&out[MXSI_FILE_U], H5T_NATIVE_DOUBLE, 2, plant->n1, plant->rank, 0));
  MXS_TRY(describe(&out[MXSI_FILE_V], H5T_NATIVE_DOUBLE, 2, plant->n2, plant->rank, 0));
  MXS_TRY(mxsi_file_groups_create(plant->n1, plant->n1, &out[MXSI_FILE_U].groups));
  return mxsi_file_groups_create(plant->n2, plant->n2, &out[MXSI_FILE_V].groups);
}

/* Room for one block of A, and X*. Local. */
static mxs_status prepare_dense(gen *g) {
  const mxs_plant *plant = g->plant;
  const int64_t entries = plant->n1 * plant->n2;
  const int64_t train = g->problem->train.blocks.rows;
  const int64_t validation = plant->held_out > 0 ? g->problem->validation.blocks.rows : 0;
  const int64_t rows = train > validation ? train : validation;
  MXS_TRY(mxs_blocks_create(rows, rows, 0, 1, &g->one));
  MXS_TRY(mxsi_dense_create(entries,
                            g->storage == MXS_STORAGE_F64 ? MXS_STORAGE_F64 : MXS_STORAGE_F32,
                            &g->one, &g->dense));
  MXS_TRY(mxs_alloc(entries, sizeof *g->row, &g->row));
  MXS_TRY(mxs_alloc(entries, sizeof *g->X, &g->X));
  mxs_la_gemm(0, 1, 1.0, mxs_cview(g->U, plant->n1, plant->rank),
              mxs_cview(g->V, plant->n2, plant->rank), 0.0, mxs_view(g->X, plant->n1, plant->n2));
  return MXS_OK;
}

/* The truth, blocks, and y where A is generated. Collective. */
static mxs_status make_data(gen *g, MPI_Comm comm) {
  const mxs_plant *plant = g->plant;
  const mxs_problem_options options = {.k = 1};
  const mxs_shape shape = mxsi_plant_shape(plant);
  if (is_dense(g))
    MXS_TRY(mxsi_problem_begin(comm, &shape, &options, &g->problem));
  else
    MXS_TRY(mxs_problem_plant(comm, plant, &options, &g->problem));
  mxs_status status = mxs_alloc(plant->n1 * plant->rank, sizeof *g->U, &g->U);
  if (status == MXS_OK)
    status = mxs_alloc(plant->n2 * plant->rank, sizeof *g->V, &g->V);
  if (status == MXS_OK)
    status = describe_outputs(g);
  MXS_TRY(mxs_comm_agree(g->comm, status));
  MXS_TRY(mxsi_plant_truth(g->comm, plant, g->U, g->V));
  return is_dense(g) ? mxs_comm_agree(g->comm, prepare_dense(g)) : MXS_OK;
}

static mxs_status put_recipe(const gen *g) {
  const mxs_plant *plant = g->plant;
  MXS_TRY(mxs_store_put_text(g->file, "format", "mxsense-problem"));
  MXS_TRY(mxs_store_put_integer(g->file, "format_version", MXS_PROBLEM_FORMAT_VERSION));
  MXS_TRY(mxs_store_put_text(g->file, "creator", mxs_build_get().creator));
  MXS_TRY(mxs_store_put_text(g->file, "ensemble", mxs_ensemble_name(plant->ensemble)));
  MXS_TRY(mxs_store_put_integer(g->file, "n1", plant->n1));
  MXS_TRY(mxs_store_put_integer(g->file, "n2", plant->n2));
  MXS_TRY(mxs_store_put_integer(g->file, "m", plant->measurements));
  MXS_TRY(mxs_store_put_unsigned(g->file, "seed", plant->seed));
  MXS_TRY(mxs_store_put_integer(g->file, "ensemble_version", MXS_ENSEMBLE_VERSION));
  if (plant->ensemble == MXS_ENSEMBLE_FAST)
    MXS_TRY(mxs_store_put_integer(g->file, "block_rows", g->problem->block_rows));
  MXS_TRY(mxs_store_put_number(g->file, "noise_std", plant->noise));
  MXS_TRY(mxs_store_put_number(g->file, "condition", plant->condition));
  return mxs_store_put_integer(g->file, "rank", plant->rank);
}

/* Collective calls in the same order on all ranks; the status may differ. */
static mxs_status create_outputs(gen *g) {
  MXS_TRY(put_recipe(g));
  for (int i = 0; i < MXSI_FILE_SETS; i++) {
    output *out = &g->outputs[i];
    const int64_t dims[2] = {out->groups.count, 2};
    if (out->groups.rows == 0)
      continue;
    MXS_TRY(mxs_store_create_set(g->file, g->path, mxsi_file_name(i), out->type, out->ndims,
                                 out->dims, MXS_STORE_PLAIN, &out->set));
    MXS_TRY(mxs_store_create_set(g->file, g->path, mxsi_file_digest_name(i), H5T_STD_U64LE, 2, dims,
                                 MXS_STORE_PLAIN, &out->digest_set));
    MXS_TRY(mxs_store_put_integer(out->digest_set, "rows_per_digest", out->groups.rows_per_digest));
    if (g->storage == MXS_STORAGE_BF16 && (i == MXSI_FILE_A || i == MXSI_FILE_VALIDATION_A))
      MXS_TRY(mxs_store_put_text(out->set, MXSI_FILE_STORAGE, mxs_storage_name(MXS_STORAGE_BF16)));
  }
  return MXS_OK;
}

/* Size of the file, for the question whether it fits. */
static int64_t expected_bytes(const gen *g) {
  int64_t bytes = INT64_C(1) << 20;
  for (int i = 0; i < MXSI_FILE_SETS; i++) {
    const output *out = &g->outputs[i];
    int64_t size = out->groups.rows > 0 ? (int64_t)H5Tget_size(out->type) : 0;
    for (int d = 0; d < out->ndims; d++)
      size *= out->dims[d];
    bytes += size;
  }
  return bytes;
}

/* Rank 0 asks the file system for the room. Collective. */
static mxs_status ask_room(const gen *g) {
  const mxs_status status =
      g->comm->rank == 0 ? mxs_store_preallocate(g->temporary, expected_bytes(g)) : MXS_OK;
  return mxs_comm_agree(g->comm, status);
}

/* Room is asked for before HDF5 is involved, which can neither close nor forget a file that does
 * not fit, and again once the create has cut the file to nothing. Collective. */
static mxs_status create_file(gen *g) {
  MXS_TRY(ask_room(g));
  MXS_TRY(mxs_store_create_all(g->comm, g->temporary, &g->file));
  MXS_TRY(mxs_comm_agree(g->comm, create_outputs(g)));
  return ask_room(g);
}

/* Write a group of rows and keep its digest. Local. */
static mxs_status write_group(const gen *g, int which, int64_t group, const void *rows) {
  const output *out = &g->outputs[which];
  int64_t first[MXS_STORE_DIMS] = {group * out->groups.rows_per_digest};
  int64_t count[MXS_STORE_DIMS] = {mxsi_file_group_size(&out->groups, group), out->dims[1],
                                   out->dims[2]};
  size_t bytes = H5Tget_size(out->memory);
  for (int d = 0; d < out->ndims; d++)
    bytes *= (size_t)count[d];
  mxs_hash128(rows, bytes, out->groups.digests + 2 * group);
  return mxs_store_write(out->set, g->path, out->memory, first, count, rows);
}

/* Make rows of A as they are stored, and their y. Local. */
static mxs_status measure_block(const gen *g, int64_t first, int64_t count, double *y) {
  const int64_t entries = g->plant->n1 * g->plant->n2;
  for (int64_t i = 0; i < count; i++) {
    mxsi_generated_rows(MXS_ENSEMBLE_GAUSSIAN, g->plant->seed, entries, first + i, 1, g->row);
    for (int64_t j = 0; j < entries && g->storage == MXS_STORAGE_BF16; j++)
      g->row[j] = mxsi_file_round_bf16(g->row[j]);
    mxsi_dense_put(g->dense, i, 1, g->row);
  }
  const mxs_single pass = {.count = count, .x = g->X, .w = y};
  MXS_TRY(mxsi_op_single(&mxsi_op_dense, g->dense, 0, &pass));
  mxsi_plant_noise(g->plant, first, count, y);
  return MXS_OK;
}

/* This rank's blocks of one set of measurements. Local. */
static mxs_status write_data(
    const gen *g, const mxs_data *data, int64_t offset, int y_set, int A_set) {
  const mxs_blocks *blocks = &data->blocks;
  for (int64_t j = 0; j < blocks->own_count; j++) {
    const int64_t block = blocks->own[j];
    double *y = data->y + blocks->offset[j];
    if (is_dense(g)) {
      MXS_TRY(measure_block(g, offset + mxs_blocks_first(blocks, block),
                            mxs_blocks_size(blocks, block), y));
      MXS_TRY(write_group(g, A_set, block, g->dense->rows));
    }
    MXS_TRY(write_group(g, y_set, block, y));
  }
  return MXS_OK;
}

/* Everything but the digests; rank 0 writes the truth. Local. */
static mxs_status write_outputs(const gen *g) {
  const mxs_problem *p = g->problem;
  MXS_TRY(write_data(g, &p->train, 0, MXSI_FILE_Y, MXSI_FILE_A));
  MXS_TRY(write_data(g, &p->validation, g->plant->measurements, MXSI_FILE_VALIDATION_Y,
                     MXSI_FILE_VALIDATION_A));
  if (g->comm->rank != 0)
    return MXS_OK;
  MXS_TRY(write_group(g, MXSI_FILE_U, 0, g->U));
  return write_group(g, MXSI_FILE_V, 0, g->V);
}

/* All ranks learn all digests (each is zero on all ranks but one); rank 0 writes them. Collective.
 */
static mxs_status write_digests(const gen *g) {
  mxs_status status = MXS_OK;
  for (int i = 0; i < MXSI_FILE_SETS; i++) {
    const output *out = &g->outputs[i];
    const int64_t first[2] = {0, 0};
    const int64_t count[2] = {out->groups.count, 2};
    if (out->groups.rows == 0)
      continue;
    MPI_Allreduce(MPI_IN_PLACE, out->groups.digests, (int)(2 * out->groups.count), MPI_UINT64_T,
                  MPI_BOR, g->comm->mpi);
    if (g->comm->rank == 0 && status == MXS_OK)
      status = mxs_store_write(out->digest_set, g->path, H5T_NATIVE_UINT64, first, count,
                               out->groups.digests);
  }
  return mxs_comm_agree(g->comm, status);
}

/* Close what is open; a file that does not close well is not good. Collective. */
static mxs_status close_file(gen *g) {
  mxs_status status = MXS_OK;
  for (int i = 0; i < MXSI_FILE_SETS; i++) {
    (void)mxs_store_close(&g->outputs[i].set);
    (void)mxs_store_close(&g->outputs[i].digest_set);
  }
  if (g->file >= 0 && H5Fflush(g->file, H5F_SCOPE_GLOBAL) < 0)
    status = mxs_store_fail(MXS_ERR_IO, g->path, "cannot flush");
  const mxs_status closed = mxs_store_close(&g->file);
  return mxs_comm_agree(g->comm, status != MXS_OK ? status : closed);
}

/* Compare the groups of one dataset that fall to this rank with the digests in memory. Local. */
static mxs_status read_back_set(const gen *g, hid_t file, int which) {
  const output *out = &g->outputs[which];
  mxs_store_set set;
  char *rows = NULL;
  MXS_TRY(mxs_store_set_open(file, g->temporary, mxsi_file_name(which), &set));
  const int64_t entries = mxsi_file_group_size(&out->groups, 0) * mxsi_file_row_entries(&set);
  mxs_status status = mxs_alloc(entries, H5Tget_size(out->memory), &rows);
  for (int64_t group = g->comm->rank; group < out->groups.count && status == MXS_OK;
       group += g->comm->size)
    status = mxsi_file_group_check(&set, out->memory, &out->groups, group, rows);
  mxs_release(&rows);
  mxs_store_set_close(&set);
  return status;
}

/* Read everything back as a reader would. Local; the ranks share the groups. */
static mxs_status read_back(const gen *g) {
  hid_t file = H5I_INVALID_HID;
  mxs_problem_header header;
  MXS_TRY(mxs_store_open(g->temporary, &file));
  mxs_status status = mxsi_file_header(file, g->temporary, &header);
  for (int i = 0; i < MXSI_FILE_SETS && status == MXS_OK; i++) {
    const mxsi_file_groups *groups = &g->outputs[i].groups;
    mxsi_file_groups stored = {0};
    if (groups->rows == 0)
      continue;
    status = read_back_set(g, file, i);
    if (status == MXS_OK)
      status = mxsi_file_groups_read(file, g->temporary, i, groups->rows, &stored);
    if (status == MXS_OK && memcmp(stored.digests, groups->digests,
                                   (size_t)groups->count * 2 * sizeof *stored.digests) != 0)
      status = mxs_fail(MXS_ERR_DATA, "%s: /%s is not what was written", g->temporary,
                        mxsi_file_digest_name(i));
    mxsi_file_groups_clear(&stored);
  }
  (void)mxs_store_close(&file);
  return status;
}

/* Publish the temporary file under its name. Local: rank 0. */
static mxs_status publish(const gen *g) {
  MXS_TRY(mxs_store_sync(g->temporary));
  if (rename(g->temporary, g->path) != 0)
    return mxs_fail(MXS_ERR_IO, "%s: cannot rename to %s: %s", g->temporary, g->path,
                    strerror(errno));
  return mxs_store_sync_parent(g->path);
}

/* From a reserved name to the published file. Collective. */
static mxs_status generate(gen *g, MPI_Comm comm) {
  MXS_TRY(make_data(g, comm));
  mxs_status status = create_file(g);
  if (status == MXS_OK)
    status = mxs_comm_agree(g->comm, write_outputs(g));
  if (status == MXS_OK)
    status = write_digests(g);
  const mxs_status closed = close_file(g);
  MXS_TRY(status != MXS_OK ? status : closed);
  status = read_back(g);
  if (status != MXS_OK)
    status = mxs_fail(MXS_ERR_IO, "the file written does not read back (disk full?): %s",
                      mxs_last_error());
  MXS_TRY(mxs_comm_agree(g->comm, status));
  return mxs_comm_agree(g->comm, g->comm->rank == 0 ? publish(g) : MXS_OK);
}

static void clear(gen *g) {
  for (int i = 0; i < MXSI_FILE_SETS; i++)
    mxsi_file_groups_clear(&g->outputs[i].groups);
  if (g->dense != NULL)
    mxsi_op_dense.destroy(g->dense);
  mxs_blocks_clear(&g->one);
  mxs_release(&g->row);
  mxs_release(&g->U);
  mxs_release(&g->V);
  mxs_release(&g->X);
  mxs_release(&g->temporary);
  mxs_problem_destroy(&g->problem);
}

mxs_status mxs_problem_gen(MPI_Comm comm,
                           const mxs_plant *plant,
                           mxs_storage storage,
                           const char *path) {
  gen g = {.plant = plant,
           .storage = storage != MXS_STORAGE_AS_FILE ? storage : MXS_STORAGE_F64,
           .path = path,
           .file = H5I_INVALID_HID};
  mxs_comm *own = NULL;
  for (int i = 0; i < MXSI_FILE_SETS; i++)
    g.outputs[i].set = g.outputs[i].digest_set = H5I_INVALID_HID;
  MXS_TRY(mxsi_plant_check(plant));
  if (plant->ensemble == MXS_ENSEMBLE_USER)
    return mxs_fail(MXS_ERR_SETTINGS,
                    "ensemble: give dense, gaussian, gaussian8, rademacher or fast");
  if (storage == MXS_STORAGE_BITS)
    return mxs_fail(MXS_ERR_SETTINGS, "storage: give f64, f32 or bf16");
  MXS_TRY(mxs_comm_create(comm, &own));
  g.comm = own;
  mxs_status status = reserve(&g);
  if (status == MXS_OK)
    status = generate(&g, comm);
  if (status != MXS_OK && own->rank == 0 && g.temporary != NULL)
    (void)unlink(g.temporary);
  clear(&g);
  mxs_comm_destroy(&own);
  return status;
}
