/* Exact sums of signs: the same bits by every kernel, right to the last bit of the fixed point,
 * honest about what is not finite. */
#include "op/signs.h"
#include "base/random.h"
#include "mpi/mpi_test.h"
#include "op/op.h"

#include <math.h>
#include <string.h>

enum { ROWS = 150, LARGEST = 5000 };

static double a[ROWS][LARGEST];

static void fill(int64_t row, int64_t count, double *values) {
  double four[4];
  for (int64_t i = 0; i < count; i++) {
    if (i % 4 == 0)
      mxs_random_gaussian(9, MXS_STREAM_NOISE, row, i / 4, 1, four);
    values[i] = four[i % 4];
  }
}

static mxs_signs *make(int64_t entries) {
  mxs_signs *signs = NULL;
  assert_int_equal(mxsi_signs_create(entries, MXS_ENSEMBLE_RADEMACHER, 4, NULL, &signs), MXS_OK);
  return signs;
}

static void kernels_agree(void **state) {
  (void)state;
  static const int64_t sizes[] = {1, 63, 64, 65, 128, 1000, LARGEST};
  static double x[LARGEST], g[2][LARGEST], w[2][ROWS], y[ROWS];
  fill(1, ROWS, y);
  for (size_t n = 0; n < sizeof sizes / sizeof *sizes; n++) {
    fill(2, sizes[n], x);
    for (int portable = 0; portable < 2; portable++) {
      mxs_signs *signs = make(sizes[n]);
      if (portable)
        mxsi_signs_use_portable(signs);
      fill(3, sizes[n], g[portable]);
      const mxs_single pass = {ROWS - 1, x, y, NULL, w[portable], g[portable]};
      mxsi_signs_pass(signs, 7, &pass);
      mxsi_signs_destroy(&signs);
    }
    assert_memory_equal(w[0], w[1], (ROWS - 1) * sizeof(double));
    assert_memory_equal(g[0], g[1], (size_t)sizes[n] * sizeof(double));
  }
}

/* Numbers of 2^-20 below the largest entry are exact in fixed point, and so is every sum of them:
 * no rounding at all. */
static void sums_are_exact(void **state) {
  (void)state;
  static double x[LARGEST], g[LARGEST], w[ROWS];
  mxs_signs *signs = make(LARGEST);
  mxsi_generated_rows(MXS_ENSEMBLE_RADEMACHER, 4, LARGEST, 0, ROWS, a[0]);
  for (int64_t j = 0; j < LARGEST; j++)
    x[j] = (double)((j * 7919) % 1048576 - 524288) * 0x1p-20;
  memset(g, 0, sizeof g);
  const mxs_single pass = {ROWS, x, NULL, NULL, w, g};
  mxsi_signs_pass(signs, 0, &pass);
  for (int64_t i = 0; i < ROWS; i++) {
    double sum = 0.0; /* exact: at most 2^33 units of 2^-20 */
    for (int64_t j = 0; j < LARGEST; j++)
      sum += a[i][j] * x[j];
    assert_true(w[i] == sum);
  }
  for (int64_t j = 0; j < LARGEST; j++) {
    double sum = 0.0;
    for (int64_t i = 0; i < ROWS; i++)
      sum += a[i][j] * w[i];
    assert_true(g[j] == sum);
  }
  mxsi_signs_destroy(&signs);
}

/* The largest entries of the fixed point, all of one sign in the sum: the lanes must not overflow.
 */
static void largest_sums_fit(void **state) {
  (void)state;
  static double x[LARGEST], g[LARGEST], w[ROWS];
  mxs_signs *signs = make(LARGEST);
  const double largest = nextafter(1.0, 0.0);
  mxsi_generated_rows(MXS_ENSEMBLE_RADEMACHER, 4, LARGEST, 0, 1, a[0]);
  for (int64_t j = 0; j < LARGEST; j++)
    x[j] = largest * a[0][j];
  memset(g, 0, sizeof g);
  const mxs_single pass = {ROWS, x, NULL, NULL, w, g};
  mxsi_signs_pass(signs, 0, &pass);
  assert_true(fabs(w[0] - LARGEST * largest) <= LARGEST * 0x1p-53);
  for (int64_t i = 0; i < ROWS; i++)
    assert_true(isfinite(w[i]) && fabs(w[i]) <= LARGEST);
  mxsi_signs_destroy(&signs);
}

static void not_finite_is_told(void **state) {
  (void)state;
  enum { N = 100 };
  static const double bad[] = {NAN, INFINITY, -INFINITY};
  double x[N], g[N], w[3];
  mxs_signs *signs = make(N);
  for (size_t b = 0; b < 3; b++) {
    fill(5, N, x);
    memset(g, 0, sizeof g);
    x[N - 1] = bad[b];
    mxs_single pass = {.count = 3, .x = x, .w = w, .g = g};
    mxsi_signs_pass(signs, 0, &pass);
    assert_true(isnan(w[0]) && isnan(w[1]) && isnan(w[2]));
    w[0] = w[1] = 1.0;
    w[2] = bad[b];
    pass.x = NULL;
    mxsi_signs_pass(signs, 0, &pass);
    assert_true(!isfinite(g[0]));
  }
  memset(x, 0, sizeof x);
  const mxs_single zero = {.count = 3, .x = x, .w = w};
  mxsi_signs_pass(signs, 0, &zero);
  assert_true(w[0] == 0.0 && w[1] == 0.0 && w[2] == 0.0);
  mxsi_signs_destroy(&signs);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(kernels_agree),
      cmocka_unit_test(sums_are_exact),
      cmocka_unit_test(largest_sums_fit),
      cmocka_unit_test(not_finite_is_told),
  };
  return cmocka_run_group_tests(tests, NULL, NULL) || mxs_alloc_outstanding() != 0;
}
