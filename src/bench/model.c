#include "bench/bench.h"
#include "comm/blocks.h"
#include "comm/reducer.h"
#include "la/la.h"
#include "metrics/metrics.h"

#include <math.h>
#include <string.h>

enum { LEAST_ROWS = 32, MOST_SINGULAR_VALUES = 10 };

/* ---- the reduction ------------------------------------------------------------------------- */

typedef struct leaves {
  mxs_reducer *reducer;
  double *values;
} leaves;

static mxs_status run_commit(void *ctx) {
  const leaves *l = ctx;
  mxs_reducer_commit(l->reducer, l->values);
  return MXS_OK;
}

static mxs_status run_finish(void *ctx) {
  const leaves *l = ctx;
  mxs_reduced reduced;
  const mxs_status status = mxs_reducer_finish(l->reducer, 0, &reduced);
  mxs_reducer_begin(l->reducer);
  return status;
}

mxs_status mxs_bench_measure_reduction(const mxs_comm *comm,
                                       mxs_reduction mode,
                                       const int64_t *lengths,
                                       int quantities,
                                       double seconds,
                                       mxs_bench_reduction *out) {
  leaves l = {0};
  int64_t length = 0;
  mxs_bench_time times[2];
  for (int q = 0; q < quantities; q++)
    length += lengths[q];
  *out = (mxs_bench_reduction){.bytes = 0};
  mxs_status status = mxs_alloc(length, sizeof *l.values, &l.values);
  if (status == MXS_OK)
    status = mxs_reducer_create(comm, mode, lengths, quantities, &l.reducer);
  MXS_TRY_GOTO(status, mxs_comm_agree(comm, status), cleanup);
  for (int64_t j = 0; j < length; j++)
    l.values[j] = 1.0 + 0.001 * (double)(j % 7);
  mxs_reducer_begin(l.reducer);
  const mxs_bench_work works[] = {{run_commit, &l}, {run_finish, &l}};
  MXS_TRY_GOTO(status, mxs_bench_repeat(comm, works, 2, seconds, times), cleanup);
  *out = (mxs_bench_reduction){times[0], times[1], mxs_reducer_bytes(l.reducer)};
cleanup:
  mxs_reducer_destroy(&l.reducer);
  mxs_release(&l.values);
  return status;
}

/* ---- what is done with the factors --------------------------------------------------------- */

typedef struct factors {
  const mxs_bench_shape *shape;
  double *U, *V, *X, *gU, *gV;
  mxs_problem *problem; /* has shapes and a truth, and no measurements to speak of */
  mxs_spectrum spectrum;
  mxs_metrics *metrics;
  double *row;
} factors;

static mxs_status run_product(void *ctx) {
  const factors *f = ctx;
  const mxs_bench_shape *s = f->shape;
  mxs_la_gemm(0, 1, 1.0, mxs_cview(f->U, s->n1, s->k), mxs_cview(f->V, s->n2, s->k), 0.0,
              mxs_view(f->X, s->n1, s->n2));
  return MXS_OK;
}

static mxs_status run_gradients(void *ctx) {
  const factors *f = ctx;
  const mxs_bench_shape *s = f->shape;
  const mxs_cmat G = mxs_cview(f->X, s->n1, s->n2);
  mxs_la_gemm(0, 0, 1.0, G, mxs_cview(f->V, s->n2, s->k), 0.0, mxs_view(f->gU, s->n1, s->k));
  mxs_la_gemm(1, 0, 1.0, G, mxs_cview(f->U, s->n1, s->k), 0.0, mxs_view(f->gV, s->n2, s->k));
  return MXS_OK;
}

static mxs_status run_metrics(void *ctx) {
  const factors *f = ctx;
  const mxs_bench_shape *s = f->shape;
  const mxs_iterate at = {.gap_rank = s->truth_rank > 0 && s->truth_rank < s->k ? s->truth_rank : 1,
                          .U = mxs_cview(f->U, s->n1, s->k),
                          .V = mxs_cview(f->V, s->n2, s->k)};
  mxs_phase phase = {0};
  int64_t rank = 0;
  return mxs_metrics_row(f->metrics, &at, &phase, f->row, &rank);
}

static void fill(double *values, int64_t count, uint64_t seed) {
  uint64_t word = seed;
  for (int64_t j = 0; j < count; j++) {
    word = word * 6364136223846793005U + 1442695040888963407U;
    values[j] = (double)(word >> 40) * 0x1p-24 - 0.5;
  }
}

