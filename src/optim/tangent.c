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

/* F <- the first columns of `vectors` (n x p), times sqrt(s); those that are missing or have no
 * value get a negligible one. */
static void scale_columns(mxs_mat F, const double *vectors, int64_t p, const double *s) {
  for (int64_t j = 0; j < F.cols; j++) {
    const int64_t from = j < p ? j : p - 1;
    const double root = sqrt(fmax(j < p ? s[j] : 0.0, LEAST * s[0]));
    for (int64_t i = 0; i < F.rows; i++)
      F.a[i * F.ld + j] = root * vectors[i * p + from];
  }
}

static double squares(const double *s, int64_t from, int64_t count) {
  double sum = 0.0;
  for (int64_t j = from; j < count; j++)
    sum += s[j] * s[j];
  return sum;
}

/* Balanced factors of the leading part of left right^T. */
static mxs_status leading_factors(
    mxs_cmat left, mxs_cmat right, mxs_mat F_U, mxs_mat F_V, double *lost) {
  const int64_t least = left.rows < right.rows ? left.rows : right.rows;
  const int64_t p = left.cols < least ? left.cols : least;
  double *s = NULL;
  MXS_TRY(mxs_alloc(p * (1 + left.rows + right.rows), sizeof *s, &s));
  double *u = s + p;
  double *v = u + p * left.rows;
  const mxs_status status = mxs_la_svd_product(left, right, s, u, v);
  if (status == MXS_OK) {
    *lost = squares(s, F_U.cols, p);
    scale_columns(F_U, u, p, s);
    scale_columns(F_V, v, p, s);
  }
  mxs_release(&s);
  return status;
}

/* core <- R1 R2^T + R2 R1^T over two, for R = [R1, R2], p x 2 width. */
static void symmetric_core(const double *R, int64_t p, int64_t width, double *core) {
  const mxs_cmat R1 = {R, p, width, 2 * width};
  const mxs_cmat R2 = {R + width, p, width, 2 * width};
  mxs_la_gemm(0, 1, 0.5, R1, R2, 0.0, mxs_view(core, p, p));
  for (int64_t i = 0; i < p; i++)
    for (int64_t j = 0; j <= i; j++)
      core[i * p + j] = core[j * p + i] = core[i * p + j] + core[j * p + i];
}

/* F F^T <- the leading part of the symmetric part of left right^T without its negative eigenvalues,
 * through an orthonormal basis Q of both: singular values would mix eigenvectors of a and -a. */
static mxs_status leading_eigenvectors(mxs_cmat left, mxs_cmat right, mxs_mat F, double *lost) {
  const int64_t n = left.rows;
  const int64_t width = left.cols;
  const int64_t p = 2 * width < n ? 2 * width : n;
  double *Q = NULL;
  mxs_status status = MXS_OK;
  MXS_TRY(mxs_alloc(2 * n * p + 2 * n * width + 2 * p * width + 2 * p * p + p, sizeof *Q, &Q));
  double *vectors = Q + n * p;
  double *both = vectors + n * p;
  double *R = both + 2 * n * width;
  double *core = R + 2 * p * width;
  double *turned = core + p * p; /* eigenvectors in rows */
  double *s = turned + p * p;
  for (int64_t i = 0; i < n; i++) {
    memcpy(both + 2 * i * width, left.a + i * left.ld, (size_t)width * sizeof *both);
    memcpy(both + 2 * i * width + width, right.a + i * right.ld, (size_t)width * sizeof *both);
  }
  MXS_TRY_GOTO(status, mxs_la_qr(mxs_cview(both, n, 2 * width), Q, R), cleanup);
  symmetric_core(R, p, width, core);
  MXS_TRY_GOTO(status, mxs_la_eigen_symmetric(mxs_cview(core, p, p), s, turned), cleanup);
  for (int64_t j = 0; j < p; j++) /* descending */
    memcpy(core + j * p, turned + (p - 1 - j) * p, (size_t)p * sizeof *core);
  for (int64_t j = 0; j < p; j++)
    turned[j] = fmax(s[p - 1 - j], 0.0);
  *lost = squares(s, 0, p - (F.cols < p ? F.cols : p));
  mxs_la_gemm(0, 1, 1.0, mxs_cview(Q, n, p), mxs_cview(core, p, p), 0.0, mxs_view(vectors, n, p));
  scale_columns(F, vectors, p, turned);
cleanup:
  mxs_release(&Q);
  return status;
}

static mxs_status lead(
    int symmetric, mxs_cmat left, mxs_cmat right, mxs_mat F_U, mxs_mat F_V, double *lost) {
  if (!symmetric)
    return leading_factors(left, right, F_U, F_V, lost);
  MXS_TRY(leading_eigenvectors(left, right, F_U, lost));
  for (int64_t i = 0; i < F_U.rows; i++)
    memcpy(F_V.a + i * F_V.ld, F_U.a + i * F_U.ld, (size_t)F_U.cols * sizeof *F_U.a);
  return MXS_OK;
}

mxs_status mxs_optim_balance(mxs_model model, mxs_mat F_U, mxs_mat F_V) {
  double lost = 0.0;
  return lead(model == MXS_MODEL_SYMMETRIC, mxs_cview(F_U.a, F_U.rows, F_U.cols),
              mxs_cview(F_V.a, F_V.rows, F_V.cols), F_U, F_V, &lost);
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

double mxsi_tangent_dot(const mxsi_tangent *t, const double *x, const double *y) {
  double sum = 0.0;
  for (int64_t i = 0; i < t->length; i++)
    sum += x[i] * y[i];
  return sum;
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
    const mxsi_tangent *t, int symmetric, const double *x, double *F_U, double *F_V, double *lost) {
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
      lead(symmetric, mxs_cview(left.a, t->n1, width), mxs_cview(right.a, t->n2, width),
           mxs_view(F_U, t->n1, k), mxs_view(F_V, t->n2, k), lost);
  mxs_release(&room);
  return status;
}
