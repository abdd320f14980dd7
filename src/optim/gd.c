#include "optim/optim_impl.h"

#include <string.h>

void mxsi_optim_gradient(const mxs_optim *o, double *gU, double *gV) {
  const int64_t left = o->problem->n1 * o->k;
  const int64_t right = o->problem->n2 * o->k;
  if (o->options->model == MXS_MODEL_SYMMETRIC) {
    for (int64_t i = 0; i < left; i++)
      gU[i] = 0.5 * (o->at->gU[i] + o->at->gV[i]);
    memcpy(gV, gU, (size_t)right * sizeof *gV);
    return;
  }
  memcpy(gU, o->at->gU, (size_t)left * sizeof *gU);
  memcpy(gV, o->at->gV, (size_t)right * sizeof *gV);
}

/* U <- U - step gU,  V <- V - step gV, both from the old pair. */
static mxs_status descend(mxs_optim *o) {
  mxsi_optim_gradient(o, o->work_U, o->work_V);
  for (int64_t i = 0; i < o->problem->n1 * o->k; i++)
    o->U[i] -= o->step * o->work_U[i];
  for (int64_t i = 0; i < o->problem->n2 * o->k; i++)
    o->V[i] -= o->step * o->work_V[i];
  return MXS_OK;
}

const mxs_rule mxsi_rule_gd = {.name = "gd",
                               .many = 1,
                               .line_search = 1,
                               .automatic_step = 0.25,
                               .scaled_by_s1 = 1,
                               .advance = descend};
