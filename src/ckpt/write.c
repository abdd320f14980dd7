#include "base/text.h"
#include "ckpt/ckpt_impl.h"

#include "base/hash.h"
#include "conf/build.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define ALONE_BYTES (INT64_C(1) << 30)

/* A dataset to be written. */
typedef struct part {
  char name[MXSI_CKPT_NAME];
  int is_integer, ndims;
  int64_t dims[2];
  const void *data;
  char digest[MXS_STORE_DIGEST_TEXT];
  hid_t set;
} part;

/* All that goes into a file, and where it goes. */
typedef struct snapshot {
  const mxs_comm *comm;
  const mxs_comm *io; /* the ranks that write: all, or rank 0 alone */
  const mxs_ckpt_place *place;
  const mxs_ckpt_info *info;
  const char *config;
  part *parts;
  int64_t count;
  double *columns; /* the metrics, a column after the other */
  char *manifest;
  char seal[MXS_STORE_DIGEST_TEXT];
  char *temporary, *spare, *old, *current, *previous;
  hid_t file;
  int lost; /* rank 0: the guard failed */
} snapshot;

static mxs_status add_part(
    snapshot *s, const char *folder, const char *name, const mxs_array *array, int ndims) {
  part *p = &s->parts[s->count++];
  *p = (part){.is_integer = array->is_integer,
              .ndims = ndims,
              .dims = {array->rows, array->cols},
              .data = array->data,
              .set = H5I_INVALID_HID};
  const int length = snprintf(p->name, sizeof p->name, "%s%s", folder, name);
  if (length < 0 || length >= (int)sizeof p->name || strpbrk(name, " \n") != NULL)
    return mxs_fail(MXS_ERR_ARG, "`%s` is no name for a dataset of a checkpoint", name);
  mxs_store_digest(p->data, array->rows * array->cols * (int64_t)sizeof(double), p->digest);
  return MXS_OK;
}

/* Lines of the manifest and the digest that seals all. */
static mxs_status seal_parts(snapshot *s) {
  const int64_t line = MXSI_CKPT_NAME + MXS_STORE_DIGEST_TEXT + 64;
  MXS_TRY(mxs_alloc(s->count * line + 1, 1, &s->manifest));
  char *at = s->manifest;
  for (int64_t i = 0; i < s->count; i++) {
    const part *p = &s->parts[i];
    const int length =
        snprintf(at, (size_t)line, "%s %s %lld %lld %s\n", p->name, p->is_integer ? "i64" : "f64",
                 (long long)p->dims[0], (long long)p->dims[1], p->digest);
    at += length > 0 ? length : 0;
  }
  return mxsi_ckpt_seal(s->info, s->config, s->manifest, s->seal);
}

/* The columns of a history, put one after the other into `columns`, which moves on. */
static mxs_status add_history(snapshot *s,
                              const char *folder,
                              const mxs_history *history,
                              double **columns) {
  for (int64_t c = 0; c < history->columns; c++) {
    double *column = *columns;
    const mxs_array array = {.rows = history->rows, .cols = 1, .data = column};
    for (int64_t r = 0; r < history->rows; r++)
      column[r] = history->values[r * history->columns + c];
    MXS_TRY(add_part(s, folder, history->names[c], &array, 1));
    *columns += history->rows;
  }
  return MXS_OK;
}

/* List arrays and columns with their digests. Local. */
static mxs_status collect(snapshot *s,
                          const mxs_array *arrays,
                          int64_t count,
                          const mxs_history *histories) {
  const int64_t replicas = s->info->replicas > 0 ? s->info->replicas : 1;
  int64_t columns = 0;
  int64_t numbers = 0;
  for (int64_t r = 0; r < replicas; r++) {
    columns += histories[r].columns;
    numbers += histories[r].rows * histories[r].columns;
  }
  MXS_TRY(mxs_alloc(count + columns, sizeof *s->parts, &s->parts));
  MXS_TRY(mxs_alloc(numbers, sizeof *s->columns, &s->columns));
  for (int64_t i = 0; i < count; i++)
    MXS_TRY(add_part(s, "", arrays[i].name, &arrays[i], 2));
  double *next = s->columns;
  for (int64_t r = 0; r < replicas; r++) {
    char folder[MXSI_CKPT_FOLDER];
    mxsi_ckpt_folder(replicas, r, folder);
    MXS_TRY(add_history(s, folder, &histories[r], &next));
  }
  return seal_parts(s);
}

static mxs_status name_files(snapshot *s) {
  const char *dir = s->place->dir;
  const char *tag = s->place->tag;
  MXS_TRY(mxs_text_format(&s->temporary, "%s/checkpoint.tmp.%s.h5", dir, tag));
  MXS_TRY(mxs_text_format(&s->spare, "%s/checkpoint.tmp.%s.spare", dir, tag));
  MXS_TRY(mxs_text_format(&s->old, "%s/checkpoint.tmp.%s.old.h5", dir, tag));
  MXS_TRY(mxs_text_format(&s->current, "%s/checkpoint.h5", dir));
  return mxs_text_format(&s->previous, "%s/checkpoint.prev.h5", dir);
}

