#include "optim/tangent.h"

#include "la/la.h"
#include "optim/optim.h"

#include <math.h>
#include <string.h>

#define LEAST 1e-15 /* of the first singular value */

mxs_status mxsi_tangent_create(int64_t n1, int64_t n2, int64_t k, mxsi_tangent *out) {
  const int64_t C = k * k;
  *out = (mxsi_tangent){
      .n1 = n1, .n2 = n2, .k = k, .C = C, .B = C + n1 * k, .length = C + (n1 + n2) * k};
  MXS_TRY(mxs_alloc((n1 + n2) * k + 3 * k + k * k, sizeof *out->buffer, &out->buffer));
  out->U = out->buffer;
  out->V = out->U + n1 * k;
  out->s = out->V + n2 * k;
  out->norm_U = out->s + k;
  out->norm_V = out->norm_U + k;
  out->small = out->norm_V + k;
  return MXS_OK;
}

void mxsi_tangent_clear(mxsi_tangent *t) {
  mxs_release(&t->buffer);
}

/* Eigenvalues of the symmetric part: singular values with the sign of u_j^T v_j. */
static int is_positive(const double *left, const double *right, int64_t n, int64_t p, int64_t j) {
  double dot = 0.0;
  for (int64_t i = 0; i < n; i++)
    dot += left[i * p + j] * right[i * p + j];
  return dot > 0.0;
}

/* F <- columns `from` of `vectors` (n x p), times sqrt(s). */
static void scale_columns(
    mxs_mat F, const double *vectors, int64_t p, const int64_t *from, const double *s) {
  for (int64_t j = 0; j < F.cols; j++) {
    const double root = sqrt(fmax(s[from[j]], LEAST * s[0]));
    for (int64_t i = 0; i < F.rows; i++)
      F.a[i * F.ld + j] = root * vectors[i * p + from[j]];
  }
}

/* Balanced factors of the leading part of left right^T. */
static mxs_status leading_factors(
    int symmetric, mxs_cmat left, mxs_cmat right, mxs_mat F_U, mxs_mat F_V) {
  const int64_t k = F_U.cols;
  const int64_t least = left.rows < right.rows ? left.rows : right.rows;
  const int64_t p = left.cols < least ? left.cols : least;
  double *room = NULL;
  int64_t *from = NULL;
  mxs_status status = MXS_OK;
  MXS_TRY_GOTO(status, mxs_alloc(p * (1 + left.rows + right.rows), sizeof *room, &room), cleanup);
  MXS_TRY_GOTO(status, mxs_alloc(k, sizeof *from, &from), cleanup);
  double *s = room;
  double *u = s + p;
  double *v = u + p * left.rows;
  MXS_TRY_GOTO(status, mxs_la_svd_product(left, right, s, u, v), cleanup);
  int64_t found = 0;
  for (int64_t j = 0; j < p && found < k; j++)
    if (!symmetric || is_positive(u, v, left.rows, p, j))
      from[found++] = j;
  for (; found < k; found++)
    from[found] = p - 1;
  scale_columns(F_U, u, p, from, s);
  scale_columns(F_V, symmetric ? u : v, p, from, s);
cleanup:
  mxs_release(&room);
  mxs_release(&from);
  return status;
}

mxs_status mxs_optim_balance(mxs_model model, mxs_mat F_U, mxs_mat F_V) {
  return leading_factors(model == MXS_MODEL_SYMMETRIC, mxs_cview(F_U.a, F_U.rows, F_U.cols),
                         mxs_cview(F_V.a, F_V.rows, F_V.cols), F_U, F_V);
}

static void normalise(const double *F, int64_t n, int64_t k, double *Q, double *norm) {
  for (int64_t j = 0; j < k; j++) {
    double sum = 0.0;
    for (int64_t i = 0; i < n; i++)
      sum += F[i * k + j] * F[i * k + j];
    norm[j] = sqrt(sum);
    for (int64_t i = 0; i < n; i++)
      Q[i * k + j] = F[i * k + j] / norm[j];
  }
}

void mxsi_tangent_at(mxsi_tangent *t, const double *F_U, const double *F_V) {
  normalise(F_U, t->n1, t->k, t->U, t->norm_U);
  normalise(F_V, t->n2, t->k, t->V, t->norm_V);
  for (int64_t j = 0; j < t->k; j++)
    t->s[j] = t->norm_U[j] * t->norm_V[j];
}

void mxsi_tangent_to_factors(const mxsi_tangent *t, const double *x, double *d) {
  const int64_t k = t->k;
  double *dV = d + t->n1 * k;
  memcpy(d, x + t->C, (size_t)(t->n1 * k) * sizeof *d);
  mxs_la_gemm(0, 0, 1.0, mxs_cview(t->U, t->n1, k), mxs_cview(x, k, k), 1.0, mxs_view(d, t->n1, k));
  for (int64_t i = 0; i < t->n1; i++)
    for (int64_t j = 0; j < k; j++)
      d[i * k + j] /= t->norm_V[j];
  for (int64_t i = 0; i < t->n2; i++)
    for (int64_t j = 0; j < k; j++)
      dV[i * k + j] = x[t->B + i * k + j] / t->norm_U[j];
}

/* W <- (I - Q Q^T) W, with Q^T W in `small`. */
static void project_out(const mxsi_tangent *t, const double *Q, double *W, int64_t n) {
  const int64_t k = t->k;
  mxs_la_gemm(1, 0, 1.0, mxs_cview(Q, n, k), mxs_cview(W, n, k), 0.0, mxs_view(t->small, k, k));
  mxs_la_gemm(0, 0, -1.0, mxs_cview(Q, n, k), mxs_cview(t->small, k, k), 1.0, mxs_view(W, n, k));
}

