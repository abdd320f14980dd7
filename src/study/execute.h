/** @file
 *  Inside of a study: running its passes and telling of them. Room `study`. */
#ifndef MXS_STUDY_EXECUTE_H
#define MXS_STUDY_EXECUTE_H

#include "comm/comm.h"
#include "run/screen.h"
#include "study/study_impl.h"

#include <stdio.h>

/* ---- place.c: the directory; all Local ------------------------------------------------------ */

/** Make DIR, and in it problems, runs and points, as far as they are not there, replace
 *  DIR/study.yaml if it differs, and remove what processes that are gone left unfinished.
 *  @retval MXS_ERR_CREATE not a directory, or not empty and not of a study  @retval
 *  MXS_ERR_PERMISSION */
MXS_CHECKED mxs_status mxsi_place_make(const mxs_study *study, const char *dir);

/** DIR/problems/<hash>.h5, or the file that the study names; released with mxs_release(). */
MXS_CHECKED mxs_status mxsi_place_problem(const mxs_study *study,
                                          const char *dir,
                                          const mxsi_pass *pass,
                                          char **path);

/** DIR/runs/<hash>; released with mxs_release(). */
MXS_CHECKED mxs_status mxsi_place_run(const char *dir, const mxsi_pass *pass, char **path);

/** DIR/points/<hash>: the place of a point that was solved with others, a link to
 *  ../runs/<hash>/replica_<r>; released with mxs_release(). */
MXS_CHECKED mxs_status mxsi_place_point(const char *dir, const mxsi_point *point, char **path);

/** Make these links for the points of a pass that has ended. */
MXS_CHECKED mxs_status mxsi_place_link(const mxs_study *study,
                                       const char *dir,
                                       const mxsi_pass *pass);

/** A name beside `path` that no other process has; released with mxs_release(). */
MXS_CHECKED mxs_status mxsi_place_temporary(const char *path, char **temporary);

/** Bring a temporary file to the disk and rename it to `path`; removes it where that fails. */
MXS_CHECKED mxs_status mxsi_place_publish(const char *temporary, const char *path);

/** Whether there is something of this name. */
int mxsi_place_has(const char *path);

/** Whether somebody asks all that works here to stop: DIR/STOP. */
int mxsi_place_is_stopped(const char *dir);
void mxsi_place_obeyed(const char *dir);

/* ---- plant.c -------------------------------------------------------------------------------- */

/** Plant the problem of a point at `path` unless there is one. Collective. */
MXS_CHECKED mxs_status mxsi_study_plant(const mxs_comm *comm,
                                        const mxs_study *study,
                                        const mxsi_point *point,
                                        const char *path);

/* ---- outcome.c ------------------------------------------------------------------------------ */

enum { MXSI_REASON = 16 };

/** How a pass, or a point, ended. */
typedef struct mxsi_outcome {
  char reason[MXSI_REASON]; /**< "mixed": its points ended for different reasons */
  int64_t iterations;       /**< most of its points */
  double test_error;        /**< median of its points; NaN: none */
} mxsi_outcome;

/** Read the summary in a directory; 0: there is none, or it is not that of an end. Local. */
int mxsi_outcome_read(const char *dir, mxsi_outcome *outcome);

/** Set done[i] of the points that have ended: in the run of their pass, in one of their own, or,
 *  where points may be packed, in one with others. Local. */
MXS_CHECKED mxs_status mxsi_outcome_find(const mxs_study *study, const char *dir, uint8_t *done);

/* ---- progress.c: what is printed, by rank 0; all Local --------------------------------------- */

typedef struct mxsi_report {
  mxs_screen screen;
  const mxs_study *study;
  int quiet;
  int done_width, what_width;
  int64_t points, before, done; /**< of this part */
  double began;
} mxsi_report;

/** The first lines, for `to_come` passes. */
void mxsi_report_open(mxsi_report *report,
                      const mxs_study *study,
                      const mxs_study_options *options,
                      const mxsi_pass *passes,
                      int64_t to_come);
void mxsi_report_pass(mxsi_report *report,
                      const mxsi_pass *pass,
                      const mxsi_outcome *outcome,
                      double seconds);
void mxsi_report_close(mxsi_report *report);

/* ---- groups.c ------------------------------------------------------------------------------- */

/** A study while it runs, on each rank. */
typedef struct mxsi_job {
  const mxs_study *study;
  const mxs_study_options *options;
  const mxs_comm *world;
  double began;
  int64_t passes;
  mxsi_pass *pass;       /**< to come, the same on all ranks: without the points that have ended */
  mxsi_report report;    /**< of rank 0 */
  int stop;              /**< this group is to stop */
  int stop_file;         /**< rank 0: because of DIR/STOP */
  int64_t groups, size;  /**< of the ranks that work now */
  int64_t ended;         /**< rank 0: groups that have told that they are through */
  int ordered;           /**< this leader has its order */
  int orders[2];         /**< rank 0: what is sent */
  uint8_t *sent;         /**< rank 0: [groups] has its order */
  MPI_Request *requests; /**< rank 0: [groups] of the orders */
} mxsi_job;

/** Whether pass `index` is for this process. */
static inline int mxsi_pass_is_mine(const mxs_study_options *options, int64_t index) {
  return index % options->parts == options->part - 1;
}

/** Ranks that a pass works on, of `world` ranks. */
int64_t mxsi_pass_ranks(const mxs_study_options *options, const mxsi_pass *pass, int world);

/** Run all passes of `ranks` ranks that have not ended. job->stop tells whether it was stopped.
 *  Collective over the world. */
MXS_CHECKED mxs_status mxsi_groups_run(mxsi_job *job, int64_t ranks);

/** Run a pass. `*code` is that of mxs_run_solve(). Collective over its group. */
MXS_CHECKED mxs_status mxsi_pass_run(mxsi_job *job,
                                     const mxs_comm *group,
                                     const mxsi_pass *pass,
                                     int *code);

/** Asked while a pass iterates: `ctx` is a mxsi_job. Local, on the first rank of a group. */
int mxsi_groups_poll(void *ctx);

/* ---- table.c: columns of numbers and text; all Local ----------------------------------------- */

typedef enum mxsi_kind { MXSI_INTEGER, MXSI_REAL, MXSI_TEXT } mxsi_kind;

enum { MXSI_SERIES_NAME = 64 };

typedef struct mxsi_series {
  char name[MXSI_SERIES_NAME];
  mxsi_kind kind;
  int64_t *integers;  /**< INT64_MIN: missing */
  double *reals;      /**< NaN: missing */
  const char **texts; /**< NULL: missing */
} mxsi_series;

typedef struct mxsi_table {
  int64_t rows, count, capacity;
  mxsi_series *series;
  int64_t texts, text_capacity;
  char **text; /**< that the columns point at */
} mxsi_table;

/** Add a column with all missing, and give its index. */
MXS_CHECKED mxs_status mxsi_table_add(mxsi_table *table,
                                      const char *name,
                                      mxsi_kind kind,
                                      int64_t *column);

/** Set a text, which is copied; NULL: missing. */
MXS_CHECKED mxs_status mxsi_table_set_text(mxsi_table *table,
                                           int64_t column,
                                           int64_t row,
                                           const char *text);
void mxsi_table_clear(mxsi_table *table);

/** Replace a file by the table. */
MXS_CHECKED mxs_status mxsi_table_write_csv(const mxsi_table *table, const char *path);
MXS_CHECKED mxs_status mxsi_table_write_hdf5(const mxsi_table *table,
                                             const char *title,
                                             const char *path);

#endif
