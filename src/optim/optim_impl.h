/** @file
 *  The rules, one file each, and what they share. Room `optim`. */
#ifndef MXS_OPTIM_OPTIM_IMPL_H
#define MXS_OPTIM_OPTIM_IMPL_H

#include "optim/optim.h"

extern const mxs_rule mxsi_rule_gd;
extern const mxs_rule mxsi_rule_nesterov;
extern const mxs_rule mxsi_rule_sgd;
extern const mxs_rule mxsi_rule_scaled_gd;
extern const mxs_rule mxsi_rule_agn;
extern const mxs_rule mxsi_rule_riemannian_gd;
extern const mxs_rule mxsi_rule_gauss_newton;

/** Numbers of a trajectory that rules use: optim->number. */
enum {
  MXSI_KICKED = MXS_OPTIM_OWN, /**< iteration of the last kick, plus 1 */
  MXSI_KICKED_LOSS             /**< the loss at it */
};

/** Is the unknown U U^T? Local. */
int mxsi_optim_symmetric(const mxs_optim *optim);

/** Gradients of the model's own variables: those of f, or for U U^T the mean of both in both, so
 * that V stays U. `gU` and `gV`: room for n1 k and n2 k numbers. Local. */
void mxsi_optim_gradient(const mxs_optim *optim, double *gU, double *gV);

/** U <- U - step P,  V <- V - step Q. Local. */
void mxsi_optim_move(mxs_optim *optim, double step, const double *P, const double *Q);

/** Add the gradient of the balancing regulariser, (c / 4) ||D||_F^2 with D = U^T U - V^T V and
 *  c = balance scale^2:  gU += c U D,  gV -= c V D. Tu, Boczar, Simchowitz, Soltanolkotabi, Recht
 *  (2016), who take c = 1/4 for A of unit variance. Nothing where balance is 0, or for U U^T.
 *  Collective, as is the next. */
MXS_CHECKED mxs_status mxsi_balance_gradient(const mxs_optim *optim, double *gU, double *gV);

/** Add the coefficients of (c / 4) ||D||_F^2 along (U - t P, V - t Q). */
MXS_CHECKED mxs_status mxsi_balance_line(const mxs_optim *optim,
                                         const double *P,
                                         const double *Q,
                                         double coefficients[5]);

/** Where options->line_search is set the step to the first minimum of f, and of the regulariser
 *  where `balanced`, along (U - t P, V - t Q); else, and where there is no such minimum,
 *  optim->step. Collective: one visit to A, forward only. */
MXS_CHECKED mxs_status
mxsi_optim_step(mxs_optim *optim, const double *P, const double *Q, int balanced, double *step);

/** Smallest positive root of c[1] + 2 c[2] t + 3 c[3] t^2 + 4 c[4] t^3, the first minimum of the
 *  quartic; `fallback` where it does not fall at t = 0, or there is none. Local. */
double mxsi_first_minimum(const double c[5], double fallback);

/** G <- G (F^T F + lambda s_1 / scale^2 I)^{-1} / scale^2: F is n x k, G is rows x k. The
 *  pseudo-inverse where the matrix is not numerically definite: directions in which F^T F is below
 *  1e-13 of its largest eigenvalue are left out. The division makes G, which carries the scale^2 of
 *  A, a step of F's own units. Local. */
MXS_CHECKED mxs_status mxsi_optim_precondition(
    const mxs_optim *optim, const double *F, int64_t n, double *G, int64_t rows);

/** Kick (U, V), after the step, where the gradient (gU, gV) is nearly zero but the residual is not:
 *  a point drawn uniformly from a ball of radius options->perturb times the norm of (U, V), or
 * times sqrt(s_1 / scale^2) at the origin, is added. At most one in 100 iterations, and none after
 * one that did not let the loss fall: Jin, Ge, Netrapalli, Kakade, Jordan (2017). Local. */
void mxsi_optim_kick(mxs_optim *optim, const double *gU, const double *gV);

#endif
