/* Gradient descent on the manifold of rank-k matrices, X = U V^T = Qu Ru Rv^T Qv^T:
 *
 *     W = Qu Qu^T G + G Qv Qv^T - Qu Qu^T G Qv Qv^T     (the gradient's part in the tangent space)
 *     X <- H_k(X - step W),  step = ||W||_F^2 / ((1/m) |A(W)|^2)
 *
 * with H_k the best approximation of rank k, through a core of order 2 k: Wei, Cai, Chan, Leung
 * (2016). A given step is divided by scale^2. The factors come out balanced.
 *
 *  | symbol     | meaning                                                                     |
 *  |------------|-----------------------------------------------------------------------------|
 *  | Qu Ru      | U; Qv Rv: V                                                                 |
 *  | P, Q       | G Qv = gU Rv^{-1}, G^T Qu = gV Ru^{-1}                                      |
 *  | M          | Qu^T P = Q^T Qv                                                             |
 *  | Q1 R1      | P - Qu M; Q2 R2: Q - Qv M^T                                                 |
 *  | C          | the core: X - step W = [Qu Q1] C [Qv Q2]^T                                  |
 *  | S, T       | of the line: [P - Qu M, Qu] and [Qv, Q], W = S T^T                          | */
#include "la/la.h"
#include "optim/optim_impl.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* A diagonal entry of R below this share of the largest: the direction has no gradient of its own.
 */
#define NEGLIGIBLE 1e-13

typedef struct tangent {
  double *room;
  double *Qu, *Qv, *Ru, *Rv;
  double *P, *Q, *M;
  double *Pu, *Q1, *R1, *Q2, *R2;
  double *C, *s, *left, *right;
  double *S, *T, *zero;
} tangent;

static double *take(double **room, int64_t count) {
  double *taken = *room;
  *room += count;
  return taken;
}

static mxs_status create(const mxs_optim *o, tangent *t) {
  const int64_t k = o->k, left = o->problem->n1 * k, right = o->problem->n2 * k;
  const int64_t more = left > right ? left : right;
  MXS_TRY(
      mxs_alloc(6 * left + 6 * right + 2 * more + 17 * k * k + 2 * k, sizeof *t->room, &t->room));
  double *room = t->room;
  t->Qu = take(&room, left);
  t->Qv = take(&room, right);
  t->P = take(&room, left);
  t->Q = take(&room, right);
  t->Pu = take(&room, left);
  t->Q1 = take(&room, left);
  t->Q2 = take(&room, right);
  t->S = take(&room, 2 * left);
  t->T = take(&room, 2 * right);
  t->zero = take(&room, 2 * more);
  t->Ru = take(&room, k * k);
  t->Rv = take(&room, k * k);
  t->M = take(&room, k * k);
  t->R1 = take(&room, k * k);
  t->R2 = take(&room, k * k);
  t->C = take(&room, 4 * k * k);
  t->left = take(&room, 4 * k * k);
  t->right = take(&room, 4 * k * k);
  t->s = take(&room, 2 * k);
  return MXS_OK;
}

/* B <- B R^{-1} for an upper triangular R; columns without a pivot become zero. */
static void divide(const double *R, int64_t k, double *B, int64_t rows) {
  double largest = 0.0;
  for (int64_t j = 0; j < k; j++)
    largest = fmax(largest, fabs(R[j * k + j]));
  for (int64_t i = 0; i < rows; i++, B += k)
    for (int64_t j = 0; j < k; j++) {
      double sum = B[j];
      for (int64_t l = 0; l < j; l++)
        sum -= B[l] * R[l * k + j];
      B[j] = fabs(R[j * k + j]) > NEGLIGIBLE * largest ? sum / R[j * k + j] : 0.0;
    }
}

/* B - Q M or B - Q M^T = Q' R'; room for the difference. */
static mxs_status split(mxs_cmat B,
                        const double *Q,
                        mxs_cmat M,
                        int transpose,
                        double *rest,
                        double *orthogonal,
                        double *R) {
  memcpy(rest, B.a, (size_t)(B.rows * B.cols) * sizeof *rest);
  mxs_la_gemm(0, transpose, -1.0, mxs_cview(Q, B.rows, B.cols), M, 1.0,
              mxs_view(rest, B.rows, B.cols));
  return mxs_la_qr(mxs_cview(rest, B.rows, B.cols), orthogonal, R);
}

static mxs_status find_tangent(mxs_optim *o, tangent *t) {
  const int64_t n1 = o->problem->n1, n2 = o->problem->n2, k = o->k;
  MXS_TRY(mxs_la_qr(mxs_cview(o->U, n1, k), t->Qu, t->Ru));
  MXS_TRY(mxs_la_qr(mxs_cview(o->V, n2, k), t->Qv, t->Rv));
  mxsi_optim_gradient(o, t->P, t->Q);
  divide(t->Rv, k, t->P, n1);
  divide(t->Ru, k, t->Q, n2);
  const mxs_cmat M = mxs_cview(t->M, k, k);
  mxs_la_gemm(1, 0, 1.0, mxs_cview(t->Qu, n1, k), mxs_cview(t->P, n1, k), 0.0,
              mxs_view(t->M, k, k));
  MXS_TRY(split(mxs_cview(t->Q, n2, k), t->Qv, M, 1, t->T, t->Q2, t->R2));
  return split(mxs_cview(t->P, n1, k), t->Qu, M, 0, t->Pu, t->Q1, t->R1);
}

static double square(const double *A, int64_t count) {
  const double norm = mxs_la_frobenius(mxs_cview(A, 1, count));
  return norm * norm;
}

