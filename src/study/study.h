/** @file
 *  Studies: every point of a grid of problems and settings, each solved in a run directory of its
 *  own, and one table of them all. Room `study`. */
#ifndef MXS_STUDY_STUDY_H
#define MXS_STUDY_STUDY_H

#include "base/text.h"

#include <mpi.h>

/** The points of a study file. */
typedef struct mxs_study mxs_study;

/** Parse the text of a study file and expand its axes; `path` is for messages, and files that it
 *  names are relative to the working directory, as those of a settings file are. `size` is one of
 *  its sizes, NULL: that of its key `size`. Every point is checked. Local.
 *  @retval MXS_ERR_SETTINGS the text names file, line and key, or the point, and the remedy */
MXS_CHECKED mxs_status mxs_study_read(
    const char *path, const char *text, size_t length, const char *size, mxs_study **out);

/** NULL-safe. Local. */
void mxs_study_destroy(mxs_study **study);

/** What a study asks for. */
typedef struct mxs_study_facts {
  int64_t points, passes;
  int64_t ranks;            /**< the most that a point names; 0: none does */
  int64_t threads;          /**< the most of a point */
  const char *problem_file; /**< of all points, owned by the study; NULL: problems are planted */
} mxs_study_facts;

mxs_study_facts mxs_study_tell(const mxs_study *study);

/** Append a table of the points and of the passes that solve them. Local. */
MXS_CHECKED mxs_status mxs_study_plan(const mxs_study *study, mxs_text *out);

/** What to run, and how. */
typedef struct mxs_study_options {
  const char *dir;     /**< holds everything; created */
  int64_t part, parts; /**< only passes part - 1, part - 1 + parts, ...: 1, 1 for all */
  int64_t ranks;       /**< of a point that does not say; 0: all there are */
  int64_t at_once;     /**< most groups of ranks that work at the same time; 0: as many as fit */
  int quiet;           /**< no line for each pass */
} mxs_study_options;

/** Solve what is not solved yet, then write the table. Collective; study and options are the same
 *  on all ranks. `*exit_code` receives 0 (all ended), or 75 (stopped or out of time with a
 *  checkpoint: the same call goes on). A file DIR/STOP stops it, and is removed then, but not where
 *  there are parts, which are all to see it. */
MXS_CHECKED mxs_status mxs_study_run(MPI_Comm comm,
                                     const mxs_study *study,
                                     const mxs_study_options *options,
                                     int *exit_code);

/** Write the table of what is there. Local, on one rank. `*exit_code` receives 0 (all have ended)
 *  or 75. */
MXS_CHECKED mxs_status mxs_study_collect(const mxs_study *study, const char *dir, int *exit_code);

#endif
