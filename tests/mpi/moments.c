/* How the residuals of a fit are distributed, and what held-out measurements see, against sums over
 * the matrices one by one; the same bits at any number of ranks and threads. */
#include "objective_cases.h"

enum { K = 3 };

static const double unit_fit = 3.0, unit_residual = 2.0;

typedef struct sums {
  double train[MXS_MOMENTS], held[MXS_MOMENTS];
  double size[MXS_MOMENTS]; /* of absolute values, over both */
  double rows[N1 + N2];     /* of held-out measurements: squares of A_i V over A_i^T U */
} sums;

static double fitted_value(const double *row, const point *at) {
  double sum = 0.0;
  for (int64_t e = 0; e < ENTRIES; e++)
    for (int64_t c = 0; c < K; c++)
      sum += row[e] * at->U[e / N2 * K + c] * at->V[e % N2 * K + c];
  return sum;
}

static void add_rows(const double *row, const point *at, double *rows) {
  for (int64_t c = 0; c < K; c++) {
    double products[N1 + N2] = {0};
    for (int64_t e = 0; e < ENTRIES; e++) {
      products[e / N2] += row[e] * at->V[e % N2 * K + c];
      products[N1 + e % N2] += row[e] * at->U[e / N2 * K + c];
    }
    for (int64_t j = 0; j < N1 + N2; j++)
      rows[j] += products[j] * products[j];
  }
}

static void add_measurement(
    sums *s, const mxs_data *data, int64_t i, double y, int held, const point *at) {
  double row[ENTRIES];
  matrix_of(data, i, row);
  const double fit = fitted_value(row, at);
  const double t = fit / unit_fit, r = (fit - y) / unit_residual;
  const double h2 = t * t - 1.0, h3 = t * t * t - 3.0 * t;
  const double values[MXS_MOMENTS] = {[MXS_MOMENT_COUNT] = 1.0,
                                      [MXS_MOMENT_SQUARE] = r * r,
                                      [MXS_MOMENT_FOURTH] = pow(r, 4.0),
                                      [MXS_MOMENT_EVEN] = h2 * r,
                                      [MXS_MOMENT_EVEN_SQUARE] = h2 * h2 * r * r,
                                      [MXS_MOMENT_ODD] = h3 * r,
                                      [MXS_MOMENT_ODD_SQUARE] = h3 * h3 * r * r};
  for (int q = 0; q < MXS_MOMENTS; q++) {
    (held ? s->held : s->train)[q] += values[q];
    s->size[q] += fabs(values[q]);
  }
  if (held)
    add_rows(row, at, s->rows);
}

/* Is the block in the window? Its place in the order is found from the lists of all ranks. */
static int is_in(const mxs_problem *p, const mxs_sample *sample, int64_t j) {
  const int64_t blocks = p->train.blocks.count;
  for (int64_t t = 0; t < sample->count; t++)
    if ((sample->first + t) % blocks == mpi_test_rank() + j * mpi_test_size())
      return 1;
  return sample->count == 0;
}

static sums expected(const mxs_problem *p, const mxs_sample *sample, const point *at) {
  const mxs_data *const sets[2] = {&p->train, &p->validation};
  sums s = {0};
  for (int set = 0; set < 2; set++)
    for (int64_t j = 0; j < sets[set]->blocks.own_count; j++) {
      const mxs_data *data = sets[set];
      if (set == 0 && !is_in(p, sample, j))
        continue;
      const int64_t first = data->first + mxs_blocks_first(&data->blocks, data->blocks.own[j]);
      for (int64_t i = data->blocks.offset[j]; i < data->blocks.offset[j + 1]; i++)
        add_measurement(&s, data, first + i - data->blocks.offset[j], data->y[i],
                        set == 1 || (data->weight != NULL && data->weight[i] == 0.0), at);
    }
  MPI_Allreduce(MPI_IN_PLACE, &s, (int)(sizeof s / sizeof(double)), MPI_DOUBLE, MPI_SUM,
                MPI_COMM_WORLD);
  return s;
}

