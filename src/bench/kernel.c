#include "bench/bench.h"
#include "la/la.h"
#include "op/signs.h"
#include "problem/problem_impl.h"

#include <string.h>

/** Everything that one measurement holds. */
typedef struct bench {
  const mxs_bench_case *what;
  int64_t entries;
  mxs_problem *problem; /* of this rank alone */
  const mxs_data *data;
  int64_t replicas;
  int threads;
  double *x, *w;
  double *g;        /* of every replica and thread */
  const double **X; /* x for all replicas */
  double **G;       /* those of a thread after another */
  int64_t next;     /* block that no thread has taken yet */
} bench;

/* Numbers that are neither all equal nor so small that arithmetic slows down. */
static double filling(int64_t j) {
  return (double)(j * 7 % 13 - 6) * 0.25;
}

static mxs_status attach_bits(const bench *b, const double *row) {
  mxs_data *data = &b->problem->train;
  mxs_signs *signs = NULL;
  MXS_TRY(mxsi_signs_create(b->entries, MXS_ENSEMBLE_DENSE, 0, &data->blocks, &signs));
  data->op = &mxsi_op_signs;
  data->self = signs;
  for (int64_t i = 0; i < b->what->rows; i++)
    MXS_TRY(mxsi_signs_put(signs, i, 1, row));
  return MXS_OK;
}

static mxs_status attach_numbers(const bench *b, const double *row) {
  mxs_data *data = &b->problem->train;
  mxs_dense *dense = NULL;
  MXS_TRY(mxsi_dense_create(b->entries, b->what->storage, &data->blocks, &dense));
  data->op = &mxsi_op_dense;
  data->self = dense;
  for (int64_t i = 0; i < b->what->rows; i++)
    mxsi_dense_put(dense, i, 1, row);
  return MXS_OK;
}

/* Signs can be stored in every form. */
static mxs_status attach_dense(const bench *b) {
  double *row = NULL;
  uint64_t word = 1;
  MXS_TRY(mxs_alloc(b->entries, sizeof *row, &row));
  for (int64_t j = 0; j < b->entries; j++) {
    word = word * 6364136223846793005U + 1442695040888963407U;
    row[j] = word >> 63 ? 1.0 : -1.0;
  }
  const mxs_status status =
      b->what->storage == MXS_STORAGE_BITS ? attach_bits(b, row) : attach_numbers(b, row);
  mxs_release(&row);
  return status;
}

static mxs_status create_problem(bench *b) {
  const mxs_bench_case *what = b->what;
  const mxs_problem_options options = {.k = 1};
  const mxs_shape shape = {
      .n1 = what->n1, .n2 = what->n2, .m = what->rows, .block_rows = what->block};
  MXS_TRY(mxsi_problem_begin(MPI_COMM_SELF, &shape, &options, &b->problem));
  mxs_problem *p = b->problem;
  p->ensemble = what->ensemble;
  p->storage = what->storage;
  b->data = &p->train;
  return what->ensemble == MXS_ENSEMBLE_DENSE ? attach_dense(b)
                                              : mxsi_problem_attach_generated(p, &p->train, 0);
}

static mxs_status create(bench *b) {
  const mxs_bench_case *what = b->what;
  MXS_TRY(create_problem(b));
  b->threads = b->data->op->plan != NULL ? what->threads : 1;
  MXS_TRY(mxs_alloc(b->entries, sizeof *b->x, &b->x));
  MXS_TRY(mxs_alloc(b->replicas * b->threads * b->entries, sizeof *b->g, &b->g));
  MXS_TRY(mxs_alloc(b->replicas * what->rows, sizeof *b->w, &b->w));
  MXS_TRY(mxs_alloc(b->replicas, sizeof *b->X, &b->X));
  MXS_TRY(mxs_alloc(b->replicas * b->threads, sizeof *b->G, &b->G));
  for (int64_t r = 0; r < b->replicas; r++)
    b->X[r] = b->x;
  for (int64_t i = 0; i < b->replicas * b->threads; i++)
    b->G[i] = b->g + i * b->entries;
  for (int64_t j = 0; j < b->entries; j++)
    b->x[j] = filling(j);
  for (int64_t i = 0; i < what->rows; i++)
    b->data->y[i] = filling(i);
  return mxsi_op_plan(b->data->op, b->data->self, b->replicas, b->threads);
}

