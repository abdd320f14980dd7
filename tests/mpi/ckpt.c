/* Checkpoints: what is written comes back at any number of ranks, damage is never taken for data,
 * and a failed write leaves what was there. */
#include "mpi_test.h"

#include "ckpt/ckpt.h"
#include "store/store.h"

#include <dirent.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ARRAYS = 6, COLUMNS = 3, PATH_SIZE = 4096 };

static const char *const column_names[COLUMNS] = {"loss", "iteration", "angle_left"};
static const char *const array_names[ARRAYS] = {"factors/U",   "factors/V",   "state/scales",
                                                "state/empty", "state/large", "state/one"};
static const int64_t shapes[ARRAYS][2] = {{13, 3}, {2, 3}, {5, 1}, {0, 4}, {5000, 40}, {1, 1}};

/* HDF5 1.10 loses object headers of damaged files, which it takes from its free lists. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) {
  return "leak:H5FL_reg_malloc";
}

/* A state that is a function of a number, and room for reading one. */
typedef struct state {
  mxs_array arrays[ARRAYS];
  mxs_history history;
  mxs_ckpt_info info;
  char config[64];
} state;

static mxs_comm *comm;
static char scratch[PATH_SIZE];

static uint64_t mix(uint64_t x) {
  x = (x ^ x >> 31) * 0x9e3779b97f4a7c15U;
  return x ^ x >> 29;
}

static void state_make(state *s, int64_t seed, int64_t rows) {
  *s = (state){.history = {.names = column_names, .columns = COLUMNS}};
  s->info = (mxs_ckpt_info){
      .iteration = seed, .finished = seed % 2 == 0, .problem_digest = mix((uint64_t)seed)};
  (void)snprintf(s->info.reason, sizeof s->info.reason, "stopped");
  (void)snprintf(s->info.blas_kernel, sizeof s->info.blas_kernel, "Haswell");
  (void)snprintf(s->config, sizeof s->config, "k: %lld\nseed: 0\n", (long long)seed);
  for (int i = 0; i < ARRAYS; i++) {
    mxs_array *array = &s->arrays[i];
    const int64_t entries = shapes[i][0] * shapes[i][1];
    *array = (mxs_array){
        .name = array_names[i], .is_integer = i == 2, .rows = shapes[i][0], .cols = shapes[i][1]};
    assert_int_equal(mxs_alloc(entries, sizeof(double), &array->data), MXS_OK);
    for (int64_t j = 0; j < entries; j++) {
      const uint64_t word = mix((uint64_t)(seed * 1000003 + j) + (uint64_t)i * 10007);
      const double real = (double)(int64_t)word * 0x1p-40;
      memcpy((char *)array->data + j * 8,
             array->is_integer ? (const void *)&word : (const void *)&real, 8);
    }
  }
  for (int64_t r = 0; r < rows; r++) {
    const double row[COLUMNS] = {1.0 / (double)(r + seed), (double)r, (double)NAN};
    assert_int_equal(mxs_history_append(&s->history, row), MXS_OK);
  }
}

static void state_clear(state *s) {
  for (int i = 0; i < ARRAYS; i++)
    mxs_release(&s->arrays[i].data);
  mxs_history_clear(&s->history);
}

static mxs_status save(const char *dir, const state *s) {
  const mxs_ckpt_place place = {.dir = dir, .tag = "7.0"};
  return mxs_ckpt_write(comm, &place, &s->info, s->arrays, ARRAYS, &s->history, s->config);
}

