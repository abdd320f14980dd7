#include "objective/jacobian.h"

#include "base/hash.h"
#include "base/place.h"
#include "la/la.h"
#include "op/op.h"

#include <math.h>
#include <string.h>

static int64_t leaf_length(const mxs_objective *o) {
  return o->replica[o->replicas - 1].start[LEAF_QUANTITIES];
}

static void lay_out(mxs_objective *o) {
  const mxs_problem *p = o->problem;
  const int64_t entries = p->n1 * p->n2;
  int64_t start = 0;
  for (int64_t r = 0; r < o->replicas; r++) {
    mxsi_replica *replica = &o->replica[r];
    replica->full = o->whole || (o->dense && (p->n1 + p->n2) * replica->k >= entries);
    const int64_t lengths[LEAF_QUANTITIES] = {[LEAF_GU] =
                                                  replica->full ? entries : p->n1 * replica->k,
                                              [LEAF_GV] = replica->full ? 0 : p->n2 * replica->k,
                                              [LEAF_LOSS] = 1,
                                              [LEAF_VALIDATION] = 1};
    replica->start[0] = start;
    for (int q = 0; q < LEAF_QUANTITIES; q++)
      replica->start[q + 1] = replica->start[q] + lengths[q];
    start = replica->start[LEAF_QUANTITIES];
  }
}

static mxs_status allocate_replica(const mxs_objective *o, mxsi_replica *r) {
  const mxs_problem *p = o->problem;
  if (o->dense)
    MXS_TRY(mxs_alloc(p->n1 * p->n2, sizeof *r->X, &r->X));
  if (r->full) {
    MXS_TRY(mxs_alloc((p->n1 + p->n2) * r->k, sizeof *r->gU, &r->gU));
    r->gV = r->gU + p->n1 * r->k;
  }
  return MXS_OK;
}

static mxs_status allocate_worker(const mxs_objective *o, mxsi_worker *worker) {
  const mxs_problem *p = o->problem;
  int64_t room = o->dense ? 0 : p->n2 * MXSI_COLUMNS;
  for (int64_t r = 0; r < o->replicas; r++)
    room += o->dense && !o->replica[r].full ? p->n1 * p->n2 : 0;
  MXS_TRY(mxs_alloc(leaf_length(o), sizeof *worker->leaf, &worker->leaf));
  MXS_TRY(mxs_alloc(o->replicas * o->rows, sizeof *worker->w, &worker->w));
  MXS_TRY(mxs_alloc(o->rows + 2 * MXSI_NOISE_STEP, sizeof *worker->y, &worker->y));
  MXS_TRY(mxs_alloc(o->replicas, sizeof *worker->g, &worker->g));
  return mxs_alloc(room, sizeof *worker->G, &worker->G);
}

static mxs_status plan(const mxs_objective *o) {
  const mxs_problem *p = o->problem;
  MXS_TRY(mxsi_op_plan(p->train.op, p->train.self, o->replicas, o->threads));
  if (p->validation.blocks.m > 0)
    MXS_TRY(mxsi_op_plan(p->validation.op, p->validation.self, o->replicas, o->threads));
  return MXS_OK;
}

/* Collective: reducers of all ranks are made, or none. */
static mxs_status make_reducer(mxs_objective *o) {
  int64_t *lengths = NULL;
  const int64_t quantities = o->replicas * LEAF_QUANTITIES;
  mxs_status status = mxs_alloc(quantities, sizeof *lengths, &lengths);
  for (int64_t q = 0; q < quantities && status == MXS_OK; q++) {
    const int64_t *start = &o->replica[q / LEAF_QUANTITIES].start[q % LEAF_QUANTITIES];
    lengths[q] = start[1] - start[0];
  }
  if (status == MXS_OK)
    status =
        mxs_reducer_create(o->problem->comm, o->reduction, lengths, (int)quantities, &o->reducer);
  mxs_release(&lengths);
  return status;
}

