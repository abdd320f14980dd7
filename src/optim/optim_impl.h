/** @file
 *  The rules, one file each, and what they share. Room `optim`. */
#ifndef MXS_OPTIM_OPTIM_IMPL_H
#define MXS_OPTIM_OPTIM_IMPL_H

#include "optim/optim.h"

extern const mxs_rule mxsi_rule_gd;
extern const mxs_rule mxsi_rule_nesterov;
extern const mxs_rule mxsi_rule_gauss_newton;

/** Gradients of the model's own variables: those of f, or for U U^T the mean of both in both, so
 * that V stays U. `gU` and `gV`: room for n1 k and n2 k numbers. Local. */
void mxsi_optim_gradient(const mxs_optim *optim, double *gU, double *gV);

#endif
