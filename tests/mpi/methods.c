/* Rules against their formulas written out, and every method on every kind of operator: the same
 * bits as on one rank alone. */
#include "objective_cases.h"
#include "optim/optim_impl.h"

enum { K = 3, ITERATIONS = 6, SIDE = 11, LEFT = N1 * K, RIGHT = N2 * K, ROOM = SIDE * SIDE + LEFT };

/* ---- one update */

typedef struct bench {
  mxs_problem *problem;
  mxs_objective *objective;
  mxs_solve_options options;
  point at, memory, work, before;
  mxs_evaluation out;
  mxs_optim optim;
} bench;

static bench b;

static void set_up(mxs_method method) {
  const ensemble_case *gaussian = &cases[3];
  const int64_t k = K;
  const mxs_point *points = NULL;
  mxs_requests none = {0};
  memset(&b, 0, sizeof b);
  b.options = mxs_solve_defaults();
  b.options.method = method;
  b.problem = make(gaussian, K, 0.0);
  b.problem->scale2 = 2.5;
  assert_ok(mxs_objective_create(b.problem, MXS_REDUCTION_REPRODUCIBLE, &k, 1, 1, &b.objective));
  fill(1, LEFT, b.at.U);
  fill(2, RIGHT, b.at.V);
  const mxs_point view = view_of(&b.at, K);
  points = &view;
  assert_ok(mxs_objective_pass(b.objective, points, &none, &b.out));
  b.memory = b.at;
  b.before = b.at;
  b.optim = (mxs_optim){.problem = b.problem,
                        .objective = b.objective,
                        .options = &b.options,
                        .k = K,
                        .seed = 4,
                        .s1 = 3.0,
                        .step = 0.1,
                        .U = b.at.U,
                        .V = b.at.V,
                        .memory_U = b.memory.U,
                        .memory_V = b.memory.V,
                        .at = &b.out,
                        .work_U = b.work.U,
                        .work_V = b.work.V};
}

static void tear_down(void) {
  mxs_objective_destroy(&b.objective);
  mxs_problem_destroy(&b.problem);
}

/* F^T F + shift I. */
static void gram(const double *F, int64_t n, double shift, double A[K][K]) {
  for (int i = 0; i < K; i++)
    for (int j = 0; j < K; j++) {
      A[i][j] = i == j ? shift : 0.0;
      for (int64_t l = 0; l < n; l++)
        A[i][j] += F[l * K + i] * F[l * K + j];
    }
}

/* x <- x A^{-1} of a symmetric A by elimination. */
static void eliminate(double A[K][K], double x[K]) {
  for (int i = 0; i < K; i++)
    for (int j = i + 1; j < K; j++) {
      const double factor = A[j][i] / A[i][i];
      for (int l = i; l < K; l++)
        A[j][l] -= factor * A[i][l];
      x[j] -= factor * x[i];
    }
  for (int i = K - 1; i >= 0; i--) {
    for (int j = i + 1; j < K; j++)
      x[i] -= A[i][j] * x[j];
    x[i] /= A[i][i];
  }
}

/* What should have been subtracted from a factor: rows of g, divided by the Gram matrix of F. */
static int is_moved_by(const double *before,
                       const double *after,
                       const double *g,
                       int64_t rows,
                       double step,
                       const double *F,
                       int64_t n,
                       double shift) {
  for (int64_t i = 0; i < rows; i++) {
    double A[K][K], x[K];
    memcpy(x, g + i * K, sizeof x);
    if (F != NULL) {
      gram(F, n, shift, A);
      eliminate(A, x);
    }
    for (int j = 0; j < K; j++)
      if (fabs(before[i * K + j] - step * x[j] - after[i * K + j]) >
          1e-11 * (1.0 + fabs(step * x[j])))
        return 0;
  }
  return 1;
}

static int stayed(const double *before, const double *after, int64_t count) {
  return mpi_test_same_bits(before, after, (size_t)count * sizeof *before);
}

static void advance(mxs_method method) {
  assert_ok(mxs_rule_of(method)->advance(&b.optim));
}

