/* Verdicts: each doubt where it belongs and not beside it, quantiles as good as they claim, and in
 * the law of Gaussian measurements as seldom wrong. */
#include "solve/certificate.h"
#include "base/random.h"
#include "mpi/mpi_test.h"

#include <math.h>
#include <string.h>

enum {
  TRIALS = 20000,
  N1 = 40,
  N2 = 30,
  RANK = 2,
  FREEDOM = RANK * (N1 + N2 - RANK),
  M = 600,
  LEFT = M - FREEDOM,
  HELD = 60
};

static const double nan_value = (double)NAN;

static double edge_of(const mxs_fit *fit) {
  return sqrt((double)fit->n1) + sqrt((double)fit->n2);
}

/* Noise of 0.01 in units where X has norm 1, and an error as it follows from that. */
static mxs_fit noisy(void) {
  const double sigma2 = 1e-4;
  mxs_fit fit = {.n1 = N1,
                 .n2 = N2,
                 .rank = RANK,
                 .freedom = FREEDOM,
                 .m = M,
                 .held = HELD,
                 .scale2 = 1.0,
                 .y_mean2 = 1.0 + sigma2,
                 .loss = 0.5 * sigma2 * LEFT / M,
                 .validation = 0.5 * sigma2 * (1.0 + (double)FREEDOM / (LEFT - 1.0)),
                 .norm = 1.0,
                 .smallest = 0.5,
                 .seen = 1.0};
  fit.outside = 0.8 * edge_of(&fit) * sqrt(2.0 * fit.loss / M);
  return fit;
}

/* As moments of Gaussian residuals would be. */
static mxs_fit noisy_and_close(void) {
  mxs_fit fit = noisy();
  fit.close = 1;
  const double own = (double)LEFT / M;
  const double other = 1.0 + (double)FREEDOM / (LEFT - 1.0);
  fit.train[MXS_MOMENT_COUNT] = M;
  fit.held_out[MXS_MOMENT_COUNT] = HELD;
  fit.train[MXS_MOMENT_SQUARE] = M * own;
  fit.held_out[MXS_MOMENT_SQUARE] = HELD * other;
  fit.train[MXS_MOMENT_FOURTH] = 3.0 * M * own * own;
  fit.held_out[MXS_MOMENT_FOURTH] = 3.0 * HELD * other * other;
  fit.train[MXS_MOMENT_EVEN_SQUARE] = 2.0 * M * own;
  fit.held_out[MXS_MOMENT_EVEN_SQUARE] = 2.0 * HELD * other;
  fit.train[MXS_MOMENT_ODD_SQUARE] = 6.0 * M * own;
  fit.held_out[MXS_MOMENT_ODD_SQUARE] = 6.0 * HELD * other;
  return fit;
}

static void assert_doubt(const mxs_fit *fit, mxs_doubt doubt) {
  const mxs_certificate c = mxs_certify(fit);
  assert_string_equal(mxs_doubt_text(c.doubt), mxs_doubt_text(doubt));
  assert_int_equal(c.status == MXS_NOT_CERTIFIED, doubt != MXS_DOUBT_NONE);
}

/* The doubt with the field just beyond its limit, none just before it. */
static void at_limit(
    const mxs_fit *fit, const double *field, double limit, int above, mxs_doubt doubt) {
  for (int beyond = 0; beyond <= 1; beyond++) {
    mxs_fit copy = *fit;
    const double value = limit * (beyond == above ? 1.01 : 0.99);
    memcpy((char *)&copy + ((const char *)field - (const char *)fit), &value, sizeof value);
    assert_doubt(&copy, beyond ? doubt : MXS_DOUBT_NONE);
  }
}

