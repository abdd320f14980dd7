/* | symbol | meaning                                                     |
 * |--------|-------------------------------------------------------------|
 * | A      | a measurement, n1 x n2                                      |
 * | J      | rows [vec(A_i V), vec(A_i^T U)]                             |
 * | w      | residual J vec(U, 0) - y, of y with label noise             | */
#include "objective/jacobian.h"

#include "la/la.h"

#include <string.h>

enum { ALIGNED = 16, TILE_BYTES = 256 << 10, TILE = 8 };

static int64_t round_up(int64_t n, int64_t unit) {
  return (n + unit - 1) / unit * unit;
}

/* Rows of a transform cost a transform each, and those of structured operators are longer than what
 * is stored of them. */
static int is_matrix_free(const mxs_op_table *op) {
  return op->pass == NULL || strcmp(op->name, "fast") == 0;
}

static mxsi_jacobian sizes_of(const mxs_objective *o) {
  const mxs_problem *p = o->problem;
  const int64_t length = (p->n1 + p->n2) * o->replica[0].k;
  const int64_t fit = TILE_BYTES / (p->n1 * p->n2 * (int64_t)sizeof(double));
  return (mxsi_jacobian){.loops = mxsi_loops_fastest(),
                         .matrix_free = is_matrix_free(p->train.op),
                         .length = length,
                         .ld = round_up(length, ALIGNED),
                         .ld_v = round_up(p->n2, MXSI_TANGENT_LANES),
                         .tile = fit < 1      ? 1
                                 : fit < TILE ? fit
                                              : TILE};
}

static int64_t own_training(const mxs_objective *o) {
  int64_t rows = 0;
  for (int64_t j = 0; j < o->problem->train.blocks.own_count; j++)
    rows += o->train_count[j];
  return rows;
}

int64_t mxs_objective_jacobian_bytes(const mxs_objective *o) {
  const mxs_problem *p = o->problem;
  const mxsi_jacobian s = sizes_of(o);
  const int64_t k = o->replica[0].k;
  const int64_t room = s.tile * p->n1 * p->n2 + 2 * s.ld + k * s.ld_v;
  const int64_t shared = 7 * s.length + k * s.ld_v;
  return (s.matrix_free ? 0 : own_training(o) * s.ld * (int64_t)sizeof(float)) +
         (o->threads * room + shared) * (int64_t)sizeof(double);
}

int mxs_objective_jacobian_has_rows(const mxs_problem *p) {
  return !is_matrix_free(p->train.op);
}

int64_t mxs_objective_jacobian_row_bytes(const mxs_objective *o) {
  const mxsi_jacobian s = sizes_of(o);
  return s.matrix_free ? 0 : s.ld * (int64_t)sizeof(float);
}

static mxs_status allocate(mxs_objective *o) {
  const mxs_problem *p = o->problem;
  const int64_t k = o->replica[0].k;
  const int64_t own = p->train.blocks.own_count;
  MXS_TRY(mxs_alloc(1, sizeof *o->jacobian, &o->jacobian));
  mxsi_jacobian *s = o->jacobian;
  *s = sizes_of(o);
  MXS_TRY(mxs_alloc(own, sizeof *s->block, &s->block));
  MXS_TRY(mxs_alloc(own + 1, sizeof *s->start, &s->start));
  MXS_TRY(mxs_alloc(s->length, sizeof *s->point, &s->point));
  MXS_TRY(mxs_alloc(k * s->ld_v, sizeof *s->Vt, &s->Vt));
  MXS_TRY(mxs_alloc(s->ld, sizeof *s->d, &s->d));
  MXS_TRY(mxs_alloc(2 * s->length, sizeof *s->stacked, &s->stacked));
  MXS_TRY(mxs_alloc(o->threads, sizeof *s->room, &s->room));
  for (int t = 0; t < o->threads; t++) {
    mxsi_rows_room *room = &s->room[t];
    MXS_TRY(mxs_alloc(s->tile * p->n1 * p->n2, sizeof *room->A, &room->A));
    MXS_TRY(mxs_alloc(s->ld, sizeof *room->row, &room->row));
    MXS_TRY(mxs_alloc(k * s->ld_v, sizeof *room->C, &room->C));
    MXS_TRY(mxs_alloc(s->ld, sizeof *room->leaf, &room->leaf));
  }
  const int64_t lengths[2] = {p->n1 * k, p->n2 * k};
  return mxs_reducer_create(p->comm, o->reduction, lengths, 2, &s->reducer);
}

