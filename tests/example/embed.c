/* The library inside another program: a measurement operator of one's own, A_i = a_i b_i^T, solved
 * on all ranks. */
#include <mxsense/mxsense.h>

#include <math.h>
#include <stdio.h>

enum { N1 = 14, N2 = 11, M = 700 };

typedef struct sketch {
  double a[M][N1], b[M][N2];
  double u[N1], v[N2];
} sketch;

/* Evenly distributed with variance 1: a pure function of its index, so all ranks agree. */
static double number(uint64_t index) {
  uint64_t x = index * 0x9e3779b97f4a7c15U + 1;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
  x ^= x >> 31;
  return ((double)(x >> 11) * 0x1p-53 - 0.5) * sqrt(12.0);
}

static double dot(const double *x, const double *y, int n) {
  double sum = 0;
  for (int i = 0; i < n; i++)
    sum += x[i] * y[i];
  return sum;
}

static mxs_status apply(
    void *self, int64_t first, int64_t count, mxs_cmat U, mxs_cmat V, double *z) {
  const sketch *s = self;
  for (int64_t i = 0; i < count; i++) {
    z[i] = 0;
    for (int64_t c = 0; c < U.cols; c++) {
      double left = 0, right = 0;
      for (int64_t p = 0; p < N1; p++)
        left += s->a[first + i][p] * U.a[p * U.ld + c];
      for (int64_t q = 0; q < N2; q++)
        right += s->b[first + i][q] * V.a[q * V.ld + c];
      z[i] += left * right;
    }
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
  const sketch *s = self;
  for (int64_t i = 0; i < count; i++) {
    const double *in = transpose ? s->a[first + i] : s->b[first + i];
    const double *out = transpose ? s->b[first + i] : s->a[first + i];
    for (int64_t c = 0; c < B.cols; c++) {
      double sum = 0;
      for (int64_t q = 0; q < B.rows; q++)
        sum += in[q] * B.a[q * B.ld + c];
      for (int64_t p = 0; p < C.rows; p++)
        C.a[p * C.ld + c] += w[i] * out[p] * sum;
    }
  }
  return MXS_OK;
}

static mxs_status measurements(void *self, int64_t first, int64_t count, double *y) {
  const sketch *s = self;
  for (int64_t i = first; i < first + count; i++)
    y[i - first] = dot(s->a[i], s->u, N1) * dot(s->b[i], s->v, N2);
  return MXS_OK;
}

static mxs_status frobenius2(void *self, int64_t first, int64_t count, double *sum) {
  const sketch *s = self;
  *sum = 0;
  for (int64_t i = first; i < first + count; i++)
    *sum += dot(s->a[i], s->a[i], N1) * dot(s->b[i], s->b[i], N2);
  return MXS_OK;
}

static mxs_status solve(sketch *s, mxs_result *result) {
  static const mxs_op_table table = {
      .name = "rank one", .apply = apply, .adjoint_mul = adjoint_mul, .frobenius2 = frobenius2};
  const mxs_problem_spec spec = {.n1 = N1,
                                 .n2 = N2,
                                 .m = M,
                                 .table = &table,
                                 .self = s,
                                 .measurements = measurements,
                                 .truth_U = mxs_cview(s->u, N1, 1),
                                 .truth_V = mxs_cview(s->v, N2, 1)};
  const mxs_problem_options options = {.k = 1};
  mxs_solve_options how = mxs_solve_defaults();
  how.tolerance = 1e-9;
  mxs_problem *problem = NULL;
  mxs_solver *solver = NULL;
  mxs_status status = mxs_problem_create(MPI_COMM_WORLD, &spec, &options, &problem);
  if (status == MXS_OK)
    status = mxs_solver_create(problem, &how, &solver);
  if (status == MXS_OK)
    status = mxs_solver_run(solver, NULL, result);
  mxs_solver_destroy(&solver);
  mxs_problem_destroy(&problem);
  return status;
}

int main(int argc, char **argv) {
  static sketch s;
  MPI_Init(&argc, &argv);
  for (int i = 0; i < M; i++) {
    for (int p = 0; p < N1; p++)
      s.a[i][p] = number((uint64_t)(i * 100 + p));
    for (int q = 0; q < N2; q++)
      s.b[i][q] = number((uint64_t)(i * 100 + 50 + q));
  }
  for (int p = 0; p < N1; p++)
    s.u[p] = number((uint64_t)(1000000 + p)) / sqrt(N1);
  for (int q = 0; q < N2; q++)
    s.v[q] = number((uint64_t)(2000000 + q)) / sqrt(N2);

  mxs_result result = {0};
  const mxs_status status = solve(&s, &result);
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  if (rank == 0 && status != MXS_OK)
    (void)fprintf(stderr, "%s: %s\n", mxs_status_text(status), mxs_last_error());
  if (rank == 0 && status == MXS_OK)
    (void)printf("%s after %lld iterations, error %.3g\n", mxs_reason_text(result.reason),
                 (long long)result.iterations, result.test_error);
  MPI_Finalize();
  return status != MXS_OK || !(result.test_error < 1e-7) || mxs_alloc_outstanding() != 0;
}
