#include "solve/solve_impl.h"

#include "base/random.h"
#include "la/la.h"

#include <math.h>
#include <string.h>

static void random_factor(
    uint64_t seed, mxs_stream stream, double alpha, int64_t rows, int64_t k, double *factor) {
  for (int64_t i = 0; i < rows; i++)
    mxs_random_gaussian_row(seed, stream, i, k, factor + i * k);
  for (int64_t i = 0; i < rows * k; i++)
    factor[i] *= alpha;
}

/* U = L sqrt(s / scale2), V = R sqrt(s / scale2) of the leading k triplets of the back-projection.
 */
static void spectral_start(mxs_solver *s, mxs_optim *o) {
  const mxs_problem *p = s->problem;
  const mxs_spectrum *from = &s->spectrum;
  for (int64_t j = 0; j < o->k && j < from->count; j++) {
    const double root = sqrt(from->s[j] / p->scale2);
    for (int64_t i = 0; i < p->n1; i++)
      o->U[i * o->k + j] = root * from->left[i * from->count + j];
    for (int64_t i = 0; i < p->n2; i++)
      o->V[i * o->k + j] = root * from->right[i * from->count + j];
  }
}

void mxsi_solver_random_start(mxs_solver *s, int64_t r, double alpha) {
  const mxsi_trajectory *t = &s->trajectory[r];
  random_factor(t->want.seed, MXS_STREAM_START_U, alpha, s->problem->n1, t->k, t->optim.U);
  random_factor(t->want.seed, MXS_STREAM_START_V, alpha, s->problem->n2, t->k, t->optim.V);
}

static mxs_status start_trajectory(mxs_solver *s, int64_t r) {
  const mxs_problem *p = s->problem;
  mxsi_trajectory *t = &s->trajectory[r];
  mxs_optim *o = &t->optim;
  const double s1 = s->spectrum.s[0];
  const double top = s1 / p->scale2;
  const double automatic_alpha = top > 0.0 && isfinite(top) ? 1e-3 * sqrt(top) : 1e-3;
  t->number.s1 = s1;
  t->number.alpha = isnan(t->want.alpha) ? automatic_alpha : t->want.alpha;
  t->number.step = isnan(t->want.step) ? mxs_rule_step(t->rule, s1) : t->want.step;
  t->number.loss_start = (double)NAN;
  t->count.gap_rank = mxs_gap_rank(s->spectrum.s, s->spectrum.count, t->k);
  if (s->start_U != NULL) {
    memcpy(o->U, s->start_U, (size_t)(p->n1 * t->k) * sizeof *o->U);
    memcpy(o->V, s->start_V, (size_t)(p->n2 * t->k) * sizeof *o->V);
  } else if (s->options.start == MXS_START_SPECTRAL) {
    spectral_start(s, o);
  } else {
    mxsi_solver_random_start(s, r, t->number.alpha);
  }
  memcpy(t->scales, mxs_objective_scales(s->objective, r), sizeof t->scales);
  t->count.visits = mxsi_solver_visits(s);
  t->count.started = 1;
  return t->rule->prepare != NULL && s->options.method != MXS_METHOD_AUTO ? t->rule->prepare(o)
                                                                          : MXS_OK;
}

mxs_status mxsi_solver_start(mxs_solver *s) {
  const mxs_solve_options *o = &s->options;
  mxs_sample sample = {0};
  if (o->method == MXS_METHOD_AUTO) {
    mxsi_auto_begin(s);
    mxsi_auto_sample(s, &sample);
  }
  mxs_objective_sample(s->objective, &sample);
  MXS_TRY(mxs_spectrum_compute(s->problem, s->objective, o->svd, o->reduction, &s->spectrum));
  for (int64_t r = 0; r < s->replicas; r++)
    MXS_TRY(start_trajectory(s, r));
  if (o->method == MXS_METHOD_AUTO && s->problem->y_norm2 > 0.0)
    return mxsi_auto_start(s);
  return MXS_OK;
}