static void doubts(void **state) {
  (void)state;
  const mxs_fit plain = noisy();
  mxs_fit fit = plain;
  assert_doubt(&fit, MXS_DOUBT_NONE);
  assert_int_equal(mxs_certify(&fit).status, MXS_RECOVERED_UP_TO_NOISE);
  const double sigma = sqrt(2.0 * fit.loss * M / LEFT);
  const double edge = edge_of(&fit);
  at_limit(&fit, &fit.outside, 1.1 * edge * sqrt(2.0 * fit.loss / M), 1, MXS_DOUBT_STALLS);
  at_limit(&fit, &fit.smallest, sigma * edge / sqrt((double)M), 0, MXS_DOUBT_WEAKEST);
  at_limit(&fit, &fit.y_mean2, 4.0 * fit.validation, 0, MXS_DOUBT_EXPLAINS_LITTLE);
  at_limit(&fit, &fit.norm, mxs_certify(&fit).high / 0.6, 0, MXS_DOUBT_WIDE);
  fit.held = 11;
  assert_doubt(&fit, MXS_DOUBT_NONE);
  fit.held = 10;
  assert_doubt(&fit, MXS_DOUBT_NOT_HELD_OUT);
}

/* Few measurements left over: for the laws, or to show a direction that is missing. */
static void few(void **state) {
  (void)state;
  const int64_t enough = (int64_t)ceil(2.5 * sqrt((double)N1 * N2));
  for (int64_t left = -FREEDOM + 1; left <= enough; left++) {
    mxs_fit fit = noisy();
    fit.m = FREEDOM + left;
    fit.loss = left > 1 ? 0.5e-4 * (double)left / (double)fit.m : 1e-7;
    fit.validation = 0.5e-4 * (1.0 + (left > 1 ? (double)FREEDOM / ((double)left - 1.0) : 1.0));
    fit.outside = 0.0;
    assert_doubt(&fit, left < enough ? MXS_DOUBT_FEW : MXS_DOUBT_NONE);
    assert_true(left < enough || mxs_certify(&fit).high == mxs_certify(&fit).bound);
    if (left < 10)
      assert_true(isnan(mxs_certify(&fit).relative_error) && isnan(mxs_certify(&fit).high));
  }
}

static void moments(void **state) {
  (void)state;
  const mxs_fit fit = noisy_and_close();
  assert_doubt(&fit, MXS_DOUBT_NONE);
  const double own = (double)LEFT / M;
  const double count = M + HELD;
  const double even = 4.0 * sqrt(2.0 * count) * sqrt(own);
  const double odd = 4.0 * sqrt(6.0 * count) * sqrt(own);
  at_limit(&fit, &fit.train[MXS_MOMENT_EVEN], even, 1, MXS_DOUBT_DEPENDS);
  at_limit(&fit, &fit.train[MXS_MOMENT_EVEN], -even, 1, MXS_DOUBT_DEPENDS);
  at_limit(&fit, &fit.train[MXS_MOMENT_ODD], odd, 1, MXS_DOUBT_DEPENDS);
  at_limit(&fit, &fit.train[MXS_MOMENT_ODD], -odd, 1, MXS_DOUBT_DEPENDS);
  const double heavy = 3.0 * M + 6.0 * sqrt(24.0 / count) * count;
  at_limit(&fit, &fit.train[MXS_MOMENT_FOURTH], own * own * heavy, 1, MXS_DOUBT_TAILS);
  at_limit(&fit, &fit.seen, 0.01, 0, MXS_DOUBT_UNSEEN);
  /* What was not looked at raises no doubt; fitted values of +-1 correlate with nothing. */
  mxs_fit other = fit;
  memset(other.train, 0, sizeof other.train);
  other.seen = 0.0;
  other.close = 0;
  assert_doubt(&other, MXS_DOUBT_NONE);
  other = fit;
  other.train[MXS_MOMENT_EVEN_SQUARE] = other.held_out[MXS_MOMENT_EVEN_SQUARE] = 0.0;
  assert_doubt(&other, MXS_DOUBT_NONE);
}

