/* fallocate() is Linux's; posix_fallocate() would write zeros where a file system lacks it. */
#define _GNU_SOURCE
#include "base/text.h"
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

mxs_status mxs_store_reserve(const char *path) {
  const int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (fd >= 0) {
    (void)close(fd);
    return MXS_OK;
  }
  const int error = errno;
  const char *slash = strrchr(path, '/');
  const int length = slash == NULL ? 1 : slash == path ? 1 : (int)(slash - path);
  const char *parent = slash == NULL ? "." : path;
  if (error == ENOENT || error == ENOTDIR)
    return mxs_fail(MXS_ERR_CREATE, "%.*s: no such directory; make it first", length, parent);
  if (error == EACCES || error == EPERM || error == EROFS)
    return mxs_fail(MXS_ERR_PERMISSION, "%.*s: cannot write to this directory: %s", length, parent,
                    strerror(error));
  return mxs_fail(MXS_ERR_CREATE, "%s: cannot create: %s", path, strerror(error));
}

/* What can be known of the room where there is no fallocate(): all but quotas. */
static int free_space_error(int fd, int64_t bytes) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
      (uint64_t)bytes > limit.rlim_cur)
    return EFBIG;
  struct statvfs disk;
  struct stat file;
  if (fstatvfs(fd, &disk) != 0 || fstat(fd, &file) != 0 || disk.f_blocks == 0)
    return 0;
  const uint64_t unit = disk.f_frsize > 0 ? disk.f_frsize : 1;
  const uint64_t held = (uint64_t)file.st_blocks * 512;
  const uint64_t needed = (uint64_t)bytes > held ? (uint64_t)bytes - held : 0;
  return needed / unit >= disk.f_bavail ? ENOSPC : 0;
}

mxs_status mxs_store_ask_for_room(const char *path, int64_t bytes, int *promised) {
  *promised = 0;
  const int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0)
    return mxs_fail(MXS_ERR_IO, "%s: cannot open for writing: %s", path, strerror(errno));
  int error = 0;
  do {
    error = fallocate(fd, 0, 0, (off_t)bytes) == 0 ? 0 : errno;
  } while (error == EINTR);
  const int unknown = error == EOPNOTSUPP || error == ENOSYS || error == EINVAL;
  *promised = !unknown;
  if (unknown)
    error = free_space_error(fd, bytes);
  (void)close(fd);
  if (error == 0)
    return MXS_OK;
  return mxs_fail(MXS_ERR_IO, "%s: no room for %.3g MB: %s", path, (double)bytes * 1e-6,
                  strerror(error));
}

mxs_status mxs_store_preallocate(const char *path, int64_t bytes) {
  int promised = 0;
  return mxs_store_ask_for_room(path, bytes, &promised);
}

static mxs_status sync_path(const char *path, int flags) {
  const int fd = open(path, flags | O_CLOEXEC);
  if (fd < 0)
    return mxs_fail(MXS_ERR_IO, "%s: cannot open to force it to the disk: %s", path,
                    strerror(errno));
  const int error = fsync(fd) == 0 ? 0 : errno;
  (void)close(fd);
  /* Some file systems have no fsync for directories. */
  if (error == 0 || ((flags & O_DIRECTORY) != 0 && (error == EINVAL || error == ENOTSUP)))
    return MXS_OK;
  return mxs_fail(MXS_ERR_IO, "%s: cannot force to the disk: %s", path, strerror(error));
}

mxs_status mxs_store_sync(const char *path) {
  return sync_path(path, O_RDONLY);
}

mxs_status mxs_store_sync_parent(const char *path) {
  char *parent = NULL;
  const char *slash = strrchr(path, '/');
  if (slash == NULL)
    return sync_path(".", O_RDONLY | O_DIRECTORY);
  MXS_TRY(mxs_text_format(&parent, "%.*s", slash == path ? 1 : (int)(slash - path), path));
  const mxs_status status = sync_path(parent, O_RDONLY | O_DIRECTORY);
  mxs_release(&parent);
  return status;
}