void mxsi_jacobian_destroy(mxs_objective *o) {
  mxsi_jacobian *s = o->jacobian;
  if (s == NULL)
    return;
  mxs_reducer_destroy(&s->reducer);
  for (int t = 0; s->room != NULL && t < o->threads; t++) {
    mxs_release(&s->room[t].A);
    mxs_release(&s->room[t].row);
    mxs_release(&s->room[t].C);
    mxs_release(&s->room[t].leaf);
  }
  mxs_release(&s->room);
  mxs_release(&s->J);
  mxs_release(&s->block);
  mxs_release(&s->start);
  mxs_release(&s->point);
  mxs_release(&s->Vt);
  mxs_release(&s->d);
  mxs_release(&s->stacked);
  mxs_release(&o->jacobian);
}

mxs_status mxs_objective_keep_jacobian(mxs_objective *o, int keep) {
  if (!keep)
    mxsi_jacobian_destroy(o);
  if (!keep || o->jacobian != NULL)
    return MXS_OK;
  if (o->replicas != 1)
    return mxs_fail(MXS_ERR_ARG, "the Jacobian is kept of one replica, not of %lld",
                    (long long)o->replicas);
  const mxs_status status = mxs_comm_agree(o->problem->comm, allocate(o));
  if (status != MXS_OK)
    mxsi_jacobian_destroy(o);
  return status;
}

const float *mxs_objective_jacobian_rows(const mxs_objective *o, int64_t *rows, int64_t *ld) {
  const mxsi_jacobian *s = o->jacobian;
  const int has = s != NULL && s->valid && !s->matrix_free;
  *rows = has ? s->start[s->count] : 0;
  *ld = has ? s->ld : 0;
  return has ? s->J : NULL;
}

mxs_cmat mxsi_jacobian_U(const mxs_objective *o) {
  return mxs_cview(o->jacobian->point, o->problem->n1, o->replica[0].k);
}

mxs_cmat mxsi_jacobian_V(const mxs_objective *o) {
  const int64_t k = o->replica[0].k;
  return mxs_cview(o->jacobian->point + o->problem->n1 * k, o->problem->n2, k);
}

static void copy_factor(mxs_cmat from, double *to) {
  for (int64_t i = 0; i < from.rows; i++)
    memcpy(to + i * from.cols, from.a + i * from.ld, (size_t)from.cols * sizeof *to);
}

mxs_status mxsi_jacobian_begin(mxs_objective *o, const mxs_point *at) {
  mxsi_jacobian *s = o->jacobian;
  const int64_t k = o->replica[0].k;
  s->valid = 0;
  copy_factor(at->U, s->point);
  copy_factor(at->V, s->point + o->problem->n1 * k);
  for (int64_t q = 0; q < at->V.rows; q++)
    for (int64_t c = 0; c < k; c++)
      s->Vt[c * s->ld_v + q] = at->V.a[q * at->V.ld + c];
  s->count = o->sampled_count;
  s->held = 0;
  for (int64_t a = 0; a < s->count; a++) {
    const int64_t j = o->sampled[a];
    s->block[a] = j;
    s->start[a + 1] = s->start[a] + o->train_count[j];
    s->held += mxsi_block_range(&o->problem->train, j).count - o->train_count[j];
  }
  const int64_t rows = s->start[s->count];
  if (s->matrix_free || rows <= s->room_rows)
    return MXS_OK;
  mxs_release(&s->J);
  s->room_rows = 0;
  MXS_TRY(mxs_alloc(rows, (size_t)s->ld * sizeof *s->J, &s->J));
  s->room_rows = rows;
  return MXS_OK;
}

/* The matrices of a few measurements: by rows, or by the adjoint of one at a time; NULL where the
 * operator knows products only. */
