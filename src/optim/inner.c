/*  | symbol | here                                                                    |
 *  |--------|-------------------------------------------------------------------------|
 *  | H      | J^T J / m, and weights, or the curvature of the residual                |
 *  | Y      | coordinates without gauge, mxsi_tangent_embed()                         |
 *  | L      | rows of J in Y                                                          |
 *  | E      | H - L^T L / m in Y: weights and curvature, and scale2 outside the space | */
#include "optim/inner.h"

#include "la/la.h"
#include "spectral/spectral.h"

#include <math.h>
#include <string.h>

enum { MOST_INNER = 500, DISTRIBUTED_ORDER = 1024, MOST_PRODUCTS = 160 };

#define FLAT 1e-10   /* curvature, beside that of the identity, that rounding makes */
#define DAMPING 1e-8 /* of the identity: the Jacobian is kept in single precision */
#define FLOPS 24.0   /* of a product of matrices, in the time of a number of J in a product */
#define ACCURACY 1e-3

double mxsi_inner_weight(const mxsi_inner *s, int64_t i) {
  if (!s->weighted)
    return 0.0;
  return i < s->t.C ? s->weight_K[i] : s->weight[(i - s->t.C) % s->t.k];
}

/* Conjugate gradients until the given accuracy, with J of independent entries. */
static double products(double rows, double dof) {
  const double c = sqrt(dof / rows);
  return fmin((1.0 + c) / fmax(1.0 - c, 1e-3) * 0.5 * log(2.0 / ACCURACY), MOST_PRODUCTS);
}

mxs_inner mxsi_inner_route(const mxs_problem *p, mxs_inner asked, int64_t k, int64_t m) {
  const double n = (double)(p->n1 + p->n2) * (double)k;
  const double dof = n - (double)k * (double)k;
  const double rows = (double)m;
  if (asked != MXS_INNER_AUTO)
    return asked;
  if (rows < dof || !mxs_objective_jacobian_has_rows(p))
    return MXS_INNER_CG;
  const double factorisation = rows * n * n + n * n * n / 3.0;
  return factorisation < FLOPS * products(rows, dof) * rows * n ? MXS_INNER_CHOLESKY : MXS_INNER_CG;
}

/* q += (0, P B S^-1, P^T C S^-1): second derivative of f along the retraction. `d` is room. */
static void add_curvature(mxsi_inner *s, const double *x, double *q) {
  const mxsi_tangent *t = &s->t;
  double *scaled = s->d;
  const mxs_cmat P = mxs_cview(s->P, t->n1, t->n2);
  for (int64_t i = 0; i < (t->n1 + t->n2) * t->k; i++)
    scaled[i] = x[t->C + i] / t->s[i % t->k];
  mxs_la_gemm(0, 0, 1.0, P, mxs_cview(scaled + t->n1 * t->k, t->n2, t->k), 1.0,
              mxs_view(q + t->C, t->n1, t->k));
  mxs_la_gemm(1, 0, 1.0, P, mxs_cview(scaled, t->n1, t->k), 1.0, mxs_view(q + t->B, t->n2, t->k));
}

/* q += what H has beside J^T J / m, then the model's part of all. */
static void add_terms(mxsi_inner *s, const double *x, double *q) {
  for (int64_t i = 0; s->weighted && i < s->t.length; i++)
    q[i] += mxsi_inner_weight(s, i) * x[i];
  if (s->curved)
    add_curvature(s, x, q);
  if (s->symmetric)
    mxsi_tangent_symmetrise(&s->t, q);
}

/* q = H x. Collective. */
static mxs_status apply(mxsi_inner *s, const double *x, double *q) {
  if (s->G != NULL) {
    mxsi_tangent_embed(&s->t, s->symmetric, x, s->Y);
    mxs_la_symv(mxs_cview(s->G, s->order, s->order), s->Y, s->NY);
    mxsi_tangent_extract(&s->t, s->symmetric, s->NY, q);
  } else {
    mxsi_tangent_to_factors(&s->t, x, s->d);
    MXS_TRY(mxs_objective_normal(s->optim->objective, s->d, s->Nd));
    mxsi_tangent_from_factors(&s->t, s->Nd, q);
  }
  add_terms(s, x, q);
  return MXS_OK;
}

static void precondition(const mxsi_inner *s, const double *r, double *z) {
  for (int64_t i = 0; i < s->t.length; i++)
    z[i] = r[i] / (s->optim->problem->scale2 + mxsi_inner_weight(s, i));
}

/* Collective. */
static mxs_status conjugate_gradients(mxsi_inner *s, double tolerance, int *indefinite) {
  const int64_t n = s->t.length;
  memset(s->x, 0, (size_t)n * sizeof *s->x);
  precondition(s, s->r, s->z);
  memcpy(s->p, s->z, (size_t)n * sizeof *s->p);
  double rz = mxsi_tangent_dot(&s->t, s->r, s->z);
  const double enough = rz * tolerance * tolerance;
  *indefinite = 0;
  for (int i = 0; i < MOST_INNER && rz > enough; i++) {
    MXS_TRY(apply(s, s->p, s->q));
    const double curvature = mxsi_tangent_dot(&s->t, s->p, s->q);
    if (!(curvature > FLAT * s->optim->problem->scale2 * mxsi_tangent_dot(&s->t, s->p, s->p))) {
      *indefinite = 1;
      return MXS_OK;
    }
    const double a = rz / curvature;
    for (int64_t j = 0; j < n; j++) {
      s->x[j] += a * s->p[j];
      s->r[j] -= a * s->q[j];
    }
    precondition(s, s->r, s->z);
    const double before = rz;
    rz = mxsi_tangent_dot(&s->t, s->r, s->z);
    for (int64_t j = 0; j < n; j++)
      s->p[j] = s->z[j] + rz / before * s->p[j];
  }
  return MXS_OK;
}

