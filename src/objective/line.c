/* | symbol        | meaning                                                                  |
 * |---------------|--------------------------------------------------------------------------|
 * | X_0, X_1, X_2 | U V^T, P V^T + U Q^T, P Q^T: (U - t P)(V - t Q)^T = X_0 - t X_1 + t^2 X_2 |
 * | a, b, c       | A(X_0) - y, A(X_1), A(X_2): the residual at t is a - t b + t^2 c          |
 * | e             | coefficients of 1, t, .. t^4 in (a - t b + t^2 c)^2, summed over a block  */
#include "objective/objective_impl.h"

#include "base/hash.h"
#include "la/la.h"
#include "op/op.h"

#include <math.h>
#include <string.h>

enum { TERMS = 3, COEFFICIENTS = 5 };

struct mxsi_line {
  double *room;     /* X_1 and X_2 of each replica, or its factors of X_1 side by side */
  const double **x; /* X_0, X_1, X_2 of each replica in the pass */
  double **w;       /* of each thread: a, b, c of a block, one replica after another */
  double *leaves;   /* of each own block: COEFFICIENTS a replica */
  mxs_reducer *reducer;
};

typedef struct lines {
  const mxs_point *points, *directions;
} lines;

static int64_t leaf_length(const mxs_objective *o) {
  return COEFFICIENTS * o->replicas;
}

static mxs_status allocate(mxs_objective *o) {
  const mxs_problem *p = o->problem;
  int64_t room = 0;
  for (int64_t r = 0; r < o->replicas; r++)
    room += o->dense ? (TERMS - 1) * p->n1 * p->n2 : 4 * (p->n1 + p->n2) * o->replica[r].k;
  MXS_TRY(mxs_alloc(1, sizeof *o->line, &o->line));
  mxsi_line *line = o->line;
  MXS_TRY(mxs_alloc(room, sizeof *line->room, &line->room));
  MXS_TRY(mxs_alloc(TERMS * o->replicas, sizeof *line->x, &line->x));
  MXS_TRY(
      mxs_alloc(p->train.blocks.own_count * leaf_length(o), sizeof *line->leaves, &line->leaves));
  MXS_TRY(mxs_alloc(o->threads, sizeof *line->w, &line->w));
  for (int t = 0; t < o->threads; t++)
    MXS_TRY(mxs_alloc(TERMS * o->replicas * o->rows, sizeof *line->w[t], &line->w[t]));
  if (o->dense)
    MXS_TRY(mxsi_op_plan(p->train.op, p->train.self, TERMS * o->replicas, o->threads));
  int64_t *ones = NULL;
  MXS_TRY(mxs_alloc(leaf_length(o), sizeof *ones, &ones));
  for (int64_t q = 0; q < leaf_length(o); q++)
    ones[q] = 1;
  const mxs_status status =
      mxs_reducer_create(p->comm, o->reduction, ones, (int)leaf_length(o), &line->reducer);
  mxs_release(&ones);
  return status;
}

void mxsi_line_destroy(mxs_objective *o) {
  mxsi_line *line = o->line;
  if (line == NULL)
    return;
  mxs_reducer_destroy(&line->reducer);
  for (int t = 0; line->w != NULL && t < o->threads; t++)
    mxs_release(&line->w[t]);
  mxs_release(&line->w);
  mxs_release(&line->leaves);
  mxs_release(&line->x);
  mxs_release(&line->room);
  mxs_release(&o->line);
}

double mxsi_line_seconds(const mxsi_line *line) {
  return line != NULL ? mxs_reducer_seconds(line->reducer) : 0.0;
}

static mxs_cmat rows_of(mxs_cmat A, int64_t first, int64_t rows) {
  return (mxs_cmat){A.a + first * A.ld, rows, A.cols, A.ld};
}

/* Rows of a panel of X_0, X_1 and X_2 of one replica. */
static mxs_status product_job(mxs_objective *o, int t, int64_t job, void *ctx) {
  (void)t;
  const lines *of = ctx;
  const mxs_problem *p = o->problem;
  const int64_t panels = (p->n1 + MXSI_PANEL - 1) / MXSI_PANEL;
  const int64_t a = job / panels;
  const int64_t r = o->active[a];
  const int64_t row = job % panels * MXSI_PANEL;
  const int64_t rows = p->n1 - row < MXSI_PANEL ? p->n1 - row : MXSI_PANEL;
  const int64_t entries = p->n1 * p->n2;
  const mxs_cmat U = rows_of(of->points[r].U, row, rows);
  const mxs_cmat P = rows_of(of->directions[r].U, row, rows);
  const mxs_cmat V = of->points[r].V;
  const mxs_cmat Q = of->directions[r].V;
  double *crossed = o->line->room + (TERMS - 1) * a * entries + row * p->n2;
  mxs_la_gemm(0, 1, 1.0, U, V, 0.0, mxs_view(o->replica[r].X + row * p->n2, rows, p->n2));
  mxs_la_gemm(0, 1, 1.0, P, V, 0.0, mxs_view(crossed, rows, p->n2));
  mxs_la_gemm(0, 1, 1.0, U, Q, 1.0, mxs_view(crossed, rows, p->n2));
  mxs_la_gemm(0, 1, 1.0, P, Q, 0.0, mxs_view(crossed + entries, rows, p->n2));
  return MXS_OK;
}

