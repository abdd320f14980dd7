/** @file
 *  Inside of a study: columns, points and passes. Room `study`. */
#ifndef MXS_STUDY_STUDY_IMPL_H
#define MXS_STUDY_STUDY_IMPL_H

#include "conf/planting.h"
#include "conf/settings.h"
#include "study/study.h"

typedef enum mxsi_scope { MXSI_OF_PROBLEM, MXSI_OF_SOLVE, MXSI_OF_STUDY } mxsi_scope;

/** A key that the file gives, or a seed: what the points may differ in. */
typedef struct mxsi_column {
  mxsi_scope scope;
  char *key;     /**< "alpha" */
  char *name;    /**< as in the table: "alpha", or "solve.seed" where problems have that key too */
  int varies;    /**< whether it is an axis */
  int option;    /**< place in the table of its scope */
  size_t line;   /**< of the file; 0: not given there */
  int64_t count; /**< of the values in the file */
  int64_t texts; /**< of `values`: of a seed that repeats count up, count times repeats */
  char **values; /**< canonical, as the points have them */
  char *preset;  /**< canonical default; NULL: there is none */
} mxsi_column;

/** One solve. `values` has the text of each column, NULL: not given for this point. */
typedef struct mxsi_point {
  int64_t index, repeat;
  int64_t ranks;    /**< 0: as the command says */
  char **values;    /**< [columns], those of the columns */
  int64_t pass;     /**< which pass it belongs to */
  int64_t replica;  /**< its place there; -1: alone */
  char problem[17]; /**< 16 hex digits of the recipe; "" where the file names a problem file */
  char name[17]; /**< 16 hex digits of problem, ranks and settings: of a pass of its own the run */
} mxsi_point;

/** Points that are solved together, in one run directory: those of one problem that differ in
 *  alpha, step, k and seed only, or a single one. */
typedef struct mxsi_pass {
  int64_t count, *points; /**< in the order of the file; the first of points that are the same */
  int64_t ranks;
  char problem[17]; /**< 16 hex digits of the recipe; "" where the file names a problem file */
  char run[17];     /**< 16 hex digits of problem and settings of all its points */
} mxsi_pass;

struct mxs_study {
  char *path, *title;
  char *size; /**< chosen; "" where the file has no sizes */
  char *text; /**< the file with that size as its own, for DIR/study.yaml */
  int64_t repeats;
  int pack;
  int64_t columns;
  mxsi_column *column;
  int64_t count;
  mxsi_point *point;
  char **values; /**< of all points */
  int64_t passes;
  mxsi_pass *pass;
  char *problem_file; /**< absolute; NULL: problems are planted */
};

/** The recipe of the problem of a point. Local. */
MXS_CHECKED mxs_status mxsi_study_planting(const mxs_study *study,
                                           const mxsi_point *point,
                                           mxs_planting *out);

/** The settings of a pass, `problem` being its problem file, with lists where it has many points;
 *  released with mxs_settings_clear(). Local. */
MXS_CHECKED mxs_status mxsi_study_settings(const mxs_study *study,
                                           const mxsi_pass *pass,
                                           const char *problem,
                                           mxs_settings *out);

enum { MXSI_VALUE_TEXT = 32 };

/** The value of a column as the solver takes it: a number where k is "2r" (then it is in `out`).
 *  Local. */
const char *mxsi_study_value(const mxs_study *study,
                             const mxsi_point *point,
                             int64_t column,
                             char out[MXSI_VALUE_TEXT]);

/** Which points are solved together, and the names of points and passes. Local. */
MXS_CHECKED mxs_status mxsi_study_pack(mxs_study *study);

/** Write the name of a pass of these points, which may be a part of those that are packed. Local.
 */
void mxsi_study_name_pass(const mxs_study *study, mxsi_pass *pass);

/** What a point is, in the axes that vary: "rank 2, rho 1.5, alpha 0.001, #3". Local. */
void mxsi_study_describe(const mxs_study *study, const mxsi_point *point, char *out, size_t size);

#endif