/* 1 when a checkpoint is this state to the last bit. Local. */
static int is_state(const mxs_ckpt *ckpt, const state *s) {
  const mxs_array *arrays = NULL;
  const mxs_history *history = mxs_ckpt_history(ckpt, 0);
  const mxs_ckpt_info *info = mxs_ckpt_get_info(ckpt);
  int same =
      mxs_ckpt_arrays(ckpt, &arrays) == ARRAYS && strcmp(mxs_ckpt_config(ckpt), s->config) == 0;
  same = same && info->iteration == s->info.iteration && info->finished == s->info.finished &&
         info->problem_digest == s->info.problem_digest && info->replicas == 1 &&
         strcmp(info->reason, s->info.reason) == 0 &&
         strcmp(info->blas_kernel, s->info.blas_kernel) == 0;
  for (int i = 0; i < ARRAYS && same; i++) {
    const mxs_array *mine = &s->arrays[i];
    same = strcmp(arrays[i].name, mine->name) == 0 && arrays[i].rows == mine->rows &&
           arrays[i].cols == mine->cols && !arrays[i].is_integer == !mine->is_integer &&
           memcmp(arrays[i].data, mine->data, (size_t)(mine->rows * mine->cols) * 8) == 0;
  }
  same = same && history->rows == s->history.rows && history->columns == COLUMNS;
  for (int c = 0; c < COLUMNS && same; c++)
    same = strcmp(history->names[c], column_names[c]) == 0;
  const size_t bytes = (size_t)(s->history.rows * COLUMNS) * sizeof(double);
  return same && (bytes == 0 || memcmp(history->values, s->history.values, bytes) == 0);
}

/* Path of a file below the scratch directory; a handful of results live at a time. */
static const char *at(const char *dir, const char *name) {
  static char paths[8][2 * PATH_SIZE];
  static int next;
  char *path = paths[next++ % 8];
  (void)snprintf(path, sizeof paths[0], "%s/%s%s%s", scratch, dir, *name != '\0' ? "/" : "", name);
  return path;
}

static const char *make_dir(const char *name) {
  const char *dir = at(name, "");
  if (comm->rank == 0)
    (void)mkdir(dir, 0777);
  MPI_Barrier(comm->mpi);
  return dir;
}

/* Number of files in a directory. */
static int files_in(const char *dir) {
  int count = 0;
  DIR *stream = opendir(dir);
  if (stream == NULL)
    return -1;
  for (const struct dirent *entry = readdir(stream); entry != NULL; entry = readdir(stream))
    count += entry->d_name[0] != '.';
  (void)closedir(stream);
  return count;
}

static void remove_dir(const char *dir) {
  char path[2 * PATH_SIZE];
  DIR *stream = opendir(dir);
  if (stream == NULL)
    return;
  for (const struct dirent *entry = readdir(stream); entry != NULL; entry = readdir(stream)) {
    (void)snprintf(path, sizeof path, "%s/%s", dir, entry->d_name);
    if (entry->d_name[0] != '.')
      (void)unlink(path);
  }
  (void)closedir(stream);
  (void)rmdir(dir);
}

static void test_round_trip(void **unused) {
  (void)unused;
  const int64_t rows[3] = {0, 1, 700};
  const char *dir = make_dir("round");
  mxs_ckpt *ckpt = NULL;
  char *note = NULL;
  assert_ok(mxs_ckpt_read_latest(comm, dir, &ckpt, &note));
  assert_everywhere(ckpt == NULL && note == NULL);
  for (int i = 0; i < 3; i++) {
    state s;
    state_make(&s, i + 5, rows[i]);
    assert_ok(save(dir, &s));
    assert_ok(mxs_ckpt_read_latest(comm, dir, &ckpt, &note));
    assert_everywhere(ckpt != NULL && note == NULL && is_state(ckpt, &s));
    assert_everywhere(files_in(dir) == (i == 0 ? 1 : 2));
    state_clear(&s);
    mxs_ckpt_destroy(&ckpt);
  }
  state before;
  state_make(&before, 6, 1);
  assert_ok(mxs_ckpt_read(comm, at("round", "checkpoint.prev.h5"), &ckpt));
  assert_everywhere(is_state(ckpt, &before));
  mxs_ckpt_destroy(&ckpt);
  state_clear(&before);
}

