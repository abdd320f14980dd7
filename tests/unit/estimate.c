/* Noise and error from held-out measurements: right on average, and inside the interval as often as
 * it says. */
#include "solve/estimate.h"
#include "base/random.h"
#include "mpi/mpi_test.h"

#include <math.h>

enum { TRIALS = 200, LEAST_INSIDE = 180, M = 900, HELD = 100, N1 = 30, N2 = 20, RANK = 2 };

static const double truth2 = 1.25; /* ||X*||_F^2 */
static const double s[] = {1.0, 0.5, 1e-6};

/* Mean of n squares of N(0, variance). */
static double mean_square(uint64_t seed, int64_t row, int64_t n, double variance) {
  static double values[2048];
  double sum = 0.0;
  mxs_random_gaussian_row(seed, MXS_STREAM_NOISE, row, n, values);
  for (int64_t i = 0; i < n; i++)
    sum += values[i] * values[i];
  return variance * sum / (double)n;
}

/* A fit with m - d degrees of freedom left, of error e, in units where an entry of A has the mean
 * square scale2. */
static mxs_estimate_input trial(
    uint64_t seed, double sigma, double error, double scale2, int known) {
  const int64_t d = (int64_t)RANK * (N1 + N2 - RANK);
  const double rss = (double)(M - d) * mean_square(seed, 0, M - d, sigma * sigma);
  const double v = mean_square(seed, 1, HELD, sigma * sigma + scale2 * error * error);
  return (mxs_estimate_input){.validation_loss = 0.5 * v,
                              .loss = 0.5 * rss / M,
                              .m_validation = HELD,
                              .m = M,
                              .y_mean2 = mean_square(seed, 2, M, scale2 * truth2 + sigma * sigma),
                              .scale2 = scale2,
                              .noise_std = known ? sigma : (double)NAN,
                              .n1 = N1,
                              .n2 = N2,
                              .rank = RANK,
                              .freedom = (int64_t)RANK * (N1 + N2 - RANK),
                              .s = s,
                              .count = 3,
                              .grad_norm = 1e-9};
}

static void check_coverage(double sigma, double error, double scale2, int known) {
  int inside = 0;
  double noise = 0.0;
  double square = 0.0;
  for (uint64_t seed = 0; seed < TRIALS; seed++) {
    const mxs_estimate_input in = trial(seed, sigma, error, scale2, known);
    const mxs_estimate out = mxs_estimate_of(&in);
    const double true_error = error / sqrt(truth2);
    assert_int_equal(out.basis, known ? MXS_NOISE_GIVEN : MXS_NOISE_RESIDUAL);
    assert_true(out.relative_error_low <= out.relative_error &&
                out.relative_error <= out.relative_error_high);
    inside += out.relative_error_low <= true_error && true_error <= out.relative_error_high;
    noise += out.noise_std / TRIALS;
    square += out.relative_error * out.relative_error * truth2 / TRIALS;
  }
  if (inside < LEAST_INSIDE)
    print_error("sigma %g, error %g, known %d: %d of %d inside\n", sigma, error, known, inside,
                TRIALS);
  assert_true(inside >= LEAST_INSIDE);
  assert_true(fabs(noise - sigma) <= (known ? 1e-12 : 0.01) * sigma);
  /* Negative squares count as 0: never too small on average, too large by what that cuts off. */
  const double spread = sqrt(2.0 / HELD) * (sigma * sigma / scale2 + error * error);
  assert_true(square > error * error - 0.3 * spread && square < error * error + 0.7 * spread);
}

static void coverage(void **state) {
  (void)state;
  static const double errors[] = {0.0, 0.03, 0.1, 0.4};
  for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
    for (int known = 0; known <= 1; known++) {
      check_coverage(0.1, errors[i], 1.0, known);
      check_coverage(0.3, errors[i], 9.0, known);
    }
  check_coverage(1e-9, 0.1, 1.0, 1);
}

