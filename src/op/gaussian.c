#include "op/gaussian.h"

#include "base/normal.h"
#include "base/stream.h"
#include "op/kernels.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum {
  STEP = 2 * MXS_NORMAL_STEP,   /* entries of a step of words */
  CHUNK = 2 * MXS_STREAM_CHUNK, /* entries of a chunk of words */
  COLUMNS = 4 * CHUNK,          /* of a block: MXS_GROUP rows of it fit the second-level cache */
  BAND = 8 * MXS_GROUP          /* rows that share the traffic of X and G when made twice */
};

/* Of one thread: allocated apart, so that no two threads write the same cache line. */
typedef struct workspace {
  double *tile; /* MXS_GROUP rows, block of columns after block of columns */
  double generate_s;
} workspace;

typedef struct gaussian {
  int64_t entries;
  uint64_t seed;
  int keep; /* the tile holds whole rows */
  int threads;
  workspace **of;
} gaussian;

static double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Columns column .. column + n - 1 of rows first .. first + count - 1, count <= MXS_GROUP, with
 * `ld` numbers from row to row; `column` is a multiple of CHUNK. */
static void make(uint64_t seed,
                 int64_t first,
                 int64_t count,
                 int64_t column,
                 int64_t n,
                 double *rows,
                 int64_t ld) {
  uint64_t words[MXS_GROUP * MXS_STREAM_CHUNK];
  for (int64_t done = 0; done < n; done += CHUNK) {
    const int64_t left = n - done < CHUNK ? n - done : CHUNK;
    const int64_t whole = left / STEP * MXS_NORMAL_STEP;
    const int64_t rest = left % STEP;
    mxs_stream_rows(seed, MXS_STREAM_ENSEMBLE, first, count, (column + done) / 2,
                    whole + (rest > 0 ? MXS_NORMAL_STEP : 0), words, MXS_STREAM_CHUNK);
    for (int64_t i = 0; i < count; i++) {
      const uint64_t *of_row = words + i * MXS_STREAM_CHUNK;
      double *to = rows + i * ld + done;
      mxs_normal_pairs(whole, of_row, to);
      if (rest > 0) {
        double last[STEP];
        mxs_normal_pairs(MXS_NORMAL_STEP, of_row + whole, last);
        memcpy(to + 2 * whole, last, (size_t)rest * sizeof *to);
      }
    }
  }
}

void mxsi_gaussian_rows(
    uint64_t seed, int64_t entries, int64_t first, int64_t count, double *rows) {
  for (int64_t i = 0; i < count; i += MXS_GROUP) {
    const int64_t n = count - i < MXS_GROUP ? count - i : MXS_GROUP;
    make(seed, first + i, n, 0, entries, rows + i * entries, entries);
  }
}

/* A block of columns of a group of rows, and where in the tile it is. */
typedef struct block {
  int64_t column, n;
  double *entries;
} block;

static block block_at(const gaussian *g, const workspace *own, int64_t column, int kept) {
  const int64_t left = g->entries - column;
  return (block){.column = column,
                 .n = left < COLUMNS ? left : COLUMNS,
                 .entries = own->tile + (kept ? MXS_GROUP * column : 0)};
}

static void fill(const gaussian *g, workspace *own, const mxs_pass *group, const block *b) {
  const double start = seconds();
  make(g->seed, group->first, group->count, b->column, b->n, b->entries, b->n);
  own->generate_s += seconds() - start;
}

/* w_r += <a_i, x_r> over a block of columns. */
static void forward(const mxs_pass *group, const block *b) {
  for (int64_t r = 0; r < group->replicas; r++) {
    double z[MXS_GROUP];
    const mxs_single part = {.count = group->count, .x = group->x[r] + b->column, .w = z};
    mxsi_kernel_f64(&part, b->n, b->entries);
    for (int64_t i = 0; i < group->count; i++)
      group->w[r * group->stride + i] += z[i];
  }
}

/* g_r += sum_i weight_i w_ri a_i over a block of columns. */
static void adjoint(const mxs_pass *group, const block *b) {
  for (int64_t r = 0; r < group->replicas; r++) {
    mxs_single part = mxsi_pass_single(group, r);
    part.x = NULL;
    part.g += b->column;
    mxsi_kernel_f64(&part, b->n, b->entries);
  }
}

