/* The library without files: same bits as one rank alone, stop and restore, callers' operators,
 * errors of one rank. */
#include "mpi/mpi_test.h"
#include "mxsense/mxsense.h"

#include <math.h>
#include <string.h>

enum { N1 = 11, N2 = 9, K = 4, ITERATIONS = 25, MOST_ROWS = 64, MOST_COLUMNS = 64 };
enum { ENTRIES = N1 * N2, MEASUREMENTS = 2 * ENTRIES };

/* What a run leaves. */
typedef struct outcome {
  double U[N1 * K], V[N2 * K], rows[MOST_ROWS * MOST_COLUMNS];
  int64_t count, columns;
  mxs_result result;
} outcome;

typedef struct recorder {
  outcome *out;
  int64_t stop_at;
} recorder;

static mxs_status record(void *ctx, int64_t replica, const double *row) {
  (void)replica;
  recorder *r = ctx;
  if (r->out->count == MOST_ROWS)
    return mxs_fail(MXS_ERR_INTERNAL, "more rows than the test has room for");
  double *target = r->out->rows + r->out->count++ * r->out->columns;
  memcpy(target, row, sizeof *row * (size_t)r->out->columns);
  target[1] = 0.0; /* seconds */
  return MXS_OK;
}

/* Only the last rank asks to stop. */
static int poll_stop(void *ctx, int64_t iteration) {
  const recorder *r = ctx;
  return iteration == r->stop_at && mpi_test_rank() == mpi_test_size() - 1 ? MXS_REQUEST_STOP : 0;
}

static mxs_plant recipe(mxs_ensemble ensemble, int64_t m) {
  return (mxs_plant){.n1 = N1,
                     .n2 = N2,
                     .rank = 2,
                     .measurements = m,
                     .held_out = m / 5,
                     .condition = 2.0,
                     .noise = 0.01,
                     .ensemble = ensemble,
                     .seed = 3};
}

static mxs_solve_options settings(void) {
  mxs_solve_options options = mxs_solve_defaults();
  options.max_iterations = ITERATIONS;
  options.metrics_every = 4;
  options.tolerance = 0.0;
  options.alpha = 0.05;
  return options;
}

static void finish(mxs_solver *solver, outcome *out) {
  mxs_cmat U, V;
  mxs_solver_factors(solver, 0, &U, &V);
  for (int64_t i = 0; i < N1; i++)
    memcpy(out->U + i * K, U.a + i * U.ld, K * sizeof(double));
  for (int64_t i = 0; i < N2; i++)
    memcpy(out->V + i * K, V.a + i * V.ld, K * sizeof(double));
}

static void begin(mxs_solver *solver, outcome *out) {
  const char *const *names = NULL;
  memset(out, 0, sizeof *out);
  out->columns = mxs_solver_columns(solver, 0, &names);
  assert_true(out->columns < MOST_COLUMNS);
  assert_string_equal(names[0], "iteration");
  assert_string_equal(names[1], "seconds");
}

static void run_planted(MPI_Comm comm, const mxs_plant *plant, double hold_out, outcome *out) {
  const mxs_problem_options options = {.k = K, .hold_out = hold_out, .seed = 8};
  const mxs_solve_options how = settings();
  mxs_problem *problem = NULL;
  mxs_solver *solver = NULL;
  recorder r = {out, -1};
  const mxs_hooks hooks = {.ctx = &r, .row = record};
  assert_int_equal(mxs_problem_plant(comm, plant, &options, &problem), MXS_OK);
  assert_int_equal(mxs_solver_create(problem, &how, &solver), MXS_OK);
  begin(solver, out);
  assert_int_equal(mxs_solver_run(solver, &hooks, &out->result), MXS_OK);
  finish(solver, out);
  mxs_solver_destroy(&solver);
  mxs_problem_destroy(&problem);
}

static int equal(const outcome *a, const outcome *b) {
  return mpi_test_same_bits(a->U, b->U, sizeof a->U) &&
         mpi_test_same_bits(a->V, b->V, sizeof a->V) && a->count == b->count &&
         mpi_test_same_bits(a->rows, b->rows, sizeof a->rows);
}

