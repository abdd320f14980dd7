/* | symbol | meaning                                                                           |
 * |--------|-----------------------------------------------------------------------------------|
 * | E      | sqrt(n1) + sqrt(n2): ||sum_i z_i A_i|| ~ ||z|| E scale for independent z           |
 * | p      | degrees of freedom at rank k: k (n1 + n2 - k), or k (2 n - k + 1) / 2 if symmetric |
 * | edge   | E ||R|| scale / m: what noise alone gives the largest singular value of G           |
 */
#include "solve/auto.h"

#include "la/la.h"
#include "solve/certificate.h"
#include "solve/solve_impl.h"

#include <math.h>
#include <string.h>

enum {
  MOST_STEPS = 40,    /* of an attempt */
  MOST_WEIGHTED = 60, /* with log-det weights */
  SLOW = 8,           /* after which a weak direction is one too many */
  MOST_DESCENT = 400,
  PATIENCE = 25,   /* of the descent */
  MOST_RAISED = 8, /* directions at a time */
  PREFIX = 16      /* measurements of the first prefix, times n1 + n2 */
};

#define STANDS_OUT_START 1.05
#define STANDS_OUT 1.10
#define GAIN_TO_RAISE 0.5 /* no other rank while a step takes more of ||R||^2 */
#define GAIN_AT_REST 1e-4
#define SLOW_GAIN 0.02    /* of steps that fit noise to a weak direction */
#define STEP_AT_REST 1e-4 /* of X: what is left after a Newton step is about its square */
#define AT_REST 0.02      /* gradient step, beside the error that noise makes */
#define EXACT 1e-12
#define ROUNDING 1e-10  /* relative residual that only rounding keeps from falling */
#define NEGLIGIBLE 1e-8 /* singular values, of an exact fit */
#define WEAK 1.6        /* of the noise edge */
#define SMALL_START 1e-6
#define HOPELESS 10.0  /* loss beyond this multiple of that of X = 0 ends an attempt */
#define POLISHED 1e-10 /* steps below this part of X */
#define WORTH 1e-4     /* least relative fall of the held-out loss of the descent */
#define LEAST_GAP 1e-3 /* singular values below this part of the first are no signal */

static mxsi_trajectory *only(mxs_solver *s) {
  return &s->trajectory[0];
}

static double edge_factor(const mxs_solver *s) {
  const mxs_problem *p = s->problem;
  return (sqrt((double)p->n1) + sqrt((double)p->n2)) * sqrt(p->scale2);
}

/* Largest rank that m measurements can tell, and that there is room for. */
static int64_t most_columns(const mxs_solver *s, double m) {
  int64_t k = 1;
  while (k < s->problem->k && 1.02 * (double)mxsi_freedom(s, k + 1) < m)
    k++;
  return k;
}

static double singular_value(const mxs_solver *s, int64_t j) {
  const mxsi_trajectory *t = &s->trajectory[0];
  double u = 0.0;
  double v = 0.0;
  for (int64_t i = 0; i < s->problem->n1; i++)
    u += t->optim.U[i * t->k + j] * t->optim.U[i * t->k + j];
  for (int64_t i = 0; i < s->problem->n2; i++)
    v += t->optim.V[i * t->k + j] * t->optim.V[i * t->k + j];
  return sqrt(u * v);
}

void mxsi_auto_begin(mxs_solver *s) {
  const mxs_problem *p = s->problem;
  const mxs_blocks *blocks = &p->train.blocks;
  const int64_t rows = PREFIX * (p->n1 + p->n2);
  const int64_t wanted = (rows + blocks->rows - 1) / blocks->rows;
  s->automatic = (mxsi_auto){.attempt = 1};
  s->automatic_numbers = (mxsi_auto_numbers){.kept = (double)INFINITY};
  if (s->options.progressive && 4 * wanted <= blocks->count)
    s->automatic.window = wanted;
}

