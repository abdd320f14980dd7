#include "cli/probe.h"
#include "cli/single.h"
#include "problem/file.h"

#include <jansson.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char before[] =
    "Usage: mxsense info FILE_OR_DIR...\n"
    "\n"
    "Tells what a problem file, a checkpoint or a run directory holds, and verifies every\n"
    "digest in it. Needs no MPI launcher. A process of its own, with limits, parses each\n"
    "file first: one that crashes HDF5 is an error like any other.\n"
    "\n"
    "Options:\n"
    "  -h, --help              this text\n";

static const char after[] =
    "Examples:\n"
    "  mxsense info p.h5\n"
    "  mxsense info run1\n"
    "  mxsense info run1/checkpoint.prev.h5\n"
    "\n"
    "0: everything verifies; 65: something does not, or is of another kind; 66: no\n"
    "such file; 74: unreadable, or a run without a good checkpoint. Of several: that of\n"
    "the first bad one.\n";

static const mxs_table no_options = {"option", "mxsense info --help", NULL, 0};

static double megabytes(const char *path) {
  struct stat entry = {0};
  return stat(path, &entry) == 0 ? (double)entry.st_size * 1e-6 : 0.0;
}

static void print_header(const mxs_cli_session *s, const char *path, const mxs_problem_header *h) {
  mxs_cli_print(s, "problem file %s, %.3g MB\n", path, megabytes(path));
  mxs_cli_print(s, "  X             %lld x %lld\n", (long long)h->n1, (long long)h->n2);
  mxs_cli_print(s, "  measurements  %lld, and %lld held out\n", (long long)h->m,
                (long long)h->m_validation);
  mxs_cli_print(s, "  ensemble      %s (A %s)%s%s%s\n", mxs_ensemble_name(h->ensemble),
                h->ensemble == MXS_ENSEMBLE_DENSE ? "stored" : "generated when needed",
                h->entries[0] != '\0' ? ", " : "", h->entries,
                h->storage == MXS_STORAGE_BF16 ? ", all bf16 numbers" : "");
  if (h->ensemble != MXS_ENSEMBLE_DENSE)
    mxs_cli_print(s, "  seed          %llu\n", (unsigned long long)h->seed);
  if (h->block_rows > 0)
    mxs_cli_print(s, "  blocks        %lld of %lld measurements\n",
                  (long long)((h->m + h->block_rows - 1) / h->block_rows),
                  (long long)h->block_rows);
  if (h->truth == MXS_TRUTH_NONE)
    mxs_cli_print(s, "  truth         not in the file\n");
  else if (h->truth == MXS_TRUTH_MATRIX)
    mxs_cli_print(s, "  truth         X\n");
  else
    mxs_cli_print(s, "  truth         U and V, rank %lld: m is %.3g times r (n1 + n2 - r)\n",
                  (long long)h->truth_rank,
                  (double)h->m / ((double)h->truth_rank * (double)(h->n1 + h->n2 - h->truth_rank)));
  if (isfinite(h->noise_std))
    mxs_cli_print(s, "  noise         standard deviation %g\n", h->noise_std);
  mxs_cli_print(s, "  digests       %s\n",
                h->has_digests ? "yes" : "none in the file: only values are checked");
}

static mxs_status info_problem(const mxs_cli_session *session, const char *path) {
  mxs_problem_header header;
  char *report = NULL;
  MXS_TRY(mxs_problem_peek(path, &header));
  print_header(session, path, &header);
  const mxs_status status = mxs_problem_verify(path, &report);
  if (report != NULL)
    mxs_cli_print(session, "%s%s", report,
                  report[0] != '\0' && report[strlen(report) - 1] != '\n' ? "\n" : "");
  mxs_release(&report);
  if (status == MXS_OK)
    mxs_cli_print(session, "verified\n");
  return status;
}

static void print_arrays(const mxs_cli_session *session, const mxs_ckpt *ckpt) {
  const mxs_array *arrays = NULL;
  const int64_t count = mxs_ckpt_arrays(ckpt, &arrays);
  for (int64_t i = 0; i < count; i++)
    mxs_cli_print(session, "  /%-20s %lld x %lld %s\n", arrays[i].name, (long long)arrays[i].rows,
                  (long long)arrays[i].cols, arrays[i].is_integer ? "integers" : "numbers");
}

/* A column of the last row; NaN where there is none. */
static double last_value(const mxs_history *history, const char *name) {
  for (int64_t j = 0; j < history->columns && history->rows > 0; j++)
    if (strcmp(history->names[j], name) == 0)
      return history->values[(history->rows - 1) * history->columns + j];
  return (double)NAN;
}

/* A line for each of many replicas: its last row. */
static void print_replicas(const mxs_cli_session *session, const mxs_ckpt *ckpt) {
  for (int64_t r = 0; r < mxs_ckpt_get_info(ckpt)->replicas; r++) {
    const mxs_history *history = mxs_ckpt_history(ckpt, r);
    const double test_error = last_value(history, "test_error");
    mxs_cli_print(session, "  replica %-5lld %lld rows", (long long)r, (long long)history->rows);
    if (history->rows > 0)
      mxs_cli_print(session, ", iteration %.0f, loss %.4g", last_value(history, "iteration"),
                    last_value(history, "loss"));
    if (!isnan(test_error))
      mxs_cli_print(session, ", test error %.4g", test_error);
    mxs_cli_print(session, "\n");
  }
}

