/* Many trajectories in one pass, on threads: each is what it is alone, whatever the others do. */
#include "mpi/mpi_test.h"
#include "mxsense/mxsense.h"

#include <math.h>
#include <string.h>

enum { N1 = 12, N2 = 9, K = 4, R = 5, M = 330, ITERATIONS = 60, MOST_ROWS = 64, MOST_COLUMNS = 32 };

/* What one trajectory leaves. */
typedef struct trace {
  double U[N1 * K], V[N2 * K], rows[MOST_ROWS * MOST_COLUMNS];
  int64_t count, columns;
} trace;

typedef struct outcome {
  trace of[R];
  mxs_result result[R];
} outcome;

typedef struct recorder {
  outcome *out;
  int64_t stop_at;
} recorder;

static outcome one, other;

static mxs_status record(void *ctx, int64_t replica, const double *row) {
  const recorder *r = ctx;
  trace *t = &r->out->of[replica];
  if (t->count == MOST_ROWS)
    return mxs_fail(MXS_ERR_INTERNAL, "more rows than the test has room for");
  double *target = t->rows + t->count++ * t->columns;
  memcpy(target, row, sizeof *row * (size_t)t->columns);
  target[1] = 0.0; /* seconds */
  return MXS_OK;
}

static int poll_stop(void *ctx, int64_t iteration) {
  const recorder *r = ctx;
  return iteration == r->stop_at && mpi_test_rank() == mpi_test_size() - 1 ? MXS_REQUEST_STOP : 0;
}

/* Different starts, scales, steps and numbers of columns. */
static const mxs_replica sweep[R] = {{0.05, (double)NAN, 1, K},
                                     {0.02, (double)NAN, 2, 0},
                                     {0.05, 0.2, 3, 2},
                                     {(double)NAN, 0.15, 4, 3},
                                     {0.05, (double)NAN, 5, 1}};

static mxs_solve_options settings(const mxs_replica *replicas, int64_t count, int threads) {
  mxs_solve_options options = mxs_solve_defaults();
  options.max_iterations = ITERATIONS;
  options.metrics_every = 4;
  options.tolerance = 0.0;
  options.replicas = replicas;
  options.replica_count = count;
  options.threads = threads;
  return options;
}

static mxs_problem *plant(MPI_Comm comm, mxs_ensemble ensemble, double noise) {
  const mxs_plant recipe = {.n1 = N1,
                            .n2 = N2,
                            .rank = 2,
                            .measurements = M,
                            .held_out = M / 5,
                            .condition = 2.0,
                            .noise = noise,
                            .ensemble = ensemble,
                            .seed = 3};
  const mxs_problem_options options = {.k = K, .hold_out = 0.0};
  mxs_problem *problem = NULL;
  assert_int_equal(mxs_problem_plant(comm, &recipe, &options, &problem), MXS_OK);
  return problem;
}

static void begin(mxs_solver *solver, outcome *out) {
  memset(out, 0, sizeof *out);
  for (int64_t r = 0; r < mxs_solver_replicas(solver); r++) {
    const char *const *names = NULL;
    out->of[r].columns = mxs_solver_columns(solver, r, &names);
    assert_true(out->of[r].columns < MOST_COLUMNS);
  }
}

static void finish(mxs_solver *solver, outcome *out) {
  for (int64_t r = 0; r < mxs_solver_replicas(solver); r++) {
    mxs_cmat U, V;
    mxs_solver_factors(solver, r, &U, &V);
    memcpy(out->of[r].U, U.a, (size_t)(U.rows * U.cols) * sizeof(double));
    memcpy(out->of[r].V, V.a, (size_t)(V.rows * V.cols) * sizeof(double));
  }
}

static void run(mxs_problem *problem, const mxs_solve_options *how, outcome *out) {
  mxs_solver *solver = NULL;
  recorder r = {out, -1};
  const mxs_hooks hooks = {.ctx = &r, .row = record};
  assert_int_equal(mxs_solver_create(problem, how, &solver), MXS_OK);
  begin(solver, out);
  assert_int_equal(mxs_solver_run(solver, &hooks, out->result), MXS_OK);
  finish(solver, out);
  mxs_solver_destroy(&solver);
}

