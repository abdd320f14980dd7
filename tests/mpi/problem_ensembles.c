/* Ensembles and storages through problem files: the numbers in them are those of the matrices, the
 * same however A is held, and what cannot be held so is refused. */
#include "problem_files.h"

/* y of one set of a fast problem against the matrices, one by one. */
static int fast_data_is_exact(const mxs_problem *p, const mxs_data *data) {
  double row[9 * 6];
  int exact = 1;
  for (int64_t j = 0; j < data->blocks.own_count; j++) {
    const int64_t first = mxs_blocks_first(&data->blocks, data->blocks.own[j]);
    for (int64_t i = data->blocks.offset[j]; i < data->blocks.offset[j + 1]; i++) {
      const int64_t at = data->first + first + i - data->blocks.offset[j];
      double sum = 0.0;
      exact = exact && mxsi_fast_rows(p->ensemble_seed, 54, p->block_rows, at, 1, row) == MXS_OK;
      for (int64_t e = 0; e < 54; e++)
        sum += row[e] * p->truth.X[e];
      exact = exact && fabs(sum - data->y[i]) <= 64 * 2.3e-16 * 9 * 6;
    }
  }
  return exact;
}

/* Blocks of the solver are those of the transform, whatever k; fewer measurements and those held
 * out, which begin in the middle of a block, are the right ones. */
static void test_fast_blocks(void **unused) {
  (void)unused;
  const mxs_problem_options options = {.k = 9, .measurements = 100};
  const char *path = at("fast.h5");
  mxs_problem *p = NULL;
  mxs_plant plant = recipe;
  plant.ensemble = MXS_ENSEMBLE_FAST;
  plant.noise = 0.0;
  plant.blocks = 7;
  assert_ok(mxs_problem_gen(MPI_COMM_WORLD, &plant, MXS_STORAGE_AS_FILE, path));
  assert_ok(mxs_problem_load(MPI_COMM_WORLD, path, &options, &p));
  const mxs_problem_info info = mxs_problem_get_info(p);
  assert_everywhere(info.m == 100 && info.rows_per_block == 29 && info.blocks == 4);
  assert_everywhere(info.storage == MXS_STORAGE_AS_FILE && p->validation.first == 203);
  assert_everywhere(p->truth.X != NULL && fast_data_is_exact(p, &p->train));
  assert_everywhere(fast_data_is_exact(p, &p->validation));
  mxs_problem_destroy(&p);
  drop(path);
}

static void set_integer(const char *path, const char *name, int64_t value) {
  MPI_Barrier(MPI_COMM_WORLD);
  if (comm->rank == 0) {
    hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
    (void)H5Adelete(file, name);
    if (value >= 0)
      assert_int_equal(mxs_store_put_integer(file, name, value), MXS_OK);
    (void)H5Fclose(file);
  }
  MPI_Barrier(MPI_COMM_WORLD);
}

