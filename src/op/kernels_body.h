/* The kernels of one instruction set; the includer has defined:
 *
 *  | NAME, TABLE                | of the table, and the function that returns it              |
 *  | TARGET                     | attribute that switches the instructions on                 |
 *  | vec                        | eight doubles                                               |
 *  | vec_zero, vec_all          | eight zeros, eight times a number                           |
 *  | vec_get, vec_put           | from and to memory                                          |
 *  | vec_add, vec_fma           | a + b, a b + c                                              |
 *  | vec_from_f32               | eight floats at an address                                  |
 *  | vec_from_bf16              | sixteen bf16 at an address, into two                        |
 *  | WIDE                       | 1: there are registers for two vectors of each of four rows |
 */

#define INLINE static inline __attribute__((always_inline)) TARGET

/* The number of rows, the storage and whether there are hints are constants in every caller: each
 * combination is compiled by itself. */

typedef struct pair {
  vec low, high;
} pair;

INLINE pair get_pair(const double *p) {
  return (pair){vec_get(p), vec_get(p + 8)};
}

INLINE void put_pair(double *p, pair v) {
  vec_put(p, v.low);
  vec_put(p + 8, v.high);
}

/* Columns j .. j + 15. */
INLINE pair load(mxs_storage storage, const char *row, int64_t j) {
  pair v;
  if (storage == MXS_STORAGE_BF16) {
    vec_from_bf16((const uint16_t *)(const void *)row + j, &v.low, &v.high);
    return v;
  }
  if (storage == MXS_STORAGE_F32) {
    const float *p = (const float *)(const void *)row + j;
    return (pair){vec_from_f32(p), vec_from_f32(p + 8)};
  }
  return get_pair((const double *)(const void *)row + j);
}

/* Doubles come to the second-level cache: two lines a step would crowd the first. */
INLINE void hint(mxs_storage storage, const mxs_strip *s, int64_t i, const char *row, int64_t j) {
  if (s->hint[i] == 0)
    return;
  /* May lie behind the rows, where nothing is read. */
  const uintptr_t line = (uintptr_t)row + (uintptr_t)(j * mxsi_entry_bytes(storage) + s->hint[i]);
  if (storage == MXS_STORAGE_F64) {
    __builtin_prefetch((const void *)line, 0, 2);        /* NOLINT(performance-no-int-to-ptr) */
    __builtin_prefetch((const void *)(line + 64), 0, 2); /* NOLINT(performance-no-int-to-ptr) */
  } else {
    __builtin_prefetch((const void *)line); /* NOLINT(performance-no-int-to-ptr) */
  }
}

INLINE void forward_rows(
    mxs_storage storage, int rows, int hinted, const mxs_strip *s, const double *x, double *lanes) {
  pair sum[MXS_GROUP];
  for (int64_t i = 0; i < rows; i++)
    sum[i] = get_pair(lanes + MXS_STEP * i);
  for (int64_t j = s->from; j < s->to; j += MXS_STEP) {
    const pair xj = get_pair(x + j);
    for (int64_t i = 0; i < rows; i++) {
      const char *row = s->a + i * s->row_bytes;
      const pair a = load(storage, row, j);
      if (hinted)
        hint(storage, s, i, row, j);
      sum[i].low = vec_fma(a.low, xj.low, sum[i].low);
      sum[i].high = vec_fma(a.high, xj.high, sum[i].high);
    }
  }
  for (int64_t i = 0; i < rows; i++)
    put_pair(lanes + MXS_STEP * i, sum[i]);
}

INLINE void adjoint_rows(
    mxs_storage storage, int rows, int hinted, const mxs_strip *s, const double *c, double *g) {
  vec ci[MXS_GROUP];
  for (int64_t i = 0; i < rows; i++)
    ci[i] = vec_all(c[i]);
  for (int64_t j = s->from; j < s->to; j += MXS_STEP) {
    pair gj = get_pair(g + j);
    for (int64_t i = 0; i < rows; i++) {
      const char *row = s->a + i * s->row_bytes;
      const pair a = load(storage, row, j);
      if (hinted)
        hint(storage, s, i, row, j);
      gj.low = vec_fma(a.low, ci[i], gj.low);
      gj.high = vec_fma(a.high, ci[i], gj.high);
    }
    put_pair(g + j, gj);
  }
}

