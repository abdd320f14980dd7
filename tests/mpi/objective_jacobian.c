/* The Jacobian that a pass keeps, and products with it, against its rows by the textbook. */
#include "objective_cases.h"

enum { MOST = (N1 + N2) * MOST_COLUMNS };

/* J by the textbook: rows of this rank's training measurements in the window, their residuals with
 * label noise, and the measurements of all ranks. */
typedef struct twin {
  double J[M][MOST], w[M];
  int64_t rows, length;
  double train;
} twin;

static twin by_hand;

static void add_textbook_row(twin *to, const double *A, double y, const point *at, int64_t k) {
  double *row = to->J[to->rows];
  memset(row, 0, sizeof to->J[0]);
  for (int64_t e = 0; e < ENTRIES; e++)
    for (int64_t c = 0; c < k; c++) {
      row[e / N2 * k + c] += A[e] * at->V[e % N2 * k + c];
      row[(N1 + e % N2) * k + c] += A[e] * at->U[e / N2 * k + c];
    }
  to->w[to->rows] = -y;
  for (int64_t i = 0; i < N1 * k; i++)
    to->w[to->rows] += row[i] * at->U[i];
  to->rows++;
}

static int is_in(const mxs_problem *p, const mxs_sample *sample, int64_t j) {
  const int64_t blocks = p->train.blocks.count;
  for (int64_t t = 0; t < sample->count; t++)
    if ((sample->first + t) % blocks == p->comm->rank + j * p->comm->size)
      return 1;
  return sample->count == 0;
}

static void form_by_hand(
    const mxs_problem *p, const mxs_sample *sample, const point *at, int64_t k, twin *to) {
  const mxs_data *data = &p->train;
  double noise[M], A[ENTRIES];
  to->rows = 0;
  to->length = (N1 + N2) * k;
  mxs_random_gaussian_row(sample->seed, MXS_STREAM_LABEL_NOISE, sample->draw, M, noise);
  for (int64_t j = 0; j < data->blocks.own_count; j++) {
    const int64_t start = mxs_blocks_first(&data->blocks, data->blocks.own[j]);
    for (int64_t i = data->blocks.offset[j]; is_in(p, sample, j) && i < data->blocks.offset[j + 1];
         i++) {
      const int64_t measurement = start + i - data->blocks.offset[j];
      if (data->weight != NULL && data->weight[i] == 0.0)
        continue;
      matrix_of(data, measurement, A);
      add_textbook_row(to, A, data->y[i] + sample->label_noise * noise[measurement], at, k);
    }
  }
  to->train = (double)to->rows;
  MPI_Allreduce(MPI_IN_PLACE, &to->train, 1, MPI_DOUBLE, MPI_SUM, p->comm->mpi);
}

/* out = (1/m) J^T x, x = w or J d. */
static void textbook_normal(const mxs_problem *p, const twin *J, const double *d, double *out) {
  memset(out, 0, (size_t)J->length * sizeof *out);
  for (int64_t i = 0; i < J->rows; i++) {
    double t = d == NULL ? J->w[i] : 0.0;
    for (int64_t j = 0; d != NULL && j < J->length; j++)
      t += J->J[i][j] * d[j];
    for (int64_t j = 0; j < J->length; j++)
      out[j] += t * J->J[i][j];
  }
  MPI_Allreduce(MPI_IN_PLACE, out, (int)J->length, MPI_DOUBLE, MPI_SUM, p->comm->mpi);
  for (int64_t j = 0; j < J->length; j++)
    out[j] /= J->train;
}

static double distance(const double *a, const double *b, int64_t n) {
  double worst = 0.0, size = 0.0;
  for (int64_t i = 0; i < n && !isnan(worst); i++) {
    worst = fabs(a[i] - b[i]) <= worst ? worst : fabs(a[i] - b[i]); /* NaN stays */
    size = fmax(size, fabs(b[i]));
  }
  return worst / size;
}

static const mxs_sample samples[] = {
    {.count = 0},
    {.first = 5, .count = 2, .skip_validation = 1},
    {.first = 2, .count = 3, .label_noise = 0.5, .seed = 9, .draw = 4},
};

enum { SAMPLES = sizeof samples / sizeof *samples };

