/* | symbol | meaning                                                                       |
 * |--------|-------------------------------------------------------------------------------|
 * | t      | <A_i, U V^T> / unit_fit, the fitted value                                      |
 * | r      | (<A_i, U V^T> - y_i) / unit_residual, the residual                             |
 * | h2, h3 | t^2 - 1 and t^3 - 3 t: what a residual that is noise is not correlated with     | */
#include "objective/objective_impl.h"

#include "la/la.h"

#include <math.h>
#include <string.h>

enum { SETS = 2, LENGTH = SETS * MXS_MOMENTS };

typedef struct visit {
  const mxs_point *at;
  double unit_fit, unit_residual;
  double *leaves; /* a leaf for each block of the sample, then of the validation set */
  double *room;   /* of mxs_objective_seen(): (n1 + n2) k for each thread */
} visit;

/* Lengths of the quantities of a leaf, and what their entries are about. */
typedef struct layout {
  int64_t lengths[LENGTH];
  int quantities;
  double guess;
} layout;

/* Blocks of the sample come first. */
static const mxs_data *data_of(const mxs_objective *o, int64_t job, int64_t *block) {
  const mxs_problem *p = o->problem;
  const int validation = job >= o->sampled_count;
  *block = validation ? job - o->sampled_count : o->sampled[job];
  return validation ? &p->validation : &p->train;
}

static int64_t job_count(const mxs_objective *o) {
  return o->sampled_count + o->problem->validation.blocks.own_count;
}

static int is_held(const mxs_objective *o, const mxs_data *data, int64_t at) {
  return data == &o->problem->validation || (data->weight != NULL && data->weight[at] == 0.0);
}

static mxs_status residuals(
    mxs_objective *o, int t, const mxs_data *data, const mxsi_range *range, const mxs_point *at) {
  double *w = o->worker[t].w;
  const double *y = data->y + range->at;
  const mxs_pass pass = {.first = range->first,
                         .count = range->count,
                         .replicas = 1,
                         .x = o->x,
                         .y = y,
                         .w = w,
                         .stride = o->rows,
                         .thread = t};
  if (o->dense)
    return data->op->pass(data->self, &pass);
  MXS_TRY(data->op->apply(data->self, range->first, range->count, at->U, at->V, w));
  for (int64_t i = 0; i < range->count; i++)
    w[i] -= y[i];
  return MXS_OK;
}

static void add(double t, double r, double *sum) {
  const double h2 = t * t - 1.0;
  const double h3 = t * t * t - 3.0 * t;
  sum[MXS_MOMENT_COUNT] += 1.0;
  sum[MXS_MOMENT_SQUARE] += r * r;
  sum[MXS_MOMENT_FOURTH] += r * r * r * r;
  sum[MXS_MOMENT_EVEN] += h2 * r;
  sum[MXS_MOMENT_EVEN_SQUARE] += h2 * h2 * r * r;
  sum[MXS_MOMENT_ODD] += h3 * r;
  sum[MXS_MOMENT_ODD_SQUARE] += h3 * h3 * r * r;
}

static mxs_status block_job(mxs_objective *o, int t, int64_t job, void *ctx) {
  const visit *of = ctx;
  int64_t block = 0;
  const mxs_data *data = data_of(o, job, &block);
  const mxsi_range range = mxsi_block_range(data, block);
  double *leaf = of->leaves + job * LENGTH;
  MXS_TRY(residuals(o, t, data, &range, of->at));
  for (int64_t i = 0; i < range.count; i++) {
    const double w = o->worker[t].w[i];
    const double fit = w + data->y[range.at + i];
    const int held = is_held(o, data, range.at + i);
    add(fit / of->unit_fit, w / of->unit_residual, leaf + (held ? MXS_MOMENTS : 0));
  }
  return MXS_OK;
}

/* The sums of the leaves, into the first of them; NaN where one is not finite. What the guess is
 * made of depends on data and point alone, and so do the scales. */
static mxs_status reduce(
    mxs_objective *o, const visit *of, const layout *l, mxs_status done, mxs_reduced *out) {
  mxs_reducer *reducer = NULL;
  int64_t length = 0;
  for (int q = 0; q < l->quantities; q++)
    length += l->lengths[q];
  MXS_TRY(mxs_comm_agree(o->problem->comm, done));
  MXS_TRY(
      mxs_comm_agree(o->problem->comm, mxs_reducer_create(o->problem->comm, o->reduction,
                                                          l->lengths, l->quantities, &reducer)));
  for (int q = 0; q < l->quantities; q++)
    mxs_reducer_guess(reducer, q, l->guess);
  mxs_status status = MXS_OK;
  do {
    mxs_reducer_begin(reducer);
    for (int64_t job = 0; job < job_count(o); job++)
      mxs_reducer_commit(reducer, of->leaves + job * length);
    mxsi_sample_count(o, 1, reducer);
    status = mxs_reducer_finish(reducer, mxsi_points_digest(of->at, 1), out);
  } while (status == MXS_OK && out->redo);
  double *sum = of->leaves;
  for (int q = 0; status == MXS_OK && q < l->quantities; q++)
    for (int64_t i = 0; i < l->lengths[q]; i++, sum++)
      *sum = out->nonfinite[q] > 0 ? (double)NAN : out->sum[sum - of->leaves];
  mxs_reducer_destroy(&reducer);
  return status;
}