static void descent(void **state) {
  (void)state;
  set_up(MXS_METHOD_GD);
  advance(MXS_METHOD_GD);
  assert_true(is_moved_by(b.before.U, b.at.U, b.out.gU, N1, 0.1, NULL, 0, 0.0));
  assert_true(is_moved_by(b.before.V, b.at.V, b.out.gV, N2, 0.1, NULL, 0, 0.0));
  tear_down();
  set_up(MXS_METHOD_SGD);
  b.options.step_decay = 0.5;
  b.options.step_delay = 4.0;
  b.optim.iteration = 12;
  advance(MXS_METHOD_SGD);
  assert_true(is_moved_by(b.before.U, b.at.U, b.out.gU, N1, 0.05, NULL, 0, 0.0));
  tear_down();
}

static void momentum(void **state) {
  (void)state;
  set_up(MXS_METHOD_NESTEROV);
  b.optim.iteration = 3;
  for (int64_t i = 0; i < LEFT; i++)
    b.memory.U[i] = 0.5 * (double)i;
  advance(MXS_METHOD_NESTEROV);
  for (int64_t i = 0; i < LEFT; i++) {
    const double w = b.before.U[i] - 0.1 * b.out.gU[i];
    assert_true(fabs(b.at.U[i] - (w + 0.9 * (w - 0.5 * (double)i))) < 1e-12 * (1.0 + (double)i));
    assert_true(fabs(b.memory.U[i] - w) < 1e-13 * (1.0 + (double)i));
  }
  tear_down();
}

static void preconditioned(void **state) {
  (void)state;
  const double step = 0.1 / 2.5, shift = 0.2 * 3.0 / 2.5;
  set_up(MXS_METHOD_SCALED_GD);
  b.options.lambda = 0.2;
  advance(MXS_METHOD_SCALED_GD);
  assert_true(is_moved_by(b.before.U, b.at.U, b.out.gU, N1, step, b.before.V, N2, shift));
  assert_true(is_moved_by(b.before.V, b.at.V, b.out.gV, N2, step, b.before.U, N1, shift));
  tear_down();
  for (int iteration = 0; iteration < 2; iteration++) {
    set_up(MXS_METHOD_AGN);
    b.optim.iteration = iteration;
    advance(MXS_METHOD_AGN);
    assert_true(iteration == 1
                    ? stayed(b.before.U, b.at.U, LEFT)
                    : is_moved_by(b.before.U, b.at.U, b.out.gU, N1, step, b.before.V, N2, 0.0));
    assert_true(iteration == 0
                    ? stayed(b.before.V, b.at.V, RIGHT)
                    : is_moved_by(b.before.V, b.at.V, b.out.gV, N2, step, b.before.U, N1, 0.0));
    tear_down();
  }
}

/* With two equal columns of V the step of least norm moves both columns of U alike. */
static void deficient(void **state) {
  (void)state;
  static double equal[LEFT];
  set_up(MXS_METHOD_SCALED_GD);
  for (int64_t i = 0; i < N2; i++)
    b.at.V[i * K + 1] = b.at.V[i * K];
  for (int64_t i = 0; i < N1; i++)
    for (int j = 0; j < K; j++)
      equal[i * K + j] = b.out.gU[i * K + (j == 1 ? 0 : j)];
  assert_ok(mxsi_optim_precondition(&b.optim, b.at.V, N2, equal, N1));
  for (int64_t i = 0; i < N1; i++)
    assert_true(isfinite(equal[i * K]) &&
                fabs(equal[i * K] - equal[i * K + 1]) < 1e-12 * (1.0 + fabs(equal[i * K])));
  tear_down();
}

static void first_minima(void **state) {
  (void)state;
  /* Slopes (t - 1)(t - 2)(t - 3), t - 4, t^3 - 8, and none that falls. */
  const double three[5] = {0, -6, 11.0 / 2, -2, 0.25};
  const double line[5] = {7, -4, 0.5, 0, 0};
  const double cube[5] = {0, -8, 0, 0, 0.25};
  const double rising[5] = {0, 1, 1, 0, 0};
  const double falling[5] = {0, -1, 0, 0, 0};
  const double broken[5] = {0, -1, (double)NAN, 0, 1};
  assert_true(fabs(mxsi_first_minimum(three, 9.0) - 1.0) < 1e-12);
  assert_true(fabs(mxsi_first_minimum(line, 1e-9) - 4.0) < 1e-12);
  assert_true(fabs(mxsi_first_minimum(cube, 1e9) - 2.0) < 1e-12);
  assert_true(mxsi_first_minimum(rising, 9.0) == 9.0);
  assert_true(mxsi_first_minimum(falling, 9.0) == 9.0);
  assert_true(mxsi_first_minimum(broken, 9.0) == 9.0);
}

