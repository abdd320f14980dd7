#include "run/rundir_impl.h"

#include "conf/settings.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- what is in the directory -------------------------------------------------------------- */

mxs_status mxsi_rundir_refuse(const char *path, const char *what, int reason) {
  const int denied = reason == EACCES || reason == EPERM || reason == EROFS;
  const int full = reason == ENOSPC || reason == EDQUOT || reason == EIO;
  const mxs_status status = denied ? MXS_ERR_PERMISSION : (full ? MXS_ERR_IO : MXS_ERR_CREATE);
  if (reason == ENOENT)
    return mxs_fail(status, "%s: cannot %s: its parent directory does not exist", path, what);
  if (reason == ENOTDIR || reason == EEXIST)
    return mxs_fail(status, "%s: cannot %s: it, or a part of its path, is not a directory", path,
                    what);
  return mxs_fail(status, "%s: cannot %s: %s", path, what, strerror(reason));
}

int mxsi_rundir_has(const mxsi_rundir *dir, const char *name) {
  struct stat info;
  return fstatat(dir->fd, name, &info, 0) == 0;
}

void mxsi_rundir_remove(const mxsi_rundir *dir, const char *name) {
  if (mxsi_rundir_owned(dir))
    (void)unlinkat(dir->fd, name, 0);
}

/* Many programs write a config.yaml: ours reads back as settings with a problem. */
static int is_our_config(const mxsi_rundir *dir) {
  char *text = mxsi_file_read(dir->fd, "config.yaml");
  mxs_settings settings;
  int ours = 0;
  if (text == NULL)
    return 0;
  if (mxs_settings_defaults(&settings) == MXS_OK) {
    ours = mxs_settings_merge_yaml(&settings, "config.yaml", text, strlen(text)) == MXS_OK &&
           settings.problem != NULL;
    mxs_settings_clear(&settings);
  }
  mxs_release(&text);
  return ours;
}

static int is_temporary(const char *name) {
  static const char *const ours[] = {"config.yaml.tmp", "metrics.csv.tmp", "summary.json.tmp",
                                     "checkpoint.tmp.", ".lock.",          MXSI_STALL_NAME};
  for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
    if (strncmp(name, ours[i], strlen(ours[i])) == 0)
      return 1;
  return 0;
}

/* What counts as content: not what a run leaves behind when it is killed early, nor an early
 * request to stop. */
static int is_content(const char *name) {
  return strcmp(name, ".") != 0 && strcmp(name, "..") != 0 && strcmp(name, MXSI_LOCK_NAME) != 0 &&
         strcmp(name, "STOP") != 0 && !is_temporary(name);
}

/* Calls `visit` for every name until it returns non-zero, and returns that. */
static int for_each_name(const mxsi_rundir *dir,
                         int64_t replicas,
                         int (*visit)(const mxsi_rundir *, int64_t replicas, const char *)) {
  const int fd = openat(dir->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *stream = fd < 0 ? NULL : fdopendir(fd);
  if (stream == NULL) {
    if (fd >= 0)
      (void)close(fd);
    return 0;
  }
  int found = 0;
  const struct dirent *entry = readdir(stream);
  while (entry != NULL && !found) {
    found = visit(dir, replicas, entry->d_name);
    entry = readdir(stream);
  }
  (void)closedir(stream);
  return found;
}

static int visit_content(const mxsi_rundir *dir, int64_t replicas, const char *name) {
  (void)dir;
  (void)replicas;
  return is_content(name);
}

/* ---- the directories of replicas ----------------------------------------------------------- */

enum { REPLICA_NAME = 32 };

static void replica_name(int64_t replica, char name[REPLICA_NAME]) {
  (void)snprintf(name, REPLICA_NAME, "replica_%lld", (long long)replica);
}

/* The replica whose directory has this name; -1: it is no such name. */
static int64_t replica_of(const char *name) {
  char again[REPLICA_NAME];
  if (strncmp(name, "replica_", 8) != 0)
    return -1;
  const int64_t replica = strtoll(name + 8, NULL, 10);
  replica_name(replica, again);
  return strcmp(name, again) == 0 ? replica : -1;
}

mxs_status mxsi_rundir_enter(
    const mxsi_rundir *dir, int64_t replica, int make, const char *path, mxsi_rundir *sub) {
  char name[REPLICA_NAME];
  replica_name(replica, name);
  *sub = (mxsi_rundir){.path = path, .fd = -1, .lock_fd = -1, .owner = dir};
  if (make && mkdirat(dir->fd, name, 0777) != 0 && errno != EEXIST)
    return mxsi_rundir_refuse(path, "create the directory of a replica", errno);
  sub->fd = openat(dir->fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (sub->fd >= 0)
    return MXS_OK;
  return make ? mxsi_rundir_refuse(path, "open the directory of a replica", errno)
              : mxs_fail(MXS_ERR_INPUT, "%s: %s", path, strerror(errno));
}

void mxsi_rundir_leave(mxsi_rundir *sub) {
  if (sub->fd >= 0)
    (void)close(sub->fd);
  sub->fd = -1;
}

/* ---- what does not belong to the run ------------------------------------------------------- */

static int visit_temporary(const mxsi_rundir *dir, int64_t replicas, const char *name) {
  (void)replicas;
  if (is_temporary(name))
    mxsi_rundir_remove(dir, name);
  return 0;
}

void mxsi_rundir_drop(const mxsi_rundir *dir, int64_t replica) {
  char name[REPLICA_NAME];
  mxsi_rundir sub;
  replica_name(replica, name);
  if (mxsi_rundir_enter(dir, replica, 0, name, &sub) != MXS_OK)
    return;
  const int is_run = mxsi_rundir_has(&sub, "config.yaml") || mxsi_rundir_has(&sub, MXSI_LOCK_NAME);
  if (!is_run) {
    mxsi_rundir_remove(&sub, "metrics.csv");
    mxsi_rundir_remove(&sub, "summary.json");
    (void)for_each_name(&sub, 0, visit_temporary);
  }
  mxsi_rundir_leave(&sub);
  if (!is_run && mxsi_rundir_owned(dir))
    (void)unlinkat(dir->fd, name, AT_REMOVEDIR);
}

static int visit_sweep(const mxsi_rundir *dir, int64_t replicas, const char *name) {
  const int64_t replica = replica_of(name);
  mxsi_rundir sub;
  if (replica >= replicas)
    mxsi_rundir_drop(dir, replica);
  else if (replica >= 0 && mxsi_rundir_enter(dir, replica, 0, name, &sub) == MXS_OK) {
    (void)for_each_name(&sub, 0, visit_temporary);
    mxsi_rundir_leave(&sub);
  }
  return visit_temporary(dir, replicas, name);
}

void mxsi_rundir_sweep(const mxsi_rundir *dir, int64_t replicas) {
  (void)for_each_name(dir, replicas, visit_sweep);
}

mxs_status mxsi_rundir_check_content(const mxsi_rundir *dir) {
  if (mxsi_rundir_has(dir, "checkpoint.h5") || mxsi_rundir_has(dir, "checkpoint.prev.h5") ||
      is_our_config(dir) || !for_each_name(dir, 0, visit_content))
    return MXS_OK;
  return mxs_fail(MXS_ERR_CREATE,
                  "%s: not empty and not a run of mxsense (no checkpoint.h5, no config.yaml of "
                  "ours): give another "
                  "directory with -o",
                  dir->path);
}
