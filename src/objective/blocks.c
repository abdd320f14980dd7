#include "objective/jacobian.h"

#include "la/la.h"
#include "op/op.h"

#include <stdio.h>
#include <string.h>

typedef struct job_queue {
  int64_t next, jobs;
} job_queue;

static void work(mxs_objective *o, int thread, job_queue *queue, mxsi_job job, void *ctx) {
  mxsi_worker *worker = &o->worker[thread];
  for (;;) {
    const int64_t at = __atomic_fetch_add(&queue->next, 1, __ATOMIC_RELAXED);
    if (at >= queue->jobs)
      return;
    worker->status = job(o, thread, at, ctx);
    if (worker->status != MXS_OK) {
      (void)snprintf(worker->text, sizeof worker->text, "%s", mxs_last_error());
      __atomic_store_n(&queue->next, queue->jobs, __ATOMIC_RELAXED);
      return;
    }
  }
}

mxs_status mxsi_objective_run(mxs_objective *o, int64_t jobs, mxsi_job job, void *ctx) {
  job_queue queue = {.next = 0, .jobs = jobs};
  for (int t = 0; t < o->threads; t++)
    o->worker[t].status = MXS_OK;
  if (o->threads == 1) {
    work(o, 0, &queue, job, ctx);
  } else {
#pragma omp parallel for num_threads(o->threads) schedule(static, 1)
    for (int t = 0; t < o->threads; t++)
      work(o, t, &queue, job, ctx);
  }
  for (int t = 0; t < o->threads; t++)
    if (o->worker[t].status != MXS_OK)
      return mxs_fail(o->worker[t].status, "%s", o->worker[t].text); /* texts are per thread */
  return MXS_OK;
}

mxsi_range mxsi_block_range(const mxs_data *data, int64_t j) {
  const mxs_blocks *blocks = &data->blocks;
  const int64_t block = blocks->own[j];
  return (mxsi_range){.first = data->first + mxs_blocks_first(blocks, block),
                      .count = mxs_blocks_size(blocks, block),
                      .at = blocks->offset[j]};
}

/* Losses of one block; the residual of what is held out is then cleared, for operators that take no
 * weights. */
static void add_losses(const mxs_data *data,
                       const mxsi_range *range,
                       const double *targets,
                       double *w,
                       double *loss,
                       double *validation) {
  const double *y = data->y + range->at;
  for (int64_t i = 0; i < range->count; i++) {
    const double residual = w[i] + (targets[i] - y[i]); /* without label noise */
    const double square = residual * residual;
    if (data->weight != NULL && data->weight[range->at + i] == 0.0) {
      *validation += square;
      w[i] = 0.0;
    } else {
      *loss += square;
    }
  }
}

/* Operators that do not plan take one matrix at a time. */
mxs_status mxsi_objective_visit(const mxs_data *data, const mxs_pass *pass) {
  if (data->op->plan != NULL || pass->replicas == 1)
    return data->op->pass(data->self, pass);
  mxs_pass one = *pass;
  one.replicas = 1;
  for (int64_t r = 0; r < pass->replicas; r++) {
    one.x = pass->x + r;
    one.w = pass->w + r * pass->stride;
    one.g = pass->g != NULL ? pass->g + r : NULL;
    MXS_TRY(data->op->pass(data->self, &one));
  }
  return MXS_OK;
}

/* gU += G V, gV += G^T U into the leaf. */
static void project(const mxs_objective *o,
                    const mxsi_replica *r,
                    const double *G,
                    const mxs_point *at,
                    double *leaf) {
  const mxs_problem *p = o->problem;
  const mxs_cmat view = mxs_cview(G, p->n1, p->n2);
  mxs_la_gemm(0, 0, 1.0, view, at->V, 0.0, mxs_view(leaf + r->start[LEAF_GU], p->n1, r->k));
  mxs_la_gemm(1, 0, 1.0, view, at->U, 0.0, mxs_view(leaf + r->start[LEAF_GV], p->n2, r->k));
}