INLINE int has_hint(const mxs_strip *s) {
  return (s->hint[0] | s->hint[1] | s->hint[2] | s->hint[3]) != 0;
}

INLINE mxs_strip one_row(const mxs_strip *s, int64_t i) {
  mxs_strip row = *s;
  row.a = s->a + i * s->row_bytes;
  row.rows = 1;
  return row;
}

INLINE void forward_of(mxs_storage storage, const mxs_strip *s, const double *x, double *lanes) {
  if (s->rows == MXS_GROUP && has_hint(s)) {
    forward_rows(storage, MXS_GROUP, 1, s, x, lanes);
  } else if (s->rows == MXS_GROUP) {
    forward_rows(storage, MXS_GROUP, 0, s, x, lanes);
  } else {
    for (int64_t i = 0; i < s->rows; i++) {
      const mxs_strip row = one_row(s, i);
      forward_rows(storage, 1, 0, &row, x, lanes + MXS_STEP * i);
    }
  }
}

INLINE void adjoint_of(mxs_storage storage, const mxs_strip *s, const double *c, double *g) {
  if (s->rows == MXS_GROUP && has_hint(s)) {
    adjoint_rows(storage, MXS_GROUP, 1, s, c, g);
  } else if (s->rows == MXS_GROUP) {
    adjoint_rows(storage, MXS_GROUP, 0, s, c, g);
  } else {
    for (int64_t i = 0; i < s->rows; i++) {
      const mxs_strip row = one_row(s, i);
      adjoint_rows(storage, 1, 0, &row, c + i, g);
    }
  }
}

static TARGET void forward(const mxs_strip *s, const double *x, double *lanes) {
  if (s->storage == MXS_STORAGE_F32)
    forward_of(MXS_STORAGE_F32, s, x, lanes);
  else if (s->storage == MXS_STORAGE_BF16)
    forward_of(MXS_STORAGE_BF16, s, x, lanes);
  else
    forward_of(MXS_STORAGE_F64, s, x, lanes);
}

static TARGET void adjoint(const mxs_strip *s, const double *c, double *g) {
  if (s->storage == MXS_STORAGE_F32)
    adjoint_of(MXS_STORAGE_F32, s, c, g);
  else if (s->storage == MXS_STORAGE_BF16)
    adjoint_of(MXS_STORAGE_BF16, s, c, g);
  else
    adjoint_of(MXS_STORAGE_F64, s, c, g);
}

#if WIDE
INLINE void both_of(mxs_storage storage,
                    const mxs_strip *next,
                    const double *x,
                    double *lanes,
                    const mxs_strip *last,
                    const double *c,
                    double *g) {
  pair sum[MXS_GROUP];
  vec ci[MXS_GROUP];
  for (int64_t i = 0; i < MXS_GROUP; i++) {
    sum[i] = get_pair(lanes + MXS_STEP * i);
    ci[i] = vec_all(c[i]);
  }
  for (int64_t j = next->from; j < next->to; j += MXS_STEP) {
    const pair xj = get_pair(x + j);
    pair gj = get_pair(g + j);
    for (int64_t i = 0; i < MXS_GROUP; i++) {
      const char *row = next->a + i * next->row_bytes;
      pair a = load(storage, row, j);
      hint(storage, next, i, row, j);
      sum[i].low = vec_fma(a.low, xj.low, sum[i].low);
      sum[i].high = vec_fma(a.high, xj.high, sum[i].high);
      a = load(storage, last->a + i * last->row_bytes, j);
      gj.low = vec_fma(a.low, ci[i], gj.low);
      gj.high = vec_fma(a.high, ci[i], gj.high);
    }
    put_pair(g + j, gj);
  }
  for (int64_t i = 0; i < MXS_GROUP; i++)
    put_pair(lanes + MXS_STEP * i, sum[i]);
}

