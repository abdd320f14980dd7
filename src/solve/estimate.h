/** @file
 *  What held-out measurements tell of the noise and of the error of a solution. Room `solve`.
 *
 *  Where A has i.i.d. N(0, scale^2) entries and the noise standard deviation sigma, the square of a
 *  held-out residual of X has mean
 *
 *      T = sigma^2 + scale^2 ||X - X*||_F^2,
 *
 *  and the sum of m_val of them is T times a chi-square number of m_val degrees of freedom, given
 *  X; so their mean v estimates T, and
 *
 *      ||X - X*||_F^2 ~ (v - sigma^2) / scale^2.
 *
 *  (For other ensembles of the same second moments v has the same mean, and the interval is about
 *  right where no few entries of X - X* carry most of it.) sigma is given, or comes from the
 *  training residual of a fit of rank q,
 *
 *      sigma^2 ~ ||R||^2 / (m - d),   d = q (n1 + n2 - q).
 *
 *  That holds for a fit, neither more nor less. The loss that is left to gain, at most
 *  ||grad f||^2 / (2 scale^2 s_q) near a minimum, makes it too large; what the singular values
 *  after the q-th have gained on noise, at most 2 sigma (sqrt(n1) + sqrt(n2)) / sqrt(m) scale times
 *  their sum, makes it too small: both widen the interval. Where one is more than half of sigma^2
 * the noise is unknown, and only an upper bound is left, at sigma = 0. What the fit has not seen at
 * all, a signal that its rank leaves out, counts as noise.
 *
 *  ||X*||_F^2 ~ (||y||^2 / m - sigma^2) / scale^2, which depends on no solution, so that a bad X is
 *  not measured by its own size; its own error, sqrt(2 / m) relative, is left out.
 *
 *  The interval takes the chi-square limits of v and, where it is estimated, of sigma^2, and
 *  combines them for the difference as Zou and Donner do ("Construction of confidence limits about
 *  effect measures", Statistics in Medicine 2008). A point that was chosen by v itself makes v a
 *  little too small: it was the lowest of many, which differ much less among each other than from
 *  T. */
#ifndef MXS_SOLVE_ESTIMATE_H
#define MXS_SOLVE_ESTIMATE_H

#include "mxsense/solve.h"

/** What is known of a solution X and its problem; losses as f, 1/(2m) sum R_i^2. */
typedef struct mxs_estimate_input {
  double validation_loss, loss;
  int64_t m_validation, m; /**< held-out and training measurements */
  double y_mean2;          /**< mean square of y over the training measurements */
  double scale2;           /**< mean square of an entry of A */
  double noise_std;        /**< NaN: not known */
  int64_t n1, n2;
  int64_t rank;     /**< of the fit; at most `count` */
  int64_t freedom;  /**< its degrees of freedom d */
  const double *s;  /**< singular values of X, descending */
  int64_t count;    /**< of s */
  double grad_norm; /**< ||(dU, dV)||_F at balanced factors of X */
} mxs_estimate_input;

/** Quantile of the chi-square distribution with n degrees of freedom, over n, at z standard
 *  deviations of a normal one: Wilson and Hilferty, "The distribution of chi-square" (PNAS 1931);
 * to 1 % for n >= 10 at |z| <= 2, 7 % low at z = -3.3 and n = 11. Local. */
double mxsi_chi2_over_n(double n, double z);

/** Local; the same bits for the same numbers. */
mxs_estimate mxs_estimate_of(const mxs_estimate_input *in);

#endif