static void clear(bench *b) {
  mxs_problem_destroy(&b->problem);
  mxs_release(&b->x);
  mxs_release(&b->g);
  mxs_release(&b->w);
  mxs_release(&b->X);
  mxs_release(&b->G);
}

static mxs_status run_blocks(bench *b, int thread) {
  double **G = b->G + thread * b->replicas;
  for (;;) {
    const int64_t block = __atomic_fetch_add(&b->next, 1, __ATOMIC_RELAXED);
    if (block >= b->data->blocks.count)
      return MXS_OK;
    const int64_t first = mxs_blocks_first(&b->data->blocks, block);
    memset(G[0], 0, (size_t)(b->replicas * b->entries) * sizeof *G[0]);
    const mxs_pass pass = {.first = first,
                           .count = mxs_blocks_size(&b->data->blocks, block),
                           .replicas = b->replicas,
                           .x = b->X,
                           .y = b->data->y + first,
                           .w = b->w + first,
                           .stride = b->what->rows,
                           .g = G,
                           .thread = thread};
    MXS_TRY(b->data->op->pass(b->data->self, &pass));
  }
}

static mxs_status run_passes(void *ctx) {
  bench *b = ctx;
  int failed = MXS_OK;
  MXS_TRY(mxsi_op_point(b->data->op, b->data->self, b->replicas, b->X));
  b->next = 0;
  if (b->threads == 1) /* without a pool of threads */
    return run_blocks(b, 0);
#pragma omp parallel for num_threads(b->threads) schedule(static, 1) reduction(max : failed)
  for (int t = 0; t < b->threads; t++)
    failed = (int)run_blocks(b, t);
  if (failed != MXS_OK) /* its text is the thread's own */
    return mxs_fail((mxs_status)failed, "a pass over rows of %lld entries failed",
                    (long long)b->entries);
  return MXS_OK;
}

/* What numpy does: A x, and A^T of the residual. */
static mxs_status run_blas(void *ctx) {
  const bench *b = ctx;
  int64_t bytes = 0;
  const mxs_cmat A = mxs_cview(mxsi_problem_stored(b->problem, &bytes), b->what->rows, b->entries);
  mxs_la_gemv(0, 1.0, A, b->x, 0.0, b->w);
  for (int64_t i = 0; i < A.rows; i++)
    b->w[i] -= b->data->y[i];
  mxs_la_gemv(1, 1.0, A, b->w, 0.0, b->g);
  return MXS_OK;
}

static mxs_status measure(const mxs_comm *comm, bench *b, double seconds, mxs_bench_kernel *out) {
  enum { PASS, READ, BLAS, WORKS };
  const double entries = (double)b->what->rows * (double)b->entries;
  mxs_bench_array array = {.threads = b->threads, .streams = 4};
  mxs_bench_work works[WORKS] = {{run_passes, b}, {mxs_bench_read_once, &array}, {run_blas, b}};
  mxs_bench_time times[WORKS] = {{0}};
  array.data = mxsi_problem_stored(b->problem, &array.bytes);
  const int count = array.bytes == 0 ? 1 : b->what->blas ? WORKS : BLAS;
  const double before = mxsi_op_info(b->data->op, b->data->self).generate_s;
  MXS_TRY(mxs_bench_repeat(comm, works, count, seconds, times));
  const mxs_op_info info = mxsi_op_info(b->data->op, b->data->self);
  memcpy(out->path, info.path, sizeof out->path);
  out->threads = b->threads;
  out->bytes = array.bytes;
  out->pass = times[PASS];
  out->read = times[READ];
  out->blas = times[BLAS];
  out->generate_s = (info.generate_s - before) / (double)(out->pass.repeats + 1);
  out->entries_per_s = entries / out->pass.best_s;
  out->bytes_per_s = (double)out->bytes / out->pass.best_s;
  out->fraction_of_read = out->read.best_s / out->pass.best_s;
  return MXS_OK;
}

mxs_status mxs_bench_measure_kernel(const mxs_comm *comm,
                                    const mxs_bench_case *what,
                                    double seconds,
                                    mxs_bench_kernel *out) {
  bench b = {.what = what,
             .entries = what->n1 * what->n2,
             .replicas = what->replicas > 0 ? what->replicas : 1};
  *out = (mxs_bench_kernel){0};
  mxs_status status = create(&b);
  status = mxs_comm_agree(comm, status);
  if (status == MXS_OK)
    status = measure(comm, &b, seconds, out);
  clear(&b);
  return status;
}
