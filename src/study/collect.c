#include "base/text.h"
#include "conf/number.h"
#include "run/run.h"
#include "study/execute.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
  EXIT_UNFINISHED = 75,
  WHAT_SIZE = 160,
  KEY_SIZE = 64,
  RUN_SIZE = 64,
  FIRST_NAMED = 3,
  REASONS = 16
};

/* A column, and where the summary of a run has it; NULL: it is made here. */
typedef struct field {
  const char *name;
  mxsi_kind kind;
  const char *from;
} field;

enum { POINT, REPEAT, RUN, REPLICA, PLACES };

static const field places[PLACES] = {{"point", MXSI_INTEGER, NULL},
                                     {"repeat", MXSI_INTEGER, NULL},
                                     {"run", MXSI_TEXT, NULL},
                                     {"replica", MXSI_INTEGER, NULL}};

enum { N1, N2, RANK, CONDITION, MEASUREMENTS, RHO, NOISE, RANKS, PACKED, THREADS, DERIVED };

static const field derived[DERIVED] = {
    {"n1", MXSI_INTEGER, NULL},           {"n2", MXSI_INTEGER, NULL},
    {"rank", MXSI_INTEGER, NULL},         {"condition", MXSI_REAL, NULL},
    {"measurements", MXSI_INTEGER, NULL}, {"rho", MXSI_REAL, NULL},
    {"noise", MXSI_REAL, NULL},           {"ranks", MXSI_INTEGER, NULL},
    {"packed", MXSI_INTEGER, NULL},       {"threads", MXSI_INTEGER, NULL}};

/* Nothing before wall_s depends on time or on the number of ranks. */
static const field results[] = {{"reason", MXSI_TEXT, "reason"},
                                {"iterations", MXSI_INTEGER, "iterations"},
                                {"best_iteration", MXSI_INTEGER, "best_iteration"},
                                {"loss", MXSI_REAL, "loss"},
                                {"relative_residual", MXSI_REAL, "relative_residual"},
                                {"validation_loss", MXSI_REAL, "validation_loss"},
                                {"test_error", MXSI_REAL, "test_error"},
                                {"rank_estimate", MXSI_INTEGER, "rank_estimate"},
                                {"passes_over_A", MXSI_REAL, "passes_over_A"},
                                {"k", MXSI_INTEGER, "k"},
                                {"alpha", MXSI_REAL, "alpha"},
                                {"step", MXSI_REAL, "step"},
                                {"certificate", MXSI_TEXT, "certificate.status"},
                                {"certificate_error", MXSI_REAL, "certificate.relative_error"},
                                {"certificate_rank", MXSI_INTEGER, "certificate.rank"},
                                {"certificate_reason", MXSI_TEXT, "certificate.reason"},
                                {"estimate_error", MXSI_REAL, "estimates.relative_error"},
                                {"estimate_error_low", MXSI_REAL, "estimates.relative_error_low"},
                                {"estimate_error_high", MXSI_REAL, "estimates.relative_error_high"},
                                {"estimate_noise_std", MXSI_REAL, "estimates.noise_std"},
                                {"wall_s", MXSI_REAL, "timings.wall"},
                                {"seconds_s", MXSI_REAL, "timings.seconds"},
                                {"compute_s", MXSI_REAL, "timings.compute.mean"},
                                {"generate_s", MXSI_REAL, "timings.generate.mean"},
                                {"reduce_s", MXSI_REAL, "timings.reduce.mean"},
                                {"reduce_least_s", MXSI_REAL, "timings.reduce.min"},
                                {"inner_s", MXSI_REAL, "timings.inner.mean"},
                                {"metrics_s", MXSI_REAL, "timings.metrics.mean"},
                                {"checkpoint_s", MXSI_REAL, "timings.checkpoint.mean"},
                                {"load_s", MXSI_REAL, "timings.load.mean"},
                                {"iteration_s", MXSI_REAL, "rates.seconds_per_iteration"},
                                {"entries_per_s", MXSI_REAL, "rates.entries_per_second.mean"},
                                {"bytes_per_s", MXSI_REAL, "rates.bytes_per_second.mean"},
                                {"limit_bytes_per_s", MXSI_REAL, "rates.limit_bytes_per_second"},
                                {"fraction_of_limit", MXSI_REAL, "rates.fraction_of_limit"},
                                {"reduce_bytes", MXSI_INTEGER, "rates.reduce_bytes_per_iteration"},
                                {"ranks_used", MXSI_INTEGER, "machine.ranks"},
                                {"hosts", MXSI_INTEGER, "machine.hosts"},
                                {"kernel", MXSI_TEXT, "rates.kernel"},
                                {"cpu", MXSI_TEXT, "machine.cpu"},
                                {"commit", MXSI_TEXT, "build.commit"}};

