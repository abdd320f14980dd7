/* Scaled gradient descent, both factors from the old pair:
 *
 *     U <- U - (step / scale^2) gU (V^T V + l I)^{-1},
 *     V <- V - (step / scale^2) gV (U^T U + l I)^{-1},  l = lambda s_1 / scale^2.
 *
 * Tong, Ma, Chi (2021) for l = 0; Xu, Shen, Chi, Ma (2023) for l > 0 and U U^T, where U takes the
 * place of V and the gradient is that of the mean. */
#include "optim/optim_impl.h"

#include <math.h>
#include <string.h>

static mxs_status direction(const mxs_optim *o) {
  const int64_t n1 = o->problem->n1, n2 = o->problem->n2;
  mxsi_optim_gradient(o, o->work_U, o->work_V);
  MXS_TRY(mxsi_optim_precondition(o, o->V, n2, o->work_U, n1));
  if (!mxsi_optim_symmetric(o))
    return mxsi_optim_precondition(o, o->U, n1, o->work_V, n2);
  memcpy(o->work_V, o->work_U, (size_t)(n2 * o->k) * sizeof *o->work_V);
  return MXS_OK;
}

static mxs_status advance(mxs_optim *o) {
  double step = 0.0;
  MXS_TRY(mxs_comm_agree(o->problem->comm, direction(o)));
  MXS_TRY(mxsi_optim_step(o, o->work_U, o->work_V, 0, &step));
  mxsi_optim_move(o, step, o->work_U, o->work_V);
  return MXS_OK;
}

/* Tried: half a step holds while the factors have at most 0.4 m degrees of freedom; with more it
 * overshoots in the directions where they are small. */
static double slow_for_few(const mxs_problem *p, const mxs_solve_options *options, int64_t k) {
  const double freedom = (double)k * (double)(p->n1 + p->n2 - k);
  (void)options;
  return freedom > 0.0 ? fmin(1.0, 0.4 * (double)p->m_train / freedom) : 1.0;
}

const mxs_rule mxsi_rule_scaled_gd = {.name = "scaled_gd",
                                      .start = MXS_START_SPECTRAL,
                                      .many = 1,
                                      .line_search = 1,
                                      .automatic_step = 0.5,
                                      .damping = slow_for_few,
                                      .advance = advance};