/* What depends on the form of the gradient. */
static mxs_status allocate_sums(mxs_objective *o) {
  lay_out(o);
  for (int64_t r = 0; r < o->replicas; r++)
    MXS_TRY(allocate_replica(o, &o->replica[r]));
  for (int t = 0; t < o->threads; t++)
    MXS_TRY(allocate_worker(o, &o->worker[t]));
  return make_reducer(o);
}

static void release_sums(mxs_objective *o) {
  mxs_reducer_destroy(&o->reducer);
  for (int64_t r = 0; o->replica != NULL && r < o->replicas; r++) {
    mxs_release(&o->replica[r].X);
    mxs_release(&o->replica[r].gU);
  }
  for (int t = 0; o->worker != NULL && t < o->threads; t++) {
    mxs_release(&o->worker[t].leaf);
    mxs_release(&o->worker[t].w);
    mxs_release(&o->worker[t].y);
    mxs_release(&o->worker[t].g);
    mxs_release(&o->worker[t].G);
  }
}

static mxs_status allocate(mxs_objective *o, const int64_t *k) {
  MXS_TRY(mxs_alloc(o->replicas, sizeof *o->replica, &o->replica));
  MXS_TRY(mxs_alloc(o->threads, sizeof *o->worker, &o->worker));
  MXS_TRY(mxs_alloc(o->replicas, sizeof *o->active, &o->active));
  MXS_TRY(mxs_alloc(o->replicas, sizeof *o->x, &o->x));
  for (int64_t r = 0; r < o->replicas; r++)
    o->replica[r].k = k[r];
  MXS_TRY(mxsi_sample_create(o));
  MXS_TRY(plan(o));
  return allocate_sums(o);
}

mxs_status mxs_objective_create(mxs_problem *problem,
                                mxs_reduction reduction,
                                const int64_t *k,
                                int64_t replicas,
                                int threads,
                                mxs_objective **out) {
  *out = NULL;
  mxs_objective *o = NULL;
  mxs_status status = mxs_alloc(1, sizeof *o, &o);
  if (status == MXS_OK) {
    const int64_t rows[2] = {problem->train.blocks.rows, problem->validation.blocks.rows};
    o->problem = problem;
    o->reduction = reduction;
    o->dense = problem->train.op->pass != NULL;
    o->replicas = replicas;
    o->threads = problem->train.op->plan != NULL ? threads : 1;
    o->rows = rows[0] > rows[1] ? rows[0] : rows[1];
    status = allocate(o, k);
  }
  status = mxs_comm_agree(problem->comm, status);
  if (status != MXS_OK)
    mxs_objective_destroy(&o);
  *out = o;
  return status;
}

void mxs_objective_destroy(mxs_objective **objective) {
  mxs_objective *o = *objective;
  if (o == NULL)
    return;
  mxsi_jacobian_destroy(o);
  mxsi_line_destroy(o);
  release_sums(o);
  mxs_release(&o->replica);
  mxs_release(&o->worker);
  mxs_release(&o->sampled);
  mxs_release(&o->train_count);
  mxs_release(&o->active);
  mxs_release(&o->S);
  mxs_release(&o->x);
  mxs_release(objective);
}

mxs_status mxs_objective_keep_gradient(mxs_objective *o) {
  if (o->whole)
    return MXS_OK;
  o->whole = 1;
  release_sums(o);
  return mxs_comm_agree(o->problem->comm, allocate_sums(o));
}

int64_t *mxs_objective_scales(mxs_objective *objective, int64_t replica) {
  return mxs_reducer_scales(objective->reducer) + replica * MXS_OBJECTIVE_SCALES;
}

void mxs_objective_expect(mxs_objective *o, int64_t r, double loss) {
  int64_t *scales = mxs_objective_scales(o, r);
  const double block = 2.0 * loss * (double)o->problem->train.blocks.rows;
  if (!(block > 0.0) || !o->replica[r].full)
    return;
  scales[LEAF_GU] = ilogb(sqrt(block * o->problem->scale2));
  scales[LEAF_LOSS] = ilogb(block);
  scales[LEAF_VALIDATION] = scales[LEAF_LOSS];
}

int mxs_objective_threads(const mxs_objective *objective) {
  return objective->threads;
}

