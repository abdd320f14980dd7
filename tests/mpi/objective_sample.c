/* Windows of the training set, label noise, and the loss along lines, against sums over the
 * matrices one by one. */
#include "objective_cases.h"

enum { K = 3 };

/* Sums over a sample, by the textbook. */
typedef struct sums {
  double loss, validation, train, held;
  double g[(N1 + N2) * MOST_COLUMNS];
} sums;

static double residual(const double *row, double y, const point *at, int64_t k) {
  double sum = -y;
  for (int64_t e = 0; e < ENTRIES; e++)
    for (int64_t c = 0; c < k; c++)
      sum += row[e] * at->U[e / N2 * k + c] * at->V[e % N2 * k + c];
  return sum;
}

static void add_measurement(sums *s, const double *row, double w, const point *at, int64_t k) {
  for (int64_t e = 0; e < ENTRIES; e++)
    for (int64_t c = 0; c < k; c++) {
      s->g[e / N2 * k + c] += w * row[e] * at->V[e % N2 * k + c];
      s->g[(N1 + e % N2) * k + c] += w * row[e] * at->U[e / N2 * k + c];
    }
}

/* Is the block in the window? Its place in the order is found from the lists of all ranks. */
static int is_in(const mxs_problem *p, const mxs_sample *sample, int64_t j) {
  const int64_t blocks = p->train.blocks.count;
  for (int64_t t = 0; t < sample->count; t++)
    if ((sample->first + t) % blocks == mpi_test_rank() + j * mpi_test_size())
      return 1;
  return sample->count == 0;
}

static void add_block(const mxs_problem *p,
                      const mxs_sample *sample,
                      int64_t j,
                      const point *at,
                      int64_t k,
                      sums *s) {
  const mxs_data *data = &p->train;
  const int64_t first = mxs_blocks_first(&data->blocks, data->blocks.own[j]);
  double noise[M], row[ENTRIES];
  mxs_random_gaussian_row(sample->seed, MXS_STREAM_LABEL_NOISE, sample->draw, M, noise);
  for (int64_t i = data->blocks.offset[j]; i < data->blocks.offset[j + 1]; i++) {
    const int64_t measurement = first + i - data->blocks.offset[j];
    matrix_of(data, measurement, row);
    const double w = residual(row, data->y[i], at, k);
    if (data->weight != NULL && data->weight[i] == 0.0) {
      s->validation += w * w;
      s->held++;
    } else {
      s->loss += w * w;
      s->train++;
      add_measurement(s, row, w - sample->label_noise * noise[measurement], at, k);
    }
  }
}

static sums expected(const mxs_problem *p, const mxs_sample *sample, const point *at, int64_t k) {
  sums s = {0};
  double row[ENTRIES];
  for (int64_t j = 0; j < p->train.blocks.own_count; j++)
    if (is_in(p, sample, j))
      add_block(p, sample, j, at, k, &s);
  const mxs_data *data = &p->validation;
  for (int64_t j = 0; j < data->blocks.own_count && !sample->skip_validation; j++)
    for (int64_t i = data->blocks.offset[j]; i < data->blocks.offset[j + 1]; i++) {
      matrix_of(data,
                data->first + mxs_blocks_first(&data->blocks, data->blocks.own[j]) + i -
                    data->blocks.offset[j],
                row);
      s.validation += pow(residual(row, data->y[i], at, k), 2.0);
      s.held++;
    }
  MPI_Allreduce(MPI_IN_PLACE, &s, (int)(sizeof s / sizeof(double)), MPI_DOUBLE, MPI_SUM,
                MPI_COMM_WORLD);
  return s;
}

static int is_near(double a, double b, double size) {
  return fabs(a - b) <= 1e-13 * size;
}

static void compare(const mxs_evaluation *out, const sums *s, int64_t k) {
  assert_everywhere(out->nonfinite == 0);
  assert_everywhere((double)out->train == s->train && (double)out->held == s->held);
  assert_everywhere(is_near(out->loss, s->loss / (2.0 * s->train), out->loss));
  if (s->held > 0.0)
    assert_everywhere(
        is_near(out->validation_loss, s->validation / (2.0 * s->held), out->validation_loss));
  else
    assert_everywhere(isnan(out->validation_loss));
  const double size = mxs_la_frobenius(mxs_cview(s->g, N1 + N2, k)) / s->train;
  int near = 1;
  for (int64_t i = 0; i < N1 * k; i++)
    near = near && is_near(out->gU[i], s->g[i] / s->train, size);
  for (int64_t i = 0; i < N2 * k; i++)
    near = near && is_near(out->gV[i], s->g[N1 * k + i] / s->train, size);
  assert_everywhere(near);
}