static const mxs_sample samples[] = {
    {.count = 0},
    {.first = 1, .count = 2},
    {.first = 1000000006, .count = 3},
};

enum { SAMPLES = sizeof samples / sizeof *samples };

static mxs_objective *create(mxs_problem *p, int threads, int jacobian) {
  mxs_objective *o = NULL;
  const int64_t columns = K;
  assert_ok(mxs_objective_create(p, MXS_REDUCTION_REPRODUCIBLE, &columns, 1, threads, &o));
  if (jacobian)
    assert_ok(mxs_objective_keep_jacobian(o, 1));
  return o;
}

typedef struct outcome {
  double train[MXS_MOMENTS], held[MXS_MOMENTS];
  double seen;
} outcome;

static outcome look(mxs_objective *o, const mxs_sample *sample, const point *at) {
  outcome out;
  const mxs_point view = view_of(at, K);
  mxs_objective_sample(o, sample);
  assert_ok(mxs_objective_moments(o, &view, unit_fit, unit_residual, out.train, out.held));
  assert_ok(mxs_objective_seen(o, &view, &out.seen));
  return out;
}

static int is_near(double a, double b, double size) {
  return fabs(a - b) <= 1e-12 * size;
}

static double least_share(const double *rows, int64_t count) {
  double sum = 0.0, least = rows[0];
  for (int64_t i = 0; i < count; i++) {
    sum += rows[i];
    least = fmin(least, rows[i]);
  }
  return sum > 0.0 ? least * (double)count / sum : 0.0;
}

static void compare(const outcome *out, const sums *right) {
  int near = 1;
  for (int q = 0; q < MXS_MOMENTS; q++)
    near = near && is_near(out->train[q], right->train[q], right->size[q]) &&
           is_near(out->held[q], right->held[q], right->size[q]);
  assert_everywhere(near);
  assert_everywhere(out->train[MXS_MOMENT_COUNT] == right->train[MXS_MOMENT_COUNT]);
  const double share = fmin(least_share(right->rows, N1), least_share(right->rows + N1, N2));
  assert_everywhere(is_near(out->seen, share, 1.0));
}

static void moments_are_sums(void **state) {
  (void)state;
  const point at = random_point(3);
  for (int c = 0; c < 2 * CASES; c++) {
    mxs_problem *p = make(&cases[c / 2], K, c % 2 == 0 ? 0.2 : 0.0);
    mxs_objective *o = create(p, 1, c % 3 == 0);
    for (int s = 0; s < SAMPLES; s++) {
      const sums right = expected(p, &samples[s], &at);
      const int64_t visits = mxs_objective_get_profile(o).visits;
      const outcome out = look(o, &samples[s], &at);
      compare(&out, &right);
      assert_everywhere(mxs_objective_get_profile(o).visits - visits ==
                        (int64_t)(out.train[MXS_MOMENT_COUNT] + 2.0 * out.held[MXS_MOMENT_COUNT]));
    }
    mxs_objective_destroy(&o);
    mxs_problem_destroy(&p);
  }
}

/* Neither ranks, nor threads, nor what was done before. */
static void moments_have_the_same_bits(void **state) {
  (void)state;
  const point at = random_point(3), other = random_point(5);
  for (int c = 0; c < CASES; c++) {
    mxs_problem *together = make(&cases[c], K, 0.2);
    mxs_problem *single = make_on(MPI_COMM_SELF, &cases[c], K, 0.2);
    mxs_objective *o = create(together, 2, c % 2), *alone = create(single, 1, c % 2);
    for (int s = 0; s < SAMPLES; s++) {
      const outcome one = look(o, &samples[s], &at);
      (void)look(alone, &samples[s], &other);
      const outcome two = look(alone, &samples[s], &at);
      assert_everywhere(mpi_test_same_bits(&one, &two, sizeof one));
    }
    mxs_objective_destroy(&alone);
    mxs_objective_destroy(&o);
    mxs_problem_destroy(&single);
    mxs_problem_destroy(&together);
  }
}

typedef struct gradients {
  double U[N1 * K], V[N2 * K], X[ENTRIES];
} gradients;

