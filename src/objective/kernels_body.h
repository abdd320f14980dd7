/* The loops of one instruction set; the includer has defined TARGET, the attribute that switches it
 * on, and FUNCTION(name), the name of a function for it. Helpers carry the attribute too: vectors
 * are cut to the size of the registers before helpers are put into their callers. */

#define INLINE static inline __attribute__((always_inline)) TARGET

INLINE mxs_lanes FUNCTION(load)(const double *p) {
  mxs_lanes v;
  memcpy(&v, p, sizeof v);
  return v;
}

INLINE void FUNCTION(store)(double *p, mxs_lanes v) {
  memcpy(p, &v, sizeof v);
}

INLINE mxs_lanes FUNCTION(load_part)(const double *p, int64_t n) {
  mxs_lanes v = {0};
  for (int64_t l = 0; l < n; l++)
    v[l] = p[l];
  return v;
}

INLINE double FUNCTION(sum)(mxs_lanes v) {
  return ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7]));
}

INLINE int64_t FUNCTION(least)(int64_t a, int64_t b) {
  return a < b ? a : b;
}

/* out[r k + c] = <A_r, Vt_c>, r < rows, c < columns; both constants of the caller. */
INLINE void FUNCTION(forward_rows)(
    const mxsi_tangent *at, const double *A, const double *Vt, int rows, int columns, double *out) {
  mxs_lanes s[2][COLUMNS] = {{{0}}};
  int64_t q = 0;
  for (; q + LANES <= at->n2; q += LANES)
    for (int r = 0; r < rows; r++) {
      const mxs_lanes a = FUNCTION(load)(A + r * at->n2 + q);
      for (int c = 0; c < columns; c++)
        s[r][c] += a * FUNCTION(load)(Vt + c * at->ld + q);
    }
  if (q < at->n2)
    for (int r = 0; r < rows; r++) {
      const mxs_lanes a = FUNCTION(load_part)(A + r * at->n2 + q, at->n2 - q);
      for (int c = 0; c < columns; c++)
        s[r][c] += a * FUNCTION(load)(Vt + c * at->ld + q);
    }
  for (int r = 0; r < rows; r++)
    for (int c = 0; c < columns; c++)
      out[r * at->k + c] = FUNCTION(sum)(s[r][c]);
}

INLINE void FUNCTION(forward)(const mxsi_tangent *at,
                              const double *A,
                              int64_t rows,
                              const double *Vt,
                              int columns,
                              double *out) {
  int64_t p = 0;
  for (; p + 2 <= rows; p += 2)
    FUNCTION(forward_rows)(at, A + p * at->n2, Vt, 2, columns, out + p * at->k);
  if (p < rows)
    FUNCTION(forward_rows)(at, A + p * at->n2, Vt, 1, columns, out + p * at->k);
}

/* C_c += sum_r U_rc A_r for `vectors` vectors of columns. */
INLINE void FUNCTION(backward_columns)(const mxsi_tangent *at,
                                       const double *A,
                                       int64_t rows,
                                       const double *U,
                                       int columns,
                                       int vectors,
                                       int64_t ahead,
                                       double *C) {
  mxs_lanes s[COLUMNS][2];
  for (int c = 0; c < columns; c++)
    for (int v = 0; v < vectors; v++)
      s[c][v] = FUNCTION(load)(C + c * at->ld + v * LANES);
  for (int64_t r = 0; r < rows; r++) {
    const double *a = A + r * at->n2;
    if (ahead > 0)
      for (int v = 0; v < vectors; v++) /* may lie behind A, where nothing is read */
        __builtin_prefetch((const void *)((uintptr_t)(a + v * LANES) +
                                          (uintptr_t)ahead), /* NOLINT(performance-no-int-to-ptr) */
                           0, 2);
    mxs_lanes x[2];
    for (int v = 0; v < vectors; v++)
      x[v] = FUNCTION(load)(a + v * LANES);
    for (int c = 0; c < columns; c++)
      for (int v = 0; v < vectors; v++)
        s[c][v] += x[v] * U[r * at->k + c];
  }
  for (int c = 0; c < columns; c++)
    for (int v = 0; v < vectors; v++)
      FUNCTION(store)(C + c * at->ld + v * LANES, s[c][v]);
}

INLINE void FUNCTION(backward_rest)(const mxsi_tangent *at,
                                    const double *A,
                                    int64_t rows,
                                    int64_t rest,
                                    const double *U,
                                    int columns,
                                    double *C) {
  for (int64_t r = 0; r < rows; r++)
    for (int c = 0; c < columns; c++)
      for (int64_t q = 0; q < rest; q++)
        C[c * at->ld + q] += A[r * at->n2 + q] * U[r * at->k + c];
}