static outcome alone, together, parts;

static void same_bits_as_alone(void **state) {
  (void)state;
  static const mxs_ensemble ensembles[] = {MXS_ENSEMBLE_GAUSSIAN, MXS_ENSEMBLE_RADEMACHER};
  static const int64_t sizes[] = {301, 70, 3};
  for (size_t e = 0; e < 2; e++) {
    for (size_t s = 0; s < 3; s++) {
      mxs_plant plant = recipe(ensembles[e], sizes[s]);
      const double hold_out = s == 1 ? 0.2 : 0.0;
      if (hold_out > 0.0)
        plant.held_out = 0;
      run_planted(MPI_COMM_SELF, &plant, hold_out, &alone);
      run_planted(MPI_COMM_WORLD, &plant, hold_out, &together);
      assert_everywhere(equal(&alone, &together));
      assert_everywhere(together.result.reason == MXS_REASON_TARGET &&
                        together.result.iterations == ITERATIONS);
      assert_everywhere(together.count == 8); /* 0, 4, ..., 24, and the end */
    }
  }
}

/* Stop after every number of updates, save the state, restore it into a new solver: the same bits.
 */
static void stop_and_restore(void **state) {
  (void)state;
  const mxs_plant plant = recipe(MXS_ENSEMBLE_RADEMACHER, 301);
  const mxs_problem_options options = {.k = K};
  const mxs_solve_options how = settings();
  run_planted(MPI_COMM_WORLD, &plant, 0.0, &together);
  mxs_problem *problem = NULL;
  assert_ok(mxs_problem_plant(MPI_COMM_WORLD, &plant, &options, &problem));
  for (int64_t stop = 0; stop < ITERATIONS; stop += 3) {
    mxs_solver *first = NULL, *second = NULL;
    mxs_array *saved = NULL, *restored = NULL;
    recorder r = {&parts, stop};
    const mxs_hooks hooks = {.ctx = &r, .poll = poll_stop, .row = record};
    assert_ok(mxs_solver_create(problem, &how, &first));
    assert_ok(mxs_solver_create(problem, &how, &second));
    begin(first, &parts);
    assert_ok(mxs_solver_run(first, &hooks, &parts.result));
    assert_everywhere(parts.result.reason == MXS_REASON_STOPPED);
    const int64_t at = parts.result.iterations;
    assert_everywhere(at >= stop && at <= stop + 1);
    const int64_t count = mxs_solver_state(first, &saved);
    assert_everywhere(mxs_solver_state(second, &restored) == count);
    for (int64_t i = 0; i < count; i++) {
      assert_string_equal(saved[i].name, restored[i].name);
      memcpy(restored[i].data, saved[i].data, 8 * (size_t)(saved[i].rows * saved[i].cols));
    }
    mxs_solver_destroy(&first);
    assert_ok(mxs_solver_restored(second));
    /* Rows from the saved iteration on come again. */
    while (parts.count > 0 && parts.rows[(parts.count - 1) * parts.columns] >= (double)at)
      memset(parts.rows + --parts.count * parts.columns, 0, sizeof(double) * (size_t)parts.columns);
    r.stop_at = -1;
    assert_ok(mxs_solver_run(second, &hooks, &parts.result));
    finish(second, &parts);
    mxs_solver_destroy(&second);
    assert_everywhere(equal(&together, &parts));
  }
  mxs_problem_destroy(&problem);
}

/* A caller's operator: A_i = e_p e_q^T for all (p, q), some twice. It can fail on one rank. */
typedef struct entries {
  double X[ENTRIES];
  int fail, bad_y;
} entries;

static mxs_status entries_apply(
    void *self, int64_t first, int64_t count, mxs_cmat U, mxs_cmat V, double *z) {
  const entries *e = self;
  if (e->fail)
    return mxs_fail(MXS_ERR_NUMERIC, "the instrument is broken");
  for (int64_t i = 0; i < count; i++) {
    const int64_t at = (first + i) % ENTRIES;
    z[i] = 0.0;
    for (int64_t c = 0; c < U.cols; c++)
      z[i] += U.a[at / N2 * U.ld + c] * V.a[at % N2 * V.ld + c];
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
    const int64_t at = (first + i) % ENTRIES, p = at / N2, q = at % N2;
    for (int64_t c = 0; c < B.cols; c++)
      C.a[(transpose ? q : p) * C.ld + c] += w[i] * B.a[(transpose ? p : q) * B.ld + c];
  }
  return MXS_OK;
}