/* Canonical blocks whose Jacobian fits into memory; 0: all. */
static int64_t capacity(const mxs_solver *s) {
  const mxs_blocks *blocks = &s->problem->train.blocks;
  const double block =
      (double)mxs_objective_jacobian_row_bytes(s->objective) * (double)blocks->rows;
  const double fit = block > 0.0 ? s->options.jacobian_memory / block : (double)INFINITY;
  return fit >= (double)blocks->count ? 0 : fit > 1.0 ? (int64_t)fit : 1;
}

/* Was the evaluation of all measurements? */
static int covers_all(const mxs_solver *s) {
  return s->automatic.plain || (s->automatic.window == 0 && capacity(s) == 0);
}

void mxsi_auto_sample(const mxs_solver *s, mxs_sample *sample) {
  const mxsi_auto *a = &s->automatic;
  *sample = (mxs_sample){.count = a->plain ? 0 : a->window, .keep_nothing = a->plain != 0};
  if (a->plain || s->trajectory[0].extent.stage != MXSI_STAGE_PURSUE ||
      s->trajectory[0].count.started == 0)
    return;
  const int64_t most = capacity(s);
  if (most > 0 && (sample->count == 0 || sample->count > most))
    sample->count = most;
}

/* Factors of k columns for a stage, all zero, and the workspace for them. Collective. */
static mxs_status enter(mxs_solver *s, int64_t stage, int64_t k) {
  mxsi_trajectory *t = only(s);
  t->extent.stage = stage;
  MXS_TRY(mxs_comm_agree(s->problem->comm, mxsi_solver_set_columns(s, 0, k)));
  MXS_TRY(mxsi_solver_set_objective(s));
  memcpy(t->scales, mxs_objective_scales(s->objective, 0), sizeof t->scales);
  t->number.step = mxs_rule_step(t->rule, s->problem, &s->options, k, t->number.s1);
  mxsi_solver_list_arrays(s);
  return MXS_OK;
}

/* A stage at given factors, which are not those of the trajectory. Collective. */
static mxs_status enter_at(
    mxs_solver *s, int64_t stage, int64_t k, const double *U, const double *V) {
  const mxs_problem *p = s->problem;
  const mxs_optim *o = &only(s)->optim;
  MXS_TRY(enter(s, stage, k));
  memcpy(o->U, U, (size_t)(p->n1 * k) * sizeof *U);
  memcpy(o->V, V, (size_t)(p->n2 * k) * sizeof *V);
  return MXS_OK;
}

/* Factors as they are, moved by another rule. Collective. */
static mxs_status enter_polish(mxs_solver *s) {
  const mxs_problem *p = s->problem;
  const mxsi_trajectory *t = only(s);
  const int64_t left = p->n1 * t->k;
  const int64_t right = p->n2 * t->k;
  double *copy = NULL;
  MXS_TRY(mxs_comm_agree(p->comm, mxs_alloc(left + right, sizeof *copy, &copy)));
  memcpy(copy, t->optim.U, (size_t)left * sizeof *copy);
  memcpy(copy + left, t->optim.V, (size_t)right * sizeof *copy);
  mxsi_solver_tell(s, 0,
                   "gradient steps on all measurements: their Jacobian takes more than "
                   "jacobian_memory");
  s->automatic.steps = 0;
  const mxs_status status = enter_at(s, MXSI_STAGE_POLISH, t->k, copy, copy + left);
  mxs_release(&copy);
  return status;
}

/* The stage of pursuit at the leading k columns of U V^T, and `more` triplets (n x count each, from
 * their first column) with values times `unit`. Collective. */
