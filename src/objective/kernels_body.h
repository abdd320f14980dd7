/* The loops of one instruction set; the includer has defined:
 *
 *  | TARGET         | attribute that switches the instructions on                         |
 *  | FUNCTION(name) | name of a function for it                                           |
 *  | VEC            | eight doubles                                                       |
 *  | ROWS           | rows or vectors of A at a time                                      |
 *  | COLUMNS        | columns of the factors at a time: ROWS times as many sums stay in registers |
 *
 * and FUNCTION of all, get, put, fma and widen. */

INLINE VEC FUNCTION(get_part)(const double *p, int64_t n) {
  double v[LANES] = {0};
  for (int64_t l = 0; l < n; l++)
    v[l] = p[l];
  return FUNCTION(get)(v);
}

INLINE double FUNCTION(sum)(VEC a) {
  double v[LANES];
  FUNCTION(put)(v, a);
  return ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7]));
}

INLINE int64_t FUNCTION(least)(int64_t a, int64_t b) {
  return a < b ? a : b;
}

/* out[r k + c] = <A_r, Vt_c>, r < rows, c < columns; both constants of the caller. */
INLINE void FUNCTION(forward_rows)(const mxsi_tangent *at,
                                   const double *A,
                                   const double *Vt,
                                   int64_t rows,
                                   int64_t columns,
                                   double *out) {
  VEC s[ROWS][COLUMNS];
  int64_t q = 0;
  for (int64_t r = 0; r < rows; r++)
    for (int64_t c = 0; c < columns; c++)
      s[r][c] = FUNCTION(all)(0.0);
  for (; q + LANES <= at->n2; q += LANES)
    for (int64_t r = 0; r < rows; r++) {
      const VEC a = FUNCTION(get)(A + r * at->n2 + q);
      for (int64_t c = 0; c < columns; c++)
        s[r][c] = FUNCTION(fma)(a, FUNCTION(get)(Vt + c * at->ld + q), s[r][c]);
    }
  for (int64_t r = 0; q < at->n2 && r < rows; r++) {
    const VEC a = FUNCTION(get_part)(A + r * at->n2 + q, at->n2 - q);
    for (int64_t c = 0; c < columns; c++)
      s[r][c] = FUNCTION(fma)(a, FUNCTION(get)(Vt + c * at->ld + q), s[r][c]);
  }
  for (int64_t r = 0; r < rows; r++)
    for (int64_t c = 0; c < columns; c++)
      out[r * at->k + c] = FUNCTION(sum)(s[r][c]);
}

INLINE void FUNCTION(forward)(const mxsi_tangent *at,
                              const double *A,
                              int64_t rows,
                              const double *Vt,
                              int64_t columns,
                              double *out) {
  int64_t p = 0;
  for (; p + ROWS <= rows; p += ROWS)
    FUNCTION(forward_rows)(at, A + p * at->n2, Vt, ROWS, columns, out + p * at->k);
  for (; p < rows; p++)
    FUNCTION(forward_rows)(at, A + p * at->n2, Vt, 1, columns, out + p * at->k);
}

/* C_c += sum_r U_rc A_r for `vectors` vectors of columns; what is `ahead` bytes ahead is called
 * for, though it may lie behind A, where nothing is read. */
INLINE void FUNCTION(backward_columns)(const mxsi_tangent *at,
                                       const double *A,
                                       int64_t rows,
                                       const double *U,
                                       int64_t columns,
                                       int64_t vectors,
                                       int64_t ahead,
                                       double *C) {
  VEC s[COLUMNS][ROWS];
  VEC x[ROWS];
  for (int64_t c = 0; c < columns; c++)
    for (int64_t v = 0; v < vectors; v++)
      s[c][v] = FUNCTION(get)(C + c * at->ld + v * LANES);
  for (int64_t r = 0; r < rows; r++) {
    const double *a = A + r * at->n2;
    for (int64_t v = 0; ahead > 0 && v < vectors; v++) {
      const uintptr_t line = (uintptr_t)(a + v * LANES) + (uintptr_t)ahead;
      __builtin_prefetch((const void *)line, 0, 2); /* NOLINT(performance-no-int-to-ptr) */
    }
    for (int64_t v = 0; v < vectors; v++)
      x[v] = FUNCTION(get)(a + v * LANES);
    for (int64_t c = 0; c < columns; c++)
      for (int64_t v = 0; v < vectors; v++)
        s[c][v] = FUNCTION(fma)(x[v], FUNCTION(all)(U[r * at->k + c]), s[c][v]);
  }
  for (int64_t c = 0; c < columns; c++)
    for (int64_t v = 0; v < vectors; v++)
      FUNCTION(put)(C + c * at->ld + v * LANES, s[c][v]);
}