static void nothing_is_certified_of_nan(void **state) {
  (void)state;
  const mxs_fit fit = noisy_and_close();
  static const size_t fields[] = {offsetof(mxs_fit, scale2),
                                  offsetof(mxs_fit, y_mean2),
                                  offsetof(mxs_fit, loss),
                                  offsetof(mxs_fit, validation),
                                  offsetof(mxs_fit, norm),
                                  offsetof(mxs_fit, smallest),
                                  offsetof(mxs_fit, outside),
                                  offsetof(mxs_fit, seen),
                                  offsetof(mxs_fit, train) + sizeof(double) * MXS_MOMENT_COUNT,
                                  offsetof(mxs_fit, train) + sizeof(double) * MXS_MOMENT_SQUARE,
                                  offsetof(mxs_fit, train) + sizeof(double) * MXS_MOMENT_FOURTH,
                                  offsetof(mxs_fit, held_out) + sizeof(double) * MXS_MOMENT_EVEN,
                                  offsetof(mxs_fit, train) + sizeof(double) * MXS_MOMENT_ODD};
  for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
    mxs_fit bad = fit;
    memcpy((char *)&bad + fields[i], &nan_value, sizeof nan_value);
    assert_int_equal(mxs_certify(&bad).status, MXS_NOT_CERTIFIED);
    bad.validation = i == 3 ? nan_value : 0.0; /* exact on what is held out, and still unknown */
    if (i < 5 && i != 1)
      assert_int_equal(mxs_certify(&bad).status, MXS_NOT_CERTIFIED);
  }
  mxs_fit bad = fit;
  bad.validation = nan_value;
  assert_doubt(&bad, MXS_DOUBT_NOT_HELD_OUT);
  bad.validation = (double)INFINITY;
  assert_doubt(&bad, MXS_DOUBT_EXPLAINS_LITTLE);
  bad = fit;
  bad.norm = (double)INFINITY;
  assert_doubt(&bad, MXS_DOUBT_EXPLAINS_LITTLE);
}

static void exact_fits(void **state) {
  (void)state;
  mxs_fit fit = noisy_and_close();
  fit.loss = 1e-30;
  fit.validation = 2e-30;
  assert_int_equal(mxs_certify(&fit).status, MXS_RECOVERED);
  assert_true(mxs_certify(&fit).bound < 1e-14 && mxs_certify(&fit).relative_error < 1e-14);
  fit.m = FREEDOM; /* the bound needs none left over */
  assert_int_equal(mxs_certify(&fit).status, MXS_RECOVERED);
  fit.held = 10;
  assert_doubt(&fit, MXS_DOUBT_NOT_HELD_OUT);
  fit = noisy_and_close();
  fit.loss = fit.validation = 0.0;
  assert_int_equal(mxs_certify(&fit).status, MXS_RECOVERED);
  assert_true(mxs_certify(&fit).bound == 0.0 && mxs_certify(&fit).relative_error == 0.0);
  fit.norm = fit.y_mean2 = 0.0; /* y = 0 */
  assert_int_equal(mxs_certify(&fit).status, MXS_RECOVERED);
  fit.seen = 0.0;
  assert_doubt(&fit, MXS_DOUBT_UNSEEN);
  fit = noisy_and_close();
  fit.validation = 0.0; /* of sparse A: it is the training set that tells */
  assert_int_equal(mxs_certify(&fit).status, MXS_RECOVERED_UP_TO_NOISE);
  fit.loss = 0.0;
  fit.outside = 0.0;
  fit.validation = 1e-4;
  assert_doubt(&fit, MXS_DOUBT_OVERFITS);
  fit = noisy();
  fit.norm = 0.0;
  assert_doubt(&fit, MXS_DOUBT_EXPLAINS_LITTLE);
}

static int is_near(double a, double b) {
  return a == b || fabs(a - b) <= 1e-12 * fabs(b);
}

/* The same fit with entries of A times a, and X times b. */
static void units(void **state) {
  (void)state;
  static const double scales[][2] = {{7.0, 1.0}, {1.0, 3e4}, {1e-5, 1e3}};
  mxs_fit fits[3] = {noisy(), noisy(), noisy()};
  fits[1].validation *= 1.8; /* near its limits */
  fits[2].loss = 1e-16;
  fits[2].validation = 4e-14;
  for (int f = 0; f < 3; f++)
    for (int i = 0; i < 3; i++) {
      const double a = scales[i][0], b = scales[i][1];
      mxs_fit other = fits[f];
      other.scale2 *= a * a;
      other.y_mean2 *= a * a * b * b;
      other.loss *= a * a * b * b;
      other.validation *= a * a * b * b;
      other.norm *= b;
      other.smallest *= b;
      other.outside *= a * a * b;
      const mxs_certificate one = mxs_certify(&fits[f]), two = mxs_certify(&other);
      assert_int_equal(one.status, two.status);
      assert_int_equal(one.doubt, two.doubt);
      assert_true(is_near(two.low, one.low) && is_near(two.high, one.high));
      assert_true(is_near(two.bound, one.bound) && is_near(two.relative_error, one.relative_error));
      assert_true(isnan(one.noise_std) || is_near(two.noise_std, a * b * one.noise_std));
    }
}

