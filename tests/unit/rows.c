/* The rows of operators as doubles, against what the adjoint direction of a pass adds for one
 * measurement with residual 1: the same entries, by other code. */
#include "base/random.h"
#include "mpi/mpi_test.h"
#include "op/fast.h"
#include "op/op.h"
#include "op/signs.h"

#include <string.h>

enum { M = 75, ROWS = 32, GUARD = 16 };

static const int64_t shapes[] = {1, 15, 16, 17, 63, 64, 65, 511, 1000, 4099, 33000};
static const int64_t ranges[][2] = {{0, 32}, {5, 1}, {33, 7}, {64, 11}, {31, 1}, {39, 25}};

typedef struct subject {
  const mxs_op_table *table;
  void *self;
  int64_t entries;
  mxs_blocks blocks;
} subject;

static double *of_size(int64_t count) {
  double *a = NULL;
  assert_int_equal(mxs_alloc(count, sizeof *a, &a), MXS_OK);
  return a;
}

static void check_range(const subject *s, int64_t first, int64_t count) {
  const int64_t n = s->entries;
  double *room = of_size(count * n + GUARD);
  double *expected = of_size(n);
  const double *rows = NULL;
  for (int64_t j = 0; j < count * n + GUARD; j++)
    room[j] = 1e300;
  assert_int_equal(s->table->rows(s->self, first, count, room, &rows), MXS_OK);
  for (int64_t i = 0; i < count; i++) {
    double one = 1.0;
    const mxs_single pass = {.count = 1, .w = &one, .g = expected};
    memset(expected, 0, (size_t)n * sizeof *expected);
    assert_int_equal(mxsi_op_single(s->table, s->self, first + i, &pass), MXS_OK);
    for (int64_t j = 0; j < n; j++)
      assert_true(rows[i * n + j] == expected[j]);
  }
  for (int64_t j = rows == room ? count * n : 0; j < count * n + GUARD; j++)
    assert_true(room[j] == 1e300);
  mxs_release(&room);
  mxs_release(&expected);
}

static void check_rows(const subject *s) {
  assert_int_equal(mxsi_op_plan(s->table, s->self, 1, 1), MXS_OK);
  for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
    check_range(s, ranges[i][0], ranges[i][1]);
}

static subject begin(int64_t entries) {
  subject s = {.entries = entries};
  assert_int_equal(mxs_blocks_create(M, ROWS, 0, 1, &s.blocks), MXS_OK);
  return s;
}

static void end(subject *s) {
  s->table->destroy(s->self);
  mxs_blocks_clear(&s->blocks);
}

static void numbers(int64_t row, int64_t count, double *values) {
  double *whole = of_size((count + 3) / 4 * 4);
  mxs_random_gaussian(5, MXS_STREAM_NOISE, row, 0, (count + 3) / 4, whole);
  memcpy(values, whole, (size_t)count * sizeof *values);
  mxs_release(&whole);
}

static void check_dense(mxs_storage storage, const mxs_kernels *kernels, int64_t entries) {
  subject s = begin(entries);
  mxs_dense *dense = NULL;
  double *row = of_size(entries);
  assert_int_equal(mxsi_dense_create(entries, storage, &s.blocks, &dense), MXS_OK);
  dense->visits.kernels = kernels;
  for (int64_t i = 0; i < M; i++) {
    numbers(i, entries, row);
    mxsi_dense_put(dense, dense->slot[i / ROWS] + i % ROWS, 1, row);
  }
  s.table = &mxsi_op_dense;
  s.self = dense;
  check_rows(&s);
  mxs_release(&row);
  end(&s);
}

static void dense(void **state) {
  (void)state;
  static const mxs_storage storages[] = {MXS_STORAGE_F64, MXS_STORAGE_F32, MXS_STORAGE_BF16};
  enum { KERNELS = 3 };
  const mxs_kernels *kernels[KERNELS] = {mxsi_kernels_avx512(), mxsi_kernels_avx2(),
                                         mxsi_kernels_portable()};
  for (size_t k = 0; k < KERNELS; k++)
    for (size_t t = 0; t < sizeof storages / sizeof *storages; t++)
      for (size_t i = 0; kernels[k] != NULL && i < sizeof shapes / sizeof *shapes; i++)
        check_dense(storages[t], kernels[k], shapes[i]);
}

