/* Visits for many matrices at once. A tile, a few columns of a group of rows, is in the first-level
 * cache while it serves all matrices. The sums are those of one matrix, lane by lane: they wait in
 * memory between the tiles of a row. */
#include "base/simd.h"
#include "op/kernels_rows.h"

enum {
  L1_BYTES = 32 << 10, /* for a tile, and its columns of all X or G */
  FEWEST_COLUMNS = 64,
  SHORT_ROWS = 32,   /* of a band */
  LONG_ROWS = 8,     /* of a band of long rows */
  LONG_REPLICAS = 8, /* for which that is enough; for more of them: */
  LONG_COLUMNS = 128 /* of a tile, at most: a line less than MXS_GATHERED */
};

static void clear_workspaces(mxs_rows *rows) {
  for (int t = 0; t < rows->threads && rows->thread != NULL; t++) {
    mxs_release(&rows->thread[t].lanes);
    mxs_release(&rows->thread[t].c);
    mxs_release(&rows->thread[t].tile);
    mxs_release(&rows->thread[t].gathered);
    mxs_release(&rows->thread[t].at);
  }
  mxs_release(&rows->thread);
}

void mxsi_rows_clear(mxs_rows *rows) {
  clear_workspaces(rows);
  rows->replicas = 1;
  rows->threads = 1;
}

static mxs_status allocate(mxs_rows *rows) {
  MXS_TRY(mxs_alloc(rows->threads, sizeof *rows->thread, &rows->thread));
  for (int t = 0; t < rows->threads; t++) {
    mxs_rows_thread *own = &rows->thread[t];
    const int64_t sums = (int64_t)MXS_MANY_ROWS * rows->replicas;
    MXS_TRY(mxs_alloc(sums * MXS_STEP, sizeof *own->lanes, &own->lanes));
    MXS_TRY(mxs_alloc(sums, sizeof *own->c, &own->c));
    MXS_TRY(mxs_alloc((int64_t)MXS_GROUP * MXS_TILE_COLUMNS, sizeof *own->tile, &own->tile));
    MXS_TRY(mxs_alloc(rows->replicas * MXS_GATHERED, sizeof *own->gathered, &own->gathered));
    MXS_TRY(mxs_alloc(rows->replicas, sizeof(double *), &own->at));
    for (int64_t r = 0; r < rows->replicas; r++)
      own->at[r] = own->gathered + r * MXS_GATHERED;
  }
  return MXS_OK;
}

mxs_status mxsi_rows_plan(mxs_rows *rows, int64_t replicas, int threads) {
  const int64_t most = replicas > rows->replicas ? replicas : rows->replicas;
  const int many = threads > rows->threads ? threads : rows->threads;
  if (most == rows->replicas && many == rows->threads)
    return MXS_OK;
  clear_workspaces(rows);
  rows->replicas = most;
  rows->threads = many;
  if (most == 1)
    return MXS_OK;
  const mxs_status status = allocate(rows);
  if (status != MXS_OK)
    mxsi_rows_clear(rows);
  return status;
}

mxs_status mxsi_rows_begin(const mxs_rows *rows, const mxs_pass *pass) {
  if (pass->replicas > rows->replicas || pass->thread < 0 || pass->thread >= rows->threads)
    return mxs_fail(MXS_ERR_INTERNAL, "a pass over %lld matrices on thread %d is not planned",
                    (long long)pass->replicas, pass->thread);
  return MXS_OK;
}

/* Rows of a visit that are done together: their residuals, then their part of G. */
typedef struct band {
  const mxs_rows *rows;
  const mxs_pass *pass;
  const mxs_rows_thread *own;
  const char *a;
  int64_t first, count; /* of the measurements of the pass */
  int64_t most;         /* rows of a band but the last one */
  int64_t whole;        /* columns in whole steps */
  int64_t columns;      /* of a tile */
  int is_long;          /* many rows, which crowd the last-level cache */
} band;

/* Many rows share what they take of X and G. */
static band band_of(const mxs_rows *rows, const mxs_pass *pass) {
  const int64_t tile_bytes = (MXS_GROUP + pass->replicas) * (int64_t)sizeof(double);
  const int64_t columns = L1_BYTES / tile_bytes / MXS_STEP * MXS_STEP;
  const int crowded = 4 * (int64_t)SHORT_ROWS * mxsi_row_bytes(rows) > rows->far_bytes;
  const int is_long = crowded && pass->replicas > LONG_REPLICAS;
  const int64_t most = is_long ? LONG_COLUMNS : MXS_TILE_COLUMNS;
  const int64_t least = columns > FEWEST_COLUMNS ? columns : FEWEST_COLUMNS;
  return (band){.rows = rows,
                .pass = pass,
                .own = &rows->thread[pass->thread],
                .most = is_long   ? MXS_MANY_ROWS
                        : crowded ? LONG_ROWS
                                  : SHORT_ROWS,
                .whole = rows->entries - rows->entries % MXS_STEP,
                .columns = least < most ? least : most,
                .is_long = is_long};
}

typedef enum direction { FORWARD, ADJOINT } direction;

/* From a tile to what comes into cache meanwhile: the columns that follow, then the first ones
 * again. Short rows of the next band come from memory while the adjoint direction has these in
 * cache. */
static int64_t bytes_ahead(const band *b, int64_t from, direction way) {
  const int64_t bytes = mxsi_entry_bytes(b->rows->storage);
  const int64_t next_band = b->count * mxsi_row_bytes(b->rows);
  if (way == ADJOINT && !b->is_long)
    return next_band;
  if (from + b->columns < b->whole)
    return b->columns * bytes;
  return (way == FORWARD ? 0 : next_band) - from * bytes;
}

