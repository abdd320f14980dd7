#include "solve/estimate.h"

#include <math.h>

/* Quantile of N(0, 1) at 97.5 %. */
#define Z 1.959963984540054
/* An estimate of sigma^2 that may be off by more than this part of it is none. */
#define MOST 0.5

typedef struct interval {
  double at, low, high;
} interval;

static const interval unknown = {(double)NAN, (double)NAN, (double)NAN};

double mxsi_chi2_over_n(double n, double z) {
  const double spread = 2.0 / (9.0 * n);
  const double root = fmax(1.0 - spread + z * sqrt(spread), 0.0);
  return root * root * root;
}

/* Of a mean of n squares of N(0, T). */
static interval mean_of_squares(double mean, double n) {
  return (interval){mean, mean / mxsi_chi2_over_n(n, Z), mean / mxsi_chi2_over_n(n, -Z)};
}

/* sigma^2 of the training residual, with its limits moved by what the fit may have left over of
 * the signal and taken up of the noise. */
static interval noise_of_residual(const mxs_estimate_input *in, mxs_noise_basis *basis) {
  const double m = (double)in->m;
  const double d = (double)in->freedom;
  const double reach = (sqrt((double)in->n1) + sqrt((double)in->n2)) / sqrt(m);
  double tail = 0.0;
  *basis = MXS_NOISE_FEW;
  if (in->rank < 1 || !(m > d))
    return unknown;
  const double square = 2.0 * in->loss * m / (m - d);
  const double left = in->grad_norm * in->grad_norm / (in->scale2 * in->s[in->rank - 1]);
  for (int64_t i = in->rank; i < in->count; i++)
    tail += in->s[i];
  const double gained = 2.0 * sqrt(square * in->scale2) * reach * tail;
  *basis = !(left <= MOST * square)     ? MXS_NOISE_UNFITTED
           : !(gained <= MOST * square) ? MXS_NOISE_OVERFITTED
                                        : MXS_NOISE_RESIDUAL;
  if (*basis != MXS_NOISE_RESIDUAL)
    return unknown;
  interval noise = mean_of_squares(square, m - d);
  noise.low = fmax(noise.low - left, 0.0);
  noise.high += gained;
  return noise;
}

static interval noise_square(const mxs_estimate_input *in, mxs_noise_basis *basis) {
  if (isnan(in->noise_std))
    return noise_of_residual(in, basis);
  const double square = in->noise_std * in->noise_std;
  *basis = MXS_NOISE_GIVEN;
  return (interval){square, square, square};
}

/* The difference of two means with independent limits. */
static interval difference(interval a, interval b) {
  return (interval){a.at - b.at, a.at - b.at - hypot(a.at - a.low, b.high - b.at),
                    a.at - b.at + hypot(a.high - a.at, b.at - b.low)};
}

static double root_ratio(double square, double of) {
  return of > 0.0 ? sqrt(fmax(square, 0.0) / of) : (double)NAN;
}

mxs_estimate mxs_estimate_of(const mxs_estimate_input *in) {
  mxs_estimate out = {(double)NAN, (double)NAN, (double)NAN, (double)NAN, MXS_NOISE_NONE};
  if (in->m_validation < 1 || in->m < 1 || !isfinite(in->validation_loss))
    return out;
  const double y2 = in->y_mean2;
  const interval held_out = mean_of_squares(2.0 * in->validation_loss, (double)in->m_validation);
  const interval noise = noise_square(in, &out.basis);
  if (isnan(noise.at)) {
    out.relative_error_low = 0.0;
    out.relative_error_high = root_ratio(held_out.high, y2 - fmin(held_out.at, y2));
    return out;
  }
  const interval error = difference(held_out, noise);
  out.noise_std = sqrt(noise.at);
  out.relative_error = root_ratio(error.at, y2 - noise.at);
  out.relative_error_low = root_ratio(error.low, y2 - noise.at);
  out.relative_error_high = root_ratio(error.high, y2 - noise.at);
  return out;
}

const char *mxs_noise_basis_text(mxs_noise_basis basis) {
  switch (basis) {
  case MXS_NOISE_NONE:
    return "nothing is held out";
  case MXS_NOISE_GIVEN:
    return "given noise_std";
  case MXS_NOISE_RESIDUAL:
    return "training residual";
  case MXS_NOISE_FEW:
    return "noise unknown: not more measurements than degrees of freedom";
  case MXS_NOISE_UNFITTED:
    return "noise unknown: the fit has not converged";
  case MXS_NOISE_OVERFITTED:
    return "noise unknown: the fit has taken up noise";
  }
  return "unknown";
}