static void dense_of_doubles_is_not_copied(void **state) {
  (void)state;
  subject s = begin(10);
  mxs_dense *dense = NULL;
  const double *rows = NULL;
  assert_int_equal(mxsi_dense_create(10, MXS_STORAGE_F64, &s.blocks, &dense), MXS_OK);
  assert_int_equal(mxsi_op_dense.rows(dense, 33, 2, NULL, &rows), MXS_OK);
  assert_ptr_equal(rows, (const double *)dense->rows + (dense->slot[1] + 1) * 10);
  mxsi_op_dense.destroy(dense);
  mxs_blocks_clear(&s.blocks);
}

static void bits(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
    for (int planted = 0; planted < 2; planted++) {
      subject s = begin(shapes[i]);
      mxs_signs *signs = NULL;
      double *row = of_size(shapes[i]);
      assert_int_equal(mxsi_signs_create(shapes[i],
                                         planted ? MXS_ENSEMBLE_RADEMACHER : MXS_ENSEMBLE_DENSE, 11,
                                         &s.blocks, &signs),
                       MXS_OK);
      for (int64_t k = 0; k < M && !planted; k++) {
        numbers(k, shapes[i], row);
        for (int64_t j = 0; j < shapes[i]; j++)
          row[j] = row[j] < 0.0 ? -1.0 : 1.0;
        assert_int_equal(mxsi_signs_put(signs, mxsi_signs_slot(signs, k / ROWS) + k % ROWS, 1, row),
                         MXS_OK);
      }
      s.table = &mxsi_op_signs;
      s.self = signs;
      check_rows(&s);
      mxs_release(&row);
      end(&s);
    }
}

static void generated(void **state) {
  (void)state;
  static const mxs_ensemble ensembles[] = {MXS_ENSEMBLE_GAUSSIAN, MXS_ENSEMBLE_RADEMACHER,
                                           MXS_ENSEMBLE_GAUSSIAN8};
  for (size_t k = 0; k < sizeof ensembles / sizeof *ensembles; k++)
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
      subject s = begin(shapes[i]);
      assert_int_equal(mxsi_generated_create(ensembles[k], shapes[i], 11, &s.table, &s.self),
                       MXS_OK);
      check_rows(&s);
      end(&s);
    }
}

/* Blocks of the transform end inside the ranges. */
static void fast(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
    subject s = begin(shapes[i]);
    const int64_t order = mxsi_fast_order(shapes[i]);
    assert_int_equal(mxsi_fast_create(shapes[i], 11, order < 20 ? order : 20, &s.table, &s.self),
                     MXS_OK);
    check_rows(&s);
    end(&s);
  }
}

static void of_another_rank(void **state) {
  (void)state;
  enum { N = 5 };
  mxs_blocks blocks;
  mxs_dense *dense = NULL;
  mxs_signs *signs = NULL;
  double room[N];
  const double *rows = NULL;
  assert_int_equal(mxs_blocks_create(M, ROWS, 1, 2, &blocks), MXS_OK);
  assert_int_equal(mxsi_dense_create(N, MXS_STORAGE_F32, &blocks, &dense), MXS_OK);
  assert_int_equal(mxsi_signs_create(N, MXS_ENSEMBLE_RADEMACHER, 11, &blocks, &signs), MXS_OK);
  assert_int_equal(mxsi_op_dense.rows(dense, 0, 1, room, &rows), MXS_ERR_INTERNAL);
  assert_int_equal(mxsi_op_signs.rows(signs, 0, 1, room, &rows), MXS_ERR_INTERNAL);
  assert_int_equal(mxsi_op_dense.rows(dense, 64, 1, room, &rows), MXS_OK);
  assert_int_equal(mxsi_op_signs.rows(signs, 64, 1, room, &rows), MXS_OK);
  mxsi_op_dense.destroy(dense);
  mxsi_signs_destroy(&signs);
  mxs_blocks_clear(&blocks);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(dense), cmocka_unit_test(dense_of_doubles_is_not_copied),
      cmocka_unit_test(bits),  cmocka_unit_test(generated),
      cmocka_unit_test(fast),  cmocka_unit_test(of_another_rank),
  };
  return cmocka_run_group_tests(tests, NULL, NULL) || mxs_alloc_outstanding() != 0;
}
