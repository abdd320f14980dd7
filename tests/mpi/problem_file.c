/* Problem files: planted ones are the same bytes at any number of ranks and read back as the
 * problem in memory; files of users are taken as they come, and what is wrong with one is said in a
 * sentence. */
#include "problem_files.h"

#include <signal.h>
#include <sys/resource.h>

static int same_bytes(const char *a, const char *b) {
  FILE *x = fopen(a, "rb");
  FILE *y = fopen(b, "rb");
  int same = x != NULL && y != NULL;
  while (same) {
    const int c = fgetc(x);
    same = c == fgetc(y);
    if (c == EOF)
      break;
  }
  if (x != NULL)
    (void)fclose(x);
  if (y != NULL)
    (void)fclose(y);
  return same;
}

static uint64_t loaded_digest(MPI_Comm mpi, const char *path, mxs_problem_info *info) {
  const mxs_problem_options options = {.k = 2};
  mxs_problem *problem = NULL;
  if (mxs_problem_load(mpi, path, &options, &problem) != MXS_OK)
    return 0;
  *info = mxs_problem_get_info(problem);
  mxs_problem_destroy(&problem);
  return info->digest;
}

/* One recipe planted by all and by rank 0 alone. */
static void check_gen(const mxs_plant *plant, mxs_storage storage) {
  const char *ours = at("all.h5");
  const char *alone = at("alone.h5");
  mxs_problem_info info = {0};
  uint64_t single = 0;
  char *report = NULL;
  int good = 1;
  assert_ok(mxs_problem_gen(MPI_COMM_WORLD, plant, storage, ours));
  if (comm->rank == 0) {
    good =
        mxs_problem_gen(MPI_COMM_SELF, plant, storage, alone) == MXS_OK && same_bytes(ours, alone);
    good = good && mxs_problem_verify(ours, &report) == MXS_OK &&
           strstr(report, "digests agree") != NULL;
    single = loaded_digest(MPI_COMM_SELF, alone, &info);
    mxs_release(&report);
  }
  assert_everywhere(good);
  mxs_comm_bcast(comm, &single, (int64_t)sizeof single, 0);
  assert_everywhere(loaded_digest(MPI_COMM_WORLD, ours, &info) == single && single != 0);
  assert_everywhere(info.m == plant->measurements && info.m_validation == plant->held_out);
  assert_everywhere(info.n1 == plant->n1 && info.n2 == plant->n2 && info.truth_rank == plant->rank);
  assert_everywhere(info.ensemble == plant->ensemble);
  if (plant->ensemble == MXS_ENSEMBLE_DENSE)
    assert_everywhere(info.storage == storage);
  drop(ours);
  drop(alone);
}

static void test_gen(void **unused) {
  (void)unused;
  const mxs_ensemble ensembles[5] = {MXS_ENSEMBLE_DENSE, MXS_ENSEMBLE_GAUSSIAN,
                                     MXS_ENSEMBLE_GAUSSIAN8, MXS_ENSEMBLE_RADEMACHER,
                                     MXS_ENSEMBLE_FAST};
  for (int i = 0; i < 5; i++) {
    mxs_plant plant = recipe;
    plant.ensemble = ensembles[i];
    check_gen(&plant, MXS_STORAGE_F32);
    check_gen(&plant, MXS_STORAGE_BF16);
    plant.measurements = 1;
    plant.held_out = 0;
    plant.noise = 0.0;
    check_gen(&plant, MXS_STORAGE_F64);
  }
}

/* A generated ensemble's file is the problem planted in memory. */
static void test_gen_is_plant(void **unused) {
  (void)unused;
  const mxs_problem_options options = {.k = 1};
  const char *path = at("generated.h5");
  mxs_problem *planted = NULL;
  mxs_problem *loaded = NULL;
  mxs_plant plant = recipe;
  plant.ensemble = MXS_ENSEMBLE_GAUSSIAN;
  assert_ok(mxs_problem_gen(MPI_COMM_WORLD, &plant, MXS_STORAGE_AS_FILE, path));
  assert_ok(mxs_problem_plant(MPI_COMM_WORLD, &plant, &options, &planted));
  assert_ok(mxs_problem_load(MPI_COMM_WORLD, path, &options, &loaded));
  const mxs_problem_info a = mxs_problem_get_info(planted);
  const mxs_problem_info b = mxs_problem_get_info(loaded);
  assert_everywhere(a.digest == b.digest && a.blocks == b.blocks);
  const mxs_data *x = &planted->validation;
  const mxs_data *y = &loaded->validation;
  assert_everywhere(x->first == y->first);
  assert_everywhere(memcmp(x->y, y->y, (size_t)mxs_blocks_own_rows(&x->blocks) * sizeof *x->y) ==
                    0);
  mxs_problem_destroy(&planted);
  mxs_problem_destroy(&loaded);
  drop(path);
}

