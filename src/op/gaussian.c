#include "op/gaussian.h"

#include "base/clock.h"
#include "base/normal.h"
#include "base/stream.h"
#include "op/kernels.h"

#include <stdio.h>
#include <string.h>

enum {
  STEP = 2 * MXS_NORMAL_STEP,     /* entries of a step of words */
  COLUMNS = 2 * MXS_STREAM_CHUNK, /* of a block, entries of a chunk: a group of it fits L1 */
  BAND = 8 * MXS_GROUP /* rows that share a visit to X and G, where those are not in cache */
};

/* Of one thread: allocated apart, so that no two threads write the same cache line. */
typedef struct workspace {
  double *tile;     /* block of columns after block of columns, group after group of rows in each */
  double *z;        /* sums over a block: MXS_GROUP of each planned matrix */
  const double **x; /* the columns of a block */
  double **g;
  double generate_s;
} workspace;

typedef struct gaussian {
  int64_t entries;
  uint64_t seed;
  int64_t cache;
  int64_t replicas; /* planned */
  int64_t kept; /* whole rows that a tile holds, a multiple of MXS_GROUP; 0: a block of a group */
  int threads;
  workspace **of;
  mxs_rows visits; /* to rows of a block */
} gaussian;

/* Columns column .. column + n - 1, n <= COLUMNS, of rows first .. first + count - 1, count <=
 * MXS_GROUP, with `ld` numbers from row to row; `column` is a multiple of COLUMNS. */
static void make(uint64_t seed,
                 int64_t first,
                 int64_t count,
                 int64_t column,
                 int64_t n,
                 double *rows,
                 int64_t ld) {
  uint64_t words[MXS_GROUP * MXS_STREAM_CHUNK];
  const int64_t whole = n / STEP * MXS_NORMAL_STEP;
  const int64_t rest = n % STEP;
  const int64_t asked = whole + (rest > 0 ? MXS_NORMAL_STEP : 0);
  mxs_stream_rows(seed, MXS_STREAM_ENSEMBLE, first, count, column / 2, asked, words,
                  MXS_STREAM_CHUNK);
  for (int64_t i = 0; i < count; i++) {
    const uint64_t *of_row = words + i * MXS_STREAM_CHUNK;
    mxs_normal_pairs(whole, of_row, rows + i * ld);
    if (rest > 0) {
      double last[STEP];
      mxs_normal_pairs(MXS_NORMAL_STEP, of_row + whole, last);
      memcpy(rows + i * ld + 2 * whole, last, (size_t)rest * sizeof *rows);
    }
  }
}

void mxsi_gaussian_rows(
    uint64_t seed, int64_t entries, int64_t first, int64_t count, double *rows) {
  for (int64_t i = 0; i < count; i += MXS_GROUP) {
    const int64_t some = count - i < MXS_GROUP ? count - i : MXS_GROUP;
    for (int64_t column = 0; column < entries; column += COLUMNS) {
      const int64_t left = entries - column;
      make(seed, first + i, some, column, left < COLUMNS ? left : COLUMNS,
           rows + i * entries + column, entries);
    }
  }
}

/* A block of columns of a group of rows. */
typedef struct block {
  int64_t column, n;
  double *entries;
} block;

/* `kept` rows of the tile, `done` rows before those of the group; 0: all blocks in one place. */
static block block_at(
    const gaussian *g, const workspace *own, int64_t column, int64_t kept, int64_t done) {
  const int64_t left = g->entries - column;
  const int64_t n = left < COLUMNS ? left : COLUMNS;
  const int64_t at = kept > 0 ? kept * column + done * n : 0;
  return (block){.column = column, .n = n, .entries = own->tile + at};
}

static void fill(const gaussian *g, workspace *own, const mxs_pass *group, const block *b) {
  const double start = mxs_clock();
  make(g->seed, group->first, group->count, b->column, b->n, b->entries, b->n);
  own->generate_s += mxs_clock() - start;
}

