#include "mxsense/solve.h"

#include "base/random.h"
#include "la/la.h"
#include "metrics/metrics.h"
#include "objective/objective.h"
#include "spectral/spectral.h"

#include <math.h>
#include <string.h>

enum { MOST_SINGULAR_VALUES = 10, ARRAYS = 9, COUNTERS = 4, NUMBERS = 5 };

/* Loss beyond this multiple of the larger of its first value and f(0, 0) is divergence. */
#define DIVERGED 1e6

/* Integers and numbers of the state, as saved. */
typedef struct counters {
  int64_t started, iteration, passes, gap_rank;
} counters;

typedef struct numbers {
  double seconds, step, alpha, s1, loss_start;
} numbers;

struct mxs_solver {
  mxs_problem *problem;
  mxs_solve_options options;
  mxs_objective *objective;
  mxs_spectrum spectrum;
  mxs_metrics *metrics;
  double *U, *V;
  double *start_U, *start_V; /* given start factors, or NULL */
  double *row;
  /* As they were before the pass of counters.iteration: what a checkpoint holds. */
  counters count;
  numbers number;
  mxs_phase phase;
  int64_t scales[MXS_OBJECTIVE_SCALES];
  mxs_array arrays[ARRAYS];
  double clock; /* MPI_Wtime() at which number.seconds would be 0 */
  int64_t
      passes_before; /* passes that the objective of this process had made at count.passes = 0 */
  double metrics_s, checkpoint_s;
};

mxs_solve_options mxs_solve_defaults(void) {
  return (mxs_solve_options){.alpha = (double)NAN,
                             .step = (double)NAN,
                             .max_iterations = 10000,
                             .tolerance = 1e-8,
                             .metrics_every = 10,
                             .reduction = MXS_REDUCTION_REPRODUCIBLE,
                             .svd = MXS_SVD_AUTO};
}

const char *mxs_reason_text(mxs_reason reason) {
  switch (reason) {
  case MXS_REASON_RUNNING:
    return "running";
  case MXS_REASON_TARGET:
    return "target";
  case MXS_REASON_TOLERANCE:
    return "tolerance";
  case MXS_REASON_STOPPED:
    return "stopped";
  case MXS_REASON_DIVERGED:
    return "diverged";
  }
  return "unknown";
}

static mxs_status check_options(const mxs_problem *p, const mxs_solve_options *o) {
  if (!isnan(o->alpha) && !(o->alpha > 0.0 && isfinite(o->alpha)))
    return mxs_fail(MXS_ERR_SETTINGS, "alpha = %g: must be positive", o->alpha);
  if (!isnan(o->step) && !(o->step > 0.0 && isfinite(o->step)))
    return mxs_fail(MXS_ERR_SETTINGS, "step = %g: must be positive", o->step);
  if (o->max_iterations < 0)
    return mxs_fail(MXS_ERR_SETTINGS, "max_iterations = %lld: must not be negative",
                    (long long)o->max_iterations);
  if (!(o->tolerance >= 0.0 && isfinite(o->tolerance)))
    return mxs_fail(MXS_ERR_SETTINGS, "tolerance = %g: must not be negative", o->tolerance);
  if (o->metrics_every < 1)
    return mxs_fail(MXS_ERR_SETTINGS, "metrics_every = %lld: must be positive",
                    (long long)o->metrics_every);
  if (o->singular_values < 0 || o->singular_values > 1000000)
    return mxs_fail(MXS_ERR_SETTINGS, "singular_values = %lld is not in 0 .. 1000000",
                    (long long)o->singular_values);
  if (o->svd == MXS_SVD_SCALAPACK && o->reduction != MXS_REDUCTION_FAST)
    return mxs_fail(MXS_ERR_SETTINGS,
                    "svd = scalapack gives other bits for other numbers of ranks: it needs "
                    "reduction = fast, or use svd = replicated");
  if (o->start_U.a != NULL && (o->start_U.rows != p->n1 || o->start_V.rows != p->n2 ||
                               o->start_U.cols != p->k || o->start_V.cols != p->k))
    return mxs_fail(
        MXS_ERR_DATA,
        "start factors are %lld x %lld and %lld x %lld, expected %lld x %lld and %lld x %lld",
        (long long)o->start_U.rows, (long long)o->start_U.cols, (long long)o->start_V.rows,
        (long long)o->start_V.cols, (long long)p->n1, (long long)p->k, (long long)p->n2,
        (long long)p->k);
  return MXS_OK;
}

