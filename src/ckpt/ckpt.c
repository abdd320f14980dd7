#include "base/text.h"
#include "ckpt/ckpt_impl.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_CAPACITY = 256 };

mxs_status mxs_history_append(mxs_history *history, const double *row) {
  if (history->rows == history->capacity) {
    double *values = NULL;
    const int64_t capacity = history->capacity > 0 ? 2 * history->capacity : FIRST_CAPACITY;
    MXS_TRY(mxs_alloc(capacity * history->columns, sizeof *values, &values));
    if (history->rows > 0)
      memcpy(values, history->values, (size_t)(history->rows * history->columns) * sizeof *values);
    mxs_release(&history->values);
    history->values = values;
    history->capacity = capacity;
  }
  memcpy(history->values + history->rows * history->columns, row,
         (size_t)history->columns * sizeof *row);
  history->rows++;
  return MXS_OK;
}

void mxs_history_clear(mxs_history *history) {
  mxs_release(&history->values);
  *history = (mxs_history){0};
}

mxs_status mxsi_ckpt_seal(const mxs_ckpt_info *info,
                          const char *config,
                          const char *manifest,
                          char seal[MXS_STORE_DIGEST_TEXT]) {
  char *text = NULL;
  MXS_TRY(mxs_text_format(&text, "%d %" PRId64 " %d %s %s %" PRIu64 "\n%s\n%s",
                          MXSI_CKPT_FORMAT_VERSION, info->iteration, info->finished, info->reason,
                          info->blas_kernel, info->problem_digest, config, manifest));
  mxs_store_digest(text, (int64_t)strlen(text), seal);
  mxs_release(&text);
  return MXS_OK;
}

/* One line of the manifest, its fields ended in place. */
typedef struct line {
  const char *name, *type, *digest;
  int64_t rows, cols;
} line;

/* Number of a field; -1 when it is none. */
static int64_t whole(const char *field) {
  char *end = NULL;
  if (field == NULL || *field < '0' || *field > '9')
    return -1;
  const long long value = strtoll(field, &end, 10);
  return *end == '\0' ? (int64_t)value : -1;
}

/* Cut the next line off `*text`; 0 when it makes no sense. */
static int next_line(char **text, line *out) {
  char *fields = NULL;
  int64_t entries = 0;
  char *one = strsep(text, "\n");
  out->name = one == NULL ? NULL : strtok_r(one, " ", &fields);
  out->type = out->name == NULL ? NULL : strtok_r(NULL, " ", &fields);
  out->rows = out->type == NULL ? -1 : whole(strtok_r(NULL, " ", &fields));
  out->cols = out->rows < 0 ? -1 : whole(strtok_r(NULL, " ", &fields));
  out->digest = out->cols < 0 ? NULL : strtok_r(NULL, " ", &fields);
  return out->digest != NULL && strlen(out->digest) == MXS_STORE_DIGEST_TEXT - 1 &&
         (strcmp(out->type, "f64") == 0 || strcmp(out->type, "i64") == 0) &&
         !__builtin_mul_overflow(out->rows, out->cols, &entries) && entries <= INT64_MAX / 16;
}

void mxsi_ckpt_folder(int64_t replicas, int64_t replica, char folder[MXSI_CKPT_FOLDER]) {
  if (replicas <= 1)
    (void)snprintf(folder, MXSI_CKPT_FOLDER, "metrics/");
  else
    (void)snprintf(folder, MXSI_CKPT_FOLDER, "replica_%" PRId64 "/metrics/", replica);
}

/* The manifest being taken apart: datasets so far, columns among them. */
typedef struct reading {
  mxs_ckpt *ckpt;
  int64_t columns;
} reading;

/* The replica whose metrics a dataset belongs to, and where the name of its column begins: NULL for
 * an array. A replica follows the one before, and a lone history is not one of many. */
static const char *column_of(const reading *at, const char *name, int64_t *replica) {
  const int64_t known = at->ckpt->info.replicas;
  char folder[MXSI_CKPT_FOLDER];
  for (*replica = known > 0 ? known - 1 : 0; *replica <= known; ++*replica) {
    mxsi_ckpt_folder(2, *replica, folder);
    if (strncmp(name, folder, strlen(folder)) == 0)
      return name + strlen(folder);
  }
  *replica = 0;
  mxsi_ckpt_folder(1, 0, folder);
  return known <= 1 && strncmp(name, folder, strlen(folder)) == 0 ? name + strlen(folder) : NULL;
}

static mxs_status add_line(reading *at, const line *from) {
  mxs_ckpt *ckpt = at->ckpt;
  int64_t replica = 0;
  const char *column = column_of(at, from->name, &replica);
  memcpy(ckpt->digests[ckpt->count + at->columns], from->digest, MXS_STORE_DIGEST_TEXT);
  if (column != NULL) {
    mxs_history *history = &ckpt->histories[replica];
    if (history->columns > 0 && from->rows != history->rows)
      return mxs_fail(MXS_ERR_DATA, "%s: columns of the metrics differ in length", ckpt->path);
    if (history->columns == 0)
      history->names = ckpt->columns + at->columns;
    ckpt->columns[at->columns++] = column;
    history->columns++;
    history->rows = history->capacity = from->rows;
    ckpt->info.replicas = replica + 1;
    return MXS_OK;
  }
  if (at->columns > 0)
    return mxs_fail(MXS_ERR_DATA, "%s: the manifest is out of order", ckpt->path);
  mxs_array *array = &ckpt->arrays[ckpt->count++];
  *array = (mxs_array){.name = from->name,
                       .is_integer = strcmp(from->type, "i64") == 0,
                       .rows = from->rows,
                       .cols = from->cols};
  return mxs_alloc(from->rows * from->cols, sizeof(double), &array->data);
}