/* Histories of many replicas, of different lengths and columns, come back each as its own. */
static void test_replicas(void **unused) {
  (void)unused;
  enum { REPLICAS = 12 };
  const char *dir = make_dir("replicas");
  state s;
  mxs_history histories[REPLICAS];
  mxs_ckpt *ckpt = NULL;
  state_make(&s, 51, 0);
  s.info.replicas = REPLICAS;
  for (int r = 0; r < REPLICAS; r++) {
    histories[r] = (mxs_history){.names = column_names, .columns = COLUMNS - r % 2};
    for (int i = 0; i < (r * 5) % 7; i++) {
      const double row[COLUMNS] = {r + 0.5, i, 100.0 * r + i};
      assert_int_equal(mxs_history_append(&histories[r], row), MXS_OK);
    }
  }
  const mxs_ckpt_place place = {.dir = dir, .tag = "7.0"};
  assert_ok(mxs_ckpt_write(comm, &place, &s.info, s.arrays, ARRAYS, histories, s.config));
  assert_ok(mxs_ckpt_read(comm, at("replicas", "checkpoint.h5"), &ckpt));
  assert_everywhere(mxs_ckpt_get_info(ckpt)->replicas == REPLICAS);
  for (int r = 0; r < REPLICAS; r++) {
    const mxs_history *mine = &histories[r];
    const mxs_history *back = mxs_ckpt_history(ckpt, r);
    assert_everywhere(back->rows == mine->rows && back->columns == mine->columns);
    for (int64_t c = 0; c < mine->columns; c++)
      assert_everywhere(strcmp(back->names[c], column_names[c]) == 0);
    const size_t bytes = (size_t)(mine->rows * mine->columns) * sizeof(double);
    assert_everywhere(bytes == 0 || memcmp(back->values, mine->values, bytes) == 0);
    mxs_history_clear(&histories[r]);
  }
  mxs_ckpt_destroy(&ckpt);
  state_clear(&s);
}

static void test_fill(void **unused) {
  (void)unused;
  const char *dir = make_dir("fill");
  state written, filled;
  mxs_ckpt *ckpt = NULL;
  state_make(&written, 11, 3);
  state_make(&filled, 12, 0);
  assert_ok(save(dir, &written));
  assert_ok(mxs_ckpt_read(comm, at("fill", "checkpoint.h5"), &ckpt));
  assert_ok(mxs_ckpt_fill(ckpt, filled.arrays, ARRAYS));
  for (int i = 0; i < ARRAYS; i++)
    assert_everywhere(memcmp(filled.arrays[i].data, written.arrays[i].data,
                             (size_t)(shapes[i][0] * shapes[i][1]) * 8) == 0);
  filled.arrays[1].rows++;
  assert_everywhere(mxs_ckpt_fill(ckpt, filled.arrays, ARRAYS) == MXS_ERR_DATA);
  filled.arrays[1].rows--;
  filled.arrays[1].is_integer = 1;
  assert_everywhere(mxs_ckpt_fill(ckpt, filled.arrays, ARRAYS) == MXS_ERR_DATA);
  filled.arrays[1].name = "factors/W";
  assert_everywhere(mxs_ckpt_fill(ckpt, filled.arrays, ARRAYS) == MXS_ERR_DATA);
  assert_everywhere(strstr(mxs_last_error(), "factors/W") != NULL);
  mxs_ckpt_destroy(&ckpt);
  state_clear(&written);
  state_clear(&filled);
}

static char *slurp(const char *path, int64_t *bytes) {
  char *data = NULL;
  FILE *file = fopen(path, "rb");
  assert_non_null(file);
  assert_int_equal(fseek(file, 0, SEEK_END), 0);
  *bytes = ftell(file);
  assert_int_equal(mxs_alloc(*bytes, 1, &data), MXS_OK);
  rewind(file);
  assert_int_equal(fread(data, 1, (size_t)*bytes, file), *bytes);
  (void)fclose(file);
  return data;
}

static void spill(const char *path, const char *data, int64_t bytes) {
  FILE *file = fopen(path, "wb");
  assert_non_null(file);
  assert_int_equal(fwrite(data, 1, (size_t)bytes, file), bytes);
  (void)fclose(file);
}

