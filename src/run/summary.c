#include "base/text.h"
#include "run/run_impl.h"

#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char summary_name[] = "summary.json";

/* JSON has no NaN and no infinity. */
static json_t *number(double value) {
  return isfinite(value) ? json_real(value) : json_null();
}

static json_t *spread(mxs_spread value) {
  return json_pack("{s:o, s:o, s:o}", "min", number(value.min), "mean", number(value.mean), "max",
                   number(value.max));
}

static json_t *best_iteration(const mxs_result *result) {
  return result->best_iteration >= 0 ? json_integer((json_int_t)result->best_iteration)
                                     : json_null();
}

static json_t *estimates_object(const mxs_estimate *estimate) {
  if (estimate->basis == MXS_NOISE_NONE)
    return json_null();
  return json_pack("{s:o, s:o, s:o, s:o, s:s}", "noise_std", number(estimate->noise_std),
                   "relative_error", number(estimate->relative_error), "relative_error_low",
                   number(estimate->relative_error_low), "relative_error_high",
                   number(estimate->relative_error_high), "basis",
                   mxs_noise_basis_text(estimate->basis));
}

static json_t *timings_object(const mxs_result *result, const mxsi_timings *timings) {
  return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "seconds",
                   number(result->seconds), "wall", number(timings->wall), "load",
                   spread(timings->load), "compute", spread(timings->compute), "generate",
                   spread(timings->generate), "reduce", spread(timings->reduce), "inner",
                   spread(timings->inner), "metrics", spread(timings->metrics), "checkpoint",
                   spread(timings->checkpoint));
}

static json_t *rates_object(const mxsi_timings *timings) {
  /* Ranks wait for each other in the reduction: the sum is the same on all of them. */
  const double busy =
      timings->compute.mean + timings->reduce.mean + timings->inner.mean + timings->metrics.mean;
  const double each = timings->passes > 0 ? busy / (double)timings->passes : (double)NAN;
  const int stored = timings->bytes_s.max > 0.0;
  return json_pack(
      "{s:o, s:o, s:I, s:o, s:s, s:o, s:o, s:o, s:o}", "seconds_per_iteration", number(each),
      "iterations_per_second", number(1 / each), "reduce_bytes_per_iteration",
      (json_int_t)timings->reduce_bytes, "passes_over_A", number(timings->visits), "kernel",
      timings->path, "entries_per_second", spread(timings->entries_s), "bytes_per_second",
      stored ? spread(timings->bytes_s) : json_null(), "limit_bytes_per_second",
      number(timings->limit), "fraction_of_limit", number(mxsi_fraction_of_limit(timings)));
}

/* What a certificate rests on. */
static const char *basis(const mxs_certificate *c) {
  return c->status == MXS_RECOVERED
             ? "held-out measurements alone, whatever the noise is"
             : "held-out measurements, and noise from the residual of the fit";
}

static json_t *certificate_object(const mxs_result *result) {
  const mxs_certificate *c = &result->certificate;
  if (!c->given)
    return json_null();
  return json_pack("{s:s, s:o, s:s, s:s, s:I, s:o, s:o, s:o, s:o, s:o}", "status",
                   mxs_certificate_text(c->status), "relative_error", number(c->relative_error),
                   "basis", basis(c), "reason", mxs_doubt_text(c->doubt), "rank",
                   (json_int_t)c->rank, "low", number(c->low), "high", number(c->high), "bound",
                   number(c->bound), "noise_std", number(c->noise_std), "passes_over_A",
                   number(result->passes_over_A));
}

static json_t *summary_object(const char *reason,
                              const mxs_result *result,
                              const mxsi_timings *timings,
                              const mxs_machine *machine) {
  return json_pack("{s:s, s:I, s:o, s:o, s:o, s:o, s:o, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o}",
                   "reason", reason, "iterations", (json_int_t)result->iterations, "best_iteration",
                   best_iteration(result), "loss", number(result->loss), "relative_residual",
                   number(result->relative_residual), "validation_loss",
                   number(result->validation_loss), "test_error", number(result->test_error),
                   "rank_estimate", (json_int_t)result->rank_estimate, "passes_over_A",
                   number(result->passes_over_A), "certificate", certificate_object(result),
                   "estimates", estimates_object(&result->estimate), "timings",
                   timings_object(result, timings), "rates", rates_object(timings), "build",
                   mxs_machine_build_json(machine), "machine", mxs_machine_json(machine));
}