/* The first pass has no scale yet. A residual as large as y and factors as they are tell it well
 * enough: only what is off by more than the room costs a second pass. */
static void guess_scales(mxs_objective *o, const mxs_point *points) {
  const mxs_problem *p = o->problem;
  const double block = p->y_norm2 / (double)p->m_train * (double)p->train.blocks.rows;
  const double entry = sqrt(block * p->scale2);
  for (int64_t r = 0; r < o->replicas; r++) {
    const mxsi_replica *replica = &o->replica[r];
    const int q = (int)(r * LEAF_QUANTITIES);
    const double root = sqrt((double)replica->k);
    if (points[r].idle)
      continue;
    mxs_reducer_guess(o->reducer, q + LEAF_GU,
                      entry * (replica->full ? 1.0 : mxs_la_frobenius(points[r].V) / root));
    mxs_reducer_guess(o->reducer, q + LEAF_GV, entry * mxs_la_frobenius(points[r].U) / root);
    mxs_reducer_guess(o->reducer, q + LEAF_LOSS, block);
    mxs_reducer_guess(o->reducer, q + LEAF_VALIDATION, block);
  }
}

/* What the projections of G that came whole need. */
typedef struct whole {
  const mxsi_replica *replica;
  const mxs_point *at;
  const double *G;
} whole;

/* Panels of gU, then of gV. */
static mxs_status project_job(mxs_objective *o, int t, int64_t job, void *ctx) {
  (void)t;
  const whole *of = ctx;
  const mxs_problem *p = o->problem;
  const int64_t k = of->replica->k;
  const int64_t panels = (p->n1 + MXSI_PANEL - 1) / MXSI_PANEL;
  const int left = job < panels;
  const int64_t first = (left ? job : job - panels) * MXSI_PANEL;
  const int64_t most = (left ? p->n1 : p->n2) - first;
  const int64_t size = most < MXSI_PANEL ? most : MXSI_PANEL;
  if (left)
    mxs_la_gemm(0, 0, 1.0, mxs_cview(of->G + first * p->n2, size, p->n2), of->at->V, 0.0,
                mxs_view(of->replica->gU + first * k, size, k));
  else
    mxs_la_gemm(1, 0, 1.0, (mxs_cmat){of->G + first, p->n1, size, p->n2}, of->at->U, 0.0,
                mxs_view(of->replica->gV + first * k, size, k));
  return MXS_OK;
}

/* The sum of a replica becomes its gradient and losses, in place. */
static mxs_status evaluate(
    mxs_objective *o, int64_t r, const mxs_point *at, mxs_reduced *reduced, mxs_evaluation *out) {
  const mxs_problem *p = o->problem;
  const mxsi_replica *replica = &o->replica[r];
  const int64_t train = reduced->words[WORD_TRAIN];
  const int64_t held = reduced->words[WORD_HELD];
  const double m = train > 0 ? (double)train : 1.0;
  double *sum = reduced->sum;
  *out = (mxs_evaluation){.gU = sum + replica->start[LEAF_GU],
                          .gV = sum + replica->start[LEAF_GV],
                          .train = train,
                          .held = held};
  for (int q = 0; q < LEAF_QUANTITIES; q++)
    out->nonfinite = out->nonfinite || reduced->nonfinite[r * LEAF_QUANTITIES + q] > 0;
  for (int64_t i = replica->start[LEAF_GU]; i < replica->start[LEAF_LOSS]; i++)
    sum[i] /= m;
  out->loss = sum[replica->start[LEAF_LOSS]] / (2.0 * m);
  out->validation_loss =
      held > 0 ? sum[replica->start[LEAF_VALIDATION]] / (2.0 * (double)held) : (double)NAN;
  if (!replica->full)
    return MXS_OK;
  whole of = {replica, at, out->gU};
  out->G = out->gU;
  const int64_t jobs =
      (p->n1 + MXSI_PANEL - 1) / MXSI_PANEL + (p->n2 + MXSI_PANEL - 1) / MXSI_PANEL;
  out->gU = replica->gU;
  out->gV = replica->gV;
  return mxsi_objective_run(o, jobs, project_job, &of);
}