/* The last row of the metrics, without the columns that are not defined there. */
static void print_metrics(const mxs_cli_session *session, const mxs_ckpt *ckpt) {
  const mxs_history *history = mxs_ckpt_history(ckpt, 0);
  if (history == NULL || history->rows == 0)
    return;
  mxs_cli_print(session, "  metrics       %lld rows of %lld columns; the last one:\n",
                (long long)history->rows, (long long)history->columns);
  const double *row = history->values + (history->rows - 1) * history->columns;
  for (int64_t j = 0; j < history->columns; j++)
    if (!isnan(row[j]))
      mxs_cli_print(session, "    %-20s %.6g\n", history->names[j], row[j]);
}

static mxs_status info_checkpoint(const mxs_cli_session *session,
                                  const mxs_comm *self,
                                  const char *path) {
  mxs_ckpt *ckpt = NULL;
  MXS_TRY(mxs_ckpt_read(self, path, &ckpt));
  const mxs_ckpt_info *info = mxs_ckpt_get_info(ckpt);
  mxs_cli_print(session, "checkpoint %s, %.3g MB\n", path, megabytes(path));
  mxs_cli_print(session, "  iteration     %lld, %s%s%s\n", (long long)info->iteration,
                info->finished ? "finished" : "not finished", info->reason[0] != '\0' ? ": " : "",
                info->reason);
  mxs_cli_print(session, "  problem       digest %016llx\n",
                (unsigned long long)info->problem_digest);
  print_arrays(session, ckpt);
  if (info->replicas > 1)
    print_replicas(session, ckpt);
  else
    print_metrics(session, ckpt);
  mxs_cli_print(session, "verified\n");
  mxs_ckpt_destroy(&ckpt);
  return MXS_OK;
}

static void print_value(const mxs_cli_session *session, const char *key, const json_t *value) {
  if (json_is_string(value))
    mxs_cli_print(session, "  %-17s %s\n", key, json_string_value(value));
  else if (json_is_integer(value))
    mxs_cli_print(session, "  %-17s %lld\n", key, (long long)json_integer_value(value));
  else if (json_is_real(value))
    mxs_cli_print(session, "  %-17s %.6g\n", key, json_real_value(value));
}

static void print_number(const mxs_cli_session *session, const json_t *object, const char *key) {
  const json_t *value = json_object_get(object, key);
  if (json_is_number(value))
    mxs_cli_print(session, ", %s %.6g", key, json_number_value(value));
}

/* A line for each of the replicas that a summary tells of. */
static void print_replica_results(const mxs_cli_session *session, const json_t *replicas) {
  static const char *const keys[] = {"k",          "alpha",        "step", "relative_residual",
                                     "test_error", "rank_estimate"};
  for (size_t r = 0; r < json_array_size(replicas); r++) {
    const json_t *one = json_array_get(replicas, r);
    const char *reason = json_string_value(json_object_get(one, "reason"));
    mxs_cli_print(session, "  replica %-9zu %s at %lld, seed %lld", r, reason != NULL ? reason : "",
                  (long long)json_integer_value(json_object_get(one, "iterations")),
                  (long long)json_integer_value(json_object_get(one, "seed")));
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
      print_number(session, one, keys[i]);
    mxs_cli_print(session, "\n");
  }
}

/* The verdict of the method auto: its words, then its numbers. */
static void print_certificate(const mxs_cli_session *session, const json_t *certificate) {
  static const char *const keys[] = {"rank", "relative_error", "low", "high", "bound", "noise_std"};
  const char *status = json_string_value(json_object_get(certificate, "status"));
  const char *reason = json_string_value(json_object_get(certificate, "reason"));
  const char *basis = json_string_value(json_object_get(certificate, "basis"));
  if (status == NULL)
    return;
  mxs_cli_print(session, "  %-17s %s", "certificate", status);
  if (reason != NULL && reason[0] != '\0')
    mxs_cli_print(session, ": %s", reason);
  for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
    print_number(session, certificate, keys[i]);
  mxs_cli_print(session, "\n");
  if (basis != NULL)
    mxs_cli_print(session, "  %-17s %s\n", "", basis);
}

static mxs_status print_summary(const mxs_cli_session *session, const char *path) {
  static const char *const keys[] = {"reason",     "iterations",        "best_iteration",
                                     "loss",       "relative_residual", "validation_loss",
                                     "test_error", "rank_estimate",     "passes_over_A"};
  if (access(path, F_OK) != 0) {
    mxs_cli_print(session, "  no summary: the run has not ended\n");
    return MXS_OK;
  }
  json_error_t error;
  json_t *summary = json_load_file(path, 0, &error);
  if (summary == NULL)
    return mxs_fail(MXS_ERR_DATA, "%s:%d: not valid JSON: %s", path, error.line, error.text);
  for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
    print_value(session, keys[i], json_object_get(summary, keys[i]));
  print_certificate(session, json_object_get(summary, "certificate"));
  print_replica_results(session, json_object_get(summary, "replicas"));
  json_decref(summary);
  return MXS_OK;
}