static double distance(const double *x, const double *y, int64_t count) {
  double sum = 0.0;
  for (int64_t i = 0; i < count; i++)
    sum += (x[i] - y[i]) * (x[i] - y[i]);
  return sum;
}

/* Where the gradient is nearly zero and the residual is not, a kick within the ball; none soon
 * after, nor after one that did not help, nor with a large gradient. */
static void kicks(void **state) {
  (void)state;
  static double zero[LEFT + RIGHT];
  set_up(MXS_METHOD_GD);
  b.options.perturb = 0.01;
  b.optim.iteration = 500;
  mxsi_optim_kick(&b.optim, b.out.gU, b.out.gV);
  assert_true(stayed(b.before.U, b.at.U, LEFT));
  mxsi_optim_kick(&b.optim, zero, zero);
  const double norm2 = distance(b.before.U, zero, LEFT) + distance(b.before.V, zero, RIGHT);
  const double kick2 = distance(b.before.U, b.at.U, LEFT) + distance(b.before.V, b.at.V, RIGHT);
  assert_true(kick2 > 0.0 && kick2 <= 1e-4 * norm2 && kick2 > 0.5e-4 * norm2);
  b.before = b.at;
  b.optim.iteration = 599;
  b.out.loss *= 0.9;
  mxsi_optim_kick(&b.optim, zero, zero);
  assert_true(stayed(b.before.U, b.at.U, LEFT));
  b.optim.iteration = 600;
  mxsi_optim_kick(&b.optim, zero, zero);
  assert_false(stayed(b.before.U, b.at.U, LEFT));
  b.before = b.at;
  b.optim.iteration = 800;
  mxsi_optim_kick(&b.optim, zero, zero);
  assert_true(stayed(b.before.U, b.at.U, LEFT));
  tear_down();
}

/* An operator that knows products only: its spectrum by passes is that of the matrix formed. */
static void spectrum_by_passes(void **state) {
  (void)state;
  mxs_spectrum formed, passed;
  const int64_t k = K;
  mxs_objective *objective = NULL;
  mxs_problem *p = make(&cases[8], K, 0.1);
  assert_null(p->train.op->pass);
  assert_ok(mxs_objective_create(p, MXS_REDUCTION_REPRODUCIBLE, &k, 1, 1, &objective));
  assert_ok(mxs_spectrum_create(p, &formed));
  assert_ok(mxs_spectrum_create(p, &passed));
  assert_ok(
      mxs_spectrum_compute(p, objective, MXS_SVD_REPLICATED, MXS_REDUCTION_REPRODUCIBLE, &formed));
  assert_ok(
      mxs_spectrum_compute(p, objective, MXS_SVD_RANDOMIZED, MXS_REDUCTION_REPRODUCIBLE, &passed));
  assert_true(formed.visits == 0 && passed.visits > 0);
  for (int64_t j = 0; j < formed.count; j++) {
    double sign = 0.0;
    assert_true(fabs(formed.s[j] - passed.s[j]) <= 1e-12 * formed.s[0]);
    for (int64_t i = 0; i < N1; i++)
      sign += formed.left[i * formed.count + j] * passed.left[i * formed.count + j];
    assert_true(fabs(fabs(sign) - 1.0) < 1e-6);
    for (int64_t i = 0; i < N2; i++)
      assert_true(fabs(formed.right[i * formed.count + j] -
                       copysign(1.0, sign) * passed.right[i * formed.count + j]) < 1e-3);
  }
  mxs_spectrum_clear(&formed);
  mxs_spectrum_clear(&passed);
  mxs_objective_destroy(&objective);
  mxs_problem_destroy(&p);
}

/* ---- bits */

typedef struct outcome {
  double U[ROOM], V[ROOM];
  mxs_result result;
} outcome;

static mxs_status run(mxs_problem *problem, const mxs_solve_options *how, outcome *out) {
  mxs_solver *solver = NULL;
  mxs_cmat U, V;
  memset(out, 0, sizeof *out);
  mxs_status status = mxs_solver_create(problem, how, &solver);
  if (status == MXS_OK)
    status = mxs_solver_run(solver, NULL, &out->result);
  if (status == MXS_OK) {
    mxs_solver_factors(solver, 0, &U, &V);
    memcpy(out->U, U.a, (size_t)(U.rows * U.cols) * sizeof *U.a);
    memcpy(out->V, V.a, (size_t)(V.rows * V.cols) * sizeof *V.a);
  }
  mxs_solver_destroy(&solver);
  mxs_problem_destroy(&problem);
  return status;
}

