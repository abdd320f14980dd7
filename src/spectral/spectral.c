#include "spectral/spectral.h"

#include "la/la.h"

#include <math.h>

/* From this order on, a distributed factorisation takes the place of a replicated one where bits
 * may differ. */
enum { DISTRIBUTED_ORDER = 2048 };

/* Entries from which on the back-projection of an operator that knows products only is not formed.
 */
enum { LARGE_PRODUCT = 1 << 22, MANY_TRIPLETS = 4 };

mxs_status mxs_spectrum_create(const mxs_problem *problem, mxs_spectrum *out) {
  const int64_t order = problem->n1 < problem->n2 ? problem->n1 : problem->n2;
  const int64_t count = problem->k + 1 < order ? problem->k + 1 : order;
  *out = (mxs_spectrum){.count = count};
  mxs_status status = mxs_alloc(count, sizeof *out->s, &out->s);
  if (status == MXS_OK)
    status = mxs_alloc(problem->n1 * count, sizeof *out->left, &out->left);
  if (status == MXS_OK)
    status = mxs_alloc(problem->n2 * count, sizeof *out->right, &out->right);
  if (status != MXS_OK)
    mxs_spectrum_clear(out);
  return status;
}

void mxs_spectrum_clear(mxs_spectrum *spectrum) {
  mxs_release(&spectrum->s);
  mxs_release(&spectrum->left);
  mxs_release(&spectrum->right);
}

int64_t mxs_gap_rank(const double *s, int64_t count, int64_t most) {
  int64_t rank = 1;
  double largest = 0.0;
  for (int64_t i = 0; i < most && i + 1 < count && s[i] > 0.0; i++) {
    const double ratio = s[i + 1] > 0.0 ? s[i] / s[i + 1] : (double)INFINITY;
    if (ratio > largest) {
      largest = ratio;
      rank = i + 1;
    }
  }
  return rank;
}

static mxs_status replicated(mxs_problem *p, mxs_objective *objective, mxs_spectrum *spectrum) {
  double *S = NULL;
  MXS_TRY(mxs_objective_back_projection(objective, &S));
  return mxs_comm_agree(p->comm, mxs_la_leading(mxs_cview(S, p->n1, p->n2), spectrum->count,
                                                spectrum->s, spectrum->left, spectrum->right));
}

static mxs_status distributed(mxs_problem *p, mxs_objective *objective, mxs_spectrum *spectrum) {
  double *S = NULL;
  MXS_TRY(mxs_comm_agree(p->comm, mxs_objective_back_projection_local(objective, &S)));
  return mxsi_distributed_svd(p->comm, S, p->n1, p->n2, spectrum->count, spectrum->s,
                              spectrum->left, spectrum->right);
}

static mxs_svd_route choose(const mxs_problem *p, mxs_reduction reduction, int64_t count) {
  const int64_t order = p->n1 < p->n2 ? p->n1 : p->n2;
  if (p->train.op->pass == NULL && p->n1 * p->n2 >= LARGE_PRODUCT && count * MANY_TRIPLETS < order)
    return MXS_SVD_RANDOMIZED;
  return reduction == MXS_REDUCTION_FAST && order >= DISTRIBUTED_ORDER && p->comm->size > 1
             ? MXS_SVD_SCALAPACK
             : MXS_SVD_REPLICATED;
}

mxs_status mxs_spectrum_compute(mxs_problem *p,
                                mxs_objective *objective,
                                mxs_svd_route route,
                                mxs_reduction reduction,
                                mxs_spectrum *spectrum) {
  spectrum->visits = 0;
  if (route == MXS_SVD_AUTO)
    route = choose(p, reduction, spectrum->count);
  if (route == MXS_SVD_RANDOMIZED)
    return mxsi_spectrum_by_passes(p, reduction, mxs_objective_threads(objective), spectrum);
  return route == MXS_SVD_SCALAPACK ? distributed(p, objective, spectrum)
                                    : replicated(p, objective, spectrum);
}