enum { RESULTS = sizeof results / sizeof *results, REASON = 0, USED_K = 9, USED_ALPHA, USED_STEP };

/* Where a point was solved. */
typedef struct home {
  char run[RUN_SIZE]; /* in DIR */
  int64_t replica;    /* -1: alone */
  int64_t packed;
} home;

/* A table while it is filled. */
typedef struct filler {
  const mxs_study *study;
  const char *dir;
  mxsi_table table;
  int64_t *given; /* [columns of the study] where they are; -1: another column says the same */
  int64_t place[PLACES], derived[DERIVED], result[RESULTS];
  int64_t absent, named, first[FIRST_NAMED];
  home known; /* the last run that was looked at */
} filler;

/* ---- columns --------------------------------------------------------------------------------- */

static mxs_status add_fields(mxsi_table *table, const field *fields, int64_t count, int64_t *at) {
  for (int64_t i = 0; i < count; i++)
    MXS_TRY(mxsi_table_add(table, fields[i].name, fields[i].kind, &at[i]));
  return MXS_OK;
}

static int has(const field *fields, int64_t count, const char *name) {
  for (int64_t i = 0; i < count; i++)
    if (strcmp(fields[i].name, name) == 0)
      return 1;
  return 0;
}

/* The narrowest that has all values. */
static mxsi_kind kind_of(const mxs_study *study, int64_t column) {
  mxsi_kind kind = MXSI_INTEGER;
  int64_t given = 0;
  for (int64_t i = 0; i < study->count && kind != MXSI_TEXT; i++) {
    const char *text = study->point[i].values[column];
    int64_t integer = 0;
    double real = 0.0;
    if (text == NULL)
      continue;
    given++;
    if (kind == MXSI_INTEGER && mxs_parse_integer(text, &integer) != MXS_OK)
      kind = MXSI_REAL;
    if (kind == MXSI_REAL && mxs_parse_real(text, &real) != MXS_OK)
      kind = MXSI_TEXT;
  }
  return given == 0 ? MXSI_TEXT : kind;
}

static mxs_status add_columns(filler *f) {
  const mxs_study *study = f->study;
  f->table.rows = study->count;
  MXS_TRY(mxs_alloc(study->columns, sizeof *f->given, &f->given));
  MXS_TRY(add_fields(&f->table, places, PLACES, f->place));
  for (int64_t c = 0; c < study->columns; c++) {
    const char *name = study->column[c].name;
    f->given[c] = -1;
    if (!has(places, PLACES, name) && !has(derived, DERIVED, name) && !has(results, RESULTS, name))
      MXS_TRY(mxsi_table_add(&f->table, name, kind_of(study, c), &f->given[c]));
  }
  MXS_TRY(add_fields(&f->table, derived, DERIVED, f->derived));
  return add_fields(&f->table, results, RESULTS, f->result);
}

static void set_integer(filler *f, int64_t column, int64_t row, int64_t value) {
  f->table.series[column].integers[row] = value;
}

static void set_real(filler *f, int64_t column, int64_t row, double value) {
  f->table.series[column].reals[row] = value;
}

/* ---- what the study says --------------------------------------------------------------------- */

static mxs_status set_given(filler *f, const mxsi_point *point) {
  for (int64_t c = 0; c < f->study->columns; c++) {
    const char *text = point->values[c];
    const int64_t column = f->given[c];
    if (column < 0 || text == NULL)
      continue;
    mxsi_series *s = &f->table.series[column];
    if (s->kind == MXSI_INTEGER)
      MXS_TRY(mxs_parse_integer(text, &s->integers[point->index]));
    else if (s->kind == MXSI_REAL)
      MXS_TRY(mxs_parse_real(text, &s->reals[point->index]));
    else
      MXS_TRY(mxsi_table_set_text(&f->table, column, point->index, text));
  }
  return MXS_OK;
}

/* As given, where it is: then it is an axis, from which the whole number of measurements makes it
 * differ a little. */
