/* | symbol | meaning                                                          |
 * |--------|------------------------------------------------------------------|
 * | D      | U^T U - V^T V                                                    |
 * | E, F   | D along the line is D - t E + t^2 F: E = U^T P + P^T U - V^T Q - |
 * |        | Q^T V, F = P^T P - Q^T Q                                         |
 * | c      | balance scale^2                                                  | */
#include "la/la.h"
#include "optim/optim_impl.h"

static double weight(const mxs_optim *o) {
  return mxsi_optim_symmetric(o) ? 0.0 : o->options->balance * o->problem->scale2;
}

/* C <- alpha (A^T B - P^T Q) + beta C for A, B of n1 rows and P, Q of n2 rows. */
static void difference(const mxs_optim *o,
                       double alpha,
                       const double *A,
                       const double *B,
                       const double *P,
                       const double *Q,
                       double beta,
                       double *C) {
  const int64_t n1 = o->problem->n1, n2 = o->problem->n2, k = o->k;
  const mxs_mat to = mxs_view(C, k, k);
  mxs_la_gemm(1, 0, alpha, mxs_cview(A, n1, k), mxs_cview(B, n1, k), beta, to);
  mxs_la_gemm(1, 0, -alpha, mxs_cview(P, n2, k), mxs_cview(Q, n2, k), 1.0, to);
}

mxs_status mxsi_balance_gradient(const mxs_optim *o, double *gU, double *gV) {
  const int64_t n1 = o->problem->n1, n2 = o->problem->n2, k = o->k;
  const double c = weight(o);
  double *D = NULL;
  if (c == 0.0)
    return MXS_OK;
  MXS_TRY(mxs_comm_agree(o->problem->comm, mxs_alloc(k * k, sizeof *D, &D)));
  difference(o, 1.0, o->U, o->U, o->V, o->V, 0.0, D);
  mxs_la_gemm(0, 0, c, mxs_cview(o->U, n1, k), mxs_cview(D, k, k), 1.0, mxs_view(gU, n1, k));
  mxs_la_gemm(0, 0, -c, mxs_cview(o->V, n2, k), mxs_cview(D, k, k), 1.0, mxs_view(gV, n2, k));
  mxs_release(&D);
  return MXS_OK;
}

mxs_status mxsi_balance_line(const mxs_optim *o,
                             const double *P,
                             const double *Q,
                             double coefficients[5]) {
  const int64_t k = o->k;
  const double quarter = weight(o) / 4.0;
  double *room = NULL;
  if (quarter == 0.0)
    return MXS_OK;
  MXS_TRY(mxs_comm_agree(o->problem->comm, mxs_alloc(3 * k * k, sizeof *room, &room)));
  double *D = room, *E = room + k * k, *F = room + 2 * k * k;
  difference(o, 1.0, o->U, o->U, o->V, o->V, 0.0, D);
  difference(o, 1.0, o->U, P, o->V, Q, 0.0, E);
  difference(o, 1.0, P, o->U, Q, o->V, 1.0, E);
  difference(o, 1.0, P, P, Q, Q, 0.0, F);
  for (int64_t i = 0; i < k * k; i++) {
    coefficients[0] += quarter * D[i] * D[i];
    coefficients[1] -= quarter * 2.0 * D[i] * E[i];
    coefficients[2] += quarter * (E[i] * E[i] + 2.0 * D[i] * F[i]);
    coefficients[3] -= quarter * 2.0 * E[i] * F[i];
    coefficients[4] += quarter * F[i] * F[i];
  }
  mxs_release(&room);
  return MXS_OK;
}