static mxs_objective *create(mxs_problem *p, int64_t k, int threads, int fast, int keep) {
  mxs_objective *o = NULL;
  assert_ok(mxs_objective_create(p, fast ? MXS_REDUCTION_FAST : MXS_REDUCTION_REPRODUCIBLE, &k, 1,
                                 threads, &o));
  if (keep)
    assert_ok(mxs_objective_keep_jacobian(o, 1));
  return o;
}

static mxs_evaluation pass(mxs_objective *o, const point *at, int64_t k) {
  const mxs_point view = view_of(at, k);
  mxs_requests requests = {0};
  mxs_evaluation out = {0};
  assert_ok(mxs_objective_pass(o, &view, &requests, &out));
  return out;
}

/* 2 columns: leaves of factor gradients. 12: of G, and more than one group of columns. */
static const int64_t columns[] = {1, 2, MOST_COLUMNS};

enum { COLUMNS = sizeof columns / sizeof *columns };

/* The pass that keeps J says what the plain one does, and the textbook. */
static void the_pass_is_the_plain_one(void **state) {
  (void)state;
  const point at = random_point(3);
  for (int c = 0; c < COLUMNS * CASES; c++) {
    const int64_t k = columns[c % COLUMNS];
    mxs_problem *p = make(&cases[c / COLUMNS], k, c % 2 ? 0.2 : 0.0);
    mxs_objective *plain = create(p, k, 1, 0, 0), *o = create(p, k, 2, c % 2, 1);
    for (int s = 0; s < SAMPLES; s++) {
      double right[MOST];
      mxs_objective_sample(plain, &samples[s]);
      mxs_objective_sample(o, &samples[s]);
      const mxs_evaluation a = pass(plain, &at, k), b = pass(o, &at, k);
      assert_everywhere(a.train == b.train && a.held == b.held);
      assert_everywhere(fabs(a.loss - b.loss) <= 1e-13 * a.loss);
      assert_everywhere(a.held == 0
                            ? isnan(b.validation_loss)
                            : fabs(a.validation_loss - b.validation_loss) <= 1e-13 * a.loss);
      assert_everywhere(distance(b.gU, a.gU, N1 * k) <= 1e-12);
      assert_everywhere(distance(b.gV, a.gV, N2 * k) <= 1e-12);
      form_by_hand(p, &samples[s], &at, k, &by_hand);
      textbook_normal(p, &by_hand, NULL, right);
      assert_everywhere(distance(b.gU, right, N1 * k) <= 1e-12);
      assert_everywhere(distance(b.gV, right + N1 * k, N2 * k) <= 1e-12);
    }
    mxs_objective_destroy(&o);
    mxs_objective_destroy(&plain);
    mxs_problem_destroy(&p);
  }
}

/* Rows to single precision, in the order of the blocks. */
static void rows_are_the_textbook_s(void **state) {
  (void)state;
  const point at = random_point(3);
  for (int c = 0; c < COLUMNS * CASES; c++) {
    const int64_t k = columns[c % COLUMNS];
    mxs_problem *p = make(&cases[c / COLUMNS], k, 0.2);
    mxs_objective *o = create(p, k, 1, 0, 1);
    int64_t rows = 7, ld = 7;
    assert_everywhere(mxs_objective_jacobian_rows(o, &rows, &ld) == NULL && rows == 0);
    (void)pass(o, &at, k);
    form_by_hand(p, &samples[0], &at, k, &by_hand);
    const float *J = mxs_objective_jacobian_rows(o, &rows, &ld);
    double worst = 0.0;
    for (int64_t i = 0; J != NULL && i < by_hand.rows; i++)
      for (int64_t j = 0; j < by_hand.length; j++)
        worst = fmax(worst, fabs((double)J[i * ld + j] - by_hand.J[i][j]) /
                                (fabs(by_hand.J[i][j]) + 1e-3));
    assert_everywhere(J == NULL || rows == by_hand.rows);
    assert_everywhere(worst <= 0x1p-23);
    assert_everywhere((J == NULL) == (p->train.op->pass == NULL ||
                                      cases[c / COLUMNS].ensemble == MXS_ENSEMBLE_FAST));
    assert_everywhere(mxs_objective_jacobian_bytes(o) >= rows * ld * 4);
    mxs_objective_destroy(&o);
    mxs_problem_destroy(&p);
  }
}

