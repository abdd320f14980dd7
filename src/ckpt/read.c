#include "base/text.h"
#include "ckpt/ckpt_impl.h"

#include <string.h>

static mxs_status check_format(hid_t file, const char *path, int *newer) {
  char format[64];
  int64_t version = 0;
  if (!mxs_store_has_attribute(file, "format"))
    return mxs_fail(MXS_ERR_DATA, "%s: not a checkpoint (there is no attribute `format`)", path);
  MXS_TRY(mxs_store_get_text(file, path, "format", format, sizeof format));
  if (strcmp(format, MXSI_CKPT_FORMAT) != 0)
    return mxs_fail(MXS_ERR_DATA, "%s: this is a `%s` file, not a checkpoint", path, format);
  MXS_TRY(mxs_store_get_integer(file, path, "format_version", &version));
  *newer = version > MXSI_CKPT_FORMAT_VERSION;
  if (version == MXSI_CKPT_FORMAT_VERSION)
    return MXS_OK;
  return mxs_fail(MXS_ERR_DATA, "%s: format_version %lld, but this build reads %d%s", path,
                  (long long)version, MXSI_CKPT_FORMAT_VERSION,
                  *newer ? "; use the newer mxsense that wrote it" : "");
}

static mxs_status read_info(hid_t file, const char *path, mxs_ckpt_info *info) {
  int64_t finished = 0;
  MXS_TRY(mxs_store_get_integer(file, path, "iteration", &info->iteration));
  MXS_TRY(mxs_store_get_integer(file, path, "finished", &finished));
  MXS_TRY(mxs_store_get_text(file, path, "reason", info->reason, sizeof info->reason));
  MXS_TRY(
      mxs_store_get_text(file, path, "blas_kernel", info->blas_kernel, sizeof info->blas_kernel));
  MXS_TRY(mxs_store_get_unsigned(file, path, "problem_digest", &info->problem_digest));
  info->finished = finished != 0;
  return MXS_OK;
}

/* Read a dataset of the manifest and compare it with its digest. */
static mxs_status read_set(hid_t file,
                           const char *path,
                           const char *name,
                           const mxs_array *shape,
                           int ndims,
                           const char *digest,
                           void *data) {
  mxs_store_set set;
  char found[MXS_STORE_DIGEST_TEXT];
  MXS_TRY(mxs_store_set_open(file, path, name, &set));
  mxs_status status = MXS_OK;
  const int fits = set.ndims == ndims && set.dims[0] == shape->rows &&
                   (ndims == 1 || set.dims[1] == shape->cols) &&
                   set.is_integer == (shape->is_integer != 0) && set.bits == 64;
  if (!fits)
    status = mxs_fail(MXS_ERR_DATA, "%s: /%s has shape %s %s, not what the manifest says", path,
                      name, set.shape, set.type_name);
  else
    status =
        mxs_store_read_all(&set, shape->is_integer ? H5T_NATIVE_INT64 : H5T_NATIVE_DOUBLE, data);
  if (status == MXS_OK) {
    mxs_store_digest(data, set.entries * (int64_t)sizeof(double), found);
    if (strcmp(found, digest) != 0)
      status = mxs_fail(MXS_ERR_DATA, "%s: /%s does not verify (digest differs)", path, name);
  }
  mxs_store_set_close(&set);
  return status;
}

/* The metrics of a replica; `before`: datasets of the manifest ahead of them. */
static mxs_status read_columns(hid_t file, mxs_ckpt *ckpt, int64_t replica, int64_t before) {
  const mxs_history *history = &ckpt->histories[replica];
  const mxs_array shape = {.rows = history->rows, .cols = 1};
  double *column = NULL;
  char *name = NULL;
  char folder[MXSI_CKPT_FOLDER];
  mxsi_ckpt_folder(ckpt->info.replicas, replica, folder);
  mxs_status status = mxs_alloc(history->rows, sizeof *column, &column);
  for (int64_t c = 0; c < history->columns && status == MXS_OK; c++) {
    MXS_TRY_GOTO(status, mxs_text_format(&name, "%s%s", folder, history->names[c]), cleanup);
    MXS_TRY_GOTO(status,
                 read_set(file, ckpt->path, name, &shape, 1, ckpt->digests[before + c], column),
                 cleanup);
    for (int64_t r = 0; r < history->rows; r++)
      history->values[r * history->columns + c] = column[r];
    mxs_release(&name);
  }
cleanup:
  mxs_release(&name);
  mxs_release(&column);
  return status;
}

