#include "bench/bench.h"

#include <stdlib.h>
#include <string.h>

enum { LEAST_REPEATS = 3, MOST_REPEATS = 101, MOST_WORKS = 4 };

/* A rank that fails goes on to the agreement with the others. */
static mxs_status once(const mxs_comm *comm, const mxs_bench_work *work, double *seconds) {
  MPI_Barrier(comm->mpi);
  const double begin = MPI_Wtime();
  const mxs_status status = work->run(work->ctx);
  double most[2] = {MPI_Wtime() - begin, status != MXS_OK ? 1.0 : 0.0};
  MPI_Allreduce(MPI_IN_PLACE, most, 2, MPI_DOUBLE, MPI_MAX, comm->mpi);
  *seconds = most[0];
  return most[1] > 0.0 ? mxs_comm_agree(comm, status) : MXS_OK;
}

static int ascending(const void *a, const void *b) {
  const double *x = a;
  const double *y = b;
  return (*x > *y) - (*x < *y);
}

mxs_status mxs_bench_repeat(const mxs_comm *comm,
                            const mxs_bench_work *works,
                            int count,
                            double seconds,
                            mxs_bench_time *times) {
  double taken[MOST_WORKS][MOST_REPEATS];
  double ignored = 0.0;
  double spent = 0.0; /* the same on all ranks, as are the times */
  int64_t repeats = 0;
  if (count > MOST_WORKS)
    return mxs_fail(MXS_ERR_ARG, "%d works are more than %d", count, (int)MOST_WORKS);
  for (int i = 0; i < count; i++)
    MXS_TRY(once(comm, &works[i], &ignored));
  while (repeats < LEAST_REPEATS || (repeats < MOST_REPEATS && spent < seconds)) {
    for (int i = 0; i < count; i++) {
      MXS_TRY(once(comm, &works[i], &taken[i][repeats]));
      spent += taken[i][repeats];
    }
    repeats++;
  }
  for (int i = 0; i < count; i++) {
    qsort(taken[i], (size_t)repeats, sizeof taken[i][0], ascending);
    times[i] = (mxs_bench_time){taken[i][0], taken[i][repeats / 2], repeats};
  }
  return MXS_OK;
}