/* Without noise, y of a stored A is exactly what its operator makes of X*. */
static void test_gen_dense_exact(void **unused) {
  (void)unused;
  const mxs_problem_options options = {.k = 9};
  const char *path = at("exact.h5");
  mxs_problem *p = NULL;
  double w[MXS_MAX_BLOCKS];
  int exact = 1;
  mxs_plant plant = recipe;
  plant.noise = 0.0;
  assert_ok(mxs_problem_gen(MPI_COMM_WORLD, &plant, MXS_STORAGE_F32, path));
  assert_ok(mxs_problem_load(MPI_COMM_WORLD, path, &options, &p));
  assert_everywhere(p->truth.X != NULL);
  for (int64_t j = 0; j < p->train.blocks.own_count; j++) {
    const int64_t first = mxs_blocks_first(&p->train.blocks, p->train.blocks.own[j]);
    const int64_t count = mxs_blocks_size(&p->train.blocks, p->train.blocks.own[j]);
    const double *y = p->train.y + p->train.blocks.offset[j];
    exact = exact && mxsi_op_single(
                         p->train.op, p->train.self, first,
                         &(mxs_single){.count = count, .x = p->truth.X, .y = y, .w = w}) == MXS_OK;
    for (int64_t i = 0; i < count; i++)
      exact = exact && fabs(w[i]) <= 64 * 2.3e-16 * 9 * 6;
  }
  assert_everywhere(exact);
  mxs_problem_destroy(&p);
  drop(path);
}

static void test_gen_refusals(void **unused) {
  (void)unused;
  const char *path = at("taken.h5");
  mxs_plant plant = recipe;
  struct rlimit before, limited;
  assert_ok(mxs_problem_gen(MPI_COMM_WORLD, &plant, MXS_STORAGE_F64, path));
  assert_everywhere(mxs_problem_gen(MPI_COMM_WORLD, &plant, MXS_STORAGE_F64, path) ==
                    MXS_ERR_CREATE);
  assert_everywhere(mxs_problem_gen(MPI_COMM_WORLD, &plant, MXS_STORAGE_F64, at("no/such.h5")) ==
                    MXS_ERR_CREATE);
  assert_everywhere(strstr(mxs_last_error(), "no such directory") != NULL);
  drop(path);
  assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
  limited = before;
  limited.rlim_cur = 1 << 16;
  (void)signal(SIGXFSZ, SIG_IGN);
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &limited), 0);
  const mxs_status status = mxs_problem_gen(MPI_COMM_WORLD, &plant, MXS_STORAGE_F64, path);
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
  assert_everywhere(status == MXS_ERR_IO && access(path, F_OK) != 0);
  plant.rank = 7;
  assert_everywhere(mxs_problem_gen(MPI_COMM_WORLD, &plant, MXS_STORAGE_F64, path) ==
                    MXS_ERR_SETTINGS);
  plant = recipe;
  plant.ensemble = MXS_ENSEMBLE_USER;
  assert_everywhere(mxs_problem_gen(MPI_COMM_WORLD, &plant, MXS_STORAGE_F64, path) ==
                    MXS_ERR_SETTINGS);
  /* Nothing is left of any of these: the directory can be removed. */
  assert_everywhere(comm->rank != 0 || (rmdir(scratch) == 0 && mkdir(scratch, 0777) == 0));
}

