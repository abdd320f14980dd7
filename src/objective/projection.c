#include "objective/objective_impl.h"

#include <math.h>
#include <string.h>

typedef struct projection {
  double **leaf; /* n1 n2 for each thread */
  double *identity;
  mxs_reducer *reducer; /* NULL: add to S */
  double *S;
} projection;

mxs_status mxsi_project_columns(const mxs_problem *p,
                                const mxsi_range *range,
                                const double *w,
                                double *identity,
                                double *leaf) {
  const mxs_data *data = &p->train;
  for (int64_t left = 0; left < p->n2; left += MXSI_COLUMNS) {
    const int64_t cols = p->n2 - left < MXSI_COLUMNS ? p->n2 - left : MXSI_COLUMNS;
    memset(identity, 0, (size_t)(p->n2 * MXSI_COLUMNS) * sizeof *identity);
    for (int64_t c = 0; c < cols; c++)
      identity[(left + c) * cols + c] = 1.0;
    MXS_TRY(data->op->adjoint_mul(data->self, range->first, range->count, w, 0,
                                  mxs_cview(identity, p->n2, cols),
                                  (mxs_mat){leaf + left, p->n1, cols, p->n2}));
  }
  return MXS_OK;
}

static mxs_status project_block(mxs_objective *o, int t, int64_t a, void *ctx) {
  const int64_t j = o->sampled[a];
  const projection *to = ctx;
  const mxs_problem *p = o->problem;
  const mxs_data *data = &p->train;
  const mxsi_range range = mxsi_block_range(data, j);
  const int64_t entries = p->n1 * p->n2;
  double *w = o->worker[t].w;
  double *leaf = to->leaf[t];
  memset(leaf, 0, (size_t)entries * sizeof *leaf);
  for (int64_t i = 0; i < range.count; i++) {
    const double y = data->y[range.at + i];
    w[i] = data->weight != NULL ? data->weight[range.at + i] * y : y;
  }
  const mxs_pass pass = {
      .first = range.first, .count = range.count, .replicas = 1, .w = w, .g = &leaf, .thread = t};
  if (o->dense)
    MXS_TRY(data->op->pass(data->self, &pass));
  else
    MXS_TRY(mxsi_project_columns(p, &range, w, to->identity, leaf));
#pragma omp critical(mxs_commit)
  {
    if (to->reducer != NULL)
      mxs_reducer_commit(to->reducer, leaf);
    else
      for (int64_t i = 0; i < entries; i++)
        to->S[i] += leaf[i];
  }
  return MXS_OK;
}

static void clear(const mxs_objective *o, projection *to) {
  mxs_reducer_destroy(&to->reducer);
  mxs_release(&to->identity);
  if (to->leaf != NULL && !o->dense)
    mxs_release(&to->leaf[0]);
  mxs_release(&to->leaf);
}

/* Where X and G are formed their room serves for S and for the leaves. */
static mxs_status prepare(mxs_objective *o, int reduced, projection *to) {
  const mxs_problem *p = o->problem;
  const int64_t entries = p->n1 * p->n2;
  if (!o->dense && o->S == NULL)
    MXS_TRY(mxs_alloc(entries, sizeof *o->S, &o->S));
  to->S = o->dense ? o->replica[0].X : o->S;
  MXS_TRY(mxs_alloc(o->threads, sizeof *to->leaf, &to->leaf));
  for (int t = 0; o->dense && t < o->threads; t++)
    to->leaf[t] = o->replica[0].full ? o->worker[t].leaf : o->worker[t].G;
  if (!o->dense) {
    MXS_TRY(mxs_alloc(entries, sizeof(double), &to->leaf[0]));
    MXS_TRY(mxs_alloc(p->n2 * MXSI_COLUMNS, sizeof *to->identity, &to->identity));
  }
  return reduced ? mxs_reducer_create(p->comm, o->reduction, &entries, 1, &to->reducer) : MXS_OK;
}

static void scale(double *S, const double *sum, int64_t entries, int64_t train) {
  for (int64_t i = 0; i < entries; i++)
    S[i] = sum[i] / (double)(train > 0 ? train : 1);
}

mxs_status mxs_objective_back_projection_local(mxs_objective *o, double **S) {
  const mxs_problem *p = o->problem;
  const int64_t entries = p->n1 * p->n2;
  const double begin = MPI_Wtime();
  projection to = {.S = NULL};
  mxs_status status = prepare(o, 0, &to);
  int64_t count[2];
  mxsi_sample_total(o, count);
  if (status == MXS_OK) {
    memset(to.S, 0, (size_t)entries * sizeof *to.S);
    status = mxsi_objective_run(o, o->sampled_count, project_block, &to);
    scale(to.S, to.S, entries, count[0]);
  }
  clear(o, &to);
  *S = to.S;
  o->compute_s += MPI_Wtime() - begin;
  o->passes++;
  o->visits += count[0] + count[1];
  return status;
}

mxs_status mxs_objective_back_projection(mxs_objective *o, double **S) {
  const mxs_problem *p = o->problem;
  projection to = {.S = NULL};
  mxs_reduced reduced = {0};
  mxs_status status = mxs_comm_agree(p->comm, prepare(o, 1, &to));
  if (status != MXS_OK)
    goto cleanup;
  mxs_reducer_guess(
      to.reducer, 0,
      sqrt(p->y_norm2 / (double)p->m_train * (double)p->train.blocks.rows * p->scale2));
  do {
    const double begin = MPI_Wtime();
    mxs_reducer_begin(to.reducer);
    status = mxsi_objective_run(o, o->sampled_count, project_block, &to);
    mxs_reducer_count(to.reducer, WORD_FAILED, status != MXS_OK);
    mxsi_sample_count(o, 0, to.reducer);
    o->compute_s += MPI_Wtime() - begin;
    MXS_TRY_GOTO(status, mxs_reducer_finish(to.reducer, 0, &reduced), cleanup);
    o->passes++;
    o->visits += reduced.words[WORD_TRAIN] + reduced.words[WORD_HELD];
  } while (reduced.redo && reduced.words[WORD_FAILED] == 0);
  o->other_reduce_s += mxs_reducer_seconds(to.reducer);
  MXS_TRY_GOTO(status, mxs_comm_agree(p->comm, status), cleanup);
  if (reduced.nonfinite[0] > 0) {
    status = mxs_fail(MXS_ERR_DATA, "the back-projection of y overflows: rescale A and y");
    goto cleanup;
  }
  scale(to.S, reduced.sum, p->n1 * p->n2, reduced.words[WORD_TRAIN]);
  *S = to.S;
cleanup:
  clear(o, &to);
  return status;
}