static int same_trace(const trace *a, const trace *b) {
  return mpi_test_same_bits(a->U, b->U, sizeof a->U) &&
         mpi_test_same_bits(a->V, b->V, sizeof a->V) && a->count == b->count &&
         mpi_test_same_bits(a->rows, b->rows, sizeof a->rows);
}

static int same_outcome(const outcome *a, const outcome *b) {
  int same = 1;
  for (int r = 0; r < R; r++)
    same = same && same_trace(&a->of[r], &b->of[r]);
  return same;
}

static const mxs_ensemble ensembles[] = {MXS_ENSEMBLE_GAUSSIAN, MXS_ENSEMBLE_RADEMACHER};

static void same_bits_at_any_ranks_and_threads(void **state) {
  (void)state;
  for (size_t e = 0; e < 2; e++) {
    const mxs_solve_options alone = settings(sweep, R, 1);
    mxs_problem *problem = plant(MPI_COMM_SELF, ensembles[e], 0.01);
    run(problem, &alone, &one);
    mxs_problem_destroy(&problem);
    for (int threads = 1; threads < 5; threads++) {
      const mxs_solve_options how = settings(sweep, R, threads);
      problem = plant(MPI_COMM_WORLD, ensembles[e], 0.01);
      run(problem, &how, &other);
      mxs_problem_destroy(&problem);
      assert_everywhere(same_outcome(&one, &other));
    }
  }
}

static void same_bits_as_solo_runs(void **state) {
  (void)state;
  for (size_t e = 0; e < 2; e++) {
    mxs_problem *problem = plant(MPI_COMM_WORLD, ensembles[e], 0.01);
    const mxs_solve_options all = settings(sweep, R, 1);
    run(problem, &all, &one);
    for (int r = 0; r < R; r++) {
      const mxs_solve_options solo = settings(&sweep[r], 1, 1);
      run(problem, &solo, &other);
      assert_everywhere(same_trace(&one.of[r], &other.of[0]));
      assert_everywhere(one.result[r].reason == other.result[0].reason &&
                        one.result[r].iterations == other.result[0].iterations);
      assert_everywhere(one.result[r].step == other.result[0].step &&
                        one.result[r].alpha == other.result[0].alpha);
    }
    mxs_problem_destroy(&problem);
  }
}

/* A single trajectory given as a replica is the plain run. */
static void one_replica_is_a_plain_run(void **state) {
  (void)state;
  mxs_problem *problem = plant(MPI_COMM_WORLD, MXS_ENSEMBLE_RADEMACHER, 0.01);
  mxs_solve_options how = settings(NULL, 0, 1);
  how.alpha = sweep[0].alpha;
  how.seed = sweep[0].seed;
  run(problem, &how, &one);
  how = settings(sweep, 1, 1);
  run(problem, &how, &other);
  assert_everywhere(same_trace(&one.of[0], &other.of[0]));
  mxs_problem_destroy(&problem);
}

/* One that blows up, and does so early or late, costs the others not a bit. */
static void one_that_diverges_harms_none(void **state) {
  (void)state;
  static const double steps[] = {1e200, 1e4, 3.0};
  mxs_problem *problem = plant(MPI_COMM_WORLD, MXS_ENSEMBLE_RADEMACHER, 0.01);
  const mxs_solve_options good = settings(sweep, R, 1);
  run(problem, &good, &one);
  for (size_t s = 0; s < sizeof steps / sizeof *steps; s++) {
    mxs_replica replicas[R];
    memcpy(replicas, sweep, sizeof replicas);
    replicas[1].step = steps[s];
    const mxs_solve_options how = settings(replicas, R, 1);
    run(problem, &how, &other);
    assert_everywhere(other.result[1].reason == MXS_REASON_DIVERGED);
    assert_everywhere(other.result[1].iterations < ITERATIONS);
    assert_everywhere(mxs_reason_of_all(other.result, R) == MXS_REASON_TARGET);
    assert_everywhere(mxs_reason_of_all(other.result + 1, 1) == MXS_REASON_DIVERGED);
    for (int r = 0; r < R; r++)
      assert_everywhere(r == 1 || same_trace(&one.of[r], &other.of[r]));
  }
  mxs_problem_destroy(&problem);
}

static mxs_solve_options to_tolerance(double tolerance) {
  mxs_solve_options how = settings(sweep, R, 1);
  how.tolerance = tolerance;
  how.max_iterations = 400;
  how.metrics_every = 10;
  return how;
}

