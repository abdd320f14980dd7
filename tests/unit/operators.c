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
  s->table = ensemble == MXS_ENSEMBLE_GAUSSIAN ? &mxsi_op_gaussian : &mxsi_op_rademacher;
  assert_int_equal(mxsi_generated_create(N, 11, &s->self), MXS_OK);
  mxsi_generated_rows(ensemble, 11, N, 0, M, s->a[0]);
}

static void make_dense(subject *s, mxs_storage storage) {
  mxs_dense *dense = NULL;
  assert_int_equal(mxsi_dense_create(N, storage, &s->blocks, &dense), MXS_OK);
  for (int64_t i = 0; i < M; i++) {
    memcpy(s->a[i], numbers(i, N), sizeof s->a[i]);
    const int64_t row = dense->slot[i / ROWS] + i % ROWS;
    for (int64_t j = 0; j < N; j++) {
      if (storage == MXS_STORAGE_F32) {
        ((float *)dense->rows)[row * N + j] = (float)s->a[i][j];
        s->a[i][j] = (double)(float)s->a[i][j];
      } else {
        ((double *)dense->rows)[row * N + j] = s->a[i][j];
      }
    }
  }
  s->table = &mxsi_op_dense;
  s->self = dense;
}

/* Compare one call with loops; any of x, y, weight, g may be left out. */
static void check_pass(const subject *s,
                       int64_t first,
                       int64_t count,
                       int with_x,
                       int with_y,
                       int with_weight,
                       int with_g) {
  const double *x = numbers(1000, N), *y = numbers(1001, M), *weight = numbers(1002, M),
               *start = numbers(1003, N);
  double w[M], g[N], expected_w[M], expected_g[N], size_g[N];
  memcpy(w, numbers(1004, M), sizeof w);
  memcpy(expected_w, w, sizeof w);
  memcpy(g, start, sizeof g);
  memcpy(expected_g, start, sizeof g);
  for (int64_t j = 0; j < N; j++)
    size_g[j] = fabs(start[j]);
  for (int64_t i = 0; i < count; i++) {
    double size = 0.0;
    if (with_x) {
      expected_w[i] = with_y ? -y[i] : 0.0;
      size = fabs(expected_w[i]);
      for (int64_t j = 0; j < N; j++) {
        expected_w[i] += s->a[first + i][j] * x[j];
        size += fabs(s->a[first + i][j] * x[j]);
      }
    }
    for (int64_t j = 0; j < N; j++) {
      const double term = (with_weight ? weight[i] : 1.0) * expected_w[i] * s->a[first + i][j];
      expected_g[j] += term;
      size_g[j] +=
          fabs(term) + fabs(s->a[first + i][j]) * size * (with_weight ? fabs(weight[i]) : 1.0);
    }
  }
  const mxs_pass w_pass = {first,
                           count,
                           with_x ? x : NULL,
                           with_y ? y : NULL,
                           with_weight ? weight : NULL,
                           w,
                           with_g ? g : NULL};
  assert_int_equal(s->table->pass(s->self, &w_pass), MXS_OK);
  for (int64_t i = 0; i < count; i++) {
    double size = fabs(y[i]);
    for (int64_t j = 0; j < N; j++)
      size += fabs(s->a[first + i][j] * x[j]);
    assert_true(fabs(w[i] - expected_w[i]) <= (with_x ? (N + 2) * DBL_EPSILON * size : 0.0));
  }
  for (int64_t j = 0; j < N && with_g; j++)
    assert_true(fabs(g[j] - expected_g[j]) <= (N + M + 4) * DBL_EPSILON * size_g[j]);
  if (!with_g)
    assert_memory_equal(g, start, sizeof g);

  double again_w[M], again_g[N];
  memcpy(again_w, numbers(1004, M), sizeof again_w);
  memcpy(again_g, start, sizeof again_g);
  const mxs_pass again_w_pass = {first,
                                 count,
                                 with_x ? x : NULL,
                                 with_y ? y : NULL,
                                 with_weight ? weight : NULL,
                                 again_w,
                                 with_g ? again_g : NULL};
  assert_int_equal(s->table->pass(s->self, &again_w_pass), MXS_OK);
  assert_memory_equal(again_w, w, sizeof w);
  assert_memory_equal(again_g, g, sizeof g);
}

static void check_operator(subject *s) {
  static const int64_t ranges[][2] = {{0, 32}, {32, 32}, {64, 11}, {0, 1},
                                      {5, 3},  {33, 7},  {70, 5},  {31, 1}};
  for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++)
    for (int parts = 0; parts < 16; parts++)
      check_pass(s, ranges[i][0], ranges[i][1], parts & 1, (parts >> 1) & 1, (parts >> 2) & 1,
                 (parts >> 3) & 1);
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
  mxs_pass pass = {.first = 0, .count = 1, .x = x, .w = w};
  assert_int_equal(mxsi_op_dense.pass(dense, &pass), MXS_ERR_INTERNAL);
  pass.first = 64;
  assert_int_equal(mxsi_op_dense.pass(dense, &pass), MXS_OK);
  mxsi_op_dense.destroy(dense);
  mxs_blocks_clear(&blocks);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(dense_f64),
      cmocka_unit_test(dense_f32),
      cmocka_unit_test(gaussian),
      cmocka_unit_test(rademacher),
      cmocka_unit_test(dense_of_another_rank),
  };
  return cmocka_run_group_tests(tests, NULL, NULL) || mxs_alloc_outstanding() != 0;
}
