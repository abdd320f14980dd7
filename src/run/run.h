/** @file
 *  A run directory: start or resume a solve there, own it, log, save, and tell how it ended. Room
 *  `run`. */
#ifndef MXS_RUN_RUN_H
#define MXS_RUN_RUN_H

#include "conf/settings.h"

#include <mpi.h>

/** Catch SIGUSR1, SIGUSR2 and SIGTERM, ignore SIGPIPE and SIGXFSZ (writing beyond a limit is an
 *  error, not an end), and open those of the descriptors 0 to 2 that are closed on /dev/null; the
 *  first act of main(), before MPI_Init. Local. */
void mxs_run_catch_signals(void);

/** Ask the scheduler when this job ends, for the setting max_walltime; on rank 0, before MPI_Init,
 *  since it may start a process (squeue). Local. */
void mxs_run_find_walltime(void);

/** Solve with these settings in directory `dir`: start there, or resume what is there. Collective;
 *  `settings` have passed mxs_settings_check(), and they and `dir` are the same on all ranks.
 *  `*exit_code` receives 0 (finished or nothing to do), 75 (stopped or out of time, checkpoint
 * written) or 76 (diverged); a status other than MXS_OK has its own exit code, and on 64-66, 69,
 * 73, 77 and 78 everything this call created is removed, unless it had begun to iterate. Errors are
 * returned, not printed. */
MXS_CHECKED mxs_status mxs_run_solve(MPI_Comm comm,
                                     const mxs_settings *settings,
                                     const char *dir,
                                     int *exit_code);

#endif
