#include "cli/plan.h"
#include "op/streamed.h"
#include "problem/problem_impl.h"

#include <string.h>

enum { SAMPLE_BYTES = 128 << 20 };

static const double enough_s = 0.2; /* for each part */

static mxs_status check_file(const mxs_settings *settings, const mxs_problem_header *file) {
  if (settings->measurements > file->m)
    return mxs_fail(MXS_ERR_SETTINGS,
                    "measurements: %lld, but %s has %lld: give at most that, or all",
                    (long long)settings->measurements, settings->problem, (long long)file->m);
  if (settings->hold_out > 0.0 && file->m_validation > 0)
    return mxs_fail(MXS_ERR_SETTINGS,
                    "hold_out: %s has its own held-out measurements: leave it out",
                    settings->problem);
  return mxsi_problem_check_storage(file->ensemble, (mxs_storage)settings->storage,
                                    settings->problem);
}

/* Of a measurement in memory. */
static double row_bytes(const mxs_bench_shape *shape) {
  return shape->storage == MXS_STORAGE_AS_FILE
             ? 0.0
             : (double)shape->n1 * (double)shape->n2 * mxs_storage_bytes(shape->storage);
}

/* A and y of the busiest rank, and the solver of every rank. */
static double memory_of(const mxs_cli_plan *p) {
  const mxs_bench_shape *shape = &p->shape;
  const double rows = (double)p->busiest.rows;
  double bytes = rows * 16.0 + mxs_solver_bytes(shape->n1, shape->n2, shape->k, shape->replicas,
                                                shape->threads, 1);
  if (p->read_bytes > 0.0)
    bytes += (shape->m_validation > 0 ? 2.0 : 1.0) *
             (double)mxsi_streamed_bytes(shape->n1 * shape->n2, shape->storage,
                                         p->busiest.block_rows, shape->threads);
  else
    bytes += rows * row_bytes(shape);
  return bytes;
}

/* What is read at every pass is computed with like what is kept. */
static mxs_storage storage_of(mxs_storage asked, const mxs_problem_header *file) {
  if (asked == MXS_STORAGE_STREAM)
    return strcmp(file->entries, "f32") == 0 ? MXS_STORAGE_F32 : MXS_STORAGE_F64;
  return asked == MXS_STORAGE_AS_FILE ? file->storage : asked;
}

static mxs_bench_shape shape_of(const mxs_settings *settings,
                                const mxs_problem_header *file,
                                int ranks) {
  return (mxs_bench_shape){.n1 = file->n1,
                           .n2 = file->n2,
                           .k = mxs_settings_k(settings, file->n1, file->n2),
                           .m = settings->measurements > 0 ? settings->measurements : file->m,
                           .m_validation = file->m_validation,
                           .block_rows =
                               file->block_rows > 0 ? file->block_rows : settings->block_rows,
                           .truth_rank = file->truth_rank,
                           .ensemble = file->ensemble,
                           .storage = storage_of((mxs_storage)settings->storage, file),
                           .reduction = (mxs_reduction)settings->reduction,
                           .replicas = mxs_settings_replicas(settings),
                           .threads = (int)settings->threads,
                           .ranks = ranks,
                           .metrics_every = settings->metrics_every,
                           .singular_values = settings->singular_values};
}

mxs_status mxs_cli_plan_make(const mxs_cli_session *session,
                             const mxs_settings *settings,
                             int ranks,
                             mxs_cli_plan *plan) {
  const mxs_comm *comm = session->comm;
  MXS_TRY(mxs_comm_agree(comm, mxs_settings_check(settings)));
  MXS_TRY(mxs_cli_same(session, settings, NULL));
  MXS_TRY(mxs_problem_peek_all(comm, settings->problem, &plan->file));
  MXS_TRY(mxs_comm_agree(comm, check_file(settings, &plan->file)));
  plan->shape = shape_of(settings, &plan->file, ranks);
  MXS_TRY(mxs_bench_busiest(comm, &plan->shape, &plan->busiest));
  plan->read_bytes = settings->storage == MXS_STORAGE_STREAM
                         ? (double)plan->busiest.rows * row_bytes(&plan->shape)
                         : 0.0;
  const mxs_problem_size size = {plan->shape.n1, plan->shape.n2, plan->shape.m, plan->busiest.rows,
                                 plan->shape.ensemble};
  plan->jacobian_bytes = mxs_settings_jacobian_bytes(settings, &size, &plan->rank);
  plan->memory_bytes = memory_of(plan) + plan->jacobian_bytes;
  return MXS_OK;
}

mxs_status mxs_cli_plan_time(const mxs_cli_session *session,
                             const mxs_cli_plan *plan,
                             mxs_bench_model *model) {
  return mxs_bench_predict(session->comm, &plan->shape, NULL, SAMPLE_BYTES, enough_s, model);
}

void mxs_cli_print_size(const mxs_cli_session *session, double bytes) {
  if (bytes < 1e9)
    mxs_cli_print(session, "%.3g MB", bytes * 1e-6);
  else
    mxs_cli_print(session, "%.3g GB", bytes * 1e-9);
}
