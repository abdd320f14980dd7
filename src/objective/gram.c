/* | symbol | meaning                                                   |
 * |--------|-----------------------------------------------------------|
 * | J      | rows [vec(A_i V), vec(A_i^T U)]                           |
 * | L      | rows of J, mapped                                         |
 * | G      | (1/m) L^T L, by panels of rows up to the diagonal         |
 *
 * Blocks come in batches whose rows stay in doubles; then each panel of G takes the products of the
 * blocks one by one, so that its sums are still in the cache for the next. */
#include "objective/jacobian.h"

#include "base/hash.h"
#include "la/la.h"

#include <math.h>
#include <string.h>

enum { PANEL = 64, BATCH_BYTES = 64 << 20 };

typedef struct gram {
  const mxs_rows_map *map;
  int64_t order;
  int64_t panels;
  int64_t batch;  /* blocks at a time */
  int64_t first;  /* block of the batch */
  int64_t stored; /* blocks in it */
  double *rows;   /* of the batch; a block has room for its most rows */
  double **raw;   /* rows of a block before they are mapped, of each thread */
  double **leaf;  /* a panel, of each thread */
  mxs_reducer *reducer;
} gram;

static int64_t least(int64_t a, int64_t b) {
  return a < b ? a : b;
}

static int64_t panel_end(int64_t order, int64_t panel) {
  return least(order, (panel + 1) * PANEL);
}

static int64_t panel_rows(int64_t order, int64_t panel) {
  return panel_end(order, panel) - panel * PANEL;
}

static void clear(const mxs_objective *o, gram *g) {
  mxs_reducer_destroy(&g->reducer);
  for (int t = 0; t < o->threads; t++) {
    if (g->raw != NULL)
      mxs_release(&g->raw[t]);
    if (g->leaf != NULL)
      mxs_release(&g->leaf[t]);
  }
  mxs_release(&g->raw);
  mxs_release(&g->leaf);
  mxs_release(&g->rows);
}

static mxs_status prepare_rows(mxs_objective *o, const mxs_rows_map *map, gram *g) {
  const mxsi_jacobian *s = o->jacobian;
  g->map = map;
  g->order = map != NULL ? map->order : s->length;
  MXS_TRY(mxs_alloc(o->threads, sizeof *g->raw, &g->raw));
  for (int t = 0; t < o->threads; t++)
    MXS_TRY(mxs_alloc(o->rows, (size_t)s->ld * sizeof(double), &g->raw[t]));
  return MXS_OK;
}

static mxs_status prepare_sums(mxs_objective *o, gram *g) {
  const int64_t fit = BATCH_BYTES / (o->rows * g->order * (int64_t)sizeof *g->rows);
  int64_t *lengths = NULL;
  g->panels = (g->order + PANEL - 1) / PANEL;
  g->batch = fit < 1 ? 1 : fit;
  MXS_TRY(mxs_alloc(o->threads, sizeof *g->leaf, &g->leaf));
  for (int t = 0; t < o->threads; t++)
    MXS_TRY(mxs_alloc(PANEL * g->order, sizeof(double), &g->leaf[t]));
  MXS_TRY(mxs_alloc(least(g->batch, o->jacobian->count + 1) * o->rows,
                    (size_t)g->order * sizeof *g->rows, &g->rows));
  MXS_TRY(mxs_alloc(g->panels, sizeof *lengths, &lengths));
  for (int64_t q = 0; q < g->panels; q++)
    lengths[q] = panel_rows(g->order, q) * panel_end(g->order, q);
  const mxs_status status =
      mxs_reducer_create(o->problem->comm, o->reduction, lengths, (int)g->panels, &g->reducer);
  mxs_release(&lengths);
  return status;
}

/* Rows of block `a` of the pass as doubles, ld apart. */
static mxs_status raw_rows(mxs_objective *o, int t, int64_t a, double *raw) {
  const mxsi_jacobian *s = o->jacobian;
  if (s->matrix_free)
    return mxsi_jacobian_form(o, t, a, raw);
  const float *from = s->J + s->start[a] * s->ld;
  for (int64_t i = 0; i < (s->start[a + 1] - s->start[a]) * s->ld; i++)
    raw[i] = (double)from[i];
  return MXS_OK;
}

static mxs_status map_rows(mxs_objective *o, gram *g, int t, int64_t a, double *to) {
  const mxsi_jacobian *s = o->jacobian;
  const double *raw = g->raw[t];
  MXS_TRY(raw_rows(o, t, a, g->raw[t]));
  for (int64_t i = s->start[a]; i < s->start[a + 1]; i++, raw += s->ld, to += g->order)
    if (g->map != NULL)
      g->map->map(g->map->ctx, t, raw, to);
    else
      memcpy(to, raw, (size_t)g->order * sizeof *to);
  return MXS_OK;
}

static mxs_status rows_job(mxs_objective *o, int t, int64_t job, void *ctx) {
  gram *g = ctx;
  return map_rows(o, g, t, g->first + job, g->rows + job * o->rows * g->order);
}

static mxs_status panel_job(mxs_objective *o, int t, int64_t panel, void *ctx) {
  const gram *g = ctx;
  const mxsi_jacobian *s = o->jacobian;
  const int64_t end = panel_end(g->order, panel);
  const int64_t height = panel_rows(g->order, panel);
  for (int64_t b = 0; b < g->stored; b++) {
    const int64_t count = s->start[g->first + b + 1] - s->start[g->first + b];
    const double *rows = g->rows + b * o->rows * g->order;
    if (count == 0)
      continue;
    mxs_la_gemm(1, 0, 1.0, (mxs_cmat){rows + panel * PANEL, count, height, g->order},
                (mxs_cmat){rows, count, end, g->order}, 0.0, mxs_view(g->leaf[t], height, end));
    mxs_reducer_commit_one(g->reducer, (int)panel, g->leaf[t]);
  }
  return MXS_OK;
}

