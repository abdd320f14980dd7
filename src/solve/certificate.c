#include "solve/certificate.h"

#include <math.h>

#define RECOVERED 1e-6
#define CONFIDENT (-3.2905) /* normal quantile of 0.0005 */
#define UNLIKELY 3.0902     /* of 0.999 */
#define STANDS_OUT 1.1
#define WIDEST 0.6
#define DEPENDS 4.0 /* standard deviations of a correlation with the fitted values */
#define HEAVY 6.0   /* of the kurtosis */

/* Wilson and Hilferty, "The distribution of chi-square", PNAS 1931. */
static double chi2_quantile(double z, double n) {
  const double c = 2.0 / (9.0 * n);
  const double root = 1.0 - c + z * sqrt(c);
  return root > 0.0 ? n * root * root * root : 0.0;
}

/* Normal deviate of an F value: Paulson, "An approximate normalization of the analysis of variance
 * distribution", Annals of Mathematical Statistics 1942. */
static double f_deviate(double F, double n1, double n2) {
  const double a = 2.0 / (9.0 * n1);
  const double b = 2.0 / (9.0 * n2);
  const double root = cbrt(F);
  return ((1.0 - b) * root - (1.0 - a)) / sqrt(b * root * root + a);
}

/* Sum of a moment over both sets, with residuals of equal variance: a fit makes its own smaller by
 * 1
 * - p/m, and held-out ones larger by 1 + q. */
static double pooled(const mxs_fit *fit, int moment, int power, double p, double q) {
  const double own = 1.0 - p / (double)fit->m;
  return fit->train[moment] / pow(own, 0.5 * power) +
         fit->held_out[moment] / pow(1.0 + q, 0.5 * power);
}

static mxs_doubt look_at_moments(const mxs_fit *fit, double p, double q) {
  const double count = pooled(fit, MXS_MOMENT_COUNT, 0, p, q);
  const double square = pooled(fit, MXS_MOMENT_SQUARE, 2, p, q) / count;
  const double fourth = pooled(fit, MXS_MOMENT_FOURTH, 4, p, q) / count;
  const double even =
      pooled(fit, MXS_MOMENT_EVEN, 1, p, q) / sqrt(pooled(fit, MXS_MOMENT_EVEN_SQUARE, 2, p, q));
  const double odd =
      pooled(fit, MXS_MOMENT_ODD, 1, p, q) / sqrt(pooled(fit, MXS_MOMENT_ODD_SQUARE, 2, p, q));
  if (fabs(even) > DEPENDS || fabs(odd) > DEPENDS)
    return MXS_DOUBT_DEPENDS;
  return (fourth / (square * square) - 3.0) / sqrt(24.0 / count) > HEAVY ? MXS_DOUBT_TAILS
                                                                         : MXS_DOUBT_NONE;
}

static mxs_certificate reject(mxs_certificate c, mxs_doubt doubt) {
  c.status = MXS_NOT_CERTIFIED;
  c.doubt = doubt;
  return c;
}