static mxs_status train_matrices(mxs_objective *o, int t, int64_t j, const mxs_point *points) {
  const mxs_problem *p = o->problem;
  const mxs_data *data = &p->train;
  const mxsi_range range = mxsi_block_range(data, j);
  const size_t bytes = (size_t)(p->n1 * p->n2) * sizeof(double);
  mxsi_worker *worker = &o->worker[t];
  const double *targets = mxsi_sample_targets(o, worker, &range);
  double *free_G = worker->G;
  for (int64_t a = 0; a < o->active_count; a++) {
    const mxsi_replica *r = &o->replica[o->active[a]];
    worker->g[a] = r->full ? worker->leaf + r->start[LEAF_GU] : free_G;
    if (!r->full) {
      memset(free_G, 0, bytes);
      free_G += p->n1 * p->n2;
    }
  }
  const mxs_pass pass = {.first = range.first,
                         .count = range.count,
                         .replicas = o->active_count,
                         .x = o->x,
                         .y = targets,
                         .weight = data->weight != NULL ? data->weight + range.at : NULL,
                         .w = worker->w,
                         .stride = o->rows,
                         .g = worker->g,
                         .thread = t};
  MXS_TRY(mxsi_objective_visit(data, &pass));
  for (int64_t a = 0; a < o->active_count; a++) {
    const mxsi_replica *r = &o->replica[o->active[a]];
    add_losses(data, &range, targets, worker->w + a * o->rows, worker->leaf + r->start[LEAF_LOSS],
               worker->leaf + r->start[LEAF_VALIDATION]);
    if (!r->full)
      project(o, r, worker->g[a], &points[o->active[a]], worker->leaf);
  }
  return MXS_OK;
}

static mxs_status residual_of_factors(const mxs_data *data,
                                      const mxsi_range *range,
                                      const double *y,
                                      const mxs_point *at,
                                      double *w) {
  MXS_TRY(data->op->apply(data->self, range->first, range->count, at->U, at->V, w));
  for (int64_t i = 0; i < range->count; i++)
    w[i] -= y[i];
  return MXS_OK;
}

static mxs_status train_factors(mxs_objective *o, int t, int64_t j, const mxs_point *points) {
  const mxs_problem *p = o->problem;
  const mxs_data *data = &p->train;
  const mxsi_range range = mxsi_block_range(data, j);
  double *leaf = o->worker[t].leaf;
  double *w = o->worker[t].w;
  const double *targets = mxsi_sample_targets(o, &o->worker[t], &range);
  for (int64_t a = 0; a < o->active_count; a++) {
    const mxsi_replica *r = &o->replica[o->active[a]];
    const mxs_point *at = &points[o->active[a]];
    MXS_TRY(residual_of_factors(data, &range, targets, at, w));
    add_losses(data, &range, targets, w, leaf + r->start[LEAF_LOSS],
               leaf + r->start[LEAF_VALIDATION]);
    if (r->full) {
      MXS_TRY(mxsi_project_columns(p, &range, w, o->worker[t].G, leaf + r->start[LEAF_GU]));
      continue;
    }
    MXS_TRY(data->op->adjoint_mul(data->self, range.first, range.count, w, 0, at->V,
                                  mxs_view(leaf + r->start[LEAF_GU], p->n1, r->k)));
    MXS_TRY(data->op->adjoint_mul(data->self, range.first, range.count, w, 1, at->U,
                                  mxs_view(leaf + r->start[LEAF_GV], p->n2, r->k)));
  }
  return MXS_OK;
}

static mxs_status validate(mxs_objective *o, int t, int64_t j, const mxs_point *points) {
  const mxs_data *data = &o->problem->validation;
  const mxsi_range range = mxsi_block_range(data, j);
  mxsi_worker *worker = &o->worker[t];
  if (o->dense) {
    const mxs_pass pass = {.first = range.first,
                           .count = range.count,
                           .replicas = o->active_count,
                           .x = o->x,
                           .y = data->y + range.at,
                           .w = worker->w,
                           .stride = o->rows,
                           .thread = t};
    MXS_TRY(mxsi_objective_visit(data, &pass));
  }
  for (int64_t a = 0; a < o->active_count; a++) {
    double *w = worker->w + a * o->rows;
    double *sum = worker->leaf + o->replica[o->active[a]].start[LEAF_VALIDATION];
    if (!o->dense)
      MXS_TRY(residual_of_factors(data, &range, data->y + range.at, &points[o->active[a]], w));
    for (int64_t i = 0; i < range.count; i++)
      *sum += w[i] * w[i];
  }
  return MXS_OK;
}

