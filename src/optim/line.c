#include "optim/optim_impl.h"

#include <math.h>

enum { HALVINGS = 200, DOUBLINGS = 1100 };

/* Derivative of the quartic c at t. */
static double slope(const double c[5], double t) {
  return c[1] + t * (2.0 * c[2] + t * (3.0 * c[3] + t * 4.0 * c[4]));
}

/* The root between a place where the quartic falls and one where it does not. */
static double bisect(const double c[5], double falls, double rises) {
  for (int i = 0; i < HALVINGS; i++) {
    const double middle = falls + 0.5 * (rises - falls);
    if (!(middle > falls && middle < rises))
      break;
    if (slope(c, middle) < 0.0)
      falls = middle;
    else
      rises = middle;
  }
  return rises;
}

/* Places where the slope turns, ascending; those that are not there are 0. */
static void turns(const double c[5], double at[2]) {
  const double a = 12.0 * c[4], b = 6.0 * c[3], e = 2.0 * c[2];
  const double root = sqrt(fmax(b * b - 4.0 * a * e, 0.0));
  const double q = -0.5 * (b + copysign(root, b));
  const double x = a != 0.0 ? q / a : 0.0;
  const double y = q != 0.0 ? e / q : 0.0;
  at[0] = fmin(x, y);
  at[1] = fmax(x, y);
}

double mxsi_first_minimum(const double c[5], double fallback) {
  double at[2];
  double falls = 0.0;
  for (int i = 1; i < 5; i++)
    if (!isfinite(c[i]))
      return fallback;
  if (!(c[1] < 0.0))
    return fallback;
  turns(c, at);
  for (int i = 0; i < 2; i++) {
    if (!(at[i] > falls && isfinite(at[i])))
      continue;
    if (slope(c, at[i]) >= 0.0)
      return bisect(c, falls, at[i]);
    falls = at[i];
  }
  double rises = falls > 0.0 ? 2.0 * falls : fallback;
  for (int i = 0; i < DOUBLINGS && isfinite(rises); i++) {
    if (slope(c, rises) >= 0.0)
      return bisect(c, falls, rises);
    rises *= 2.0;
  }
  return fallback;
}

mxs_status mxsi_optim_step(
    mxs_optim *o, const double *P, const double *Q, int balanced, double *step) {
  const int64_t n1 = o->problem->n1, n2 = o->problem->n2;
  double c[1][5];
  *step = o->step;
  if (!o->options->line_search)
    return MXS_OK;
  const mxs_point at = {.U = mxs_cview(o->U, n1, o->k), .V = mxs_cview(o->V, n2, o->k)};
  const mxs_point along = {.U = mxs_cview(P, n1, o->k), .V = mxs_cview(Q, n2, o->k)};
  MXS_TRY(mxs_objective_line(o->objective, &at, &along, c));
  if (balanced)
    MXS_TRY(mxsi_balance_line(o, P, Q, c[0]));
  *step = mxsi_first_minimum(c[0], o->step);
  return MXS_OK;
}
