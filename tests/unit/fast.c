/* The fast ensemble: golden values of its format, the transform against its definition and against
 * the same additions one by one, passes against the matrices written out. */
#include "op/fast.h"
#include "base/random.h"
#include "mpi/mpi_test.h"

#include <float.h>
#include <math.h>
#include <string.h>

static const uint64_t golden_seed = 12345678901234567;

/* From an independent implementation of the formulas in op.h. */
static void permutation_is_golden(void **state) {
  (void)state;
  static const int64_t golden[][4] = {{0, 0, 0, 0},
                                      {1, 0, 1, 1},
                                      {5, 3, 17, 21},
                                      {20, 0, 0, 189470},
                                      {20, 0, 1, 151155},
                                      {20, 7, 99999, 838114},
                                      {31, 8191, 2147483647, 1366380254}};
  for (size_t i = 0; i < sizeof golden / sizeof *golden; i++) {
    int64_t row = -1;
    mxsi_fast_permute(golden_seed, INT64_C(1) << golden[i][0], golden[i][1], golden[i][2], 1, &row);
    assert_int_equal(row, golden[i][3]);
  }
}

static void entries_are_golden(void **state) {
  (void)state;
  enum { ENTRIES = 100000, BLOCK = 10 };
  static const struct {
    int64_t i, j;
    uint64_t bits; /* of the entries j .. j + 63 */
  } golden[] = {{0, 0, 0xfbf615d541fc1a54},
                {1, 64, 0x14afc9dd309d20f8},
                {9, 99936, 0xc2b55eb0f1ab10c3},
                {123456, 70000, 0xebcd5763fb43f201}};
  static double row[ENTRIES];
  for (size_t k = 0; k < sizeof golden / sizeof *golden; k++) {
    assert_int_equal(mxsi_fast_rows(golden_seed, ENTRIES, BLOCK, golden[k].i, 1, row), MXS_OK);
    for (int b = 0; b < 64; b++)
      assert_true(row[golden[k].j + b] == (golden[k].bits >> b & 1 ? -1.0 : 1.0));
  }
}

static void permutation_is_one(void **state) {
  (void)state;
  enum { LARGEST = 4096 };
  static int64_t rows[LARGEST];
  for (int64_t order = 1; order <= LARGEST; order *= 2)
    for (uint64_t seed = 0; seed < 5; seed++) {
      char seen[LARGEST] = {0};
      mxsi_fast_permute(seed, order, (int64_t)seed, 0, order, rows);
      for (int64_t t = 0; t < order; t++) {
        assert_true(rows[t] >= 0 && rows[t] < order && !seen[rows[t]]);
        seen[rows[t]] = 1;
      }
    }
}