static json_t *replica_object(int64_t index, const mxs_replica *given, const mxs_result *result) {
  return json_pack("{s:I, s:I, s:I, s:o, s:o, s:s, s:I, s:o, s:o, s:o, s:o, s:o, s:I, s:o, s:o}",
                   "replica", (json_int_t)index, "seed", (json_int_t)given->seed, "k",
                   (json_int_t)given->k, "alpha", number(result->alpha), "step",
                   number(result->step), "reason", mxs_reason_text(result->reason), "iterations",
                   (json_int_t)result->iterations, "best_iteration", best_iteration(result), "loss",
                   number(result->loss), "relative_residual", number(result->relative_residual),
                   "validation_loss", number(result->validation_loss), "test_error",
                   number(result->test_error), "rank_estimate", (json_int_t)result->rank_estimate,
                   "passes_over_A", number(result->passes_over_A), "estimates",
                   estimates_object(&result->estimate));
}

/* `object` is consumed. */
static mxs_status write_object(const mxsi_rundir *dir, json_t *object) {
  char *text = object != NULL ? json_dumps(object, JSON_INDENT(2) | JSON_REAL_PRECISION(17)) : NULL;
  mxs_text line = {0};
  mxs_status status = text != NULL ? mxs_text_add(&line, "%s\n", text)
                                   : mxs_fail(MXS_ERR_MEMORY, "cannot form the text of %s/%s",
                                              dir->path, summary_name);
  if (status == MXS_OK)
    status = mxsi_file_replace(dir, summary_name, line.data);
  mxs_release(&line.data);
  free(text);
  json_decref(object);
  return status;
}

mxs_status mxsi_summary_write(const mxsi_rundir *dir,
                              const char *reason,
                              const mxs_result *result,
                              const mxsi_timings *timings,
                              const mxs_machine *machine,
                              int64_t k) {
  json_t *object = summary_object(reason, result, timings, machine);
  json_t *used = json_pack("{s:I, s:o, s:o}", "k", (json_int_t)k, "alpha", number(result->alpha),
                           "step", number(result->step));
  if (object != NULL && (used == NULL || json_object_update(object, used) != 0)) {
    json_decref(object);
    object = NULL;
  }
  json_decref(used);
  return write_object(dir, object);
}

mxs_status mxsi_summary_write_all(const mxsi_rundir *dir,
                                  const mxs_result *result,
                                  const mxsi_timings *timings,
                                  const mxs_machine *machine,
                                  const mxs_settings *settings,
                                  const mxs_result *results,
                                  int64_t count) {
  json_t *object = summary_object(mxs_reason_text(result->reason), result, timings, machine);
  json_t *list = json_array();
  for (int64_t r = 0; r < count; r++) {
    const mxs_replica given = mxs_settings_replica(settings, r);
    (void)json_array_append_new(list, replica_object(r, &given, &results[r]));
  }
  if (object != NULL &&
      ((int64_t)json_array_size(list) != count || json_object_set(object, "replicas", list) != 0)) {
    json_decref(object);
    object = NULL;
  }
  json_decref(list);
  return write_object(dir, object);
}

static json_t *read_object(int dir_fd, const char *path) {
  char *text = mxsi_file_read(dir_fd, path);
  json_t *object = text != NULL ? json_loads(text, 0, NULL) : NULL;
  mxs_release(&text);
  return object;
}

json_t *mxs_run_summary(const char *dir) {
  char *path = NULL;
  json_t *object = NULL;
  if (mxs_text_format(&path, "%s/%s", dir, summary_name) == MXS_OK)
    object = read_object(AT_FDCWD, path);
  mxs_release(&path);
  return object;
}

int mxs_run_is_end(const char *reason) {
  static const char *const not_ends[] = {"running", "stopped", "walltime", "error"};
  for (size_t i = 0; i < sizeof not_ends / sizeof *not_ends; i++)
    if (strcmp(reason, not_ends[i]) == 0)
      return 0;
  return 1;
}

int mxsi_summary_read(const mxsi_rundir *dir,
                      char reason[16],
                      int64_t *iterations,
                      double *relative_residual) {
  json_t *object = read_object(dir->fd, summary_name);
  const char *stored = json_string_value(json_object_get(object, "reason"));
  const json_t *count = json_object_get(object, "iterations");
  const json_t *residual = json_object_get(object, "relative_residual");
  const int good = stored != NULL && json_is_integer(count) && strlen(stored) < 16;
  if (good) {
    (void)snprintf(reason, 16, "%s", stored);
    *iterations = (int64_t)json_integer_value(count);
    *relative_residual = json_is_number(residual) ? json_number_value(residual) : (double)NAN;
  }
  json_decref(object);
  return good;
}