INLINE void FUNCTION(backward_rest)(const mxsi_tangent *at,
                                    const double *A,
                                    int64_t rows,
                                    int64_t rest,
                                    const double *U,
                                    int64_t columns,
                                    double *C) {
  for (int64_t r = 0; r < rows; r++) {
    const VEC a = FUNCTION(get_part)(A + r * at->n2, rest);
    for (int64_t c = 0; c < columns; c++) {
      double *to = C + c * at->ld;
      FUNCTION(put)(to, FUNCTION(fma)(a, FUNCTION(all)(U[r * at->k + c]), FUNCTION(get)(to)));
    }
  }
}

INLINE void FUNCTION(backward)(const mxsi_tangent *at,
                               const double *A,
                               int64_t rows,
                               const double *U,
                               int64_t columns,
                               int64_t ahead,
                               double *C) {
  int64_t q = 0;
  for (; q + ROWS * LANES <= at->n2; q += ROWS * LANES)
    FUNCTION(backward_columns)(at, A + q, rows, U, columns, ROWS, ahead, C + q);
  for (; q + LANES <= at->n2; q += LANES)
    FUNCTION(backward_columns)(at, A + q, rows, U, columns, 1, ahead, C + q);
  if (q < at->n2)
    FUNCTION(backward_rest)(at, A + q, rows, at->n2 - q, U, columns, C + q);
}

/* Both products of a panel of rows for `columns` columns from c on. */
INLINE void FUNCTION(panel)(const mxsi_tangent *at,
                            const double *A,
                            int64_t first,
                            int64_t rows,
                            int64_t c,
                            int64_t columns,
                            double *row) {
  const double *at_row = A + first * at->n2;
  const int64_t ahead = c == 0 ? rows * at->n2 * (int64_t)sizeof *A : 0;
  FUNCTION(forward)(at, at_row, rows, at->Vt + c * at->ld, columns, row + first * at->k + c);
  FUNCTION(backward)
  (at, at_row, rows, at->U + first * at->k + c, columns, ahead, at->C + c * at->ld);
}

/* The number of columns is a constant of each case: it is compiled by itself. */
INLINE void FUNCTION(choose_panel)(const mxsi_tangent *at,
                                   const double *A,
                                   int64_t first,
                                   int64_t rows,
                                   int64_t c,
                                   int64_t columns,
                                   double *row) {
  switch (columns) {
  case 1:
    FUNCTION(panel)(at, A, first, rows, c, 1, row);
    break;
  case 2:
    FUNCTION(panel)(at, A, first, rows, c, 2, row);
    break;
  case 3:
    FUNCTION(panel)(at, A, first, rows, c, 3, row);
    break;
  case 4:
    FUNCTION(panel)(at, A, first, rows, c, 4, row);
    break;
#if COLUMNS > 5
  case 5:
    FUNCTION(panel)(at, A, first, rows, c, 5, row);
    break;
  case 6:
    FUNCTION(panel)(at, A, first, rows, c, 6, row);
    break;
  case 7:
    FUNCTION(panel)(at, A, first, rows, c, 7, row);
    break;
  case 8:
    FUNCTION(panel)(at, A, first, rows, c, 8, row);
    break;
  case 9:
    FUNCTION(panel)(at, A, first, rows, c, 9, row);
    break;
#endif
  default:
    FUNCTION(panel)(at, A, first, rows, c, COLUMNS, row);
  }
}

static TARGET void FUNCTION(tangent_row)(const mxsi_tangent *at, const double *A, double *row) {
  const int64_t fit = PANEL_BYTES / (at->n2 * (int64_t)sizeof *A) / 2 * 2;
  const int64_t step = fit < PANEL_ROWS ? PANEL_ROWS : fit;
  const int64_t parts = (at->k + COLUMNS - 1) / COLUMNS;
  memset(at->C, 0, (size_t)(at->k * at->ld) * sizeof *at->C);
  for (int64_t first = 0; first < at->n1; first += step) {
    const int64_t rows = FUNCTION(least)(step, at->n1 - first);
    for (int64_t part = 0; part < parts; part++) {
      const int64_t c = part * at->k / parts;
      FUNCTION(choose_panel)(at, A, first, rows, c, (part + 1) * at->k / parts - c, row);
    }
  }
  double *turned = row + at->n1 * at->k;
  for (int64_t q = 0; q < at->n2; q++)
    for (int64_t c = 0; c < at->k; c++)
      turned[q * at->k + c] = at->C[c * at->ld + q];
}

