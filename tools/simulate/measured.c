/* The computation, done: a planted problem of random signs, generated. */
#include "weak.h"

const int weak_simulated = 0;
const mxs_svd_route weak_svd = MXS_SVD_AUTO;

mxs_status weak_problem(MPI_Comm comm, const weak_case *what, mxs_problem **problem) {
  const mxs_problem_options options = {.k = what->k, .block_rows = what->block_rows};
  const mxs_plant plant = {.n1 = what->n,
                           .n2 = what->n,
                           .rank = 1,
                           .measurements = what->measurements,
                           .condition = 1.0,
                           .ensemble = MXS_ENSEMBLE_RADEMACHER};
  return mxs_problem_plant(comm, &plant, &options, problem);
}

void weak_replicated(const weak_case *what) {
  (void)what;
}