/* Quantile 0.0005 of chi-square, to what Wilson and Hilferty promise: never above it by more than
 * 1e-7, so that bounds err on the safe side. */
static void chi_square(void **state) {
  (void)state;
  static const struct {
    int64_t n;
    double quantile, low;
  } exact[] = {{11, 1.58684767756, 0.075},    {20, 5.39806621207, 0.02},
               {31, 11.3886814843, 0.009},    {100, 59.8956579866, 1.1e-3},
               {1000, 859.361505581, 3e-5},   {10000, 9541.1908575, 5e-7},
               {100000, 98534.9802705, 2e-7}, {1000000, 995353.043188, 2e-7}};
  for (size_t i = 0; i < sizeof exact / sizeof *exact; i++) {
    mxs_fit fit = noisy();
    fit.held = exact[i].n;
    const double bound = mxs_certify(&fit).bound;
    const double quantile = 2.0 * fit.validation * (double)exact[i].n / (bound * bound);
    assert_true(quantile <= exact[i].quantile * (1.0 + 2e-7));
    assert_true(quantile >= exact[i].quantile * (1.0 - exact[i].low));
  }
}

/* The least F that is found unlikely, of a fit with one degree of freedom. */
static double critical(int64_t held, int64_t left) {
  const double q = 1.0 / ((double)left - 1.0);
  mxs_fit fit = noisy();
  fit.n1 = fit.n2 = fit.rank = fit.freedom = 1;
  fit.held = held;
  fit.m = left + 1;
  fit.loss = 0.5 * (double)left / (double)fit.m;
  fit.outside = 0.0;
  fit.y_mean2 = 1e6;
  double low = 1.0, high = 100.0;
  for (int i = 0; i < 60; i++) {
    const double F = 0.5 * (low + high);
    fit.validation = 0.5 * F * (1.0 + q);
    if (mxs_certify(&fit).doubt == MXS_DOUBT_OVERFITS)
      high = F;
    else
      low = F;
  }
  return high;
}

/* Quantile 0.999 of F, to what Paulson's deviate promises: 7 % with ten degrees of freedom below,
 * 0.6 % from a hundred on. */
static void f_quantiles(void **state) {
  (void)state;
  static const struct {
    int64_t n1, n2;
    double quantile;
  } exact[] = {
      {11, 10, 8.58639793113},       {11, 100, 3.17604391441},         {11, 1000, 2.87400199004},
      {11, 1000000, 2.84222560523},  {31, 10, 7.44681385243},          {31, 100, 2.30030985363},
      {31, 1000, 2.00266451345},     {31, 1000000, 1.97094473102},     {100, 100, 1.86740138213},
      {100, 1000, 1.53270073634},    {1000, 10, 6.78451914931},        {1000, 100, 1.6436389142},
      {1000, 1000, 1.21609872227},   {10000, 1000, 1.16012343874},     {1000000, 10, 6.76252024093},
      {1000000, 100, 1.61506996758}, {1000000, 1000000, 1.00619960959}};
  for (size_t i = 0; i < sizeof exact / sizeof *exact; i++) {
    const double F = critical(exact[i].n1, exact[i].n2);
    assert_true(F >= exact[i].quantile * (1.0 - 1e-6));
    assert_true(F <= exact[i].quantile * (exact[i].n2 < 100 ? 1.07 : 1.006));
  }
}

/* Sum of n squares of N(0, 1). */
static double chi2_draw(uint64_t seed, int64_t row, int64_t n) {
  static double values[2048];
  double sum = 0.0;
  mxs_random_gaussian_row(seed, MXS_STREAM_NOISE, row, n, values);
  for (int64_t i = 0; i < n; i++)
    sum += values[i] * values[i];
  return sum;
}

