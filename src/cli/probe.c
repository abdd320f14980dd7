#include "cli/probe.h"
#include "objective/objective.h"
#include "op/op.h"
#include "problem/problem_impl.h"

enum { SAMPLE_BYTES = 256 << 20, MOST_PASSES = 5 };

static const double enough_s = 0.5;

/* Numbers that are neither all equal nor so small that arithmetic slows down. */
static double filling(int64_t j) {
  return (double)(j * 7 % 13 - 6) * 0.25;
}

static mxs_status fill_dense(mxs_problem *p, mxs_storage storage) {
  mxs_dense *dense = NULL;
  MXS_TRY(mxsi_dense_create(p->n1 * p->n2, storage, &p->train.blocks, &dense));
  p->train.op = &mxsi_op_dense;
  p->train.self = dense;
  const int64_t count = mxs_blocks_own_rows(&p->train.blocks) * p->n1 * p->n2;
  for (int64_t j = 0; j < count; j++) {
    if (storage == MXS_STORAGE_F32)
      ((float *)dense->rows)[j] = (float)filling(j);
    else
      ((double *)dense->rows)[j] = filling(j);
  }
  return MXS_OK;
}

/* As much of the problem as fits the sample: bandwidth is only seen when A does not fit in caches.
 */
static int64_t sample_size(const mxs_comm *comm, const mxs_probe_shape *shape) {
  const int64_t row_bytes = shape->n1 * shape->n2 * (shape->storage == MXS_STORAGE_F32 ? 4 : 8);
  const int64_t rows = SAMPLE_BYTES / row_bytes > 0 ? SAMPLE_BYTES / row_bytes : 1;
  const int64_t total = rows * comm->size;
  return total < shape->m ? total : shape->m;
}

static mxs_status make_sample(const mxs_comm *comm,
                              const mxs_probe_shape *shape,
                              mxs_problem **out) {
  const mxs_problem_options options = {.k = shape->k};
  const int64_t m = sample_size(comm, shape);
  mxs_problem *p = NULL;
  MXS_TRY(mxsi_problem_begin(comm->mpi, &(mxs_shape){.n1 = shape->n1, .n2 = shape->n2, .m = m},
                             &options, &p));
  p->ensemble = shape->ensemble;
  p->storage = shape->storage;
  p->m_train = m;
  p->y_norm2 = 1.0;
  mxs_status status = shape->ensemble == MXS_ENSEMBLE_DENSE
                          ? fill_dense(p, shape->storage)
                          : mxsi_problem_attach_generated(p, &p->train, 0);
  status = mxs_comm_agree(comm, status);
  if (status != MXS_OK)
    mxs_problem_destroy(&p);
  *out = p;
  return status;
}

/* A first pass finds the scales of the exact reduction and faults pages in; the next ones count. */
static mxs_status time_passes(const mxs_comm *comm,
                              mxs_objective *objective,
                              mxs_cmat U,
                              mxs_cmat V,
                              mxs_objective_profile *out) {
  const mxs_point point = {.U = U, .V = V};
  mxs_requests requests = {0};
  mxs_evaluation evaluation;
  double spent = 0.0;
  MXS_TRY(mxs_objective_pass(objective, &point, &requests, &evaluation));
  const mxs_objective_profile before = mxs_objective_get_profile(objective);
  for (int pass = 0; pass < MOST_PASSES && spent < enough_s; pass++) {
    MXS_TRY(mxs_objective_pass(objective, &point, &requests, &evaluation));
    const mxs_objective_profile after = mxs_objective_get_profile(objective);
    spent = after.compute_s + after.reduce_s - before.compute_s - before.reduce_s;
    /* Ranks have clocks of their own, and must agree on the number of passes. */
    mxs_comm_bcast(comm, &spent, sizeof spent, 0);
  }
  *out = mxs_objective_get_profile(objective);
  out->compute_s -= before.compute_s;
  out->reduce_s -= before.reduce_s;
  out->passes -= before.passes;
  return MXS_OK;
}

static void scale(const mxs_comm *comm,
                  const mxs_probe_shape *shape,
                  const mxs_problem *sample,
                  const mxs_objective_profile *profile,
                  mxs_probe_result *out) {
  const double passes = profile->passes > 0 ? (double)profile->passes : 1.0;
  const double busiest = (double)mxs_comm_max(comm, mxs_blocks_own_rows(&sample->train.blocks));
  const double entries = (double)shape->n1 * (double)shape->n2;
  const double compute = mxs_comm_spread(comm, profile->compute_s / passes).max;
  const double width = shape->storage == MXS_STORAGE_F32 ? 4.0 : 8.0;
  out->sample = sample->train.blocks.m;
  out->compute_s = compute * (double)shape->rows / busiest;
  /* Of the time in an allreduce the least one is transfer; the rest is waiting for the slowest
   * rank. */
  out->reduce_s = mxs_comm_spread(comm, profile->reduce_s / passes).min;
  out->seconds = out->compute_s + out->reduce_s;
  out->entries_per_s = (double)out->sample * entries / compute;
  out->bytes_per_s = shape->ensemble == MXS_ENSEMBLE_DENSE ? out->entries_per_s * width : 0.0;
}

mxs_status mxs_probe_iteration(const mxs_comm *comm,
                               const mxs_probe_shape *shape,
                               mxs_probe_result *out) {
  mxs_problem *sample = NULL;
  mxs_objective *objective = NULL;
  mxs_objective_profile profile = {0};
  double *factors = NULL;
  const int64_t count = (shape->n1 + shape->n2) * shape->k;
  mxs_status status = mxs_comm_agree(comm, mxs_alloc(count, sizeof *factors, &factors));
  if (status != MXS_OK)
    goto cleanup;
  for (int64_t j = 0; j < count; j++)
    factors[j] = filling(j);
  MXS_TRY_GOTO(status, make_sample(comm, shape, &sample), cleanup);
  MXS_TRY_GOTO(status, mxs_objective_create(sample, shape->reduction, &shape->k, 1, 1, &objective),
               cleanup);
  MXS_TRY_GOTO(status,
               time_passes(comm, objective, mxs_cview(factors, shape->n1, shape->k),
                           mxs_cview(factors + shape->n1 * shape->k, shape->n2, shape->k),
                           &profile),
               cleanup);
  scale(comm, shape, sample, &profile, out);
cleanup:
  mxs_objective_destroy(&objective);
  mxs_problem_destroy(&sample);
  mxs_release(&factors);
  return status;
}
