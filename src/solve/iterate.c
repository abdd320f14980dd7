#include "solve/solve_impl.h"

#include "la/la.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Loss beyond this multiple of the larger of its first value and f(0, 0) is divergence. */
#define DIVERGED 1e6

static mxs_status check_restored(const mxs_solver *s) {
  for (int64_t r = 0; r < s->replicas; r++) {
    const mxsi_trajectory *t = &s->trajectory[r];
    if (t->count.started != 1 || t->count.iteration < 0 || t->count.gap_rank < 1 ||
        t->count.gap_rank > s->spectrum.count || !(t->number.step > 0.0) ||
        t->extent.columns != t->k)
      return mxs_fail(MXS_ERR_DATA,
                      "the saved state does not make sense: it was not written by a solver");
  }
  return MXS_OK;
}

/* Every trajectory repeats the pass of its own iteration, those that had ended too: whether they
 * still do is for the options of now to tell. */
mxs_status mxs_solver_restored(mxs_solver *s) {
  MXS_TRY(mxs_comm_agree(s->problem->comm, check_restored(s)));
  int64_t visits = 0;
  for (int64_t r = 0; r < s->replicas; r++) {
    mxsi_trajectory *t = &s->trajectory[r];
    memcpy(mxs_objective_scales(s->objective, r), t->scales, sizeof t->scales);
    if (t->extent.visits == 0)
      t->extent.visits = t->count.passes * mxsi_measurements(s->problem);
    visits = t->extent.visits > visits ? t->extent.visits : visits;
  }
  s->visits_before = mxs_objective_get_profile(s->objective).visits - visits;
  return MXS_OK;
}

double mxsi_relative_residual(const mxs_problem *p, double loss) {
  return p->y_norm2 > 0.0 ? sqrt(2.0 * (double)p->m_train * loss / p->y_norm2) : 0.0;
}

/* Squares of factors that left the range of doubles are as good as a NaN in the loss. */
static int diverged(const mxs_problem *p, mxsi_trajectory *t, const mxs_evaluation *at) {
  if (at->nonfinite || !isfinite(at->loss))
    return 1;
  for (int64_t i = 0; i < p->n1 * t->k; i++)
    if (!isfinite(at->gU[i]))
      return 1;
  for (int64_t i = 0; i < p->n2 * t->k; i++)
    if (!isfinite(at->gV[i]))
      return 1;
  if (isnan(t->number.loss_start))
    t->number.loss_start = at->loss;
  const double zero = p->y_norm2 / (2.0 * (double)p->m_train);
  return at->loss > DIVERGED * fmax(t->number.loss_start, zero);
}

static mxs_reason end_reason(mxs_solver *s, int64_t r, const mxs_requests *requests) {
  const mxs_reason by_rule = mxsi_stop_watch(s, r);
  const mxs_solve_options *o = &s->options;
  if (o->method != MXS_METHOD_AUTO && o->tolerance > 0.0 &&
      s->result[r].relative_residual <= o->tolerance)
    return MXS_REASON_TOLERANCE;
  if (o->method != MXS_METHOD_AUTO && s->trajectory[r].optim.number[MXS_OPTIM_STATIONARY] > 0.0)
    return MXS_REASON_STATIONARY;
  if (s->trajectory[r].count.iteration >= o->max_iterations)
    return MXS_REASON_TARGET;
  if (by_rule != MXS_REASON_RUNNING)
    return by_rule;
  if (requests->stop > 0)
    return MXS_REASON_STOPPED;
  return requests->walltime > 0 ? MXS_REASON_WALLTIME : MXS_REASON_RUNNING;
}

/* Visits as passes over all measurements, held-out ones included. */
static double passes_of(const mxs_problem *p, int64_t visits) {
  return (double)visits / (double)mxsi_measurements(p);
}

/* What the evaluation, which took `visits`, says of a trajectory. Only one of all measurements
 * tells whether it has come to its end. */
static void judge(
    mxs_solver *s, int64_t r, const mxs_requests *requests, int64_t visits, int whole) {
  mxsi_trajectory *t = &s->trajectory[r];
  const mxs_evaluation *at = &s->at[r];
  mxs_result *result = &s->result[r];
  result->iterations = t->count.iteration;
  result->loss = at->loss;
  result->validation_loss = at->validation_loss;
  result->relative_residual = mxsi_relative_residual(s->problem, at->loss);
  if (diverged(s->problem, t, at))
    result->reason = MXS_REASON_DIVERGED;
  else if (whole)
    result->reason = end_reason(s, r, requests);
  result->passes_over_A = passes_of(s->problem, t->extent.visits + visits);
  t->next_phase = t->phase;
}

