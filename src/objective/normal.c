/* | symbol | meaning                                                              |
 * |--------|----------------------------------------------------------------------|
 * | J      | rows [vec(A_i V), vec(A_i^T U)]                                      |
 * | d      | dU over dV: J d = A(dU V^T + U dV^T)                                 |
 * | N      | (1/m) J^T J                                                          | */
#include "objective/jacobian.h"

#include "base/hash.h"
#include "la/la.h"
#include "op/op.h"

#include <math.h>
#include <string.h>

/* Rows of N that are formed at a time, left of the diagonal and on it. */
enum { PANEL = 128 };

typedef struct gram {
  int64_t total; /* of the panels */
  double **leaf; /* of each thread */
  double **rows; /* of a block, of each thread */
  mxs_reducer *reducer;
} gram;

static mxs_status check(const mxs_objective *o) {
  if (o->jacobian == NULL || !o->jacobian->valid)
    return mxs_fail(MXS_ERR_ARG, "no Jacobian: ask for it to be kept, then make a pass");
  return MXS_OK;
}

/* Root mean square, over the measurements, of entries of A V and of A^T U, next to each other. */
static void typical_entries(const mxs_objective *o, double size[2]) {
  const double root = sqrt(o->problem->scale2 / (double)o->replica[0].k);
  size[0] = root * mxs_la_frobenius(mxsi_jacobian_V(o));
  size[1] = root * mxs_la_frobenius(mxsi_jacobian_U(o));
}

static void count_visits(const mxs_objective *o, mxs_reducer *reducer) {
  const mxsi_jacobian *s = o->jacobian;
  mxs_reducer_count(reducer, WORD_TRAIN, s->start[s->count]);
  mxs_reducer_count(reducer, WORD_HELD, s->held);
}

/* Scales start anew from what is replicated: no product's bits depend on the products before. */
static void guess_normal(mxs_objective *o, const double *d) {
  const mxs_problem *p = o->problem;
  const int64_t k = o->replica[0].k;
  const double rows = (double)p->train.blocks.rows;
  double size[2];
  typical_entries(o, size);
  const double t = size[0] * mxs_la_frobenius(mxs_cview(d, p->n1, k)) +
                   size[1] * mxs_la_frobenius(mxs_cview(d + p->n1 * k, p->n2, k));
  mxs_reducer_forget(o->jacobian->reducer);
  for (int q = 0; q < 2; q++)
    mxs_reducer_guess(o->jacobian->reducer, q, sqrt(rows) * t * size[q]);
}

/* The visits of a product that are made without J: X = dU V^T + U dV^T, or its factors. */
static mxs_status prepare_visits(mxs_objective *o) {
  const mxs_problem *p = o->problem;
  const mxsi_jacobian *s = o->jacobian;
  const int64_t k = o->replica[0].k;
  const mxs_cmat factor[4] = {mxs_cview(s->d, p->n1, k), mxsi_jacobian_U(o), mxsi_jacobian_V(o),
                              mxs_cview(s->d + p->n1 * k, p->n2, k)};
  double *to = s->stacked;
  for (int64_t half = 0; half < 2; half++)
    for (int64_t i = 0; i < factor[2 * half].rows; i++)
      for (int side = 0; side < 2; side++, to += k)
        memcpy(to, factor[2 * half + side].a + i * k, (size_t)k * sizeof *to);
  if (!o->dense)
    return MXS_OK;
  o->x[0] = o->replica[0].X;
  mxs_la_gemm(0, 1, 1.0, mxs_cview(s->stacked, p->n1, 2 * k),
              mxs_cview(s->stacked + 2 * p->n1 * k, p->n2, 2 * k), 0.0,
              mxs_view(o->replica[0].X, p->n1, p->n2));
  return mxsi_op_point(p->train.op, p->train.self, 1, o->x);
}

static mxs_status visit_matrix(mxs_objective *o, int t, const mxsi_range *range, mxs_mat out[2]) {
  const mxs_problem *p = o->problem;
  const mxs_data *data = &p->train;
  double *G = o->replica[0].full ? o->worker[t].leaf : o->worker[t].G;
  const mxs_pass pass = {.first = range->first,
                         .count = range->count,
                         .replicas = 1,
                         .x = o->x,
                         .weight = data->weight != NULL ? data->weight + range->at : NULL,
                         .w = o->worker[t].w,
                         .g = &G,
                         .thread = t};
  memset(G, 0, (size_t)(p->n1 * p->n2) * sizeof *G);
  MXS_TRY(data->op->pass(data->self, &pass));
  mxs_la_gemm(0, 0, 1.0, mxs_cview(G, p->n1, p->n2), mxsi_jacobian_V(o), 0.0, out[0]);
  mxs_la_gemm(1, 0, 1.0, mxs_cview(G, p->n1, p->n2), mxsi_jacobian_U(o), 0.0, out[1]);
  return MXS_OK;
}

