/* | symbol | meaning                                                                       |
 * |--------|-------------------------------------------------------------------------------|
 * | t      | <A_i, U V^T> / unit_fit, the fitted value                                      |
 * | r      | (<A_i, U V^T> - y_i) / unit_residual, the residual                             |
 * | h2, h3 | t^2 - 1 and t^3 - 3 t: what a residual that is noise is not correlated with     | */
#include "objective/objective_impl.h"

#include "base/hash.h"
#include "op/op.h"

#include <math.h>
#include <string.h>

enum { SETS = 2, LENGTH = SETS * MXS_MOMENTS };

typedef struct visit {
  const mxs_point *at;
  double unit_fit, unit_residual;
  double *leaves; /* LENGTH for each block of the sample, then of the validation set */
} visit;

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
  const mxs_problem *p = o->problem;
  const int validation = job >= o->sampled_count;
  const mxs_data *data = validation ? &p->validation : &p->train;
  const mxsi_range range =
      mxsi_block_range(data, validation ? job - o->sampled_count : o->sampled[job]);
  double *leaf = of->leaves + job * LENGTH;
  MXS_TRY(residuals(o, t, data, &range, of->at));
  for (int64_t i = 0; i < range.count; i++) {
    const double w = o->worker[t].w[i];
    const double fit = w + data->y[range.at + i];
    const int held = validation || (data->weight != NULL && data->weight[range.at + i] == 0.0);
    add(fit / of->unit_fit, w / of->unit_residual, leaf + (held ? MXS_MOMENTS : 0));
  }
  return MXS_OK;
}

/* Leaves are of order rows per block; which it is depends on the data alone, and so do the scales.
 */
static mxs_status reduce(
    mxs_objective *o, const visit *of, int64_t jobs, mxs_status done, mxs_reduced *out) {
  int64_t ones[LENGTH];
  mxs_reducer *reducer = NULL;
  const double rows = (double)o->rows;
  for (int q = 0; q < LENGTH; q++)
    ones[q] = 1;
  MXS_TRY(mxs_comm_agree(o->problem->comm, done));
  MXS_TRY(mxs_comm_agree(o->problem->comm, mxs_reducer_create(o->problem->comm, o->reduction, ones,
                                                              LENGTH, &reducer)));
  for (int q = 0; q < LENGTH; q++)
    mxs_reducer_guess(reducer, q, rows);
  mxs_status status = MXS_OK;
  do {
    mxs_reducer_begin(reducer);
    for (int64_t job = 0; job < jobs; job++)
      mxs_reducer_commit(reducer, of->leaves + job * LENGTH);
    mxsi_sample_count(o, 1, reducer);
    status = mxs_reducer_finish(reducer, mxsi_points_digest(of->at, 1), out);
  } while (status == MXS_OK && out->redo);
  if (status == MXS_OK) {
    o->visits += out->words[WORD_TRAIN] + out->words[WORD_HELD];
    memcpy(of->leaves, out->sum, LENGTH * sizeof *out->sum);
  }
  mxs_reducer_destroy(&reducer);
  return status;
}

mxs_status mxs_objective_moments(mxs_objective *o,
                                 const mxs_point *at,
                                 double unit_fit,
                                 double unit_residual,
                                 double train[MXS_MOMENTS],
                                 double held[MXS_MOMENTS]) {
  const mxs_problem *p = o->problem;
  const int64_t jobs = o->sampled_count + p->validation.blocks.own_count;
  visit of = {at, unit_fit, unit_residual, NULL};
  mxs_reduced reduced = {0};
  MXS_TRY(mxs_comm_agree(p->comm, mxs_alloc((jobs + 1) * LENGTH, sizeof *of.leaves, &of.leaves)));
  mxsi_objective_activate(o, at);
  mxs_status status = o->dense ? mxsi_objective_products(o, at) : MXS_OK;
  if (status == MXS_OK)
    status = mxsi_objective_run(o, jobs, block_job, &of);
  status = reduce(o, &of, jobs, status, &reduced);
  if (status == MXS_OK) {
    memcpy(train, of.leaves, MXS_MOMENTS * sizeof *train);
    memcpy(held, of.leaves + MXS_MOMENTS, MXS_MOMENTS * sizeof *held);
  }
  mxs_release(&of.leaves);
  return status;
}
