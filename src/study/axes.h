/** @file
 *  Values of a key of a study file: one, a list, or a range. Room `study`. */
#ifndef MXS_STUDY_AXES_H
#define MXS_STUDY_AXES_H

#include "conf/yaml.h"
#include "study/study_impl.h"

enum { MXSI_POINT_LIMIT = 100000, MXSI_PROBLEM_OPTIONS = 32 };

/** What the section `problem` gives: the recipe, and what numbers of it can be derived from. */
typedef struct mxsi_recipe {
  mxs_planting planting; /**< first: its own table reads the same fields */
  int64_t n, measurements_per_rank;
  double rho;
} mxsi_recipe;

/** What is not of the problem or the solve. */
typedef struct mxsi_top {
  int64_t repeats, ranks;
  int repeat_over, pack;
  char *unused;
} mxsi_top;

enum { MXSI_REPEAT_PROBLEM = 1, MXSI_REPEAT_START = 2 };

/** The tables of the sections, and fields to try values on. */
typedef struct mxsi_tables {
  mxs_option storage[MXSI_PROBLEM_OPTIONS];
  mxs_table of[3]; /**< by scope */
  mxsi_recipe recipe;
  mxs_settings settings;
  mxsi_top top;
} mxsi_tables;

/** Local. */
MXS_CHECKED mxs_status mxsi_tables_create(mxsi_tables **out);
void mxsi_tables_destroy(mxsi_tables **tables);

/** The table of the section `problem`. Local. */
mxs_table mxsi_problem_table(mxs_option storage[MXSI_PROBLEM_OPTIONS]);

/** `text` as the key's own table writes it, released with mxs_release(). Local.
 *  @retval MXS_ERR_SETTINGS names key, value and what is accepted */
MXS_CHECKED mxs_status
mxsi_canonical(mxsi_tables *tables, mxsi_scope scope, int option, const char *text, char **out);

/** The factor of "2r" (1 of "r"), 0 where the text is no such multiple of the rank. Local. */
int64_t mxsi_rank_multiple(const char *text);

/** A document and its name, for messages. */
typedef struct mxsi_source {
  const char *path;
  yaml_document_t *document;
} mxsi_source;

/** The text of a node that is a single value of the key. Local.
 *  @retval MXS_ERR_SETTINGS it is something else */
MXS_CHECKED mxs_status mxsi_scalar(const mxsi_source *source,
                                   const char *key,
                                   const yaml_node_t *node,
                                   const char **text);

/** Read the values of `column`, whose scope, option and key are set, from `node`. Local. */
MXS_CHECKED mxs_status mxsi_read_values(const mxsi_source *source,
                                        mxsi_tables *tables,
                                        const yaml_node_t *node,
                                        mxsi_column *column);

void mxsi_column_clear(mxsi_column *column);

/** The whole of a study file, as read: the study with its columns, but without points. */
typedef struct mxsi_file {
  mxs_study *study;
  int64_t *group; /**< [columns] columns of one group advance together; a column alone is its own */
  int repeat_over;
} mxsi_file;

/** Every point of the file, in its order, checked. Local. */
MXS_CHECKED mxs_status mxsi_study_expand(mxsi_file *file);

#endif
