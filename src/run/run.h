/** @file
 *  A run directory: start or resume a solve there, own it, log, save, and tell how it ended. Room
 *  `run`. */
#ifndef MXS_RUN_RUN_H
#define MXS_RUN_RUN_H

#include "comm/comm.h"
#include "conf/settings.h"

#include <jansson.h>
#include <mpi.h>

/** Catch SIGUSR1, SIGUSR2 and SIGTERM, ignore SIGPIPE and SIGXFSZ (writing beyond a limit is an
 *  error, not an end), and open those of the descriptors 0 to 2 that are closed on /dev/null; the
 *  first act of main(), before MPI_Init. Local. */
void mxs_run_catch_signals(void);

/** Ask the scheduler when this job ends, for the setting max_walltime; on rank 0, before MPI_Init,
 *  since it may start a process (squeue). Local. */
void mxs_run_find_walltime(void);

/** Tell all ranks what rank 0 found, for runs whose rank 0 is another. Collective. */
void mxs_run_share_walltime(const mxs_comm *comm);

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

/** A run as a part of a larger job; all zero: it is all there is. */
typedef struct mxs_run_part {
  double began; /**< mxs_clock() from which max_walltime counts; 0: from the call */
  int within;   /**< it is one of many: warnings go to log.txt, not to standard error, and less is
                     forced to the disk each on its own */
  int (*stop)(void *ctx); /**< on rank 0, several times a second while it iterates: whether it is to
                                stop with a checkpoint; NULL: nobody is asked */
  void *ctx;
} mxs_run_part;

/** As mxs_run_solve(). Collective; `part->stop` is called on rank 0 only. */
MXS_CHECKED mxs_status mxs_run_solve_part(MPI_Comm comm,
                                          const mxs_settings *settings,
                                          const char *dir,
                                          const mxs_run_part *part,
                                          int *exit_code);

/** Whether a signal asked this process to stop; for ever, once it did. Local. */
int mxs_run_stop_wanted(void);

/** Whether a process of this host has ended, also where nobody has asked for its end yet. Local. */
int mxs_run_process_is_gone(long pid);

/** Seconds until a job that began at mxs_clock() `began` has to end, by its max_walltime (NaN: by
 *  the scheduler, as far as rank 0 was told); INFINITY: it need not. Local. */
double mxs_run_time_left(double max_walltime, double began);

/** What `dir`/summary.json says, released with json_decref(); NULL: there is none. Local. */
json_t *mxs_run_summary(const char *dir);

/** Whether a reason that a summary gives is that of an end: neither stopped nor failed. Local. */
int mxs_run_is_end(const char *reason);

#endif
