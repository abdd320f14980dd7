/** @file
 *  Parts of a run that only run.c wires together: requests, log, metrics file, progress, summary.
 *  Room `run`. All Local; what writes does so on rank 0 only (`root` is set there). */
#ifndef MXS_RUN_RUN_IMPL_H
#define MXS_RUN_RUN_IMPL_H

#include "base/clock.h"
#include "bench/machine.h"
#include "ckpt/ckpt.h"
#include "comm/comm.h"
#include "conf/settings.h"
#include "run/run.h"
#include "run/rundir.h"
#include "run/screen.h"
#include "run/watchdog.h"

#include <jansson.h>

/* ---- signals.c ----------------------------------------------------------------------------- */

/** The signal that asked this process to stop; 0: none. */
int mxsi_signal_stop(void);

/** Whether SIGUSR2 came since the last call. */
int mxsi_signal_take_checkpoint(void);

/** "SIGUSR1", "SIGUSR2", "SIGTERM". */
const char *mxsi_signal_name(int number);

/* ---- log.c --------------------------------------------------------------------------------- */

/** Standard output and its copy in log.txt. Until the run may leave files in its directory, the
 *  copy is kept in memory. */
typedef struct mxsi_log {
  int root;
  mxs_screen screen;
  int warnings_in_copy; /**< warnings are lines of the copy too, and go nowhere else */
  FILE *copy;
  char *pending; /**< of `copy` while it is in memory */
  size_t pending_size;
  const mxsi_rundir *dir; /**< whose files are written; NULL while the copy is in memory */
  int failed;             /**< log.txt or events.jsonl could not be written: errno */
  FILE *events;
  const mxsi_owner *owner;
} mxsi_log;

typedef enum mxsi_where { MXSI_BOTH, MXSI_COPY_ONLY } mxsi_where;

MXS_CHECKED mxs_status mxsi_log_begin(mxsi_log *log,
                                      int root,
                                      const mxs_settings *settings,
                                      const mxsi_owner *owner);

/** From now on the copy is DIR/log.txt, appended, and events go to DIR/events.jsonl, as long as the
 *  directory is ours. */
MXS_CHECKED mxs_status mxsi_log_open(mxsi_log *log, const mxsi_rundir *dir);

/** Close what is open, on the disk; may be called again. @retval MXS_ERR_IO a line could not be
 *  written */
mxs_status mxsi_log_close(mxsi_log *log, const mxsi_rundir *dir);

/** One line, given without its newline. */
void mxsi_log_line(mxsi_log *log, mxsi_where where, const char *format, ...) MXS_PRINTF(3, 4);

/** `mxsense: warning: ...` on standard error; or a line of the copy. */
void mxsi_log_warn(mxsi_log *log, const char *format, ...) MXS_PRINTF(2, 3);

/** Append an event; `more` (further members) is consumed and may be NULL. */
void mxsi_log_event(mxsi_log *log, const char *event, int64_t iteration, json_t *more);

/* ---- csv.c --------------------------------------------------------------------------------- */

/** Write DIR/metrics.csv with the rows so far and leave it open for more. */
MXS_CHECKED mxs_status mxsi_csv_open(const mxsi_rundir *dir,
                                     const mxs_history *history,
                                     FILE **file);

/** Append a row and hand it to the system. */
MXS_CHECKED mxs_status mxsi_csv_row(const mxsi_rundir *dir,
                                    FILE *file,
                                    const double *row,
                                    int64_t columns);

/* ---- progress.c ---------------------------------------------------------------------------- */

enum { MXSI_TABLE_FIELDS = 8 };

/** A row of the metrics, as far as the table shows it. */
typedef struct mxsi_table_row {
  int64_t iteration;
  double loss, grad_norm, test_error, validation_loss, phase, seconds, step, residual;
} mxsi_table_row;

/** The table of the log, thinned, and the live line of a terminal. */
typedef struct mxsi_progress {
  mxsi_log *log;
  int verbose;
  int64_t max_iterations;
  double tolerance;
  int64_t column[MXSI_TABLE_FIELDS]; /**< where the fields of mxsi_table_row are in a row; -1:
                                        nowhere */
  int has_test, has_validation;
  mxsi_table_row row; /**< the last one */
  int64_t rows;       /**< so far */
  int shown;          /**< it was shown */
  double shown_at, live_at, started_at;
  int64_t running;                 /**< of many replicas; 0: there is one */
  double rate_time, rate_residual; /**< where the rate is measured from */
  int64_t rate_iteration;
  int64_t first, iteration; /**< of the first and the last pass of this process; -1: none yet */
  double loss, relative_residual;
  int automatic;     /**< the method is auto, which ends nobody knows when */
  const char *stage; /**< of it */
  int64_t rank;
} mxsi_progress;

/** Index of a name, -1: not there. */
int64_t mxsi_find_name(const char *const *names, int64_t count, const char *name);

void mxsi_progress_begin(mxsi_progress *progress,
                         mxsi_log *log,
                         const mxs_settings *settings,
                         const char *const *names,
                         int64_t columns);