static const mxs_sample samples[] = {
    {.count = 0},
    {.first = 1, .count = 2, .skip_validation = 1},
    {.first = 1000000006, .count = 3, .label_noise = 0.5, .seed = 9, .draw = 4},
    {.first = 2, .count = 1, .label_noise = 0.5, .seed = 9, .draw = 5, .skip_validation = 1},
    {.first = 4, .count = 5000, .label_noise = 2.0, .seed = 10, .draw = 5},
};

enum { SAMPLES = sizeof samples / sizeof *samples };

static mxs_objective *create(mxs_problem *p, int64_t k, int64_t replicas, int threads, int fast) {
  mxs_objective *o = NULL;
  const int64_t columns[3] = {k, k, k};
  assert_ok(mxs_objective_create(p, fast ? MXS_REDUCTION_FAST : MXS_REDUCTION_REPRODUCIBLE, columns,
                                 replicas, threads, &o));
  return o;
}

static void passes_are_means_over_their_samples(void **state) {
  (void)state;
  static const int64_t columns[2] = {K, MOST_COLUMNS}; /* leaves of factor gradients, and of G */
  const point at = random_point(3);
  for (int c = 0; c < 2 * CASES; c++) {
    const int64_t k = columns[c % 2];
    mxs_problem *p = make(&cases[c / 2], k, c % 4 < 2 ? 0.2 : 0.0);
    mxs_objective *o = create(p, k, 1, 1, 0);
    int64_t visits = 0;
    for (int s = 0; s < SAMPLES; s++) {
      const mxs_point view = view_of(&at, k);
      const sums right = expected(p, &samples[s], &at, k);
      mxs_evaluation out = {0};
      const int64_t passes = mxs_objective_get_profile(o).passes;
      mxs_requests requests = {0};
      mxs_objective_sample(o, &samples[s]);
      assert_ok(mxs_objective_pass(o, &view, &requests, &out));
      compare(&out, &right, k);
      visits +=
          (mxs_objective_get_profile(o).passes - passes) * (int64_t)(right.train + right.held);
      assert_everywhere(mxs_objective_get_profile(o).visits == visits);
    }
    double *S = NULL;
    assert_ok(mxs_objective_back_projection(o, &S));
    assert_everywhere(mxs_objective_get_profile(o).visits == visits + M);
    mxs_objective_destroy(&o);
    mxs_problem_destroy(&p);
  }
}

/* A sample that holds nothing to train on: no loss and no gradient, but the held-out loss. */
static void a_sample_may_be_all_held_out(void **state) {
  (void)state;
  mxs_problem *p = make(&cases[0], K, 0.2);
  for (int64_t i = 0; i < mxs_blocks_own_rows(&p->train.blocks); i++)
    p->train.weight[i] = 0.0;
  mxs_objective *o = create(p, K, 1, 1, 0);
  const point at = random_point(3);
  const mxs_point view = view_of(&at, K);
  mxs_requests requests = {0};
  mxs_evaluation out = {0};
  double line[1][5];
  assert_ok(mxs_objective_pass(o, &view, &requests, &out));
  assert_everywhere(out.train == 0 && out.held == M + HELD_OUT);
  assert_everywhere(out.loss == 0.0 && out.gU[0] == 0.0 && out.validation_loss > 0.0);
  assert_ok(mxs_objective_line(o, &view, &view, line));
  assert_everywhere(line[0][0] == 0.0 && line[0][4] == 0.0);
  mxs_objective_destroy(&o);
  mxs_problem_destroy(&p);
}

/* The same noise for all replicas: each is what it is alone. */
static void replicas_share_label_noise(void **state) {
  (void)state;
  const mxs_sample *sample = &samples[2];
  const point at[2] = {random_point(3), random_point(5)};
  for (int c = 0; c < CASES; c++) {
    mxs_problem *p = make(&cases[c], K, 0.2);
    mxs_objective *both = create(p, K, 2, 2, 0), *alone = create(p, K, 1, 1, 0);
    const mxs_point views[2] = {view_of(&at[0], K), view_of(&at[1], K)};
    mxs_evaluation out[2] = {{0}}, one = {0};
    mxs_requests requests = {0};
    mxs_objective_sample(both, sample);
    mxs_objective_sample(alone, sample);
    assert_ok(mxs_objective_pass(both, views, &requests, out));
    for (int r = 0; r < 2; r++) {
      assert_ok(mxs_objective_pass(alone, &views[r], &requests, &one));
      assert_everywhere(is_near(one.loss, out[r].loss, one.loss));
      for (int64_t i = 0; i < (int64_t)N1 * K; i++)
        assert_everywhere(is_near(one.gU[i], out[r].gU[i], fabs(one.gU[i])));
    }
    mxs_objective_destroy(&alone);
    mxs_objective_destroy(&both);
    mxs_problem_destroy(&p);
  }
}

