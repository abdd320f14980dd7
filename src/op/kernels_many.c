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

/* Eight by eight numbers transposed, in three rounds that swap blocks of one, two and four. */
static inline void transpose(mxs_lanes v[8]) {
  mxs_lanes t[8];
  for (int i = 0; i < 8; i += 2) {
    t[i] = MXS_SHUFFLE(v[i], v[i + 1], 0, 8, 2, 10, 4, 12, 6, 14);
    t[i + 1] = MXS_SHUFFLE(v[i], v[i + 1], 1, 9, 3, 11, 5, 13, 7, 15);
  }
  for (int i = 0; i < 8; i += i % 4 == 0 ? 1 : 3) {
    v[i] = MXS_SHUFFLE(t[i], t[i + 2], 0, 1, 8, 9, 4, 5, 12, 13);
    v[i + 2] = MXS_SHUFFLE(t[i], t[i + 2], 2, 3, 10, 11, 6, 7, 14, 15);
  }
  for (int i = 0; i < 4; i++) {
    t[i] = MXS_SHUFFLE(v[i], v[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
    t[i + 4] = MXS_SHUFFLE(v[i], v[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
  }
  memcpy(v, t, sizeof t);
}

/* Between matrices by themselves and side by side. A matrix that is none is zero. */
MXS_SIMD
static void interleave(int64_t n, int64_t replicas, const double *const *from, double *to) {
  const int64_t width = mxsi_rows_width(replicas);
  for (int64_t r = 0; r < width; r += MXS_LANES) {
    int64_t j = 0;
    for (; j + MXS_LANES <= n; j += MXS_LANES) {
      mxs_lanes v[MXS_LANES] = {{0}};
      for (int64_t l = 0; l < MXS_LANES && r + l < replicas; l++)
        memcpy(&v[l], from[r + l] + j, sizeof v[l]);
      transpose(v);
      for (int64_t l = 0; l < MXS_LANES; l++)
        memcpy(to + (j + l) * width + r, &v[l], sizeof v[l]);
    }
    for (; j < n; j++)
      for (int64_t l = 0; l < MXS_LANES; l++)
        to[j * width + r + l] = r + l < replicas ? from[r + l][j] : 0.0;
  }
}

MXS_SIMD
static void separate(int64_t n, int64_t replicas, const double *from, double *const *to) {
  const int64_t width = mxsi_rows_width(replicas);
  for (int64_t r = 0; r < width; r += MXS_LANES) {
    int64_t j = 0;
    for (; j + MXS_LANES <= n; j += MXS_LANES) {
      mxs_lanes v[MXS_LANES];
      for (int64_t l = 0; l < MXS_LANES; l++)
        memcpy(&v[l], from + (j + l) * width + r, sizeof v[l]);
      transpose(v);
      for (int64_t l = 0; l < MXS_LANES && r + l < replicas; l++)
        memcpy(to[r + l] + j, &v[l], sizeof v[l]);
    }
    for (; j < n; j++)
      for (int64_t l = 0; l < MXS_LANES && r + l < replicas; l++)
        to[r + l][j] = from[j * width + r + l];
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
  s->shape.columns = end - from;
  /* After the last columns come the first ones again, of the other direction. */
  s->shape.next = s->a + (end < n ? end : 0) * s->shape.entry_bytes;
  if (strip.storage == MXS_STORAGE_F64) {
    s->shape.a = (const double *)(const void *)s->a + from;
    s->shape.ld_a = n;
    return;
  }
  s->rows->kernels->widen(&strip, s->tile);
  for (int64_t i = 0; i < strip.rows; i++)
    for (int64_t j = from > whole ? from : whole; j < end; j++)
      s->tile[MXS_TILE_COLUMNS * i + j - from] =
          mxsi_entry(strip.storage, strip.a + i * strip.row_bytes, j);
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
                          .ld_a = MXS_TILE_COLUMNS,
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