static void test_fast_refusals(void **unused) {
  (void)unused;
  const mxs_problem_options options = {.k = 2};
  const mxs_problem_options bits = {.k = 2, .storage = MXS_STORAGE_BITS};
  const char *path = at("refused.h5");
  mxs_plant plant = recipe;
  plant.ensemble = MXS_ENSEMBLE_FAST;
  for (int64_t blocks = -1; blocks <= 204; blocks++) {
    plant.blocks = blocks;
    if (blocks == 0 || (blocks >= 4 && blocks <= 203))
      continue;
    assert_everywhere(mxs_problem_gen(MPI_COMM_WORLD, &plant, MXS_STORAGE_F64, path) ==
                      MXS_ERR_SETTINGS);
    assert_everywhere(strstr(mxs_last_error(), "block_rows") != NULL);
  }
  plant.blocks = 0;
  plant.measurements = 64 * 8192 + 1;
  assert_everywhere(mxs_problem_gen(MPI_COMM_WORLD, &plant, MXS_STORAGE_F64, path) ==
                    MXS_ERR_SETTINGS);
  assert_everywhere(strstr(mxs_last_error(), "block_rows") != NULL);
  plant.measurements = 203;
  assert_ok(mxs_problem_gen(MPI_COMM_WORLD, &plant, MXS_STORAGE_F64, path));
  assert_everywhere(load_gives(path, &bits, MXS_ERR_SETTINGS, "storage: bits"));
  set_integer(path, "block_rows", 64);
  assert_everywhere(load_gives(path, &options, MXS_OK, NULL));
  set_integer(path, "block_rows", 65);
  assert_everywhere(load_gives(path, &options, MXS_ERR_DATA, "block_rows = 65"));
  set_integer(path, "block_rows", 0);
  assert_everywhere(load_gives(path, &options, MXS_ERR_DATA, "block_rows = 0"));
  set_integer(path, "block_rows", -1);
  assert_everywhere(load_gives(path, &options, MXS_ERR_DATA, "block_rows"));
  set_integer(path, "block_rows", 64);
  set_integer(path, "ensemble_version", 0);
  assert_everywhere(load_gives(path, &options, MXS_ERR_DATA, "generate the problem again"));
  drop(path);
}

/* More blocks than there may be: nothing is read before that is seen. */
static void test_fast_too_many_blocks(void **unused) {
  (void)unused;
  const mxs_problem_options options = {.k = 2};
  const char *path = at("many.h5");
  mxs_plant plant = recipe;
  plant.ensemble = MXS_ENSEMBLE_FAST;
  plant.measurements = 8193;
  plant.blocks = 4097;
  assert_ok(mxs_problem_gen(MPI_COMM_WORLD, &plant, MXS_STORAGE_F64, path));
  set_integer(path, "block_rows", 1);
  assert_everywhere(load_gives(path, &options, MXS_ERR_DATA, "block_rows = 1"));
  assert_everywhere(strstr(mxs_last_error(), "8192") != NULL);
  drop(path);
}

/* Residuals of X* by a problem's own operator, over this rank's part of a set. */
static int residuals(const mxs_problem *p, const mxs_data *data, double *w) {
  int good = p->truth.X != NULL;
  for (int64_t j = 0; j < data->blocks.own_count && good; j++) {
    const mxs_single pass = {.count = mxs_blocks_size(&data->blocks, data->blocks.own[j]),
                             .x = p->truth.X,
                             .y = data->y + data->blocks.offset[j],
                             .w = w + data->blocks.offset[j]};
    const int64_t first = data->first + mxs_blocks_first(&data->blocks, data->blocks.own[j]);
    good = mxsi_op_single(data->op, data->self, first, &pass) == MXS_OK;
  }
  return good;
}

/* Bits that are kept are the bits that are generated: the same problem, the same numbers. */
static void test_rademacher_bits(void **unused) {
  (void)unused;
  mxs_problem_options options = {.k = 9};
  const char *path = at("signs.h5");
  mxs_problem *p[2] = {NULL, NULL};
  static double w[2][2][MXS_MAX_BLOCKS];
  mxs_problem_info info[2];
  int good = 1;
  mxs_plant plant = recipe;
  plant.ensemble = MXS_ENSEMBLE_RADEMACHER;
  assert_ok(mxs_problem_gen(MPI_COMM_WORLD, &plant, MXS_STORAGE_AS_FILE, path));
  for (int kept = 0; kept < 2; kept++) {
    options.storage = kept ? MXS_STORAGE_BITS : MXS_STORAGE_AS_FILE;
    assert_ok(mxs_problem_load(MPI_COMM_WORLD, path, &options, &p[kept]));
    info[kept] = mxs_problem_get_info(p[kept]);
    good = good && info[kept].storage == options.storage;
    good = good && info[kept].bytes_local >=
                       mxs_blocks_own_rows(&p[kept]->train.blocks) * (8 + (kept ? 54 / 8 : 0));
    good = good && residuals(p[kept], &p[kept]->train, w[kept][0]);
    good = good && residuals(p[kept], &p[kept]->validation, w[kept][1]);
    mxs_problem_destroy(&p[kept]);
  }
  assert_everywhere(good && info[0].digest == info[1].digest);
  assert_everywhere(mpi_test_same_bits(w[0], w[1], sizeof w[0]));
  drop(path);
}