/* Arrays and metrics of the manifest. */
static mxs_status read_sets(hid_t file, mxs_ckpt *ckpt) {
  for (int64_t i = 0; i < ckpt->count; i++)
    MXS_TRY(read_set(file, ckpt->path, ckpt->arrays[i].name, &ckpt->arrays[i], 2, ckpt->digests[i],
                     ckpt->arrays[i].data));
  int64_t before = ckpt->count;
  for (int64_t r = 0; r < ckpt->info.replicas; r++) {
    MXS_TRY(read_columns(file, ckpt, r, before));
    before += ckpt->histories[r].columns;
  }
  return MXS_OK;
}

/* What a file says of itself, and room for the rest: attributes and texts, verified. */
static mxs_status read_head(
    hid_t file, const char *path, mxs_ckpt **out, char seal[MXS_STORE_DIGEST_TEXT], int *newer) {
  char stored[MXS_STORE_DIGEST_TEXT];
  mxs_ckpt_info info = {0};
  char *manifest = NULL;
  char *config = NULL;
  mxs_ckpt *ckpt = NULL;
  mxs_status status = check_format(file, path, newer);
  if (status == MXS_OK)
    status = read_info(file, path, &info);
  if (status == MXS_OK)
    status = mxs_store_get_text(file, path, "digest", stored, sizeof stored);
  if (status != MXS_OK)
    goto cleanup;
  MXS_TRY_GOTO(status, mxs_store_read_text(file, path, "manifest", &manifest), cleanup);
  MXS_TRY_GOTO(status, mxs_store_read_text(file, path, "config", &config), cleanup);
  MXS_TRY_GOTO(status, mxsi_ckpt_seal(&info, config, manifest, seal), cleanup);
  if (strcmp(seal, stored) != 0) {
    status = mxs_fail(MXS_ERR_DATA,
                      "%s: attributes, config and manifest do not verify (digest differs)", path);
    goto cleanup;
  }
  MXS_TRY_GOTO(status, mxsi_ckpt_create(path, manifest, &ckpt), cleanup);
  info.replicas = ckpt->info.replicas;
  ckpt->info = info;
  ckpt->config = config;
  config = NULL;
  *out = ckpt;
cleanup:
  mxs_release(&manifest);
  mxs_release(&config);
  return status;
}

mxs_status mxsi_ckpt_load(const char *path,
                          mxs_ckpt **out,
                          char seal[MXS_STORE_DIGEST_TEXT],
                          int *newer) {
  hid_t file = H5I_INVALID_HID;
  *out = NULL;
  *newer = 0;
  MXS_TRY(mxs_store_open(path, &file));
  mxs_status status = read_head(file, path, out, seal, newer);
  if (status == MXS_OK)
    status = read_sets(file, *out);
  if (status != MXS_OK)
    mxs_ckpt_destroy(out);
  (void)mxs_store_close(&file);
  return status;
}

static mxs_status survey_set(hid_t file, const char *path, const char *name) {
  mxs_store_set set;
  if (mxs_store_set_open(file, path, name, &set) != MXS_OK)
    return MXS_OK; /* reading it says the same */
  const mxs_status status = mxs_store_survey(&set);
  mxs_store_set_close(&set);
  return status;
}