static mxs_status entries_pass(void *self, const mxs_pass *pass) {
  const entries *e = self;
  if (e->fail)
    return mxs_fail(MXS_ERR_NUMERIC, "the instrument is broken");
  for (int64_t i = 0; i < pass->count; i++) {
    const int64_t at = (pass->first + i) % ENTRIES;
    if (pass->x != NULL)
      pass->w[i] = pass->x[0][at] - (pass->y != NULL ? pass->y[i] : 0.0);
    if (pass->g != NULL)
      pass->g[0][at] += (pass->weight != NULL ? pass->weight[i] : 1.0) * pass->w[i];
  }
  return MXS_OK;
}

static mxs_status entries_norm(void *self, int64_t first, int64_t count, double *sum) {
  (void)self;
  (void)first;
  *sum = (double)count;
  return MXS_OK;
}

static mxs_status entries_y(void *self, int64_t first, int64_t count, double *y) {
  const entries *e = self;
  for (int64_t i = 0; i < count; i++)
    y[i] = e->bad_y && first + i == 100 ? (double)NAN : e->X[(first + i) % ENTRIES];
  return MXS_OK;
}

static const mxs_op_table by_factors = {.name = "entries",
                                        .apply = entries_apply,
                                        .adjoint_mul = entries_adjoint,
                                        .frobenius2 = entries_norm};
static const mxs_op_table by_matrix = {
    .name = "entries", .pass = entries_pass, .frobenius2 = entries_norm};

static void fill(entries *e, double *u, double *v) {
  memset(e, 0, sizeof *e);
  for (int p = 0; p < N1; p++)
    u[p] = sin(1.0 + p);
  for (int q = 0; q < N2; q++)
    v[q] = cos(2.0 + 3 * q);
  for (int p = 0; p < N1; p++)
    for (int q = 0; q < N2; q++)
      e->X[p * N2 + q] = u[p] * v[q];
}

static mxs_problem_spec spec_of(entries *e,
                                const mxs_op_table *table,
                                const double *u,
                                const double *v) {
  return (mxs_problem_spec){.n1 = N1,
                            .n2 = N2,
                            .m = MEASUREMENTS,
                            .table = table,
                            .self = e,
                            .measurements = entries_y,
                            .truth_U = mxs_cview(u, N1, 1),
                            .truth_V = mxs_cview(v, N2, 1)};
}

static void own_operator(void **state) {
  (void)state;
  entries e;
  double u[N1], v[N2];
  fill(&e, u, v);
  const mxs_op_table *const tables[] = {&by_factors, &by_matrix};
  outcome *const outcomes[] = {&alone, &together};
  for (int i = 0; i < 2; i++) {
    const mxs_problem_spec spec = spec_of(&e, tables[i], u, v);
    const mxs_problem_options options = {.k = K};
    mxs_solve_options how = settings();
    how.max_iterations = 400;
    how.alpha = 1e-6; /* columns that are not needed stay of this size */
    how.metrics_every = 10;
    mxs_problem *problem = NULL;
    mxs_solver *solver = NULL;
    recorder r = {outcomes[i], -1};
    const mxs_hooks hooks = {.ctx = &r, .row = record};
    assert_ok(mxs_problem_create(MPI_COMM_WORLD, &spec, &options, &problem));
    const mxs_problem_info info = mxs_problem_get_info(problem);
    assert_everywhere(info.n1 == N1 && info.n2 == N2 && info.m == MEASUREMENTS &&
                      info.truth_rank == 1);
    assert_ok(mxs_solver_create(problem, &how, &solver));
    begin(solver, outcomes[i]);
    assert_ok(mxs_solver_run(solver, &hooks, &outcomes[i]->result));
    finish(solver, outcomes[i]);
    assert_everywhere(outcomes[i]->result.test_error < 1e-10);
    assert_everywhere(outcomes[i]->result.rank_estimate == 1);
    mxs_solver_destroy(&solver);
    mxs_problem_destroy(&problem);
  }
  /* Both families go the same way, to rounding. */
  double difference = 0.0;
  for (int i = 0; i < N1 * K; i++)
    difference = fmax(difference, fabs(alone.U[i] - together.U[i]));
  assert_everywhere(difference < 1e-10);
}

