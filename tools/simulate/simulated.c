/* The computation, simulated: A_i = +-1 1^T / n, whose products cost next to nothing, stands in for
 * a generated ensemble of the same shape; on the matrices 1 1^T it is an isometry, as that would
 * be, so that gradient descent runs on with the step it would have. It lets the clock of the
 * simulation run as long as the visits to the ensemble's entries would take, by rates measured
 * elsewhere. All else is the library's own, at no cost on the clock but for what weak_replicated()
 * charges. */
#include "weak.h"

#include <smpi/smpi.h>

const int weak_simulated = 1;
const mxs_svd_route weak_svd = MXS_SVD_RANDOMIZED;

static double sign(int64_t i) {
  return (i * 2654435761 >> 7) % 2 == 0 ? 1.0 : -1.0;
}

static double column_sum(mxs_cmat F, int64_t c) {
  double sum = 0.0;
  for (int64_t i = 0; i < F.rows; i++)
    sum += F.a[i * F.ld + c];
  return sum;
}

/* A block is visited once in each direction; its time is charged at the first. */
static mxs_status apply(
    void *self, int64_t first, int64_t count, mxs_cmat U, mxs_cmat V, double *z) {
  const weak_case *what = self;
  double sum = 0.0;
  for (int64_t c = 0; c < U.cols; c++)
    sum += column_sum(U, c) * column_sum(V, c);
  for (int64_t i = 0; i < count; i++)
    z[i] = sign(first + i) * sum / (double)what->n;
  smpi_execute(what->block_s +
               (double)count * (double)what->n * (double)what->n / what->entries_per_s);
  return MXS_OK;
}

static mxs_status adjoint_mul(void *self,
                              int64_t first,
                              int64_t count,
                              const double *w,
                              int transpose,
                              mxs_cmat B,
                              mxs_mat C) {
  double sum = 0.0;
  (void)self, (void)transpose;
  for (int64_t i = 0; i < count; i++)
    sum += w[i] * sign(first + i) / (double)B.rows;
  for (int64_t c = 0; c < B.cols; c++) {
    const double value = sum * column_sum(B, c);
    for (int64_t i = 0; i < C.rows; i++)
      C.a[i * C.ld + c] += value;
  }
  return MXS_OK;
}

/* y of X* = 1 1^T / n. */
static mxs_status measurements(void *self, int64_t first, int64_t count, double *y) {
  (void)self;
  for (int64_t i = 0; i < count; i++)
    y[i] = sign(first + i);
  return MXS_OK;
}

mxs_status weak_problem(MPI_Comm comm, const weak_case *what, mxs_problem **problem) {
  static const mxs_op_table table = {
      .name = "simulated", .apply = apply, .adjoint_mul = adjoint_mul};
  const mxs_problem_options options = {.k = what->k, .block_rows = what->block_rows};
  const mxs_problem_spec spec = {.n1 = what->n,
                                 .n2 = what->n,
                                 .m = what->measurements,
                                 .table = &table,
                                 .self = (void *)(uintptr_t)what,
                                 .measurements = measurements};
  return mxs_problem_create(comm, &spec, &options, problem);
}

void weak_replicated(const weak_case *what) {
  smpi_execute(what->fixed_s);
}