mxs_status mxs_objective_moments(mxs_objective *o,
                                 const mxs_point *at,
                                 double unit_fit,
                                 double unit_residual,
                                 double train[MXS_MOMENTS],
                                 double held[MXS_MOMENTS]) {
  const mxs_comm *comm = o->problem->comm;
  visit of = {.at = at, .unit_fit = unit_fit, .unit_residual = unit_residual};
  layout l = {.quantities = LENGTH, .guess = (double)o->rows};
  mxs_reduced reduced = {0};
  for (int q = 0; q < LENGTH; q++)
    l.lengths[q] = 1;
  MXS_TRY(
      mxs_comm_agree(comm, mxs_alloc((job_count(o) + 1) * LENGTH, sizeof *of.leaves, &of.leaves)));
  mxsi_objective_activate(o, at);
  mxs_status status = o->dense ? mxsi_objective_products(o, at) : MXS_OK;
  if (status == MXS_OK)
    status = mxsi_objective_run(o, job_count(o), block_job, &of);
  status = reduce(o, &of, &l, status, &reduced);
  if (status == MXS_OK) {
    o->visits += reduced.words[WORD_TRAIN] + reduced.words[WORD_HELD];
    memcpy(train, of.leaves, MXS_MOMENTS * sizeof *train);
    memcpy(held, of.leaves + MXS_MOMENTS, MXS_MOMENTS * sizeof *held);
  }
  mxs_release(&of.leaves);
  return status;
}

/* A_i V over A_i^T U, of one measurement. */
static mxs_status products_of(
    mxs_objective *o, int t, const mxs_data *data, int64_t i, const mxs_point *at, double *out) {
  const mxs_problem *p = o->problem;
  const int64_t k = at->V.cols;
  const mxs_mat left = mxs_view(out, p->n1, k);
  const mxs_mat right = mxs_view(out + p->n1 * k, p->n2, k);
  double one = 1.0;
  if (!o->dense) {
    memset(out, 0, (size_t)((p->n1 + p->n2) * k) * sizeof *out);
    MXS_TRY(data->op->adjoint_mul(data->self, i, 1, &one, 0, at->V, left));
    return data->op->adjoint_mul(data->self, i, 1, &one, 1, at->U, right);
  }
  double *G = o->replica[0].full ? o->worker[t].leaf : o->worker[t].G;
  memset(G, 0, (size_t)(p->n1 * p->n2) * sizeof *G);
  const mxs_pass pass = {.first = i, .count = 1, .replicas = 1, .w = &one, .g = &G, .thread = t};
  MXS_TRY(data->op->pass(data->self, &pass));
  mxs_la_gemm(0, 0, 1.0, mxs_cview(G, p->n1, p->n2), at->V, 0.0, left);
  mxs_la_gemm(1, 0, 1.0, mxs_cview(G, p->n1, p->n2), at->U, 0.0, right);
  return MXS_OK;
}

static mxs_status seen_job(mxs_objective *o, int t, int64_t job, void *ctx) {
  const visit *of = ctx;
  const int64_t k = of->at->V.cols;
  const int64_t sides = o->problem->n1 + o->problem->n2;
  int64_t block = 0;
  const mxs_data *data = data_of(o, job, &block);
  const mxsi_range range = mxsi_block_range(data, block);
  double *leaf = of->leaves + job * sides;
  double *room = of->room + t * sides * k;
  for (int64_t i = 0; i < range.count; i++) {
    if (!is_held(o, data, range.at + i))
      continue;
    MXS_TRY(products_of(o, t, data, range.first + i, of->at, room));
    for (int64_t j = 0; j < sides * k; j++)
      leaf[j / k] += room[j] * room[j];
  }
  return MXS_OK;
}

/* The least beside the mean. */
static double least_share(const double *values, int64_t count) {
  double sum = 0.0;
  double least = values[0];
  for (int64_t i = 0; i < count; i++) {
    sum += values[i];
    least = values[i] < least ? values[i] : least;
  }
  return sum > 0.0 ? least / sum * (double)count : 0.0;
}

mxs_status mxs_objective_seen(mxs_objective *o, const mxs_point *at, double *least) {
  const mxs_problem *p = o->problem;
  const int64_t sides = p->n1 + p->n2;
  const double norm = mxs_la_frobenius(at->U) + mxs_la_frobenius(at->V);
  const layout l = {.lengths = {p->n1, p->n2},
                    .quantities = 2,
                    .guess = (double)o->rows * p->scale2 * norm * norm};
  visit of = {.at = at};
  mxs_reduced reduced = {0};
  mxs_status status = mxs_alloc((job_count(o) + 1) * sides, sizeof *of.leaves, &of.leaves);
  if (status == MXS_OK)
    status = mxs_alloc(o->threads * sides * at->V.cols, sizeof *of.room, &of.room);
  MXS_TRY_GOTO(status, mxs_comm_agree(p->comm, status), cleanup);
  status = mxsi_objective_run(o, job_count(o), seen_job, &of);
  MXS_TRY_GOTO(status, reduce(o, &of, &l, status, &reduced), cleanup);
  o->visits += reduced.words[WORD_HELD];
  *least = fmin(least_share(of.leaves, p->n1), least_share(of.leaves + p->n1, p->n2));
cleanup:
  mxs_release(&of.room);
  mxs_release(&of.leaves);
  return status;
}