static mxs_status survey_sets(hid_t file, const mxs_ckpt *ckpt) {
  for (int64_t i = 0; i < ckpt->count; i++)
    MXS_TRY(survey_set(file, ckpt->path, ckpt->arrays[i].name));
  for (int64_t r = 0; r < ckpt->info.replicas; r++) {
    const mxs_history *history = &ckpt->histories[r];
    char folder[MXSI_CKPT_FOLDER];
    mxsi_ckpt_folder(ckpt->info.replicas, r, folder);
    for (int64_t c = 0; c < history->columns; c++) {
      char *name = NULL;
      MXS_TRY(mxs_text_format(&name, "%s%s", folder, history->names[c]));
      const mxs_status status = survey_set(file, ckpt->path, name);
      mxs_release(&name);
      MXS_TRY(status);
    }
  }
  return MXS_OK;
}

mxs_status mxs_ckpt_survey(const char *path) {
  char seal[MXS_STORE_DIGEST_TEXT];
  int newer = 0;
  hid_t file = H5I_INVALID_HID;
  mxs_ckpt *ckpt = NULL;
  MXS_TRY(mxs_store_open(path, &file));
  mxs_status status = read_head(file, path, &ckpt, seal, &newer);
  if (ckpt != NULL)
    status = survey_sets(file, ckpt);
  else if (status != MXS_ERR_MEMORY)
    status = MXS_OK; /* reading it says the same, and whether the format is newer */
  mxs_ckpt_destroy(&ckpt);
  (void)mxs_store_close(&file);
  return status;
}

/* Text of rank 0 to all, NULL included; released with mxs_release(). Collective; the status may
 * differ. */
static mxs_status share_text(const mxs_comm *comm, char **text) {
  int64_t bytes = comm->rank == 0 && *text != NULL ? (int64_t)strlen(*text) + 1 : 0;
  mxs_comm_bcast(comm, &bytes, (int64_t)sizeof bytes, 0);
  mxs_status status = MXS_OK;
  if (comm->rank != 0 && bytes > 0)
    status = mxs_alloc(bytes, 1, text);
  status = mxs_comm_agree(comm, status);
  if (status == MXS_OK && bytes > 0)
    mxs_comm_bcast(comm, *text, bytes, 0);
  return status;
}

/* Contents of the arrays and the metrics to all. Collective. */
static void share_contents(const mxs_comm *comm, const mxs_ckpt *ckpt) {
  for (int64_t i = 0; i < ckpt->count; i++)
    mxs_comm_bcast(comm, ckpt->arrays[i].data,
                   ckpt->arrays[i].rows * ckpt->arrays[i].cols * (int64_t)sizeof(double), 0);
  for (int64_t r = 0; r < ckpt->info.replicas; r++) {
    const mxs_history *history = &ckpt->histories[r];
    mxs_comm_bcast(comm, history->values,
                   history->rows * history->columns * (int64_t)sizeof(double), 0);
  }
}

/* What rank 0 has read to all; `*ckpt` is NULL on the others. Collective. */
static mxs_status share(const mxs_comm *comm, mxs_ckpt **ckpt) {
  mxs_ckpt *shared = *ckpt;
  const int is_root = shared != NULL;
  char *path = is_root ? shared->path : NULL;
  char *manifest = is_root ? shared->manifest : NULL;
  char *config = is_root ? shared->config : NULL;
  mxs_status status = MXS_OK;
  MXS_TRY_GOTO(status, share_text(comm, &path), cleanup);
  MXS_TRY_GOTO(status, share_text(comm, &manifest), cleanup);
  MXS_TRY_GOTO(status, share_text(comm, &config), cleanup);
  if (!is_root)
    status = mxsi_ckpt_create(path, manifest, &shared);
  status = mxs_comm_agree(comm, status);
  if (status != MXS_OK || shared == NULL)
    goto cleanup;
  shared->config = config;
  config = NULL;
  mxs_comm_bcast(comm, &shared->info, (int64_t)sizeof shared->info, 0);
  share_contents(comm, shared);
cleanup:
  if (!is_root) {
    mxs_release(&path);
    mxs_release(&manifest);
    mxs_release(&config);
  }
  if (status != MXS_OK)
    mxs_ckpt_destroy(&shared);
  *ckpt = shared;
  return status;
}

