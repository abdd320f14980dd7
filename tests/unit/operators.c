/* Every operator against the same oracle: its matrices written out, and triple loops. */
#include "base/random.h"
#include "mpi/mpi_test.h"
#include "op/op.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum { N = 37, M = 75, ROWS = 32 };

typedef struct subject {
  const mxs_op_table *table;
  void *self;
  mxs_blocks blocks;
  double a[M][N]; /* the matrices, as rows */
} subject;

static double *numbers(int64_t row, int64_t count) {
  static double pool[8][4 * 64];
  static int next = 0;
  double *values = pool[next++ % 8];
  mxs_random_gaussian(5, MXS_STREAM_NOISE, row, 0, (count + 3) / 4, values);
  return values;
}

static void make_generated(subject *s, mxs_ensemble ensemble) {
  assert_int_equal(mxsi_generated_create(ensemble, N, 11, &s->table, &s->self), MXS_OK);
  mxsi_generated_rows(ensemble, 11, N, 0, M, s->a[0]);
}

static void make_dense(subject *s, mxs_storage storage) {
  mxs_dense *dense = NULL;
  assert_int_equal(mxsi_dense_create(N, storage, &s->blocks, &dense), MXS_OK);
  for (int64_t i = 0; i < M; i++) {
    const int64_t row = dense->slot[i / ROWS] + i % ROWS;
    const char *stored = (const char *)dense->rows + row * N * mxsi_entry_bytes(storage);
    mxsi_dense_put(dense, row, 1, numbers(i, N));
    for (int64_t j = 0; j < N; j++)
      s->a[i][j] = mxsi_entry(storage, stored, mxsi_entry_place(storage, N, j));
    assert_true(fabs(s->a[i][N - 1] - numbers(i, N)[N - 1]) <= 0x1p-8 * fabs(s->a[i][N - 1]));
  }
  s->table = &mxsi_op_dense;
  s->self = dense;
}

/* What a pass must give, by loops, with the sums of magnitudes that bound its rounding. */
typedef struct expectation {
  double w[M], w_size[M], g[N], g_size[N];
} expectation;

static void expect(const subject *s, int64_t first, const mxs_single *pass, expectation *e) {
  for (int64_t j = 0; j < N && pass->g != NULL; j++) {
    e->g[j] = pass->g[j];
    e->g_size[j] = fabs(pass->g[j]);
  }
  for (int64_t i = 0; i < pass->count; i++) {
    const double *a = s->a[first + i];
    const double y = pass->y != NULL ? pass->y[i] : 0.0;
    const double weight = pass->weight != NULL ? pass->weight[i] : 1.0;
    e->w[i] = pass->x != NULL ? -y : pass->w[i];
    e->w_size[i] = pass->x != NULL ? fabs(y) : 0.0;
    for (int64_t j = 0; j < N && pass->x != NULL; j++) {
      e->w[i] += a[j] * pass->x[j];
      e->w_size[i] += fabs(a[j] * pass->x[j]);
    }
    for (int64_t j = 0; j < N && pass->g != NULL; j++) {
      e->g[j] += weight * e->w[i] * a[j];
      e->g_size[j] += fabs(weight * a[j]) * (fabs(e->w[i]) + e->w_size[i]);
    }
  }
}

/* Compare a pass over a range with loops, and with itself; `parts` says which arguments it has. */
static void check_pass(const subject *s, int64_t first, int64_t count, int parts) {
  static expectation e;
  double w[2][M], g[2][N];
  mxs_single pass = {.count = count,
                     .x = parts & 1 ? numbers(1000, N) : NULL,
                     .y = parts & 2 ? numbers(1001, M) : NULL,
                     .weight = parts & 4 ? numbers(1002, M) : NULL};
  for (int run = 0; run < 2; run++) {
    memcpy(w[run], numbers(1004, M), sizeof w[run]);
    memcpy(g[run], numbers(1003, N), sizeof g[run]);
    pass.w = w[run];
    pass.g = parts & 8 ? g[run] : NULL;
    expect(s, first, &pass, &e);
    assert_int_equal(mxsi_op_single(s->table, s->self, first, &pass), MXS_OK);
  }
  assert_memory_equal(w[0], w[1], sizeof w[0]);
  assert_memory_equal(g[0], g[1], sizeof g[0]);
  for (int64_t i = 0; i < count; i++)
    assert_true(fabs(w[0][i] - e.w[i]) <= (N + 2) * DBL_EPSILON * e.w_size[i]);
  for (int64_t j = 0; j < N && pass.g != NULL; j++)
    assert_true(fabs(g[0][j] - e.g[j]) <= (N + M + 4) * DBL_EPSILON * e.g_size[j]);
  if (pass.g == NULL)
    assert_memory_equal(g[0], numbers(1003, N), sizeof g[0]);
}