/* The same numbers in other units: the error is a ratio, the noise has the unit of y. */
static void units(void **state) {
  (void)state;
  mxs_estimate_input in = trial(1, 0.1, 0.2, 1.0, 0);
  const mxs_estimate first = mxs_estimate_of(&in);
  in.loss *= 1e6;
  in.validation_loss *= 1e6;
  in.y_mean2 *= 1e6;
  in.scale2 *= 1e6;
  in.grad_norm *= 1e6;
  const mxs_estimate second = mxs_estimate_of(&in);
  assert_true(fabs(second.noise_std - 1e3 * first.noise_std) < 1e-12 * second.noise_std);
  assert_true(fabs(second.relative_error - first.relative_error) < 1e-12);
  assert_true(fabs(second.relative_error_high - first.relative_error_high) < 1e-12);
}

static void assert_bound_only(const mxs_estimate_input *in, mxs_noise_basis basis, double error) {
  const mxs_estimate out = mxs_estimate_of(in);
  assert_int_equal(out.basis, basis);
  assert_true(isnan(out.noise_std) && isnan(out.relative_error));
  assert_true(out.relative_error_low == 0.0);
  assert_true(out.relative_error_high >= error / sqrt(truth2));
}

static void unknown_noise(void **state) {
  (void)state;
  const mxs_estimate_input good = trial(3, 0.1, 0.2, 1.0, 0);
  static const double tail[] = {1.0, 0.5, 0.5};
  mxs_estimate_input in = good;
  in.rank = 0;
  assert_bound_only(&in, MXS_NOISE_FEW, 0.2);
  in = good;
  in.m = (int64_t)RANK * (N1 + N2 - RANK);
  assert_bound_only(&in, MXS_NOISE_FEW, 0.2);
  in = good;
  in.grad_norm = 0.2;
  assert_bound_only(&in, MXS_NOISE_UNFITTED, 0.2);
  in.grad_norm = (double)NAN;
  assert_bound_only(&in, MXS_NOISE_UNFITTED, 0.2);
  in = good;
  in.s = tail;
  assert_bound_only(&in, MXS_NOISE_OVERFITTED, 0.2);
  in.noise_std = 0.1;
  assert_int_equal(mxs_estimate_of(&in).basis, MXS_NOISE_GIVEN);
}

/* What the fit left over or took up makes the interval wider at the end where it counts. */
static void doubts_widen(void **state) {
  (void)state;
  const mxs_estimate_input good = trial(5, 0.1, 0.2, 1.0, 0);
  static const double tail[] = {1.0, 0.5, 0.02};
  const mxs_estimate sure = mxs_estimate_of(&good);
  mxs_estimate_input in = good;
  in.grad_norm = 0.03;
  const mxs_estimate left = mxs_estimate_of(&in);
  assert_int_equal(left.basis, MXS_NOISE_RESIDUAL);
  assert_true(left.relative_error_high > sure.relative_error_high);
  assert_true(left.relative_error == sure.relative_error);
  in = good;
  in.s = tail;
  const mxs_estimate gained = mxs_estimate_of(&in);
  assert_int_equal(gained.basis, MXS_NOISE_RESIDUAL);
  assert_true(gained.relative_error_low < sure.relative_error_low);
  assert_true(gained.relative_error_high == sure.relative_error_high);
}

static void nothing_held_out(void **state) {
  (void)state;
  mxs_estimate_input in = trial(1, 0.1, 0.1, 1.0, 1);
  in.m_validation = 0;
  in.validation_loss = (double)NAN;
  const mxs_estimate out = mxs_estimate_of(&in);
  assert_int_equal(out.basis, MXS_NOISE_NONE);
  assert_true(isnan(out.noise_std) && isnan(out.relative_error) && isnan(out.relative_error_high));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(coverage),         cmocka_unit_test(units),
      cmocka_unit_test(unknown_noise),    cmocka_unit_test(doubts_widen),
      cmocka_unit_test(nothing_held_out),
  };
  return cmocka_run_group_tests(tests, NULL, NULL) || mxs_alloc_outstanding() != 0;
}
