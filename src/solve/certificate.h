/** @file
 *  What can be said of a fit of rank k from its residuals on measurements that it has seen and on
 *  measurements that it has not. Room `solve`.
 *
 *  With A_i of i.i.d. N(0, scale^2) entries and noise of standard deviation sigma, a held-out
 *  residual of X is N(0, scale^2 ||X - X*||_F^2 + sigma^2), whatever X is. So the mean square v of
 *  m_v held-out residuals bounds the error without any assumption on the noise:
 *
 *      ||X - X*||_F <= sqrt(v m_v / chi2_(0.0005)(m_v)) / scale      (the `bound`).
 *
 *  `recovered`: the bound is below 1e-6 ||X||_F. Otherwise a fit of p = k (n1 + n2 - k) degrees of
 *  freedom that has found the right minimum follows
 *
 *      sigma^2 = ||R||^2 / (m - p),   v = sigma^2 (1 + q),   q = p / (m - p - 1),
 *      scale^2 ||X - X*||_F^2 = sigma^2 q,
 *
 *  and `recovered up to noise` asks for all that would show if it had not: an F test of v, no
 *  direction outside of the tangent space that stands out of the noise, enough measurements left
 *  over that a hidden one would, residuals that do not depend on the fitted values, and no heavy
 *  tails. A full-rank tail of X* is noise to it: only the bound counts that.
 *
 *  Other ensembles have the same second moments; their tails are lighter. */
#ifndef MXS_SOLVE_CERTIFICATE_H
#define MXS_SOLVE_CERTIFICATE_H

#include "objective/objective.h"

/** What the verdict rests on. */
typedef struct mxs_fit {
  int64_t n1, n2, rank;
  int64_t m, held;         /**< training and held-out measurements */
  double scale2;           /**< mean square of an entry of A */
  double y_mean2;          /**< mean square of y */
  double loss, validation; /**< 1/(2m) sum R^2 over each; validation NaN: no held-out ones */
  double norm;             /**< ||X||_F */
  double smallest;         /**< s_k of X */
  double outside;          /**< largest singular value of G normal to the tangent space at X */
  /* Moments (objective.h) over each set, with fitted values in units of norm scale, and residuals
   * of sqrt(2 loss); not looked at where `moments` is 0. */
  int moments;
  double train[MXS_MOMENTS], held_out[MXS_MOMENTS];
} mxs_fit;

/** The verdict on a fit. Local; the same bits for the same numbers. */
mxs_certificate mxs_certify(const mxs_fit *fit);

#endif
