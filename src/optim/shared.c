#include "la/la.h"
#include "optim/optim_impl.h"

#include <math.h>
#include <string.h>

/* Eigenvalues of a Gram matrix below this share of the largest are rounding. */
#define NEGLIGIBLE 1e-13

int mxsi_optim_symmetric(const mxs_optim *o) {
  return o->options->model == MXS_MODEL_SYMMETRIC;
}

void mxsi_optim_gradient(const mxs_optim *o, double *gU, double *gV) {
  const int64_t left = o->problem->n1 * o->k;
  const int64_t right = o->problem->n2 * o->k;
  if (mxsi_optim_symmetric(o)) {
    for (int64_t i = 0; i < left; i++)
      gU[i] = 0.5 * (o->at->gU[i] + o->at->gV[i]);
    memcpy(gV, gU, (size_t)right * sizeof *gV);
    return;
  }
  memcpy(gU, o->at->gU, (size_t)left * sizeof *gU);
  memcpy(gV, o->at->gV, (size_t)right * sizeof *gV);
}

void mxsi_optim_move(mxs_optim *o, double step, const double *P, const double *Q) {
  for (int64_t i = 0; i < o->problem->n1 * o->k; i++)
    o->U[i] -= step * P[i];
  for (int64_t i = 0; i < o->problem->n2 * o->k; i++)
    o->V[i] -= step * Q[i];
}

mxs_status mxsi_optim_precondition(
    const mxs_optim *o, const double *F, int64_t n, double *G, int64_t rows) {
  const int64_t k = o->k;
  const double lambda = o->options->lambda * o->s1 / o->problem->scale2;
  int definite = 0;
  double *gram = NULL;
  MXS_TRY(mxs_alloc(k * k, sizeof *gram, &gram));
  mxs_la_gemm(1, 0, 1.0, mxs_cview(F, n, k), mxs_cview(F, n, k), 0.0, mxs_view(gram, k, k));
  for (int64_t j = 0; j < k; j++)
    gram[j * k + j] += lambda;
  const mxs_cmat A = mxs_cview(gram, k, k);
  mxs_status status = mxs_la_solve_definite(A, NEGLIGIBLE, mxs_view(G, rows, k), &definite);
  if (status == MXS_OK && !definite)
    status = mxs_la_solve_semidefinite(A, NEGLIGIBLE, mxs_view(G, rows, k));
  for (int64_t i = 0; i < rows * k; i++)
    G[i] /= o->problem->scale2;
  mxs_release(&gram);
  return status;
}