static double rho_of(const mxs_study *study, const mxsi_point *point, const mxs_planting *p) {
  double rho = (double)p->measurements /
               ((double)p->rank * ((double)p->n1 + (double)p->n2 - (double)p->rank));
  for (int64_t c = 0; c < study->columns; c++)
    if (study->column[c].scope == MXSI_OF_PROBLEM && strcmp(study->column[c].key, "rho") == 0 &&
        mxs_parse_real(point->values[c], &rho) != MXS_OK)
      return (double)NAN;
  return rho;
}

static mxs_status set_planted(filler *f, const mxsi_point *point) {
  mxs_planting p;
  if (f->study->problem_file != NULL)
    return MXS_OK;
  MXS_TRY(mxsi_study_planting(f->study, point, &p));
  set_integer(f, f->derived[N1], point->index, p.n1);
  set_integer(f, f->derived[N2], point->index, p.n2);
  set_integer(f, f->derived[RANK], point->index, p.rank);
  set_real(f, f->derived[CONDITION], point->index, p.condition);
  set_integer(f, f->derived[MEASUREMENTS], point->index, p.measurements);
  set_real(f, f->derived[RHO], point->index, rho_of(f->study, point, &p));
  set_real(f, f->derived[NOISE], point->index, p.noise);
  return MXS_OK;
}

/* What is known before the run: k, alpha and step as asked for, where they are numbers. */
static mxs_status set_settings(filler *f, const mxsi_point *point) {
  int64_t index = point->index;
  const mxsi_pass alone = {.count = 1, .points = &index};
  mxs_settings settings;
  MXS_TRY(mxsi_study_settings(f->study, &alone, "problem.h5", &settings));
  const mxs_replica asked = mxs_settings_replica(&settings, 0);
  set_integer(f, f->derived[THREADS], index, settings.threads);
  if (asked.k > 0)
    set_integer(f, f->result[USED_K], index, asked.k);
  set_real(f, f->result[USED_ALPHA], index, asked.alpha);
  set_real(f, f->result[USED_STEP], index, asked.step);
  mxs_settings_clear(&settings);
  return MXS_OK;
}

static mxs_status set_point(filler *f, const mxsi_point *point) {
  set_integer(f, f->place[POINT], point->index, point->index);
  set_integer(f, f->place[REPEAT], point->index, point->repeat);
  if (point->ranks > 0)
    set_integer(f, f->derived[RANKS], point->index, point->ranks);
  MXS_TRY(set_settings(f, point));
  MXS_TRY(set_planted(f, point));
  return set_given(f, point);
}

/* ---- what the runs say ----------------------------------------------------------------------- */

/* "timings.load.mean" */
static const json_t *find(const json_t *object, const char *path) {
  char key[KEY_SIZE];
  while (*path != '\0' && object != NULL) {
    const size_t length = strcspn(path, ".");
    (void)snprintf(key, sizeof key, "%.*s", (int)length, path);
    object = json_object_get(object, key);
    path += length + (path[length] == '.');
  }
  return object;
}

static mxs_status set_result(filler *f, int64_t row, const json_t *summary) {
  for (int64_t i = 0; i < RESULTS; i++) {
    const json_t *value = find(summary, results[i].from);
    const int64_t column = f->result[i];
    if (results[i].kind == MXSI_TEXT)
      MXS_TRY(mxsi_table_set_text(&f->table, column, row, json_string_value(value)));
    else if (results[i].kind == MXSI_REAL)
      set_real(f, column, row, json_is_number(value) ? json_number_value(value) : (double)NAN);
    else
      set_integer(f, column, row,
                  json_is_integer(value) ? (int64_t)json_integer_value(value) : INT64_MIN);
  }
  return MXS_OK;
}

static int has_ended(const json_t *summary) {
  const char *reason = json_string_value(json_object_get(summary, "reason"));
  return reason != NULL && mxs_run_is_end(reason);
}

/* DIR/name/summary.json of a run or of a replica, if it tells of an end. */
static mxs_status read_end(const filler *f, const char *name, json_t **summary) {
  char *path = NULL;
  MXS_TRY(mxs_text_format(&path, "%s/%s", f->dir, name));
  *summary = mxs_run_summary(path);
  mxs_release(&path);
  if (has_ended(*summary))
    return MXS_OK;
  json_decref(*summary);
  *summary = NULL;
  return MXS_OK;
}

