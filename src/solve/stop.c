#include "solve/estimate.h"
#include "solve/solve_impl.h"

#include "la/la.h"

#include <math.h>
#include <string.h>

enum { PATIENCE = 30 }; /* of methods without a gradient step */

/* A held-out loss that is lower by less than this part of it is no news, though it may be the
 * lowest: it goes on falling for ever where nothing overfits, and its statistical error is larger
 * by far. */
#define NEWS 1e-5

int mxsi_stop_keeps_best(const mxs_solver *s) {
  return s->options.stop == MXS_STOP_VALIDATION;
}

mxs_status mxsi_stop_check(const mxs_problem *p, const mxs_solve_options *o) {
  if (o->patience < 0)
    return mxs_fail(MXS_ERR_SETTINGS, "patience = %lld: must not be negative",
                    (long long)o->patience);
  if (!isnan(o->noise_std) && !(o->noise_std >= 0.0 && isfinite(o->noise_std)))
    return mxs_fail(MXS_ERR_SETTINGS, "noise_std = %g: must not be negative", o->noise_std);
  if (o->method == MXS_METHOD_AUTO && o->stop != MXS_STOP_TOLERANCE)
    return mxs_fail(MXS_ERR_SETTINGS,
                    "stop: method = auto ends by a rule of its own, and keeps the point of the "
                    "lowest held-out loss: set stop = tolerance, or another method");
  if (o->stop == MXS_STOP_VALIDATION && p->m_validation == 0)
    return mxs_fail(MXS_ERR_SETTINGS,
                    "stop = validation: no measurements are held out: give hold_out = 0.1, or a "
                    "problem that has its own");
  if (o->stop == MXS_STOP_DISCREPANCY && isnan(o->noise_std))
    return mxs_fail(MXS_ERR_SETTINGS,
                    "stop = discrepancy: the problem does not say how large the noise in y is: "
                    "give noise_std, its standard deviation");
  return MXS_OK;
}

/* ---- rules --------------------------------------------------------------------------------- */

/* A signal s grows by 1 + step s an iteration while it is small, and until it is seen the held-out
 * loss tells of nothing but noise. (No logarithm: those of two processors may differ.) */
static int has_waited(const mxs_solver *s, const mxsi_trajectory *t) {
  const int64_t waited = (int64_t)(t->last.iteration - t->best.mark_iteration);
  const double signal = s->spectrum.s[t->count.gap_rank - 1];
  const double growth = 1.0 + t->number.step * signal;
  if (s->options.patience > 0)
    return waited >= s->options.patience;
  if (!t->rule->scaled_by_s1 || !(growth > 1.0))
    return waited >= PATIENCE;
  const double size = sqrt(signal / s->problem->scale2);
  const double factor = t->number.alpha > 0.0 ? size / t->number.alpha : 0.0;
  const double target = 10.0 * fmax(100.0, factor);
  double grown = 1.0;
  for (int64_t i = 0; i < waited && grown < target; i++)
    grown *= growth;
  return grown >= target;
}

static void remember(const mxs_solver *s, mxsi_trajectory *t) {
  const mxs_problem *p = s->problem;
  t->best.point = t->last;
  memcpy(t->best_U, t->optim.U, (size_t)(p->n1 * t->k) * sizeof *t->best_U);
  memcpy(t->best_V, t->optim.V, (size_t)(p->n2 * t->k) * sizeof *t->best_V);
}

/* One that steps on batches sees all measurements where a row is due, and where it is stopped: the
 * latter must not change how it goes on. */
static int is_scheduled(const mxs_solver *s, const mxsi_trajectory *t) {
  return !t->rule->stochastic || t->count.iteration % s->options.metrics_every == 0;
}

static mxs_reason by_validation(const mxs_solver *s, mxsi_trajectory *t) {
  mxsi_best *best = &t->best;
  const double loss = t->last.validation_loss;
  const int first = best->point.iteration < 0.0;
  if (first || loss < best->point.validation_loss)
    remember(s, t);
  if (first || loss < (1.0 - NEWS) * best->mark_loss) {
    best->mark_iteration = t->last.iteration;
    best->mark_loss = loss;
  }
  return has_waited(s, t) ? MXS_REASON_VALIDATION : MXS_REASON_RUNNING;
}

