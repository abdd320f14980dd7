/* The kernels of one instruction set; the includer has defined:
 *
 *  | NAME, TABLE                | of the table, and the function that returns it              |
 *  | TARGET                     | attribute that switches the instructions on                 |
 *  | vec                        | eight doubles                                               |
 *  | vec_all                    | eight times a number                                        |
 *  | vec_get, vec_put           | from and to memory                                          |
 *  | vec_fma                    | a b + c                                                     |
 *  | vec_from_f32               | eight floats at an address                                  |
 *  | vec_from_bf16              | sixteen bf16 at an address, into two                        |
 *  | WIDE                       | 1: there are registers for sixteen vectors, and a few more  |
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
      hint(storage, s, i, row, j);
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

/* Rows, and matrices, whose sums or coefficients fit the registers. */
enum { BLOCK = WIDE ? 4 : 2 };

/* Rows of a tile for which the matrices from r on bring in others: each row once, spread over the
 * computation. A constant to the loops, which have no register to spare. */
INLINE int hints_of(const mxs_tile *t, int64_t r) {
  const int64_t blocks = (t->replicas + BLOCK - 1) / BLOCK;
  const int hints = blocks >= BLOCK ? 1 : blocks > 1 ? BLOCK / 2 : BLOCK;
  return t->ahead == 0 || (r + BLOCK - 1) / BLOCK * hints >= BLOCK ? 0 : hints;
}

/* `ahead` may lead behind the rows, where nothing is read. */
INLINE void bring(int hints, const double *a, int64_t ld, int64_t ahead) {
  for (int64_t i = 0; i < hints; i++) {
    const uintptr_t line = (uintptr_t)(a + ld * i) + (uintptr_t)ahead;
    __builtin_prefetch((const void *)line, 0, 2); /* NOLINT(performance-no-int-to-ptr) */
  }
}

/* A block is the first rows of *t and its matrices r .. r + matrices - 1. Lanes 0 .. 7 of all
 * columns, then 8 .. 15: so the sums fit the registers. */
INLINE void forward_block(const mxs_tile *t,
                          int rows,
                          int matrices,
                          int hints,
                          int64_t r,
                          const double *const *x,
                          double *lanes) {
  const int64_t ld = t->ld_a;
  const int64_t end = t->columns;
  const int64_t ahead = t->ahead;
  const double *hinted = t->a + (r + BLOCK - 1) / BLOCK * hints * ld;
  for (int64_t half = 0; half < MXS_STEP; half += MXS_LANES) {
    vec sum[BLOCK][BLOCK];
    const double *at[BLOCK];
    double *total = lanes + MXS_STEP * r + half;
    const double *a = t->a + half;
    for (int64_t m = 0; m < matrices; m++)
      at[m] = x[r + m] + t->from + half;
    for (int64_t i = 0; i < rows; i++)
      for (int64_t m = 0; m < matrices; m++)
        sum[i][m] = vec_get(total + MXS_STEP * (i * t->replicas + m));
    for (int64_t j = 0; j < end; j += MXS_STEP) {
      vec xj[BLOCK];
      for (int64_t m = 0; m < matrices; m++)
        xj[m] = vec_get(at[m] + j);
      bring(hints, hinted + j + half, ld, ahead);
      for (int64_t i = 0; i < rows; i++) {
        const vec aij = vec_get(a + ld * i + j);
        for (int64_t m = 0; m < matrices; m++)
          sum[i][m] = vec_fma(aij, xj[m], sum[i][m]);
      }
    }
    for (int64_t i = 0; i < rows; i++)
      for (int64_t m = 0; m < matrices; m++)
        vec_put(total + MXS_STEP * (i * t->replicas + m), sum[i][m]);
  }
}