/* Damage number `i` of a file: cut short, a bit flipped, a sector of zeros, or two sectors swapped.
 * Half of them hit the first pages, where the structure is. */
static int64_t damage(char *data, int64_t bytes, int i) {
  const uint64_t random = mix(mix((uint64_t)i + 99));
  const int64_t reach = i % 8 < 4 ? bytes : bytes < 16384 ? bytes : 16384;
  const int64_t where = (int64_t)(random % (uint64_t)reach);
  const int64_t sector = where / 512 * 512;
  const int64_t length = bytes - sector < 512 ? bytes - sector : 512;
  switch (i % 4) {
  case 0:
    return i == 0 ? 0 : where;
  case 1:
    data[where] = (char)(data[where] ^ (1 << (random >> 40) % 8));
    return bytes;
  case 2:
    memset(data + sector, 0, (size_t)length);
    return bytes;
  default:
    memmove(data + sector, data + (sector > 512 ? sector - 512 : 0), (size_t)length);
    return bytes;
  }
}

static void test_damage(void **unused) {
  (void)unused;
  const int count = comm->size == 1 ? 600 : 40;
  const char *dir = make_dir("damage");
  state newest, before;
  int64_t bytes = 0;
  char *good = NULL;
  char *bad = NULL;
  int passed_over = 0;
  state_make(&before, 21, 30);
  state_make(&newest, 22, 31);
  assert_ok(save(dir, &before));
  assert_ok(save(dir, &newest));
  const char *path = at("damage", "checkpoint.h5");
  if (comm->rank == 0) {
    good = slurp(path, &bytes);
    assert_int_equal(mxs_alloc(bytes, 1, &bad), MXS_OK);
  }
  for (int i = 0; i < count; i++) {
    mxs_ckpt *ckpt = NULL;
    char *note = NULL;
    if (good != NULL && bad != NULL) {
      memcpy(bad, good, (size_t)bytes);
      spill(path, bad, damage(bad, bytes, i));
    }
    assert_ok(mxs_ckpt_read_latest(comm, dir, &ckpt, &note));
    assert_everywhere(ckpt != NULL && is_state(ckpt, note == NULL ? &newest : &before));
    passed_over += note != NULL;
    mxs_release(&note);
    mxs_ckpt_destroy(&ckpt);
  }
  assert_everywhere(passed_over > count / 2); /* the rest hit bytes that mean nothing */
  mxs_release(&good);
  mxs_release(&bad);
  state_clear(&newest);
  state_clear(&before);
}

/* Rank 0 changes an integer attribute as a tool would. */
static void edit_attribute(const char *path, const char *name, int64_t value) {
  int good = 1;
  if (comm->rank == 0) {
    hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
    hid_t attribute = H5Aopen(file, name, H5P_DEFAULT);
    good = H5Awrite(attribute, H5T_NATIVE_INT64, &value) >= 0;
    good = H5Aclose(attribute) >= 0 && good;
    good = H5Fclose(file) >= 0 && good;
  }
  assert_everywhere(good);
}

