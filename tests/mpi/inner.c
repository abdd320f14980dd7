/* The least squares of Gauss-Newton: every way to solve them takes the same step to the same
 * answer, with the same bits at any number of ranks, and over the ranks. */
#include "la/la.h"
#include "optim/optim_impl.h"
#include "problem/problem_impl.h"
#include "spectral/spectral.h"

#include "mpi_test.h"

#include <math.h>
#include <string.h>

enum { SIDE = 12, RANK = 2, MOST = 40 * 13, INNERS = 3 };

static const mxs_inner inners[INNERS] = {MXS_INNER_CG, MXS_INNER_GRAM, MXS_INNER_CHOLESKY};
static const mxs_ensemble ensembles[] = {MXS_ENSEMBLE_GAUSSIAN, MXS_ENSEMBLE_RADEMACHER,
                                         MXS_ENSEMBLE_FAST};

typedef struct outcome {
  double U[MOST], V[MOST];
  mxs_result result;
} outcome;

static outcome found[INNERS + 1];

static mxs_problem *plant(
    MPI_Comm comm, mxs_ensemble ensemble, int64_t n, int64_t k, int64_t m, double noise) {
  const mxs_plant recipe = {.n1 = n,
                            .n2 = n,
                            .rank = k,
                            .measurements = m,
                            .condition = 3.0,
                            .noise = noise,
                            .ensemble = ensemble,
                            .seed = 3};
  const mxs_problem_options options = {
      .k = k,
      .storage = ensemble == MXS_ENSEMBLE_RADEMACHER ? MXS_STORAGE_BITS : MXS_STORAGE_AS_FILE};
  mxs_problem *problem = NULL;
  assert_ok(mxs_problem_plant(comm, &recipe, &options, &problem));
  return problem;
}

static mxs_solve_options how_to(mxs_inner inner, int64_t iterations) {
  mxs_solve_options how = mxs_solve_defaults();
  how.method = MXS_METHOD_GAUSS_NEWTON;
  how.inner = inner;
  how.max_iterations = iterations;
  how.tolerance = 1e-14;
  return how;
}

/* The problem is used up. */
static void run(mxs_problem *problem, const mxs_solve_options *how, outcome *out) {
  mxs_solver *solver = NULL;
  mxs_cmat U, V;
  memset(out, 0, sizeof *out);
  assert_ok(mxs_solver_create(problem, how, &solver));
  assert_ok(mxs_solver_run(solver, NULL, &out->result));
  mxs_solver_factors(solver, 0, &U, &V);
  memcpy(out->U, U.a, (size_t)(U.rows * U.cols) * sizeof *U.a);
  memcpy(out->V, V.a, (size_t)(V.rows * V.cols) * sizeof *V.a);
  mxs_solver_destroy(&solver);
  mxs_problem_destroy(&problem);
}

/* ||X_a - X_b||, and ||X_b||. */
static double apart(const outcome *a, const outcome *b, int64_t n, int64_t k, double *norm) {
  double sum = 0.0, whole = 0.0;
  for (int64_t i = 0; i < n; i++)
    for (int64_t j = 0; j < n; j++) {
      double x = 0.0, y = 0.0;
      for (int64_t c = 0; c < k; c++) {
        x += a->U[i * k + c] * a->V[j * k + c];
        y += b->U[i * k + c] * b->V[j * k + c];
      }
      sum += (x - y) * (x - y);
      whole += y * y;
    }
  if (norm != NULL)
    *norm = sqrt(whole);
  return sqrt(sum);
}

/* ---- one step */