/* Column of E, and damping. */
static void extra_column(void *ctx, int64_t column, double *out) {
  mxsi_inner *s = ctx;
  const double scale2 = s->optim->problem->scale2;
  memset(s->Y, 0, (size_t)s->order * sizeof *s->Y);
  s->Y[column] = 1.0;
  mxsi_tangent_extract(&s->t, s->symmetric, s->Y, s->p);
  for (int64_t i = 0; i < s->t.length; i++)
    s->q[i] = -scale2 * s->p[i];
  add_terms(s, s->p, s->q);
  mxsi_tangent_embed(&s->t, s->symmetric, s->q, out);
  out[column] += scale2 * (1.0 + DAMPING);
}

/* One triangle of G is kept, and its diagonal, for where H is not definite. */
static void factorise(mxsi_inner *s, int *definite) {
  const int64_t n = s->order;
  for (int64_t i = 0; i < n; i++) {
    s->diagonal[i] = s->G[i * n + i];
    extra_column(s, i, s->NY);
    for (int64_t j = 0; j <= i; j++)
      s->G[i * n + j] += s->NY[j];
  }
  mxsi_tangent_embed(&s->t, s->symmetric, s->r, s->NY);
  *definite = mxs_la_solve_in_place(mxs_view(s->G, n, n), s->NY);
  for (int64_t i = 0; i < n && !*definite; i++) {
    for (int64_t j = 0; j < i; j++)
      s->G[i * n + j] = s->G[j * n + i];
    s->G[i * n + i] = s->diagonal[i];
  }
}

static mxs_status factorise_spread(mxsi_inner *s, int *definite) {
  const mxs_definite_system system = {.order = s->order,
                                      .rows = s->rows,
                                      .count = s->count,
                                      .unit = 1.0 / (double)s->all,
                                      .extra = extra_column,
                                      .ctx = s};
  mxsi_tangent_embed(&s->t, s->symmetric, s->r, s->NY);
  return mxs_distributed_definite(s->optim->problem->comm, &system, s->NY, definite);
}

/* Row of L. */
static void map_row(void *ctx, int thread, const double *row, double *out) {
  const mxsi_inner *s = ctx;
  mxsi_tangent at = s->t;
  double *x = s->small + thread * (at.length + at.k * at.k);
  at.small = x + at.length;
  mxsi_tangent_from_factors(&at, row, x);
  if (s->symmetric)
    mxsi_tangent_symmetrise(&at, x);
  mxsi_tangent_embed(&at, s->symmetric, x, out);
}

static int is_spread(const mxsi_inner *s) {
  return s->route == MXS_INNER_CHOLESKY && s->optim->options->reduction == MXS_REDUCTION_FAST &&
         s->optim->problem->comm->size > 1 && s->order >= DISTRIBUTED_ORDER &&
         mxs_has_distributed();
}

static mxs_status allocate(mxsi_inner *s) {
  const int threads = mxs_objective_threads(s->optim->objective);
  MXS_TRY(mxs_alloc(3 * s->order, sizeof *s->Y, &s->Y));
  s->NY = s->Y + s->order;
  s->diagonal = s->NY + s->order;
  MXS_TRY(
      mxs_alloc(threads, (size_t)(s->t.length + s->t.k * s->t.k) * sizeof *s->small, &s->small));
  return is_spread(s) ? MXS_OK : mxs_alloc(s->order, (size_t)s->order * sizeof *s->G, &s->G);
}

mxs_status mxsi_inner_begin(mxsi_inner *s) {
  const mxs_optim *o = s->optim;
  s->route = mxsi_inner_route(o->problem, o->options->inner, o->k, o->at->train);
  if (s->route == MXS_INNER_CG)
    return MXS_OK;
  s->order = mxsi_tangent_order(&s->t, s->symmetric);
  const mxs_rows_map map = {
      .order = s->order, .size = sqrt(o->problem->scale2), .map = map_row, .ctx = s};
  MXS_TRY(mxs_comm_agree(o->problem->comm, allocate(s)));
  return is_spread(s) ? mxs_objective_mapped_rows(o->objective, &map, &s->rows, &s->count, &s->all)
                      : mxs_objective_gram(o->objective, &map, s->G);
}

mxs_status mxsi_inner_solve(mxsi_inner *s, double tolerance, int *indefinite) {
  int definite = 0;
  if (s->rows != NULL)
    MXS_TRY(factorise_spread(s, &definite));
  else if (s->route == MXS_INNER_CHOLESKY)
    factorise(s, &definite);
  *indefinite = s->route == MXS_INNER_CHOLESKY && !definite;
  if (*indefinite && s->curved)
    return MXS_OK;
  if (!definite)
    return conjugate_gradients(s, tolerance, indefinite);
  mxsi_tangent_extract(&s->t, s->symmetric, s->NY, s->x);
  memset(s->r, 0, (size_t)s->t.length * sizeof *s->r);
  return MXS_OK;
}

void mxsi_inner_end(mxsi_inner *s) {
  mxs_release(&s->Y);
  mxs_release(&s->small);
  mxs_release(&s->G);
  mxs_release(&s->rows);
}