static mxs_status visit_factors(mxs_objective *o, int t, const mxsi_range *range, mxs_mat out[2]) {
  const mxs_problem *p = o->problem;
  const mxs_data *data = &p->train;
  const double *stacked = o->jacobian->stacked;
  const int64_t cols = 2 * o->replica[0].k;
  double *w = o->worker[t].w;
  MXS_TRY(data->op->apply(data->self, range->first, range->count, mxs_cview(stacked, p->n1, cols),
                          mxs_cview(stacked + p->n1 * cols, p->n2, cols), w));
  for (int64_t i = 0; data->weight != NULL && i < range->count; i++)
    w[i] *= data->weight[range->at + i];
  MXS_TRY(data->op->adjoint_mul(data->self, range->first, range->count, w, 0, mxsi_jacobian_V(o),
                                out[0]));
  return data->op->adjoint_mul(data->self, range->first, range->count, w, 1, mxsi_jacobian_U(o),
                               out[1]);
}

static mxs_status normal_job(mxs_objective *o, int t, int64_t a, void *ctx) {
  (void)ctx;
  const mxs_problem *p = o->problem;
  const mxsi_jacobian *s = o->jacobian;
  const int64_t k = o->replica[0].k;
  double *leaf = s->room[t].leaf;
  mxs_mat out[2] = {mxs_view(leaf, p->n1, k), mxs_view(leaf + p->n1 * k, p->n2, k)};
  const mxsi_range range = mxsi_block_range(&p->train, s->block[a]);
  memset(leaf, 0, (size_t)s->ld * sizeof *leaf);
  if (!s->matrix_free)
    s->loops->normal_rows(s->J + s->start[a] * s->ld, s->start[a + 1] - s->start[a], s->ld, s->d,
                          leaf);
  else if (o->dense)
    MXS_TRY(visit_matrix(o, t, &range, out));
  else
    MXS_TRY(visit_factors(o, t, &range, out));
#pragma omp critical(mxs_commit)
  mxs_reducer_commit(s->reducer, leaf);
  return MXS_OK;
}

/* out = sum / m, NaN where a sum is not finite. */
static void put_mean(const mxs_reduced *reduced, int64_t n, int finite, double *out) {
  const double train = (double)reduced->words[WORD_TRAIN];
  for (int64_t i = 0; i < n; i++)
    out[i] = finite ? reduced->sum[i] / (train > 0.0 ? train : 1.0) : (double)NAN;
}

mxs_status mxs_objective_normal(mxs_objective *o, const double *d, double *out) {
  MXS_TRY(check(o));
  const mxsi_jacobian *s = o->jacobian;
  const uint64_t state = mxs_hash64(d, (size_t)s->length * sizeof *d, 0);
  const double waited = mxs_reducer_seconds(s->reducer);
  mxs_reduced reduced = {0};
  mxs_status status = MXS_OK;
  memcpy(s->d, d, (size_t)s->length * sizeof *d);
  guess_normal(o, d);
  do {
    const double begin = MPI_Wtime();
    mxs_reducer_begin(s->reducer);
    status = s->matrix_free ? prepare_visits(o) : MXS_OK;
    if (status == MXS_OK)
      status = mxsi_objective_run(o, s->count, normal_job, NULL);
    mxs_reducer_count(s->reducer, WORD_FAILED, status != MXS_OK);
    count_visits(o, s->reducer);
    o->compute_s += MPI_Wtime() - begin;
    MXS_TRY(mxs_reducer_finish(s->reducer, state, &reduced));
    o->visits += s->matrix_free ? reduced.words[WORD_TRAIN] + reduced.words[WORD_HELD] : 0;
  } while (reduced.redo && reduced.words[WORD_FAILED] == 0);
  o->other_reduce_s += mxs_reducer_seconds(s->reducer) - waited;
  if (reduced.words[WORD_FAILED] > 0)
    return mxs_comm_agree(o->problem->comm, status);
  put_mean(&reduced, s->length, reduced.nonfinite[0] + reduced.nonfinite[1] == 0, out);
  return MXS_OK;
}

static int64_t panel_end(const mxsi_jacobian *s, int64_t first) {
  return s->length - first < PANEL ? s->length : first + PANEL;
}

static void clear_gram(const mxs_objective *o, gram *g) {
  mxs_reducer_destroy(&g->reducer);
  for (int t = 0; t < o->threads; t++) {
    if (g->leaf != NULL)
      mxs_release(&g->leaf[t]);
    if (g->rows != NULL)
      mxs_release(&g->rows[t]);
  }
  mxs_release(&g->leaf);
  mxs_release(&g->rows);
}

