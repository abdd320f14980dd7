#include "spectral/spectral.h"

mxs_status mxsi_distributed_svd(const mxs_comm *comm,
                                double *share,
                                int64_t n1,
                                int64_t n2,
                                int64_t count,
                                double *s,
                                double *left,
                                double *right) {
  (void)comm, (void)share, (void)n1, (void)n2, (void)count, (void)s, (void)left, (void)right;
  return mxs_fail(MXS_ERR_SETTINGS,
                  "svd = scalapack, but this build has no ScaLAPACK: use svd = replicated");
}

int mxs_has_distributed(void) {
  return 0;
}

mxs_status mxs_distributed_definite(const mxs_comm *comm,
                                    const mxs_definite_system *system,
                                    double *x,
                                    int *solved) {
  (void)comm, (void)system, (void)x, (void)solved;
  return mxs_fail(
      MXS_ERR_SETTINGS,
      "a factorisation over the ranks, but this build has no ScaLAPACK: use inner = cg");
}