static int is_regular(const mxs_solver *s, const mxsi_trajectory *t) {
  return t->count.iteration % s->options.metrics_every == 0;
}

/* The trajectories of this pass whose row is due. */
static int needs_row(const mxs_solver *s, int64_t r) {
  const mxsi_trajectory *t = &s->trajectory[r];
  return s->whole && !s->lost && !s->points[r].idle && s->result[r].reason != MXS_REASON_DIVERGED &&
         (is_regular(s, t) || s->result[r].reason != MXS_REASON_RUNNING);
}

/* Rows and state are the same on all ranks, so their time is that of rank 0. Collective. */
static void common_seconds(mxs_solver *s) {
  double seconds = MPI_Wtime() - s->clock;
  mxs_comm_bcast(s->problem->comm, &seconds, sizeof seconds, 0);
  for (int64_t r = 0; r < s->replicas; r++)
    if (!s->points[r].idle)
      s->trajectory[r].number.seconds = seconds;
}

double mxsi_solver_grad_norm(const mxs_solver *s, int64_t r) {
  const mxs_evaluation *at = &s->at[r];
  const int64_t k = s->trajectory[r].k;
  return hypot(mxs_la_frobenius(mxs_cview(at->gU, s->problem->n1, k)),
               mxs_la_frobenius(mxs_cview(at->gV, s->problem->n2, k)));
}

/* A row of metrics; the phase after it waits until the checkpoint has been written. */
static mxs_status report(mxs_solver *s, int64_t r, const mxs_hooks *hooks) {
  mxsi_trajectory *t = &s->trajectory[r];
  const mxs_evaluation *at = &s->at[r];
  const double begin = MPI_Wtime();
  const mxs_iterate iterate = {.iteration = t->count.iteration,
                               .gap_rank = t->count.gap_rank < t->k ? t->count.gap_rank : t->k,
                               .seconds = t->number.seconds,
                               .loss = at->loss,
                               .validation_loss = at->validation_loss,
                               .relative_residual = s->result[r].relative_residual,
                               .grad_norm = mxsi_solver_grad_norm(s, r),
                               .step = t->number.step,
                               .U = s->points[r].U,
                               .V = s->points[r].V};
  mxs_status status =
      mxs_metrics_row(t->metrics, &iterate, &t->next_phase, t->row, &s->result[r].rank_estimate);
  s->metrics_s += MPI_Wtime() - begin;
  if (status == MXS_OK && hooks->row != NULL)
    status = hooks->row(hooks->ctx, r, t->row);
  s->result[r].test_error = t->row[MXS_COLUMN_TEST_ERROR];
  return status;
}

/* The rows that are due. Collective. */
static mxs_status report_all(mxs_solver *s, const mxs_hooks *hooks, int checkpoint) {
  mxs_status status = MXS_OK;
  int any = checkpoint;
  for (int64_t r = 0; r < s->replicas; r++)
    any = any || needs_row(s, r);
  if (!any)
    return MXS_OK;
  common_seconds(s);
  for (int64_t r = 0; r < s->replicas && status == MXS_OK; r++)
    if (needs_row(s, r))
      status = report(s, r, hooks);
  return mxs_comm_agree(s->problem->comm, status);
}

/* The update of a trajectory that goes on. Collective. */
static mxs_status advance(mxs_solver *s, int64_t r) {
  mxsi_trajectory *t = &s->trajectory[r];
  mxs_optim *o = &t->optim;
  t->phase = t->next_phase;
  o->iteration = t->count.iteration++;
  o->step = t->number.step;
  o->s1 = t->number.s1;
  const mxs_status status =
      s->options.method == MXS_METHOD_AUTO ? mxsi_auto_advance(s) : t->rule->advance(o);
  mxs_objective_expect(s->objective, r, o->number[MXS_OPTIM_EXPECTED]);
  memcpy(t->scales, mxs_objective_scales(s->objective, r), sizeof t->scales);
  t->extent.visits = mxsi_solver_visits(s);
  t->count.passes = t->extent.visits / mxsi_measurements(s->problem);
  if (status == MXS_ERR_NUMERIC)
    s->result[r].reason = MXS_REASON_DIVERGED;
  return status == MXS_ERR_NUMERIC ? MXS_OK : status;
}