INLINE void adjoint_block(const mxs_tile *t,
                          int rows,
                          int matrices,
                          int hints,
                          int64_t r,
                          const double *c,
                          double *const *g) {
  vec ci[BLOCK][BLOCK];
  double *at[BLOCK];
  const int64_t ld = t->ld_a;
  const int64_t end = t->columns;
  const int64_t ahead = t->ahead;
  const double *a = t->a;
  const double *hinted = a + (r + BLOCK - 1) / BLOCK * hints * ld;
  for (int64_t m = 0; m < matrices; m++)
    at[m] = g[r + m] + t->from;
  for (int64_t i = 0; i < rows; i++)
    for (int64_t m = 0; m < matrices; m++)
      ci[i][m] = vec_all(c[i * t->replicas + r + m]);
  for (int64_t j = 0; j < end; j += MXS_LANES) {
    vec gj[BLOCK];
    for (int64_t m = 0; m < matrices; m++)
      gj[m] = vec_get(at[m] + j);
    bring(hints, hinted + j, ld, ahead);
    for (int64_t i = 0; i < rows; i++) {
      const vec aij = vec_get(a + ld * i + j);
      for (int64_t m = 0; m < matrices; m++)
        gj[m] = vec_fma(aij, ci[i][m], gj[m]);
    }
    for (int64_t m = 0; m < matrices; m++)
      vec_put(at[m] + j, gj[m]);
  }
}

INLINE mxs_tile rows_from(const mxs_tile *t, int64_t row) {
  mxs_tile rest = *t;
  rest.a = t->a + row * t->ld_a;
  rest.rows = t->rows - row;
  return rest;
}

/* All rows, for a few matrices; the first rows bring in others. */
INLINE void forward_matrices(
    const mxs_tile *t, int matrices, int64_t r, const double *const *x, double *lanes) {
  int64_t row = 0;
  if (t->rows >= BLOCK) {
    const int hints = hints_of(t, r);
    row = BLOCK;
    if (hints == 4)
      forward_block(t, BLOCK, matrices, 4, r, x, lanes);
    else if (hints == 2)
      forward_block(t, BLOCK, matrices, 2, r, x, lanes);
    else if (hints == 1)
      forward_block(t, BLOCK, matrices, 1, r, x, lanes);
    else
      row = 0;
  }
  for (; row + BLOCK <= t->rows; row += BLOCK) {
    const mxs_tile rest = rows_from(t, row);
    forward_block(&rest, BLOCK, matrices, 0, r, x, lanes + MXS_STEP * t->replicas * row);
  }
  for (; row < t->rows; row++) {
    const mxs_tile rest = rows_from(t, row);
    forward_block(&rest, 1, matrices, 0, r, x, lanes + MXS_STEP * t->replicas * row);
  }
}

INLINE void adjoint_matrices(
    const mxs_tile *t, int matrices, int64_t r, const double *c, double *const *g) {
  int64_t row = 0;
  if (t->rows >= BLOCK) {
    const int hints = hints_of(t, r);
    row = BLOCK;
    if (hints == 4)
      adjoint_block(t, BLOCK, matrices, 4, r, c, g);
    else if (hints == 2)
      adjoint_block(t, BLOCK, matrices, 2, r, c, g);
    else if (hints == 1)
      adjoint_block(t, BLOCK, matrices, 1, r, c, g);
    else
      row = 0;
  }
  for (; row + BLOCK <= t->rows; row += BLOCK) {
    const mxs_tile rest = rows_from(t, row);
    adjoint_block(&rest, BLOCK, matrices, 0, r, c + t->replicas * row, g);
  }
  for (; row < t->rows; row++) {
    const mxs_tile rest = rows_from(t, row);
    adjoint_block(&rest, 1, matrices, 0, r, c + t->replicas * row, g);
  }
}

static TARGET void tile_forward(const mxs_tile *t, const double *const *x, double *lanes) {
  int64_t r = 0;
  for (; r + BLOCK <= t->replicas; r += BLOCK)
    forward_matrices(t, BLOCK, r, x, lanes);
  for (; WIDE && r + 2 <= t->replicas; r += 2)
    forward_matrices(t, 2, r, x, lanes);
  for (; r < t->replicas; r++)
    forward_matrices(t, 1, r, x, lanes);
}

static TARGET void tile_adjoint(const mxs_tile *t, const double *c, double *const *g) {
  int64_t r = 0;
  for (; r + BLOCK <= t->replicas; r += BLOCK)
    adjoint_matrices(t, BLOCK, r, c, g);
  for (; WIDE && r + 2 <= t->replicas; r += 2)
    adjoint_matrices(t, 2, r, c, g);
  for (; r < t->replicas; r++)
    adjoint_matrices(t, 1, r, c, g);
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