static mxs_status put_attributes(const snapshot *s) {
  char config_digest[MXS_STORE_DIGEST_TEXT];
  mxs_store_digest(s->config, (int64_t)strlen(s->config), config_digest);
  MXS_TRY(mxs_store_put_text(s->file, "format", MXSI_CKPT_FORMAT));
  MXS_TRY(mxs_store_put_integer(s->file, "format_version", MXSI_CKPT_FORMAT_VERSION));
  MXS_TRY(mxs_store_put_text(s->file, "creator", mxs_build_get().creator));
  MXS_TRY(mxs_store_put_integer(s->file, "iteration", s->info->iteration));
  MXS_TRY(mxs_store_put_integer(s->file, "finished", s->info->finished));
  MXS_TRY(mxs_store_put_text(s->file, "reason", s->info->reason));
  MXS_TRY(mxs_store_put_text(s->file, "blas_kernel", s->info->blas_kernel));
  MXS_TRY(mxs_store_put_unsigned(s->file, "problem_digest", s->info->problem_digest));
  MXS_TRY(mxs_store_put_text(s->file, "config_digest", config_digest));
  return mxs_store_put_text(s->file, "digest", s->seal);
}

/* Datasets and attributes: collective calls in the same order on all ranks; the status may differ.
 */
static mxs_status create_parts(snapshot *s) {
  for (int64_t i = 0; i < s->count; i++) {
    part *p = &s->parts[i];
    MXS_TRY(mxs_store_create_set(s->file, s->temporary, p->name,
                                 p->is_integer ? H5T_STD_I64LE : H5T_IEEE_F64LE, p->ndims, p->dims,
                                 MXS_STORE_CHECKED, &p->set));
    MXS_TRY(mxs_store_put_text(p->set, "xxh3_128", p->digest));
  }
  return put_attributes(s);
}

/* One text dataset. Collective; the status may differ. */
static mxs_status write_text(const snapshot *s, const char *name, const char *text) {
  hid_t type = H5I_INVALID_HID;
  hid_t set = H5I_INVALID_HID;
  MXS_TRY(mxs_comm_agree(s->io, mxs_store_text_type((int64_t)strlen(text), &type)));
  mxs_status status =
      mxs_store_create_set(s->file, s->temporary, name, type, 0, NULL, MXS_STORE_CHECKED, &set);
  status = mxs_comm_agree(s->io, status);
  if (status == MXS_OK)
    status = mxs_store_write_shared(s->io, set, s->temporary, type, 0, NULL, text);
  (void)mxs_store_close(&set);
  (void)mxs_store_close(&type);
  return status;
}

/* Data of all parts. Collective: every rank makes every call, also after a failure; the status may
 * differ. */
static mxs_status write_parts(const snapshot *s) {
  mxs_status status = MXS_OK;
  for (int64_t i = 0; i < s->count; i++) {
    const part *p = &s->parts[i];
    const mxs_status written = mxs_store_write_shared(
        s->io, p->set, s->temporary, p->is_integer ? H5T_NATIVE_INT64 : H5T_NATIVE_DOUBLE, p->ndims,
        p->dims, p->data);
    status = status == MXS_OK ? written : status;
  }
  const mxs_status config = write_text(s, "config", s->config);
  status = status == MXS_OK ? config : status;
  const mxs_status manifest = write_text(s, "manifest", s->manifest);
  return status == MXS_OK ? manifest : status;
}

/* Room for all but the data. */
static int64_t overhead_bytes(const snapshot *s) {
  return (int64_t)(strlen(s->config) + strlen(s->manifest)) + (INT64_C(1) << 18) + s->count * 4096;
}

/* Size of the file, for the question whether it fits; large chunks are aligned. */
static int64_t expected_bytes(const snapshot *s) {
  int64_t bytes = overhead_bytes(s);
  for (int64_t i = 0; i < s->count; i++)
    bytes += s->parts[i].dims[0] * s->parts[i].dims[1] * (int64_t)sizeof(double) / 16 * 17;
  return bytes;
}

/* The file system is asked for the room before HDF5 is involved, which can neither close nor forget
 * a file that does not fit. The create cuts the file to nothing and gives the room back: a spare
 * file keeps what HDF5 needs to close in case another takes it meanwhile. Local: rank 0. */