static void visit(const gaussian *g, const mxs_pass *part, const block *b) {
  mxs_rows visits = g->visits;
  visits.entries = b->n;
  mxsi_rows_visit(&visits, part, b->entries, 0);
}

/* w_r += <a_i, x_r> over a block of columns. */
static void forward(const gaussian *g,
                    const workspace *own,
                    const mxs_pass *group,
                    const block *b) {
  for (int64_t r = 0; r < group->replicas; r++)
    own->x[r] = group->x[r] + b->column;
  const mxs_pass part = {.count = group->count,
                         .replicas = group->replicas,
                         .x = own->x,
                         .w = own->z,
                         .stride = MXS_GROUP,
                         .thread = group->thread};
  visit(g, &part, b);
  for (int64_t r = 0; r < group->replicas; r++)
    for (int64_t i = 0; i < group->count; i++)
      group->w[r * group->stride + i] += own->z[r * MXS_GROUP + i];
}

/* g_r += sum_i weight_i w_ri a_i over a block of columns. */
static void adjoint(const gaussian *g,
                    const workspace *own,
                    const mxs_pass *group,
                    const block *b) {
  for (int64_t r = 0; r < group->replicas; r++)
    own->g[r] = group->g[r] + b->column;
  mxs_pass part = *group;
  part.x = NULL;
  part.g = own->g;
  visit(g, &part, b);
}

/* The residual of a band of rows: columns outside, so that X is read once for all of them. */
static void residual(const gaussian *g, workspace *own, const mxs_pass *band, int64_t kept) {
  for (int64_t r = 0; r < band->replicas; r++)
    memset(band->w + r * band->stride, 0, (size_t)band->count * sizeof *band->w);
  for (int64_t column = 0; column < g->entries; column += COLUMNS)
    for (int64_t done = 0; done < band->count; done += MXS_GROUP) {
      const mxs_pass group = mxsi_pass_part(band, done, MXS_GROUP);
      const block b = block_at(g, own, column, kept, done);
      fill(g, own, &group, &b);
      forward(g, own, &group, &b);
    }
  for (int64_t r = 0; r < band->replicas && band->y != NULL; r++)
    for (int64_t i = 0; i < band->count; i++)
      band->w[r * band->stride + i] -= band->y[i];
}

/* Columns from last to first: what was made last is nearest. */
static void gradient(const gaussian *g, workspace *own, const mxs_pass *band, int64_t kept) {
  const int64_t last = (g->entries - 1) / COLUMNS * COLUMNS;
  for (int64_t column = last; column >= 0; column -= COLUMNS)
    for (int64_t done = 0; done < band->count; done += MXS_GROUP) {
      const mxs_pass group = mxsi_pass_part(band, done, MXS_GROUP);
      const block b = block_at(g, own, column, kept, done);
      if (kept == 0)
        fill(g, own, &group, &b);
      adjoint(g, own, &group, &b);
    }
}

static mxs_status gaussian_pass(void *self, const mxs_pass *pass) {
  const gaussian *g = self;
  workspace *own = g->of[pass->thread];
  const int64_t kept = pass->x != NULL && pass->g != NULL ? g->kept : 0;
  const int64_t rows = kept > 0 ? kept : BAND;
  for (int64_t done = 0; done < pass->count; done += rows) {
    const mxs_pass band = mxsi_pass_part(pass, done, rows);
    if (band.x != NULL)
      residual(g, own, &band, kept);
    if (band.g != NULL)
      gradient(g, own, &band, kept);
  }
  return MXS_OK;
}

/* One X and G stay in cache next to a group of rows; many do not. */
static int64_t rows_kept(const gaussian *g) {
  const int64_t rows = g->replicas > 1 ? BAND : MXS_GROUP;
  return rows * g->entries * (int64_t)sizeof(double) <= g->cache ? rows : 0;
}

static int64_t tile_entries(const gaussian *g) {
  return g->kept > 0 ? g->kept * g->entries : MXS_GROUP * (int64_t)COLUMNS;
}

