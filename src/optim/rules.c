#include "optim/optim_impl.h"

const mxs_rule *mxs_rule_of(mxs_method method) {
  static const mxs_rule automatic = {.name = "auto"};
  static const mxs_rule *const rules[] = {[MXS_METHOD_AUTO] = &automatic,
                                          [MXS_METHOD_GD] = &mxsi_rule_gd,
                                          [MXS_METHOD_NESTEROV] = &mxsi_rule_nesterov,
                                          [MXS_METHOD_SGD] = &mxsi_rule_sgd,
                                          [MXS_METHOD_SCALED_GD] = &mxsi_rule_scaled_gd,
                                          [MXS_METHOD_AGN] = &mxsi_rule_agn,
                                          [MXS_METHOD_RIEMANNIAN_GD] = &mxsi_rule_riemannian_gd,
                                          [MXS_METHOD_GAUSS_NEWTON] = &mxsi_rule_gauss_newton};
  return rules[method];
}

double mxs_rule_step(const mxs_rule *rule,
                     const mxs_problem *problem,
                     const mxs_solve_options *options,
                     int64_t k,
                     double s1) {
  const double share = rule->damping != NULL ? rule->damping(problem, options, k) : 1.0;
  if (!rule->scaled_by_s1)
    return rule->automatic_step * share;
  return s1 > 0.0 ? rule->automatic_step * share / s1 : 1.0;
}