static TARGET void both(const mxs_strip *next,
                        const double *x,
                        double *lanes,
                        const mxs_strip *last,
                        const double *c,
                        double *g) {
  if (next->storage == MXS_STORAGE_F32)
    both_of(MXS_STORAGE_F32, next, x, lanes, last, c, g);
  else
    both_of(MXS_STORAGE_BF16, next, x, lanes, last, c, g);
}
#endif

INLINE void square_of(mxs_storage storage, const mxs_strip *s, double *lanes) {
  pair sum = get_pair(lanes);
  for (int64_t j = s->from; j < s->to; j += MXS_STEP) {
    const pair a = load(storage, s->a, j);
    sum.low = vec_fma(a.low, a.low, sum.low);
    sum.high = vec_fma(a.high, a.high, sum.high);
  }
  put_pair(lanes, sum);
}

static TARGET void square(const mxs_strip *s, double *lanes) {
  if (s->storage == MXS_STORAGE_F32)
    square_of(MXS_STORAGE_F32, s, lanes);
  else if (s->storage == MXS_STORAGE_BF16)
    square_of(MXS_STORAGE_BF16, s, lanes);
  else
    square_of(MXS_STORAGE_F64, s, lanes);
}

INLINE void widen_of(mxs_storage storage, const mxs_strip *s, double *tile) {
  for (int64_t i = 0; i < s->rows; i++) {
    const char *row = s->a + i * s->row_bytes;
    for (int64_t j = s->from; j < s->to; j += MXS_STEP) {
      put_pair(tile + MXS_TILE_COLUMNS * i + j - s->from, load(storage, row, j));
    }
  }
}

static TARGET void widen(const mxs_strip *s, double *tile) {
  if (s->storage == MXS_STORAGE_F32)
    widen_of(MXS_STORAGE_F32, s, tile);
  else if (s->storage == MXS_STORAGE_BF16)
    widen_of(MXS_STORAGE_BF16, s, tile);
  else
    widen_of(MXS_STORAGE_F64, s, tile);
}

/* The first matrices of a tile bring in the rows of the next one: a line of each row every eight
 * columns (fewer where entries are narrow), spread over the computation. */
INLINE void hint_tile(const mxs_tile *t, int rows, int64_t row, int64_t j) {
  for (int64_t i = 0; i < rows; i++)
    __builtin_prefetch(t->next + (row + i) * t->row_bytes + j * t->entry_bytes, 0, 2);
}

/* Rows row .. row + rows - 1 and matrices r .. r + 8 vectors - 1 of a tile; eight columns are a
 * loop of their own, which leaves all registers to it. */
INLINE void forward_part(const mxs_tile *t,
                         int rows,
                         int vectors,
                         int64_t row,
                         int64_t r,
                         const double *x,
                         double *totals) {
  vec sum[8][2];
  const int64_t ld_a = t->ld_a;
  const int64_t ld_x = t->ld_x;
  const int64_t columns = t->columns;
  const double *a = t->a + row * ld_a;
  const double *at = x + r;
  for (int64_t i = 0; i < rows; i++)
    for (int64_t v = 0; v < vectors; v++)
      sum[i][v] = vec_zero();
  for (int64_t start = 0; start < columns; start += 8) {
    const int64_t end = start + 8 < columns ? start + 8 : columns;
    if (r == 0)
      hint_tile(t, rows, row, start);
    for (int64_t j = start; j < end; j++, at += ld_x) {
      vec xj[2];
      for (int64_t v = 0; v < vectors; v++)
        xj[v] = vec_get(at + MXS_LANES * v);
      for (int64_t i = 0; i < rows; i++) {
        const vec aij = vec_all(a[ld_a * i + j]);
        for (int64_t v = 0; v < vectors; v++)
          sum[i][v] = vec_fma(aij, xj[v], sum[i][v]);
      }
    }
  }
  for (int64_t i = 0; i < rows; i++) {
    for (int64_t v = 0; v < vectors; v++) {
      double *total = totals + (row + i) * t->ld_rows + r + MXS_LANES * v;
      vec_put(total, vec_add(vec_get(total), sum[i][v]));
    }
  }
}

