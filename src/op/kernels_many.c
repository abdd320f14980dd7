/* Visits for many matrices at once: X and G with the matrices side by side, so that lanes run over
 * matrices and each entry of A is used for all of them. */
#include "base/simd.h"
#include "op/kernels_rows.h"

static void clear_workspaces(mxs_rows *rows) {
  for (int t = 0; t < rows->threads && rows->thread != NULL; t++) {
    mxs_release(&rows->thread[t].g);
    mxs_release(&rows->thread[t].c);
    mxs_release(&rows->thread[t].tile);
  }
  mxs_release(&rows->thread);
  mxs_release(&rows->x);
  rows->pointed = 0;
}

void mxsi_rows_clear(mxs_rows *rows) {
  clear_workspaces(rows);
  rows->replicas = 1;
  rows->threads = 1;
}

static mxs_status allocate(mxs_rows *rows) {
  const int64_t width = mxsi_rows_width(rows->replicas);
  int64_t numbers = 0;
  if (__builtin_mul_overflow(width, rows->entries, &numbers))
    return mxs_fail(MXS_ERR_MEMORY, "%lld matrices of %lld entries do not fit memory",
                    (long long)rows->replicas, (long long)rows->entries);
  MXS_TRY(mxs_alloc(numbers, sizeof *rows->x, &rows->x));
  MXS_TRY(mxs_alloc(rows->threads, sizeof *rows->thread, &rows->thread));
  for (int t = 0; t < rows->threads; t++) {
    mxs_rows_thread *own = &rows->thread[t];
    MXS_TRY(mxs_alloc(numbers, sizeof *own->g, &own->g));
    MXS_TRY(mxs_alloc(MXS_TILE_ROWS * width, sizeof *own->c, &own->c));
    MXS_TRY(mxs_alloc((int64_t)MXS_TILE_ROWS * MXS_TILE_COLUMNS, sizeof *own->tile, &own->tile));
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

/* Between matrices by themselves and side by side, eight columns at a time: a cache line of each.
 */
static void interleave(int64_t n, int64_t replicas, const double *const *from, double *to) {
  const int64_t width = mxsi_rows_width(replicas);
  for (int64_t start = 0; start < n; start += 8) {
    const int64_t end = start + 8 < n ? start + 8 : n;
    for (int64_t r = 0; r < width; r++)
      for (int64_t j = start; j < end; j++)
        to[j * width + r] = r < replicas ? from[r][j] : 0.0;
  }
}

static void separate(int64_t n, int64_t replicas, const double *from, double *const *to) {
  const int64_t width = mxsi_rows_width(replicas);
  for (int64_t start = 0; start < n; start += 8) {
    const int64_t end = start + 8 < n ? start + 8 : n;
    for (int64_t r = 0; r < replicas; r++)
      for (int64_t j = start; j < end; j++)
        to[r][j] = from[j * width + r];
  }
}

mxs_status mxsi_rows_point(mxs_rows *rows, int64_t replicas, const double *const *x) {
  if (replicas > rows->replicas)
    return mxs_fail(MXS_ERR_INTERNAL, "%lld matrices, but %lld are planned", (long long)replicas,
                    (long long)rows->replicas);
  rows->pointed = replicas;
  if (rows->replicas > 1)
    interleave(rows->entries, replicas, x, rows->x);
  return MXS_OK;
}

mxs_status mxsi_rows_begin(const mxs_rows *rows, const mxs_pass *pass) {
  if (pass->replicas > (pass->x != NULL ? rows->pointed : rows->replicas) || pass->thread < 0 ||
      pass->thread >= rows->threads)
    return mxs_fail(MXS_ERR_INTERNAL, "a pass over %lld matrices on thread %d is not planned",
                    (long long)pass->replicas, pass->thread);
  if (rows->replicas > 1 && pass->g != NULL)
    interleave(rows->entries, pass->replicas, (const double *const *)pass->g,
               rows->thread[pass->thread].g);
  return MXS_OK;
}

void mxsi_rows_end(const mxs_rows *rows, const mxs_pass *pass) {
  if (rows->replicas > 1 && pass->g != NULL)
    separate(rows->entries, pass->replicas, rows->thread[pass->thread].g, pass->g);
}

/* Rows of a visit, from the first column of a tile. */
typedef struct strips {
  const mxs_rows *rows;
  const char *a;
  double *tile;
  mxs_tile shape;
} strips;

static void load_tile(strips *s, int64_t from) {
  const int64_t n = s->rows->entries;
  const int64_t whole = n - n % MXS_STEP;
  const int64_t end = from + MXS_TILE_COLUMNS < n ? from + MXS_TILE_COLUMNS : n;
  const mxs_strip strip = {.storage = s->rows->storage,
                           .a = s->a,
                           .row_bytes = mxsi_row_bytes(s->rows),
                           .rows = s->shape.rows,
                           .from = from,
                           .to = end < whole ? end : whole};
  s->rows->kernels->widen(&strip, s->tile);
  for (int64_t i = 0; i < strip.rows; i++)
    for (int64_t j = from > whole ? from : whole; j < end; j++)
      s->tile[MXS_TILE_COLUMNS * i + j - from] =
          mxsi_entry(strip.storage, strip.a + i * strip.row_bytes, j);
  s->shape.columns = end - from;
  /* After the last columns come the first ones again, of the other direction. */
  s->shape.next = s->a + (end < n ? end : 0) * s->shape.entry_bytes;
}

/* Residuals from the sums in c, and in their place the coefficients of the adjoint direction. */
static void finish_many(const mxs_pass *pass, int64_t first, const mxs_tile *shape, double *c) {
  for (int64_t i = 0; i < shape->rows; i++) {
    const int64_t at = first + i;
    for (int64_t r = 0; r < shape->width; r++) {
      double *cir = &c[i * shape->width + r];
      if (r >= pass->replicas) {
        *cir = 0.0;
        continue;
      }
      double *w = &pass->w[r * pass->stride + at];
      if (pass->x != NULL)
        *w = pass->y != NULL ? *cir - pass->y[at] : *cir;
      *cir = pass->weight != NULL ? pass->weight[at] * *w : *w;
    }
  }
}

void mxsi_rows_visit_many(const mxs_rows *rows, const mxs_pass *pass, const char *a) {
  const mxs_rows_thread *own = &rows->thread[pass->thread];
  const int64_t width = mxsi_rows_width(pass->replicas);
  const int64_t ld = mxsi_rows_width(rows->pointed);
  for (int64_t first = 0; first < pass->count; first += MXS_TILE_ROWS) {
    const int64_t left = pass->count - first;
    strips s = {.rows = rows,
                .a = a + first * mxsi_row_bytes(rows),
                .tile = own->tile,
                .shape = {.a = own->tile,
                          .rows = left < MXS_TILE_ROWS ? left : MXS_TILE_ROWS,
                          .width = width,
                          .row_bytes = mxsi_row_bytes(rows),
                          .entry_bytes = mxsi_entry_bytes(rows->storage),
                          .ld_x = ld,
                          .ld_rows = width}};
    memset(own->c, 0, (size_t)(s.shape.rows * width) * sizeof *own->c);
    for (int64_t from = 0; pass->x != NULL && from < rows->entries; from += MXS_TILE_COLUMNS) {
      load_tile(&s, from);
      rows->kernels->tile_forward(&s.shape, rows->x + from * ld, own->c);
    }
    finish_many(pass, first, &s.shape, own->c);
    s.shape.ld_x = width;
    for (int64_t from = 0; pass->g != NULL && from < rows->entries; from += MXS_TILE_COLUMNS) {
      load_tile(&s, from);
      rows->kernels->tile_adjoint(&s.shape, own->c, own->g + from * width);
    }
  }
}