/* Replicas of a run that has ended, 0: it has not; of the last one that was asked for it is known.
 */
static mxs_status count_replicas(filler *f, const char *run, int64_t *count) {
  json_t *summary = NULL;
  if (strcmp(f->known.run, run) != 0) {
    MXS_TRY(read_end(f, run, &summary));
    const size_t replicas = json_array_size(json_object_get(summary, "replicas"));
    (void)snprintf(f->known.run, sizeof f->known.run, "%s", run);
    f->known.packed = summary == NULL ? 0 : replicas > 0 ? (int64_t)replicas : 1;
    json_decref(summary);
  }
  *count = f->known.packed;
  return MXS_OK;
}

/* Of one of many, the summary of its replica, which was written before that of the run. */
static mxs_status read_in(filler *f, home *at, json_t **summary) {
  char name[RUN_SIZE + KEY_SIZE];
  *summary = NULL;
  MXS_TRY(count_replicas(f, at->run, &at->packed));
  if (at->packed == 0)
    return MXS_OK;
  if (at->replica < 0)
    return read_end(f, at->run, summary);
  (void)snprintf(name, sizeof name, "%s/replica_%lld", at->run, (long long)at->replica);
  return read_end(f, name, summary);
}

/* Where DIR/points/<name> leads: ../runs/<run>/replica_<r>. */
static mxs_status follow(const filler *f, const mxsi_point *point, home *at, int *there) {
  char target[RUN_SIZE + KEY_SIZE];
  char *path = NULL;
  MXS_TRY(mxsi_place_point(f->dir, point, &path));
  const ssize_t length = readlink(path, target, sizeof target - 1);
  mxs_release(&path);
  target[length > 0 ? length : 0] = '\0';
  char *mark = strstr(target, "/replica_");
  *there = strncmp(target, "../", 3) == 0 && mark != NULL && mark - target < RUN_SIZE;
  if (!*there)
    return MXS_OK;
  at->replica = strtoll(mark + 9, NULL, 10);
  *mark = '\0';
  (void)snprintf(at->run, sizeof at->run, "%.*s", RUN_SIZE - 1, target + 3);
  return MXS_OK;
}

/* In the run of its pass, in one of its own, or in one with others, as mxsi_outcome_find() looks.
 * Without a summary `at` is where it will be. */
static mxs_status find_home(filler *f, const mxsi_point *point, home *at, json_t **summary) {
  const mxsi_pass *pass = &f->study->pass[point->pass];
  home other = {.replica = -1};
  int there = 0;
  *at = (home){.replica = pass->count > 1 ? point->replica : -1};
  (void)snprintf(at->run, sizeof at->run, "runs/%s", pass->run);
  MXS_TRY(read_in(f, at, summary));
  at->packed = pass->count;
  (void)snprintf(other.run, sizeof other.run, "runs/%s", point->name);
  if (*summary == NULL && pass->count > 1)
    MXS_TRY(read_in(f, &other, summary));
  if (*summary == NULL && f->study->pack) {
    MXS_TRY(follow(f, point, &other, &there));
    if (there)
      MXS_TRY(read_in(f, &other, summary));
  }
  if (*summary != NULL && other.packed > 0)
    *at = other;
  return MXS_OK;
}

static mxs_status set_absent(filler *f, const mxsi_point *point, const home *at) {
  char *path = NULL;
  MXS_TRY(mxs_text_format(&path, "%s/%s", f->dir, at->run));
  const int begun = mxsi_place_has(path);
  mxs_release(&path);
  if (f->named < FIRST_NAMED)
    f->first[f->named++] = point->index;
  f->absent++;
  return mxsi_table_set_text(&f->table, f->result[REASON], point->index,
                             begun ? "unfinished" : "missing");
}

static mxs_status set_run(filler *f, const mxsi_point *point) {
  json_t *summary = NULL;
  home at;
  MXS_TRY(find_home(f, point, &at, &summary));
  mxs_status status = mxsi_table_set_text(&f->table, f->place[RUN], point->index, at.run);
  set_integer(f, f->place[REPLICA], point->index, at.replica);
  set_integer(f, f->derived[PACKED], point->index, at.packed);
  if (status == MXS_OK)
    status = summary != NULL ? set_result(f, point->index, summary) : set_absent(f, point, &at);
  json_decref(summary);
  return status;
}