static void release(workspace *own) {
  mxs_release(&own->tile);
  mxs_release(&own->z);
  mxs_release(&own->x);
  mxs_release(&own->g);
}

static mxs_status allocate(const gaussian *g, workspace *own) {
  release(own); /* what an earlier attempt left */
  MXS_TRY(mxs_alloc(tile_entries(g), sizeof *own->tile, &own->tile));
  MXS_TRY(mxs_alloc(MXS_GROUP * g->replicas, sizeof *own->z, &own->z));
  MXS_TRY(mxs_alloc(g->replicas, sizeof(double *), &own->x));
  return mxs_alloc(g->replicas, sizeof(double *), &own->g);
}

static void gaussian_destroy(void *self) {
  gaussian *g = self;
  for (int t = 0; t < g->threads; t++) {
    release(g->of[t]);
    mxs_release(&g->of[t]);
  }
  mxs_release(&g->of);
  mxsi_rows_clear(&g->visits);
  mxs_release(&g);
}

static mxs_status more_threads(gaussian *g, int threads) {
  workspace **of = NULL;
  MXS_TRY(mxs_alloc(threads, sizeof(workspace *), &of));
  memcpy(of, g->of, (size_t)g->threads * sizeof(workspace *));
  mxs_release(&g->of);
  g->of = of;
  for (; g->threads < threads; g->threads++)
    MXS_TRY(mxs_alloc(1, sizeof(workspace), &of[g->threads]));
  return MXS_OK;
}

static mxs_status gaussian_plan(void *self, int64_t replicas, int threads) {
  gaussian *g = self;
  if (threads > g->threads)
    MXS_TRY(more_threads(g, threads));
  const int other = replicas > g->replicas;
  if (other)
    g->replicas = replicas;
  MXS_TRY(mxsi_rows_plan(&g->visits, replicas, threads));
  g->kept = rows_kept(g);
  for (int t = 0; t < g->threads; t++) {
    if (other || g->of[t]->g == NULL)
      MXS_TRY(allocate(g, g->of[t]));
  }
  return MXS_OK;
}

static mxs_status gaussian_rows(
    void *self, int64_t first, int64_t count, double *room, const double **rows) {
  const gaussian *g = self;
  mxsi_gaussian_rows(g->seed, g->entries, first, count, room);
  *rows = room;
  return MXS_OK;
}

static void gaussian_info(const void *self, mxs_op_info *info) {
  const gaussian *g = self;
  (void)snprintf(info->path, sizeof info->path, "generated f64, %s",
                 g->kept > 0 ? "rows kept in cache" : "made for each direction");
  mxs_op_info visits = {.bytes = 0};
  mxsi_rows_info(&g->visits, &visits);
  info->bytes = visits.bytes + g->threads * (tile_entries(g) + (MXS_GROUP + 2) * g->replicas) *
                                   (int64_t)sizeof(double);
  for (int t = 0; t < g->threads; t++)
    info->generate_s += g->of[t]->generate_s;
}

const mxs_op_table mxsi_op_gaussian = {.name = "gaussian",
                                       .pass = gaussian_pass,
                                       .plan = gaussian_plan,
                                       .rows = gaussian_rows,
                                       .info = gaussian_info,
                                       .destroy = gaussian_destroy};

mxs_status mxsi_gaussian_create(int64_t entries, uint64_t seed, int64_t cache, void **self) {
  *self = NULL;
  gaussian *g = NULL;
  MXS_TRY(mxs_alloc(1, sizeof *g, &g));
  g->entries = entries;
  g->seed = seed;
  g->cache = cache;
  mxsi_rows_init(&g->visits, MXS_STORAGE_F64, COLUMNS);
  const mxs_status status = mxs_alloc(0, sizeof(workspace *), &g->of);
  if (status != MXS_OK)
    mxs_release(&g);
  *self = g;
  return status;
}