/* y is of the rounded A, and the file says that it is: f32 on disk, bf16 in memory. */
static void test_bf16(void **unused) {
  (void)unused;
  const mxs_problem_options options = {.k = 9};
  const mxs_problem_options wide = {.k = 9, .storage = MXS_STORAGE_F64};
  const char *path = at("bf16.h5");
  const char *word = "A[3, 2, 1] is 1.00000012";
  static double w[MXS_MAX_BLOCKS];
  mxs_problem *p = NULL;
  mxs_problem_header header = {0};
  mxs_plant plant = recipe;
  plant.noise = 0.0;
  assert_ok(mxs_problem_gen(MPI_COMM_WORLD, &plant, MXS_STORAGE_BF16, path));
  assert_ok(mxs_problem_peek(path, &header));
  assert_everywhere(header.storage == MXS_STORAGE_BF16 && strcmp(header.entries, "f32") == 0);
  for (int i = 0; i < 2; i++) {
    assert_ok(mxs_problem_load(MPI_COMM_WORLD, path, i == 0 ? &options : &wide, &p));
    int exact = p->storage == (i == 0 ? MXS_STORAGE_BF16 : MXS_STORAGE_F64);
    const mxs_problem_info info = mxs_problem_get_info(p);
    const int64_t rows =
        mxs_blocks_own_rows(&p->train.blocks) + mxs_blocks_own_rows(&p->validation.blocks);
    exact = exact && info.bytes_local >= rows * (8 + 54 * (i == 0 ? 2 : 8));
    exact = exact && residuals(p, &p->train, w);
    for (int64_t j = 0; j < mxs_blocks_own_rows(&p->train.blocks); j++)
      exact = exact && fabs(w[j]) <= 64 * 2.3e-16 * 9 * 6;
    assert_everywhere(exact);
    mxs_problem_destroy(&p);
  }
  if (comm->rank == 0) {
    const float changed = 1.00000012F;
    hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
    hid_t set = H5Dopen2(file, "A", H5P_DEFAULT);
    hid_t space = H5Dget_space(set);
    hid_t one = H5Screate(H5S_SCALAR);
    const hsize_t entry[3] = {3, 2, 1};
    assert_true(H5Sselect_elements(space, H5S_SELECT_SET, 1, entry) >= 0 &&
                H5Dwrite(set, H5T_NATIVE_FLOAT, one, space, H5P_DEFAULT, &changed) >= 0);
    (void)H5Sclose(one);
    (void)H5Sclose(space);
    (void)H5Dclose(set);
    (void)H5Fclose(file);
  }
  MPI_Barrier(MPI_COMM_WORLD);
  assert_everywhere(load_gives(path, &options, MXS_ERR_DATA, "/A: rows 0 .. "));
  MPI_Barrier(MPI_COMM_WORLD);
  if (comm->rank == 0) {
    hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
    assert_true(H5Ldelete(file, "digests", H5P_DEFAULT) >= 0);
    (void)H5Fclose(file);
  }
  MPI_Barrier(MPI_COMM_WORLD);
  assert_everywhere(load_gives(path, &options, MXS_ERR_DATA, word));
  drop(path);
}

