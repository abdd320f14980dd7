/* Exact sums of signs and levels: the same bits by every kernel, right to the last bit of the fixed
 * point, honest about what is not finite. */
#include "op/signs.h"
#include "base/random.h"
#include "mpi/mpi_test.h"
#include "op/op.h"
#include "op/signs_levels.h"

#include <math.h>
#include <pthread.h>
#include <string.h>

enum { ROWS = 150, LARGEST = 4097, REPLICAS = 5, SIGNS = 0, LEVELS = 1, KINDS = 2 };

static const mxs_ensemble ensembles[KINDS] = {MXS_ENSEMBLE_RADEMACHER, MXS_ENSEMBLE_GAUSSIAN8};

static mxs_signs *make(int64_t entries, int levels) {
  mxs_signs *signs = NULL;
  assert_int_equal(mxsi_signs_create(entries, ensembles[levels], 4, NULL, &signs), MXS_OK);
  return signs;
}

static void run(mxs_signs *signs, const mxs_pass *pass) {
  assert_int_equal(mxsi_op_signs.plan(signs, pass->replicas, pass->thread + 1), MXS_OK);
  if (pass->x != NULL)
    assert_int_equal(mxsi_op_signs.point(signs, pass->replicas, pass->x), MXS_OK);
  assert_int_equal(mxsi_op_signs.pass(signs, pass), MXS_OK);
}

static void run_single(mxs_signs *signs, int64_t first, const mxs_single *pass) {
  assert_int_equal(mxsi_op_single(&mxsi_op_signs, signs, first, pass), MXS_OK);
}

/* Arguments of a pass, and room for what two runs give. */
typedef struct arguments {
  double x[REPLICAS][LARGEST], y[ROWS], weight[ROWS];
  double w[2][REPLICAS][ROWS], g[2][REPLICAS][LARGEST];
} arguments;

static arguments *a(void) {
  static arguments all;
  for (int r = 0; r < REPLICAS; r++) {
    mxs_random_gaussian_row(9, MXS_STREAM_NOISE, r, LARGEST, all.x[r]);
    for (int run = 0; run < 2; run++) {
      mxs_random_gaussian_row(9, MXS_STREAM_NOISE, 10 + r, LARGEST, all.g[run][r]);
      mxs_random_gaussian_row(9, MXS_STREAM_NOISE, 20 + r, ROWS, all.w[run][r]);
    }
  }
  mxs_random_gaussian_row(9, MXS_STREAM_NOISE, 30, ROWS, all.y);
  mxs_random_gaussian_row(9, MXS_STREAM_NOISE, 31, ROWS, all.weight);
  return &all;
}

/* `parts`: 1 with X, 2 with y, 4 with weights, 8 with G. */
static void run_shape(
    mxs_signs *signs, arguments *all, int which, int64_t count, int64_t replicas, int parts) {
  const double *x[REPLICAS];
  double *g[REPLICAS];
  for (int r = 0; r < REPLICAS; r++) {
    x[r] = all->x[r];
    g[r] = all->g[which][r];
  }
  const mxs_pass pass = {.first = 7,
                         .count = count,
                         .replicas = replicas,
                         .x = parts & 1 ? x : NULL,
                         .y = parts & 2 ? all->y : NULL,
                         .weight = parts & 4 ? all->weight : NULL,
                         .w = all->w[which][0],
                         .stride = ROWS,
                         .g = parts & 8 ? g : NULL};
  run(signs, &pass);
}

static void compare_kernel(int levels, const mxs_signs_kernel *kernel, int64_t entries) {
  static const int64_t counts[] = {1, 7, 8, 20, 33, 40, 50, 56, 64, 65, ROWS};
  static const int64_t replicas[] = {1, 2, 3, REPLICAS};
  mxs_signs *signs[2] = {make(entries, levels), make(entries, levels)};
  mxsi_signs_use(signs[0], levels ? &mxsi_levels_portable : &mxsi_signs_portable);
  mxsi_signs_use(signs[1], kernel);
  for (size_t c = 0; c < sizeof counts / sizeof *counts; c++)
    for (size_t r = 0; r < sizeof replicas / sizeof *replicas; r++) {
      static const int parts[] = {15, 9, 8, 3};
      arguments *all = a();
      for (int which = 0; which < 2; which++)
        run_shape(signs[which], all, which, counts[c], replicas[r], parts[(c + r) % 4]);
      assert_memory_equal(all->w[0], all->w[1], sizeof all->w[0]);
      assert_memory_equal(all->g[0], all->g[1], sizeof all->g[0]);
    }
  mxsi_signs_destroy(&signs[0]);
  mxsi_signs_destroy(&signs[1]);
}