static mxs_reason by_discrepancy(const mxs_solver *s, const mxsi_trajectory *t) {
  const double sigma = s->options.noise_std;
  const double margin = 1.0 + 2.0 * sqrt(2.0 / (double)s->problem->m_train);
  return 2.0 * t->last.loss <= sigma * sigma * margin ? MXS_REASON_DISCREPANCY : MXS_REASON_RUNNING;
}

mxs_reason mxsi_stop_watch(mxs_solver *s, int64_t r) {
  mxsi_trajectory *t = &s->trajectory[r];
  t->last = (mxsi_figures){.iteration = (double)t->count.iteration,
                           .loss = s->at[r].loss,
                           .validation_loss = s->at[r].validation_loss,
                           .grad_norm = mxsi_solver_grad_norm(s, r),
                           .train = (double)s->at[r].train,
                           .held = (double)s->at[r].held};
  if (!is_scheduled(s, t))
    return MXS_REASON_RUNNING;
  switch (s->options.stop) {
  case MXS_STOP_TOLERANCE:
    break;
  case MXS_STOP_VALIDATION:
    return by_validation(s, t);
  case MXS_STOP_DISCREPANCY:
    return by_discrepancy(s, t);
  }
  return MXS_REASON_RUNNING;
}

/* ---- the answer ---------------------------------------------------------------------------- */

/* Figures of the metrics at the best point; phases are of the way, not of a point. */
static mxs_status describe_best(mxs_solver *s, int64_t r, mxs_result *result) {
  const mxs_problem *p = s->problem;
  mxsi_trajectory *t = &s->trajectory[r];
  mxs_phase phase = t->phase;
  mxs_iterate at = {.iteration = (int64_t)t->best.point.iteration,
                    .gap_rank = t->count.gap_rank < t->k ? t->count.gap_rank : t->k,
                    .loss = t->best.point.loss,
                    .validation_loss = t->best.point.validation_loss,
                    .relative_residual = mxsi_relative_residual(p, t->best.point.loss)};
  mxs_solver_factors(s, r, &at.U, &at.V);
  MXS_TRY(mxs_metrics_row(t->metrics, &at, &phase, t->row, &result->rank_estimate));
  result->best_iteration = at.iteration;
  result->loss = at.loss;
  result->validation_loss = at.validation_loss;
  result->relative_residual = at.relative_residual;
  result->test_error = t->row[MXS_COLUMN_TEST_ERROR];
  return MXS_OK;
}

mxs_status mxsi_stop_answer(mxs_solver *s, int64_t r, mxs_result *result) {
  const mxs_problem *p = s->problem;
  const mxsi_trajectory *t = &s->trajectory[r];
  const int has_best = mxsi_stop_keeps_best(s) && t->best.point.iteration >= 0.0;
  const mxsi_figures *point = has_best ? &t->best.point : &t->last;
  mxs_cmat U, V;
  double *singular = NULL;
  if (has_best)
    MXS_TRY(describe_best(s, r, result));
  if (p->m_validation == 0)
    return MXS_OK;
  mxs_solver_factors(s, r, &U, &V);
  const int64_t most = p->n1 < p->n2 ? p->n1 : p->n2;
  const int64_t count = t->k < most ? t->k : most;
  MXS_TRY(mxs_alloc(count, sizeof *singular, &singular));
  const mxs_status status = mxs_la_svd_product(U, V, singular, NULL, NULL);
  if (status == MXS_OK)
    result->estimate =
        mxs_estimate_of(&(mxs_estimate_input){.validation_loss = point->validation_loss,
                                              .loss = point->loss,
                                              .m_validation = (int64_t)point->held,
                                              .m = (int64_t)point->train,
                                              .y_mean2 = p->y_norm2 / (double)p->m_train,
                                              .scale2 = p->scale2,
                                              .noise_std = s->options.noise_std,
                                              .n1 = p->n1,
                                              .n2 = p->n2,
                                              .rank = result->rank_estimate,
                                              .freedom = mxsi_freedom(s, result->rank_estimate),
                                              .s = singular,
                                              .count = count,
                                              .grad_norm = point->grad_norm});
  mxs_release(&singular);
  return status;
}
