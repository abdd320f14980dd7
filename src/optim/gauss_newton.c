/* Gauss-Newton on the matrices of rank k (tangent.h). The step is P_k(X + D), the best
 * approximation of rank k, with D from linear least squares over the Jacobian of the evaluation
 * (inner.h): at orthonormal U and V their normal equations are well conditioned, whatever the
 * condition of X.
 *
 * With few measurements the least squares are weighted as in MatrixIRLS (Kuemmerle and Mayrink
 * Verdun, "A scalable second order method for ill-conditioned matrix completion from few samples",
 * ICML 2021), reduced to the tangent space: the unknown is the tangent part of the new X itself,
 * and its parts pay for being outside of the leading singular directions of X, less and less as the
 * smoothing falls with what the residual still has outside of the space.
 *
 *  | symbol | here                                                                             |
 *  |--------|----------------------------------------------------------------------------------|
 *  | x      | the unknown, a tangent vector (K, C, B); x0 = (diag(s), 0, 0) is X itself         |
 *  | H      | J^T J / m, and weights, or the curvature of the residual                          |
 *  | G      | (1/m) sum_i R_i A_i;  P: its part normal to the space                             |
 *  | eps    | smoothing: estimate of s_{k+1} of the full solution, falls only                   |
 *  | N      | n1 n2, A A^T ~ N scale2 I                                                         |
 *  | w      | weights: of K_ij  (N/m) scale2 eps^2 / (s_i s_j - eps^2),                         |
 *  |        | of columns j of C and B  (N/m) scale2 eps / (s_j - eps)                           |
 */
#include "base/clock.h"
#include "la/la.h"
#include "optim/inner.h"
#include "optim/optim_impl.h"

#include <math.h>
#include <string.h>

enum { BASES = 6 };

/* Numbers of the state. */
enum { EPS = MXS_OPTIM_OWN, STEP = MXS_OPTIM_STEP };

#define SHARP 0.03  /* smoothing below this part of s_k is over */
#define FEW 1.5     /* measurements per degree of freedom below which least squares are weighted */
#define NEAR 0.1    /* steps below this part of X: the curvature of the residual counts */
#define LEAST 1e-15 /* relative residual that rounding leaves */
#define INNER 0.01  /* relative accuracy of a step, at least */
#define FINEST 1e-6 /* the Jacobian is kept in single precision */

typedef mxsi_inner inner;

static mxs_status create(mxs_optim *o, inner *s) {
  const mxs_problem *p = o->problem;
  const int64_t factors = (p->n1 + p->n2) * o->k;
  *s = (inner){.optim = o, .symmetric = o->options->model == MXS_MODEL_SYMMETRIC};
  MXS_TRY(mxsi_tangent_create(p->n1, p->n2, o->k, &s->t));
  const int64_t length = s->t.length;
  MXS_TRY(mxs_alloc(BASES * length + 2 * factors + o->k * (o->k + 1) + p->n1 * p->n2,
                    sizeof *s->room, &s->room));
  double **vectors[BASES] = {&s->x0, &s->x, &s->r, &s->z, &s->p, &s->q};
  for (int i = 0; i < BASES; i++)
    *vectors[i] = s->room + i * length;
  s->d = s->room + BASES * length;
  s->Nd = s->d + factors;
  s->weight_K = s->Nd + factors;
  s->weight = s->weight_K + o->k * o->k;
  s->P = s->weight + o->k;
  return MXS_OK;
}

static void clear(inner *s) {
  mxsi_inner_end(s);
  mxsi_tangent_clear(&s->t);
  mxs_release(&s->room);
}

static double measurements(const inner *s) {
  return (double)s->optim->at->train;
}

/* N/m scale2: what a unit of weight stands for beside J^T J / m ~ scale2. */
static double weight_unit(const inner *s) {
  const mxs_problem *p = s->optim->problem;
  return (double)p->n1 * (double)p->n2 / measurements(s) * p->scale2;
}

static int wants_weights(const inner *s) {
  const mxs_weights weights = s->optim->options->weights;
  const int64_t dof = s->t.k * (s->t.n1 + s->t.n2 - s->t.k);
  return weights == MXS_WEIGHTS_LOG_DET ||
         (weights == MXS_WEIGHTS_AUTO && measurements(s) < FEW * (double)dof);
}