/* Memory that goes wrong on the last rank: between passes, or while one is under way. */
typedef struct rot {
  entries e;
  mxs_solver *solver;
  int calls, in_pass;
} rot;

static void flip(mxs_solver *solver) {
  mxs_array *arrays = NULL;
  const int64_t count = mxs_solver_state(solver, &arrays);
  int64_t at = 0;
  while (at < count && strcmp(arrays[at].name, "factors/U") != 0)
    at++;
  assert_true(at < count);
  ((uint64_t *)arrays[at].data)[5] ^= 1; /* the last bit of an entry */
}

static int rot_poll(void *ctx, int64_t iteration) {
  rot *r = ctx;
  if (iteration == 7 && !r->in_pass && mpi_test_rank() == mpi_test_size() - 1)
    flip(r->solver);
  return 0;
}

static mxs_status rot_apply(
    void *self, int64_t first, int64_t count, mxs_cmat U, mxs_cmat V, double *z) {
  rot *r = self;
  if (r->in_pass && r->solver != NULL && r->calls++ == 9 && mpi_test_rank() == mpi_test_size() - 1)
    flip(r->solver);
  return entries_apply(&r->e, first, count, U, V, z);
}

static mxs_status rot_y(void *self, int64_t first, int64_t count, double *y) {
  return entries_y(&((rot *)self)->e, first, count, y);
}

static void factors_that_change_are_noticed(void **state) {
  (void)state;
  static const mxs_op_table table = {.name = "rot",
                                     .apply = rot_apply,
                                     .adjoint_mul = entries_adjoint,
                                     .frobenius2 = entries_norm};
  for (int in_pass = 0; in_pass <= 1; in_pass++) {
    rot r = {.in_pass = in_pass};
    double u[N1], v[N2];
    fill(&r.e, u, v);
    mxs_problem_spec spec = spec_of(&r.e, &table, u, v);
    spec.self = &r;
    spec.measurements = rot_y;
    const mxs_problem_options options = {.k = K};
    const mxs_solve_options how = settings();
    const mxs_hooks hooks = {.ctx = &r, .poll = rot_poll};
    mxs_problem *problem = NULL;
    mxs_result result;
    assert_ok(mxs_problem_create(MPI_COMM_WORLD, &spec, &options, &problem));
    assert_ok(mxs_solver_create(problem, &how, &r.solver));
    const mxs_status status = mxs_solver_run(r.solver, &hooks, &result);
    /* A rank that is alone has nobody to compare with between passes. */
    const int noticed = in_pass || mpi_test_size() > 1;
    assert_everywhere(status == (noticed ? MXS_ERR_CORRUPT : MXS_OK));
    assert_everywhere(!noticed || result.iterations < ITERATIONS);
    mxs_solver_destroy(&r.solver);
    mxs_problem_destroy(&problem);
  }
}

static void failure_on_one_rank(void **state) {
  (void)state;
  entries e;
  double u[N1], v[N2];
  for (int bad = 0; bad < mpi_test_size() && bad < 3; bad++) {
    fill(&e, u, v);
    const mxs_problem_spec spec = spec_of(&e, &by_factors, u, v);
    const mxs_problem_options options = {.k = K};
    const mxs_solve_options how = settings();
    mxs_problem *problem = NULL;
    mxs_solver *solver = NULL;
    mxs_result result;
    assert_ok(mxs_problem_create(MPI_COMM_WORLD, &spec, &options, &problem));
    assert_ok(mxs_solver_create(problem, &how, &solver));
    e.fail = mpi_test_rank() == bad;
    const mxs_status status = mxs_solver_run(solver, NULL, &result);
    assert_everywhere(status == MXS_ERR_NUMERIC);
    assert_everywhere(strstr(mxs_last_error(), "the instrument is broken") != NULL);
    mxs_solver_destroy(&solver);
    mxs_problem_destroy(&problem);
  }
}