/* Points of the pass; returns the furthest iteration among them. */
static int64_t choose_points(mxs_solver *s) {
  int64_t furthest = 0;
  for (int64_t r = 0; r < s->replicas; r++) {
    const mxsi_trajectory *t = &s->trajectory[r];
    s->points[r].U = mxs_cview(t->optim.U, s->problem->n1, t->k);
    s->points[r].V = mxs_cview(t->optim.V, s->problem->n2, t->k);
    s->points[r].idle = s->result[r].reason != MXS_REASON_RUNNING;
    if (!s->points[r].idle && t->count.iteration > furthest)
      furthest = t->count.iteration;
  }
  return furthest;
}

static int64_t count_running(const mxs_solver *s) {
  int64_t running = 0;
  for (int64_t r = 0; r < s->replicas; r++)
    running += s->result[r].reason == MXS_REASON_RUNNING;
  return running;
}

mxs_reason mxs_reason_of_all(const mxs_result *results, int64_t count) {
  static const mxs_reason order[] = {
      MXS_REASON_STOPPED,    MXS_REASON_WALLTIME,    MXS_REASON_TARGET,   MXS_REASON_STATIONARY,
      MXS_REASON_VALIDATION, MXS_REASON_DISCREPANCY, MXS_REASON_TOLERANCE};
  for (size_t i = 0; i < sizeof order / sizeof *order; i++)
    for (int64_t r = 0; r < count; r++)
      if (results[r].reason == order[i])
        return order[i];
  return MXS_REASON_DIVERGED;
}

/* Tell of the trajectory that is furthest from the data. */
static void tell_progress(const mxs_solver *s, const mxs_hooks *hooks, int64_t iteration) {
  const mxs_result *worst = NULL;
  for (int64_t r = 0; r < s->replicas; r++) {
    const mxs_result *result = &s->result[r];
    if (!s->points[r].idle && result->reason != MXS_REASON_DIVERGED &&
        (worst == NULL || result->relative_residual > worst->relative_residual))
      worst = result;
  }
  if (worst != NULL && hooks->progress != NULL)
    hooks->progress(hooks->ctx, iteration, count_running(s), worst->loss, worst->relative_residual);
}

/* Evaluate f at the points, over all measurements where `whole` or the method knows nothing else.
 */
static mxs_status evaluate(mxs_solver *s, int64_t iteration, int whole, mxs_requests *requests) {
  const mxs_solve_options *o = &s->options;
  const mxsi_trajectory *t = &s->trajectory[0];
  mxs_sample sample = {.label_noise = o->label_noise, .seed = t->want.seed, .draw = iteration};
  if (o->method == MXS_METHOD_AUTO)
    mxsi_auto_sample(s, &sample);
  else if (!whole)
    mxs_optim_batch(s->problem, o, t->want.seed, iteration, &sample);
  mxs_objective_sample(s->objective, &sample);
  return mxs_objective_pass(s->objective, s->points, requests, s->at);
}

/* Stochastic methods look at all measurements only where a row is due. */
static int wants_whole(const mxs_solver *s, const mxs_requests *requests) {
  const mxsi_trajectory *t = &s->trajectory[0];
  return !t->rule->stochastic || is_regular(s, t) || requests->stop > 0 || requests->walltime > 0 ||
         t->count.iteration >= s->options.max_iterations;
}

/* The evaluation of an iteration, and what it says of the trajectories. A rank that asks for an end
 * brings about an evaluation of all measurements by all. Collective. */
static mxs_status examine(mxs_solver *s, int64_t iteration, mxs_requests *requests) {
  const int64_t before = mxsi_solver_visits(s);
  mxs_requests none = {0};
  s->whole = wants_whole(s, &none);
  MXS_TRY(evaluate(s, iteration, s->whole, requests));
  if (!s->whole && wants_whole(s, requests)) {
    s->whole = 1;
    MXS_TRY(evaluate(s, iteration, 1, &none));
  }
  const int64_t made = mxsi_solver_visits(s) - before;
  for (int64_t r = 0; r < s->replicas; r++)
    if (!s->points[r].idle)
      judge(s, r, requests, made, s->whole);
  return s->options.method == MXS_METHOD_AUTO ? mxsi_auto_judge(s) : MXS_OK;
}