/* d^T N d is the second difference of A along d: J d = A((U + d)(V + d)^T - (U - d)(V - d)^T) / 2,
 * exactly, as the map is quadratic. */
static double curvature(mxs_problem *p, const point *at, const point *along, int64_t k) {
  const point ends[2] = {moved(at, along, -1.0), moved(at, along, 1.0)};
  double sums[2] = {0.0, 0.0}, A[ENTRIES];
  const mxs_data *data = &p->train;
  for (int64_t j = 0; j < data->blocks.own_count; j++)
    for (int64_t i = data->blocks.offset[j]; i < data->blocks.offset[j + 1]; i++) {
      double difference = 0.0;
      if (data->weight != NULL && data->weight[i] == 0.0)
        continue;
      matrix_of(data,
                mxs_blocks_first(&data->blocks, data->blocks.own[j]) + i - data->blocks.offset[j],
                A);
      for (int64_t e = 0; e < ENTRIES; e++)
        for (int64_t c = 0; c < k; c++)
          difference += A[e] *
                        (ends[0].U[e / N2 * k + c] * ends[0].V[e % N2 * k + c] -
                         ends[1].U[e / N2 * k + c] * ends[1].V[e % N2 * k + c]) /
                        2.0;
      sums[0] += difference * difference;
      sums[1]++;
    }
  MPI_Allreduce(MPI_IN_PLACE, sums, 2, MPI_DOUBLE, MPI_SUM, p->comm->mpi);
  return sums[0] / sums[1];
}

static void side_by_side(const point *d, int64_t k, double *to) {
  memcpy(to, d->U, (size_t)(N1 * k) * sizeof *to);
  memcpy(to + N1 * k, d->V, (size_t)(N2 * k) * sizeof *to);
}

static void products_are_right(void **state) {
  (void)state;
  static double G[MOST * MOST];
  const point at = random_point(3), along = random_point(13);
  for (int c = 0; c < COLUMNS * CASES; c++) {
    const int64_t k = columns[c % COLUMNS], n = (N1 + N2) * k;
    mxs_problem *p = make(&cases[c / COLUMNS], k, 0.2);
    mxs_objective *o = create(p, k, 1 + c % 2, 0, 1);
    double d[MOST], out[MOST], right[MOST], Gd[MOST];
    side_by_side(&along, k, d);
    assert_everywhere(mxs_objective_normal(o, d, out) == MXS_ERR_ARG);
    assert_everywhere(mxs_objective_gram(o, NULL, G) == MXS_ERR_ARG);
    for (int s = 0; s < SAMPLES; s++) {
      mxs_objective_sample(o, &samples[s]);
      (void)pass(o, &at, k);
      mxs_objective_sample(o, NULL); /* the sample is that of the pass */
      const int64_t visits = mxs_objective_get_profile(o).visits;
      assert_ok(mxs_objective_normal(o, d, out));
      int64_t rows = 0, ld = 0;
      const int kept = mxs_objective_jacobian_rows(o, &rows, &ld) != NULL;
      assert_everywhere(kept == (mxs_objective_get_profile(o).visits == visits));
      form_by_hand(p, &samples[s], &at, k, &by_hand);
      textbook_normal(p, &by_hand, d, right);
      assert_everywhere(distance(out, right, n) <= (kept ? 1e-6 : 1e-12));
      if (s == 0) {
        double sum = 0.0;
        for (int64_t i = 0; i < n; i++)
          sum += d[i] * out[i];
        const double exact = curvature(p, &at, &along, k);
        assert_everywhere(fabs(sum - exact) <= 1e-6 * exact);
      }
      assert_ok(mxs_objective_gram(o, NULL, G));
      mxs_la_gemv(0, 1.0, mxs_cview(G, n, n), d, 0.0, Gd);
      assert_everywhere(distance(Gd, out, n) <= 1e-12);
      for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < i; j++)
          assert_true(G[i * n + j] == G[j * n + i]);
    }
    mxs_objective_destroy(&o);
    mxs_problem_destroy(&p);
  }
}

/* Bits: the same at any number of ranks and threads, and whatever was multiplied before: what is a
 * million times larger would leave a scale that still does, but loses the last bits. */