mxs_certificate mxs_certify(const mxs_fit *fit) {
  const double m = (double)fit->m;
  const double held = (double)fit->held;
  const double p = (double)(fit->rank * (fit->n1 + fit->n2 - fit->rank));
  const double left = m - p;
  const double root = sqrt((double)fit->n1 * (double)fit->n2);
  const double edge = sqrt((double)fit->n1) + sqrt((double)fit->n2);
  const double norm = fit->norm * sqrt(fit->scale2);
  const double v = 2.0 * fit->validation;
  mxs_certificate c = {.rank = fit->norm > 0.0 ? fit->rank : 0,
                       .relative_error = (double)NAN,
                       .low = (double)NAN,
                       .high = (double)NAN,
                       .bound = (double)INFINITY,
                       .noise_std = (double)NAN};
  if (fit->held < 10)
    return reject(c, MXS_DOUBT_NOT_HELD_OUT);
  if (norm > 0.0)
    c.bound = sqrt(v * held / chi2_quantile(CONFIDENT, held)) / norm;
  if (c.bound <= RECOVERED || v == 0.0) {
    c.status = MXS_RECOVERED;
    c.bound = v == 0.0 ? 0.0 : c.bound;
    c.relative_error = v == 0.0 ? 0.0 : sqrt(v) / norm;
    c.low = 0.0;
    c.high = c.bound;
    return c;
  }
  if (left < fmax(10.0, 0.15 * p))
    return reject(c, MXS_DOUBT_FEW);
  const double q = p / (left - 1.0);
  const double sigma2 = 2.0 * fit->loss * m / left;
  const double spread = sqrt(2.0 / p + 2.0 / left);
  const double separation = fit->smallest * sqrt(fit->scale2) * sqrt(m) / (sqrt(sigma2) * edge);
  const double hidden = fmin(sigma2, 4.8 * root * sigma2 / left);
  c.noise_std = sqrt(sigma2);
  c.relative_error = sqrt(sigma2 * q) / norm;
  c.low = sqrt(sigma2 * q * fmax(0.0, 1.0 - 3.0 * spread)) / norm;
  c.high = fmin(
      c.bound,
      sqrt(sigma2 * q * (1.0 + 3.0 * spread) * (1.0 + 4.0 / (separation * separation)) + hidden) /
          norm);
  if (fit->outside > STANDS_OUT * edge * sqrt(fit->scale2 * 2.0 * fit->loss / m))
    return reject(c, MXS_DOUBT_STALLS);
  if (f_deviate(v / (sigma2 * (1.0 + q)), held, left) > UNLIKELY)
    return reject(c, MXS_DOUBT_OVERFITS);
  if (v > 0.5 * fit->y_mean2)
    return reject(c, MXS_DOUBT_EXPLAINS_LITTLE);
  if (left < 2.5 * root)
    return reject(c, MXS_DOUBT_FEW);
  if (separation < 1.0)
    return reject(c, MXS_DOUBT_WEAKEST);
  if (c.high > WIDEST)
    return reject(c, MXS_DOUBT_WIDE);
  const mxs_doubt doubt = fit->moments ? look_at_moments(fit, p, q) : MXS_DOUBT_NONE;
  if (doubt != MXS_DOUBT_NONE)
    return reject(c, doubt);
  c.status = MXS_RECOVERED_UP_TO_NOISE;
  return c;
}

const char *mxs_certificate_text(mxs_certificate_status status) {
  static const char *const texts[] = {
      [MXS_NOT_CERTIFIED] = "not certified",
      [MXS_RECOVERED_UP_TO_NOISE] = "recovered up to noise",
      [MXS_RECOVERED] = "recovered",
  };
  return texts[status];
}

const char *mxs_doubt_text(mxs_doubt doubt) {
  static const char *const texts[] = {
      [MXS_DOUBT_NONE] = "",
      [MXS_DOUBT_NOT_HELD_OUT] = "too few held-out measurements to tell",
      [MXS_DOUBT_FEW] = "under-sampled: too few measurements for this rank",
      [MXS_DOUBT_STALLS] = "the residual stalls with a direction left in it",
      [MXS_DOUBT_OVERFITS] =
          "held-out residuals are larger than the fit's own: under-sampled, or a wrong minimum",
      [MXS_DOUBT_EXPLAINS_LITTLE] = "the fit explains less than half of held-out measurements",
      [MXS_DOUBT_WEAKEST] = "the weakest direction is not separated from the noise",
      [MXS_DOUBT_WIDE] = "the error may be more than half of the matrix",
      [MXS_DOUBT_DEPENDS] = "the residual depends on the fitted values: y is not linear in X",
      [MXS_DOUBT_UNFINISHED] = "the run ended before the search did",
      [MXS_DOUBT_TAILS] = "a few residuals are far too large: outliers in y",
  };
  return texts[doubt];
}
