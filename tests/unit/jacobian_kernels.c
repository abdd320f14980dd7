/* Loops of the Jacobian: those of every instruction set against the textbook, and against each
 * other to the bit. */
#include "base/random.h"
#include "objective/kernels.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MOST_N = 70, MOST_K = 23, MOST_ROW = 2 * MOST_N * MOST_K, ROWS = 21, LD = 48 };

static double A[MOST_N * MOST_N], U[MOST_N * MOST_K], V[MOST_N * MOST_K];
static double Vt[MOST_K * (MOST_N + 8)], C[MOST_K * (MOST_N + 8)];
static double row[MXSI_LOOPS][MOST_ROW];

static void fill(int64_t number, int64_t count, double *values) {
  mxs_random_gaussian_row(1, MXS_STREAM_START_U, number, count, values);
}

static void check_row(int64_t n1, int64_t n2, int64_t k, const double *got) {
  for (int64_t c = 0; c < k; c++) {
    for (int64_t p = 0; p < n1; p++) {
      double sum = 0.0;
      for (int64_t q = 0; q < n2; q++)
        sum += A[p * n2 + q] * V[q * k + c];
      assert_true(fabs(got[p * k + c] - sum) <= 64.0 * DBL_EPSILON * (double)n2);
    }
    for (int64_t q = 0; q < n2; q++) {
      double sum = 0.0;
      for (int64_t p = 0; p < n1; p++)
        sum += A[p * n2 + q] * U[p * k + c];
      assert_true(fabs(got[(n1 + q) * k + c] - sum) <= 64.0 * DBL_EPSILON * (double)n1);
    }
  }
}

static void rows_of_all_shapes(void **state) {
  (void)state;
  static const int64_t shapes[][2] = {{1, 1}, {7, 3}, {8, 8}, {13, 29}, {66, 35}, {33, 70}};
  fill(1, (int64_t)MOST_N * MOST_N, A);
  fill(2, (int64_t)MOST_N * MOST_K, U);
  fill(3, (int64_t)MOST_N * MOST_K, V);
  for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
    for (int64_t k = 1; k <= MOST_K; k++) {
      const int64_t n1 = shapes[s][0], n2 = shapes[s][1], ld = (n2 + 7) / 8 * 8;
      const mxsi_tangent at = {.n1 = n1, .n2 = n2, .k = k, .ld = ld, .U = U, .Vt = Vt, .C = C};
      memset(Vt, 0, sizeof Vt);
      for (int64_t q = 0; q < n2; q++)
        for (int64_t c = 0; c < k; c++)
          Vt[c * ld + q] = V[q * k + c];
      for (int set = 0; set < MXSI_LOOPS; set++) {
        if (mxsi_loops_of(set) == NULL)
          continue;
        mxsi_loops_of(set)->tangent_row(&at, A, row[set]);
        assert_memory_equal(row[set], row[0], (size_t)((n1 + n2) * k) * sizeof **row);
      }
      check_row(n1, n2, k, row[0]);
    }
  }
}

static void products_of_rows(void **state) {
  (void)state;
  static double numbers[ROWS * LD], d[LD], out[MXSI_LOOPS][LD];
  static float J[ROWS * LD];
  fill(4, (int64_t)ROWS * LD, numbers);
  fill(5, LD, d);
  for (int set = 0; set < MXSI_LOOPS; set++) {
    const mxsi_loops *loops = mxsi_loops_of(set);
    if (loops == NULL)
      continue;
    loops->to_single(numbers, J, (int64_t)ROWS * LD);
    for (int64_t rows = 0; rows <= ROWS; rows++) {
      memset(out[set], 0, sizeof out[set]);
      loops->normal_rows(J, rows, LD, d, out[set]);
      for (int64_t j = 0; set == 0 && j < LD; j++) {
        double sum = 0.0;
        for (int64_t i = 0; i < rows; i++)
          for (int64_t l = 0; l < LD; l++)
            sum += (double)J[i * LD + j] * (double)J[i * LD + l] * d[l];
        assert_true(fabs(out[0][j] - sum) <= 1000.0 * DBL_EPSILON * (double)(ROWS * LD));
      }
    }
    assert_memory_equal(out[set], out[0], sizeof out[0]);
  }
}

static void vectors_of_all_lengths(void **state) {
  (void)state;
  double a[LD], b[LD], sum[MXSI_LOOPS] = {0}, to[MXSI_LOOPS][LD];
  fill(6, LD, a);
  fill(7, LD, b);
  for (int64_t n = 0; n <= LD; n++) {
    double dot = 0.0;
    for (int64_t j = 0; j < n; j++)
      dot += a[j] * b[j];
    for (int set = 0; set < MXSI_LOOPS; set++) {
      if (mxsi_loops_of(set) == NULL)
        continue;
      memcpy(to[set], b, sizeof b);
      sum[set] = mxsi_loops_of(set)->dot(a, b, n);
      mxsi_loops_of(set)->axpy(0.7, a, to[set], n);
      assert_true(fabs(sum[set] - dot) <= 100.0 * DBL_EPSILON * LD);
      assert_true(sum[set] == sum[0]);
      assert_memory_equal(to[set], to[0], sizeof b);
      for (int64_t j = 0; j < LD; j++)
        assert_true(fabs(to[set][j] - b[j] - (j < n ? 0.7 * a[j] : 0.0)) <= 16.0 * DBL_EPSILON);
    }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(rows_of_all_shapes),
      cmocka_unit_test(products_of_rows),
      cmocka_unit_test(vectors_of_all_lengths),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
