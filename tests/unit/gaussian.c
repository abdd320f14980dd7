/* The gaussian ensemble: entries that may never change, and passes that give the same bits however
 * they are arranged. */
#include "op/gaussian.h"
#include "base/random.h"
#include "mpi/mpi_test.h"

#include <float.h>
#include <math.h>
#include <pthread.h>
#include <string.h>

enum { LONG = 2500, ROWS = 75, MOST = 5 };

static const uint64_t seed = 11;

/* Computed by the numpy twin, tools/mxsense_ensembles.py; 1023 | 1024 is a border of chunks. */
static void golden_entries(void **state) {
  (void)state;
  static const int64_t at[] = {0, 1, 8, 1015, 1023, 1024, 1032, 1999};
  static const struct {
    uint64_t seed;
    int64_t row;
    double entries[8];
  } golden[] = {
      {12345,
       7,
       {-0x1.d8769385d6061p+0, 0x1.45902ed37e234p-2, -0x1.b5dda69642be3p-4, 0x1.a7b8dc904c721p+0,
        -0x1.266b6c2d1c274p+0, 0x1.0a343d7313c07p-1, 0x1.3afb3520fcdd0p-2, 0x1.1e2cf824f5306p+0}},
      {UINT64_MAX,
       (INT64_C(1) << 40) + 1,
       {0x1.e3e625dba3b69p+0, -0x1.e2fcec98a8e9fp-1, -0x1.32be9cbec6647p-1, -0x1.b45a787d15d1cp+0,
        0x1.5f89733d1ad9ap-1, -0x1.2e4880cd4aa81p-2, -0x1.d394624e7acddp-1, -0x1.317b048ea1dc0p+0}},
  };
  static double row[LONG];
  for (size_t k = 0; k < sizeof golden / sizeof *golden; k++) {
    mxsi_gaussian_rows(golden[k].seed, LONG, golden[k].row, 1, row);
    for (size_t i = 0; i < sizeof at / sizeof *at; i++)
      assert_true(row[at[i]] == golden[k].entries[i]);
  }
}

/* Rows of any length, any few at a time, are cut from the same long ones. */
static void rows_are_cut(void **state) {
  (void)state;
  static const int64_t lengths[] = {1, 2, 15, 16, 17, 37, 1023, 1024, 1025, 1040, 2047, 2049};
  static double whole[9][LONG], rows[9 * LONG + 1];
  mxsi_gaussian_rows(seed, LONG, 3, 9, whole[0]);
  for (size_t k = 0; k < sizeof lengths / sizeof *lengths; k++)
    for (int64_t count = 1; count < 9; count++) {
      const int64_t n = lengths[k];
      rows[count * n] = 9.0;
      mxsi_gaussian_rows(seed, n, 4, count, rows);
      for (int64_t i = 0; i < count; i++)
        assert_memory_equal(rows + i * n, whole[i + 1], (size_t)n * sizeof *rows);
      assert_true(rows[count * n] == 9.0);
    }
}

/* Numbers of MOST replicas, and what a pass makes of them. */
typedef struct arrays {
  double x[MOST][LONG], y[ROWS], weight[ROWS], w[MOST][ROWS], g[MOST][LONG];
} arrays;

static void fill(arrays *a) {
  for (int64_t r = 0; r < MOST; r++) {
    mxs_random_gaussian_row(1, MXS_STREAM_NOISE, r, LONG, a->x[r]);
    mxs_random_gaussian_row(1, MXS_STREAM_NOISE, 10 + r, LONG, a->g[r]);
    mxs_random_gaussian_row(1, MXS_STREAM_NOISE, 20 + r, ROWS, a->w[r]);
  }
  mxs_random_gaussian_row(1, MXS_STREAM_NOISE, 30, ROWS, a->y);
  mxs_random_gaussian_row(1, MXS_STREAM_NOISE, 31, ROWS, a->weight);
}

typedef struct arrangement {
  int64_t n, cache, replicas;
  int parts; /* which of x, y, weight and g are there */
} arrangement;

static void *make(const arrangement *how, int64_t planned, int threads) {
  void *self = NULL;
  assert_int_equal(mxsi_gaussian_create(how->n, seed, how->cache, &self), MXS_OK);
  assert_int_equal(mxsi_op_gaussian.plan(self, 1, 1), MXS_OK);
  assert_int_equal(mxsi_op_gaussian.plan(self, planned, threads), MXS_OK);
  return self;
}

static void pass_of(
    void *self, const arrangement *how, int64_t from, int64_t to, int thread, arrays *a) {
  const double *x[MOST];
  double *g[MOST];
  for (int64_t r = 0; r < how->replicas; r++) {
    x[r] = a->x[r];
    g[r] = a->g[r];
  }
  const mxs_pass pass = {.first = 100 + from,
                         .count = to - from,
                         .replicas = how->replicas,
                         .x = how->parts & 1 ? x : NULL,
                         .y = how->parts & 2 ? a->y + from : NULL,
                         .weight = how->parts & 4 ? a->weight + from : NULL,
                         .w = a->w[0] + from,
                         .stride = ROWS,
                         .g = how->parts & 8 ? g : NULL,
                         .thread = thread};
  assert_int_equal(mxsi_op_gaussian.pass(self, &pass), MXS_OK);
}