/* Without noise those with enough columns converge, each in its own iteration. */
static void each_stops_for_itself(void **state) {
  (void)state;
  mxs_problem *problem = plant(MPI_COMM_WORLD, MXS_ENSEMBLE_RADEMACHER, 0.0);
  const mxs_solve_options how = to_tolerance(1e-2);
  run(problem, &how, &one);
  int different = 0;
  for (int r = 0; r < R; r++) {
    const mxs_result *result = &one.result[r];
    const trace *t = &one.of[r];
    assert_everywhere(result->reason == (result->relative_residual <= 1e-2 ? MXS_REASON_TOLERANCE
                                                                           : MXS_REASON_TARGET));
    assert_everywhere(t->rows[(t->count - 1) * t->columns] == (double)result->iterations);
    assert_everywhere(result->passes_over_A >= (double)result->iterations + 1.0);
    different += result->iterations != one.result[0].iterations;
  }
  assert_everywhere(one.result[0].reason == MXS_REASON_TOLERANCE && different >= 3);
  assert_everywhere(one.result[4].reason == MXS_REASON_TARGET); /* one column for rank two */
  mxs_problem_destroy(&problem);
}

static void copy_state(mxs_solver *from, mxs_solver *to) {
  mxs_array *saved = NULL;
  mxs_array *restored = NULL;
  const int64_t count = mxs_solver_state(from, &saved);
  assert_everywhere(mxs_solver_state(to, &restored) == count);
  for (int64_t i = 0; i < count; i++) {
    assert_string_equal(saved[i].name, restored[i].name);
    memcpy(restored[i].data, saved[i].data, 8 * (size_t)(saved[i].rows * saved[i].cols));
  }
}

/* Rows of a trajectory from its own saved iteration on come again. */
static void forget_rows(outcome *out) {
  for (int r = 0; r < R; r++) {
    trace *t = &out->of[r];
    while (t->count > 0 &&
           t->rows[(t->count - 1) * t->columns] >= (double)out->result[r].iterations)
      memset(t->rows + --t->count * t->columns, 0, sizeof(double) * (size_t)t->columns);
  }
}

/* Stops before, between and after the ends of single trajectories. */
static void stop_and_restore(void **state) {
  (void)state;
  static const int64_t stops[] = {0, 7, 60, 100, 130, 170, 220, 390};
  mxs_problem *problem = plant(MPI_COMM_WORLD, MXS_ENSEMBLE_RADEMACHER, 0.0);
  const mxs_solve_options how = to_tolerance(1e-2);
  run(problem, &how, &one);
  for (size_t s = 0; s < sizeof stops / sizeof *stops; s++) {
    mxs_solver *first = NULL;
    mxs_solver *second = NULL;
    recorder r = {&other, stops[s]};
    const mxs_hooks hooks = {.ctx = &r, .poll = poll_stop, .row = record};
    assert_ok(mxs_solver_create(problem, &how, &first));
    assert_ok(mxs_solver_create(problem, &how, &second));
    begin(first, &other);
    assert_ok(mxs_solver_run(first, &hooks, other.result));
    assert_everywhere(mxs_reason_of_all(other.result, R) == MXS_REASON_STOPPED);
    copy_state(first, second);
    mxs_solver_destroy(&first);
    assert_ok(mxs_solver_restored(second));
    forget_rows(&other);
    r.stop_at = -1;
    assert_ok(mxs_solver_run(second, &hooks, other.result));
    finish(second, &other);
    mxs_solver_destroy(&second);
    assert_everywhere(same_outcome(&one, &other));
    for (int q = 0; q < R; q++)
      assert_everywhere(one.result[q].iterations == other.result[q].iterations &&
                        one.result[q].reason == other.result[q].reason);
  }
  mxs_problem_destroy(&problem);
}

/* A run to a loose tolerance, gone on with to a tight one, is the run to the tight one: those that
 * had ended wake up where they were. */