void mxsi_progress_row(mxsi_progress *progress, const double *row);
void mxsi_progress_pass(mxsi_progress *progress,
                        int64_t iteration,
                        double loss,
                        double relative_residual);

/** Whether the table should show what came last: it is thinned. */
int mxsi_progress_is_due(const mxsi_progress *progress, double now);

/** A line of the table. */
void mxsi_progress_put(mxsi_progress *progress, const char *line);

/** Show the last row if it was not. */
void mxsi_progress_end(mxsi_progress *progress);

/* ---- summary.c ----------------------------------------------------------------------------- */

/** Where the time of this process went, over the ranks. */
typedef struct mxsi_timings {
  mxs_spread load, compute, reduce, metrics, checkpoint; /**< seconds */
  mxs_spread inner;     /**< seconds of least squares of gauss_newton, sums over ranks included */
  mxs_spread generate;  /**< of compute: making entries of A; 0 where A is stored */
  double wall;          /**< seconds on rank 0 */
  int64_t passes;       /**< one per iteration */
  double visits;        /**< passes over A: that of the start too */
  int64_t reduce_bytes; /**< of one iteration */
  mxs_spread entries_s; /**< entries of A that a rank visited per second of compute */
  mxs_spread bytes_s;   /**< the same in bytes; 0 where A is not stored */
  double limit;         /**< bytes per second of a plain read of A, per rank; NaN: not measured */
  const char *path;     /**< the operator's kernel */
} mxsi_timings;

/** Rate of reading A over its limit, NaN where there is none. */
double mxsi_fraction_of_limit(const mxsi_timings *timings);

/** Replace DIR/summary.json; `k` are the columns of the factors. */
MXS_CHECKED mxs_status mxsi_summary_write(const mxsi_rundir *dir,
                                          const char *reason,
                                          const mxs_result *result,
                                          const mxsi_timings *timings,
                                          const mxs_machine *machine,
                                          int64_t k);

/** The same for many replicas: `result` is the outcome of all, and the member `replicas` tells of
 *  each of the `count` ones what `settings` set and `results` came to. */
MXS_CHECKED mxs_status mxsi_summary_write_all(const mxsi_rundir *dir,
                                              const mxs_result *result,
                                              const mxsi_timings *timings,
                                              const mxs_machine *machine,
                                              const mxs_settings *settings,
                                              const mxs_result *results,
                                              int64_t count);

/** What DIR/summary.json says; 0 if it cannot be read. */
int mxsi_summary_read(const mxsi_rundir *dir,
                      char reason[16],
                      int64_t *iterations,
                      double *relative_residual);

/* ---- a run --------------------------------------------------------------------------------- */

/** A trajectory of a run. */
typedef struct mxsi_replica {
  char *path;      /**< DIR/replica_<r>; NULL where there is one, whose files are in DIR */
  mxsi_rundir dir; /**< open while files are made in it; that of the run where there is one */
  FILE *csv;       /**< NULL: opened for every row */
  const int64_t *iteration; /**< in the state of the solver */
  /* For what the log tells of many: */
  int64_t last_pass, row_iteration; /**< iteration of its last pass and row */
  double residual, test_error;      /**< of that row */
  int told;                         /**< its end was told */
} mxsi_replica;

/** A pass of many replicas, for a line of the log. */
typedef struct mxsi_sweep {
  int64_t iteration, running;
  double worst, best, best_test_error; /**< relative residuals, and where the truth is known */
  double seconds;
  double residual_of_loss; /**< relative residual / sqrt(loss): the same for all */
  int due;                 /**< it had rows of the cadence */
} mxsi_sweep;

typedef struct mxsi_run {
  mxs_comm *comm;
  int root;
  mxs_settings settings; /**< the caller's with k and replicas resolved; strings are borrowed */
  int k_given;
  double noise_std; /**< set, or that of the problem file; NaN: not known */
  const char *path;
  const mxs_run_part *part;
  mxsi_owner owner;
  char tag[256]; /**< of temporary files: this job and start, the same on all ranks */
  mxsi_rundir dir;
  mxsi_log log;
  mxs_machine machine;
  char *config; /**< echo of `settings` */
  mxs_ckpt *resumed;
  char resumed_name[64]; /**< its name in the directory; another than checkpoint.h5: that is bad */
  mxs_problem *problem;
  mxs_problem_info info;
  double *start; /**< factors of the file that `init` names: U, then V */
  mxs_solver *solver;
  mxsi_watchdog *watchdog;
  int64_t replicas; /**< 0 until k is resolved */
  mxsi_replica *replica;
  mxs_history *histories; /**< one for each */
  mxs_result *results;    /**< one for each */
  mxsi_sweep sweep;
  mxsi_progress progress;
  int fresh;     /**< the directory had no run before */
  int committed; /**< files of this run are in the directory */
  int iterated;  /**< a pass was made: from here on nothing is undone */
  int failures;  /**< checkpoints that failed since the last good one */
  int rollbacks; /**< since the last good one */
  int ended;     /**< the files tell how the run ended */
  int history_failed;
  mxs_status
      trouble; /**< of this rank in a place that cannot return it; ends the run at the next poll */
  char trouble_text[1024];
  int64_t saved_iteration;
  double saved_at, stop_looked_at, began_at, load_s;
  double save_s;     /**< what the last checkpoint took */
  double time_up_at; /**< when this start must have ended; INFINITY: it need not */
  double polled_at;  /**< the last poll; 0: none yet */
  double pass_s;     /**< from a poll to the next, the longest of the last ones */
  int saved;         /**< this start has written one */
  int spaced;        /**< told that checkpoints are further apart than asked for */
  double limit;      /**< mxsi_profile_limit() */
  int stop_file, stop_asked, signal_told;
} mxsi_run;