/* (1/m) |A(W)|^2 is twice the curvature of f along W. */
static mxs_status best_step(mxs_optim *o, tangent *t, double *step) {
  const int64_t n1 = o->problem->n1, n2 = o->problem->n2, k = o->k;
  const double W2 = square(t->Pu, n1 * k) + square(t->Q, n2 * k);
  double c[1][5];
  *step = o->step / o->problem->scale2;
  if (!o->automatic)
    return MXS_OK;
  for (int64_t i = 0; i < n1; i++) {
    memcpy(t->S + 2 * i * k, t->Pu + i * k, (size_t)k * sizeof *t->S);
    memcpy(t->S + 2 * i * k + k, t->Qu + i * k, (size_t)k * sizeof *t->S);
  }
  for (int64_t i = 0; i < n2; i++) {
    memcpy(t->T + 2 * i * k, t->Qv + i * k, (size_t)k * sizeof *t->T);
    memcpy(t->T + 2 * i * k + k, t->Q + i * k, (size_t)k * sizeof *t->T);
  }
  const mxs_point at = {.U = mxs_cview(t->zero, n1, 2 * k), .V = mxs_cview(t->T, n2, 2 * k)};
  const mxs_point along = {.U = mxs_cview(t->S, n1, 2 * k), .V = mxs_cview(t->zero, n2, 2 * k)};
  MXS_TRY(mxs_objective_line(o->objective, &at, &along, c));
  const double best = W2 / (2.0 * c[0][2]);
  *step = c[0][2] > 0.0 && isfinite(best) ? best : *step;
  return MXS_OK;
}

static void fill_core(const mxs_optim *o, tangent *t, double step) {
  const int64_t k = o->k;
  memset(t->C, 0, (size_t)(4 * k * k) * sizeof *t->C);
  mxs_la_gemm(0, 1, 1.0, mxs_cview(t->Ru, k, k), mxs_cview(t->Rv, k, k), 0.0,
              (mxs_mat){t->C, k, k, 2 * k});
  for (int64_t i = 0; i < k; i++)
    for (int64_t j = 0; j < k; j++) {
      t->C[2 * i * k + j] -= step * t->M[i * k + j];
      t->C[2 * (k + i) * k + j] = -step * t->R1[i * k + j];
      t->C[2 * i * k + k + j] = -step * t->R2[j * k + i];
    }
}

/* F <- ([Q Q'] E) diag(sqrt(s)): E is 2 k x k, or its transpose where asked; Q, Q' of n rows. */
static void rebuild(const tangent *t,
                    int64_t k,
                    int64_t n,
                    const double *Q,
                    const double *Q1,
                    const double *E,
                    int transpose,
                    double *F) {
  const int64_t below = transpose ? k : 2 * k * k;
  mxs_la_gemm(0, transpose, 1.0, mxs_cview(Q, n, k), (mxs_cmat){E, k, k, 2 * k}, 0.0,
              mxs_view(F, n, k));
  mxs_la_gemm(0, transpose, 1.0, mxs_cview(Q1, n, k), (mxs_cmat){E + below, k, k, 2 * k}, 1.0,
              mxs_view(F, n, k));
  for (int64_t i = 0; i < n; i++)
    for (int64_t j = 0; j < k; j++)
      F[i * k + j] *= sqrt(t->s[j]);
}

static mxs_status retract(mxs_optim *o, tangent *t) {
  const int64_t n1 = o->problem->n1, n2 = o->problem->n2, k = o->k;
  MXS_TRY(mxs_la_svd(mxs_cview(t->C, 2 * k, 2 * k), t->s, t->left, t->right));
  rebuild(t, k, n1, t->Qu, t->Q1, t->left, 0, o->U);
  rebuild(t, k, n2, t->Qv, t->Q2, t->right, 1, o->V);
  return MXS_OK;
}

/* The largest eigenvalues, of which negative ones count as zero. */
static mxs_status retract_symmetric(mxs_optim *o, tangent *t) {
  const int64_t n = o->problem->n1, k = o->k;
  MXS_TRY(mxs_la_eigen_symmetric(mxs_cview(t->C, 2 * k, 2 * k), t->s, t->right));
  for (int64_t j = 0; j < k; j++) {
    t->s[j] = fmax(t->s[2 * k - 1 - j], 0.0);
    memcpy(t->left + 2 * j * k, t->right + 2 * (2 * k - 1 - j) * k, (size_t)(2 * k) * sizeof *t->s);
  }
  rebuild(t, k, n, t->Qu, t->Q1, t->left, 1, o->U);
  memcpy(o->V, o->U, (size_t)(n * k) * sizeof *o->V);
  return MXS_OK;
}

static mxs_status advance(mxs_optim *o) {
  tangent t = {0};
  double step = 0.0;
  mxs_status status = create(o, &t);
  if (status == MXS_OK)
    status = find_tangent(o, &t);
  MXS_TRY_GOTO(status, mxs_comm_agree(o->problem->comm, status), cleanup);
  MXS_TRY_GOTO(status, best_step(o, &t, &step), cleanup);
  fill_core(o, &t, step);
  status = mxsi_optim_symmetric(o) ? retract_symmetric(o, &t) : retract(o, &t);
  status = mxs_comm_agree(o->problem->comm, status);
cleanup:
  mxs_release(&t.room);
  return status;
}

const mxs_rule mxsi_rule_riemannian_gd = {.name = "riemannian_gd",
                                          .start = MXS_START_SPECTRAL,
                                          .automatic_step = 1.0,
                                          .advance = advance};
