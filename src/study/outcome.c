#include "base/text.h"
#include "run/run.h"
#include "study/execute.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int compare(const void *a, const void *b) {
  const double x = *(const double *)a;
  const double y = *(const double *)b;
  return (x > y) - (x < y);
}

/* Of the points that have one. */
static double median_error(const json_t *replicas) {
  double *values = NULL;
  int64_t count = 0;
  double median = (double)NAN;
  if (mxs_alloc((int64_t)json_array_size(replicas), sizeof *values, &values) != MXS_OK)
    return median;
  for (size_t i = 0; i < json_array_size(replicas); i++) {
    const json_t *value = json_object_get(json_array_get(replicas, i), "test_error");
    if (json_is_number(value))
      values[count++] = json_number_value(value);
  }
  qsort(values, (size_t)count, sizeof *values, compare);
  if (count > 0)
    median = count % 2 == 1 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
  mxs_release(&values);
  return median;
}

static void summarize(const json_t *summary, mxsi_outcome *outcome) {
  const json_t *replicas = json_object_get(summary, "replicas");
  const json_t *error = json_object_get(summary, "test_error");
  outcome->iterations = (int64_t)json_integer_value(json_object_get(summary, "iterations"));
  outcome->test_error = json_is_number(error) ? json_number_value(error) : (double)NAN;
  if (replicas == NULL)
    return;
  outcome->test_error = median_error(replicas);
  for (size_t i = 0; i < json_array_size(replicas); i++) {
    const char *reason = json_string_value(json_object_get(json_array_get(replicas, i), "reason"));
    const int same = reason != NULL && strcmp(reason, outcome->reason) == 0;
    if (i == 0)
      (void)snprintf(outcome->reason, MXSI_REASON, "%s", reason != NULL ? reason : "");
    else if (!same)
      (void)snprintf(outcome->reason, MXSI_REASON, "mixed");
  }
}

int mxsi_outcome_read(const char *dir, mxsi_outcome *outcome) {
  json_t *summary = mxs_run_summary(dir);
  const char *reason = json_string_value(json_object_get(summary, "reason"));
  const int ended = reason != NULL && mxs_run_is_end(reason);
  *outcome = (mxsi_outcome){.test_error = (double)NAN};
  if (ended) {
    (void)snprintf(outcome->reason, MXSI_REASON, "%s", reason);
    summarize(summary, outcome);
  }
  json_decref(summary);
  return ended;
}

/* In a directory whose name was formed with `status`; it is released. */
static mxs_status look(mxs_status status, char *path, int *ended) {
  mxsi_outcome outcome;
  *ended = status == MXS_OK && mxsi_outcome_read(path, &outcome);
  mxs_release(&path);
  return status;
}

static mxs_status find_point(const mxs_study *study,
                             const char *dir,
                             const mxsi_point *point,
                             int *ended) {
  char *path = NULL;
  mxs_status status = mxs_text_format(&path, "%s/runs/%s", dir, point->name);
  MXS_TRY(look(status, path, ended));
  if (*ended || !study->pack)
    return MXS_OK;
  status = mxsi_place_point(dir, point, &path);
  return look(status, path, ended);
}

mxs_status mxsi_outcome_find(const mxs_study *study, const char *dir, uint8_t *done) {
  for (int64_t i = 0; i < study->passes; i++) {
    const mxsi_pass *pass = &study->pass[i];
    char *path = NULL;
    int all = 0;
    const mxs_status status = mxsi_place_run(dir, pass, &path);
    MXS_TRY(look(status, path, &all));
    for (int64_t j = 0; j < pass->count; j++) {
      int ended = all;
      if (!all)
        MXS_TRY(find_point(study, dir, &study->point[pass->points[j]], &ended));
      done[pass->points[j]] = (uint8_t)ended;
    }
  }
  return MXS_OK;
}
