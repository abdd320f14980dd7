/* Digests of the file, compared while it is loaded, and digests of memory, compared later: a bit
 * that changed is noticed on any number of ranks, wherever it is and however the rows are cut. */
#include "mpi/problem_files.h"

#include "op/op.h"

#include <fcntl.h>

/* Where the data of a dataset begins in the file; rank 0. */
static int64_t offset_of(const char *path, const char *name) {
  hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
  hid_t set = H5Dopen2(file, name, H5P_DEFAULT);
  const haddr_t offset = H5Dget_offset(set);
  (void)H5Dclose(set);
  (void)H5Fclose(file);
  return (int64_t)offset;
}

/* Change the lowest bit of a byte; rank 0 does, all wait. */
static void flip(const char *path, int64_t at) {
  MPI_Barrier(comm->mpi);
  if (comm->rank == 0) {
    unsigned char byte = 0;
    const int fd = open(path, O_RDWR);
    assert_true(fd >= 0 && pread(fd, &byte, 1, at) == 1);
    byte ^= 1;
    assert_true(pwrite(fd, &byte, 1, at) == 1 && close(fd) == 0);
  }
  MPI_Barrier(comm->mpi);
}

typedef struct place {
  const char *set;
  int64_t row_entries, rows;
} place;

static const place places[] = {{"y", 1, 203},           {"A", 54, 203},
                               {"validation/y", 1, 37}, {"validation/A", 54, 37},
                               {"truth/U", 2, 9},       {"truth/V", 2, 6}};

/* First, middle and last entry of a dataset, one bit at a time, are all refused. */
static void check_place(const char *path,
                        const place *p,
                        int64_t size,
                        const mxs_problem_options *options) {
  char word[64];
  int64_t begin = comm->rank == 0 ? offset_of(path, p->set) : 0;
  mxs_comm_bcast(comm, &begin, sizeof begin, 0);
  (void)snprintf(word, sizeof word, "/%s: rows ", p->set);
  for (int i = 0; i < 3; i++) {
    const int64_t at = begin + (p->row_entries * p->rows - 1) * i / 2 * size;
    flip(path, at);
    assert_everywhere(load_gives(path, options, MXS_ERR_DATA, word));
    flip(path, at);
  }
}

static void test_file(void **unused) {
  (void)unused;
  const char *path = at("digests.h5");
  static const int64_t block_rows[] = {0, 7, 50}; /* groups have 32 rows */
  static const mxs_storage kept[] = {MXS_STORAGE_F64, MXS_STORAGE_F32, MXS_STORAGE_BF16};
  for (int disk = 0; disk < 2; disk++) {
    assert_ok(mxs_problem_gen(MPI_COMM_WORLD, &recipe,
                              disk == 0 ? MXS_STORAGE_F64 : MXS_STORAGE_F32, path));
    for (int c = 0; c < 3; c++) {
      const mxs_problem_options options = {
          .k = 3, .block_rows = block_rows[c], .storage = kept[(c + disk) % 3]};
      assert_everywhere(load_gives(path, &options, MXS_OK, NULL));
      for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        check_place(path, &places[i], places[i].row_entries == 54 && disk == 1 ? 4 : 8, &options);
    }
    drop(path);
  }
}

/* Of the first measurements only: the group that is cut is checked too. */
static void test_fewer(void **unused) {
  (void)unused;
  const char *path = at("fewer.h5");
  const mxs_problem_options options = {.k = 3, .measurements = 70};
  assert_ok(mxs_problem_gen(MPI_COMM_WORLD, &recipe, MXS_STORAGE_F64, path));
  assert_everywhere(load_gives(path, &options, MXS_OK, NULL));
  int64_t begin = comm->rank == 0 ? offset_of(path, "A") : 0;
  mxs_comm_bcast(comm, &begin, sizeof begin, 0);
  flip(path, begin + INT64_C(69) * 54 * 8);
  assert_everywhere(load_gives(path, &options, MXS_ERR_DATA, "/A: rows 64 .. 95"));
  drop(path);
}