static mxs_status copy_start(mxs_cmat from, const char *name, double **out) {
  MXS_TRY(mxs_alloc(from.rows * from.cols, sizeof **out, out));
  for (int64_t i = 0; i < from.rows; i++)
    for (int64_t j = 0; j < from.cols; j++) {
      const double value = from.a[i * from.ld + j];
      if (!isfinite(value))
        return mxs_fail(MXS_ERR_DATA, "start factor %s[%lld, %lld] is %g: it must be finite", name,
                        (long long)i, (long long)j, value);
      (*out)[i * from.cols + j] = value;
    }
  return MXS_OK;
}

/* Every array of the state, by the name it has in a checkpoint. */
static void list_arrays(mxs_solver *s) {
  const mxs_problem *p = s->problem;
  const mxs_spectrum *spectrum = &s->spectrum;
  const mxs_array arrays[ARRAYS] = {
      {"factors/U", 0, p->n1, p->k, s->U},
      {"factors/V", 0, p->n2, p->k, s->V},
      {"state/counters", 1, 1, COUNTERS, &s->count},
      {"state/numbers", 0, 1, NUMBERS, &s->number},
      {"state/phase", 0, 1, MXS_PHASE_NUMBERS, &s->phase},
      {"state/scales", 1, 1, MXS_OBJECTIVE_SCALES, s->scales},
      {"state/data_values", 0, 1, spectrum->count, spectrum->s},
      {"state/data_left", 0, p->n1, spectrum->count, spectrum->left},
      {"state/data_right", 0, p->n2, spectrum->count, spectrum->right},
  };
  memcpy(s->arrays, arrays, sizeof arrays);
}

static mxs_status allocate(mxs_solver *s) {
  const mxs_problem *p = s->problem;
  const mxs_solve_options *o = &s->options;
  const int64_t most = p->k < MOST_SINGULAR_VALUES ? p->k : MOST_SINGULAR_VALUES;
  const char *const *names = NULL;
  MXS_TRY(mxs_alloc(p->n1 * p->k, sizeof *s->U, &s->U));
  MXS_TRY(mxs_alloc(p->n2 * p->k, sizeof *s->V, &s->V));
  MXS_TRY(mxs_spectrum_create(p, &s->spectrum));
  MXS_TRY(mxs_metrics_create(p, &s->spectrum, o->singular_values > 0 ? o->singular_values : most,
                             &s->metrics));
  MXS_TRY(mxs_alloc(mxs_metrics_columns(s->metrics, &names), sizeof *s->row, &s->row));
  if (o->start_U.a != NULL) {
    MXS_TRY(copy_start(o->start_U, "U", &s->start_U));
    MXS_TRY(copy_start(o->start_V, "V", &s->start_V));
  }
  list_arrays(s);
  return MXS_OK;
}

mxs_status mxs_solver_create(mxs_problem *problem,
                             const mxs_solve_options *options,
                             mxs_solver **solver) {
  *solver = NULL;
  MXS_TRY(check_options(problem, options));
  mxs_solver *s = NULL;
  mxs_status status = mxs_alloc(1, sizeof *s, &s);
  if (status == MXS_OK) {
    s->problem = problem;
    s->options = *options;
    status = allocate(s);
  }
  status = mxs_comm_agree(problem->comm, status);
  if (status == MXS_OK)
    status = mxs_objective_create(problem, options->reduction, &s->objective);
  if (status != MXS_OK)
    mxs_solver_destroy(&s);
  *solver = s;
  return status;
}

