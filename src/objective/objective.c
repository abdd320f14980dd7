#include "objective/objective.h"

#include "comm/reducer.h"
#include "la/la.h"
#include "op/op.h"

#include <math.h>
#include <string.h>

/* Status words of the reduction. */
enum { WORD_FAILED, WORD_STOP, WORD_CHECKPOINT };

/* Quantities of a leaf: gradient of U and of V, or G in the place of the first with the second
 * empty. */
enum { LEAF_GU, LEAF_GV, LEAF_LOSS, LEAF_VALIDATION, LEAF_QUANTITIES = MXS_OBJECTIVE_SCALES };

enum { PANEL = 64 };

struct mxs_objective {
  mxs_problem *problem;
  mxs_reduction reduction;
  int dense; /* the operator has `pass`: X and G are formed */
  int full;  /* leaves hold G itself */
  int64_t length[LEAF_QUANTITIES];
  mxs_reducer *reducer;
  double *X, *G;   /* n1 n2 each, for dense operators */
  double *w;       /* residual of one block */
  double *gU, *gV; /* when leaves hold G */
  double *scaled;  /* sums divided by m */
  double compute_s;
  int64_t passes;
};

static mxs_status allocate(mxs_objective *o) {
  const mxs_problem *p = o->problem;
  const int64_t entries = p->n1 * p->n2;
  const int64_t factors = (p->n1 + p->n2) * p->k;
  const int64_t rows = p->train.blocks.rows > p->validation.blocks.rows ? p->train.blocks.rows
                                                                        : p->validation.blocks.rows;
  MXS_TRY(mxsi_op_plan(p->train.op, p->train.self, 1, 1));
  if (p->validation.blocks.m > 0)
    MXS_TRY(mxsi_op_plan(p->validation.op, p->validation.self, 1, 1));
  MXS_TRY(mxs_alloc(rows, sizeof *o->w, &o->w));
  MXS_TRY(mxs_alloc(o->length[LEAF_GU] + o->length[LEAF_GV], sizeof *o->scaled, &o->scaled));
  if (o->dense) {
    MXS_TRY(mxs_alloc(entries, sizeof *o->X, &o->X));
    if (!o->full)
      MXS_TRY(mxs_alloc(entries, sizeof *o->G, &o->G));
  }
  if (o->full) {
    MXS_TRY(mxs_alloc(factors, sizeof *o->gU, &o->gU));
    o->gV = o->gU + p->n1 * p->k;
  }
  return mxs_reducer_create(p->comm, o->reduction, o->length, LEAF_QUANTITIES, &o->reducer);
}

