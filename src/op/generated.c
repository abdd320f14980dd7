#include "base/random.h"
#include "op/kernels.h"
#include "op/op.h"
#include "op/signs.h"

typedef struct gaussian {
  int64_t entries;
  uint64_t seed;
  double *tile; /* MXS_GROUP rows */
} gaussian;

static void gaussian_destroy(void *self) {
  gaussian *ensemble = self;
  mxs_release(&ensemble->tile);
  mxs_release(&ensemble);
}

static mxs_status gaussian_create(int64_t entries, uint64_t seed, gaussian **out) {
  gaussian *ensemble = NULL;
  MXS_TRY(mxs_alloc(1, sizeof *ensemble, &ensemble));
  ensemble->entries = entries;
  ensemble->seed = seed;
  const mxs_status status = mxs_alloc(MXS_GROUP * entries, sizeof *ensemble->tile, &ensemble->tile);
  if (status != MXS_OK) {
    gaussian_destroy(ensemble);
    return status;
  }
  *out = ensemble;
  return MXS_OK;
}

void mxsi_generated_rows(mxs_ensemble ensemble,
                         uint64_t seed,
                         int64_t entries,
                         int64_t first,
                         int64_t count,
                         double *rows) {
  for (int64_t i = 0; i < count; i++) {
    if (ensemble == MXS_ENSEMBLE_RADEMACHER || ensemble == MXS_ENSEMBLE_GAUSSIAN8)
      mxsi_signs_row(ensemble == MXS_ENSEMBLE_GAUSSIAN8, seed, entries, first + i,
                     rows + i * entries);
    else
      mxs_random_gaussian_row(seed, MXS_STREAM_ENSEMBLE, first + i, entries, rows + i * entries);
  }
}

/* Rows are made a group at a time, in cache, and used for both directions. */
static mxs_status gaussian_pass(void *self, const mxs_pass *pass) {
  const gaussian *ensemble = self;
  for (int64_t done = 0; done < pass->count; done += MXS_GROUP) {
    const mxs_pass group = mxsi_pass_part(pass, done, MXS_GROUP);
    mxsi_generated_rows(MXS_ENSEMBLE_GAUSSIAN, ensemble->seed, ensemble->entries, group.first,
                        group.count, ensemble->tile);
    for (int64_t r = 0; r < pass->replicas; r++) {
      const mxs_single single = mxsi_pass_single(&group, r);
      mxsi_kernel_f64(&single, ensemble->entries, ensemble->tile);
    }
  }
  return MXS_OK;
}

static const mxs_op_table gaussian_table = {
    .name = "gaussian", .pass = gaussian_pass, .destroy = gaussian_destroy};

mxs_status mxsi_generated_create(mxs_ensemble ensemble,
                                 int64_t entries,
                                 uint64_t seed,
                                 const mxs_op_table **table,
                                 void **self) {
  *self = NULL;
  if (ensemble == MXS_ENSEMBLE_RADEMACHER || ensemble == MXS_ENSEMBLE_GAUSSIAN8) {
    mxs_signs *signs = NULL;
    MXS_TRY(mxsi_signs_create(entries, ensemble, seed, NULL, &signs));
    *table = &mxsi_op_signs;
    *self = signs;
  } else {
    gaussian *normal = NULL;
    MXS_TRY(gaussian_create(entries, seed, &normal));
    *table = &gaussian_table;
    *self = normal;
  }
  return MXS_OK;
}