/* A step from the factors in `at`, into `to`. */
static void advance(mxs_problem *problem,
                    const mxs_solve_options *how,
                    const mxs_spectrum *spectrum,
                    const outcome *at,
                    outcome *to) {
  static double work[2][SIDE * RANK];
  const int64_t k = RANK;
  mxs_objective *objective = NULL;
  mxs_evaluation out;
  mxs_requests none = {0};
  *to = *at;
  assert_ok(mxs_objective_create(problem, how->reduction, &k, 1, 1, &objective));
  assert_ok(mxs_objective_keep_gradient(objective));
  assert_ok(mxs_objective_keep_jacobian(objective, 1));
  mxs_optim optim = {.problem = problem,
                     .objective = objective,
                     .options = how,
                     .k = k,
                     .spectrum = spectrum,
                     .step = 1.0,
                     .U = to->U,
                     .V = to->V,
                     .number = {[MXS_OPTIM_STEP] = 1e-7},
                     .at = &out,
                     .work_U = work[0],
                     .work_V = work[1]};
  const mxs_rule *rule = mxs_rule_of(MXS_METHOD_GAUSS_NEWTON);
  assert_ok(rule->prepare(&optim));
  const mxs_point point = {.U = mxs_cview(to->U, SIDE, k), .V = mxs_cview(to->V, SIDE, k)};
  assert_ok(mxs_objective_pass(objective, &point, &none, &out));
  assert_ok(rule->advance(&optim));
  assert_true(optim.inner_s > 0.0);
  mxs_objective_destroy(&objective);
}

/* From a point near the answer, where a step of conjugate gradients is an accurate one. */
static void check_step(mxs_ensemble ensemble, mxs_model model, mxs_weights weights) {
  double s[RANK + 1] = {0};
  static outcome at;
  mxs_solve_options how = how_to(MXS_INNER_CG, 40);
  how.model = model;
  run(plant(MPI_COMM_WORLD, ensemble, SIDE, RANK, 200, 0.05), &how, &at);
  for (int64_t i = 0; i < SIDE * (int64_t)RANK; i++) {
    at.U[i] *= 1.0 + 1e-3 * sin((double)i);
    at.V[i] = model == MXS_MODEL_SYMMETRIC ? at.U[i] : at.V[i] * (1.0 + 1e-3 * cos((double)i));
  }
  mxs_problem *problem = plant(MPI_COMM_WORLD, ensemble, SIDE, RANK, 200, 0.05);
  for (int i = 0; i <= RANK; i++)
    s[i] = 0.2 * problem->scale2;
  const mxs_spectrum spectrum = {.count = RANK + 1, .s = s};
  how.weights = weights;
  for (int i = 0; i < INNERS; i++) {
    how.inner = inners[i];
    advance(problem, &how, &spectrum, &at, &found[i]);
  }
  const double length = apart(&found[0], &at, SIDE, RANK, NULL);
  assert_true(length > 0.0);
  for (int i = 1; i < INNERS; i++) {
    const double difference = apart(&found[i], &found[0], SIDE, RANK, NULL);
    if (!(difference <= 1e-5 * length))
      fail_msg("ensemble %d, model %d, weights %d, inner %d: %g of the step", (int)ensemble,
               (int)model, (int)weights, (int)inners[i], difference / length);
  }
  mxs_problem_destroy(&problem);
}

static void steps_agree(void **state) {
  (void)state;
  for (int e = 0; e < 3; e++)
    for (int model = 0; model < 2; model++) {
      check_step(ensembles[e], (mxs_model)model, MXS_WEIGHTS_NONE);
      check_step(ensembles[e], (mxs_model)model, MXS_WEIGHTS_LOG_DET);
    }
}

/* ---- whole runs */

static void answers_agree(void **state) {
  (void)state;
  static const int64_t counts[] = {64, 200};
  double norm = 0.0;
  for (int c = 0; c < 6; c++) {
    for (int i = 0; i < INNERS; i++) {
      const mxs_solve_options how = how_to(inners[i], 60);
      run(plant(MPI_COMM_WORLD, ensembles[c % 3], SIDE, RANK, counts[c / 3], 0.0), &how, &found[i]);
      assert_true(apart(&found[i], &found[0], SIDE, RANK, &norm) <= 1e-12 * norm);
      assert_true(found[i].result.relative_residual < 1e-12);
    }
  }
}