/* Any subspaces will do for the time that their angles take. */
static mxs_status create_metrics(const mxs_comm *comm, factors *f) {
  const mxs_bench_shape *s = f->shape;
  const mxs_problem_options options = {.k = s->k};
  const mxs_shape one = {.n1 = s->n1, .n2 = s->n2, .m = 1};
  const char *const *names = NULL;
  mxs_status status = mxsi_problem_begin(comm->mpi, &one, &options, &f->problem);
  MXS_TRY(status);
  if (s->truth_rank > 0)
    status = mxsi_problem_set_truth(f->problem, mxs_cview(f->gU, s->n1, s->truth_rank),
                                    mxs_cview(f->gV, s->n2, s->truth_rank));
  if (status == MXS_OK)
    status = mxs_spectrum_create(f->problem, &f->spectrum);
  if (status == MXS_OK) {
    fill(f->spectrum.left, s->n1 * f->spectrum.count, 5);
    fill(f->spectrum.right, s->n2 * f->spectrum.count, 6);
    const int64_t automatic = s->k < MOST_SINGULAR_VALUES ? s->k : MOST_SINGULAR_VALUES;
    status =
        mxs_metrics_create(f->problem, &f->spectrum,
                           s->singular_values > 0 ? s->singular_values : automatic, &f->metrics);
  }
  if (status == MXS_OK)
    status = mxs_alloc(mxs_metrics_columns(f->metrics, &names), sizeof *f->row, &f->row);
  return mxs_comm_agree(comm, status);
}

static mxs_status create_factors(const mxs_comm *comm, factors *f) {
  const mxs_bench_shape *s = f->shape;
  const int64_t columns = s->truth_rank > s->k ? s->truth_rank : s->k;
  double **const arrays[] = {&f->U, &f->V, &f->gU, &f->gV};
  const int64_t rows[] = {s->n1, s->n2, s->n1, s->n2};
  mxs_status status = mxs_alloc(s->n1 * s->n2, sizeof *f->X, &f->X);
  for (size_t i = 0; i < sizeof arrays / sizeof arrays[0] && status == MXS_OK; i++) {
    status = mxs_alloc(rows[i] * columns, sizeof **arrays[i], arrays[i]);
    if (status == MXS_OK)
      fill(*arrays[i], rows[i] * columns, (uint64_t)i + 1);
  }
  MXS_TRY(mxs_comm_agree(comm, status));
  return create_metrics(comm, f);
}

static void clear_factors(factors *f) {
  mxs_metrics_destroy(&f->metrics);
  mxs_spectrum_clear(&f->spectrum);
  mxs_problem_destroy(&f->problem);
  mxs_release(&f->row);
  mxs_release(&f->U);
  mxs_release(&f->V);
  mxs_release(&f->X);
  mxs_release(&f->gU);
  mxs_release(&f->gV);
}

/* Leaves hold G itself where that is smaller than the gradients of the factors: then those are
 * formed once, not for every block. */
static int leaves_hold_G(const mxs_bench_shape *s) {
  return (s->n1 + s->n2) * s->k >= s->n1 * s->n2;
}

static int64_t replicas(const mxs_bench_shape *s) {
  return s->replicas > 0 ? s->replicas : 1;
}

static mxs_status measure_factors(const mxs_comm *comm,
                                  const mxs_bench_shape *shape,
                                  double seconds,
                                  mxs_bench_model *out) {
  enum { PRODUCT, GRADIENTS, METRICS, WORKS };
  factors f = {.shape = shape};
  mxs_bench_time times[WORKS];
  const mxs_bench_work works[WORKS] = {{run_product, &f}, {run_gradients, &f}, {run_metrics, &f}};
  mxs_status status = create_factors(comm, &f);
  if (status == MXS_OK)
    status = mxs_bench_repeat(comm, works, WORKS, seconds, times);
  if (status == MXS_OK) {
    const double formed = leaves_hold_G(shape) ? 1.0 : (double)out->busiest.blocks;
    out->factors_s = (double)replicas(shape) *
                     (times[PRODUCT].median_s + formed * times[GRADIENTS].median_s) /
                     (double)out->kernel.threads;
    out->metrics_s =
        (double)replicas(shape) * times[METRICS].median_s / (double)shape->metrics_every;
  }
  clear_factors(&f);
  return status;
}

/* ---- the whole ----------------------------------------------------------------------------- */

static mxs_status shard_of(const mxs_bench_shape *shape, int rank, int size, mxs_bench_shard *out) {
  const int64_t sets[] = {shape->m, shape->m_validation};
  *out = (mxs_bench_shard){0};
  for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++) {
    const int64_t rows =
        shape->block_rows > 0 ? shape->block_rows : mxs_blocks_rows(sets[i], shape->k);
    mxs_blocks cut = {0};
    MXS_TRY(mxs_blocks_create(sets[i], rows, rank, size, &cut));
    out->rows += mxs_blocks_own_rows(&cut);
    out->blocks += cut.own_count;
    out->block_rows = i == 0 ? rows : out->block_rows;
    mxs_blocks_clear(&cut);
  }
  return MXS_OK;
}