mxs_status mxs_objective_create(mxs_problem *problem,
                                mxs_reduction reduction,
                                mxs_objective **out) {
  *out = NULL;
  mxs_objective *o = NULL;
  mxs_status status = mxs_alloc(1, sizeof *o, &o);
  if (status == MXS_OK) {
    const int64_t entries = problem->n1 * problem->n2;
    o->problem = problem;
    o->reduction = reduction;
    o->dense = problem->train.op->pass != NULL;
    o->full = o->dense && (problem->n1 + problem->n2) * problem->k >= entries;
    o->length[LEAF_GU] = o->full ? entries : problem->n1 * problem->k;
    o->length[LEAF_GV] = o->full ? 0 : problem->n2 * problem->k;
    o->length[LEAF_LOSS] = 1;
    o->length[LEAF_VALIDATION] = 1;
    status = allocate(o);
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
  mxs_reducer_destroy(&o->reducer);
  mxs_release(&o->X);
  mxs_release(&o->G);
  mxs_release(&o->w);
  mxs_release(&o->gU);
  mxs_release(&o->scaled);
  mxs_release(objective);
}

int64_t *mxs_objective_scales(mxs_objective *objective) {
  return mxs_reducer_scales(objective->reducer);
}

/* Losses of one block; the residual of what is held out is then cleared, for operators that take no
 * weights. */
static void add_losses(
    const mxs_data *data, int64_t at, int64_t count, double *w, double *loss, double *validation) {
  for (int64_t i = 0; i < count; i++) {
    const double square = w[i] * w[i];
    if (data->weight != NULL && data->weight[at + i] == 0.0) {
      *validation += square;
      w[i] = 0.0;
    } else {
      *loss += square;
    }
  }
}

static mxs_status train_block(mxs_objective *o, int64_t j, mxs_cmat U, mxs_cmat V, double *leaf) {
  const mxs_problem *p = o->problem;
  const mxs_data *data = &p->train;
  const int64_t at = data->blocks.offset[j];
  const int64_t first = data->first + mxs_blocks_first(&data->blocks, data->blocks.own[j]);
  const int64_t count = mxs_blocks_size(&data->blocks, data->blocks.own[j]);
  const double *y = data->y + at;
  double *gU = leaf;
  double *gV = leaf + o->length[LEAF_GU];
  double *losses = gV + o->length[LEAF_GV];
  if (!o->dense) {
    MXS_TRY(data->op->apply(data->self, first, count, U, V, o->w));
    for (int64_t i = 0; i < count; i++)
      o->w[i] -= y[i];
    add_losses(data, at, count, o->w, &losses[0], &losses[1]);
    MXS_TRY(data->op->adjoint_mul(data->self, first, count, o->w, 0, V, mxs_view(gU, p->n1, p->k)));
    return data->op->adjoint_mul(data->self, first, count, o->w, 1, U, mxs_view(gV, p->n2, p->k));
  }
  const double *weight = data->weight != NULL ? data->weight + at : NULL;
  double *G = o->full ? leaf : o->G;
  if (!o->full)
    memset(G, 0, (size_t)(p->n1 * p->n2) * sizeof *G);
  const double *X = o->X;
  const mxs_pass pass = {.first = first,
                         .count = count,
                         .replicas = 1,
                         .x = &X,
                         .y = y,
                         .weight = weight,
                         .w = o->w,
                         .g = &G};
  MXS_TRY(data->op->pass(data->self, &pass));
  add_losses(data, at, count, o->w, &losses[0], &losses[1]);
  if (!o->full) {
    const mxs_cmat g = mxs_cview(G, p->n1, p->n2);
    mxs_la_gemm(0, 0, 1.0, g, V, 0.0, mxs_view(gU, p->n1, p->k));
    mxs_la_gemm(1, 0, 1.0, g, U, 0.0, mxs_view(gV, p->n2, p->k));
  }
  return MXS_OK;
}

static mxs_status validation_block(
    mxs_objective *o, int64_t j, mxs_cmat U, mxs_cmat V, double *leaf) {
  const mxs_data *data = &o->problem->validation;
  const int64_t first = data->first + mxs_blocks_first(&data->blocks, data->blocks.own[j]);
  const int64_t count = mxs_blocks_size(&data->blocks, data->blocks.own[j]);
  const double *y = data->y + data->blocks.offset[j];
  double *sum = leaf + o->length[LEAF_GU] + o->length[LEAF_GV] + 1;
  if (o->dense) {
    const double *X = o->X;
    const mxs_pass pass = {
        .first = first, .count = count, .replicas = 1, .x = &X, .y = y, .w = o->w};
    MXS_TRY(data->op->pass(data->self, &pass));
  } else {
    MXS_TRY(data->op->apply(data->self, first, count, U, V, o->w));
    for (int64_t i = 0; i < count; i++)
      o->w[i] -= y[i];
  }
  for (int64_t i = 0; i < count; i++)
    *sum += o->w[i] * o->w[i];
  return MXS_OK;
}

/* All blocks of this rank. Failing blocks leave the sums short, but the message still goes out. */
static mxs_status local_pass(mxs_objective *o, mxs_cmat U, mxs_cmat V) {
  const mxs_problem *p = o->problem;
  mxs_status status = MXS_OK;
  mxs_reducer_begin(o->reducer);
  if (o->dense) {
    const double *X = o->X;
    mxs_la_gemm(0, 1, 1.0, U, V, 0.0, mxs_view(o->X, p->n1, p->n2));
    status = mxsi_op_point(p->train.op, p->train.self, 1, &X);
    if (status == MXS_OK && p->validation.blocks.m > 0)
      status = mxsi_op_point(p->validation.op, p->validation.self, 1, &X);
  }
  for (int64_t j = 0; j < p->train.blocks.own_count && status == MXS_OK; j++) {
    status = train_block(o, j, U, V, mxs_reducer_leaf(o->reducer));
    mxs_reducer_commit(o->reducer);
  }
  for (int64_t j = 0; j < p->validation.blocks.own_count && status == MXS_OK; j++) {
    status = validation_block(o, j, U, V, mxs_reducer_leaf(o->reducer));
    mxs_reducer_commit(o->reducer);
  }
  return status;
}

/* The first pass has no scale yet. A residual as large as y and factors as they are tell it well
 * enough: only what is off by more than the room costs a second pass. */
static void guess_scales(mxs_objective *o, mxs_cmat U, mxs_cmat V) {
  const mxs_problem *p = o->problem;
  const double block = p->y_norm2 / (double)p->m_train * (double)p->train.blocks.rows;
  const double entry = sqrt(block * p->scale2);
  mxs_reducer_guess(o->reducer, LEAF_GU,
                    entry * (o->full ? 1.0 : mxs_la_frobenius(V) / sqrt((double)p->k)));
  mxs_reducer_guess(o->reducer, LEAF_GV, entry * mxs_la_frobenius(U) / sqrt((double)p->k));
  mxs_reducer_guess(o->reducer, LEAF_LOSS, block);
  mxs_reducer_guess(o->reducer, LEAF_VALIDATION, block);
}

static void evaluate(
    mxs_objective *o, mxs_cmat U, mxs_cmat V, const mxs_reduced *reduced, mxs_evaluation *out) {
  const mxs_problem *p = o->problem;
  const int64_t length = o->length[LEAF_GU] + o->length[LEAF_GV];
  const double m = (double)p->m_train;
  for (int64_t i = 0; i < length; i++)
    o->scaled[i] = reduced->sum[i] / m;
  out->gU = o->scaled;
  out->gV = o->scaled + o->length[LEAF_GU];
  if (o->full) {
    const mxs_cmat G = mxs_cview(o->scaled, p->n1, p->n2);
    mxs_la_gemm(0, 0, 1.0, G, V, 0.0, mxs_view(o->gU, p->n1, p->k));
    mxs_la_gemm(1, 0, 1.0, G, U, 0.0, mxs_view(o->gV, p->n2, p->k));
    out->gU = o->gU;
    out->gV = o->gV;
  }
  out->loss = reduced->sum[length] / (2.0 * m);
  out->validation_loss = p->m_validation > 0
                             ? reduced->sum[length + 1] / (2.0 * (double)p->m_validation)
                             : (double)NAN;
}

mxs_status mxs_objective_pass(
    mxs_objective *o, mxs_cmat U, mxs_cmat V, int stop, int checkpoint, mxs_evaluation *out) {
  *out = (mxs_evaluation){0};
  mxs_status status = MXS_OK;
  mxs_reduced reduced = {0};
  guess_scales(o, U, V);
  do {
    const double begin = MPI_Wtime();
    status = local_pass(o, U, V);
    mxs_reducer_count(o->reducer, WORD_FAILED, status != MXS_OK);
    mxs_reducer_count(o->reducer, WORD_STOP, stop);
    mxs_reducer_count(o->reducer, WORD_CHECKPOINT, checkpoint);
    o->compute_s += MPI_Wtime() - begin;
    mxs_reducer_finish(o->reducer, &reduced);
    o->passes++;
  } while (reduced.redo && reduced.words[WORD_FAILED] == 0);
  if (reduced.words[WORD_FAILED] > 0)
    return mxs_comm_agree(o->problem->comm, status);
  out->stop = reduced.words[WORD_STOP];
  out->checkpoint = reduced.words[WORD_CHECKPOINT];
  out->nonfinite = reduced.nonfinite > 0;
  const double begin = MPI_Wtime();
  evaluate(o, U, V, &reduced, out);
  o->compute_s += MPI_Wtime() - begin;
  return MXS_OK;
}

/* S += sum_i y_i A_i over one block. */
static mxs_status project_block(mxs_objective *o, int64_t j, double *S) {
  const mxs_problem *p = o->problem;
  const mxs_data *data = &p->train;
  const int64_t at = data->blocks.offset[j];
  const int64_t first = data->first + mxs_blocks_first(&data->blocks, data->blocks.own[j]);
  const int64_t count = mxs_blocks_size(&data->blocks, data->blocks.own[j]);
  for (int64_t i = 0; i < count; i++)
    o->w[i] = data->weight != NULL ? data->weight[at + i] * data->y[at + i] : data->y[at + i];
  const mxs_pass pass = {.first = first, .count = count, .replicas = 1, .w = o->w, .g = &S};
  if (o->dense)
    return data->op->pass(data->self, &pass);
  double *identity = NULL;
  MXS_TRY(mxs_alloc(p->n2 * PANEL, sizeof *identity, &identity));
  mxs_status status = MXS_OK;
  for (int64_t left = 0; left < p->n2 && status == MXS_OK; left += PANEL) {
    const int64_t cols = p->n2 - left < PANEL ? p->n2 - left : PANEL;
    memset(identity, 0, (size_t)(p->n2 * PANEL) * sizeof *identity);
    for (int64_t c = 0; c < cols; c++)
      identity[(left + c) * cols + c] = 1.0;
    status =
        data->op->adjoint_mul(data->self, first, count, o->w, 0, mxs_cview(identity, p->n2, cols),
                              (mxs_mat){S + left, p->n1, cols, p->n2});
  }
  mxs_release(&identity);
  return status;
}

mxs_status mxs_objective_back_projection_local(mxs_objective *o, double *S) {
  const mxs_problem *p = o->problem;
  const double begin = MPI_Wtime();
  mxs_status status = MXS_OK;
  memset(S, 0, (size_t)(p->n1 * p->n2) * sizeof *S);
  for (int64_t j = 0; j < p->train.blocks.own_count && status == MXS_OK; j++)
    status = project_block(o, j, S);
  for (int64_t i = 0; i < p->n1 * p->n2; i++)
    S[i] /= (double)p->m_train;
  o->compute_s += MPI_Wtime() - begin;
  o->passes++;
  return status;
}

mxs_status mxs_objective_back_projection(mxs_objective *o, double *S) {
  const mxs_problem *p = o->problem;
  const int64_t entries = p->n1 * p->n2;
  mxs_reducer *reducer = NULL;
  mxs_reduced reduced = {0};
  mxs_status status =
      mxs_comm_agree(p->comm, mxs_reducer_create(p->comm, o->reduction, &entries, 1, &reducer));
  if (status != MXS_OK)
    goto cleanup;
  mxs_reducer_guess(
      reducer, 0, sqrt(p->y_norm2 / (double)p->m_train * (double)p->train.blocks.rows * p->scale2));
  do {
    const double begin = MPI_Wtime();
    mxs_reducer_begin(reducer);
    for (int64_t j = 0; j < p->train.blocks.own_count && status == MXS_OK; j++) {
      status = project_block(o, j, mxs_reducer_leaf(reducer));
      mxs_reducer_commit(reducer);
    }
    mxs_reducer_count(reducer, WORD_FAILED, status != MXS_OK);
    o->compute_s += MPI_Wtime() - begin;
    mxs_reducer_finish(reducer, &reduced);
    o->passes++;
  } while (reduced.redo && reduced.words[WORD_FAILED] == 0);
  MXS_TRY_GOTO(status, mxs_comm_agree(p->comm, status), cleanup);
  if (reduced.nonfinite > 0) {
    status = mxs_fail(MXS_ERR_DATA, "the back-projection of y overflows: rescale A and y");
    goto cleanup;
  }
  for (int64_t i = 0; i < entries; i++)
    S[i] = reduced.sum[i] / (double)p->m_train;
cleanup:
  mxs_reducer_destroy(&reducer);
  return status;
}

mxs_objective_profile mxs_objective_get_profile(const mxs_objective *o) {
  return (mxs_objective_profile){.compute_s = o->compute_s,
                                 .reduce_s = mxs_reducer_seconds(o->reducer),
                                 .passes = o->passes,
                                 .reduce_bytes = mxs_reducer_bytes(o->reducer)};
}
