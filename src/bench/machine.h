/** @file
 *  Where and with what a program computes: the fingerprint of everything that is measured. Room
 *  `bench`. */
#ifndef MXS_BENCH_MACHINE_H
#define MXS_BENCH_MACHINE_H

#include "comm/comm.h"

#include <jansson.h>

typedef struct mxs_machine {
  int ranks;
  int64_t hosts, ranks_per_host; /**< of the host with the most */
  int64_t cores; /**< processors that the ranks of a host may use, of the host with the fewest */
  int64_t cores_per_rank; /**< that a rank may use, of the rank with the fewest; 0: not known */
  int64_t cache_bytes;    /**< last-level cache of this rank's processor; 0: not known */
  char cpu[128], mpi[128], hdf5[32], blas[128], blas_kernel[64];
} mxs_machine;

/** Collective. */
void mxs_machine_find(const mxs_comm *comm, mxs_machine *machine);

/** As JSON: the machine, and the build that ran on it. Local. */
json_t *mxs_machine_json(const mxs_machine *machine);
json_t *mxs_machine_build_json(const mxs_machine *machine);

#endif