mxs_status mxs_ckpt_read(const mxs_comm *comm, const char *path, mxs_ckpt **out) {
  char seal[MXS_STORE_DIGEST_TEXT];
  int newer = 0;
  *out = NULL;
  mxs_status status = comm->rank == 0 ? mxsi_ckpt_load(path, out, seal, &newer) : MXS_OK;
  MXS_TRY(mxs_comm_agree(comm, status));
  return share(comm, out);
}

/* The text of an error joined to what was passed over before. */
static mxs_status add_reason(char **why) {
  char *longer = NULL;
  MXS_TRY(mxs_text_format(&longer, "%s%s%s", *why != NULL ? *why : "", *why != NULL ? "; " : "",
                          mxs_last_error()));
  mxs_release(why);
  *why = longer;
  return MXS_OK;
}

/* Try one file: a checkpoint in `*out`, or the reason against it joined to `*why`. A newer format
 * is no damage: going back would lose work behind the user's back. Local: rank 0. */
static mxs_status try_file(const char *path, mxs_ckpt **out, char **why, int *missing) {
  char seal[MXS_STORE_DIGEST_TEXT];
  int newer = 0;
  const mxs_status status = mxsi_ckpt_load(path, out, seal, &newer);
  const int passed_over = status == MXS_ERR_INPUT || status == MXS_ERR_DATA || status == MXS_ERR_IO;
  *missing = *missing && status == MXS_ERR_INPUT;
  return passed_over && !newer ? add_reason(why) : status;
}

/* The newest good one of those that were kept. Local: rank 0. */
static mxs_status try_kept(const char *dir, mxs_ckpt **out, char **why, int *missing) {
  int64_t *iterations = NULL;
  int64_t count = 0;
  MXS_TRY(mxs_ckpt_kept(dir, &iterations, &count));
  mxs_status status = MXS_OK;
  for (int64_t i = 0; i < count && status == MXS_OK && *out == NULL; i++) {
    char *path = NULL;
    status = mxs_ckpt_kept_path(dir, iterations[i], &path);
    if (status == MXS_OK)
      status = try_file(path, out, why, missing);
    mxs_release(&path);
  }
  mxs_release(&iterations);
  return status;
}

/* The newest good one of a directory, NULL when there is none. Local: rank 0. */
static mxs_status load_latest(const char *dir, mxs_ckpt **out, char **note) {
  static const char *const names[] = {"checkpoint.h5", "checkpoint.prev.h5"};
  char *why = NULL;
  int missing = 1;
  mxs_status status = MXS_OK;
  for (size_t i = 0; i < sizeof names / sizeof *names && status == MXS_OK && *out == NULL; i++) {
    char *path = NULL;
    status = mxs_text_format(&path, "%s/%s", dir, names[i]);
    if (status == MXS_OK)
      status = try_file(path, out, &why, &missing);
    mxs_release(&path);
  }
  if (status == MXS_OK && *out == NULL)
    status = try_kept(dir, out, &why, &missing);
  if (status == MXS_OK && *out != NULL && why != NULL)
    status = mxs_text_format(note, "%s; going on from %s", why, (*out)->path);
  else if (status == MXS_OK && *out == NULL && !missing)
    status = mxs_fail(MXS_ERR_IO, "no checkpoint verifies: %s", why);
  if (status != MXS_OK)
    mxs_ckpt_destroy(out);
  mxs_release(&why);
  return status;
}

mxs_status mxs_ckpt_read_latest(const mxs_comm *comm,
                                const char *dir,
                                mxs_ckpt **out,
                                char **note) {
  *out = NULL;
  *note = NULL;
  mxs_status status = comm->rank == 0 ? load_latest(dir, out, note) : MXS_OK;
  MXS_TRY_GOTO(status, mxs_comm_agree(comm, status), cleanup);
  int64_t found = *out != NULL;
  mxs_comm_bcast(comm, &found, (int64_t)sizeof found, 0);
  MXS_TRY_GOTO(status, share_text(comm, note), cleanup);
  if (found)
    status = share(comm, out);
cleanup:
  if (status != MXS_OK) {
    mxs_ckpt_destroy(out);
    mxs_release(note);
  }
  return status;
}
