#include "optim/optim_impl.h"

const mxs_rule *mxs_rule_of(mxs_method method) {
  static const mxs_rule *const rules[] = {[MXS_METHOD_GD] = &mxsi_rule_gd,
                                          [MXS_METHOD_NESTEROV] = &mxsi_rule_nesterov,
                                          [MXS_METHOD_GAUSS_NEWTON] = &mxsi_rule_gauss_newton};
  return rules[method];
}

double mxs_rule_step(const mxs_rule *rule, double s1) {
  if (!rule->scaled_by_s1)
    return rule->automatic_step;
  return s1 > 0.0 ? rule->automatic_step / s1 : 1.0;
}