/* In doubles: the factors, the leading singular vectors, and of the reduction a leaf, its sum, two
 * limbs and the scaled sum. Where n1 x n2 is formed: X and G, and while the back-projection is
 * taken apart S, its reduction, and LAPACK's copy. */
double mxs_solver_bytes(int64_t n1, int64_t n2, int64_t k, int dense) {
  const double factors = (double)(n1 + n2) * (double)k;
  const double entries = (double)n1 * (double)n2;
  const double leaf = dense && factors >= entries ? entries : factors;
  return 8.0 * (2.0 * factors + 5.0 * leaf + (dense ? 8.0 : 6.0) * entries);
}

void mxs_solver_destroy(mxs_solver **solver) {
  mxs_solver *s = *solver;
  if (s == NULL)
    return;
  mxs_objective_destroy(&s->objective);
  mxs_spectrum_clear(&s->spectrum);
  mxs_metrics_destroy(&s->metrics);
  mxs_release(&s->U);
  mxs_release(&s->V);
  mxs_release(&s->start_U);
  mxs_release(&s->start_V);
  mxs_release(&s->row);
  mxs_release(solver);
}

void mxs_solver_factors(const mxs_solver *s, mxs_cmat *U, mxs_cmat *V) {
  *U = mxs_cview(s->U, s->problem->n1, s->problem->k);
  *V = mxs_cview(s->V, s->problem->n2, s->problem->k);
}

int64_t mxs_solver_columns(const mxs_solver *s, const char *const **names) {
  return mxs_metrics_columns(s->metrics, names);
}

int64_t mxs_solver_state(mxs_solver *s, mxs_array **arrays) {
  *arrays = s->arrays;
  return ARRAYS;
}

static void random_factor(
    uint64_t seed, mxs_stream stream, double alpha, int64_t rows, int64_t k, double *factor) {
  for (int64_t i = 0; i < rows; i++)
    mxs_random_gaussian_row(seed, stream, i, k, factor + i * k);
  for (int64_t i = 0; i < rows * k; i++)
    factor[i] *= alpha;
}

/* Spectrum, automatic settings and the start: once in the life of a run. Collective. */
static mxs_status start(mxs_solver *s) {
  const mxs_problem *p = s->problem;
  const mxs_solve_options *o = &s->options;
  MXS_TRY(mxs_spectrum_compute(s->problem, s->objective, o->svd, o->reduction, &s->spectrum));
  const double s1 = s->spectrum.s[0];
  const double top = s1 / p->scale2;
  const double automatic_alpha = top > 0.0 && isfinite(top) ? 1e-3 * sqrt(top) : 1e-3;
  s->number.s1 = s1;
  s->number.alpha = isnan(o->alpha) ? automatic_alpha : o->alpha;
  s->number.step = !isnan(o->step) ? o->step : s1 > 0.0 ? 0.25 / s1 : 1.0;
  s->number.loss_start = (double)NAN;
  s->count.gap_rank = s->spectrum.gap_rank;
  if (s->start_U != NULL) {
    memcpy(s->U, s->start_U, (size_t)(p->n1 * p->k) * sizeof *s->U);
    memcpy(s->V, s->start_V, (size_t)(p->n2 * p->k) * sizeof *s->V);
  } else {
    random_factor(o->seed, MXS_STREAM_START_U, s->number.alpha, p->n1, p->k, s->U);
    random_factor(o->seed, MXS_STREAM_START_V, s->number.alpha, p->n2, p->k, s->V);
  }
  memcpy(s->scales, mxs_objective_scales(s->objective), sizeof s->scales);
  s->count.passes = mxs_objective_get_profile(s->objective).passes - s->passes_before;
  s->count.started = 1;
  return MXS_OK;
}