static mxs_status enter_pursuit(
    mxs_solver *s, int64_t keep, const mxs_outside *from, int64_t more, double unit) {
  const mxs_problem *p = s->problem;
  mxsi_trajectory *t = only(s);
  const int64_t old = t->k;
  const int64_t k = keep + more;
  const int64_t rows[2] = {p->n1, p->n2};
  const double sign = unit < 0.0 ? -1.0 : 1.0;
  double *copy = NULL;
  MXS_TRY(mxs_comm_agree(p->comm, mxs_alloc((p->n1 + p->n2) * k, sizeof *copy, &copy)));
  for (int side = 0; side < 2; side++) {
    const double *F = side == 0 ? t->optim.U : t->optim.V;
    double *to = copy + (side == 0 ? 0 : p->n1 * k);
    for (int64_t i = 0; i < rows[side]; i++) {
      for (int64_t j = 0; j < keep; j++)
        to[i * k + j] = F[i * old + j];
      for (int64_t j = 0; j < more; j++)
        to[i * k + keep + j] = (side == 0 ? sign * from->left[i * from->count + j]
                                          : from->right[i * from->count + j]) *
                               sqrt(from->s[j] * fabs(unit));
    }
  }
  mxs_status status = enter_at(s, MXSI_STAGE_PURSUE, k, copy, copy + p->n1 * k);
  if (status == MXS_OK)
    status = mxs_comm_agree(p->comm, t->rule->prepare(&t->optim));
  mxs_release(&copy);
  return status;
}

/* Start at the leading k triplets of A*(y). Collective. */
static mxs_status enter_spectral(mxs_solver *s, int64_t k) {
  const mxs_spectrum *spectrum = &s->spectrum;
  const mxs_outside from = {spectrum->count, spectrum->s, spectrum->left, spectrum->right};
  s->automatic.steps = 0;
  s->automatic.lowered = 0;
  return enter_pursuit(s, 0, &from, k, 1.0 / s->problem->scale2);
}

/* `margin`: the first singular value of A*(y) beside the noise edge. */
static void warn_of_few(const mxs_solver *s, double margin) {
  const mxs_problem *p = s->problem;
  const int few = p->m_train < p->n1 + p->n2;
  if (!few && margin > STANDS_OUT)
    return;
  mxsi_solver_tell(s, 1,
                   "%lld measurements to fit may be too few%s: a matrix takes about three for each "
                   "degree of freedom, %lld for rank 1 and %lld for rank 2, and more where they "
                   "are noisy",
                   (long long)p->m_train,
                   few ? "" : ", since no direction of their back-projection stands out of noise",
                   3 * (long long)mxsi_freedom(s, 1), 3 * (long long)mxsi_freedom(s, 2));
}

mxs_status mxsi_auto_start(mxs_solver *s) {
  const mxs_problem *p = s->problem;
  const double m =
      (double)p->m_train *
      (s->automatic.window > 0 ? (double)s->automatic.window / (double)p->train.blocks.count : 1.0);
  const double edge = edge_factor(s) * sqrt(p->y_norm2 / (double)p->m_train / m);
  const int64_t most = most_columns(s, m);
  int64_t k = 1;
  while (k < most && k < s->spectrum.count && s->spectrum.s[k] > STANDS_OUT_START * edge)
    k++;
  warn_of_few(s, s->spectrum.s[0] / edge);
  if (s->automatic.window > 0)
    mxsi_solver_tell(s, 0, "begins with a part of the measurements: %lld of %lld blocks",
                     (long long)s->automatic.window, (long long)p->train.blocks.count);
  mxsi_solver_tell(
      s, 0,
      "attempt 1: rank %lld, directions of the back-projection of y that stand out of noise, the "
      "weakest %.3g times",
      (long long)k, s->spectrum.s[k - 1] / edge);
  return enter_spectral(s, k);
}

/* Size of a Riemannian gradient step beside X. */
static double relative_step(const mxs_solver *s) {
  const mxs_problem *p = s->problem;
  const mxsi_trajectory *t = &s->trajectory[0];
  const mxs_evaluation *at = &s->at[0];
  double step = 0.0;
  double size = 0.0;
  for (int64_t j = 0; j < t->k; j++) {
    const double value = singular_value(s, j);
    double g = 0.0;
    for (int64_t i = 0; i < p->n1; i++)
      g += at->gU[i * t->k + j] * at->gU[i * t->k + j];
    for (int64_t i = 0; i < p->n2; i++)
      g += at->gV[i * t->k + j] * at->gV[i * t->k + j];
    step += g / value;
    size += value * value;
  }
  return sqrt(step / size) / p->scale2;
}