static mxs_status form_products(mxs_objective *o, lines *of) {
  const mxs_problem *p = o->problem;
  const int64_t panels = (p->n1 + MXSI_PANEL - 1) / MXSI_PANEL;
  const double **x = o->line->x;
  for (int64_t a = 0; a < o->active_count; a++) {
    x[TERMS * a] = o->replica[o->active[a]].X;
    for (int term = 1; term < TERMS; term++)
      x[TERMS * a + term] = o->line->room + ((TERMS - 1) * a + term - 1) * p->n1 * p->n2;
  }
  MXS_TRY(mxsi_objective_run(o, o->active_count * panels, product_job, of));
  return mxsi_op_point(p->train.op, p->train.self, TERMS * o->active_count, x);
}

/* [A B], rows of A and B next to each other. */
static void put_side_by_side(mxs_cmat A, mxs_cmat B, double *to) {
  for (int64_t i = 0; i < A.rows; i++, to += 2 * A.cols) {
    memcpy(to, A.a + i * A.ld, (size_t)A.cols * sizeof *to);
    memcpy(to + A.cols, B.a + i * B.ld, (size_t)B.cols * sizeof *to);
  }
}

/* X_1 = [P U] [V Q]^T. */
static void stack_factors(mxs_objective *o, const lines *of) {
  const mxs_problem *p = o->problem;
  double *room = o->line->room;
  for (int64_t r = 0; r < o->replicas; r++) {
    const int64_t cols = 2 * of->points[r].U.cols;
    if (!of->points[r].idle) {
      put_side_by_side(of->directions[r].U, of->points[r].U, room);
      put_side_by_side(of->points[r].V, of->directions[r].V, room + p->n1 * cols);
    }
    room += 4 * (p->n1 + p->n2) * o->replica[r].k;
  }
}

static mxs_status visit_matrices(mxs_objective *o, int t, const mxsi_range *range) {
  const mxs_pass pass = {.first = range->first,
                         .count = range->count,
                         .replicas = TERMS * o->active_count,
                         .x = o->line->x,
                         .w = o->line->w[t],
                         .stride = o->rows,
                         .thread = t};
  return mxsi_objective_visit(&o->problem->train, &pass);
}

static mxs_status visit_factors(mxs_objective *o, int t, const mxsi_range *range, const lines *of) {
  const mxs_problem *p = o->problem;
  const mxs_data *data = &p->train;
  const double *room = o->line->room;
  double *w = o->line->w[t];
  for (int64_t r = 0; r < o->replicas; r++) {
    const mxs_point *at = &of->points[r];
    const mxs_point *along = &of->directions[r];
    const int64_t cols = 2 * at->U.cols;
    if (!at->idle) {
      MXS_TRY(data->op->apply(data->self, range->first, range->count, at->U, at->V, w));
      MXS_TRY(data->op->apply(data->self, range->first, range->count, mxs_cview(room, p->n1, cols),
                              mxs_cview(room + p->n1 * cols, p->n2, cols), w + o->rows));
      MXS_TRY(data->op->apply(data->self, range->first, range->count, along->U, along->V,
                              w + 2 * o->rows));
      w += TERMS * o->rows;
    }
    room += 4 * (p->n1 + p->n2) * o->replica[r].k;
  }
  return MXS_OK;
}

static mxs_status block_job(mxs_objective *o, int t, int64_t job, void *ctx) {
  const lines *of = ctx;
  const mxs_data *data = &o->problem->train;
  const mxsi_range range = mxsi_block_range(data, o->sampled[job]);
  const double *w = o->line->w[t];
  double *leaf = o->line->leaves + job * leaf_length(o);
  memset(leaf, 0, (size_t)leaf_length(o) * sizeof *leaf);
  MXS_TRY(o->dense ? visit_matrices(o, t, &range) : visit_factors(o, t, &range, of));
  for (int64_t active = 0; active < o->active_count; active++, w += TERMS * o->rows) {
    double *e = leaf + COEFFICIENTS * o->active[active];
    for (int64_t i = 0; i < range.count; i++) {
      if (data->weight != NULL && data->weight[range.at + i] == 0.0)
        continue;
      const double a = w[i] - data->y[range.at + i];
      const double b = w[o->rows + i];
      const double c = w[2 * o->rows + i];
      e[0] += a * a;
      e[1] -= 2.0 * a * b;
      e[2] += b * b + 2.0 * a * c;
      e[3] -= 2.0 * b * c;
      e[4] += c * c;
    }
  }
  return MXS_OK;
}