static double value(const double c[5], double t) {
  return c[0] + t * (c[1] + t * (c[2] + t * (c[3] + t * c[4])));
}

/* The polynomial against the loss itself; the idle replica's is left as it is. */
static void lines_are_the_loss(void **state) {
  (void)state;
  static const double steps[] = {0.0, 0.3, 1.0, -0.7};
  const point at[3] = {random_point(3), random_point(5), random_point(7)};
  const point along[3] = {random_point(13), random_point(15), random_point(17)};
  for (int c = 0; c < 2 * CASES; c++) {
    mxs_problem *p = make(&cases[c / 2], K, 0.2);
    mxs_objective *o = create(p, K, 3, 1 + c % 2, c % 2);
    for (int s = 0; s < SAMPLES; s++) {
      mxs_point views[3], directions[3];
      mxs_evaluation out[3] = {{0}};
      mxs_requests requests = {0};
      double line[3][5] = {{0}, {7.0}, {0}};
      for (int r = 0; r < 3; r++) {
        views[r] = view_of(&at[r], K);
        directions[r] = view_of(&along[r], K);
        views[r].idle = r == 1;
      }
      mxs_objective_sample(o, &samples[s]);
      const int64_t visits = mxs_objective_get_profile(o).visits;
      assert_ok(mxs_objective_line(o, views, directions, line));
      assert_everywhere(line[1][0] == 7.0);
      const int64_t visited = mxs_objective_get_profile(o).visits - visits;
      for (size_t t = 0; t < sizeof steps / sizeof *steps; t++) {
        point to[3];
        for (int r = 0; r < 3; r++) {
          to[r] = moved(&at[r], &along[r], steps[t]);
          views[r].U.a = to[r].U;
          views[r].V.a = to[r].V;
        }
        assert_ok(mxs_objective_pass(o, views, &requests, out));
        for (int r = 0; r < 3; r += 2)
          assert_everywhere(is_near(value(line[r], steps[t]), out[r].loss,
                                    10.0 * (out[r].loss + value(line[r], -fabs(steps[t])) +
                                            fabs(value(line[r], fabs(steps[t]))))));
      }
      assert_everywhere(visited >= out[0].train && visited <= out[0].train + out[0].held);
    }
    mxs_objective_destroy(&o);
    mxs_problem_destroy(&p);
  }
}

/* The bits of a line depend neither on ranks, nor on threads, nor on the lines before: what is a
 * million times larger would leave a scale that still does, but loses the last bits. */
static void compare_lines(mxs_objective *o, mxs_objective *alone, int64_t row) {
  const point at = random_point(3), zero = {{0}, {0}}, along = random_point(row);
  const point tiny_along = moved(&zero, &along, 1e-9), large_along = moved(&zero, &along, 1e3);
  const mxs_point view = view_of(&at, K), direction = view_of(&along, K);
  const mxs_point tiny = view_of(&tiny_along, K), large = view_of(&large_along, K);
  double line[3][1][5];
  assert_ok(mxs_objective_line(o, &view, &direction, line[0]));
  assert_ok(mxs_objective_line(alone, &view, &large, line[1]));
  assert_ok(mxs_objective_line(alone, &view, &direction, line[1]));
  assert_ok(mxs_objective_line(o, &view, &tiny, line[2]));
  assert_everywhere(mpi_test_same_bits(line[0], line[1], sizeof line[0]));
  assert_everywhere(is_near(line[2][0][4], 1e-36 * line[0][0][4], 10.0 * line[2][0][4]));
}

static void lines_have_the_same_bits(void **state) {
  (void)state;
  for (int c = 0; c < CASES; c++) {
    mxs_problem *together = make(&cases[c], K, 0.2);
    mxs_problem *single = make_on(MPI_COMM_SELF, &cases[c], K, 0.2);
    mxs_objective *o = create(together, K, 1, 2, 0), *alone = create(single, K, 1, 1, 0);
    mxs_objective_sample(o, &samples[c % 2]);
    mxs_objective_sample(alone, &samples[c % 2]);
    for (int64_t row = 13; row < 45; row += 2)
      compare_lines(o, alone, row);
    mxs_objective_destroy(&alone);
    mxs_objective_destroy(&o);
    mxs_problem_destroy(&single);
    mxs_problem_destroy(&together);
  }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(passes_are_means_over_their_samples),
    cmocka_unit_test(a_sample_may_be_all_held_out),
    cmocka_unit_test(replicas_share_label_noise),
    cmocka_unit_test(lines_are_the_loss),
    cmocka_unit_test(lines_have_the_same_bits),
};

MPI_TEST_MAIN(tests)