static mxs_solve_options options_of(mxs_method method) {
  mxs_solve_options how = mxs_solve_defaults();
  how.method = method;
  how.max_iterations = ITERATIONS;
  how.tolerance = 0.0;
  how.metrics_every = 4;
  how.line_search = method == MXS_METHOD_SCALED_GD;
  how.perturb = method == MXS_METHOD_GD ? 0.1 : 0.0;
  how.batch = method == MXS_METHOD_SGD ? 70 : 0;
  return how;
}

static const mxs_method methods[] = {MXS_METHOD_GD,  MXS_METHOD_NESTEROV,
                                     MXS_METHOD_SGD, MXS_METHOD_SCALED_GD,
                                     MXS_METHOD_AGN, MXS_METHOD_RIEMANNIAN_GD};

enum { METHODS = sizeof methods / sizeof *methods };

static outcome alone, together;

static void same_bits(const char *what, mxs_method method) {
  if (!mpi_test_all(mpi_test_same_bits(alone.U, together.U, sizeof alone.U) &&
                    mpi_test_same_bits(alone.V, together.V, sizeof alone.V) &&
                    alone.result.reason == together.result.reason))
    fail_msg("%s, %s: other bits", what, mxs_rule_of(method)->name);
}

static void every_operator(void **state) {
  (void)state;
  for (int c = 0; c < CASES; c++)
    for (int i = 0; i < METHODS; i++) {
      mxs_solve_options how = options_of(methods[i]);
      how.svd = (c + i) % 2 ? MXS_SVD_RANDOMIZED : MXS_SVD_AUTO;
      assert_ok(run(make_on(MPI_COMM_SELF, &cases[c], K, 0.1), &how, &alone));
      assert_ok(run(make_on(MPI_COMM_WORLD, &cases[c], K, 0.1), &how, &together));
      same_bits("an operator", methods[i]);
    }
}

static mxs_problem *plant(MPI_Comm comm, mxs_ensemble ensemble) {
  const mxs_plant recipe = {.n1 = SIDE,
                            .n2 = SIDE,
                            .rank = 2,
                            .measurements = 301,
                            .condition = 2.0,
                            .ensemble = ensemble,
                            .seed = 3};
  const mxs_problem_options options = {.k = K};
  mxs_problem *problem = NULL;
  assert_ok(mxs_problem_plant(comm, &recipe, &options, &problem));
  return problem;
}

/* V = U throughout, whatever the start. */
static void symmetric(void **state) {
  (void)state;
  static const mxs_ensemble ensembles[] = {MXS_ENSEMBLE_GAUSSIAN, MXS_ENSEMBLE_RADEMACHER,
                                           MXS_ENSEMBLE_FAST};
  static const mxs_start starts[] = {MXS_START_AUTO, MXS_START_SPECTRAL, MXS_START_NYSTROM};
  for (int e = 0; e < 3; e++)
    for (int i = 0; i < METHODS; i++) {
      mxs_solve_options how = options_of(methods[i]);
      how.model = MXS_MODEL_SYMMETRIC;
      how.start = starts[(e + i) % 3];
      assert_ok(run(plant(MPI_COMM_SELF, ensembles[e]), &how, &alone));
      assert_ok(run(plant(MPI_COMM_WORLD, ensembles[e]), &how, &together));
      same_bits("symmetric", methods[i]);
      assert_true(mpi_test_same_bits(alone.U, alone.V, sizeof alone.U));
    }
}

static const struct CMUnitTest tests[] = {cmocka_unit_test(descent),
                                          cmocka_unit_test(momentum),
                                          cmocka_unit_test(preconditioned),
                                          cmocka_unit_test(deficient),
                                          cmocka_unit_test(first_minima),
                                          cmocka_unit_test(kicks),
                                          cmocka_unit_test(spectrum_by_passes),
                                          cmocka_unit_test(every_operator),
                                          cmocka_unit_test(symmetric)};

MPI_TEST_MAIN(tests)