static void test_rounding(void **unused) {
  (void)unused;
  static const double cases[][2] = {{1.0, 1.0},
                                    {0x1.01p0, 0x1.0p0},  /* tie, to even */
                                    {0x1.03p0, 0x1.04p0}, /* tie, to even */
                                    {0x1.0101p0, 0x1.02p0},
                                    {-0x1.0101p0, -0x1.02p0},
                                    {0x1.01000000001p0, 0x1.02p0}, /* a float would be a tie */
                                    {0x1.8p-133, 0x1p-132},
                                    {0x1.8p-134, 0x1p-133},
                                    {0.0, 0.0},
                                    {0x1.fep127, 0x1.fep127},
                                    {0x1.ffp127, (double)INFINITY},
                                    {1e300, (double)INFINITY}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    assert_true(mxsi_file_round_bf16(cases[i][0]) == cases[i][1]);
}

/* Stored signs as bits: the same numbers as in full, and nothing but signs. */
static void test_stored_bits(void **unused) {
  (void)unused;
  const char *path = at("bits.h5");
  const mxs_problem_options full = {.k = 1};
  const mxs_problem_options bits = {.k = 1, .storage = MXS_STORAGE_BITS};
  const mxs_problem_options bf16 = {.k = 1, .storage = MXS_STORAGE_BF16};
  mxs_problem *p[2] = {NULL, NULL};
  user_file u = good_file();
  int good = 1;
  u.signs = 1;
  u.validation = 11;
  write_user(path, &u);
  assert_ok(mxs_problem_load(MPI_COMM_WORLD, path, &full, &p[0]));
  assert_ok(mxs_problem_load(MPI_COMM_WORLD, path, &bits, &p[1]));
  good = p[1]->storage == MXS_STORAGE_BITS;
  for (int s = 0; s < 2; s++) {
    const mxs_data *a = s == 0 ? &p[0]->train : &p[0]->validation;
    const mxs_data *b = s == 0 ? &p[1]->train : &p[1]->validation;
    for (int64_t j = 0; j < a->blocks.own_count; j++) {
      double x[N1 * N2], w[2][M];
      for (int64_t e = 0; e < (int64_t)N1 * N2; e++)
        x[e] = (double)(e * e % 17 - 8);
      mxs_single pass = {.count = mxs_blocks_size(&a->blocks, a->blocks.own[j]), .x = x, .w = w[0]};
      const int64_t first = mxs_blocks_first(&a->blocks, a->blocks.own[j]);
      good = good && mxsi_op_single(a->op, a->self, first, &pass) == MXS_OK;
      pass.w = w[1];
      good = good && mxsi_op_single(b->op, b->self, first, &pass) == MXS_OK;
      good = good && mpi_test_same_bits(w[0], w[1], (size_t)pass.count * sizeof(double));
    }
  }
  assert_everywhere(good);
  const mxs_problem_info info = mxs_problem_get_info(p[1]);
  assert_everywhere(info.digest != mxs_problem_get_info(p[0]).digest);
  mxs_problem_destroy(&p[0]);
  mxs_problem_destroy(&p[1]);
  u.odd = 0.5;
  write_user(path, &u);
  assert_everywhere(load_gives(path, &bits, MXS_ERR_DATA, "A[2, 1, 2] is 0.5"));
  u.odd = 3.4e38;
  write_user(path, &u);
  assert_everywhere(load_gives(path, &bf16, MXS_ERR_DATA, "A[2, 1, 2] is 3.4e+38, too large"));
  drop(path);
}

static const struct CMUnitTest all_tests[] = {
    cmocka_unit_test_setup_teardown(test_fast_blocks, setup, teardown),
    cmocka_unit_test_setup_teardown(test_fast_refusals, setup, teardown),
    cmocka_unit_test_setup_teardown(test_fast_too_many_blocks, setup, teardown),
    cmocka_unit_test_setup_teardown(test_rademacher_bits, setup, teardown),
    cmocka_unit_test_setup_teardown(test_bf16, setup, teardown),
    cmocka_unit_test_setup_teardown(test_rounding, setup, teardown),
    cmocka_unit_test_setup_teardown(test_stored_bits, setup, teardown),
};

MPI_TEST_MAIN(all_tests)
