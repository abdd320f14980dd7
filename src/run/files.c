#include "run/rundir.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NAME_SIZE = 64, READ_LIMIT = 1 << 24 };

mxs_status mxsi_file_fail(const mxsi_rundir *dir, const char *name, const char *what) {
  return mxs_fail(MXS_ERR_IO, "cannot %s %s/%s: %s", what, dir->path, name, strerror(errno));
}

/* A name of this ownership alone: what a former owner has begun can never be taken for ours, nor be
 * published in the place of it. */
static void temporary_name(const mxsi_rundir *dir, const char *name, char out[NAME_SIZE]) {
  const mxsi_rundir *owner = dir->owner != NULL ? dir->owner : dir;
  (void)snprintf(out, NAME_SIZE, "%s.tmp.%s", name, owner->token);
}

/* fdopen that closes the descriptor when it fails */
static FILE *stream_of(int fd, const char *mode) {
  if (fd < 0)
    return NULL;
  FILE *file = fdopen(fd, mode);
  if (file == NULL) {
    const int reason = errno;
    (void)close(fd);
    errno = reason;
  }
  return file;
}

/* An earlier write that failed left its errno behind long ago. */
static int reaches_disk(FILE *file, int forced) {
  if (ferror(file)) {
    errno = EIO;
    return 0;
  }
  return fflush(file) == 0 && (!forced || fsync(fileno(file)) == 0);
}

/* Of a small run of many: config.yaml, by which the directory is known as a run, the complete
 * metrics.csv and summary.json, and with it all names in the directory. The checkpoint is forced
 * where it is written; the log and the beginning of metrics.csv may be lost with the system. */
static int is_hasty(const mxsi_rundir *dir) {
  return dir->owner != NULL ? dir->owner->hasty : dir->hasty;
}

mxs_status mxsi_file_begin(const mxsi_rundir *dir, const char *name, FILE **file) {
  char temporary[NAME_SIZE];
  temporary_name(dir, name, temporary);
  *file =
      stream_of(openat(dir->fd, temporary, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0666), "w");
  return *file == NULL ? mxsi_file_fail(dir, temporary, "create") : MXS_OK;
}

mxs_status mxsi_file_publish(const mxsi_rundir *dir, const char *name, FILE *file) {
  char temporary[NAME_SIZE];
  temporary_name(dir, name, temporary);
  if (!reaches_disk(file, !is_hasty(dir) || strcmp(name, "metrics.csv") != 0))
    return mxsi_file_fail(dir, temporary, "write");
  return mxsi_file_rename(dir, temporary, name);
}

mxs_status mxsi_file_rename(const mxsi_rundir *dir, const char *from, const char *to) {
  MXS_TRY(mxsi_rundir_check(dir));
  if (renameat(dir->fd, from, dir->fd, to) != 0) {
    const int reason = errno;
    MXS_TRY(mxsi_rundir_check(dir)); /* a new owner removes what a former one has begun */
    errno = reason;
    return mxsi_file_fail(dir, from, "rename");
  }
  if (is_hasty(dir) && strcmp(to, "summary.json") != 0)
    return MXS_OK;
  if (fsync(dir->fd) != 0 &&
      errno != EINVAL) /* EINVAL: file systems that cannot sync directories */
    return mxsi_file_fail(dir, ".", "sync");
  return MXS_OK;
}

mxs_status mxsi_file_replace(const mxsi_rundir *dir, const char *name, const char *text) {
  FILE *file = NULL;
  MXS_TRY(mxsi_file_begin(dir, name, &file));
  mxs_status status = MXS_OK;
  if (fputs(text, file) < 0)
    status = mxsi_file_fail(dir, name, "write");
  if (status == MXS_OK)
    status = mxsi_file_publish(dir, name, file);
  if (status != MXS_OK)
    mxsi_file_abandon(dir, name, &file);
  else if (fclose(file) != 0)
    status = mxsi_file_fail(dir, name, "close");
  return status;
}

void mxsi_file_abandon(const mxsi_rundir *dir, const char *name, FILE **file) {
  char temporary[NAME_SIZE];
  temporary_name(dir, name, temporary);
  if (*file != NULL)
    (void)fclose(*file);
  *file = NULL;
  (void)unlinkat(dir->fd, temporary, 0); /* ours alone, whoever owns the directory */
}

mxs_status mxsi_file_append(const mxsi_rundir *dir, const char *name, FILE **file) {
  *file = NULL;
  MXS_TRY(mxsi_rundir_check(dir));
  const int fd = openat(dir->fd, name, O_CREAT | O_APPEND | O_RDWR | O_CLOEXEC, 0666);
  struct stat info;
  char last = '\n';
  if (fd < 0)
    return mxsi_file_fail(dir, name, "open");
  if (fstat(fd, &info) == 0 && info.st_size > 0 && pread(fd, &last, 1, info.st_size - 1) != 1)
    last = '\n';
  *file = stream_of(fd, "a");
  if (*file == NULL)
    return mxsi_file_fail(dir, name, "open");
  if (last != '\n' && fputc('\n', *file) == EOF)
    return mxsi_file_fail(dir, name, "write");
  return MXS_OK;
}

mxs_status mxsi_file_close(const mxsi_rundir *dir, const char *name, FILE **file) {
  FILE *const stream = *file;
  if (stream == NULL)
    return MXS_OK;
  *file = NULL;
  mxs_status status = MXS_OK;
  if (!reaches_disk(stream, !is_hasty(dir) || strcmp(name, "metrics.csv") == 0))
    status = mxsi_file_fail(dir, name, "write");
  if (fclose(stream) != 0 && status == MXS_OK)
    status = mxsi_file_fail(dir, name, "close");
  return status;
}

char *mxsi_file_read(int dir_fd, const char *name) {
  char *text = NULL;
  FILE *file = stream_of(openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK), "r");
  if (file == NULL)
    return NULL;
  struct stat info;
  if (fstat(fileno(file), &info) == 0 && S_ISREG(info.st_mode) && info.st_size < READ_LIMIT &&
      mxs_alloc(info.st_size + 1, 1, &text) == MXS_OK &&
      fread(text, 1, (size_t)info.st_size, file) != (size_t)info.st_size)
    mxs_release(&text);
  (void)fclose(file);
  return text;
}