/* The fit that the evaluation is of, but for what is outside of its tangent space. */
static mxs_fit describe(const mxs_solver *s) {
  const mxs_problem *p = s->problem;
  const mxsi_trajectory *t = &s->trajectory[0];
  const mxs_evaluation *at = &s->at[0];
  double square = 0.0;
  for (int64_t j = 0; j < t->k; j++)
    square += singular_value(s, j) * singular_value(s, j);
  return (mxs_fit){.n1 = p->n1,
                   .n2 = p->n2,
                   .rank = t->k,
                   .freedom = mxsi_freedom(s, t->k),
                   .m = at->train,
                   .held = at->held,
                   .scale2 = p->scale2,
                   .y_mean2 = p->y_norm2 / (double)p->m_train,
                   .loss = at->loss,
                   .validation = at->validation_loss,
                   .norm = sqrt(square),
                   .smallest = singular_value(s, t->k - 1)};
}

/* Does the fit reproduce y as well as arithmetic lets it? */
static int is_exact(const mxs_solver *s) {
  const double r = mxsi_relative_residual(s->problem, s->at[0].loss);
  return r <= EXACT || (r <= ROUNDING && s->at[0].loss > 0.25 * s->automatic_numbers.before);
}

static int64_t negligible(const mxs_solver *s) {
  const mxsi_trajectory *t = &s->trajectory[0];
  int64_t count = 0;
  while (count < t->k - 1 &&
         singular_value(s, t->k - 1 - count) < NEGLIGIBLE * singular_value(s, 0))
    count++;
  return count;
}

/* The verdict on the point of the evaluation. What the noise does to the error is known of a fit
 * at rest only: elsewhere the residual has other reasons. Collective. */
static mxs_status certify(mxs_solver *s, mxs_certificate *certificate) {
  mxs_fit fit = describe(s);
  if (s->at[0].G != NULL)
    MXS_TRY(mxs_comm_agree(s->problem->comm,
                           mxs_optim_outside(&s->trajectory[0].optim, 1, &fit.outside)));
  *certificate = mxs_certify(&fit);
  MXS_TRY(mxs_look_closer(s->objective, s->problem, &s->points[0], &fit, certificate));
  if (certificate->status == MXS_RECOVERED_UP_TO_NOISE &&
      !(relative_step(s) <= AT_REST * certificate->relative_error)) {
    certificate->status = MXS_NOT_CERTIFIED;
    certificate->doubt = MXS_DOUBT_UNFINISHED;
  }
  certificate->given = s->problem->m_validation > 0;
  return MXS_OK;
}

/* A run that ends in the middle of the search has a verdict only if it is good. Collective. */
static mxs_status certify_early(mxs_solver *s, mxs_certificate *certificate) {
  const mxsi_trajectory *t = &s->trajectory[0];
  const double unknown = (double)NAN;
  *certificate = (mxs_certificate){.given = s->problem->m_validation > 0,
                                   .rank = t->k,
                                   .relative_error = unknown,
                                   .low = unknown,
                                   .high = unknown,
                                   .bound = (double)INFINITY,
                                   .noise_std = unknown};
  if (t->extent.stage == MXSI_STAGE_PURSUE)
    MXS_TRY(certify(s, certificate));
  if (certificate->status == MXS_NOT_CERTIFIED)
    certificate->doubt = MXS_DOUBT_UNFINISHED;
  return MXS_OK;
}