/* Updates of those that go on; a stochastic one from a batch. Collective. */
static mxs_status advance_all(mxs_solver *s, int64_t iteration) {
  const mxsi_trajectory *first = &s->trajectory[0];
  mxs_requests none = {0};
  if (first->rule->stochastic && s->whole && count_running(s) > 0)
    MXS_TRY(evaluate(s, iteration, 0, &none));
  for (int64_t r = 0; r < s->replicas; r++)
    if (s->result[r].reason == MXS_REASON_RUNNING)
      MXS_TRY(advance(s, r));
  return MXS_OK;
}

/* One pass at the current factors, what follows from it, and a step for those that go on. */
static mxs_status iterate(mxs_solver *s, const mxs_hooks *hooks) {
  const int64_t iteration = choose_points(s);
  const int request = hooks->poll != NULL ? hooks->poll(hooks->ctx, iteration) : 0;
  mxs_requests requests = {(request & MXS_REQUEST_STOP) != 0,
                           (request & MXS_REQUEST_CHECKPOINT) != 0,
                           (request & MXS_REQUEST_WALLTIME) != 0};
  MXS_TRY(examine(s, iteration, &requests));
  const int ends = count_running(s) == 0;
  const mxs_reason reason = ends ? mxs_reason_of_all(s->result, s->replicas) : MXS_REASON_RUNNING;
  tell_progress(s, hooks, iteration);
  MXS_TRY(report_all(s, hooks, requests.checkpoint > 0));
  if (hooks->checkpoint != NULL && reason != MXS_REASON_DIVERGED &&
      (ends || requests.checkpoint > 0)) {
    const double begin = MPI_Wtime();
    MXS_TRY(hooks->checkpoint(hooks->ctx, iteration, reason));
    s->checkpoint_s += MPI_Wtime() - begin;
  }
  return advance_all(s, iteration);
}

static void collect(const mxs_solver *s, mxs_result *results) {
  for (int64_t r = 0; r < s->replicas; r++) {
    const mxsi_trajectory *t = &s->trajectory[r];
    results[r] = s->result[r];
    results[r].seconds = t->number.seconds;
    results[r].step = t->number.step;
    results[r].alpha = t->number.alpha;
    results[r].scale2 = s->problem->scale2;
    results[r].s1 = t->number.s1;
  }
}

static mxs_status answer(mxs_solver *s, mxs_result *results) {
  for (int64_t r = 0; r < s->replicas; r++)
    if (results[r].reason != MXS_REASON_DIVERGED)
      MXS_TRY(mxsi_stop_answer(s, r, &results[r]));
  return MXS_OK;
}

void mxsi_solver_tell(const mxs_solver *s, int warning, const char *format, ...) {
  char text[512];
  va_list values;
  if (s->hooks == NULL || s->hooks->tell == NULL)
    return;
  va_start(values, format);
  (void)vsnprintf(text, sizeof text, format, values);
  va_end(values);
  s->hooks->tell(s->hooks->ctx, s->trajectory[0].count.iteration, warning, text);
}

mxs_status mxs_solver_run(mxs_solver *s, const mxs_hooks *hooks, mxs_result *results) {
  const mxs_hooks none = {0};
  double seconds = 0.0;
  hooks = hooks != NULL ? hooks : &none;
  for (int64_t r = 0; r < s->replicas; r++) {
    s->result[r] = (mxs_result){.best_iteration = -1,
                                .loss = (double)NAN,
                                .validation_loss = (double)NAN,
                                .test_error = (double)NAN};
    seconds = fmax(seconds, s->trajectory[r].number.seconds);
  }
  s->clock = MPI_Wtime() - seconds;
  s->hooks = hooks;
  mxs_status status =
      s->trajectory[0].count.started == 0 ? mxsi_solver_start(s) : mxs_solver_restored(s);
  while (status == MXS_OK && count_running(s) > 0)
    status = iterate(s, hooks);
  s->hooks = NULL;
  collect(s, results);
  if (status != MXS_OK)
    return status;
  return mxs_comm_agree(s->problem->comm, answer(s, results));
}
