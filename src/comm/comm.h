/** @file
 *  The communicator of a problem: agreement on a status, equality checks, small reductions. Room
 *  `comm`. */
#ifndef MXS_COMM_COMM_H
#define MXS_COMM_COMM_H

#include "mxsense/base.h"

#include <mpi.h>

typedef struct mxs_comm {
  MPI_Comm mpi; /**< a duplicate, ours alone */
  int rank, size;
} mxs_comm;

/** Duplicate the caller's communicator. Collective. */
MXS_CHECKED mxs_status mxs_comm_create(MPI_Comm mpi, mxs_comm **out);

/** Free and set to NULL; NULL-safe. Collective. */
void mxs_comm_destroy(mxs_comm **comm);

/** Turn local statuses into one. Collective: all ranks return the status of the lowest failing
 *  rank, with its error text, prefixed by "[rank r] " when more than one rank takes part. MXS_OK if
 *  none failed. One small allreduce. */
MXS_CHECKED mxs_status mxs_comm_agree(const mxs_comm *comm, mxs_status status);

/** Compare a 64-bit digest over the ranks. Collective.
 *  @retval MXS_ERR_MISMATCH they differ; the text says `what` does and names the first rank that
 *  disagrees with rank 0 */
MXS_CHECKED mxs_status mxs_comm_same(const mxs_comm *comm,
                                     uint64_t digest,
                                     const char *what,
                                     const char *remedy);

/** Check that all ranks hold the same state, by its 64-bit digest. Collective; one allreduce of two
 *  words while they do.
 *  @retval MXS_ERR_CORRUPT they do not; the text names the rank and host that is alone with its
 *  state, or else the first two that differ */
MXS_CHECKED mxs_status mxs_comm_replicated(const mxs_comm *comm, uint64_t digest);

/** Broadcast `bytes` bytes from rank `root`, in pieces where they exceed MPI's counts. Collective.
 */
void mxs_comm_bcast(const mxs_comm *comm, void *data, int64_t bytes, int root);

/** Sum and maximum over the ranks of one integer (the sum wraps modulo 2^64). Collective. */
int64_t mxs_comm_sum(const mxs_comm *comm, int64_t value);
int64_t mxs_comm_max(const mxs_comm *comm, int64_t value);

/** Minimum, mean and maximum of a number over the ranks. Collective. */
typedef struct mxs_spread {
  double min, mean, max;
} mxs_spread;
mxs_spread mxs_comm_spread(const mxs_comm *comm, double value);

#endif