/* Jobs are the training blocks of this rank in the sample, then those held out. */
static mxs_status block_job(mxs_objective *o, int t, int64_t job, void *ctx) {
  const mxs_point *points = ctx;
  const mxsi_replica *last = &o->replica[o->replicas - 1];
  double *leaf = o->worker[t].leaf;
  memset(leaf, 0, (size_t)last->start[LEAF_QUANTITIES] * sizeof *leaf);
  if (job >= o->sampled_count)
    MXS_TRY(validate(o, t, job - o->sampled_count, points));
  else if (mxsi_keeps_rows(o))
    MXS_TRY(mxsi_jacobian_block(o, t, job));
  else if (o->dense)
    MXS_TRY(train_matrices(o, t, o->sampled[job], points));
  else
    MXS_TRY(train_factors(o, t, o->sampled[job], points));
#pragma omp critical(mxs_commit)
  mxs_reducer_commit(o->reducer, leaf);
  return MXS_OK;
}

/* X of replica job / panels, rows of panel job % panels. */
static mxs_status product_job(mxs_objective *o, int t, int64_t job, void *ctx) {
  (void)t;
  const mxs_point *points = ctx;
  const mxs_problem *p = o->problem;
  const int64_t panels = (p->n1 + MXSI_PANEL - 1) / MXSI_PANEL;
  const int64_t r = o->active[job / panels];
  const int64_t row = job % panels * MXSI_PANEL;
  const int64_t rows = p->n1 - row < MXSI_PANEL ? p->n1 - row : MXSI_PANEL;
  const mxs_cmat U = points[r].U;
  mxs_la_gemm(0, 1, 1.0, (mxs_cmat){U.a + row * U.ld, rows, U.cols, U.ld}, points[r].V, 0.0,
              mxs_view(o->replica[r].X + row * p->n2, rows, p->n2));
  return MXS_OK;
}

mxs_status mxsi_objective_products(mxs_objective *o, const mxs_point *points) {
  const mxs_problem *p = o->problem;
  const int64_t panels = (p->n1 + MXSI_PANEL - 1) / MXSI_PANEL;
  for (int64_t a = 0; a < o->active_count; a++)
    o->x[a] = o->replica[o->active[a]].X;
  MXS_TRY(mxsi_objective_run(o, o->active_count * panels, product_job, (void *)(uintptr_t)points));
  MXS_TRY(mxsi_op_point(p->train.op, p->train.self, o->active_count, o->x));
  if (p->validation.blocks.m > 0 && !o->sample.skip_validation)
    MXS_TRY(mxsi_op_point(p->validation.op, p->validation.self, o->active_count, o->x));
  return MXS_OK;
}

void mxsi_objective_activate(mxs_objective *o, const mxs_point *points) {
  o->active_count = 0;
  for (int64_t r = 0; r < o->replicas; r++)
    if (!points[r].idle)
      o->active[o->active_count++] = r;
}

mxs_status mxsi_objective_blocks(mxs_objective *o, const mxs_point *points) {
  const int64_t validation =
      o->sample.skip_validation ? 0 : o->problem->validation.blocks.own_count;
  mxsi_objective_activate(o, points);
  if (o->active_count == 0)
    return MXS_OK;
  if (o->jacobian != NULL && !o->sample.keep_nothing)
    MXS_TRY(mxsi_jacobian_begin(o, &points[0]));
  if (o->dense && !(mxsi_keeps_rows(o) && validation == 0))
    MXS_TRY(mxsi_objective_products(o, points));
  return mxsi_objective_run(o, o->sampled_count + validation, block_job, (void *)(uintptr_t)points);
}