static double uniform(uint64_t seed, int64_t row) {
  return mxs_random_uniform(seed, MXS_STREAM_HOLD_OUT, row);
}

/* No noise: a fit that is exact on what it has seen, and wrong by `error`. */
static mxs_certificate planted(uint64_t seed, double error) {
  mxs_fit fit = noisy();
  fit.held = 11 + (int64_t)(pow(uniform(seed, 1), 4.0) * 990.0);
  fit.loss = fit.outside = 0.0;
  fit.validation = 0.5 * error * error * chi2_draw(seed, 0, fit.held) / (double)fit.held;
  return mxs_certify(&fit);
}

static void recovered_is_true(void **state) {
  (void)state;
  int wrong = 0, right = 0, small = 0, at_the_limit = 0, above = 0;
  for (uint64_t seed = 0; seed < TRIALS; seed++) {
    const double error = pow(10.0, -8.0 + 6.0 * uniform(seed, 0));
    const mxs_certificate c = planted(seed, error);
    wrong += c.status == MXS_RECOVERED && error > 1e-6;
    small += error < 2e-7;
    right += c.status == MXS_RECOVERED && error < 2e-7;
    above += error > c.bound;
    at_the_limit += planted(seed, 1e-6).status == MXS_RECOVERED;
  }
  assert_int_equal(wrong, 0);
  assert_true(right > 0.999 * small && small > TRIALS / 10);
  /* 0.0005 of them, and four standard deviations. */
  assert_true(at_the_limit <= 10 + 13 && above <= 10 + 13);
}

/* Least squares of Gaussian rows: the error is sigma^2 chi2(p) / chi2(m - p + 1). */
static void intervals_cover(void **state) {
  (void)state;
  int certified = 0, inside = 0, above = 0;
  for (uint64_t seed = 0; seed < TRIALS / 4; seed++) {
    const double sigma = pow(10.0, -4.0 + 3.0 * uniform(seed, 0));
    const int64_t left = 90 + (int64_t)(700.0 * uniform(seed, 2));
    const double error2 =
        sigma * sigma * chi2_draw(seed, 1, FREEDOM) / chi2_draw(seed, 2, left + 1);
    mxs_fit fit = noisy();
    fit.held = 11 + (int64_t)(pow(uniform(seed, 1), 4.0) * 990.0);
    fit.m = FREEDOM + left;
    fit.loss = 0.5 * sigma * sigma * chi2_draw(seed, 3, left) / (double)fit.m;
    fit.validation =
        0.5 * (sigma * sigma + error2) * chi2_draw(seed, 0, fit.held) / (double)fit.held;
    fit.outside = 0.0;
    const mxs_certificate c = mxs_certify(&fit);
    above += sqrt(error2) > c.bound;
    if (c.status == MXS_NOT_CERTIFIED)
      continue;
    certified++;
    inside += c.low <= sqrt(error2) && sqrt(error2) <= c.high;
  }
  assert_true(certified > 0.99 * (TRIALS / 4.0));
  assert_true(inside > 0.99 * certified);
  assert_int_equal(above, 0);
}

static void texts(void **state) {
  (void)state;
  for (int i = 0; i <= MXS_DOUBT_UNSEEN; i++)
    for (int j = 0; j < i; j++)
      assert_string_not_equal(mxs_doubt_text((mxs_doubt)i), mxs_doubt_text((mxs_doubt)j));
  assert_string_equal(mxs_doubt_text(MXS_DOUBT_NONE), "");
  assert_string_equal(mxs_certificate_text(MXS_RECOVERED), "recovered");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(doubts),
      cmocka_unit_test(few),
      cmocka_unit_test(moments),
      cmocka_unit_test(nothing_is_certified_of_nan),
      cmocka_unit_test(exact_fits),
      cmocka_unit_test(units),
      cmocka_unit_test(chi_square),
      cmocka_unit_test(f_quantiles),
      cmocka_unit_test(recovered_is_true),
      cmocka_unit_test(intervals_cover),
      cmocka_unit_test(texts),
  };
  return cmocka_run_group_tests(tests, NULL, NULL) || mxs_alloc_outstanding() != 0;
}
