#include "op/gaussian.h"
#include "op/op.h"
#include "op/signs.h"

void mxsi_generated_rows(mxs_ensemble ensemble,
                         uint64_t seed,
                         int64_t entries,
                         int64_t first,
                         int64_t count,
                         double *rows) {
  if (ensemble == MXS_ENSEMBLE_GAUSSIAN) {
    mxsi_gaussian_rows(seed, entries, first, count, rows);
    return;
  }
  mxsi_signs_rows(ensemble == MXS_ENSEMBLE_GAUSSIAN8, seed, entries, first, count, rows);
}

mxs_status mxsi_generated_create(mxs_ensemble ensemble,
                                 int64_t entries,
                                 uint64_t seed,
                                 const mxs_op_table **table,
                                 void **self) {
  *self = NULL;
  if (ensemble == MXS_ENSEMBLE_GAUSSIAN) {
    *table = &mxsi_op_gaussian;
    return mxsi_gaussian_create(entries, seed, MXS_GAUSSIAN_CACHE, self);
  }
  mxs_signs *signs = NULL;
  MXS_TRY(mxsi_signs_create(entries, ensemble, seed, NULL, &signs));
  *table = &mxsi_op_signs;
  *self = signs;
  return MXS_OK;
}