mxs_status mxsi_auto_judge(mxs_solver *s) {
  const mxsi_auto *a = &s->automatic;
  const mxsi_trajectory *t = &s->trajectory[0];
  mxs_result *result = &s->result[0];
  const int last = (a->attempt > 4 && a->plain) || s->problem->y_norm2 == 0.0;
  const double zero = s->problem->y_norm2 / (2.0 * (double)s->problem->m_train);
  const int hopeless = result->reason == MXS_REASON_DIVERGED ||
                       (result->reason == MXS_REASON_RUNNING && s->at[0].loss > HOPELESS * zero);
  s->lost = hopeless && !last;
  result->certificate.given = 0;
  if (s->lost)
    result->reason = MXS_REASON_RUNNING;
  if (s->lost || result->reason == MXS_REASON_DIVERGED)
    return MXS_OK;
  if (!last && result->reason != MXS_REASON_RUNNING)
    return certify_early(s, &result->certificate);
  if (!last &&
      !(t->extent.stage == MXSI_STAGE_PURSUE && is_exact(s) && covers_all(s) && negligible(s) == 0))
    return MXS_OK;
  MXS_TRY(certify(s, &result->certificate));
  if (result->reason != MXS_REASON_RUNNING)
    return MXS_OK;
  if (result->certificate.status == MXS_RECOVERED)
    result->reason = MXS_REASON_TOLERANCE;
  else if (last)
    result->reason = MXS_REASON_STATIONARY;
  return MXS_OK;
}

/* The point is the answer so far if its held-out loss is the least, and of two that are alike the
 * later, which has the lower rank. Local. */
static mxs_status keep(mxs_solver *s, double validation, int certified) {
  const mxs_problem *p = s->problem;
  mxsi_trajectory *t = only(s);
  const int first = t->extent.kept == 0 || isinf(s->automatic_numbers.kept);
  if (!first && !(validation <= s->automatic_numbers.kept))
    return MXS_OK;
  s->automatic_numbers.kept = validation;
  s->automatic.certified = certified;
  MXS_TRY(mxsi_solver_set_kept(s, t->k));
  memcpy(s->kept_U, t->optim.U, (size_t)(p->n1 * t->k) * sizeof *s->kept_U);
  memcpy(s->kept_V, t->optim.V, (size_t)(p->n2 * t->k) * sizeof *s->kept_V);
  return MXS_OK;
}

/* Back to the kept point, for the last verdict. Collective. */
static mxs_status finish(mxs_solver *s) {
  const int64_t k = only(s)->extent.kept;
  mxsi_solver_tell(s, 0, "takes the point of the lowest held-out loss, of rank %lld", (long long)k);
  s->automatic.attempt = 5;
  s->automatic.plain = 1;
  s->automatic.window = 0;
  MXS_TRY(enter_at(s, MXSI_STAGE_PURSUE, k, s->kept_U, s->kept_V));
  const int64_t drop = negligible(s);
  return drop > 0 ? enter_pursuit(s, k - drop, NULL, 0, 0.0) : MXS_OK;
}

/* Overparameterised, from a small random start. Collective. */
static mxs_status enter_descent(mxs_solver *s) {
  mxsi_trajectory *t = only(s);
  s->automatic.steps = 0;
  s->automatic.stale = 0;
  s->automatic_numbers.best = (double)INFINITY;
  MXS_TRY(enter(s, MXSI_STAGE_DESCEND, s->problem->k));
  mxsi_start_randomly(s, t, SMALL_START * sqrt(t->number.s1 / s->problem->scale2));
  return MXS_OK;
}

/* What X lacks, in units of what G has of it: G is minus that, and smaller by what the fit has
 * taken up. */
static double missing_unit(const mxs_solver *s) {
  const double m = (double)s->at[0].train;
  return -m / (m - (double)mxsi_freedom(s, s->trajectory[0].k)) / s->problem->scale2;
}

/* Too few measurements are left over to see a direction that is missing, and there is room for it.
 */
static int is_short(const mxs_solver *s) {
  const double few = 5.0 * sqrt((double)s->problem->n1 * (double)s->problem->n2);
  const double m = (double)s->at[0].train;
  const int64_t k = s->trajectory[0].k;
  return k < most_columns(s, m) && m - (double)mxsi_freedom(s, k) < few;
}