static mxs_status prepare_gram(mxs_objective *o, gram *g) {
  const mxsi_jacobian *s = o->jacobian;
  g->total = 0;
  for (int64_t first = 0; first < s->length; first += PANEL)
    g->total += (panel_end(s, first) - first) * panel_end(s, first);
  MXS_TRY(mxs_alloc(o->threads, sizeof *g->leaf, &g->leaf));
  MXS_TRY(mxs_alloc(o->threads, sizeof *g->rows, &g->rows));
  for (int t = 0; t < o->threads; t++) {
    MXS_TRY(mxs_alloc(g->total, sizeof(double), &g->leaf[t]));
    MXS_TRY(mxs_alloc(o->rows, (size_t)s->ld * sizeof(double), &g->rows[t]));
  }
  return mxs_reducer_create(o->problem->comm, o->reduction, &g->total, 1, &g->reducer);
}

static mxs_status gram_job(mxs_objective *o, int t, int64_t a, void *ctx) {
  const gram *g = ctx;
  const mxsi_jacobian *s = o->jacobian;
  const int64_t count = s->start[a + 1] - s->start[a];
  double *rows = g->rows[t];
  double *to = g->leaf[t];
  if (s->matrix_free)
    MXS_TRY(mxsi_jacobian_form(o, t, a, rows));
  for (int64_t i = 0; i < count * s->ld && !s->matrix_free; i++)
    rows[i] = (double)s->J[s->start[a] * s->ld + i];
  for (int64_t first = 0; first < s->length; first += PANEL) {
    const int64_t end = panel_end(s, first);
    if (count > 0)
      mxs_la_gemm(1, 0, 1.0, (mxs_cmat){rows + first, count, end - first, s->ld},
                  (mxs_cmat){rows, count, end, s->ld}, 0.0, mxs_view(to, end - first, end));
    else
      memset(to, 0, (size_t)((end - first) * end) * sizeof *to);
    to += (end - first) * end;
  }
#pragma omp critical(mxs_commit)
  mxs_reducer_commit(g->reducer, g->leaf[t]);
  return MXS_OK;
}

/* The panels into both triangles. */
static void put_gram(const mxs_objective *o, const mxs_reduced *reduced, double *G) {
  const int64_t n = o->jacobian->length;
  const double *from = reduced->sum;
  const double train = (double)reduced->words[WORD_TRAIN];
  for (int64_t i = 0; i < n; i++) {
    const int64_t end = panel_end(o->jacobian, i / PANEL * PANEL);
    for (int64_t j = 0; j <= i; j++) {
      const double mean =
          reduced->nonfinite[0] > 0 ? (double)NAN : from[j] / (train > 0.0 ? train : 1.0);
      G[i * n + j] = mean;
      G[j * n + i] = mean;
    }
    from += end;
  }
}

static mxs_status reduce_gram(mxs_objective *o, gram *g, mxs_reduced *reduced) {
  const mxsi_jacobian *s = o->jacobian;
  const uint64_t state = mxs_hash64(s->point, (size_t)s->length * sizeof *s->point, 0);
  mxs_status status = MXS_OK;
  double size[2];
  typical_entries(o, size);
  mxs_reducer_guess(g->reducer, 0,
                    (double)o->problem->train.blocks.rows *
                        (size[0] * size[0] + size[1] * size[1]));
  do {
    const double begin = MPI_Wtime();
    mxs_reducer_begin(g->reducer);
    status = mxsi_objective_run(o, s->count, gram_job, g);
    mxs_reducer_count(g->reducer, WORD_FAILED, status != MXS_OK);
    count_visits(o, g->reducer);
    o->compute_s += MPI_Wtime() - begin;
    MXS_TRY(mxs_reducer_finish(g->reducer, state, reduced));
    o->visits += s->matrix_free ? reduced->words[WORD_TRAIN] + reduced->words[WORD_HELD] : 0;
  } while (reduced->redo && reduced->words[WORD_FAILED] == 0);
  o->other_reduce_s += mxs_reducer_seconds(g->reducer);
  return reduced->words[WORD_FAILED] > 0 ? mxs_comm_agree(o->problem->comm, status) : MXS_OK;
}

mxs_status mxs_objective_gram(mxs_objective *o, double *G) {
  gram g = {0};
  mxs_reduced reduced = {0};
  MXS_TRY(check(o));
  mxs_status status = mxs_comm_agree(o->problem->comm, prepare_gram(o, &g));
  if (status == MXS_OK)
    status = reduce_gram(o, &g, &reduced);
  if (status == MXS_OK)
    put_gram(o, &reduced, G);
  clear_gram(o, &g);
  return status;
}