static TARGET double FUNCTION(dot)(const double *a, const double *b, int64_t n) {
  VEC s = FUNCTION(all)(0.0);
  int64_t j = 0;
  for (; j + LANES <= n; j += LANES)
    s = FUNCTION(fma)(FUNCTION(get)(a + j), FUNCTION(get)(b + j), s);
  if (j < n)
    s = FUNCTION(fma)(FUNCTION(get_part)(a + j, n - j), FUNCTION(get_part)(b + j, n - j), s);
  return FUNCTION(sum)(s);
}

static TARGET void FUNCTION(axpy)(double s, const double *a, double *b, int64_t n) {
  int64_t j = 0;
  for (; j + LANES <= n; j += LANES)
    FUNCTION(put)
  (b + j, FUNCTION(fma)(FUNCTION(all)(s), FUNCTION(get)(a + j), FUNCTION(get)(b + j)));
  for (; j < n; j++)
    b[j] = __builtin_fma(s, a[j], b[j]);
}

static TARGET void FUNCTION(to_single)(const double *a, float *to, int64_t n) {
  for (int64_t j = 0; j < n; j++)
    to[j] = (float)a[j];
}

/* t_r = <J_r, d>. */
INLINE void FUNCTION(forward_group)(
    const float *J, int64_t rows, int64_t ld, const double *d, double *t) {
  VEC s[GROUP];
  for (int64_t r = 0; r < rows; r++)
    s[r] = FUNCTION(all)(0.0);
  for (int64_t j = 0; j < ld; j += LANES) {
    const VEC x = FUNCTION(get)(d + j);
    for (int64_t r = 0; r < rows; r++)
      s[r] = FUNCTION(fma)(FUNCTION(widen)(J + r * ld + j), x, s[r]);
  }
  for (int64_t r = 0; r < rows; r++)
    t[r] = FUNCTION(sum)(s[r]);
}

/* out += sum_r t_r J_r, while the group behind it comes in; nothing is read behind the last. */
INLINE void FUNCTION(backward_group)(
    const float *J, int64_t rows, int64_t ld, const double *t, double *out) {
  for (int64_t j = 0; j < ld; j += 2 * LANES) {
    VEC low = FUNCTION(get)(out + j);
    VEC high = FUNCTION(get)(out + j + LANES);
    for (int64_t r = 0; r < rows; r++) {
      const float *p = J + r * ld + j;
      const uintptr_t line = (uintptr_t)p + (uintptr_t)(rows * ld) * sizeof *J;
      const VEC x = FUNCTION(all)(t[r]);
      __builtin_prefetch((const void *)line, 0, 2); /* NOLINT(performance-no-int-to-ptr) */
      low = FUNCTION(fma)(FUNCTION(widen)(p), x, low);
      high = FUNCTION(fma)(FUNCTION(widen)(p + LANES), x, high);
    }
    FUNCTION(put)(out + j, low);
    FUNCTION(put)(out + j + LANES, high);
  }
}

INLINE void FUNCTION(group)(
    const float *J, int64_t rows, int64_t ld, const double *d, double *out) {
  double t[GROUP];
  FUNCTION(forward_group)(J, rows, ld, d, t);
  FUNCTION(backward_group)(J, rows, ld, t, out);
}

static TARGET void FUNCTION(normal_rows)(
    const float *J, int64_t rows, int64_t ld, const double *d, double *out) {
  const int64_t fit = GROUP_BYTES / (ld * (int64_t)sizeof *J);
  int64_t r = 0;
  for (; fit >= GROUP && r + GROUP <= rows; r += GROUP)
    FUNCTION(group)(J + r * ld, GROUP, ld, d, out);
  for (; fit >= 4 && r + 4 <= rows; r += 4)
    FUNCTION(group)(J + r * ld, 4, ld, d, out);
  for (; r < rows; r++)
    FUNCTION(group)(J + r * ld, 1, ld, d, out);
}