static mxs_status check_restored(const mxs_solver *s) {
  if (s->count.started != 1 || s->count.iteration < 0 || s->count.gap_rank < 1 ||
      s->count.gap_rank > s->spectrum.count || !(s->number.step > 0.0))
    return mxs_fail(MXS_ERR_DATA,
                    "the saved state does not make sense: it was not written by a solver");
  return MXS_OK;
}

mxs_status mxs_solver_restored(mxs_solver *s) {
  MXS_TRY(mxs_comm_agree(s->problem->comm, check_restored(s)));
  s->spectrum.gap_rank = s->count.gap_rank;
  memcpy(mxs_objective_scales(s->objective), s->scales, sizeof s->scales);
  s->passes_before = mxs_objective_get_profile(s->objective).passes - s->count.passes;
  return MXS_OK;
}

static double relative_residual(const mxs_problem *p, double loss) {
  return p->y_norm2 > 0.0 ? sqrt(2.0 * (double)p->m_train * loss / p->y_norm2) : 0.0;
}

/* Squares of factors that left the range of doubles are as good as a NaN in the loss. */
static int diverged(mxs_solver *s, const mxs_evaluation *at) {
  const mxs_problem *p = s->problem;
  if (at->nonfinite || !isfinite(at->loss))
    return 1;
  for (int64_t i = 0; i < p->n1 * p->k; i++)
    if (!isfinite(at->gU[i]))
      return 1;
  for (int64_t i = 0; i < p->n2 * p->k; i++)
    if (!isfinite(at->gV[i]))
      return 1;
  if (isnan(s->number.loss_start))
    s->number.loss_start = at->loss;
  const double zero = p->y_norm2 / (2.0 * (double)p->m_train);
  return at->loss > DIVERGED * fmax(s->number.loss_start, zero);
}

static mxs_reason end_reason(const mxs_solver *s, const mxs_evaluation *at) {
  const mxs_solve_options *o = &s->options;
  if (o->tolerance > 0.0 && relative_residual(s->problem, at->loss) <= o->tolerance)
    return MXS_REASON_TOLERANCE;
  if (s->count.iteration >= o->max_iterations)
    return MXS_REASON_TARGET;
  return at->stop > 0 ? MXS_REASON_STOPPED : MXS_REASON_RUNNING;
}

/* Rows and state are the same on all ranks, so their time is that of rank 0. Collective. */
static void common_seconds(mxs_solver *s) {
  s->number.seconds = MPI_Wtime() - s->clock;
  mxs_comm_bcast(s->problem->comm, &s->number.seconds, sizeof s->number.seconds, 0);
}

/* A row of metrics; moves `phase` on. */
static mxs_status report(mxs_solver *s,
                         const mxs_hooks *hooks,
                         const mxs_evaluation *at,
                         mxs_phase *phase,
                         mxs_result *result) {
  const mxs_problem *p = s->problem;
  const double begin = MPI_Wtime();
  mxs_iterate iterate = {.iteration = s->count.iteration,
                         .seconds = s->number.seconds,
                         .loss = at->loss,
                         .validation_loss = at->validation_loss,
                         .relative_residual = relative_residual(p, at->loss),
                         .grad_norm = hypot(mxs_la_frobenius(mxs_cview(at->gU, p->n1, p->k)),
                                            mxs_la_frobenius(mxs_cview(at->gV, p->n2, p->k))),
                         .step = s->number.step};
  mxs_solver_factors(s, &iterate.U, &iterate.V);
  mxs_status status = mxs_metrics_row(s->metrics, &iterate, phase, s->row, &result->rank_estimate);
  s->metrics_s += MPI_Wtime() - begin;
  if (status == MXS_OK && hooks->row != NULL)
    status = hooks->row(hooks->ctx, s->row);
  result->test_error = s->row[MXS_COLUMN_TEST_ERROR];
  return mxs_comm_agree(p->comm, status);
}