static void bits_agree(void **state) {
  (void)state;
  for (int c = 0; c < 12; c++)
    for (int i = 0; i < INNERS; i++) {
      mxs_solve_options how = how_to(inners[i], 5);
      how.model = c % 2 ? MXS_MODEL_SYMMETRIC : MXS_MODEL_ASYMMETRIC;
      how.weights = c / 6 ? MXS_WEIGHTS_LOG_DET : MXS_WEIGHTS_NONE;
      how.threads = 1;
      run(plant(MPI_COMM_SELF, ensembles[c / 2 % 3], SIDE, RANK, 150, 0.01), &how, &found[0]);
      how.threads = 2;
      run(plant(MPI_COMM_WORLD, ensembles[c / 2 % 3], SIDE, RANK, 150, 0.01), &how, &found[1]);
      if (!mpi_test_all(mpi_test_same_bits(found[0].U, found[1].U, sizeof found[0].U) &&
                        mpi_test_same_bits(found[0].V, found[1].V, sizeof found[0].V)))
        fail_msg("case %d, inner %d: other bits", c, (int)inners[i]);
    }
}

/* ---- over the ranks */

enum { ORDER = 300, ROWS = 500 };

static void add_diagonal(void *ctx, int64_t column, double *out) {
  memset(out, 0, ORDER * sizeof *out);
  out[column] = *(const double *)ctx;
}

/* Two rows in a hundred to the ranks in turn; 2^-9 makes all sums exact. */
static void factorisation_over_the_ranks(void **state) {
  (void)state;
  static double H[ORDER * ORDER], right[ORDER], x[ORDER], before[ORDER];
  static float rows[ROWS * ORDER], mine[ROWS * ORDER];
  mxs_comm *comm = NULL;
  int64_t count = 0;
  int solved = 0;
  if (!mxs_has_distributed())
    skip();
  assert_ok(mxs_comm_create(MPI_COMM_WORLD, &comm));
  for (int64_t i = 0; i < ROWS * (int64_t)ORDER; i++)
    rows[i] = (float)((i * 7919 % 1021) - 510) * 0x1p-9F;
  for (int64_t i = 0; i < ROWS; i++)
    if (i / 3 % comm->size == comm->rank)
      memcpy(mine + ORDER * count++, rows + ORDER * i, ORDER * sizeof *rows);
  for (int sign = 1; sign >= -1; sign -= 2) {
    double diagonal = 2.0 * sign;
    for (int64_t i = 0; i < ORDER; i++) {
      x[i] = right[i] = before[i] = cos((double)i);
      for (int64_t j = 0; j < ORDER; j++) {
        H[i * ORDER + j] = i == j ? diagonal : 0.0;
        for (int64_t l = 0; l < ROWS; l++)
          H[i * ORDER + j] += (double)rows[l * ORDER + i] * (double)rows[l * ORDER + j] / ROWS;
      }
    }
    const mxs_definite_system system = {.order = ORDER,
                                        .rows = mine,
                                        .count = count,
                                        .unit = 1.0 / ROWS,
                                        .extra = add_diagonal,
                                        .ctx = &diagonal};
    assert_ok(mxs_distributed_definite(comm, &system, x, &solved));
    assert_int_equal(mxs_la_solve_in_place(mxs_view(H, ORDER, ORDER), right), sign > 0);
    assert_int_equal(solved, sign > 0);
    for (int64_t i = 0; i < ORDER; i++)
      assert_true(sign > 0 ? fabs(x[i] - right[i]) < 1e-10 : x[i] == before[i]);
  }
  mxs_comm_destroy(&comm);
}

/* Of order 1040: spread where there is more than one rank. */
static void answers_over_the_ranks(void **state) {
  (void)state;
  enum { N = 40, K = 13 };
  double norm = 0.0;
  for (int i = 0; i < 2; i++) {
    mxs_solve_options how = how_to(i == 0 ? MXS_INNER_CG : MXS_INNER_CHOLESKY, 9);
    how.reduction = MXS_REDUCTION_FAST;
    how.tolerance = 1e-11;
    run(plant(MPI_COMM_WORLD, MXS_ENSEMBLE_RADEMACHER, N, K, 2600, 0.0), &how, &found[i]);
  }
  assert_true(apart(&found[1], &found[0], N, K, &norm) <= 1e-8 * norm);
  assert_true(found[1].result.relative_residual < 1e-8);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(steps_agree), cmocka_unit_test(answers_agree), cmocka_unit_test(bits_agree),
    cmocka_unit_test(factorisation_over_the_ranks), cmocka_unit_test(answers_over_the_ranks)};

MPI_TEST_MAIN(tests)