/* Columns from .. of rows i .. of a band. */
static mxs_tile tile_at(const band *b, int64_t i, int64_t from, direction way) {
  const mxs_rows *rows = b->rows;
  const int64_t row_bytes = mxsi_row_bytes(rows);
  const char *a = b->a + i * row_bytes;
  const int64_t left = b->count - i;
  const int64_t to = from + b->columns < b->whole ? from + b->columns : b->whole;
  mxs_tile tile = {.a = (const double *)(const void *)a + from,
                   .ld_a = rows->entries,
                   .rows = left < MXS_GROUP ? left : MXS_GROUP,
                   .columns = to - from,
                   .from = b->is_long ? 0 : from,
                   .replicas = b->pass->replicas,
                   .ahead = bytes_ahead(b, from, way)};
  if (rows->storage == MXS_STORAGE_F64)
    return tile;
  mxs_strip strip = {.storage = rows->storage,
                     .a = a,
                     .row_bytes = row_bytes,
                     .rows = tile.rows,
                     .from = from,
                     .to = to};
  for (int64_t l = 0; l < MXS_GROUP; l++)
    strip.hint[l] = tile.ahead;
  rows->kernels->widen(&strip, b->own->tile);
  tile.a = b->own->tile;
  tile.ld_a = MXS_TILE_COLUMNS;
  tile.ahead = 0;
  return tile;
}

/* The columns of a tile, of all matrices next to each other: where those are apart by a power of
 * two, they would share few places in cache. */
static const double *const *gather(const band *b, int64_t from, const double *const *matrices) {
  const int64_t left = b->whole - from;
  const int64_t columns = left < b->columns ? left : b->columns;
  if (!b->is_long)
    return matrices;
  for (int64_t r = 0; r < b->pass->replicas; r++)
    memcpy(b->own->at[r], matrices[r] + from, (size_t)columns * sizeof(double));
  return (const double *const *)b->own->at;
}

static void scatter(const band *b, int64_t from, double *const *matrices) {
  const int64_t left = b->whole - from;
  const int64_t columns = left < b->columns ? left : b->columns;
  for (int64_t r = 0; r < b->pass->replicas && b->is_long; r++)
    memcpy(matrices[r] + from, b->own->at[r], (size_t)columns * sizeof(double));
}

static void residual(const band *b) {
  const mxs_pass *pass = b->pass;
  const int64_t replicas = pass->replicas;
  double *lanes = b->own->lanes;
  memset(lanes, 0, (size_t)(MXS_STEP * b->count * replicas) * sizeof *lanes);
  for (int64_t from = 0; from < b->whole; from += b->columns) {
    const double *const *x = gather(b, from, pass->x);
    for (int64_t i = 0; i < b->count; i += MXS_GROUP) {
      const mxs_tile tile = tile_at(b, i, from, FORWARD);
      b->rows->kernels->tile_forward(&tile, x, lanes + MXS_STEP * i * replicas);
    }
  }
  for (int64_t i = 0; i < b->count; i++) {
    const char *a = b->a + i * mxsi_row_bytes(b->rows);
    const int64_t at = b->first + i;
    for (int64_t r = 0; r < replicas; r++) {
      double z = mxsi_sum_lanes(lanes + MXS_STEP * (i * replicas + r));
      for (int64_t j = b->whole; j < b->rows->entries; j++)
        z = __builtin_fma(mxsi_entry(b->rows->storage, a, j), pass->x[r][j], z);
      pass->w[r * pass->stride + at] = pass->y != NULL ? z - pass->y[at] : z;
    }
  }
}

static void gradient(const band *b) {
  const mxs_pass *pass = b->pass;
  const int64_t replicas = pass->replicas;
  double *c = b->own->c;
  for (int64_t i = 0; i < b->count; i++)
    for (int64_t r = 0; r < replicas; r++) {
      const double w = pass->w[r * pass->stride + b->first + i];
      c[i * replicas + r] = pass->weight != NULL ? pass->weight[b->first + i] * w : w;
    }
  for (int64_t from = 0; from < b->whole; from += b->columns) {
    (void)gather(b, from, (const double *const *)pass->g);
    double *const *g = b->is_long ? b->own->at : pass->g;
    for (int64_t i = 0; i < b->count; i += MXS_GROUP) {
      const mxs_tile tile = tile_at(b, i, from, ADJOINT);
      b->rows->kernels->tile_adjoint(&tile, c + i * replicas, g);
    }
    scatter(b, from, pass->g);
  }
  for (int64_t j = b->whole; j < b->rows->entries; j++)
    for (int64_t i = 0; i < b->count; i++) {
      const char *a = b->a + i * mxsi_row_bytes(b->rows);
      const double aij = mxsi_entry(b->rows->storage, a, j);
      for (int64_t r = 0; r < replicas; r++)
        pass->g[r][j] = __builtin_fma(aij, c[i * replicas + r], pass->g[r][j]);
    }
}

void mxsi_rows_visit_many(const mxs_rows *rows, const mxs_pass *pass, const char *a) {
  band b = band_of(rows, pass);
  for (; b.first < pass->count; b.first += b.most) {
    const int64_t left = pass->count - b.first;
    b.a = a + b.first * mxsi_row_bytes(rows);
    b.count = left < b.most ? left : b.most;
    if (pass->x != NULL)
      residual(&b);
    if (pass->g != NULL)
      gradient(&b);
  }
}
