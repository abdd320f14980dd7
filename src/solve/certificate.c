#include "solve/certificate.h"

#include "base/random.h"
#include "solve/estimate.h"

#include <math.h>

enum { LEAST_HELD = 11 };

#define RECOVERED 1e-6
#define CONFIDENT (-3.2905) /* normal quantile of 0.0005 */
#define UNLIKELY 3.0902     /* of 0.999 */
#define STANDS_OUT 1.1
#define WIDEST 0.6
#define DEPENDS 4.0     /* standard deviations of a correlation with the fitted values */
#define HEAVY 6.0       /* of the kurtosis */
#define LEAST_SEEN 0.01 /* of a row by held-out measurements, beside the mean */

/* Normal deviate of an F value: Paulson, "An approximate normalization of the analysis of variance
 * distribution", Annals of Mathematical Statistics 1942. */
static double f_deviate(double F, double n1, double n2) {
  const double a = 2.0 / (9.0 * n1);
  const double b = 2.0 / (9.0 * n2);
  const double root = cbrt(F);
  return ((1.0 - b) * root - (1.0 - a)) / sqrt(b * root * root + a);
}

/* Sum of a moment over both sets, with residuals of equal variance: a fit makes its own smaller by
 * 1 - p/m, and held-out ones larger by 1 + q. */
static double pooled(const mxs_fit *fit, int moment, int power, double p, double q) {
  const double own = 1.0 - p / (double)fit->m;
  return fit->train[moment] / pow(own, 0.5 * power) +
         fit->held_out[moment] / pow(1.0 + q, 0.5 * power);
}

/* In standard deviations. */
static double correlation(double sum, double square) {
  return sum == 0.0 ? 0.0 : sum / sqrt(square);
}

static mxs_doubt look_at_moments(const mxs_fit *fit, double p, double q) {
  const double count = pooled(fit, MXS_MOMENT_COUNT, 0, p, q);
  const double square = pooled(fit, MXS_MOMENT_SQUARE, 2, p, q) / count;
  const double fourth = pooled(fit, MXS_MOMENT_FOURTH, 4, p, q) / count;
  const double even = correlation(pooled(fit, MXS_MOMENT_EVEN, 1, p, q),
                                  pooled(fit, MXS_MOMENT_EVEN_SQUARE, 2, p, q));
  const double odd = correlation(pooled(fit, MXS_MOMENT_ODD, 1, p, q),
                                 pooled(fit, MXS_MOMENT_ODD_SQUARE, 2, p, q));
  if (!(fabs(even) <= DEPENDS && fabs(odd) <= DEPENDS))
    return MXS_DOUBT_DEPENDS;
  const double heavy = (fourth / (square * square) - 3.0) / sqrt(24.0 / count);
  return heavy <= HEAVY ? MXS_DOUBT_NONE : MXS_DOUBT_TAILS;
}

/* A fit as the laws see it. */
typedef struct law {
  double m, held, p, left;
  double q, sigma2;
  double v; /**< mean square of held-out residuals */
  double root, edge, norm;
  double separation; /**< s_k beside the noise edge */
} law;

static law law_of(const mxs_fit *fit) {
  law l = {.m = (double)fit->m,
           .held = (double)fit->held,
           .p = (double)fit->freedom,
           .v = 2.0 * fit->validation,
           .root = sqrt((double)fit->n1 * (double)fit->n2),
           .edge = sqrt((double)fit->n1) + sqrt((double)fit->n2),
           .norm = fit->norm * sqrt(fit->scale2)};
  l.left = l.m - l.p;
  l.q = l.p / (l.left - 1.0);
  l.sigma2 = 2.0 * fit->loss * l.m / l.left;
  l.separation = fit->smallest * sqrt(fit->scale2) * sqrt(l.m) / (sqrt(l.sigma2) * l.edge);
  return l;
}

/* A direction that hides in the residual is as uncertain as the rest; where it may be all of the
 * residual, only the bound holds. */
static void set_interval(const law *l, mxs_certificate *c) {
  const double spread = 3.0 * sqrt(2.0 / l->p + 2.0 / l->left);
  const double hidden = 4.8 * l->root / l->left;
  const double mixed = l->q * (1.0 + 4.0 / (l->separation * l->separation));
  c->noise_std = sqrt(l->sigma2);
  c->relative_error = sqrt(l->sigma2 * l->q) / l->norm;
  c->low = sqrt(l->sigma2 * l->q * fmax(0.0, 1.0 - spread)) / l->norm;
  const double high = sqrt(l->sigma2 * (mixed + hidden) * (1.0 + spread)) / l->norm;
  c->high = hidden < 1.0 ? fmin(c->bound, high) : c->bound;
}

/* Why the residual is not that of noise alone. A number that is NaN fails its test. */
static mxs_doubt find_doubt(const mxs_fit *fit, const law *l, const mxs_certificate *c) {
  if (!(fit->outside <= STANDS_OUT * l->edge * sqrt(fit->scale2 * 2.0 * fit->loss / l->m)))
    return MXS_DOUBT_STALLS;
  if (!(f_deviate(l->v / (l->sigma2 * (1.0 + l->q)), l->held, l->left) <= UNLIKELY))
    return MXS_DOUBT_OVERFITS;
  if (!(l->v <= 0.5 * fit->y_mean2))
    return MXS_DOUBT_EXPLAINS_LITTLE;
  if (!(l->left >= 2.5 * l->root))
    return MXS_DOUBT_FEW;
  if (!(l->separation >= 1.0))
    return MXS_DOUBT_WEAKEST;
  if (!(c->high <= WIDEST))
    return MXS_DOUBT_WIDE;
  return fit->close ? look_at_moments(fit, l->p, l->q) : MXS_DOUBT_NONE;
}