/* One line for a checkpoint of a run. `*good` counts those that verify, `*bad` those that do not.
 */
static void print_checkpoint_line(
    const mxs_cli_session *session, const mxs_comm *self, const char *path, int *good, int *bad) {
  if (access(path, F_OK) != 0)
    return;
  mxs_ckpt *ckpt = NULL;
  const char *name = strrchr(path, '/') + 1;
  if (mxs_ckpt_read(self, path, &ckpt) == MXS_OK) {
    mxs_cli_print(session, "  %-18s iteration %lld, %.3g MB, verified\n", name,
                  (long long)mxs_ckpt_get_info(ckpt)->iteration, megabytes(path));
    (*good)++;
  } else {
    mxs_cli_print(session, "  %-18s DOES NOT VERIFY: %s\n", name, mxs_last_error());
    (*bad)++;
  }
  mxs_ckpt_destroy(&ckpt);
}

/* Lines for the checkpoints that were kept, newest first. */
static mxs_status print_kept(
    const mxs_cli_session *session, const mxs_comm *self, const char *dir, int *good, int *bad) {
  int64_t *iterations = NULL;
  int64_t count = 0;
  MXS_TRY(mxs_ckpt_kept(dir, &iterations, &count));
  mxs_status status = MXS_OK;
  for (int64_t i = 0; i < count && status == MXS_OK; i++) {
    char *path = NULL;
    status = mxs_ckpt_kept_path(dir, iterations[i], &path);
    if (status == MXS_OK)
      print_checkpoint_line(session, self, path, good, bad);
    mxs_release(&path);
  }
  mxs_release(&iterations);
  return status;
}

static mxs_status info_run(const mxs_cli_session *session, const mxs_comm *self, const char *dir) {
  static const char *const names[] = {"checkpoint.h5", "checkpoint.prev.h5"};
  char *path = NULL;
  mxs_cli_print(session, "run directory %s\n", dir);
  MXS_TRY(mxs_cli_join_path(dir, "summary.json", &path));
  const mxs_status status = print_summary(session, path);
  mxs_release(&path);
  int good = 0;
  int bad = 0;
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    MXS_TRY(mxs_cli_join_path(dir, names[i], &path));
    print_checkpoint_line(session, self, path, &good, &bad);
    mxs_release(&path);
  }
  MXS_TRY(print_kept(session, self, dir, &good, &bad));
  MXS_TRY(status);
  if (good + bad == 0)
    mxs_cli_print(session, "  no checkpoint yet\n");
  if (bad > 0 && good == 0)
    return mxs_fail(MXS_ERR_IO, "%s: no checkpoint verifies: start again in another directory",
                    dir);
  if (bad > 0)
    return mxs_fail(MXS_ERR_DATA,
                    "%s: a checkpoint does not verify: solve will go on from the other one", dir);
  return MXS_OK;
}

static mxs_status inform(const mxs_cli_session *session, const mxs_comm *self, void *ctx) {
  const char *path = *(const char **)ctx;
  mxs_cli_kind kind;
  MXS_TRY(mxs_cli_kind_of(path, &kind));
  switch (kind) {
  case MXS_CLI_PROBLEM:
    return info_problem(session, path);
  case MXS_CLI_CHECKPOINT:
    return info_checkpoint(session, self, path);
  case MXS_CLI_RUN:
    return info_run(session, self, path);
  }
  return mxs_fail(MXS_ERR_INTERNAL, "unknown kind of file");
}

/* All that are asked for: a bad one does not keep the others from being told. Returns the exit code
 * of the first bad one. */
static int inform_of_all(const mxs_cli_session *session, mxs_cli_args *args) {
  int code = 0;
  for (int i = 0; i < args->operands; i++) {
    const mxs_status status = mxs_cli_alone(session, inform, &args->operand[i]);
    if (status == MXS_OK)
      continue;
    mxs_cli_error(session, mxs_last_error());
    code = code != 0 ? code : mxs_status_exit_code(status);
  }
  return code;
}

int mxs_cli_info(mxs_cli_session *session, int argc, char **argv) {
  mxs_cli_args args;
  int code = 0;
  mxs_status status = mxs_cli_parse(&no_options, MXS_CLI_OPERANDS, argc, argv, &args);
  if (status == MXS_OK && args.help)
    return mxs_cli_end(session, MXS_OK, mxs_cli_help(session, before, &no_options, after));
  if (status == MXS_OK && args.operands == 0)
    status = mxs_fail(MXS_ERR_USAGE, "info needs a problem file, checkpoint or run directory");
  for (int i = 0; i < args.operands && status == MXS_OK; i++)
    status = mxs_cli_probe(session, args.operand[i]);
  if (status == MXS_OK)
    status = mxs_cli_begin(session, 0);
  if (status == MXS_OK)
    code = inform_of_all(session, &args);
  return mxs_cli_end(session, status, code);
}
