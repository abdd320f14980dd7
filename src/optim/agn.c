/* Approximated Gauss-Newton: the factors in turn, each from an evaluation of its own:
 *
 *     even iterations  U <- U - (step / scale^2) gU (V^T V + l I)^+,
 *     odd iterations   V <- V - (step / scale^2) gV (U^T U + l I)^+,  l = lambda s_1 / scale^2.
 *
 * Jia, Feng, Meng, Sun (2024). For U U^T, which has one factor, every iteration moves it. */
#include "optim/optim_impl.h"

#include <math.h>
#include <string.h>

static mxs_status direction(const mxs_optim *o, double *P, double *Q) {
  const int64_t n1 = o->problem->n1, n2 = o->problem->n2;
  const int symmetric = mxsi_optim_symmetric(o);
  mxsi_optim_gradient(o, P, Q);
  if (symmetric) {
    MXS_TRY(mxsi_optim_precondition(o, o->U, n1, P, n1));
    memcpy(Q, P, (size_t)(n2 * o->k) * sizeof *Q);
  } else if (o->iteration % 2 == 0) {
    MXS_TRY(mxsi_optim_precondition(o, o->V, n2, P, n1));
    memset(Q, 0, (size_t)(n2 * o->k) * sizeof *Q);
  } else {
    MXS_TRY(mxsi_optim_precondition(o, o->U, n1, Q, n2));
    memset(P, 0, (size_t)(n1 * o->k) * sizeof *P);
  }
  return MXS_OK;
}

static mxs_status advance(mxs_optim *o) {
  MXS_TRY(mxs_comm_agree(o->problem->comm, direction(o, o->work_U, o->work_V)));
  mxsi_optim_move(o, o->step, o->work_U, o->work_V);
  return MXS_OK;
}

/* f in one factor is a quadratic whose preconditioned Hessian has, for random A, eigenvalues of at
 * most (1 + q)^2, q^2 = n k / m, and somewhat more for factors that have seen A: a step of 2 over
 * that would be too much. Where both factors are one it is moved twice as far. */
static double slow_for_few(const mxs_problem *p, const mxs_solve_options *options, int64_t k) {
  const double n = (double)(p->n1 > p->n2 ? p->n1 : p->n2);
  const double q = 1.0 + sqrt(n * (double)k / (double)p->m_train);
  return (options->model == MXS_MODEL_SYMMETRIC ? 0.5 : 1.0) * fmin(1.0, 1.7 / (q * q));
}

const mxs_rule mxsi_rule_agn = {.name = "agn",
                                .start = MXS_START_SPECTRAL,
                                .many = 1,
                                .automatic_step = 1.0,
                                .damping = slow_for_few,
                                .advance = advance};