static mxs_certificate verdict(mxs_certificate c, mxs_certificate_status status, mxs_doubt doubt) {
  c.status = doubt == MXS_DOUBT_NONE ? status : MXS_NOT_CERTIFIED;
  c.doubt = doubt;
  return c;
}

mxs_certificate mxs_certify(const mxs_fit *fit) {
  const law l = law_of(fit);
  const double largest = fmax(l.v, 2.0 * fit->loss);
  const mxs_doubt unseen =
      fit->close && !(fit->seen >= LEAST_SEEN) ? MXS_DOUBT_UNSEEN : MXS_DOUBT_NONE;
  mxs_certificate c = {.rank = fit->norm == 0.0 ? 0 : fit->rank,
                       .relative_error = (double)NAN,
                       .low = (double)NAN,
                       .high = (double)NAN,
                       .bound = (double)INFINITY,
                       .noise_std = (double)NAN};
  if (fit->held < LEAST_HELD || !(l.v >= 0.0))
    return verdict(c, MXS_NOT_CERTIFIED, MXS_DOUBT_NOT_HELD_OUT);
  const int finite = isfinite(l.v) && isfinite(fit->loss) && isfinite(l.norm);
  if (!finite || (largest > 0.0 && l.norm == 0.0))
    return verdict(c, MXS_NOT_CERTIFIED, MXS_DOUBT_EXPLAINS_LITTLE);
  c.bound = largest > 0.0 ? sqrt(largest / mxsi_chi2_over_n(l.held, CONFIDENT)) / l.norm : 0.0;
  if (c.bound <= RECOVERED) {
    c.relative_error = largest > 0.0 ? sqrt(largest) / l.norm : 0.0;
    c.low = 0.0;
    c.high = c.bound;
    return verdict(c, MXS_RECOVERED, unseen);
  }
  if (!(l.left >= fmax(10.0, 0.15 * l.p)))
    return verdict(c, MXS_NOT_CERTIFIED, MXS_DOUBT_FEW);
  set_interval(&l, &c);
  const mxs_doubt doubt = find_doubt(fit, &l, &c);
  return verdict(c, MXS_RECOVERED_UP_TO_NOISE, doubt != MXS_DOUBT_NONE ? doubt : unseen);
}

/* Entries without zeros to hide behind. */
static int is_full(mxs_ensemble ensemble) {
  return ensemble == MXS_ENSEMBLE_GAUSSIAN || ensemble == MXS_ENSEMBLE_RADEMACHER ||
         ensemble == MXS_ENSEMBLE_GAUSSIAN8 || ensemble == MXS_ENSEMBLE_FAST;
}

/* What held-out measurements see, through the factors of X, or where X = 0 through random ones. */
static mxs_status find_seen(mxs_objective *objective,
                            const mxs_problem *problem,
                            const mxs_point *at,
                            mxs_fit *fit) {
  const int64_t k = at->U.cols;
  double *F = NULL;
  if (fit->norm > 0.0)
    return mxs_objective_seen(objective, at, &fit->seen);
  MXS_TRY(mxs_comm_agree(problem->comm, mxs_alloc((fit->n1 + fit->n2) * k, sizeof *F, &F)));
  for (int64_t i = 0; i < fit->n1 + fit->n2; i++)
    mxs_random_gaussian_row(0, MXS_STREAM_RANGE_FINDER, i, k, F + i * k);
  const mxs_point random = {.U = mxs_cview(F, fit->n1, k),
                            .V = mxs_cview(F + fit->n1 * k, fit->n2, k)};
  const mxs_status status = mxs_objective_seen(objective, &random, &fit->seen);
  mxs_release(&F);
  return status;
}

mxs_status mxs_look_closer(mxs_objective *objective,
                           const mxs_problem *problem,
                           const mxs_point *at,
                           mxs_fit *fit,
                           mxs_certificate *certificate) {
  if (certificate->status == MXS_NOT_CERTIFIED)
    return MXS_OK;
  fit->close = 1;
  fit->seen = 1.0;
  if (certificate->status == MXS_RECOVERED_UP_TO_NOISE)
    MXS_TRY(mxs_objective_moments(objective, at, fit->norm * sqrt(fit->scale2),
                                  sqrt(2.0 * fit->loss), fit->train, fit->held_out));
  if (!is_full(problem->ensemble))
    MXS_TRY(find_seen(objective, problem, at, fit));
  *certificate = mxs_certify(fit);
  return MXS_OK;
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
      [MXS_DOUBT_UNSEEN] = "held-out measurements do not see every row and column: hold out more",
      [MXS_DOUBT_UNFINISHED] = "the run ended before the search did",
      [MXS_DOUBT_TAILS] = "a few residuals are far too large: outliers in y",
  };
  return texts[doubt];
}