static void products_have_the_same_bits(void **state) {
  (void)state;
  static double G[2][MOST * MOST];
  const point at = random_point(3), along = random_point(13);
  const point large_along = moved(&(point){{0}, {0}}, &along, 1e6);
  for (int c = 0; c < COLUMNS * CASES; c++) {
    const int64_t k = columns[c % COLUMNS], n = (N1 + N2) * k;
    mxs_problem *p = make(&cases[c / COLUMNS], k, 0.2);
    mxs_problem *single = make_on(MPI_COMM_SELF, &cases[c / COLUMNS], k, 0.2);
    mxs_objective *o = create(p, k, 2, 0, 1), *alone = create(single, k, 1, 0, 1);
    double d[MOST], large[MOST], out[2][MOST];
    side_by_side(&along, k, d);
    side_by_side(&large_along, k, large);
    mxs_objective_sample(o, &samples[c % SAMPLES]);
    mxs_objective_sample(alone, &samples[c % SAMPLES]);
    const mxs_evaluation a = pass(o, &at, k), b = pass(alone, &at, k);
    assert_everywhere(a.loss == b.loss);
    assert_everywhere(mpi_test_same_bits(a.gU, b.gU, (size_t)(N1 * k) * sizeof *a.gU));
    assert_everywhere(mpi_test_same_bits(a.gV, b.gV, (size_t)(N2 * k) * sizeof *a.gV));
    assert_ok(mxs_objective_normal(o, d, out[0]));
    assert_ok(mxs_objective_normal(alone, large, out[1]));
    assert_ok(mxs_objective_normal(alone, d, out[1]));
    assert_everywhere(mpi_test_same_bits(out[0], out[1], (size_t)n * sizeof *d));
    assert_ok(mxs_objective_gram(o, NULL, G[0]));
    assert_ok(mxs_objective_gram(alone, NULL, G[1]));
    assert_everywhere(mpi_test_same_bits(G[0], G[1], (size_t)(n * n) * sizeof **G));
    mxs_objective_destroy(&alone);
    mxs_objective_destroy(&o);
    mxs_problem_destroy(&single);
    mxs_problem_destroy(&p);
  }
}

/* A direction that no measurement sees, whose sums are rounding, and one that overflows. */
static void odd_directions(void **state) {
  (void)state;
  enum { K = 2, N = (N1 + N2) * K };
  const point at = random_point(3);
  mxs_problem *p = make(&cases[0], K, 0.0);
  mxs_objective *o = create(p, K, 1, 0, 1);
  double d[N], out[N];
  (void)pass(o, &at, K);
  for (int64_t i = 0; i < N; i++) /* U V^T = (1 + t) U (V / (1 + t))^T */
    d[i] = i < (int64_t)N1 * K ? at.U[i] : -at.V[i - (int64_t)N1 * K];
  assert_ok(mxs_objective_normal(o, d, out));
  const double size = mxs_la_frobenius(mxs_cview(d, N, 1)) * (N1 + N2) * K;
  for (int64_t i = 0; i < N; i++)
    assert_true(fabs(out[i]) <= 0x1p-23 * size * size);
  memset(d, 0, sizeof d);
  assert_ok(mxs_objective_normal(o, d, out));
  for (int64_t i = 0; i < N; i++)
    assert_true(out[i] == 0.0);
  d[3] = (double)INFINITY;
  assert_ok(mxs_objective_normal(o, d, out));
  assert_true(isnan(out[0]));
  assert_ok(mxs_objective_keep_jacobian(o, 0));
  assert_everywhere(mxs_objective_normal(o, d, out) == MXS_ERR_ARG);
  mxs_objective_destroy(&o);
  const int64_t two[2] = {K, K};
  assert_ok(mxs_objective_create(p, MXS_REDUCTION_REPRODUCIBLE, two, 2, 1, &o));
  assert_everywhere(mxs_objective_keep_jacobian(o, 1) == MXS_ERR_ARG);
  mxs_objective_destroy(&o);
  mxs_problem_destroy(&p);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(the_pass_is_the_plain_one),
    cmocka_unit_test(rows_are_the_textbook_s),
    cmocka_unit_test(products_are_right),
    cmocka_unit_test(products_have_the_same_bits),
    cmocka_unit_test(odd_directions),
};

MPI_TEST_MAIN(tests)