static void test_verify(void **unused) {
  (void)unused;
  const char *path = at("verify.h5");
  mxs_problem_header header;
  char *report = NULL;
  int good = 1;
  mxs_plant plant = recipe;
  assert_ok(mxs_problem_gen(MPI_COMM_WORLD, &plant, MXS_STORAGE_F32, path));
  if (comm->rank == 0) {
    const float changed = 0.5F;
    hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
    hid_t set = H5Dopen2(file, "validation/A", H5P_DEFAULT);
    hid_t space = H5Dget_space(set);
    hid_t one = H5Screate(H5S_SCALAR);
    const hsize_t row[3] = {36, 2, 3};
    good = H5Sselect_elements(space, H5S_SELECT_SET, 1, row) >= 0 &&
           H5Dwrite(set, H5T_NATIVE_FLOAT, one, space, H5P_DEFAULT, &changed) >= 0;
    (void)H5Sclose(one);
    (void)H5Sclose(space);
    (void)H5Dclose(set);
    (void)H5Fclose(file);
    good = good && mxs_problem_peek(path, &header) == MXS_OK && header.has_digests &&
           header.m == 203 && header.m_validation == 37 && header.storage == MXS_STORAGE_F32 &&
           strcmp(header.entries, "f32") == 0 && header.truth_rank == 2 &&
           header.noise_std == recipe.noise;
    good = good && mxs_problem_verify(path, &report) == MXS_ERR_DATA;
    good = good && strstr(mxs_last_error(), "validation/A: rows 32 .. 36") != NULL;
    good = good && strstr(report, "BAD") != NULL && strstr(report, "/truth/V") != NULL;
    mxs_release(&report);
  }
  assert_everywhere(good);
  drop(path);
}

static void test_types(void **unused) {
  (void)unused;
  const hid_t types[] = {H5T_IEEE_F64LE, H5T_IEEE_F64BE, H5T_IEEE_F32BE, H5T_STD_I8LE,
                         H5T_STD_I16BE,  H5T_STD_I32LE,  H5T_STD_I64BE};
  const mxs_storage storages[] = {MXS_STORAGE_F64, MXS_STORAGE_F64, MXS_STORAGE_F32,
                                  MXS_STORAGE_F32, MXS_STORAGE_F32, MXS_STORAGE_F64,
                                  MXS_STORAGE_F64};
  const char *path = at("types.h5");
  for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
    user_file u = good_file();
    const mxs_problem_options options = {.k = 1};
    mxs_problem *p = NULL;
    int good = 1;
    u.type_A = types[i];
    write_user(path, &u);
    assert_ok(mxs_problem_load(MPI_COMM_WORLD, path, &options, &p));
    good = p->storage == storages[i];
    for (int64_t j = 0; j < p->train.blocks.own_count; j++) {
      const int64_t row = mxs_blocks_first(&p->train.blocks, p->train.blocks.own[j]);
      double x[N1 * N2] = {0};
      double w = 0.0;
      x[17] = 1.0; /* picks one entry */
      good = good && mxsi_op_single(p->train.op, p->train.self, row,
                                    &(mxs_single){.count = 1, .x = x, .w = &w}) == MXS_OK;
      good = good && w == (double)(((row * N1 * N2 + 17) * 37) % 11 - 5);
      good = good && p->train.y[p->train.blocks.offset[j]] == 0.25 * (double)row;
    }
    assert_everywhere(good);
    mxs_problem_destroy(&p);
  }
  drop(path);
}

static void test_options(void **unused) {
  (void)unused;
  const char *path = at("options.h5");
  user_file u = good_file();
  u.validation = 11;
  write_user(path, &u);
  mxs_problem *p = NULL;
  const mxs_problem_options some = {.k = 1, .measurements = 40, .storage = MXS_STORAGE_F32};
  const mxs_problem_options many = {.k = 1, .measurements = M + 1};
  const mxs_problem_options held = {.k = 1, .hold_out = 0.1};
  assert_ok(mxs_problem_load(MPI_COMM_WORLD, path, &some, &p));
  const mxs_problem_info info = mxs_problem_get_info(p);
  assert_everywhere(info.m == 40 && info.m_validation == 11 && info.storage == MXS_STORAGE_F32);
  mxs_problem_destroy(&p);
  assert_everywhere(load_gives(path, &many, MXS_ERR_SETTINGS, "measurements"));
  assert_everywhere(load_gives(path, &held, MXS_ERR_SETTINGS, "hold_out"));
  drop(path);
}