static mxs_status reserve(const snapshot *s, int *promised) {
  (void)unlink(s->temporary); /* of a run that was killed */
  (void)unlink(s->spare);
  MXS_TRY(mxs_store_reserve(s->temporary));
  MXS_TRY(mxs_store_reserve(s->spare));
  MXS_TRY(mxs_store_preallocate(s->spare, overhead_bytes(s)));
  return mxs_store_ask_for_room(s->temporary, expected_bytes(s), promised);
}

/* The room is asked for again after the create. Collective over those that write. */
static mxs_status create_file(snapshot *s) {
  mxs_status status = MXS_OK;
  MXS_TRY(mxs_store_create_all(s->io, s->temporary, &s->file));
  MXS_TRY(mxs_comm_agree(s->io, create_parts(s)));
  if (s->io->rank == 0) {
    status = mxs_store_preallocate(s->temporary, expected_bytes(s));
    (void)unlink(s->spare);
  }
  return mxs_comm_agree(s->io, status);
}

/* Collective, also when the file was not created. */
static mxs_status close_file(snapshot *s) {
  mxs_status status = MXS_OK;
  for (int64_t i = 0; i < s->count; i++)
    (void)mxs_store_close(&s->parts[i].set);
  if (s->file >= 0 && H5Fflush(s->file, H5F_SCOPE_GLOBAL) < 0)
    status = mxs_store_fail(MXS_ERR_IO, s->temporary, "cannot flush");
  const mxs_status closed = mxs_store_close(&s->file);
  return mxs_comm_agree(s->io, status == MXS_OK ? closed : status);
}

/* What was written is what was in memory, as a reader sees it: return codes of collective writes
 * say nothing on a full disk. Local: rank 0. */
static mxs_status read_back(const snapshot *s) {
  char seal[MXS_STORE_DIGEST_TEXT];
  int newer = 0;
  mxs_ckpt *ckpt = NULL;
  const mxs_status status = mxsi_ckpt_load(s->temporary, &ckpt, seal, &newer);
  mxs_ckpt_destroy(&ckpt);
  if (status == MXS_ERR_MEMORY)
    return status;
  if (status != MXS_OK)
    return mxs_fail(MXS_ERR_IO, "the checkpoint does not read back (disk full?): %s",
                    mxs_last_error());
  if (strcmp(seal, s->seal) != 0)
    return mxs_fail(MXS_ERR_IO, "%s: another checkpoint is there than was written", s->temporary);
  return MXS_OK;
}

/* Local: rank 0. */
static mxs_status guard(snapshot *s) {
  const mxs_ckpt_place *place = s->place;
  const mxs_status status = place->guard != NULL ? place->guard(place->ctx) : MXS_OK;
  s->lost = s->lost || status != MXS_OK;
  return status;
}

/* One step that publishes, asked for first, and again when it fails: who took the directory over
 * has removed our temporary file. */
static mxs_status move(snapshot *s, const char *from, const char *to) {
  MXS_TRY(guard(s));
  if (rename(from, to) == 0)
    return MXS_OK;
  const int error = errno;
  MXS_TRY(guard(s));
  return mxs_fail(MXS_ERR_IO, "%s: cannot rename to %s: %s", from, to, strerror(error));
}

static int has_no_links(int error) {
  return error == EPERM || error == ENOTSUP || error == ENOSYS || error == EMLINK;
}

/* A second name for a file that is about to make way; its only one where there are no hard links,
 * and `movable`. One of this name, of the same iteration, is from before the run went back to an
 * older checkpoint. */
static mxs_status keep_one(snapshot *s, const char *path, int movable) {
  char *kept = NULL;
  if (s->place->keep == 0)
    return MXS_OK;
  MXS_TRY(mxsi_ckpt_path_to_keep(s->place->dir, path, &kept));
  if (kept == NULL)
    return MXS_OK;
  mxs_status status = MXS_OK;
  if (movable) {
    status = move(s, path, kept);
  } else {
    MXS_TRY_GOTO(status, guard(s), cleanup);
    int error = link(path, kept) == 0 ? 0 : errno;
    if (error == EEXIST && unlink(kept) == 0)
      error = link(path, kept) == 0 ? 0 : errno;
    if (error != 0 && !has_no_links(error))
      status = mxs_fail(MXS_ERR_IO, "%s: cannot link to %s: %s", path, kept, strerror(error));
  }
cleanup:
  mxs_release(&kept);
  return status;
}

/* Between the two renames, the one before is the newest. */
static mxs_status replace_without_links(snapshot *s) {
  if (access(s->current, F_OK) == 0) {
    MXS_TRY(keep_one(s, s->previous, 1));
    MXS_TRY(move(s, s->current, s->previous));
  }
  return move(s, s->temporary, s->current);
}

/* Current -> previous, temporary -> current. The old one keeps a second name until the new one is
 * in place: at every instant there is a current one, and a verified one among current and previous,
 * even if the old one is bad. A failure to link that is not for ever is left for the next time.
 * Local: rank 0. */
