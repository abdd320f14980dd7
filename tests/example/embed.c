/* The library in a program of one's own: a matrix is completed from 420 of its 600 entries, A_i =
 * e_p e_q^T. */
#include <mxsense/mxsense.h>

#include <math.h>
#include <stdio.h>

enum { N1 = 30, N2 = 20, M = 420, RANK = 2 };

/* Every measurement sees another entry (p, q), and all ranks agree which. */
static int64_t row(int64_t i) {
  return i * 379 % (N1 * N2) / N2;
}
static int64_t column(int64_t i) {
  return i * 379 % (N1 * N2) % N2;
}

static double entry(int64_t p, int64_t q) {
  return cos(0.7 * (double)p) * sin(1.1 * (double)q + 1.0) +
         0.5 * sin(1.9 * (double)p) * cos(2.3 * (double)q);
}

static mxs_status apply(
    void *self, int64_t first, int64_t count, mxs_cmat U, mxs_cmat V, double *z) {
  (void)self;
  for (int64_t i = 0; i < count; i++) {
    z[i] = 0.0;
    for (int64_t c = 0; c < U.cols; c++)
      z[i] += U.a[row(first + i) * U.ld + c] * V.a[column(first + i) * V.ld + c];
  }
  return MXS_OK;
}

static mxs_status adjoint_mul(void *self,
                              int64_t first,
                              int64_t count,
                              const double *w,
                              int transpose,
                              mxs_cmat B,
                              mxs_mat C) {
  (void)self;
  for (int64_t i = 0; i < count; i++) {
    const int64_t p = transpose ? column(first + i) : row(first + i);
    const int64_t q = transpose ? row(first + i) : column(first + i);
    for (int64_t c = 0; c < B.cols; c++)
      C.a[p * C.ld + c] += w[i] * B.a[q * B.ld + c];
  }
  return MXS_OK;
}

static mxs_status frobenius2(void *self, int64_t first, int64_t count, double *sum) {
  (void)self, (void)first;
  *sum = (double)count;
  return MXS_OK;
}

static mxs_status measurements(void *self, int64_t first, int64_t count, double *y) {
  (void)self;
  for (int64_t i = 0; i < count; i++)
    y[i] = entry(row(first + i), column(first + i));
  return MXS_OK;
}

int main(int argc, char **argv) {
  const mxs_op_table table = {
      .name = "entries", .apply = apply, .adjoint_mul = adjoint_mul, .frobenius2 = frobenius2};
  const mxs_problem_spec spec = {
      .n1 = N1, .n2 = N2, .m = M, .table = &table, .measurements = measurements};
  const mxs_problem_options options = {.k = RANK};
  mxs_solve_options how = mxs_solve_defaults();
  mxs_problem *problem = NULL;
  mxs_solver *solver = NULL;
  mxs_result result = {0};
  double worst = INFINITY;
  int rank = 0;
  MPI_Init(&argc, &argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  how.tolerance = 1e-10;
  mxs_status status = mxs_problem_create(MPI_COMM_WORLD, &spec, &options, &problem);
  if (status == MXS_OK)
    status = mxs_solver_create(problem, &how, &solver);
  if (status == MXS_OK)
    status = mxs_solver_run(solver, NULL, &result);
  if (status == MXS_OK) {
    mxs_cmat U, V;
    mxs_solver_factors(solver, 0, &U, &V);
    worst = 0.0;
    for (int64_t p = 0; p < N1; p++)
      for (int64_t q = 0; q < N2; q++)
        worst = fmax(worst, fabs(U.a[p * U.ld] * V.a[q * V.ld] +
                                 U.a[p * U.ld + 1] * V.a[q * V.ld + 1] - entry(p, q)));
    if (rank == 0)
      (void)printf("%s after %lld iterations, largest error of an entry %.1e\n",
                   mxs_reason_text(result.reason), (long long)result.iterations, worst);
  } else if (rank == 0) {
    (void)fprintf(stderr, "%s: %s\n", mxs_status_text(status), mxs_last_error());
  }
  mxs_solver_destroy(&solver);
  mxs_problem_destroy(&problem);
  MPI_Finalize();
  return !(worst < 1e-7);
}
