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
 *  A fit cannot do better on what it has not seen, so where the training residuals are larger, v is
 *  their mean square. `recovered`: the bound is below 1e-6 ||X||_F. Otherwise a fit of p = k (n1 +
 *  n2 - k) degrees of freedom that has found the right minimum follows
 *
 *      sigma^2 = ||R||^2 / (m - p),   v = sigma^2 (1 + q),   q = p / (m - p - 1),
 *      scale^2 ||X - X*||_F^2 = sigma^2 q,
 *
 *  and `recovered up to noise` asks for all that would show if it had not: an F test of v, no
 *  direction outside of the tangent space that stands out of the noise, enough measurements left
 *  over that a hidden one would, residuals that do not depend on the fitted values, and no heavy
 *  tails. A full-rank tail of X* is noise to it: only the bound counts that, and the upper end of
 *  the interval is the bound where so few measurements are left over that the tail may be all of
 *  the residual.
 *
 *  Other ensembles have the same second moments, but a wrong X may have residuals that are zero. Of
 *  i.i.d. symmetric entries that happens with probability 1/2 at most, whatever the error is
 *  (Littlewood and Offord, Erdos: signs, and an error on two entries, attain it), and 2^-11 <
 *  0.0005: fewer than 11 held-out measurements certify nothing. Each residual of the fast ensemble
 *  has the law of signs too. Stored and user matrices may be sparse, and an error in a row that no
 *  held-out measurement touches leaves no trace at all; so for those mxs_look_closer() finds what
 *  they see of the least seen row or column, and below 1/100 of the mean there is no certificate.
 *  Full matrices are far above with 11 measurements even (chi-square: below with probability 4e-10
 *  a row); single entries are below until every row and column has one of its own. */
#ifndef MXS_SOLVE_CERTIFICATE_H
#define MXS_SOLVE_CERTIFICATE_H

#include "objective/objective.h"

/** What the verdict rests on. */
typedef struct mxs_fit {
  int64_t n1, n2, rank;
  int64_t
      freedom; /**< p, degrees of freedom: rank (n1 + n2 - rank), or those of its symmetric kind */
  int64_t m, held;         /**< training and held-out measurements */
  double scale2;           /**< mean square of an entry of A */
  double y_mean2;          /**< mean square of y */
  double loss, validation; /**< 1/(2m) sum R^2 over each; validation NaN: no held-out ones */
  double norm;             /**< ||X||_F */
  double smallest;         /**< s_k of X */
  double outside;          /**< largest singular value of G normal to the tangent space at X */
  /* What follows was looked at where `close` is set: moments (objective.h) over each set, with
   * fitted values in units of norm scale, and residuals of sqrt(2 loss); what held-out measurements
   * see of the least seen row. */
  int close;
  double train[MXS_MOMENTS], held_out[MXS_MOMENTS];
  double seen;
} mxs_fit;

/** The verdict on a fit. Local; the same bits for the same numbers. */
mxs_certificate mxs_certify(const mxs_fit *fit);

/** Look at what a good verdict on the fit at a point rests on, and give it again. `recovered up to
 *  noise` takes a visit to A, forward only; where A is not of an ensemble of ours, the held-out
 *  measurements are visited one by one. Collective. Errors as of a pass. */
MXS_CHECKED mxs_status mxs_look_closer(mxs_objective *objective,
                                       const mxs_problem *problem,
                                       const mxs_point *at,
                                       mxs_fit *fit,
                                       mxs_certificate *certificate);

#endif
