/** @file
 *  Weak scaling of an iteration: what the driver (weak.c) asks of the computation, which is either
 *  simulated (simulated.c) or done (measured.c). */
#ifndef MXS_SIMULATE_WEAK_H
#define MXS_SIMULATE_WEAK_H

#include <mxsense/mxsense.h>

typedef struct weak_case {
  int64_t n, k,
      measurements;   /**< n x n matrices, factors of k columns, measurements of all ranks */
  int64_t block_rows; /**< 0: chosen by the library */
  int64_t iterations; /**< that are timed, after one that is not */
  double quantile;    /**< of their times: 0.5 the median, 0 the least */
  mxs_reduction reduction;
  int alone;            /**< every rank solves a problem of its own, all at once */
  double entries_per_s; /**< simulated: of a rank */
  double block_s;       /**< simulated: of a block, whatever its rows */
  double fixed_s;       /**< simulated: of an iteration, on every rank */
} weak_case;

/** 1: the seconds are simulated ones. */
extern const int weak_simulated;

/** How the start's singular values are found: untimed. */
extern const mxs_svd_route weak_svd;

/** The problem. `what` is borrowed and must outlive it. Collective. */
MXS_CHECKED mxs_status weak_problem(MPI_Comm comm, const weak_case *what, mxs_problem **problem);

/** What every rank does once in an iteration beside its measurements, where it is simulated.
 *  Local. */
void weak_replicated(const weak_case *what);

#endif