/* The next attempt that makes sense after one that was not certified. Collective. */
static mxs_status next_attempt(mxs_solver *s, const mxs_outside *outside) {
  mxsi_auto *a = &s->automatic;
  mxsi_trajectory *t = only(s);
  a->attempt++;
  if (a->attempt == 2) {
    if (is_short(s)) {
      mxsi_solver_tell(s, 0,
                       "attempt 2: rank %lld, since too few measurements are left over to "
                       "tell whether one direction is missing",
                       (long long)t->k + 1);
      a->steps = 0;
      a->lowered = 0;
      return enter_pursuit(s, t->k, outside, 1, missing_unit(s));
    }
    a->attempt++;
  }
  if (a->attempt == 3 && a->certified)
    return finish(s);
  if (a->attempt == 3) {
    mxsi_solver_tell(s, 0, "attempt 3: descent from a small random start with %lld columns",
                     (long long)s->problem->k);
    return enter_descent(s);
  }
  if (a->attempt == 4 && a->gap > 0) {
    mxsi_solver_tell(s, 0, "attempt 4: rank %lld from the back-projection, with log-det weights",
                     (long long)a->gap);
    return enter_spectral(s, a->gap);
  }
  return finish(s);
}

/* Something to fall back on: the first triplet of A*(y), which any other point replaces. Local. */
static mxs_status keep_first(mxs_solver *s) {
  const mxs_problem *p = s->problem;
  const mxs_spectrum *from = &s->spectrum;
  const double root = sqrt(from->s[0] / p->scale2);
  MXS_TRY(mxsi_solver_set_kept(s, 1));
  for (int64_t i = 0; i < p->n1; i++)
    s->kept_U[i] = root * from->left[i * from->count];
  for (int64_t i = 0; i < p->n2; i++)
    s->kept_V[i] = root * from->right[i * from->count];
  if (s->options.model == MXS_MODEL_SYMMETRIC)
    memcpy(s->kept_V, s->kept_U, (size_t)p->n2 * sizeof *s->kept_V);
  return MXS_OK;
}

/* An attempt whose numbers left the range of doubles: the next one, but the second, or the answer
 * so far. Collective. */
static mxs_status give_up(mxs_solver *s) {
  if (only(s)->extent.kept == 0)
    MXS_TRY(mxs_comm_agree(s->problem->comm, keep_first(s)));
  mxsi_solver_tell(s, 0, "attempt %lld left the range of numbers", (long long)s->automatic.attempt);
  s->automatic.attempt = s->automatic.attempt < 2 ? 2 : s->automatic.attempt;
  return next_attempt(s, NULL);
}

/* Later passes visit all measurements. */
static mxs_status join_all(mxs_solver *s) {
  if (s->automatic.window > 0)
    mxsi_solver_tell(s, 0, "all %lld measurements join", (long long)s->problem->m_train);
  s->automatic.window = 0;
  s->automatic.steps = 0;
  return MXS_OK;
}

/* Singular values below this are no signal. */
static double weak_value(const mxs_solver *s, const mxs_fit *fit) {
  const double left = (double)(fit->m - mxsi_freedom(s, fit->rank));
  const double sigma2 = 2.0 * fit->loss * (double)fit->m / fmax(1.0, left);
  return WEAK * edge_factor(s) * sqrt(sigma2 / (double)fit->m) / s->problem->scale2;
}

/* The leading k directions only. Collective. */
static mxs_status lower(mxs_solver *s, int64_t k) {
  mxsi_solver_tell(s, 0, "rank lowered from %lld to %lld: the others do not stand out of noise",
                   (long long)only(s)->k, (long long)k);
  return enter_pursuit(s, k, NULL, 0, 0.0);
}

/* An attempt has come to rest: more data, a lower rank, a verdict, or the next attempt.
 * `validation`, `fit`: of the evaluation, one step before. Collective. */