static void kernels_agree(void **state) {
  (void)state;
  static const int64_t sizes[] = {1, 63, 64, 65, 127, 128, 1000, LARGEST};
  for (int levels = 0; levels < KINDS; levels++)
    for (int k = 0; mxsi_signs_kernel(levels, k) != NULL; k++) {
      const mxs_signs_kernel *kernel = mxsi_signs_kernel(levels, k);
      if (!kernel->available())
        continue;
      assert_true(mxsi_signs_agrees(levels, kernel));
      for (size_t n = 0; n < sizeof sizes / sizeof *sizes; n++)
        compare_kernel(levels, kernel, sizes[n]);
    }
}

static void wrong_forward(const mxs_tiles *tiles, const void *prepared, mxs_wide *sums) {
  mxsi_signs_portable.forward(tiles, prepared, sums);
  sums[5]++;
}

static void wrong_adjoint(const mxs_tiles *tiles, const mxs_gradient *to, int64_t entries) {
  mxsi_levels_portable.adjoint(tiles, to, entries);
  to->g[entries - 1] *= 2.0;
}

static void wrong_kernels_are_seen(void **state) {
  (void)state;
  mxs_signs_kernel wrong = mxsi_signs_portable;
  wrong.forward = wrong_forward;
  assert_false(mxsi_signs_agrees(SIGNS, &wrong));
  wrong = mxsi_levels_portable;
  wrong.adjoint = wrong_adjoint;
  assert_false(mxsi_signs_agrees(LEVELS, &wrong));
}

/* Numbers of 2^-20 below the largest one are exact in fixed point, and so is every sum of them
 * times a sign or the integer of a level: what comes out has the rounding of one product by C. A
 * strip of levels of 140 000 columns is made in two parts. */
static void check_exact(int levels, int64_t entries, int64_t rows) {
  double *t = NULL;
  double *x = NULL;
  double *g = NULL;
  double w[ROWS];
  const double C = levels ? MXS_LEVEL_UNIT : 1.0;
  assert_int_equal(mxs_alloc(rows * entries, sizeof *t, &t), MXS_OK);
  assert_int_equal(mxs_alloc(entries, sizeof *x, &x), MXS_OK);
  assert_int_equal(mxs_alloc(entries, sizeof *g, &g), MXS_OK);
  mxsi_generated_rows(ensembles[levels], 4, entries, 0, rows, t);
  for (int64_t j = 0; j < rows * entries; j++)
    t[j] = rint(t[j] / C);
  for (int64_t j = 0; j < entries; j++)
    x[j] = (double)((j * 7919) % 1048576 - 524288) * 0x1p-20;
  mxs_signs *signs = make(entries, levels);
  const mxs_single forward = {.count = rows, .x = x, .w = w};
  run_single(signs, 0, &forward);
  for (int64_t i = 0; i < rows; i++) {
    double sum = 0.0; /* exact: at most 2^44 units of 2^-20 */
    for (int64_t j = 0; j < entries; j++)
      sum += t[i * entries + j] * x[j];
    assert_true(w[i] == sum * C);
    w[i] = (double)((i * 31) % 128 - 64);
  }
  const mxs_single adjoint = {.count = rows, .w = w, .g = g};
  run_single(signs, 0, &adjoint);
  for (int64_t j = 0; j < entries; j++) {
    double expected = 0.0;
    for (int64_t strip = 0; strip < rows; strip += MXS_STRIP) {
      double sum = 0.0;
      for (int64_t i = strip; i < rows && i < strip + MXS_STRIP; i++)
        sum += t[i * entries + j] * w[i];
      expected += sum * C;
    }
    assert_true(g[j] == expected);
  }
  mxsi_signs_destroy(&signs);
  mxs_release(&t);
  mxs_release(&x);
  mxs_release(&g);
}