/* The busiest of the ranks of the solve that this one looks at: itself, where they are the same. */
static mxs_status busiest_here(const mxs_comm *comm,
                               const mxs_bench_shape *shape,
                               mxs_bench_shard *out) {
  const int size = shape->ranks > 0 ? shape->ranks : comm->size;
  for (int rank = comm->rank; rank < size; rank += comm->size) {
    mxs_bench_shard one;
    MXS_TRY(shard_of(shape, rank, size, &one));
    out->rows = one.rows > out->rows ? one.rows : out->rows;
    out->blocks = one.blocks > out->blocks ? one.blocks : out->blocks;
    out->block_rows = one.block_rows;
  }
  return MXS_OK;
}

mxs_status mxs_bench_busiest(const mxs_comm *comm,
                             const mxs_bench_shape *shape,
                             mxs_bench_shard *out) {
  mxs_bench_shard own = {0};
  MXS_TRY(mxs_comm_agree(comm, busiest_here(comm, shape, &own)));
  *out = (mxs_bench_shard){.rows = mxs_comm_max(comm, own.rows),
                           .blocks = mxs_comm_max(comm, own.blocks),
                           .block_rows = mxs_comm_max(comm, own.block_rows)};
  return MXS_OK;
}

static mxs_status measure_kernel(const mxs_comm *comm,
                                 const mxs_bench_shape *shape,
                                 int64_t sample_bytes,
                                 double seconds,
                                 mxs_bench_model *out) {
  mxs_bench_case what = {.ensemble = shape->ensemble,
                         .storage = shape->storage,
                         .n1 = shape->n1,
                         .n2 = shape->n2,
                         .replicas = shape->replicas,
                         .threads = shape->threads,
                         .block = out->busiest.block_rows};
  const double width = mxs_storage_bytes(shape->storage);
  const double fitting = (double)sample_bytes / ((double)what.n1 * (double)what.n2 * width);
  const int64_t most =
      shape->storage != MXS_STORAGE_AS_FILE ? (int64_t)fitting : what.block * shape->threads;
  what.rows = most < LEAST_ROWS ? LEAST_ROWS : most;
  what.rows = what.rows < out->busiest.rows ? what.rows : out->busiest.rows;
  MXS_TRY(mxs_bench_measure_kernel(comm, &what, seconds, &out->kernel));
  out->sample = what.rows;
  out->kernel_s = out->kernel.pass.median_s * (double)out->busiest.rows / (double)what.rows;
  return MXS_OK;
}

/* Seconds a checkpoint costs per iteration of `seconds`, by the interval that comes first. */
static double checkpoint_share(const mxs_bench_shape *shape,
                               const mxs_bench_io *io,
                               double seconds) {
  if (io == NULL)
    return (double)NAN;
  const double bytes = 8.0 * (double)(shape->n1 + shape->n2) * (double)shape->k;
  const double each = io->write_s * bytes / io->bytes;
  const mxs_cadence every = shape->checkpoint_every;
  const double by_count = every.iterations > 0 ? each / (double)every.iterations : 0.0;
  const double by_time = every.seconds > 0.0 ? each * seconds / every.seconds : 0.0;
  return by_count > by_time ? by_count : by_time;
}

mxs_status mxs_bench_predict(const mxs_comm *comm,
                             const mxs_bench_shape *shape,
                             const mxs_bench_io *io,
                             int64_t sample_bytes,
                             double seconds,
                             mxs_bench_model *out) {
  const int64_t r = replicas(shape);
  const int64_t lengths[2][4] = {{r * shape->n1 * shape->k, r * shape->n2 * shape->k, r, r},
                                 {r * shape->n1 * shape->n2, 0, r, r}};
  *out = (mxs_bench_model){.sample = 0};
  MXS_TRY(mxs_bench_busiest(comm, shape, &out->busiest));
  MXS_TRY(measure_kernel(comm, shape, sample_bytes, seconds, out));
  MXS_TRY(measure_factors(comm, shape, seconds, out));
  MXS_TRY(mxs_bench_measure_reduction(comm, shape->reduction, lengths[leaves_hold_G(shape)], 4,
                                      seconds, &out->reduction));
  out->commit_s = out->reduction.commit.median_s * (double)out->busiest.blocks;
  out->reduce_s = out->reduction.finish.median_s;
  out->seconds = out->kernel_s + out->factors_s + out->commit_s + out->reduce_s + out->metrics_s;
  out->checkpoint_s = checkpoint_share(shape, io, out->seconds);
  if (!isnan(out->checkpoint_s))
    out->seconds += out->checkpoint_s;
  return MXS_OK;
}