static void bad_measurement_is_named(void **state) {
  (void)state;
  entries e;
  double u[N1], v[N2];
  fill(&e, u, v);
  e.bad_y = 1;
  const mxs_problem_spec spec = spec_of(&e, &by_factors, u, v);
  const mxs_problem_options options = {.k = K};
  mxs_problem *problem = NULL;
  const mxs_status status = mxs_problem_create(MPI_COMM_WORLD, &spec, &options, &problem);
  assert_everywhere(status == MXS_ERR_DATA && problem == NULL);
  assert_everywhere(strstr(mxs_last_error(), "100") != NULL);
}

static void bad_arguments(void **state) {
  (void)state;
  const mxs_problem_options good = {.k = K}, no_k = {.k = 0},
                            too_many = {.k = K, .measurements = 10000};
  mxs_plant plant = recipe(MXS_ENSEMBLE_GAUSSIAN, 50);
  mxs_problem *problem = NULL;
  mxs_status status = mxs_problem_plant(MPI_COMM_WORLD, &plant, &no_k, &problem);
  assert_everywhere(status == MXS_ERR_SETTINGS && problem == NULL);
  status = mxs_problem_plant(MPI_COMM_WORLD, &plant, &too_many, &problem);
  assert_everywhere(status == MXS_ERR_SETTINGS && problem == NULL);
  plant.rank = N2 + 1;
  status = mxs_problem_plant(MPI_COMM_WORLD, &plant, &good, &problem);
  assert_everywhere(status == MXS_ERR_SETTINGS && problem == NULL);
  mxs_problem_destroy(&problem);
}

static void divergence_is_a_reason(void **state) {
  (void)state;
  const mxs_plant plant = recipe(MXS_ENSEMBLE_GAUSSIAN, 301);
  const mxs_problem_options options = {.k = K};
  mxs_solve_options how = settings();
  how.step = 1e3;
  mxs_problem *problem = NULL;
  mxs_solver *solver = NULL;
  mxs_result result;
  assert_ok(mxs_problem_plant(MPI_COMM_WORLD, &plant, &options, &problem));
  assert_ok(mxs_solver_create(problem, &how, &solver));
  assert_ok(mxs_solver_run(solver, NULL, &result));
  assert_everywhere(result.reason == MXS_REASON_DIVERGED && result.iterations < ITERATIONS);
  mxs_solver_destroy(&solver);
  mxs_problem_destroy(&problem);
}

/* An iteration allocates nothing. */
static void no_allocation_in_the_loop(void **state) {
  (void)state;
  const mxs_plant plant = recipe(MXS_ENSEMBLE_RADEMACHER, 301);
  const mxs_problem_options options = {.k = K};
  int64_t calls[2];
  for (int i = 0; i < 2; i++) {
    mxs_solve_options how = settings();
    how.max_iterations = i == 0 ? 5 : 50;
    how.metrics_every = 1000;
    mxs_problem *problem = NULL;
    mxs_solver *solver = NULL;
    mxs_result result;
    assert_ok(mxs_problem_plant(MPI_COMM_WORLD, &plant, &options, &problem));
    assert_ok(mxs_solver_create(problem, &how, &solver));
    const int64_t before = mxs_alloc_calls();
    assert_ok(mxs_solver_run(solver, NULL, &result));
    calls[i] = mxs_alloc_calls() - before;
    mxs_solver_destroy(&solver);
    mxs_problem_destroy(&problem);
  }
  assert_everywhere(calls[0] == calls[1]);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(same_bits_as_alone),
    cmocka_unit_test(stop_and_restore),
    cmocka_unit_test(own_operator),
    cmocka_unit_test(factors_that_change_are_noticed),
    cmocka_unit_test(failure_on_one_rank),
    cmocka_unit_test(bad_measurement_is_named),
    cmocka_unit_test(bad_arguments),
    cmocka_unit_test(divergence_is_a_reason),
    cmocka_unit_test(no_allocation_in_the_loop),
};

MPI_TEST_MAIN(tests)