static void sums_are_exact(void **state) {
  (void)state;
  check_exact(SIGNS, 5000, ROWS);
  check_exact(LEVELS, 5000, ROWS);
  check_exact(LEVELS, 140000, 9);
}

/* The largest bits or bytes and the largest digits, all of one sign, over more tiles than any lane
 * can add up. */
static void check_largest(int levels, const mxs_signs_kernel *kernel) {
  enum { TILES = 8192 + 100, COLUMNS = TILES * MXS_TILE };
  /* 63 and six times 127, or -128, as digits. */
  const int64_t ones = ((INT64_C(1) << 48) - 1) / 255;
  const int64_t largest[2] = {63 * (INT64_C(1) << 48) + 127 * ones,
                              -63 * (INT64_C(1) << 48) - 128 * ones};
  const int64_t words = levels ? COLUMNS / 8 : TILES + 8;
  uint64_t *row = NULL;
  int64_t *x = NULL;
  char *prepared = NULL;
  mxs_tiles tiles = {.count = TILES, .rows = MXS_OCTET};
  assert_int_equal(mxs_alloc(words, sizeof *row, &row), MXS_OK);
  assert_int_equal(mxs_alloc(COLUMNS, sizeof *x, &x), MXS_OK);
  assert_int_equal(mxs_alloc(TILES, (size_t)kernel->prepared_size, &prepared), MXS_OK);
  assert_int_equal(mxs_alloc(TILES + 7, (size_t)kernel->arranged_size, &tiles.entries), MXS_OK);
  memset(row, levels ? 0x7F : 0xFF, (size_t)words * sizeof *row);
  kernel->arrange(row, 0, 0, &tiles);
  for (int which = 0; which < 2; which++) {
    mxs_wide sums[MXS_PAIR * MXS_STRIP] = {0};
    const int64_t *pair[MXS_PAIR] = {x, x};
    for (int64_t j = 0; j < COLUMNS; j++)
      x[j] = largest[which];
    kernel->prepare(pair, TILES, prepared);
    kernel->forward(&tiles, prepared, sums);
    for (int64_t p = 0; p < kernel->together; p++)
      for (int64_t i = 0; i < MXS_OCTET; i++)
        assert_true(sums[p * MXS_STRIP + i] ==
                    (mxs_wide)largest[which] * COLUMNS * (levels ? 255 : 1));
  }
  mxs_release(&row);
  mxs_release(&x);
  mxs_release(&prepared);
  mxs_release(&tiles.entries);
}

static void largest_sums_fit(void **state) {
  (void)state;
  for (int levels = 0; levels < KINDS; levels++)
    for (int k = 0; mxsi_signs_kernel(levels, k) != NULL; k++)
      if (mxsi_signs_kernel(levels, k)->available())
        check_largest(levels, mxsi_signs_kernel(levels, k));
}

/* A strip whose residuals are all the largest, with the sign of the first column's entries. */
static void largest_gradients_fit(void **state) {
  (void)state;
  for (int levels = 0; levels < KINDS; levels++) {
    double t[MXS_STRIP], w[MXS_STRIP], g[1] = {0.0}, expected = 0.0;
    const double largest = nextafter(1.0, 0.0);
    mxs_signs *signs = make(1, levels);
    mxsi_generated_rows(ensembles[levels], 4, 1, 0, MXS_STRIP, t);
    for (int i = 0; i < MXS_STRIP; i++) {
      w[i] = copysign(largest, t[i]);
      expected += fabs(t[i]);
    }
    const mxs_single pass = {.count = MXS_STRIP, .w = w, .g = g};
    run_single(signs, 0, &pass);
    assert_true(fabs(g[0] - expected) <= 0x1p-46 * expected);
    mxsi_signs_destroy(&signs);
  }
}