static void orders(void **state) {
  (void)state;
  static const int64_t cases[][2] = {{1, 1},       {2, 2},
                                     {3, 4},       {64, 64},
                                     {65, 128},    {1 << 20, 1 << 20},
                                     {3072, 4096}, {1000000, 1 << 20}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    assert_int_equal(mxsi_fast_order(cases[i][0]), cases[i][1]);
}

static void fill(int64_t row, int64_t count, double *values) {
  mxs_random_gaussian_row(7, MXS_STREAM_NOISE, row, count, values);
}

/* Integers, so every sum is exact. */
static void transform_is_hadamard(void **state) {
  (void)state;
  enum { LARGEST = 1024 };
  static double x[LARGEST], z[LARGEST];
  for (int64_t order = 1; order <= LARGEST; order *= 2) {
    for (int64_t j = 0; j < order; j++)
      z[j] = x[j] = (double)((j * 7919 + 13) % 1009 - 500);
    mxsi_fast_transform(z, order);
    for (int64_t s = 0; s < order; s++) {
      double sum = 0.0;
      for (int64_t j = 0; j < order; j++)
        sum += __builtin_parityll((unsigned long long)(s & j)) ? -x[j] : x[j];
      assert_true(z[s] == sum);
    }
  }
}

/* Bits do not depend on vectors and caches: additions from the largest distance to the smallest. */
static void transform_has_one_order(void **state) {
  (void)state;
  enum { LARGEST = 1 << 19 };
  static double x[LARGEST + 1], z[LARGEST];
  for (int64_t order = 1; order <= LARGEST; order *= 2) {
    fill(order, order, z);
    memcpy(x + 1, z, (size_t)order * sizeof *x); /* not aligned */
    mxsi_fast_transform(x + 1, order);
    for (int64_t h = order / 2; h > 0; h /= 2)
      for (int64_t j = 0; j < order; j++)
        if ((j & h) == 0) {
          const double a = z[j];
          const double b = z[j + h];
          z[j] = a + b;
          z[j + h] = a - b;
        }
    assert_memory_equal(x + 1, z, (size_t)order * sizeof *x);
  }
}

enum { MOST_ENTRIES = 600, MOST_ROWS = 90, REPLICAS = 3 };

typedef struct subject {
  int64_t entries, block_rows;
  const mxs_op_table *table;
  void *self;
  double a[MOST_ROWS][MOST_ENTRIES];
} subject;

static void make(subject *s, int64_t entries, int64_t block_rows) {
  s->entries = entries;
  s->block_rows = block_rows;
  assert_int_equal(mxsi_fast_create(entries, 3, block_rows, &s->table, &s->self), MXS_OK);
  for (int64_t i = 0; i < MOST_ROWS; i++)
    assert_int_equal(mxsi_fast_rows(3, entries, block_rows, i, 1, s->a[i]), MXS_OK);
}

typedef struct vectors {
  double x[REPLICAS][MOST_ENTRIES], g[REPLICAS][MOST_ENTRIES], w[REPLICAS][MOST_ROWS];
  double y[MOST_ROWS], weight[MOST_ROWS];
} vectors;

static void fill_vectors(vectors *v) {
  for (int64_t r = 0; r < REPLICAS; r++) {
    fill(10 + r, MOST_ENTRIES, v->x[r]);
    fill(20 + r, MOST_ENTRIES, v->g[r]);
    fill(30 + r, MOST_ROWS, v->w[r]);
  }
  fill(40, MOST_ROWS, v->y);
  fill(41, MOST_ROWS, v->weight);
}

/* One replica of a pass against loops over the matrices; `parts` says which arguments it had. */
static void check_replica(
    const subject *s, int64_t first, int64_t count, int parts, const vectors *v, int r) {
  static vectors before;
  fill_vectors(&before);
  const double room = 4.0 * log2((double)s->entries + 2.0) * DBL_EPSILON;
  double z[MOST_ROWS];
  for (int64_t i = 0; i < count; i++) {
    double size = 0.0;
    z[i] = 0.0;
    for (int64_t j = 0; j < s->entries; j++) {
      z[i] += s->a[first + i][j] * before.x[r][j];
      size += fabs(before.x[r][j]);
    }
    if (parts & 2)
      z[i] -= before.y[i];
    if (parts & 1)
      assert_true(fabs(v->w[r][i] - z[i]) <=
                  (room + (double)s->entries * DBL_EPSILON) * (size + 5));
    else
      assert_true(v->w[r][i] == before.w[r][i]);
  }
  for (int64_t j = 0; j < s->entries; j++) {
    double sum = before.g[r][j];
    double size = fabs(sum);
    for (int64_t i = 0; i < count && (parts & 8); i++) {
      const double u = (parts & 4 ? v->weight[i] : 1.0) * v->w[r][i];
      sum += u * s->a[first + i][j];
      size += fabs(u);
    }
    assert_true(fabs(v->g[r][j] - sum) <= (room + (double)count * DBL_EPSILON) * size);
  }
}

static mxs_pass pass_over(vectors *v,
                          int64_t first,
                          int64_t count,
                          int64_t replicas,
                          int parts,
                          const double **x,
                          double **g) {
  for (int r = 0; r < REPLICAS; r++) {
    x[r] = v->x[r];
    g[r] = v->g[r];
  }
  return (mxs_pass){.first = first,
                    .count = count,
                    .replicas = replicas,
                    .x = parts & 1 ? x : NULL,
                    .y = parts & 2 ? v->y : NULL,
                    .weight = parts & 4 ? v->weight : NULL,
                    .w = v->w[0],
                    .stride = MOST_ROWS,
                    .g = parts & 8 ? g : NULL};
}

static void check_range(const subject *s, int64_t first, int64_t count, int parts) {
  static vectors v, single;
  const double *x[REPLICAS];
  double *g[REPLICAS];
  fill_vectors(&v);
  fill_vectors(&single);
  assert_int_equal(s->table->plan(s->self, REPLICAS, 2), MXS_OK);
  mxs_pass pass = pass_over(&v, first, count, REPLICAS, parts, x, g);
  pass.thread = 1;
  assert_int_equal(s->table->pass(s->self, &pass), MXS_OK);
  for (int r = 0; r < REPLICAS; r++)
    check_replica(s, first, count, parts, &v, r);
  pass = pass_over(&single, first, count, 1, parts, x, g);
  assert_int_equal(s->table->pass(s->self, &pass), MXS_OK);
  assert_memory_equal(single.w[0], v.w[0], sizeof v.w[0]);
  assert_memory_equal(single.g[0], v.g[0], sizeof v.g[0]);
}

/* Ranges that are a block, part of one, and cross from one to another. */
static void passes_are_matrices(void **state) {
  (void)state;
  static subject s;
  static const int64_t entries[] = {1, 2, 37, 64, 100, 129, 512, MOST_ENTRIES};
  static const int64_t ranges[][2] = {{0, 16}, {16, 16}, {0, 90}, {3, 1}, {11, 70}, {20, 9}};
  for (size_t n = 0; n < sizeof entries / sizeof *entries; n++) {
    const int64_t order = mxsi_fast_order(entries[n]);
    const int64_t block_rows[] = {1, order < 16 ? order : 16, order < 77 ? order : 77, order};
    for (size_t b = 0; b < sizeof block_rows / sizeof *block_rows; b++) {
      make(&s, entries[n], block_rows[b]);
      for (size_t k = 0; k < sizeof ranges / sizeof *ranges; k++)
        for (int parts = 0; parts < 16; parts++)
          check_range(&s, ranges[k][0], ranges[k][1], parts);
      s.table->destroy(s.self);
    }
  }
}

/* Small integers: <A x, u> = <x, A^T u> without rounding, beyond the caches. */
static void adjoint_identity_is_exact(void **state) {
  (void)state;
  enum { N = 70000, M = 5000 };
  static double x[N], g[N], w[M], u[M], keep[M];
  const mxs_op_table *table = NULL;
  void *self = NULL;
  assert_int_equal(mxsi_fast_create(N, 8, 2048, &table, &self), MXS_OK);
  for (int64_t j = 0; j < N; j++)
    x[j] = (double)((j * 7919) % 101 - 50);
  for (int64_t i = 0; i < M; i++)
    u[i] = keep[i] = (double)((i * 104729) % 103 - 51);
  const mxs_single forward = {.count = M, .x = x, .w = w};
  const mxs_single adjoint = {.count = M, .w = u, .g = g};
  assert_int_equal(mxsi_op_single(table, self, 100, &forward), MXS_OK);
  assert_int_equal(mxsi_op_single(table, self, 100, &adjoint), MXS_OK);
  double left = 0.0;
  double right = 0.0;
  for (int64_t i = 0; i < M; i++)
    left += w[i] * keep[i];
  for (int64_t j = 0; j < N; j++)
    right += x[j] * g[j];
  assert_true(left == right && left != 0.0);
  table->destroy(self);
}

/* Passes that run at the same time over blocks of their own give what they give alone. */
static void threads_do_not_meet(void **state) {
  (void)state;
  enum { N = 20000, ROWS = 500, THREADS = 4, REPEATS = 1500 };
  static double x[N], alone[THREADS][ROWS], together[THREADS][ROWS];
  const mxs_op_table *table = NULL;
  void *self = NULL;
  const double *X = x;
  fill(50, N, x);
  assert_int_equal(mxsi_fast_create(N, 8, ROWS, &table, &self), MXS_OK);
  assert_int_equal(table->plan(self, 1, THREADS), MXS_OK);
  mxs_pass pass[THREADS];
  for (int t = 0; t < THREADS; t++) {
    pass[t] = (mxs_pass){
        .first = (int64_t)t * ROWS, .count = ROWS, .replicas = 1, .x = &X, .w = alone[t]};
    assert_int_equal(table->pass(self, &pass[t]), MXS_OK);
    pass[t].w = together[t];
    pass[t].thread = t;
  }
  int failed = 0;
#pragma omp parallel for num_threads(THREADS) reduction(+ : failed)
  for (int t = 0; t < THREADS; t++)
    for (int repeat = 0; repeat < REPEATS; repeat++)
      failed += table->pass(self, &pass[t]) != MXS_OK ||
                !mpi_test_same_bits(together[t], alone[t], sizeof alone[t]);
  assert_int_equal(failed, 0);
  table->destroy(self);
}

static void blocks_have_a_range(void **state) {
  (void)state;
  const mxs_op_table *table = NULL;
  void *self = NULL;
  for (int64_t rows = 0; rows <= 65; rows += 65) {
    assert_int_equal(mxsi_fast_create(60, 8, rows, &table, &self), MXS_ERR_ARG);
    assert_null(self);
  }
}

static void info_counts_memory(void **state) {
  (void)state;
  const mxs_op_table *table = NULL;
  void *self = NULL;
  assert_int_equal(mxsi_fast_create(1000, 8, 50, &table, &self), MXS_OK);
  assert_int_equal(mxsi_op_info(table, self).bytes, 0);
  assert_int_equal(table->plan(self, 1, 3), MXS_OK);
  assert_int_equal(table->plan(self, 5, 2), MXS_OK);
  const mxs_op_info info = mxsi_op_info(table, self);
  assert_int_equal(info.bytes, 3 * 8 * (1024 + 16 + 50));
  assert_non_null(strstr(info.path, "2^10"));
  table->destroy(self);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(permutation_is_golden), cmocka_unit_test(entries_are_golden),
      cmocka_unit_test(permutation_is_one),    cmocka_unit_test(orders),
      cmocka_unit_test(transform_is_hadamard), cmocka_unit_test(transform_has_one_order),
      cmocka_unit_test(passes_are_matrices),   cmocka_unit_test(adjoint_identity_is_exact),
      cmocka_unit_test(threads_do_not_meet),   cmocka_unit_test(blocks_have_a_range),
      cmocka_unit_test(info_counts_memory),
  };
  return cmocka_run_group_tests(tests, NULL, NULL) || mxs_alloc_outstanding() != 0;
}