/* They do not disturb the evaluation that the next step goes by. */
static void evaluations_stay(void **state) {
  (void)state;
  const point at = random_point(3);
  const mxs_point view = view_of(&at, K);
  for (int c = 0; c < CASES; c++) {
    mxs_problem *p = make(&cases[c], K, 0.2);
    mxs_objective *o = create(p, 1, 1);
    mxs_evaluation out = {0};
    mxs_requests requests = {0};
    gradients copies[2];
    memset(copies, 0, sizeof copies);
    assert_ok(mxs_objective_keep_gradient(o));
    assert_ok(mxs_objective_pass(o, &view, &requests, &out));
    for (int i = 0; i < 2; i++) {
      memcpy(copies[i].U, out.gU, sizeof copies[i].U);
      memcpy(copies[i].V, out.gV, sizeof copies[i].V);
      memcpy(copies[i].X, out.G, sizeof copies[i].X);
      (void)look(o, &samples[0], &at);
    }
    assert_everywhere(mpi_test_same_bits(&copies[0], &copies[1], sizeof copies[0]));
    mxs_objective_destroy(&o);
    mxs_problem_destroy(&p);
  }
}

/* A caller's entries: measurement i is that at (i mod N1, i mod N2), but one row is left out. */
enum { HIDDEN = 4 };

static mxs_status entries_apply(
    void *self, int64_t first, int64_t count, mxs_cmat U, mxs_cmat V, double *z) {
  (void)self;
  for (int64_t i = 0; i < count; i++) {
    const int64_t p = (first + i) % N1 == HIDDEN ? 0 : (first + i) % N1, q = (first + i) % N2;
    z[i] = 0.0;
    for (int64_t c = 0; c < U.cols; c++)
      z[i] += U.a[p * U.ld + c] * V.a[q * V.ld + c];
  }
  return MXS_OK;
}

static mxs_status entries_adjoint(void *self,
                                  int64_t first,
                                  int64_t count,
                                  const double *w,
                                  int transpose,
                                  mxs_cmat B,
                                  mxs_mat C) {
  (void)self;
  for (int64_t i = 0; i < count; i++) {
    const int64_t p = (first + i) % N1 == HIDDEN ? 0 : (first + i) % N1, q = (first + i) % N2;
    const int64_t from = transpose ? p : q, to = transpose ? q : p;
    for (int64_t c = 0; c < B.cols; c++)
      C.a[to * C.ld + c] += w[i] * B.a[from * B.ld + c];
  }
  return MXS_OK;
}

static const mxs_op_table entries_table = {
    .name = "entries", .apply = entries_apply, .adjoint_mul = entries_adjoint};

static void a_row_may_be_unseen(void **state) {
  (void)state;
  const point at = random_point(3);
  const ensemble_case entries = {MXS_ENSEMBLE_USER, MXS_STORAGE_AS_FILE, &entries_table};
  const ensemble_case full = {MXS_ENSEMBLE_GAUSSIAN, MXS_STORAGE_AS_FILE, NULL};
  mxs_problem *p = make(&entries, K, 0.5);
  mxs_objective *o = create(p, 1, 0);
  assert_everywhere(look(o, &samples[0], &at).seen == 0.0);
  mxs_objective_destroy(&o);
  mxs_problem_destroy(&p);
  p = make(&full, K, 0.05);
  o = create(p, 1, 0);
  assert_everywhere(look(o, &samples[0], &at).seen > 0.2);
  point bad = at;
  bad.U[5] = (double)NAN;
  const outcome out = look(o, &samples[0], &bad);
  assert_everywhere(out.seen == 0.0 && isnan(out.train[MXS_MOMENT_SQUARE]) &&
                    isnan(out.held[MXS_MOMENT_ODD]) && out.train[MXS_MOMENT_COUNT] > 0.0);
  mxs_objective_destroy(&o);
  mxs_problem_destroy(&p);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(moments_are_sums),
    cmocka_unit_test(moments_have_the_same_bits),
    cmocka_unit_test(evaluations_stay),
    cmocka_unit_test(a_row_may_be_unseen),
};

MPI_TEST_MAIN(tests)