static mxs_status rest(mxs_solver *s, const mxs_fit *fit, const mxs_outside *outside) {
  mxsi_auto *a = &s->automatic;
  mxsi_trajectory *t = only(s);
  const double weak = weak_value(s, fit);
  int64_t strong = t->k;
  while (strong > 1 && singular_value(s, strong - 1) < weak)
    strong--;
  if (a->window > 0) {
    MXS_TRY(join_all(s));
    return strong < t->k ? lower(s, strong) : MXS_OK;
  }
  const mxs_certificate verdict = mxs_certify(fit);
  const int certified = verdict.status != MXS_NOT_CERTIFIED;
  if (capacity(s) > 0 && t->extent.stage == MXSI_STAGE_PURSUE)
    return enter_polish(s);
  MXS_TRY(mxs_comm_agree(s->problem->comm, keep(s, fit->validation, certified)));
  if (fit->held == 0)
    return finish(s);
  const int too_many = fit->smallest < weak || verdict.doubt == MXS_DOUBT_OVERFITS;
  if (!a->lowered && t->k > 1 && too_many && verdict.status != MXS_RECOVERED) {
    a->lowered = 1;
    a->steps = 0;
    return lower(s, strong < t->k ? strong : t->k - 1);
  }
  const int blind = verdict.doubt == MXS_DOUBT_NOT_HELD_OUT && is_exact(s);
  if (blind || (a->certified && (a->attempt > 1 || !is_short(s))))
    return finish(s);
  return next_attempt(s, outside);
}

/* Directions outside that stand out of the noise. */
static int64_t count_outside(const mxs_solver *s, const mxs_outside *outside) {
  const mxs_evaluation *at = &s->at[0];
  const double edge = edge_factor(s) * sqrt(2.0 * at->loss / (double)at->train);
  int64_t count = 0;
  while (count < outside->count && outside->s[count] > STANDS_OUT * edge)
    count++;
  return count;
}

/* Nothing is left to gain, or only by directions that fit noise, which is slow. */
static int is_at_rest(const mxs_solver *s, const mxs_fit *fit, int weighted) {
  const mxsi_auto *a = &s->automatic;
  const double *number = s->trajectory[0].optim.number;
  if (weighted)
    return number[MXS_OPTIM_STATIONARY] > 0.0 || a->steps >= MOST_WEIGHTED;
  const int close = a->window > 0 || number[MXS_OPTIM_STEP] < STEP_AT_REST;
  return number[MXS_OPTIM_STATIONARY] > 0.0 || a->steps >= MOST_STEPS ||
         (number[MXS_OPTIM_GAIN] < GAIN_AT_REST && close) ||
         (a->steps >= SLOW && number[MXS_OPTIM_GAIN] < SLOW_GAIN && fit->rank > 1 &&
          fit->smallest < weak_value(s, fit));
}

/* One step of pursuit, and what follows from it. Collective. */
static mxs_status pursue(mxs_solver *s, mxs_outside *outside) {
  mxsi_auto *a = &s->automatic;
  mxsi_trajectory *t = only(s);
  const int exact = is_exact(s);
  const int64_t drop = exact ? negligible(s) : 0;
  const double m = (double)s->at[0].train;
  const int weighted = a->attempt == 4;
  mxs_fit fit = describe(s);
  s->automatic_numbers.before = s->at[0].loss;
  if (a->plain) { /* what a part found does not fit all: go on with all */
    a->plain = 0;
    return a->window > 0 ? join_all(s) : enter_polish(s);
  }
  if (exact && drop > 0) {
    mxsi_solver_tell(s, 0, "rank lowered from %lld to %lld: the others are zero", (long long)t->k,
                     (long long)t->k - (long long)drop);
    return enter_pursuit(s, t->k - drop, NULL, 0, 0.0);
  }
  if (exact && !covers_all(s)) {
    a->plain = 1;
    return MXS_OK;
  }
  s->options.weights = weighted ? MXS_WEIGHTS_LOG_DET : MXS_WEIGHTS_NONE;
  t->optim.outside = outside;
  const mxs_status status = t->rule->advance(&t->optim);
  t->optim.outside = NULL;
  MXS_TRY(status);
  fit.outside = outside->s[0];
  a->steps++;
  const double gain = t->optim.number[MXS_OPTIM_GAIN];
  const int64_t room = most_columns(s, m) - t->k;
  const int64_t found = a->lowered || weighted ? 0 : count_outside(s, outside);
  if (found > 0 && room > 0 && gain < GAIN_TO_RAISE && a->steps < MOST_STEPS) {
    const int64_t more = found < room ? found : room;
    mxsi_solver_tell(s, 0, "rank raised from %lld to %lld", (long long)t->k,
                     (long long)t->k + (long long)more);
    return enter_pursuit(s, t->k, outside, more, missing_unit(s));
  }
  if (exact || is_at_rest(s, &fit, weighted)) {
    t->optim.number[MXS_OPTIM_STATIONARY] = 0.0;
    return rest(s, &fit, outside);
  }
  return MXS_OK;
}

