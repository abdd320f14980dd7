/* Gradient descent on the manifold of rank-k matrices (tangent.h):
 *
 *     W = Qu Qu^T G + G Qv Qv^T - Qu Qu^T G Qv Qv^T     (the gradient's part in the tangent space)
 *     X <- H_k(X - step W),  step = ||W||_F^2 / ((1/m) |A(W)|^2)
 *
 * with H_k the best approximation of rank k, through a core of order 2 k: Wei, Cai, Chan, Leung
 * (2016). A given step is divided by scale^2. The factors come out balanced.
 *
 *  | symbol | here                                                                             |
 *  |--------|----------------------------------------------------------------------------------|
 *  | x      | W as a tangent vector, and what is retracted                                      |
 *  | d      | W as a change of the factors: W = [dU, U] [V, dV]^T, which are S and T            |
 */
#include "la/la.h"
#include "optim/optim_impl.h"
#include "optim/tangent.h"

#include <math.h>
#include <string.h>

typedef struct descent {
  mxsi_tangent t;
  double *x, *d;
  double *S, *T, *zero;
  double *room;
} descent;

static mxs_status create(const mxs_optim *o, descent *s) {
  const int64_t n1 = o->problem->n1, n2 = o->problem->n2, k = o->k;
  const int64_t sides = n1 + n2;
  MXS_TRY(mxsi_tangent_create(n1, n2, k, &s->t));
  MXS_TRY(mxs_alloc(s->t.length + 5 * sides * k, sizeof *s->room, &s->room));
  s->x = s->room;
  s->d = s->x + s->t.length;
  s->S = s->d + sides * k;
  s->T = s->S + 2 * n1 * k;
  s->zero = s->T + 2 * n2 * k;
  return MXS_OK;
}

/* x <- W. */
static void find_gradient(mxs_optim *o, descent *s) {
  mxsi_tangent_at(&s->t, o->U, o->V);
  mxsi_optim_gradient(o, s->d, s->d + o->problem->n1 * o->k);
  mxsi_tangent_from_factors(&s->t, s->d, s->x);
}

/* Rows of k numbers of A and of B, side by side. */
static void join(const double *A, const double *B, int64_t rows, int64_t k, double *both) {
  for (int64_t i = 0; i < rows; i++) {
    memcpy(both + 2 * i * k, A + i * k, (size_t)k * sizeof *both);
    memcpy(both + 2 * i * k + k, B + i * k, (size_t)k * sizeof *both);
  }
}

/* (1/m) |A(W)|^2 is twice the curvature of f along W. */
static mxs_status best_step(mxs_optim *o, descent *s, double *step) {
  const int64_t n1 = o->problem->n1, n2 = o->problem->n2, k = o->k;
  const double W = mxs_la_frobenius(mxs_cview(s->x, 1, s->t.length));
  double c[1][5];
  *step = o->step / o->problem->scale2;
  if (!o->automatic)
    return MXS_OK;
  mxsi_tangent_to_factors(&s->t, s->x, s->d);
  join(s->d, o->U, n1, k, s->S);
  join(o->V, s->d + n1 * k, n2, k, s->T);
  const mxs_point at = {.U = mxs_cview(s->zero, n1, 2 * k), .V = mxs_cview(s->T, n2, 2 * k)};
  const mxs_point along = {.U = mxs_cview(s->S, n1, 2 * k), .V = mxs_cview(s->zero, n2, 2 * k)};
  MXS_TRY(mxs_objective_line(o->objective, &at, &along, c));
  const double best = W * W / (2.0 * c[0][2]);
  *step = c[0][2] > 0.0 && isfinite(best) ? best : *step;
  return MXS_OK;
}

static mxs_status retract(mxs_optim *o, descent *s, double step) {
  double lost = 0.0;
  for (int64_t i = 0; i < s->t.length; i++)
    s->x[i] *= -step;
  for (int64_t j = 0; j < o->k; j++)
    s->x[j * o->k + j] += s->t.s[j];
  return mxsi_tangent_retract(&s->t, mxsi_optim_symmetric(o), s->x, o->U, o->V, &lost);
}

static mxs_status advance(mxs_optim *o) {
  descent s = {.room = NULL};
  double step = 0.0;
  mxs_status status = mxs_comm_agree(o->problem->comm, create(o, &s));
  if (status != MXS_OK)
    goto cleanup;
  find_gradient(o, &s);
  if (!(s.t.s[0] > 0.0)) /* X = 0, where no direction is better than another */
    goto cleanup;
  MXS_TRY_GOTO(status, best_step(o, &s, &step), cleanup);
  status = mxs_comm_agree(o->problem->comm, retract(o, &s, step));
cleanup:
  mxsi_tangent_clear(&s.t);
  mxs_release(&s.room);
  return status;
}

static mxs_status prepare(mxs_optim *o) {
  const mxs_problem *p = o->problem;
  return mxs_optim_balance(o->options->model, mxs_view(o->U, p->n1, o->k),
                           mxs_view(o->V, p->n2, o->k));
}

const mxs_rule mxsi_rule_riemannian_gd = {.name = "riemannian_gd",
                                          .start = MXS_START_SPECTRAL,
                                          .automatic_step = 1.0,
                                          .prepare = prepare,
                                          .advance = advance};