/* Scales follow from the points and directions, and from that of the loss, which is state. */
static void guess_scales(mxs_objective *o, const lines *of) {
  const mxs_problem *p = o->problem;
  const double rows = (double)p->train.blocks.rows;
  const int64_t *scales = mxs_reducer_scales(o->reducer);
  mxs_reducer_forget(o->line->reducer);
  for (int64_t a = 0; a < o->active_count; a++) {
    const int64_t r = o->active[a];
    const double known = ldexp(1.0, (int)scales[r * LEAF_QUANTITIES + LEAF_LOSS]);
    const double U = mxs_la_frobenius(of->points[r].U), V = mxs_la_frobenius(of->points[r].V);
    const double P = mxs_la_frobenius(of->directions[r].U);
    const double Q = mxs_la_frobenius(of->directions[r].V);
    const double residual = sqrt(known > 0.0 ? known : p->y_norm2 / (double)p->m_train * rows);
    const double b = sqrt(rows * p->scale2) * (P * V + U * Q);
    const double c = sqrt(rows * p->scale2) * P * Q;
    const double e[COEFFICIENTS] = {residual * residual, residual * b, b * b + residual * c, b * c,
                                    c * c};
    for (int q = 0; q < COEFFICIENTS; q++)
      mxs_reducer_guess(o->line->reducer, (int)r * COEFFICIENTS + q, e[q]);
  }
}

/* The leaves stay, so that other scales cost a small reduction and no visit to A. Collective. */
static mxs_status reduce(mxs_objective *o, int failed, uint64_t state, mxs_reduced *out) {
  mxs_reducer *reducer = o->line->reducer;
  do {
    mxs_reducer_begin(reducer);
    for (int64_t job = 0; job < o->sampled_count && !failed; job++)
      mxs_reducer_commit(reducer, o->line->leaves + job * leaf_length(o));
    mxs_reducer_count(reducer, WORD_FAILED, failed);
    mxsi_sample_count(o, 0, reducer);
    MXS_TRY(mxs_reducer_finish(reducer, state, out));
  } while (out->redo && out->words[WORD_FAILED] == 0);
  return MXS_OK;
}

static void put_coefficients(const mxs_reduced *reduced, int64_t r, double coefficients[5]) {
  const double train = (double)reduced->words[WORD_TRAIN];
  for (int64_t q = 0; q < COEFFICIENTS; q++) {
    const int64_t at = r * COEFFICIENTS + q;
    const double sum = reduced->nonfinite[at] > 0 ? (double)NAN : reduced->sum[at];
    coefficients[q] = sum / (2.0 * (train > 0.0 ? train : 1.0));
  }
}

static uint64_t digest_lines(const mxs_objective *o, const lines *of) {
  uint64_t digest = 0;
  for (int64_t a = 0; a < o->active_count; a++) {
    const uint64_t parts[3] = {digest, mxsi_points_digest(&of->points[o->active[a]], 1),
                               mxsi_points_digest(&of->directions[o->active[a]], 1)};
    digest = mxs_hash64(parts, sizeof parts, 0);
  }
  return digest;
}

mxs_status mxs_objective_line(mxs_objective *o,
                              const mxs_point *points,
                              const mxs_point *directions,
                              double (*coefficients)[5]) {
  lines of = {points, directions};
  mxs_reduced reduced = {0};
  mxsi_objective_activate(o, points);
  if (o->active_count == 0)
    return MXS_OK;
  if (o->line == NULL) {
    const mxs_status made = mxs_comm_agree(o->problem->comm, allocate(o));
    if (made != MXS_OK)
      mxsi_line_destroy(o);
    MXS_TRY(made);
  }
  const double begin = MPI_Wtime();
  const uint64_t state = digest_lines(o, &of);
  guess_scales(o, &of);
  mxs_status status = MXS_OK;
  if (o->dense)
    status = form_products(o, &of);
  else
    stack_factors(o, &of);
  if (status == MXS_OK)
    status = mxsi_objective_run(o, o->sampled_count, block_job, &of);
  if (status == MXS_OK && digest_lines(o, &of) != state)
    status = mxs_fail(MXS_ERR_CORRUPT, "factors changed in memory during a visit to A");
  o->compute_s += MPI_Wtime() - begin;
  MXS_TRY(reduce(o, status != MXS_OK, state, &reduced));
  o->visits += reduced.words[WORD_TRAIN] + reduced.words[WORD_HELD];
  if (reduced.words[WORD_FAILED] > 0)
    return mxs_comm_agree(o->problem->comm, status);
  for (int64_t r = 0; r < o->replicas; r++)
    if (!points[r].idle)
      put_coefficients(&reduced, r, coefficients[r]);
  return MXS_OK;
}
