#include "study/study_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_COLUMNS = 160 };

/** A column of the table of the points. */
typedef struct shown {
  const char *title;
  int64_t column; /* of the study; or one of these */
  int width;
} shown;

enum { OF_POINT = -1, OF_RUN = -2, OF_REPLICA = -3, OF_REPEAT = -4, OF_MEASUREMENTS = -5 };

enum { CELL = 64 };

static void cell_text(const mxs_study *study,
                      const mxsi_point *point,
                      int64_t column,
                      char out[CELL]) {
  mxs_planting planting = {.measurements = 0};
  char number[MXSI_VALUE_TEXT];
  out[0] = '\0';
  switch (column) {
  case OF_POINT:
    (void)snprintf(out, CELL, "%lld", (long long)point->index);
    break;
  case OF_RUN:
    (void)snprintf(out, CELL, "%s", study->pass[point->pass].run);
    break;
  case OF_REPLICA:
    (void)snprintf(out, CELL, point->replica < 0 ? "-" : "%lld", (long long)point->replica);
    break;
  case OF_REPEAT:
    (void)snprintf(out, CELL, "%lld", (long long)point->repeat);
    break;
  case OF_MEASUREMENTS:
    if (mxsi_study_planting(study, point, &planting) == MXS_OK) /* it was when the file was read */
      (void)snprintf(out, CELL, "%lld", (long long)planting.measurements);
    break;
  default:
    (void)snprintf(out, CELL, "%s", mxsi_study_value(study, point, column, number));
  }
}

static void add_shown(shown *all, int *count, const char *title, int64_t column) {
  all[(*count)++] = (shown){title, column, (int)strlen(title)};
}

/* Whether measurements follow from something that differs. */
static int derives(const mxs_study *study) {
  for (int64_t c = 0; c < study->columns; c++)
    if (study->column[c].scope == MXSI_OF_PROBLEM &&
        (strcmp(study->column[c].key, "rho") == 0 ||
         strcmp(study->column[c].key, "measurements_per_rank") == 0))
      return 1;
  return 0;
}

static int choose_columns(const mxs_study *study, shown *all) {
  int count = 0;
  add_shown(all, &count, "point", OF_POINT);
  for (int64_t c = 0; c < study->columns && count < MOST_COLUMNS - 5; c++)
    if (study->column[c].varies)
      add_shown(all, &count, study->column[c].name, c);
  if (derives(study))
    add_shown(all, &count, "measurements", OF_MEASUREMENTS);
  if (study->repeats > 1)
    add_shown(all, &count, "repeat", OF_REPEAT);
  add_shown(all, &count, "run", OF_RUN);
  add_shown(all, &count, "replica", OF_REPLICA);
  return count;
}

static mxs_status add_constants(const mxs_study *study, mxs_text *out) {
  const char *joint = "all points    ";
  for (int64_t c = 0; c < study->columns; c++) {
    const mxsi_column *column = &study->column[c];
    if (column->varies || column->texts > 1 || column->line == 0)
      continue;
    MXS_TRY(mxs_text_add(out, "%s%s %s", joint, column->name, column->values[0]));
    joint = ", ";
  }
  return joint[0] == ',' ? mxs_text_add(out, "\n") : MXS_OK;
}

static int compare_names(const void *a, const void *b) {
  return strcmp(a, b);
}

static mxs_status count_problems(const mxs_study *study, int64_t *count) {
  char(*names)[17] = NULL;
  MXS_TRY(mxs_alloc(study->passes, sizeof *names, &names));
  for (int64_t i = 0; i < study->passes; i++)
    memcpy(names[i], study->pass[i].problem, sizeof *names);
  qsort(names, (size_t)study->passes, sizeof *names, compare_names);
  *count = 0;
  for (int64_t i = 0; i < study->passes; i++)
    *count += i == 0 || strcmp(names[i], names[i - 1]) != 0;
  mxs_release(&names);
  return MXS_OK;
}

static mxs_status add_head(const mxs_study *study, mxs_text *out) {
  const int sized = study->size[0] != '\0';
  int64_t problems = 0;
  MXS_TRY(count_problems(study, &problems));
  MXS_TRY(mxs_text_add(out, "%s%s%s%s: %lld points in %lld runs, %lld problem%s\n", study->title,
                       sized ? " (" : "", study->size, sized ? ")" : "", (long long)study->count,
                       (long long)study->passes, (long long)problems, problems == 1 ? "" : "s"));
  if (study->problem_file != NULL)
    MXS_TRY(mxs_text_add(out, "problem       %s\n", study->problem_file));
  return add_constants(study, out);
}

mxs_status mxs_study_plan(const mxs_study *study, mxs_text *out) {
  shown all[MOST_COLUMNS];
  char text[CELL];
  const int count = choose_columns(study, all);
  for (int64_t i = 0; i < study->count; i++)
    for (int j = 0; j < count; j++) {
      cell_text(study, &study->point[i], all[j].column, text);
      all[j].width = (int)strlen(text) > all[j].width ? (int)strlen(text) : all[j].width;
    }
  MXS_TRY(add_head(study, out));
  for (int j = 0; j < count; j++)
    MXS_TRY(mxs_text_add(out, "%s%*s", j == 0 ? "" : "  ", all[j].width, all[j].title));
  MXS_TRY(mxs_text_add(out, "\n"));
  for (int64_t i = 0; i < study->count; i++) {
    for (int j = 0; j < count; j++) {
      cell_text(study, &study->point[i], all[j].column, text);
      MXS_TRY(mxs_text_add(out, "%s%*s", j == 0 ? "" : "  ", all[j].width, text));
    }
    MXS_TRY(mxs_text_add(out, "\n"));
  }
  return MXS_OK;
}

mxs_study_facts mxs_study_tell(const mxs_study *study) {
  mxs_study_facts facts = {.points = study->count,
                           .passes = study->passes,
                           .threads = 1,
                           .problem_file = study->problem_file};
  for (int64_t i = 0; i < study->passes; i++)
    facts.ranks = study->pass[i].ranks > facts.ranks ? study->pass[i].ranks : facts.ranks;
  for (int64_t c = 0; c < study->columns; c++) {
    const mxsi_column *column = &study->column[c];
    for (int64_t i = 0;
         column->scope == MXSI_OF_SOLVE && strcmp(column->key, "threads") == 0 && i < column->count;
         i++) {
      int64_t threads = 0;
      if (mxs_parse_integer(column->values[i], &threads) == MXS_OK && threads > facts.threads)
        facts.threads = threads;
    }
  }
  return facts;
}