/* Flip a bit of memory on the last rank that has some, and back: noticed there, and nowhere else.
 */
static void check_memory(const mxs_problem *p, void *memory, int64_t bytes, const char *word) {
  const int64_t has = memory != NULL && bytes > 0 ? comm->rank : -1;
  const int64_t last = mxs_comm_max(comm, has);
  const int mine = memory != NULL && last == comm->rank;
  unsigned char nothing = 0;
  unsigned char *byte = mine ? (unsigned char *)memory + bytes / 2 : &nothing;
  assert_ok(mxsi_problem_verify(p));
  if (mine)
    *byte ^= 16;
  const mxs_status status = mxsi_problem_verify(p);
  assert_everywhere(status == (mine ? MXS_ERR_INTERNAL : MXS_OK) &&
                    (!mine || (strstr(mxs_last_error(), word) == mxs_last_error() &&
                               strstr(mxs_last_error(), "run the same line again") != NULL)));
  if (mine)
    *byte ^= 16;
  assert_ok(mxsi_problem_verify(p));
}

static void check_set(const mxs_problem *p, mxs_data *data, const char *y, const char *A) {
  const int64_t rows = mxs_blocks_own_rows(&data->blocks);
  check_memory(p, data->y, rows * 8, y);
  if (data->op == &mxsi_op_dense) {
    const mxs_dense *dense = data->self;
    check_memory(p, dense->rows, rows * mxsi_row_bytes(&dense->visits), A);
  }
}

static void test_memory(void **unused) {
  (void)unused;
  const char *path = at("memory.h5");
  static const mxs_storage kept[] = {MXS_STORAGE_F64, MXS_STORAGE_F32, MXS_STORAGE_BF16};
  mxs_problem *p = NULL;
  assert_ok(mxs_problem_gen(MPI_COMM_WORLD, &recipe, MXS_STORAGE_F64, path));
  for (int i = 0; i < 3; i++) {
    const mxs_problem_options options = {.k = 3, .storage = kept[i]};
    assert_ok(mxs_problem_load(MPI_COMM_WORLD, path, &options, &p));
    check_set(p, &p->train, "y ", "A ");
    check_set(p, &p->validation, "validation/y", "validation/A");
    mxs_problem_destroy(&p);
  }
  drop(path);
}

/* Of generated ensembles y is watched, the hold-out, and the bits where they are kept. */
static void test_generated(void **unused) {
  (void)unused;
  mxs_problem *p = NULL;
  mxs_plant plant = recipe;
  plant.held_out = 0;
  plant.ensemble = MXS_ENSEMBLE_RADEMACHER;
  for (int bits = 0; bits < 2; bits++) {
    const mxs_problem_options options = {
        .k = 3, .hold_out = 0.2, .storage = bits ? MXS_STORAGE_BITS : MXS_STORAGE_AS_FILE};
    assert_ok(mxs_problem_plant(MPI_COMM_WORLD, &plant, &options, &p));
    const int64_t rows = mxs_blocks_own_rows(&p->train.blocks);
    check_set(p, &p->train, "y ", "A ");
    check_memory(p, p->train.weight, rows * 8, "y ");
    int64_t bytes = 0;
    const void *stored = mxsi_problem_stored(p, &bytes);
    void *writable = NULL;
    memcpy(&writable, &stored, sizeof stored);
    assert_everywhere((bytes > 0) == (bits && rows > 0));
    if (bits)
      check_memory(p, writable, bytes, "A ");
    mxs_problem_destroy(&p);
  }
}

static const struct CMUnitTest all_tests[] = {
    cmocka_unit_test_setup_teardown(test_file, setup, teardown),
    cmocka_unit_test_setup_teardown(test_fewer, setup, teardown),
    cmocka_unit_test_setup_teardown(test_memory, setup, teardown),
    cmocka_unit_test_setup_teardown(test_generated, setup, teardown),
};

MPI_TEST_MAIN(all_tests)