static mxs_status fetch(
    const mxs_objective *o, int t, int64_t first, int64_t count, const double **A) {
  const mxs_data *data = &o->problem->train;
  const int64_t entries = o->problem->n1 * o->problem->n2;
  double *room = o->jacobian->room[t].A;
  double one = 1.0;
  *A = NULL;
  if (data->op->rows != NULL)
    return data->op->rows(data->self, first, count, room, A);
  if (data->op->pass == NULL)
    return MXS_OK;
  memset(room, 0, (size_t)(count * entries) * sizeof *room);
  for (int64_t i = 0; i < count; i++) {
    double *row = room + i * entries;
    const mxs_pass pass = {
        .first = first + i, .count = 1, .replicas = 1, .w = &one, .g = &row, .thread = t};
    MXS_TRY(data->op->pass(data->self, &pass));
  }
  *A = room;
  return MXS_OK;
}

static mxs_status form_row(
    const mxs_objective *o, int t, int64_t measurement, const double *A, double *row) {
  const mxs_problem *p = o->problem;
  const mxs_data *data = &p->train;
  const mxsi_jacobian *s = o->jacobian;
  const int64_t k = o->replica[0].k;
  const double one = 1.0;
  if (A != NULL) {
    const mxsi_tangent at = {.n1 = p->n1,
                             .n2 = p->n2,
                             .k = k,
                             .ld = s->ld_v,
                             .U = s->point,
                             .Vt = s->Vt,
                             .C = s->room[t].C};
    s->loops->tangent_row(&at, A, row);
    return MXS_OK;
  }
  memset(row, 0, (size_t)s->length * sizeof *row);
  MXS_TRY(data->op->adjoint_mul(data->self, measurement, 1, &one, 0, mxsi_jacobian_V(o),
                                mxs_view(row, p->n1, k)));
  return data->op->adjoint_mul(data->self, measurement, 1, &one, 1, mxsi_jacobian_U(o),
                               mxs_view(row + p->n1 * k, p->n2, k));
}

static int is_held(const mxs_data *data, int64_t i) {
  return data->weight != NULL && data->weight[i] == 0.0;
}

/* Measurement range->at + i of y, whose matrix is A: its row is in the room. */
static void add_row(
    const mxs_objective *o, int t, double target, double y, int held, const double *A) {
  const mxsi_jacobian *s = o->jacobian;
  const mxsi_replica *r = &o->replica[0];
  const double *row = s->room[t].row;
  double *leaf = o->worker[t].leaf;
  const double w = s->loops->dot(row, s->point, o->problem->n1 * r->k) - target;
  const double residual = w + (target - y);
  leaf[r->start[held ? LEAF_VALIDATION : LEAF_LOSS]] += residual * residual;
  if (held)
    return;
  if (r->full)
    s->loops->axpy(w, A, leaf + r->start[LEAF_GU], o->problem->n1 * o->problem->n2);
  else
    s->loops->axpy(w, row, leaf + r->start[LEAF_GU], s->length);
}

mxs_status mxsi_jacobian_block(mxs_objective *o, int t, int64_t a) {
  const mxs_data *data = &o->problem->train;
  const mxsi_jacobian *s = o->jacobian;
  const mxsi_range range = mxsi_block_range(data, s->block[a]);
  const double *targets = mxsi_sample_targets(o, &o->worker[t], &range);
  double *row = s->room[t].row;
  float *to = s->J + s->start[a] * s->ld;
  for (int64_t first = 0; first < range.count; first += s->tile) {
    const int64_t count = range.count - first < s->tile ? range.count - first : s->tile;
    const double *A = NULL;
    MXS_TRY(fetch(o, t, range.first + first, count, &A));
    for (int64_t i = first; i < first + count; i++) {
      const double *one = A + (i - first) * o->problem->n1 * o->problem->n2;
      const int held = is_held(data, range.at + i);
      MXS_TRY(form_row(o, t, range.first + i, one, row));
      add_row(o, t, targets[i], data->y[range.at + i], held, one);
      if (!held) {
        s->loops->to_single(row, to, s->length);
        to += s->ld;
      }
    }
  }
  return MXS_OK;
}

mxs_status mxsi_jacobian_form(mxs_objective *o, int t, int64_t a, double *rows) {
  const mxs_data *data = &o->problem->train;
  const mxsi_jacobian *s = o->jacobian;
  const mxsi_range range = mxsi_block_range(data, s->block[a]);
  for (int64_t i = 0; i < range.count; i++) {
    const double *A = NULL;
    if (is_held(data, range.at + i))
      continue;
    MXS_TRY(fetch(o, t, range.first + i, 1, &A));
    MXS_TRY(form_row(o, t, range.first + i, A, rows));
    rows += s->ld;
  }
  return MXS_OK;
}