static mxs_status replace_current(snapshot *s) {
  MXS_TRY(keep_one(s, s->current, 0));
  MXS_TRY(guard(s));
  (void)unlink(s->old); /* of a run that was killed */
  const int error = link(s->current, s->old) == 0 ? 0 : errno;
  if (has_no_links(error))
    return replace_without_links(s);
  if (error != 0 && error != ENOENT)
    return mxs_fail(MXS_ERR_IO, "%s: cannot link to %s: %s", s->current, s->old, strerror(error));
  MXS_TRY(move(s, s->temporary, s->current));
  return error == 0 ? move(s, s->old, s->previous) : MXS_OK;
}

/* Local: rank 0. */
static mxs_status publish(snapshot *s) {
  const mxs_ckpt_place *place = s->place;
  MXS_TRY(mxs_store_sync(s->temporary));
  MXS_TRY(replace_current(s));
  MXS_TRY(mxs_store_sync_parent(s->current));
  if (place->keep > 0 && guard(s) == MXS_OK)
    mxsi_ckpt_prune(place->dir, s->info->iteration, place->keep);
  return MXS_OK;
}

/* Collective over those that write. */
static mxs_status write_file(snapshot *s) {
  mxs_status status = create_file(s);
  if (status == MXS_OK)
    status = mxs_comm_agree(s->io, write_parts(s));
  const mxs_status closed = close_file(s);
  return status != MXS_OK ? status : closed;
}

/* Rank 0 has all there is to write, and alone it hears of every error. Local. */
static mxs_status write_alone(snapshot *s) {
  mxs_comm *self = NULL;
  MXS_TRY(mxs_comm_create(MPI_COMM_SELF, &self));
  s->io = self;
  const mxs_status status = write_file(s);
  s->io = NULL;
  mxs_comm_destroy(&self);
  return status;
}

/* All ranks write where the room is certain. A disk that fills up under a collective write can hang
 * it, or be passed over in silence: where no room is promised, rank 0 writes alone, but for files
 * so large that one rank would take long. Collective. */
static mxs_status write_somehow(snapshot *s) {
  int promised = 1;
  const int is_root = s->comm->rank == 0;
  MXS_TRY(mxs_comm_agree(s->comm, is_root ? reserve(s, &promised) : MXS_OK));
  mxs_comm_bcast(s->comm, &promised, sizeof promised, 0);
  if (promised || expected_bytes(s) > ALONE_BYTES) {
    s->io = s->comm;
    return write_file(s);
  }
  return mxs_comm_agree(s->comm, is_root ? write_alone(s) : MXS_OK);
}

/* From memory to a verified, published file. Collective. */
static mxs_status save(snapshot *s) {
  const int is_root = s->comm->rank == 0;
  MXS_TRY(mxs_comm_agree(s->comm, is_root ? guard(s) : MXS_OK));
  MXS_TRY(write_somehow(s));
  MXS_TRY(mxs_comm_agree(s->comm, is_root ? read_back(s) : MXS_OK));
  return mxs_comm_agree(s->comm, is_root ? publish(s) : MXS_OK);
}

static void clear(snapshot *s) {
  mxs_release(&s->parts);
  mxs_release(&s->columns);
  mxs_release(&s->manifest);
  mxs_release(&s->temporary);
  mxs_release(&s->spare);
  mxs_release(&s->old);
  mxs_release(&s->current);
  mxs_release(&s->previous);
}

/* After a failure. Collective. */
static mxs_status give_up(snapshot *s, mxs_status status) {
  if (s->comm->rank == 0) {
    (void)unlink(s->temporary);
    (void)unlink(s->spare);
    (void)unlink(s->old);
  }
  if (mxs_comm_max(s->comm, s->lost) != 0)
    return status;
  return status == MXS_ERR_CREATE || status == MXS_ERR_PERMISSION || status == MXS_ERR_DATA
             ? mxs_fail(MXS_ERR_IO, "%s", mxs_last_error())
             : status;
}

mxs_status mxs_ckpt_write(const mxs_comm *comm,
                          const mxs_ckpt_place *place,
                          const mxs_ckpt_info *info,
                          const mxs_array *arrays,
                          int64_t count,
                          const mxs_history *histories,
                          const char *config) {
  snapshot s = {
      .comm = comm, .place = place, .info = info, .config = config, .file = H5I_INVALID_HID};
  mxs_status status = name_files(&s);
  if (status == MXS_OK)
    status = collect(&s, arrays, count, histories);
  MXS_TRY_GOTO(status, mxs_comm_agree(comm, status), cleanup);
  MXS_TRY_GOTO(status, mxs_comm_replicated(comm, mxs_hash64(s.seal, sizeof s.seal, 0)), cleanup);
  status = save(&s);
  if (status != MXS_OK)
    status = give_up(&s, status);
cleanup:
  clear(&s);
  return status;
}
