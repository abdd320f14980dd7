/* Gradient descent, both factors from the old pair, on all measurements or on batches:
 *
 *     U <- U - step gU,  V <- V - step gV. */
#include "optim/optim_impl.h"

#include <math.h>

static mxs_status direction(const mxs_optim *o) {
  mxsi_optim_gradient(o, o->work_U, o->work_V);
  return mxsi_balance_gradient(o, o->work_U, o->work_V);
}

static mxs_status descend(mxs_optim *o) {
  double step = 0.0;
  MXS_TRY(direction(o));
  MXS_TRY(mxsi_optim_step(o, o->work_U, o->work_V, 1, &step));
  mxsi_optim_move(o, step, o->work_U, o->work_V);
  mxsi_optim_kick(o, o->at->gU, o->at->gV);
  return MXS_OK;
}

const mxs_rule mxsi_rule_gd = {.name = "gd",
                               .many = 1,
                               .line_search = 1,
                               .automatic_step = 0.25,
                               .scaled_by_s1 = 1,
                               .advance = descend};

static mxs_status descend_on_batch(mxs_optim *o) {
  const mxs_solve_options *options = o->options;
  const double age = 1.0 + (double)o->iteration / options->step_delay;
  MXS_TRY(direction(o));
  mxsi_optim_move(o, o->step / pow(age, options->step_decay), o->work_U, o->work_V);
  return MXS_OK;
}

/* The Hessian of f at a fit has the largest eigenvalue 2 s_1 and a trace of at most
 * (n1 + n2) k s_1. On batches of b measurements the noise of the gradient adds about trace / b to
 * the former, and nothing where b is all of them. */
static double slow_on_batch(const mxs_problem *p, const mxs_solve_options *options, int64_t k) {
  const double m = (double)p->m_train;
  const double b = options->batch > 0 ? fmin((double)options->batch, m) : m;
  return 1.0 / (1.0 + (double)(p->n1 + p->n2) * (double)k * (1.0 / b - 1.0 / m));
}

const mxs_rule mxsi_rule_sgd = {.name = "sgd",
                                .stochastic = 1,
                                .automatic_step = 0.25,
                                .scaled_by_s1 = 1,
                                .damping = slow_on_batch,
                                .advance = descend_on_batch};
