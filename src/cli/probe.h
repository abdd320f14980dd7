/** @file
 *  Short measurements on this machine, for `mxsense check`. Room `cli`. */
#ifndef MXS_CLI_PROBE_H
#define MXS_CLI_PROBE_H

#include "comm/comm.h"
#include "mxsense/solve.h"

/** What an iteration will be like. */
typedef struct mxs_probe_shape {
  int64_t n1, n2, k;
  int64_t m;    /**< measurements in the problem */
  int64_t rows; /**< most measurements that a rank visits in an iteration */
  mxs_ensemble ensemble;
  mxs_storage storage; /**< F64 or F32: of a dense A in memory */
  mxs_reduction reduction;
} mxs_probe_shape;

typedef struct mxs_probe_result {
  int64_t sample;       /**< measurements of the sample, on all ranks */
  double seconds;       /**< predicted, of an iteration */
  double compute_s;     /**< of it, the slowest rank's own work */
  double reduce_s;      /**< of it, the allreduce */
  double bytes_per_s;   /**< A read by all ranks together; 0 for a generated ensemble */
  double entries_per_s; /**< entries of A visited by all ranks together */
} mxs_probe_result;

/** Time the solver's own pass over a sample of the problem's shape on all ranks, and scale it to
 *  the problem. Takes a second or so, and at most 256 MB per rank beside the workspace of a solve.
 *  Collective. */
MXS_CHECKED mxs_status mxs_probe_iteration(const mxs_comm *comm,
                                           const mxs_probe_shape *shape,
                                           mxs_probe_result *out);

typedef struct mxs_probe_io {
  double bytes;
  double write_s; /**< written, read back, compared, forced to the disk and published */
  double read_s;
} mxs_probe_io;

/** Write a checkpoint with factors n1 x k and n2 x k, or larger ones where these are too small to
 *  tell a rate, in a new directory below `dir`, read it, compare, and remove both. Collective.
 *  @retval MXS_ERR_INPUT no such directory  @retval MXS_ERR_PERMISSION not writable  @retval
 *  MXS_ERR_IO it failed */
MXS_CHECKED mxs_status mxs_probe_checkpoint(
    const mxs_comm *comm, const char *dir, int64_t n1, int64_t n2, int64_t k, mxs_probe_io *out);

#endif