static void test_fallback(void **unused) {
  (void)unused;
  const char *dir = make_dir("fallback");
  const char *current = at("fallback", "checkpoint.h5");
  const char *previous = at("fallback", "checkpoint.prev.h5");
  state s;
  mxs_ckpt *ckpt = NULL;
  char *note = NULL;
  state_make(&s, 31, 4);
  assert_ok(save(dir, &s));
  assert_ok(save(dir, &s));
  edit_attribute(current, "iteration", 32);
  assert_ok(mxs_ckpt_read_latest(comm, dir, &ckpt, &note));
  assert_everywhere(is_state(ckpt, &s) && note != NULL && strstr(note, "checkpoint.h5") != NULL);
  mxs_ckpt_destroy(&ckpt);
  mxs_release(&note);
  /* A newer format is refused, not passed over. */
  edit_attribute(current, "format_version", 1000);
  assert_everywhere(mxs_ckpt_read_latest(comm, dir, &ckpt, &note) == MXS_ERR_DATA);
  assert_everywhere(ckpt == NULL && note == NULL && strstr(mxs_last_error(), "1000") != NULL);
  /* As after a crash between the renames. */
  if (comm->rank == 0)
    (void)unlink(current);
  MPI_Barrier(comm->mpi);
  assert_ok(mxs_ckpt_read_latest(comm, dir, &ckpt, &note));
  assert_everywhere(is_state(ckpt, &s) && note != NULL);
  mxs_ckpt_destroy(&ckpt);
  mxs_release(&note);
  edit_attribute(previous, "iteration", 32);
  assert_everywhere(mxs_ckpt_read_latest(comm, dir, &ckpt, &note) == MXS_ERR_IO);
  assert_everywhere(ckpt == NULL && note == NULL);
  assert_everywhere(mxs_ckpt_read(comm, current, &ckpt) == MXS_ERR_INPUT);
  assert_everywhere(mxs_ckpt_read(comm, previous, &ckpt) == MXS_ERR_DATA);
  assert_everywhere(mxs_ckpt_read(comm, dir, &ckpt) == MXS_ERR_DATA);
  /* A bad current one does not cost the good one before: both are replaced in time. */
  assert_ok(save(dir, &s));
  assert_ok(mxs_ckpt_read_latest(comm, dir, &ckpt, &note));
  assert_everywhere(is_state(ckpt, &s) && note == NULL && files_in(dir) == 2);
  mxs_ckpt_destroy(&ckpt);
  state_clear(&s);
}

/* Write under a limit of the file size, as on a full disk. */
static mxs_status save_limited(const char *dir, const state *s, rlim_t bytes) {
  struct rlimit before, limited;
  assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
  limited = before;
  limited.rlim_cur = bytes;
  (void)signal(SIGXFSZ, SIG_IGN);
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &limited), 0);
  const mxs_status status = save(dir, s);
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
  return status;
}

static void test_failed_write(void **unused) {
  (void)unused;
  const char *dir = make_dir("failed");
  state good, lost;
  mxs_ckpt *ckpt = NULL;
  char *note = NULL;
  state_make(&good, 41, 4);
  state_make(&lost, 42, 4);
  assert_everywhere(save(at("nowhere", ""), &good) == MXS_ERR_IO);
  assert_everywhere(strstr(mxs_last_error(), "nowhere") != NULL);
  assert_ok(save(dir, &good));
  assert_everywhere(save_limited(dir, &lost, 1 << 16) == MXS_ERR_IO);
  if (comm->size > 1) {
    ((double *)lost.arrays[0].data)[7] += comm->rank == comm->size - 1;
    assert_everywhere(save(dir, &lost) == MXS_ERR_CORRUPT);
  }
  assert_everywhere(files_in(dir) == 1);
  assert_ok(mxs_ckpt_read_latest(comm, dir, &ckpt, &note));
  assert_everywhere(is_state(ckpt, &good) && note == NULL);
  mxs_ckpt_destroy(&ckpt);
  state_clear(&good);
  state_clear(&lost);
}

/* Says no from its call of this number on, as when the directory is lost between two steps. */
typedef struct watcher {
  int calls, good;
} watcher;

static mxs_status watch(void *ctx) {
  watcher *w = ctx;
  return w->calls++ < w->good ? MXS_OK : mxs_fail(MXS_ERR_PERMISSION, "the directory is lost");
}

/* Whatever it is that the guard forbids: the same status on all ranks, nothing temporary is left,
 * and a good checkpoint is there. */