INLINE void adjoint_part(
    const mxs_tile *t, int rows, int vectors, int64_t row, int64_t r, const double *c, double *g) {
  vec ci[8][2];
  const int64_t ld_a = t->ld_a;
  const int64_t ld_g = t->ld_x;
  const int64_t columns = t->columns;
  const double *a = t->a + row * ld_a;
  double *at = g + r;
  for (int64_t i = 0; i < rows; i++)
    for (int64_t v = 0; v < vectors; v++)
      ci[i][v] = vec_get(c + (row + i) * t->ld_rows + r + MXS_LANES * v);
  for (int64_t start = 0; start < columns; start += 8) {
    const int64_t end = start + 8 < columns ? start + 8 : columns;
    if (r == 0)
      hint_tile(t, rows, row, start);
    for (int64_t j = start; j < end; j++, at += ld_g) {
      vec gj[2];
      for (int64_t v = 0; v < vectors; v++)
        gj[v] = vec_get(at + MXS_LANES * v);
      for (int64_t i = 0; i < rows; i++) {
        const vec aij = vec_all(a[ld_a * i + j]);
        for (int64_t v = 0; v < vectors; v++)
          gj[v] = vec_fma(aij, ci[i][v], gj[v]);
      }
      for (int64_t v = 0; v < vectors; v++)
        vec_put(at + MXS_LANES * v, gj[v]);
    }
  }
}

/* All rows, for matrices r .. r + 8 vectors - 1: most rows by as many as the registers hold. */
INLINE void forward_rows_of(
    const mxs_tile *t, int many, int vectors, int64_t r, const double *x, double *totals) {
  int64_t row = 0;
  for (; row + many <= t->rows; row += many)
    forward_part(t, many, vectors, row, r, x, totals);
  for (; row + 4 <= t->rows; row += 4)
    forward_part(t, 4, vectors, row, r, x, totals);
  for (; row < t->rows; row++)
    forward_part(t, 1, vectors, row, r, x, totals);
}

INLINE void adjoint_rows_of(
    const mxs_tile *t, int many, int vectors, int64_t r, const double *c, double *g) {
  int64_t row = 0;
  for (; row + many <= t->rows; row += many)
    adjoint_part(t, many, vectors, row, r, c, g);
  for (; row + 4 <= t->rows; row += 4)
    adjoint_part(t, 4, vectors, row, r, c, g);
  for (; row < t->rows; row++)
    adjoint_part(t, 1, vectors, row, r, c, g);
}

static TARGET void tile_forward(const mxs_tile *t, const double *x, double *totals) {
  int64_t r = 0;
  if (WIDE)
    for (; r + 2 * (int64_t)MXS_LANES <= t->width; r += 2 * (int64_t)MXS_LANES)
      forward_rows_of(t, 8, 2, r, x, totals);
  for (; r < t->width; r += MXS_LANES)
    forward_rows_of(t, WIDE ? 8 : 4, 1, r, x, totals);
}

static TARGET void tile_adjoint(const mxs_tile *t, const double *c, double *g) {
  int64_t r = 0;
  if (WIDE)
    for (; r + 2 * (int64_t)MXS_LANES <= t->width; r += 2 * (int64_t)MXS_LANES)
      adjoint_rows_of(t, 8, 2, r, c, g);
  for (; r < t->width; r += MXS_LANES)
    adjoint_rows_of(t, WIDE ? 8 : 4, 1, r, c, g);
}

static const mxs_kernels table = {.name = NAME,
                                  .forward = forward,
                                  .adjoint = adjoint,
#if WIDE
                                  .both = both,
#endif
                                  .square = square,
                                  .widen = widen,
                                  .tile_forward = tile_forward,
                                  .tile_adjoint = tile_adjoint};
