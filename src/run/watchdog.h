/** @file
 *  A thread beside each rank that notices when a run makes no progress, names the ranks that do not
 *  answer, and shows other starts that this one is alive. Room `run`.
 *
 *  It communicates with those of other ranks by a file in the run directory, written only when
 *  something is wrong: MPI may be what hangs. A rank whose process is stopped, or whose host is
 * gone, leaves no line there. */
#ifndef MXS_RUN_WATCHDOG_H
#define MXS_RUN_WATCHDOG_H

#include "comm/comm.h"
#include "run/rundir.h"

typedef struct mxsi_watchdog mxsi_watchdog;

typedef struct mxsi_watchdog_options {
  const char *path;       /**< of the run directory; borrowed */
  const mxsi_rundir *dir; /**< on rank 0, for its signs of life; borrowed */
  double warning_s;       /**< warn after so long without a pass, or 10 times the longest if that is
                               longer */
  double limit_s; /**< end the process after so long since the last pass, with exit code 70; NaN:
                     never, but for a checkpoint that takes 300 s and 20 times the last one: 74 */
} mxsi_watchdog_options;

/** Start watching. Collective. */
MXS_CHECKED mxs_status mxsi_watchdog_start(const mxs_comm *comm,
                                           const mxsi_watchdog_options *options,
                                           mxsi_watchdog **out);

/** Stop watching; NULL-safe. Local. */
void mxsi_watchdog_stop(mxsi_watchdog **watchdog);

/** A pass begins. Local. @returns how long there had been no progress, if that was too long; else 0
 */
double mxsi_watchdog_beat(mxsi_watchdog *watchdog, int64_t iteration);

/** A checkpoint begins, or has ended. Local. */
void mxsi_watchdog_checkpoint(mxsi_watchdog *watchdog, int begins);

#endif
