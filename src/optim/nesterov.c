/* Nesterov's accelerated gradient on both factors. The iterate is the extrapolated point Z, which f
 * is evaluated at; the memory is the point before the extrapolation:
 *
 *     W' = Z - step g(Z),   Z' = W' + beta (W' - W).
 *
 *  | symbol | here                                                     |
 *  |--------|----------------------------------------------------------|
 *  | Z      | U, V                                                     |
 *  | W      | memory_U, memory_V; at the start W = Z, that is no jump  |
 *  | beta   | options->momentum                                        | */
#include "optim/optim_impl.h"

static void accelerate(
    double step, double beta, const double *g, int64_t count, double *Z, double *W) {
  for (int64_t i = 0; i < count; i++) {
    const double w = Z[i] - step * g[i];
    Z[i] = w + beta * (w - W[i]);
    W[i] = w;
  }
}

static mxs_status advance(mxs_optim *o) {
  const int64_t left = o->problem->n1 * o->k;
  const int64_t right = o->problem->n2 * o->k;
  const double beta = o->iteration == 0 ? 0.0 : o->options->momentum;
  mxsi_optim_gradient(o, o->work_U, o->work_V);
  MXS_TRY(mxsi_balance_gradient(o, o->work_U, o->work_V));
  accelerate(o->step, beta, o->work_U, left, o->U, o->memory_U);
  accelerate(o->step, beta, o->work_V, right, o->V, o->memory_V);
  return MXS_OK;
}

const mxs_rule mxsi_rule_nesterov = {.name = "nesterov",
                                     .remembers = 1,
                                     .many = 1,
                                     .automatic_step = 0.25,
                                     .scaled_by_s1 = 1,
                                     .advance = advance};