/* One bad replica among three: its results only. */
static void check_not_finite(int levels, double bad, int adjoint) {
  enum { N = 100, COUNT = 3 };
  mxs_signs *signs = make(N, levels);
  arguments *all = a();
  const double *x[] = {all->x[0], all->x[1], all->x[2]};
  double *g[] = {all->g[0][0], all->g[0][1], all->g[0][2]};
  if (adjoint)
    all->w[0][1][COUNT - 1] = bad;
  else
    all->x[1][N - 1] = bad;
  const mxs_pass pass = {.count = COUNT,
                         .replicas = 3,
                         .x = adjoint ? NULL : x,
                         .w = all->w[0][0],
                         .stride = ROWS,
                         .g = g};
  run(signs, &pass);
  for (int r = 0; r < 3; r++) {
    int64_t finite = 0;
    for (int i = 0; i < COUNT && !adjoint; i++)
      assert_true(isnan(all->w[0][r][i]) == (r == 1));
    for (int64_t j = 0; j < N; j++)
      finite += isfinite(g[r][j]);
    assert_true((finite == N) == (r != 1));
  }
  mxsi_signs_destroy(&signs);
}

static void not_finite_is_told(void **state) {
  (void)state;
  static const double bad[] = {(double)NAN, (double)INFINITY, -(double)INFINITY};
  for (int levels = 0; levels < KINDS; levels++)
    for (int b = 0; b < 3; b++)
      for (int adjoint = 0; adjoint < 2; adjoint++)
        check_not_finite(levels, bad[b], adjoint);
}

static void zero_is_zero(void **state) {
  (void)state;
  enum { N = 100 };
  for (int levels = 0; levels < KINDS; levels++) {
    double x[N] = {0}, g[N] = {0}, w[3] = {1.0, 1.0, 1.0};
    mxs_signs *signs = make(N, levels);
    const mxs_single pass = {.count = 3, .x = x, .w = w, .g = g};
    run_single(signs, 0, &pass);
    for (int i = 0; i < 3; i++)
      assert_true(w[i] == 0.0);
    for (int j = 0; j < N; j++)
      assert_true(g[j] == 0.0);
    mxsi_signs_destroy(&signs);
  }
}

typedef struct job {
  mxs_signs *signs;
  mxs_pass pass;
  mxs_status status;
} job;

static void *work(void *argument) {
  job *j = argument;
  for (int again = 0; again < 20; again++)
    if (j->status == MXS_OK)
      j->status = mxsi_op_signs.pass(j->signs, &j->pass);
  return NULL;
}

/* Two threads on ranges of their own give what one gives. */
static void threads_do_not_meet(void **state) {
  (void)state;
  enum { N = 3000, COUNT = 70 };
  for (int levels = 0; levels < KINDS; levels++) {
    static double g[2][2][N], w[2][2][COUNT];
    arguments *all = a();
    const double *x[1] = {all->x[0]};
    mxs_signs *signs = make(N, levels);
    assert_int_equal(mxsi_op_signs.plan(signs, 1, 2), MXS_OK);
    assert_int_equal(mxsi_op_signs.point(signs, 1, x), MXS_OK);
    memset(g, 0, sizeof g);
    for (int together = 0; together < 2; together++) {
      pthread_t thread[2];
      job jobs[2];
      double *gs[2][1] = {{g[together][0]}, {g[together][1]}};
      for (int t = 0; t < 2; t++) {
        jobs[t] = (job){.signs = signs,
                        .pass = {.first = INT64_C(1000) * t,
                                 .count = COUNT,
                                 .replicas = 1,
                                 .x = x,
                                 .w = w[together][t],
                                 .g = gs[t],
                                 .thread = together ? t : 0}};
        if (together)
          assert_int_equal(pthread_create(&thread[t], NULL, work, &jobs[t]), 0);
        else
          (void)work(&jobs[t]);
      }
      for (int t = 0; t < 2; t++) {
        if (together)
          assert_int_equal(pthread_join(thread[t], NULL), 0);
        assert_int_equal(jobs[t].status, MXS_OK);
      }
    }
    assert_memory_equal(g[0], g[1], sizeof g[0]);
    assert_memory_equal(w[0], w[1], sizeof w[0]);
    mxsi_signs_destroy(&signs);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(kernels_agree),         cmocka_unit_test(wrong_kernels_are_seen),
      cmocka_unit_test(sums_are_exact),        cmocka_unit_test(largest_sums_fit),
      cmocka_unit_test(largest_gradients_fit), cmocka_unit_test(not_finite_is_told),
      cmocka_unit_test(zero_is_zero),          cmocka_unit_test(threads_do_not_meet),
  };
  return cmocka_run_group_tests(tests, NULL, NULL) || mxs_alloc_outstanding() != 0;
}