static void test_refusals(void **unused) {
  (void)unused;
  const mxs_problem_options options = {.k = 2};
  const char *path = at("bad.h5");
  user_file cases[9];
  const char *const words[9] = {"A[17, 3, 4] is nan", "A[89, 6, 4] is nan", "moveaxis",
                                "(45, 7, 5)",         "no dataset /y",      "attributes n1",
                                "neither a dataset",  "rademacher, fast",   "(90,)"};
  for (int i = 0; i < 9; i++)
    cases[i] = good_file();
  cases[0].nan_at = (17 * N1 + 3) * N2 + 4;
  cases[1].nan_at = M * N1 * N2 - 1;
  memcpy(cases[2].shape_A, (hsize_t[]){N1, N2, M}, sizeof cases[2].shape_A);
  memcpy(cases[3].shape_A, (hsize_t[]){45, N1, N2}, sizeof cases[3].shape_A);
  cases[4].m = 0;
  cases[5].dims_A = 2;
  cases[6].dims_A = 0;
  cases[7].ensemble = "rank_one";
  cases[8].dims_A = 1;
  for (int i = 0; i < 9; i++) {
    write_user(path, &cases[i]);
    assert_everywhere(load_gives(path, &options, MXS_ERR_DATA, words[i]));
    assert_everywhere(strstr(mxs_last_error(), path) != NULL);
    drop(path);
  }
  assert_everywhere(load_gives(path, &options, MXS_ERR_INPUT, path));
  assert_everywhere(load_gives(scratch, &options, MXS_ERR_DATA, "regular file"));
}

/* Cut short anywhere, a file is refused or still whole: never an abort, never other numbers. */
static void test_cut_short(void **unused) {
  (void)unused;
  const char *path = at("cut.h5");
  const mxs_problem_options options = {.k = 2};
  mxs_problem_info info = {0};
  mxs_plant plant = recipe;
  struct stat what;
  assert_ok(mxs_problem_gen(MPI_COMM_WORLD, &plant, MXS_STORAGE_F32, path));
  const uint64_t digest = loaded_digest(MPI_COMM_WORLD, path, &info);
  assert_everywhere(stat(path, &what) == 0);
  for (int64_t step = 19; step >= 0; step--) {
    mxs_problem *p = NULL;
    MPI_Barrier(comm->mpi);
    assert_everywhere(comm->rank != 0 || truncate(path, what.st_size * step / 20) == 0);
    const mxs_status status = mxs_problem_load(MPI_COMM_WORLD, path, &options, &p);
    assert_everywhere(status == MXS_ERR_DATA ||
                      (status == MXS_OK && mxs_problem_get_info(p).digest == digest));
    mxs_problem_destroy(&p);
  }
  drop(path);
}

static void test_pieces(void **unused) {
  (void)unused;
  int64_t piece[3];
  const int64_t count[3] = {100, 20, 30};
  mxs_store_pieces(3, count, 8, INT64_C(1) << 20, piece);
  assert_true(piece[0] == 100 && piece[1] == 20 && piece[2] == 30);
  mxs_store_pieces(3, count, 8, INT64_C(48000), piece);
  assert_true(piece[0] == 10 && piece[1] == 20 && piece[2] == 30);
  mxs_store_pieces(3, count, 8, INT64_C(1685), piece);
  assert_true(piece[0] == 1 && piece[1] == 7 && piece[2] == 30);
  mxs_store_pieces(3, count, 8, 100, piece);
  assert_true(piece[0] == 1 && piece[1] == 1 && piece[2] == 12);
  mxs_store_pieces(3, count, 8, 1, piece);
  assert_true(piece[0] == 1 && piece[1] == 1 && piece[2] == 1);
}

static const struct CMUnitTest all_tests[] = {
    cmocka_unit_test_setup_teardown(test_gen, setup, teardown),
    cmocka_unit_test_setup_teardown(test_gen_is_plant, setup, teardown),
    cmocka_unit_test_setup_teardown(test_gen_dense_exact, setup, teardown),
    cmocka_unit_test_setup_teardown(test_gen_refusals, setup, teardown),
    cmocka_unit_test_setup_teardown(test_verify, setup, teardown),
    cmocka_unit_test_setup_teardown(test_types, setup, teardown),
    cmocka_unit_test_setup_teardown(test_options, setup, teardown),
    cmocka_unit_test_setup_teardown(test_refusals, setup, teardown),
    cmocka_unit_test_setup_teardown(test_cut_short, setup, teardown),
    cmocka_unit_test_setup_teardown(test_pieces, setup, teardown),
};

MPI_TEST_MAIN(all_tests)