/* The residual of a band of rows: columns outside, so that X is read once for all of them. */
static void residual(const gaussian *g, workspace *own, const mxs_pass *band, int kept) {
  for (int64_t r = 0; r < band->replicas; r++)
    memset(band->w + r * band->stride, 0, (size_t)band->count * sizeof *band->w);
  for (int64_t column = 0; column < g->entries; column += COLUMNS)
    for (int64_t done = 0; done < band->count; done += MXS_GROUP) {
      const mxs_pass group = mxsi_pass_part(band, done, MXS_GROUP);
      const block b = block_at(g, own, column, kept);
      fill(g, own, &group, &b);
      forward(&group, &b);
    }
  for (int64_t r = 0; r < band->replicas && band->y != NULL; r++)
    for (int64_t i = 0; i < band->count; i++)
      band->w[r * band->stride + i] -= band->y[i];
}

/* Columns from last to first: what was made last is nearest. */
static void gradient(const gaussian *g, workspace *own, const mxs_pass *band, int kept) {
  const int64_t last = (g->entries - 1) / COLUMNS * COLUMNS;
  for (int64_t column = last; column >= 0; column -= COLUMNS)
    for (int64_t done = 0; done < band->count; done += MXS_GROUP) {
      const mxs_pass group = mxsi_pass_part(band, done, MXS_GROUP);
      const block b = block_at(g, own, column, kept);
      if (!kept)
        fill(g, own, &group, &b);
      adjoint(&group, &b);
    }
}

static mxs_status gaussian_pass(void *self, const mxs_pass *pass) {
  const gaussian *g = self;
  workspace *own = g->of[pass->thread];
  const int kept = g->keep && pass->x != NULL && pass->g != NULL;
  const int64_t rows = kept ? MXS_GROUP : BAND;
  for (int64_t done = 0; done < pass->count; done += rows) {
    const mxs_pass band = mxsi_pass_part(pass, done, rows);
    if (band.x != NULL)
      residual(g, own, &band, kept);
    if (band.g != NULL)
      gradient(g, own, &band, kept);
  }
  return MXS_OK;
}

static int64_t tile_entries(const gaussian *g) {
  return MXS_GROUP * (g->keep || g->entries < COLUMNS ? g->entries : COLUMNS);
}

static void gaussian_destroy(void *self) {
  gaussian *g = self;
  for (int t = 0; t < g->threads; t++) {
    mxs_release(&g->of[t]->tile);
    mxs_release(&g->of[t]);
  }
  mxs_release(&g->of);
  mxs_release(&g);
}

static mxs_status gaussian_plan(void *self, int64_t replicas, int threads) {
  (void)replicas;
  gaussian *g = self;
  if (threads <= g->threads)
    return MXS_OK;
  workspace **of = NULL;
  MXS_TRY(mxs_alloc(threads, sizeof(workspace *), &of));
  memcpy(of, g->of, (size_t)g->threads * sizeof(workspace *));
  mxs_release(&g->of);
  g->of = of;
  for (int t = g->threads; t < threads; t++) {
    MXS_TRY(mxs_alloc(1, sizeof *of[t], &of[t]));
    g->threads = t + 1;
    MXS_TRY(mxs_alloc(tile_entries(g), sizeof(double), &of[t]->tile));
  }
  return MXS_OK;
}

static void gaussian_info(const void *self, mxs_op_info *info) {
  const gaussian *g = self;
  snprintf(info->path, sizeof info->path, "generated f64, %s",
           g->keep ? "rows kept in cache" : "made for each direction");
  info->bytes = g->threads * tile_entries(g) * (int64_t)sizeof(double);
  for (int t = 0; t < g->threads; t++)
    info->generate_s += g->of[t]->generate_s;
}

const mxs_op_table mxsi_op_gaussian = {.name = "gaussian",
                                       .pass = gaussian_pass,
                                       .plan = gaussian_plan,
                                       .info = gaussian_info,
                                       .destroy = gaussian_destroy};

mxs_status mxsi_gaussian_create(int64_t entries, uint64_t seed, int64_t cache, void **self) {
  *self = NULL;
  gaussian *g = NULL;
  MXS_TRY(mxs_alloc(1, sizeof *g, &g));
  g->entries = entries;
  g->seed = seed;
  g->keep = entries <= cache / (MXS_GROUP * (int64_t)sizeof(double));
  const mxs_status status = mxs_alloc(0, sizeof(workspace *), &g->of);
  if (status != MXS_OK)
    mxs_release(&g);
  *self = g;
  return status;
}