INLINE void FUNCTION(backward)(const mxsi_tangent *at,
                               const double *A,
                               int64_t rows,
                               const double *U,
                               int columns,
                               int64_t ahead,
                               double *C) {
  int64_t q = 0;
  for (; q + 2 * LANES <= at->n2; q += 2 * LANES)
    FUNCTION(backward_columns)(at, A + q, rows, U, columns, 2, ahead, C + q);
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
                            int columns,
                            double *row) {
  const double *at_row = A + first * at->n2;
  const int64_t ahead = c == 0 ? rows * at->n2 * (int64_t)sizeof *A : 0;
  FUNCTION(forward)(at, at_row, rows, at->Vt + c * at->ld, columns, row + first * at->k + c);
  FUNCTION(backward)
  (at, at_row, rows, at->U + first * at->k + c, columns, ahead, at->C + c * at->ld);
}

static TARGET void FUNCTION(tangent_row)(const mxsi_tangent *at, const double *A, double *row) {
  const int64_t fit = PANEL_BYTES / (at->n2 * (int64_t)sizeof *A) / 2 * 2;
  const int64_t step = fit < 2 ? 2 : fit;
  const int64_t parts = (at->k + COLUMNS - 1) / COLUMNS;
  memset(at->C, 0, (size_t)(at->k * at->ld) * sizeof *at->C);
  for (int64_t first = 0; first < at->n1; first += step) {
    const int64_t rows = FUNCTION(least)(step, at->n1 - first);
    for (int64_t part = 0; part < parts; part++) {
      const int64_t c = part * at->k / parts;
      switch ((part + 1) * at->k / parts - c) {
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
      default:
        FUNCTION(panel)(at, A, first, rows, c, COLUMNS, row);
      }
    }
  }
  double *turned = row + at->n1 * at->k;
  for (int64_t q = 0; q < at->n2; q++)
    for (int64_t c = 0; c < at->k; c++)
      turned[q * at->k + c] = at->C[c * at->ld + q];
}

static TARGET double FUNCTION(dot)(const double *a, const double *b, int64_t n) {
  mxs_lanes s = {0};
  int64_t j = 0;
  for (; j + LANES <= n; j += LANES)
    s += FUNCTION(load)(a + j) * FUNCTION(load)(b + j);
  if (j < n)
    s += FUNCTION(load_part)(a + j, n - j) * FUNCTION(load_part)(b + j, n - j);
  return FUNCTION(sum)(s);
}

static TARGET void FUNCTION(axpy)(double s, const double *a, double *b, int64_t n) {
  for (int64_t j = 0; j < n; j++)
    b[j] += s * a[j];
}

static TARGET void FUNCTION(to_single)(const double *a, float *to, int64_t n) {
  for (int64_t j = 0; j < n; j++)
    to[j] = (float)a[j];
}

INLINE mxs_lanes FUNCTION(widen)(const float *p) {
  singles v;
  memcpy(&v, p, sizeof v);
  return __builtin_convertvector(v, mxs_lanes);
}

/* t_r = <J_r, d>. */
INLINE void FUNCTION(forward_group)(
    const float *J, int rows, int64_t ld, const double *d, double *t) {
  mxs_lanes s[GROUP] = {{0}};
  for (int64_t j = 0; j < ld; j += LANES) {
    const mxs_lanes x = FUNCTION(load)(d + j);
    for (int r = 0; r < rows; r++)
      s[r] += FUNCTION(widen)(J + r * ld + j) * x;
  }
  for (int r = 0; r < rows; r++)
    t[r] = FUNCTION(sum)(s[r]);
}

/* out += sum_r t_r J_r, while the group behind it comes in. */
INLINE void FUNCTION(backward_group)(
    const float *J, int rows, int64_t ld, const double *t, double *out) {
  for (int64_t j = 0; j < ld; j += 2 * LANES) {
    mxs_lanes low = FUNCTION(load)(out + j), high = FUNCTION(load)(out + j + LANES);
    for (int r = 0; r < rows; r++) {
      const float *p = J + r * ld + j;
      __builtin_prefetch(
          (const void *)((uintptr_t)p + (uintptr_t)(rows * ld) *
                                            sizeof *J), /* NOLINT(performance-no-int-to-ptr) */
          0, 2);
      low += FUNCTION(widen)(p) * t[r];
      high += FUNCTION(widen)(p + LANES) * t[r];
    }
    FUNCTION(store)(out + j, low);
    FUNCTION(store)(out + j + LANES, high);
  }
}

INLINE void FUNCTION(group)(const float *J, int rows, int64_t ld, const double *d, double *out) {
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

#undef INLINE