void mxsi_tangent_from_factors(const mxsi_tangent *t, const double *g, double *x) {
  const int64_t k = t->k;
  for (int64_t i = 0; i < t->n1; i++)
    for (int64_t j = 0; j < k; j++)
      x[t->C + i * k + j] = g[i * k + j] / t->norm_V[j];
  for (int64_t i = 0; i < t->n2; i++)
    for (int64_t j = 0; j < k; j++)
      x[t->B + i * k + j] = g[(t->n1 + i) * k + j] / t->norm_U[j];
  project_out(t, t->U, x + t->C, t->n1);
  memcpy(x, t->small, (size_t)(k * k) * sizeof *x);
  project_out(t, t->V, x + t->B, t->n2);
}

void mxsi_tangent_symmetrise(const mxsi_tangent *t, double *x) {
  const int64_t k = t->k;
  for (int64_t i = 0; i < k; i++)
    for (int64_t j = 0; j <= i; j++)
      x[i * k + j] = x[j * k + i] = 0.5 * (x[i * k + j] + x[j * k + i]);
  for (int64_t i = 0; i < t->n1 * k; i++)
    x[t->C + i] = x[t->B + i] = 0.5 * (x[t->C + i] + x[t->B + i]);
}

int64_t mxsi_tangent_order(const mxsi_tangent *t, int symmetric) {
  return (symmetric ? t->n1 : t->n1 + t->n2) * t->k;
}

void mxsi_tangent_embed(const mxsi_tangent *t, int symmetric, const double *x, double *Y) {
  const int64_t left = t->n1 * t->k;
  const double unit = symmetric ? sqrt(2.0) : 1.0;
  for (int64_t i = 0; i < left; i++)
    Y[i] = unit * x[t->C + i];
  mxs_la_gemm(0, 0, 1.0, mxs_cview(t->U, t->n1, t->k), mxs_cview(x, t->k, t->k), 1.0,
              mxs_view(Y, t->n1, t->k));
  if (!symmetric)
    memcpy(Y + left, x + t->B, (size_t)(t->n2 * t->k) * sizeof *Y);
}

void mxsi_tangent_extract(const mxsi_tangent *t, int symmetric, const double *Y, double *x) {
  const int64_t k = t->k;
  const int64_t left = t->n1 * k;
  memcpy(x + t->C, Y, (size_t)left * sizeof *x);
  project_out(t, t->U, x + t->C, t->n1);
  memcpy(x, t->small, (size_t)(k * k) * sizeof *x);
  if (!symmetric) {
    memcpy(x + t->B, Y + left, (size_t)(t->n2 * k) * sizeof *x);
    project_out(t, t->V, x + t->B, t->n2);
    return;
  }
  for (int64_t i = 0; i < left; i++)
    x[t->B + i] = x[t->C + i] /= sqrt(2.0);
  for (int64_t i = 0; i < k; i++)
    for (int64_t j = 0; j < i; j++)
      x[i * k + j] = x[j * k + i] = 0.5 * (x[i * k + j] + x[j * k + i]);
}

mxs_status mxsi_tangent_normal(const mxsi_tangent *t, const double *G, double *P) {
  const int64_t n1 = t->n1;
  const int64_t n2 = t->n2;
  const int64_t k = t->k;
  double *W = NULL;
  MXS_TRY(mxs_alloc(k * (n1 > n2 ? n1 : n2), sizeof *W, &W));
  if (P != G)
    memcpy(P, G, (size_t)(n1 * n2) * sizeof *P);
  const mxs_cmat U = mxs_cview(t->U, n1, k);
  const mxs_cmat V = mxs_cview(t->V, n2, k);
  mxs_la_gemm(1, 0, 1.0, U, mxs_cview(P, n1, n2), 0.0, mxs_view(W, k, n2));
  mxs_la_gemm(0, 0, -1.0, U, mxs_cview(W, k, n2), 1.0, mxs_view(P, n1, n2));
  mxs_la_gemm(0, 0, 1.0, mxs_cview(P, n1, n2), V, 0.0, mxs_view(W, n1, k));
  mxs_la_gemm(0, 1, -1.0, mxs_cview(W, n1, k), V, 1.0, mxs_view(P, n1, n2));
  mxs_release(&W);
  return MXS_OK;
}

mxs_status mxsi_tangent_retract(
    const mxsi_tangent *t, int symmetric, const double *x, double *F_U, double *F_V) {
  const int64_t k = t->k;
  const int64_t width = 2 * k;
  double *room = NULL; /* [U K + C, U], [V, B] */
  MXS_TRY(mxs_alloc((t->n1 + t->n2) * width, sizeof *room, &room));
  const mxs_mat left = mxs_view(room, t->n1, width);
  const mxs_mat right = mxs_view(room + t->n1 * width, t->n2, width);
  for (int64_t i = 0; i < t->n1; i++) {
    memcpy(left.a + i * width, x + t->C + i * k, (size_t)k * sizeof *room);
    memcpy(left.a + i * width + k, t->U + i * k, (size_t)k * sizeof *room);
  }
  for (int64_t i = 0; i < t->n2; i++) {
    memcpy(right.a + i * width, t->V + i * k, (size_t)k * sizeof *room);
    memcpy(right.a + i * width + k, x + t->B + i * k, (size_t)k * sizeof *room);
  }
  mxs_la_gemm(0, 0, 1.0, mxs_cview(t->U, t->n1, k), mxs_cview(x, k, k), 1.0,
              (mxs_mat){left.a, t->n1, k, width});
  const mxs_status status =
      leading_factors(symmetric, mxs_cview(left.a, t->n1, width), mxs_cview(right.a, t->n2, width),
                      mxs_view(F_U, t->n1, k), mxs_view(F_V, t->n2, k));
  mxs_release(&room);
  return status;
}
