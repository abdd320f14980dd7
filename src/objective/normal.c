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

mxs_status mxsi_jacobian_check(const mxs_objective *o) {
  if (o->jacobian == NULL || !o->jacobian->valid)
    return mxs_fail(MXS_ERR_ARG, "no Jacobian: ask for it to be kept, then make a pass");
  return MXS_OK;
}

void mxsi_jacobian_sizes(const mxs_objective *o, double size[2]) {
  const double root = sqrt(o->problem->scale2 / (double)o->replica[0].k);
  size[0] = root * mxs_la_frobenius(mxsi_jacobian_V(o));
  size[1] = root * mxs_la_frobenius(mxsi_jacobian_U(o));
}

void mxsi_jacobian_count(const mxs_objective *o, mxs_reducer *reducer) {
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
  mxsi_jacobian_sizes(o, size);
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
  MXS_TRY(mxsi_jacobian_check(o));
  const mxsi_jacobian *s = o->jacobian;
  const uint64_t state = mxs_hash64(d, (size_t)s->length * sizeof *d, 0);
  mxs_reduced reduced = {0};
  mxs_status status = MXS_OK;
  memcpy(s->d, d, (size_t)s->length * sizeof *d);
  guess_normal(o, d);
  do {
    mxs_reducer_begin(s->reducer);
    status = s->matrix_free ? prepare_visits(o) : MXS_OK;
    if (status == MXS_OK)
      status = mxsi_objective_run(o, s->count, normal_job, NULL);
    mxs_reducer_count(s->reducer, WORD_FAILED, status != MXS_OK);
    mxsi_jacobian_count(o, s->reducer);
    MXS_TRY(mxs_reducer_finish(s->reducer, state, &reduced));
    o->visits += s->matrix_free ? reduced.words[WORD_TRAIN] + reduced.words[WORD_HELD] : 0;
  } while (reduced.redo && reduced.words[WORD_FAILED] == 0);
  if (reduced.words[WORD_FAILED] > 0)
    return mxs_comm_agree(o->problem->comm, status);
  put_mean(&reduced, s->length, reduced.nonfinite[0] + reduced.nonfinite[1] == 0, out);
  return MXS_OK;
}