static void test_guard(void **unused) {
  (void)unused;
  const char *dir = make_dir("guard");
  state before, now;
  state_make(&before, 61, 3);
  state_make(&now, 62, 3);
  assert_ok(save(dir, &before));
  assert_ok(save(dir, &before));
  mxs_status status = MXS_ERR_PERMISSION;
  int good = 0;
  for (; status == MXS_ERR_PERMISSION && good < 20; good++) {
    watcher w = {.good = good};
    const mxs_ckpt_place place = {.dir = dir, .tag = "7.0", .keep = 2, .guard = watch, .ctx = &w};
    mxs_ckpt *ckpt = NULL;
    char *note = NULL;
    status = mxs_ckpt_write(comm, &place, &now.info, now.arrays, ARRAYS, &now.history, now.config);
    assert_everywhere(status == MXS_OK || status == MXS_ERR_PERMISSION);
    assert_everywhere(status == MXS_OK || strstr(mxs_last_error(), "lost") != NULL);
    assert_everywhere(good > 0 || files_in(dir) == 2);
    assert_everywhere(files_in(dir) <= 4); /* current, previous, and two that are kept */
    assert_ok(mxs_ckpt_read_latest(comm, dir, &ckpt, &note));
    assert_everywhere(note == NULL && (is_state(ckpt, &now) || is_state(ckpt, &before)));
    mxs_ckpt_destroy(&ckpt);
  }
  assert_everywhere(status == MXS_OK && good > 4);
  state_clear(&now);
  state_clear(&before);
}

static void test_keep(void **unused) {
  (void)unused;
  const char *dir = make_dir("keep");
  const mxs_ckpt_place place = {.dir = dir, .tag = "7.0", .keep = 2};
  state s;
  mxs_ckpt *ckpt = NULL;
  char *note = NULL;
  char *path = NULL;
  int64_t *kept = NULL;
  int64_t count = 0;
  for (int i = 0; i < 5; i++) {
    state_make(&s, 71 + i, 3);
    assert_ok(mxs_ckpt_write(comm, &place, &s.info, s.arrays, ARRAYS, &s.history, s.config));
    state_clear(&s);
  }
  assert_ok(mxs_ckpt_kept(dir, &kept, &count));
  assert_everywhere(count == 2 && kept[0] == 74 && kept[1] == 73);
  mxs_release(&kept);
  /* Both names of the one before are bad, being one file. */
  edit_attribute(at("keep", "checkpoint.h5"), "iteration", 1);
  edit_attribute(at("keep", "checkpoint.prev.h5"), "iteration", 1);
  state_make(&s, 73, 3);
  assert_ok(mxs_ckpt_read_latest(comm, dir, &ckpt, &note));
  assert_everywhere(is_state(ckpt, &s) && strstr(note, "checkpoint.0000000073.h5") != NULL);
  state_clear(&s);
  mxs_ckpt_destroy(&ckpt);
  mxs_release(&note);
  assert_ok(mxs_ckpt_kept_path(dir, 73, &path));
  edit_attribute(path, "iteration", 1);
  assert_everywhere(mxs_ckpt_read_latest(comm, dir, &ckpt, &note) == MXS_ERR_IO);
  mxs_release(&path);
}

static int setup(void **unused) {
  (void)unused;
  mpi_test_scratch("ckpt", scratch, sizeof scratch);
  return mxs_comm_create(MPI_COMM_WORLD, &comm) != MXS_OK;
}

static int teardown(void **unused) {
  (void)unused;
  const char *const dirs[] = {"round",  "replicas", "fill", "damage", "fallback",
                              "failed", "guard",    "keep", ""};
  MPI_Barrier(comm->mpi);
  for (size_t i = 0; i < sizeof dirs / sizeof *dirs && comm->rank == 0; i++)
    remove_dir(at(dirs[i], ""));
  mxs_comm_destroy(&comm);
  return 0;
}

static const struct CMUnitTest all_tests[] = {
    cmocka_unit_test_setup_teardown(test_round_trip, setup, teardown),
    cmocka_unit_test_setup_teardown(test_replicas, setup, teardown),
    cmocka_unit_test_setup_teardown(test_fill, setup, teardown),
    cmocka_unit_test_setup_teardown(test_damage, setup, teardown),
    cmocka_unit_test_setup_teardown(test_fallback, setup, teardown),
    cmocka_unit_test_setup_teardown(test_failed_write, setup, teardown),
    cmocka_unit_test_setup_teardown(test_guard, setup, teardown),
    cmocka_unit_test_setup_teardown(test_keep, setup, teardown),
};

MPI_TEST_MAIN(all_tests)