uint64_t mxsi_points_digest(const mxs_point *points, int64_t count) {
  uint64_t digest = 0;
  for (int64_t r = 0; r < count; r++) {
    const mxs_cmat factors[2] = {points[r].U, points[r].V};
    for (int f = 0; f < 2; f++) {
      const int contiguous = factors[f].ld == factors[f].cols;
      const int64_t pieces = contiguous ? 1 : factors[f].rows;
      const int64_t length = contiguous ? factors[f].rows * factors[f].cols : factors[f].cols;
      for (int64_t i = 0; i < pieces; i++)
        digest =
            mxs_hash64(factors[f].a + i * factors[f].ld, (size_t)length * sizeof(double), digest);
    }
  }
  return digest;
}

mxs_status mxsi_points_check(const mxs_point *points, int64_t count, uint64_t before) {
  if (mxsi_points_digest(points, count) == before)
    return MXS_OK;
  return mxs_fail(MXS_ERR_CORRUPT, "the factors changed in memory during a pass over A");
}

mxs_status mxs_objective_pass(mxs_objective *o,
                              const mxs_point *points,
                              mxs_requests *requests,
                              mxs_evaluation *out) {
  mxs_status status = MXS_OK;
  mxs_reduced reduced = {0};
  const uint64_t state = mxsi_points_digest(points, o->replicas);
  (void)mxs_place_enter("computes");
  guess_scales(o, points);
  do {
    const double begin = MPI_Wtime();
    mxs_reducer_begin(o->reducer);
    status = mxsi_objective_blocks(o, points);
    status = status == MXS_OK ? mxsi_points_check(points, o->replicas, state) : status;
    mxs_reducer_count(o->reducer, WORD_FAILED, status != MXS_OK);
    mxs_reducer_count(o->reducer, WORD_STOP, requests->stop);
    mxs_reducer_count(o->reducer, WORD_CHECKPOINT, requests->checkpoint);
    mxs_reducer_count(o->reducer, WORD_WALLTIME, requests->walltime);
    if (o->active_count > 0)
      mxsi_sample_count(o, !o->sample.skip_validation, o->reducer);
    o->compute_s += MPI_Wtime() - begin;
    MXS_TRY(mxs_reducer_finish(o->reducer, state, &reduced));
    o->passes++;
    o->visits += reduced.words[WORD_TRAIN] + reduced.words[WORD_HELD];
  } while (reduced.redo && reduced.words[WORD_FAILED] == 0);
  if (reduced.words[WORD_FAILED] > 0)
    return mxs_comm_agree(o->problem->comm, status);
  *requests = (mxs_requests){reduced.words[WORD_STOP], reduced.words[WORD_CHECKPOINT],
                             reduced.words[WORD_WALLTIME]};
  const double begin = MPI_Wtime();
  for (int64_t r = 0; r < o->replicas; r++)
    if (!points[r].idle)
      MXS_TRY(evaluate(o, r, &points[r], &reduced, &out[r]));
  if (o->jacobian != NULL && !o->sample.keep_nothing && o->active_count > 0)
    o->jacobian->valid = 1;
  o->compute_s += MPI_Wtime() - begin;
  return MXS_OK;
}

mxs_objective_profile mxs_objective_get_profile(const mxs_objective *o) {
  const mxs_problem *p = o->problem;
  double generate_s = mxsi_op_info(p->train.op, p->train.self).generate_s;
  if (p->validation.blocks.m > 0)
    generate_s += mxsi_op_info(p->validation.op, p->validation.self).generate_s;
  return (mxs_objective_profile){.compute_s = o->compute_s,
                                 .generate_s = generate_s / o->threads,
                                 .reduce_s = mxs_reducer_seconds(o->reducer) +
                                             mxsi_line_seconds(o->line) + o->other_reduce_s,
                                 .passes = o->passes,
                                 .visits = o->visits,
                                 .reduce_bytes = mxs_reducer_bytes(o->reducer)};
}