/* Take the manifest apart: arrays with room for their data, then histories. */
static mxs_status add_lines(mxs_ckpt *ckpt, int64_t lines) {
  reading at = {.ckpt = ckpt};
  char *rest = ckpt->lines;
  for (int64_t i = 0; i < lines; i++) {
    line one = {0};
    if (!next_line(&rest, &one))
      return mxs_fail(MXS_ERR_DATA, "%s: line %lld of the manifest makes no sense", ckpt->path,
                      (long long)i + 1);
    MXS_TRY(add_line(&at, &one));
  }
  if (ckpt->info.replicas == 0)
    ckpt->info.replicas = 1;
  for (int64_t r = 0; r < ckpt->info.replicas; r++) {
    mxs_history *history = &ckpt->histories[r];
    MXS_TRY(mxs_alloc(history->rows * history->columns, sizeof(double), &history->values));
  }
  return MXS_OK;
}

mxs_status mxsi_ckpt_create(const char *path, const char *manifest, mxs_ckpt **out) {
  mxs_ckpt *ckpt = NULL;
  int64_t lines = 0;
  *out = NULL;
  for (const char *at = manifest; *at != '\0'; at++)
    lines += *at == '\n';
  MXS_TRY(mxs_alloc(1, sizeof *ckpt, &ckpt));
  mxs_status status = MXS_OK;
  MXS_TRY_GOTO(status, mxs_text_format(&ckpt->path, "%s", path), cleanup);
  MXS_TRY_GOTO(status, mxs_text_format(&ckpt->manifest, "%s", manifest), cleanup);
  MXS_TRY_GOTO(status, mxs_text_format(&ckpt->lines, "%s", manifest), cleanup);
  MXS_TRY_GOTO(status, mxs_alloc(lines, sizeof *ckpt->arrays, &ckpt->arrays), cleanup);
  MXS_TRY_GOTO(status, mxs_alloc(lines + 1, sizeof *ckpt->histories, &ckpt->histories), cleanup);
  MXS_TRY_GOTO(status, mxs_alloc(lines, sizeof *ckpt->columns, &ckpt->columns), cleanup);
  MXS_TRY_GOTO(status, mxs_alloc(lines, sizeof *ckpt->digests, &ckpt->digests), cleanup);
  MXS_TRY_GOTO(status, add_lines(ckpt, lines), cleanup);
  *out = ckpt;
cleanup:
  if (status != MXS_OK)
    mxs_ckpt_destroy(&ckpt);
  return status;
}

void mxs_ckpt_destroy(mxs_ckpt **ckpt) {
  mxs_ckpt *old = *ckpt;
  if (old == NULL)
    return;
  for (int64_t i = 0; i < old->count; i++)
    mxs_release(&old->arrays[i].data);
  for (int64_t r = 0; r < old->info.replicas; r++)
    mxs_history_clear(&old->histories[r]);
  mxs_release(&old->histories);
  mxs_release(&old->arrays);
  mxs_release(&old->columns);
  mxs_release(&old->digests);
  mxs_release(&old->lines);
  mxs_release(&old->path);
  mxs_release(&old->manifest);
  mxs_release(&old->config);
  mxs_release(ckpt);
}

const char *mxs_ckpt_path(const mxs_ckpt *ckpt) {
  return ckpt->path;
}

const mxs_ckpt_info *mxs_ckpt_get_info(const mxs_ckpt *ckpt) {
  return &ckpt->info;
}

const char *mxs_ckpt_config(const mxs_ckpt *ckpt) {
  return ckpt->config;
}

int64_t mxs_ckpt_arrays(const mxs_ckpt *ckpt, const mxs_array **arrays) {
  *arrays = ckpt->arrays;
  return ckpt->count;
}

const mxs_history *mxs_ckpt_history(const mxs_ckpt *ckpt, int64_t replica) {
  return &ckpt->histories[replica];
}

static const mxs_array *find(const mxs_ckpt *ckpt, const char *name) {
  for (int64_t i = 0; i < ckpt->count; i++)
    if (strcmp(ckpt->arrays[i].name, name) == 0)
      return &ckpt->arrays[i];
  return NULL;
}

mxs_status mxs_ckpt_doubles(const mxs_ckpt *ckpt, const char *name, const mxs_array **array) {
  *array = find(ckpt, name);
  if (*array == NULL || (*array)->is_integer)
    return mxs_fail(MXS_ERR_DATA, "%s: no dataset /%s in the checkpoint", ckpt->path, name);
  return MXS_OK;
}

mxs_status mxs_ckpt_fill(const mxs_ckpt *ckpt, mxs_array *arrays, int64_t count) {
  for (int64_t i = 0; i < count; i++) {
    const mxs_array *from = find(ckpt, arrays[i].name);
    if (from == NULL && arrays[i].optional)
      continue;
    if (from == NULL)
      return mxs_fail(MXS_ERR_DATA, "%s: there is no /%s", ckpt->path, arrays[i].name);
    if (from->rows != arrays[i].rows || from->cols != arrays[i].cols ||
        !from->is_integer != !arrays[i].is_integer)
      return mxs_fail(MXS_ERR_DATA, "%s: /%s is %lld x %lld, expected %lld x %lld %s", ckpt->path,
                      arrays[i].name, (long long)from->rows, (long long)from->cols,
                      (long long)arrays[i].rows, (long long)arrays[i].cols,
                      arrays[i].is_integer ? "integers" : "doubles");
    memcpy(arrays[i].data, from->data, (size_t)(from->rows * from->cols) * sizeof(double));
  }
  return MXS_OK;
}