/* Largest gap among singular values that may be signal. */
static int64_t gap_of(const mxs_solver *s, int64_t most) {
  int64_t rank = 1;
  double largest = 0.0;
  const double first = singular_value(s, 0);
  for (int64_t j = 0; j < most && j + 1 < s->trajectory[0].k; j++) {
    const double value = singular_value(s, j);
    const double ratio = value / singular_value(s, j + 1);
    if (value > LEAST_GAP * first && ratio > largest) {
      largest = ratio;
      rank = j + 1;
    }
  }
  return rank;
}

/* One step of the descent; at its end the truncation. Collective. */
static mxs_status descend(mxs_solver *s) {
  mxsi_auto *a = &s->automatic;
  const mxs_problem *p = s->problem;
  mxsi_trajectory *t = only(s);
  const double validation = s->at[0].validation_loss;
  const double zero = p->y_norm2 / (2.0 * (double)p->m_train);
  if (validation < (1.0 - WORTH) * s->automatic_numbers.best) {
    s->automatic_numbers.best = validation;
    a->stale = 0;
  } else {
    a->stale += validation < 0.98 * zero || s->automatic_numbers.best < 0.98 * zero;
  }
  a->steps++;
  if (a->stale < PATIENCE && a->steps < MOST_DESCENT)
    return t->rule->advance(&t->optim);
  MXS_TRY(
      mxs_comm_agree(p->comm, mxs_optim_balance(s->options.model, mxs_view(t->optim.U, p->n1, t->k),
                                                mxs_view(t->optim.V, p->n2, t->k))));
  MXS_TRY(mxs_comm_agree(p->comm, keep(s, validation, 0)));
  a->gap = gap_of(s, most_columns(s, (double)s->at[0].train));
  mxsi_solver_tell(s, 0, "the descent came to rank %lld, by the largest gap of singular values",
                   (long long)a->gap);
  a->steps = 0;
  a->lowered = 0;
  return enter_pursuit(s, a->gap, NULL, 0, 0.0);
}

/* One step on all measurements. Collective. */
static mxs_status polish(mxs_solver *s) {
  mxsi_auto *a = &s->automatic;
  mxsi_trajectory *t = only(s);
  const int exact = is_exact(s);
  s->automatic_numbers.before = s->at[0].loss;
  if (!exact && a->steps < MOST_STEPS && relative_step(s) > POLISHED) {
    a->steps++;
    t->optim.automatic = 0;
    return t->rule->advance(&t->optim);
  }
  MXS_TRY(mxs_comm_agree(s->problem->comm, keep(s, s->at[0].validation_loss, 1)));
  return finish(s);
}

mxs_status mxsi_auto_advance(mxs_solver *s) {
  const mxs_problem *p = s->problem;
  double *room = NULL;
  if (s->lost)
    return give_up(s);
  if (only(s)->extent.stage == MXSI_STAGE_DESCEND)
    return descend(s);
  if (only(s)->extent.stage == MXSI_STAGE_POLISH)
    return polish(s);
  const int64_t order = p->n1 < p->n2 ? p->n1 : p->n2;
  const int64_t count = order < MOST_RAISED ? order : MOST_RAISED;
  MXS_TRY(mxs_comm_agree(p->comm, mxs_alloc((1 + p->n1 + p->n2) * count, sizeof *room, &room)));
  mxs_outside outside = {count, room, room + count, room + count + p->n1 * count};
  const mxs_status status = pursue(s, &outside);
  mxs_release(&room);
  return status;
}