static void descend(mxs_solver *s, const mxs_evaluation *at) {
  const mxs_problem *p = s->problem;
  const double step = s->number.step;
  for (int64_t i = 0; i < p->n1 * p->k; i++)
    s->U[i] -= step * at->gU[i];
  for (int64_t i = 0; i < p->n2 * p->k; i++)
    s->V[i] -= step * at->gV[i];
}

/* One pass at the current factors, what follows from it, and unless it is the end the step. */
static mxs_status iterate(mxs_solver *s, const mxs_hooks *hooks, mxs_result *result) {
  mxs_evaluation at = {0};
  mxs_cmat U = {0};
  mxs_cmat V = {0};
  const int64_t t = s->count.iteration;
  mxs_solver_factors(s, &U, &V);
  const int request = hooks->poll != NULL ? hooks->poll(hooks->ctx, t) : 0;
  MXS_TRY(mxs_objective_pass(s->objective, U, V, (request & MXS_REQUEST_STOP) != 0,
                             (request & MXS_REQUEST_CHECKPOINT) != 0, &at));
  result->iterations = t;
  result->loss = at.loss;
  result->validation_loss = at.validation_loss;
  result->relative_residual = relative_residual(s->problem, at.loss);
  if (diverged(s, &at)) {
    result->reason = MXS_REASON_DIVERGED;
    return MXS_OK;
  }
  result->reason = end_reason(s, &at);
  const int ends = result->reason != MXS_REASON_RUNNING;
  const int regular = t % s->options.metrics_every == 0;
  mxs_phase phase = s->phase;
  if (regular || ends || at.checkpoint > 0)
    common_seconds(s);
  if (hooks->progress != NULL)
    hooks->progress(hooks->ctx, t, at.loss, result->relative_residual);
  if (regular || ends)
    MXS_TRY(report(s, hooks, &at, &phase, result));
  if (hooks->checkpoint != NULL && (ends || at.checkpoint > 0)) {
    const double begin = MPI_Wtime();
    MXS_TRY(hooks->checkpoint(hooks->ctx, t, result->reason));
    s->checkpoint_s += MPI_Wtime() - begin;
  }
  if (ends)
    return MXS_OK;
  if (regular)
    s->phase = phase;
  memcpy(s->scales, mxs_objective_scales(s->objective), sizeof s->scales);
  s->count.passes = mxs_objective_get_profile(s->objective).passes - s->passes_before;
  descend(s, &at);
  s->count.iteration++;
  return MXS_OK;
}

mxs_status mxs_solver_run(mxs_solver *s, const mxs_hooks *hooks, mxs_result *result) {
  const mxs_hooks none = {0};
  hooks = hooks != NULL ? hooks : &none;
  *result =
      (mxs_result){.loss = (double)NAN, .validation_loss = (double)NAN, .test_error = (double)NAN};
  s->clock = MPI_Wtime() - s->number.seconds;
  if (s->count.started == 0)
    MXS_TRY(start(s));
  else
    MXS_TRY(mxs_solver_restored(s));
  mxs_status status = MXS_OK;
  while (status == MXS_OK && result->reason == MXS_REASON_RUNNING)
    status = iterate(s, hooks, result);
  const mxs_objective_profile profile = mxs_objective_get_profile(s->objective);
  result->passes_over_A = (double)(profile.passes - s->passes_before);
  result->seconds = s->number.seconds;
  result->step = s->number.step;
  result->alpha = s->number.alpha;
  result->scale2 = s->problem->scale2;
  result->s1 = s->number.s1;
  result->compute_s = profile.compute_s;
  result->reduce_s = profile.reduce_s;
  result->reduce_bytes = profile.reduce_bytes;
  result->metrics_s = s->metrics_s;
  result->checkpoint_s = s->checkpoint_s;
  return status;
}