static void check_operator(subject *s) {
  static const int64_t ranges[][2] = {{0, 32}, {32, 32}, {64, 11}, {0, 1},
                                      {5, 3},  {33, 7},  {70, 5},  {31, 1}};
  for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++)
    for (int parts = 0; parts < 16; parts++)
      check_pass(s, ranges[i][0], ranges[i][1], parts);
  double sum = 0.0, expected = 0.0;
  if (s->table->frobenius2 != NULL) {
    assert_int_equal(s->table->frobenius2(s->self, 32, 20, &sum), MXS_OK);
    for (int64_t i = 32; i < 52; i++)
      for (int64_t j = 0; j < N; j++)
        expected += s->a[i][j] * s->a[i][j];
    assert_true(fabs(sum - expected) <= 20 * N * DBL_EPSILON * expected);
  }
  s->table->destroy(s->self);
  mxs_blocks_clear(&s->blocks);
}

static subject *begin(void) {
  static subject s;
  memset(&s, 0, sizeof s);
  assert_int_equal(mxs_blocks_create(M, ROWS, 0, 1, &s.blocks), MXS_OK);
  return &s;
}

static void dense_f64(void **state) {
  (void)state;
  subject *s = begin();
  make_dense(s, MXS_STORAGE_F64);
  check_operator(s);
}

static void dense_f32(void **state) {
  (void)state;
  subject *s = begin();
  make_dense(s, MXS_STORAGE_F32);
  check_operator(s);
}

static void dense_bf16(void **state) {
  (void)state;
  subject *s = begin();
  make_dense(s, MXS_STORAGE_BF16);
  check_operator(s);
}

static void gaussian(void **state) {
  (void)state;
  subject *s = begin();
  make_generated(s, MXS_ENSEMBLE_GAUSSIAN);
  check_operator(s);
}

static void rademacher(void **state) {
  (void)state;
  subject *s = begin();
  make_generated(s, MXS_ENSEMBLE_RADEMACHER);
  for (int64_t i = 0; i < M; i++)
    for (int64_t j = 0; j < N; j++)
      assert_true(s->a[i][j] == 1.0 || s->a[i][j] == -1.0);
  check_operator(s);
}

/* Rows that another rank has are an error, not a wrong number. */
static void dense_of_another_rank(void **state) {
  (void)state;
  mxs_blocks blocks;
  mxs_dense *dense = NULL;
  assert_int_equal(mxs_blocks_create(M, ROWS, 1, 2, &blocks), MXS_OK);
  assert_int_equal(mxsi_dense_create(N, MXS_STORAGE_F64, &blocks, &dense), MXS_OK);
  double w[1], x[N] = {0};
  const mxs_single pass = {.count = 1, .x = x, .w = w};
  assert_int_equal(mxsi_op_single(&mxsi_op_dense, dense, 0, &pass), MXS_ERR_INTERNAL);
  assert_int_equal(mxsi_op_single(&mxsi_op_dense, dense, 64, &pass), MXS_OK);
  mxsi_op_dense.destroy(dense);
  mxs_blocks_clear(&blocks);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(dense_f64),  cmocka_unit_test(dense_f32),
      cmocka_unit_test(dense_bf16), cmocka_unit_test(gaussian),
      cmocka_unit_test(rademacher), cmocka_unit_test(dense_of_another_rank),
  };
  return cmocka_run_group_tests(tests, NULL, NULL) || mxs_alloc_outstanding() != 0;
}
