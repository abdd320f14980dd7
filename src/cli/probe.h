/** @file
 *  Untrusted files are parsed by a process of their own first. Room `cli`.
 *
 *  HDF5 may crash, loop or eat all memory on a damaged or hostile file. A short-lived child of rank
 * 0, made before MPI_Init and held by limits, goes through what the job is going to read. A file
 * that it does not survive is refused from then on: opening it fails with MXS_ERR_DATA, as any bad
 * file does, and goes the same way: all ranks leave with one message, and a run falls back to its
 * checkpoint before. */
#ifndef MXS_CLI_PROBE_H
#define MXS_CLI_PROBE_H

#include "cli/setup.h"

/** Probe a file, or the checkpoints in a run directory; what is neither is left to whoever opens
 * it. Rank 0, before MPI_Init; nothing on the others. `path` may be NULL. Local. @retval
 * MXS_ERR_MEMORY */
MXS_CHECKED mxs_status mxs_cli_probe(const mxs_cli_session *session, const char *path);

/** Probe what a command with settings will read: the problem and the file of the start. `fields` as
 * in mxs_cli_settings(), left with any contents: no string in it stays where it was. Settings that
 * cannot be read are left to mxs_cli_settings(). Local. */
MXS_CHECKED mxs_status mxs_cli_probe_settings(const mxs_cli_session *session,
                                              const mxs_table *table,
                                              const mxs_cli_args *args,
                                              void *fields);

#endif