static mxs_status add_blocks(mxs_objective *o, gram *g) {
  const int64_t count = o->jacobian->count;
  for (g->first = 0; g->first < count; g->first += g->batch) {
    g->stored = least(g->batch, count - g->first);
    MXS_TRY(mxsi_objective_run(o, g->stored, rows_job, g));
    MXS_TRY(mxsi_objective_run(o, g->panels, panel_job, g));
  }
  return MXS_OK;
}

/* The panels into both triangles. */
static void put(const gram *g, const mxs_reduced *reduced, double *G) {
  const int64_t n = g->order;
  const double *from = reduced->sum;
  const double train = (double)reduced->words[WORD_TRAIN];
  for (int64_t i = 0; i < n; i++) {
    const int64_t panel = i / PANEL;
    const double unit =
        reduced->nonfinite[panel] > 0 ? (double)NAN : 1.0 / (train > 0.0 ? train : 1.0);
    for (int64_t j = 0; j <= i; j++) {
      G[i * n + j] = from[j] * unit;
      G[j * n + i] = from[j] * unit;
    }
    from += panel_end(n, panel);
  }
}

static void guess(const mxs_objective *o, const gram *g) {
  double size[2];
  mxsi_jacobian_sizes(o, size);
  const double square =
      g->map != NULL ? g->map->size * g->map->size : size[0] * size[0] + size[1] * size[1];
  for (int64_t q = 0; q < g->panels; q++)
    mxs_reducer_guess(g->reducer, (int)q, (double)o->problem->train.blocks.rows * square);
}

static mxs_status reduce(mxs_objective *o, gram *g, mxs_reduced *reduced) {
  const mxsi_jacobian *s = o->jacobian;
  const uint64_t state = mxs_hash64(s->point, (size_t)s->length * sizeof *s->point, 0);
  mxs_status status = MXS_OK;
  guess(o, g);
  do {
    mxs_reducer_begin(g->reducer);
    status = add_blocks(o, g);
    mxs_reducer_count(g->reducer, WORD_FAILED, status != MXS_OK);
    mxsi_jacobian_count(o, g->reducer);
    MXS_TRY(mxs_reducer_finish(g->reducer, state, reduced));
    o->visits += s->matrix_free ? reduced->words[WORD_TRAIN] + reduced->words[WORD_HELD] : 0;
  } while (reduced->redo && reduced->words[WORD_FAILED] == 0);
  return reduced->words[WORD_FAILED] > 0 ? mxs_comm_agree(o->problem->comm, status) : MXS_OK;
}

mxs_status mxs_objective_gram(mxs_objective *o, const mxs_rows_map *map, double *G) {
  gram g = {0};
  mxs_reduced reduced = {0};
  MXS_TRY(mxsi_jacobian_check(o));
  mxs_status status = prepare_rows(o, map, &g);
  if (status == MXS_OK)
    status = prepare_sums(o, &g);
  status = mxs_comm_agree(o->problem->comm, status);
  if (status == MXS_OK)
    status = reduce(o, &g, &reduced);
  if (status == MXS_OK)
    put(&g, &reduced, G);
  clear(o, &g);
  return status;
}

typedef struct single {
  gram g;
  double **mapped; /* rows of a block, of each thread */
  float *rows;
} single;

static mxs_status single_job(mxs_objective *o, int t, int64_t a, void *ctx) {
  single *s = ctx;
  const int64_t *start = o->jacobian->start;
  MXS_TRY(map_rows(o, &s->g, t, a, s->mapped[t]));
  o->jacobian->loops->to_single(s->mapped[t], s->rows + start[a] * s->g.order,
                                (start[a + 1] - start[a]) * s->g.order);
  return MXS_OK;
}

static mxs_status prepare_single(mxs_objective *o, const mxs_rows_map *map, single *s) {
  MXS_TRY(prepare_rows(o, map, &s->g));
  MXS_TRY(mxs_alloc(o->threads, sizeof *s->mapped, &s->mapped));
  for (int t = 0; t < o->threads; t++)
    MXS_TRY(mxs_alloc(o->rows, (size_t)s->g.order * sizeof(double), &s->mapped[t]));
  return mxs_alloc(o->jacobian->start[o->jacobian->count] + 1, (size_t)s->g.order * sizeof *s->rows,
                   &s->rows);
}

mxs_status mxs_objective_mapped_rows(
    mxs_objective *o, const mxs_rows_map *map, float **rows, int64_t *count, int64_t *train) {
  single s = {0};
  int64_t visited[2] = {0};
  *rows = NULL;
  MXS_TRY(mxsi_jacobian_check(o));
  const mxsi_jacobian *j = o->jacobian;
  mxs_status status = mxs_comm_agree(o->problem->comm, prepare_single(o, map, &s));
  if (status == MXS_OK)
    status = mxs_comm_agree(o->problem->comm, mxsi_objective_run(o, j->count, single_job, &s));
  for (int t = 0; s.mapped != NULL && t < o->threads; t++)
    mxs_release(&s.mapped[t]);
  mxs_release(&s.mapped);
  clear(o, &s.g);
  if (status != MXS_OK) {
    mxs_release(&s.rows);
    return status;
  }
  visited[0] = j->start[j->count];
  visited[1] = j->held;
  *count = visited[0];
  *rows = s.rows;
  MPI_Allreduce(MPI_IN_PLACE, visited, 2, MPI_INT64_T, MPI_SUM, o->problem->comm->mpi);
  *train = visited[0];
  o->visits += j->matrix_free ? visited[0] + visited[1] : 0;
  return MXS_OK;
}