static void ended_trajectories_wake_up(void **state) {
  (void)state;
  mxs_problem *problem = plant(MPI_COMM_WORLD, MXS_ENSEMBLE_RADEMACHER, 0.0);
  mxs_solve_options loose = to_tolerance(2e-1);
  const mxs_solve_options tight = to_tolerance(1e-2);
  mxs_solver *first = NULL;
  mxs_solver *second = NULL;
  run(problem, &tight, &one);
  recorder r = {&other, -1};
  const mxs_hooks hooks = {.ctx = &r, .row = record};
  assert_ok(mxs_solver_create(problem, &loose, &first));
  assert_ok(mxs_solver_create(problem, &tight, &second));
  begin(first, &other);
  assert_ok(mxs_solver_run(first, &hooks, other.result));
  assert_everywhere(other.result[0].iterations < one.result[0].iterations);
  copy_state(first, second);
  mxs_solver_destroy(&first);
  assert_ok(mxs_solver_restored(second));
  forget_rows(&other);
  assert_ok(mxs_solver_run(second, &hooks, other.result));
  finish(second, &other);
  mxs_solver_destroy(&second);
  assert_everywhere(same_outcome(&one, &other));
  mxs_problem_destroy(&problem);
}

static void bad_options_are_refused(void **state) {
  (void)state;
  mxs_problem *problem = plant(MPI_COMM_WORLD, MXS_ENSEMBLE_RADEMACHER, 0.0);
  mxs_replica wide = sweep[0];
  mxs_solver *solver = NULL;
  wide.k = K + 1;
  mxs_solve_options how = settings(&wide, 1, 1);
  assert_everywhere(mxs_solver_create(problem, &how, &solver) == MXS_ERR_SETTINGS);
  assert_everywhere(strstr(mxs_last_error(), "k = 5") != NULL);
  how = settings(sweep, R, 0);
  assert_everywhere(mxs_solver_create(problem, &how, &solver) == MXS_ERR_SETTINGS);
  assert_everywhere(strstr(mxs_last_error(), "threads") != NULL);
  mxs_problem_destroy(&problem);
}

/* An operator whose every block fails, on every thread. */
static mxs_status broken_plan(void *self, int64_t replicas, int threads) {
  (void)self;
  (void)replicas;
  (void)threads;
  return MXS_OK;
}

static mxs_status broken_pass(void *self, const mxs_pass *pass) {
  const int *broken = self;
  for (int64_t r = 0; r < pass->replicas; r++)
    for (int64_t i = 0; i < pass->count; i++)
      if (pass->x != NULL)
        pass->w[r * pass->stride + i] = -1.0;
  if (pass->g != NULL)
    pass->g[0][0] += 1.0;
  return *broken && pass->first >= 100
             ? mxs_fail(MXS_ERR_NUMERIC, "measurement %lld is broken", (long long)pass->first)
             : MXS_OK;
}

static mxs_status ones(void *self, int64_t first, int64_t count, double *y) {
  (void)self;
  (void)first;
  for (int64_t i = 0; i < count; i++)
    y[i] = 1.0;
  return MXS_OK;
}

static void failure_on_a_thread_is_told(void **state) {
  (void)state;
  static const mxs_op_table table = {.name = "broken", .pass = broken_pass, .plan = broken_plan};
  int broken = 0;
  const mxs_problem_spec spec = {
      .n1 = N1, .n2 = N2, .m = M, .table = &table, .self = &broken, .measurements = ones};
  const mxs_problem_options options = {.k = K};
  mxs_problem *problem = NULL;
  mxs_solver *solver = NULL;
  assert_ok(mxs_problem_create(MPI_COMM_WORLD, &spec, &options, &problem));
  const mxs_solve_options how = settings(sweep, R, 3);
  assert_ok(mxs_solver_create(problem, &how, &solver));
  broken = 1;
  assert_everywhere(mxs_solver_run(solver, NULL, one.result) == MXS_ERR_NUMERIC);
  assert_everywhere(strstr(mxs_last_error(), "is broken") != NULL);
  mxs_solver_destroy(&solver);
  mxs_problem_destroy(&problem);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(same_bits_at_any_ranks_and_threads),
    cmocka_unit_test(same_bits_as_solo_runs),
    cmocka_unit_test(one_replica_is_a_plain_run),
    cmocka_unit_test(one_that_diverges_harms_none),
    cmocka_unit_test(each_stops_for_itself),
    cmocka_unit_test(stop_and_restore),
    cmocka_unit_test(ended_trajectories_wake_up),
    cmocka_unit_test(bad_options_are_refused),
    cmocka_unit_test(failure_on_a_thread_is_told),
};

MPI_TEST_MAIN(tests)