/* P, and those of its leading triplets that are asked for; weights need the first value. Local. */
static mxs_status look_outside(inner *s) {
  mxs_optim *o = s->optim;
  const mxs_cmat P = mxs_cview(s->P, s->t.n1, s->t.n2);
  MXS_TRY(mxsi_tangent_normal(&s->t, o->at->G, s->P));
  if (o->outside == NULL && !wants_weights(s))
    return MXS_OK;
  if (o->outside != NULL) {
    MXS_TRY(
        mxs_la_leading(P, o->outside->count, o->outside->s, o->outside->left, o->outside->right));
    s->outside = o->outside->s[0];
    return MXS_OK;
  }
  double *side = NULL;
  MXS_TRY(mxs_alloc(s->t.n1 + s->t.n2, sizeof *side, &side));
  const mxs_status status = mxs_la_leading(P, 1, &s->outside, side, side + s->t.n1);
  mxs_release(&side);
  return status;
}

/* Smoothing of this step, and its weights. */
static void set_weights(inner *s) {
  mxs_optim *o = s->optim;
  const int64_t k = s->t.k;
  const double *values = s->t.s;
  s->weighted = wants_weights(s);
  if (!s->weighted)
    return;
  const double outside = s->outside / weight_unit(s);
  const double first = o->spectrum->count > k ? o->spectrum->s[k] / o->problem->scale2 : values[0];
  o->number[EPS] = o->number[EPS] > 0.0 ? fmin(o->number[EPS], outside) : first;
  const double eps = o->number[EPS];
  s->weighted = eps > SHARP * values[k - 1];
  for (int64_t i = 0; i < k; i++) {
    const double a = fmax(values[i], 1.001 * eps);
    s->weight[i] = weight_unit(s) * eps / (a - eps);
    for (int64_t j = 0; j < k; j++) {
      const double b = fmax(values[j], 1.001 * eps);
      s->weight_K[i * k + j] = weight_unit(s) * eps * eps / (a * b - eps * eps);
    }
  }
}

/* r = -(gradient of the least squares at x0). */
static void right_hand_side(inner *s, double *r) {
  const mxs_optim *o = s->optim;
  const int64_t left = s->t.n1 * s->t.k;
  memcpy(s->d, o->at->gU, (size_t)left * sizeof *s->d);
  memcpy(s->d + left, o->at->gV, (size_t)(s->t.n2 * s->t.k) * sizeof *s->d);
  mxsi_tangent_from_factors(&s->t, s->d, r);
  for (int64_t i = 0; i < s->t.length; i++)
    r[i] = -r[i] - mxsi_inner_weight(s, i) * s->x0[i];
  if (s->symmetric)
    mxsi_tangent_symmetrise(&s->t, r);
}

/* The step from x0. Where the curvature of the residual makes H indefinite, it is left out.
 * Collective. */
static mxs_status solve(inner *s) {
  const mxs_optim *o = s->optim;
  const double relative = sqrt(2.0 * measurements(s) * o->at->loss / o->problem->y_norm2);
  double tolerance = fmin(INNER, relative);
  int indefinite = 0;
  if (o->number[STEP] > 0.0)
    tolerance = fmin(tolerance, o->number[STEP]);
  tolerance = fmax(tolerance, FINEST);
  s->tolerance = tolerance;
  s->curved = !s->weighted && o->number[STEP] > 0.0 && o->number[STEP] < NEAR;
  MXS_TRY(mxsi_inner_begin(s));
  right_hand_side(s, s->r);
  MXS_TRY(mxsi_inner_solve(s, tolerance, &indefinite));
  if (indefinite && s->curved) {
    s->curved = 0;
    right_hand_side(s, s->r);
    MXS_TRY(mxsi_inner_solve(s, tolerance, &indefinite));
  }
  right_hand_side(s, s->q);
  s->optim->number[MXS_OPTIM_GAIN] = mxsi_tangent_dot(&s->t, s->q, s->x) / (2.0 * o->at->loss);
  return MXS_OK;
}

/* x <- the new tangent part of X, which with weights includes J^T of the multipliers: it is the
 * weighted solution of all matrices, not of tangent ones alone. */