/** Resolve k, look for a checkpoint, load the problem, and bring the solver to where the run goes
 *  on. `*nothing_to_do` is set when the run there has met its target. Writes nothing. Collective.
 */
MXS_CHECKED mxs_status mxsi_run_prepare(mxsi_run *run, int *nothing_to_do);

/** Bring the run back to its last checkpoint, or to its start where there is none yet: a new solver
 *  on the problem that is loaded. Writes nothing. Collective. */
MXS_CHECKED mxs_status mxsi_run_roll_back(mxsi_run *run);

/** Read the factors that `init` names into run->start. Collective.
 *  @retval MXS_ERR_DATA shapes are not n1 x k and n2 x k */
MXS_CHECKED mxs_status mxsi_run_read_start(mxsi_run *run, const char *path);

/* ---- replicas.c: the trajectories of a run and their files ---------------------------------- */

/** Room for settings.replicas of them. Local, on all ranks. */
MXS_CHECKED mxs_status mxsi_replicas_create(mxsi_run *run);
void mxsi_replicas_destroy(mxsi_run *run);

/** Find columns and iterations in the solver. Local, on all ranks. */
void mxsi_replicas_attach(mxsi_run *run);

/** Iterations of the one that has most. */
int64_t mxsi_replicas_furthest(const mxsi_run *run);

/** Whether each one's last end, as its summary tells it, is one for the settings of now too. */
int mxsi_replicas_met(const mxsi_run *run);

/** Make directories and metrics.csv with the histories, and leave the files open for more. */
MXS_CHECKED mxs_status mxsi_replicas_open(mxsi_run *run);
MXS_CHECKED mxs_status mxsi_replicas_row(mxsi_run *run, int64_t replica, const double *row);

/** Bring all of metrics.csv to the disk and close it. */
mxs_status mxsi_replicas_close(mxsi_run *run);

/** Close what is open, whatever becomes of it. */
void mxsi_replicas_drop(mxsi_run *run);

/** Remove files and directories of many. */
void mxsi_replicas_undo(mxsi_run *run);

/** Write summary.json of each of many. */
MXS_CHECKED mxs_status mxsi_replicas_summaries(mxsi_run *run, const mxsi_timings *timings);

/** How all ended: figures of the `best`, by relative residual, or where `stop` is validation by
 *  held-out loss, and the largest counts. */
mxs_result mxsi_replicas_outcome(const mxsi_run *run, int64_t *best);

/* ---- sweep.c: what the log says of many ------------------------------------------------------ */

/** The table of what they differ in. */
void mxsi_sweep_list(mxsi_run *run);

void mxsi_sweep_begin(mxsi_run *run);
void mxsi_sweep_pass(
    mxsi_run *run, int64_t iteration, int64_t running, double loss, double relative_residual);
void mxsi_sweep_row(mxsi_run *run, int64_t replica, const double *row);

/** The table of how they ended, and a warning that names those that diverged, if not all. */
void mxsi_sweep_end(mxsi_run *run);

/** What the log says before the problem is loaded, and before and after the iterations. Local, on
 *  all ranks. */
void mxsi_report_load(mxsi_run *run);
void mxsi_report_begin(mxsi_run *run, double memory_bytes);
void mxsi_report_end(mxsi_run *run,
                     const mxs_result *result,
                     int64_t best,
                     const mxsi_timings *timings);

/** Bytes per second at which a rank reads its rows of A when all do; NaN where A is not stored or
 *  some rank has too little of it to tell. Takes a tenth of a second. Collective. */
MXS_CHECKED mxs_status mxsi_profile_limit(mxsi_run *run);

/** Collective. */
mxsi_timings mxsi_profile_gather(const mxsi_run *run);

/* ---- walltime.c ----------------------------------------------------------------------------- */

/** Find out when this start has to end: run->time_up_at. */
void mxsi_walltime_begin(mxsi_run *run);

/** A first guess at what a checkpoint of `bytes` bytes takes. */
void mxsi_walltime_state(mxsi_run *run, double bytes);

/** Whether there is no time for another pass, a checkpoint and the end; asked before each pass. */
int mxsi_walltime_is_up(mxsi_run *run, double now);

/** Callbacks of the solver. */
mxs_hooks mxsi_run_hooks(mxsi_run *run);

#endif