/* One matrix against loops over the entries written out. */
static void loops(void **state) {
  (void)state;
  static double rows[ROWS * LONG];
  static arrays a, expected;
  mxsi_gaussian_rows(seed, LONG, 100, ROWS, rows);
  const arrangement how = {.n = LONG, .cache = MXS_GAUSSIAN_CACHE, .replicas = 1, .parts = 15};
  fill(&a);
  fill(&expected);
  void *self = make(&how, 1, 1);
  pass_of(self, &how, 0, ROWS, 0, &a);
  for (int64_t i = 0; i < ROWS; i++) {
    double sum = -a.y[i], size = fabs(a.y[i]);
    for (int64_t j = 0; j < LONG; j++) {
      sum += rows[i * LONG + j] * a.x[0][j];
      size += fabs(rows[i * LONG + j] * a.x[0][j]);
    }
    assert_true(fabs(a.w[0][i] - sum) <= LONG * DBL_EPSILON * size);
  }
  for (int64_t j = 0; j < LONG; j++) {
    double sum = expected.g[0][j], size = fabs(sum);
    for (int64_t i = 0; i < ROWS; i++) {
      sum += a.weight[i] * a.w[0][i] * rows[i * LONG + j];
      size += fabs(a.weight[i] * a.w[0][i] * rows[i * LONG + j]);
    }
    assert_true(fabs(a.g[0][j] - sum) <= ROWS * DBL_EPSILON * size);
  }
  mxsi_op_gaussian.destroy(self);
}

/* Rows kept or made twice, replicas together or alone: the same bits. The second cache holds the
 * rows of one matrix alone. */
static void arrangements(void **state) {
  (void)state;
  static const int64_t lengths[] = {1, 37, 1024, LONG};
  static const int64_t caches[] = {0, INT64_C(32) * LONG, MXS_GAUSSIAN_CACHE};
  static arrays alone, together;
  for (int k = 0; k < 4 * 3 * 16; k++) {
    const arrangement how = {
        .n = lengths[k / 48], .cache = caches[k / 16 % 3], .replicas = MOST, .parts = k % 16};
    const arrangement one = {.n = how.n, .cache = how.cache, .replicas = 1, .parts = how.parts};
    void *self = make(&how, MOST, 1);
    fill(&together);
    pass_of(self, &how, 0, ROWS, 0, &together);
    mxsi_op_gaussian.destroy(self);
    self = make(&one, 1, 1);
    for (int64_t r = 0; r < MOST; r++) {
      fill(&alone);
      memcpy(alone.x[0], alone.x[r], sizeof alone.x[0]);
      memcpy(alone.g[0], alone.g[r], sizeof alone.g[0]);
      memcpy(alone.w[0], alone.w[r], sizeof alone.w[0]);
      pass_of(self, &one, 0, ROWS, 0, &alone);
      assert_memory_equal(alone.w[0], together.w[r], sizeof alone.w[0]);
      assert_memory_equal(alone.g[0], together.g[r], sizeof alone.g[0]);
    }
    mxsi_op_gaussian.destroy(self);
  }
}

typedef struct job {
  void *self;
  const arrangement *how;
  int64_t from, to;
  int thread;
  arrays a;
} job;

static void *run(void *data) {
  job *j = data;
  pass_of(j->self, j->how, j->from, j->to, j->thread, &j->a);
  return NULL;
}

/* Two threads at the same time, each with its own range: the bits of one thread after the other. */
static void threads(void **state) {
  (void)state;
  static job jobs[2];
  static arrays expected;
  const arrangement how = {.n = LONG, .cache = MXS_GAUSSIAN_CACHE, .replicas = 2, .parts = 15};
  void *self = make(&how, 2, 2);
  for (int repeat = 0; repeat < 20; repeat++) {
    pthread_t thread[2];
    for (int t = 0; t < 2; t++) {
      jobs[t] = (job){.self = self,
                      .how = &how,
                      .from = t == 0 ? 0 : 40,
                      .to = t == 0 ? 40 : ROWS,
                      .thread = t};
      fill(&jobs[t].a);
      assert_int_equal(pthread_create(&thread[t], NULL, run, &jobs[t]), 0);
    }
    for (int t = 0; t < 2; t++) {
      assert_int_equal(pthread_join(thread[t], NULL), 0);
      fill(&expected);
      pass_of(self, &how, jobs[t].from, jobs[t].to, 0, &expected);
      assert_memory_equal(&expected, &jobs[t].a, sizeof expected);
    }
  }
  mxs_op_info info = {.bytes = 0};
  mxsi_op_gaussian.info(self, &info);
  assert_true(info.generate_s > 0.0 && info.path[0] != '\0');
  const int64_t visits = 2 * (MXS_MANY_ROWS * (int64_t)(MXS_STEP + 1) + MXS_GATHERED + 1) +
                         (int64_t)MXS_GROUP * MXS_TILE_COLUMNS;
  const int64_t numbers = 32 * (int64_t)LONG + 2 * (int64_t)(MXS_GROUP + 2) + visits;
  assert_int_equal(info.bytes, 2 * (int64_t)sizeof(double) * numbers);
  mxsi_op_gaussian.destroy(self);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(golden_entries), cmocka_unit_test(rows_are_cut), cmocka_unit_test(loops),
      cmocka_unit_test(arrangements),   cmocka_unit_test(threads),
  };
  return cmocka_run_group_tests(tests, NULL, NULL) || mxs_alloc_outstanding() != 0;
}