static void new_point(inner *s) {
  mxs_optim *o = s->optim;
  const int64_t n = s->t.length;
  o->number[STEP] =
      sqrt(mxsi_tangent_dot(&s->t, s->x, s->x) / mxsi_tangent_dot(&s->t, s->x0, s->x0));
  for (int64_t i = 0; i < n; i++)
    s->x[i] += s->x0[i];
  for (int64_t i = 0; s->weighted && i < n; i++)
    s->x[i] += (mxsi_inner_weight(s, i) * s->x[i] + s->r[i]) / weight_unit(s);
}

/* The loss after an unweighted step, so that the sums of the next pass have the right scale: what
 * the linear model leaves, and what the retraction leaves out. */
static void expect(inner *s, double lost) {
  mxs_optim *o = s->optim;
  const mxs_problem *p = o->problem;
  const double least = LEAST * LEAST * p->y_norm2 / (double)p->m_train;
  const double left = fmax(1.0 - o->number[MXS_OPTIM_GAIN], s->tolerance * s->tolerance);
  o->number[MXS_OPTIM_EXPECTED] =
      s->weighted ? 0.0 : 0.5 * fmax(2.0 * o->at->loss * left + p->scale2 * lost, least);
}

static mxs_status step(inner *s) {
  mxs_optim *o = s->optim;
  const int64_t k = s->t.k;
  mxsi_tangent_at(&s->t, o->U, o->V);
  for (int64_t j = 0; j < k; j++)
    s->x0[j * k + j] = s->t.s[j];
  MXS_TRY(mxs_comm_agree(o->problem->comm, look_outside(s)));
  set_weights(s);
  const double begin = mxs_clock();
  const mxs_status solved = solve(s);
  o->inner_s += mxs_clock() - begin;
  MXS_TRY(solved);
  new_point(s);
  const double enough = o->options->method == MXS_METHOD_AUTO ? 0.0 : 0.1 * o->options->tolerance;
  o->number[MXS_OPTIM_STATIONARY] = !s->weighted && o->number[STEP] <= fmax(enough, 1e-14);
  double lost = 0.0;
  MXS_TRY(mxs_comm_agree(o->problem->comm,
                         mxsi_tangent_retract(&s->t, s->symmetric, s->x, o->U, o->V, &lost)));
  expect(s, lost);
  return MXS_OK;
}

static mxs_status advance(mxs_optim *o) {
  inner s;
  mxs_status status = mxs_comm_agree(o->problem->comm, create(o, &s));
  if (status == MXS_OK)
    status = step(&s);
  clear(&s);
  return status;
}

mxs_status mxs_optim_outside(const mxs_optim *o, int64_t count, double *values) {
  const mxs_problem *p = o->problem;
  mxsi_tangent t = {0};
  double *room = NULL;
  mxs_status status = MXS_OK;
  memset(values, 0, (size_t)count * sizeof *values);
  MXS_TRY_GOTO(status, mxsi_tangent_create(p->n1, p->n2, o->k, &t), cleanup);
  MXS_TRY_GOTO(status, mxs_alloc(p->n1 * p->n2 + (p->n1 + p->n2) * count, sizeof *room, &room),
               cleanup);
  mxsi_tangent_at(&t, o->U, o->V);
  if (!(t.s[0] > 0.0))
    goto cleanup;
  MXS_TRY_GOTO(status, mxsi_tangent_normal(&t, o->at->G, room), cleanup);
  double *sides = room + p->n1 * p->n2;
  status =
      mxs_la_leading(mxs_cview(room, p->n1, p->n2), count, values, sides, sides + p->n1 * count);
cleanup:
  mxsi_tangent_clear(&t);
  mxs_release(&room);
  return status;
}

static mxs_status prepare(mxs_optim *o) {
  const mxs_problem *p = o->problem;
  return mxs_optim_balance(o->options->model, mxs_view(o->U, p->n1, o->k),
                           mxs_view(o->V, p->n2, o->k));
}

const mxs_rule mxsi_rule_gauss_newton = {.name = "gauss_newton",
                                         .keeps_jacobian = 1,
                                         .start = MXS_START_SPECTRAL,
                                         .automatic_step = 1.0,
                                         .prepare = prepare,
                                         .advance = advance};