/* ---- what is printed ------------------------------------------------------------------------- */

/* "231 tolerance, 9 diverged", in the order in which they come. */
static mxs_status count_reasons(const filler *f, mxs_text *line) {
  const char *names[REASONS] = {NULL};
  int64_t counts[REASONS] = {0};
  int64_t known = 0;
  const char **reasons = f->table.series[f->result[REASON]].texts;
  for (int64_t i = 0; i < f->table.rows; i++) {
    int64_t j = 0;
    while (j < known && strcmp(names[j], reasons[i]) != 0)
      j++;
    if (j == REASONS)
      continue;
    if (j == known)
      names[known++] = reasons[i];
    counts[j]++;
  }
  for (int64_t j = 0; j < known; j++)
    MXS_TRY(mxs_text_add(line, "%s%lld %s", j == 0 ? ": " : ", ", (long long)counts[j], names[j]));
  return MXS_OK;
}

/* "to come: 12 points, the first are 7 (rank 2, rho 1.5), ..." */
static mxs_status tell_absent(const filler *f, mxs_text *line) {
  MXS_TRY(
      mxs_text_add(line, "to come: %lld point%s", (long long)f->absent, f->absent == 1 ? "" : "s"));
  for (int64_t i = 0; i < f->named; i++) {
    char what[WHAT_SIZE];
    mxsi_study_describe(f->study, &f->study->point[f->first[i]], what, sizeof what);
    MXS_TRY(mxs_text_add(line, "%s%lld%s%s%s", i == 0 ? ": " : ", ", (long long)f->first[i],
                         what[0] != '\0' ? " (" : "", what, what[0] != '\0' ? ")" : ""));
  }
  MXS_TRY(mxs_text_add(line, "%s; run the study to go on", f->absent > f->named ? ", ..." : ""));
  if (mxsi_place_is_stopped(f->dir))
    MXS_TRY(mxs_text_add(line, ", without %s/STOP", f->dir));
  return mxs_text_add(line, "\n");
}

static mxs_status report(const filler *f) {
  mxs_screen screen;
  mxs_text line = {0};
  mxs_status status = MXS_OK;
  mxs_screen_open(&screen, 0, MXS_PROGRESS_OFF);
  if (f->absent > 0) {
    status = tell_absent(f, &line);
    if (status == MXS_OK)
      mxs_screen_line(&screen, line.data);
    line.length = 0;
  }
  if (status == MXS_OK)
    status = mxs_text_add(&line, "table: %s/table.csv and %s/table.h5, %lld rows", f->dir, f->dir,
                          (long long)f->table.rows);
  if (status == MXS_OK)
    status = count_reasons(f, &line);
  if (status == MXS_OK)
    status = mxs_text_add(&line, "\n");
  if (status == MXS_OK)
    mxs_screen_line(&screen, line.data);
  mxs_screen_close(&screen);
  mxs_release(&line.data);
  return status;
}

/* ---- the whole
 * ------------------------------------------------------------------------------------------------
 */

static mxs_status write_files(const filler *f) {
  char *csv = NULL;
  char *hdf5 = NULL;
  mxs_status status = mxs_text_format(&csv, "%s/table.csv", f->dir);
  if (status == MXS_OK)
    status = mxs_text_format(&hdf5, "%s/table.h5", f->dir);
  if (status == MXS_OK)
    status = mxsi_table_write_csv(&f->table, csv);
  if (status == MXS_OK)
    status = mxsi_table_write_hdf5(&f->table, f->study->title, hdf5);
  mxs_release(&csv);
  mxs_release(&hdf5);
  return status;
}

mxs_status mxs_study_collect(const mxs_study *study, const char *dir, int *exit_code) {
  filler f = {.study = study, .dir = dir};
  mxs_status status = add_columns(&f);
  for (int64_t i = 0; i < study->count && status == MXS_OK; i++) {
    status = set_point(&f, &study->point[i]);
    if (status == MXS_OK)
      status = set_run(&f, &study->point[i]);
  }
  if (status == MXS_OK)
    status = write_files(&f);
  if (status == MXS_OK)
    status = report(&f);
  *exit_code = f.absent > 0 ? EXIT_UNFINISHED : 0;
  mxsi_table_clear(&f.table);
  mxs_release(&f.given);
  return status;
}
