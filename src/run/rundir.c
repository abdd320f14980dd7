/* Open-file-description locks: held by this process whatever its libraries open and close. */
#define _GNU_SOURCE
#include "run/rundir.h"

#include "conf/settings.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const char lock_name[] = ".lock";

/* ---- who and when -------------------------------------------------------------------------- */

static const char *environment(const char *name) {
  const char *value = getenv(name);
  return value != NULL ? value : "";
}

void mxsi_owner_find(mxsi_owner *owner) {
  memset(owner, 0, sizeof *owner);
  char host[sizeof owner->host] = "";
  if (gethostname(host, sizeof host - 1) != 0)
    (void)snprintf(host, sizeof host, "unknown");
  (void)snprintf(owner->host, sizeof owner->host, "%s", host);
  owner->pid = (long)getpid();
  const char *job = environment("SLURM_JOB_ID");
  if (job[0] == '\0')
    job = environment("PBS_JOBID");
  (void)snprintf(owner->job, sizeof owner->job, "%s", job);
  owner->restart = strtol(environment("SLURM_RESTART_COUNT"), NULL, 10);
}

void mxsi_utc_now(char text[32]) {
  const time_t now = time(NULL);
  struct tm parts;
  text[0] = '\0';
  if (gmtime_r(&now, &parts) != NULL && strftime(text, 32, "%Y-%m-%dT%H:%M:%SZ", &parts) == 0)
    text[0] = '\0';
}

/* ---- what is in the directory -------------------------------------------------------------- */

static mxs_status refuse(const char *path, const char *what, int reason) {
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

static mxs_status make_directory(mxsi_rundir *dir) {
  if (mkdir(dir->path, 0777) == 0)
    dir->created = 1;
  else if (errno != EEXIST)
    return refuse(dir->path, "create the run directory", errno);
  dir->fd = open(dir->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (dir->fd < 0)
    return refuse(dir->path, "open the run directory", errno);
  return MXS_OK;
}

int mxsi_rundir_has(const mxsi_rundir *dir, const char *name) {
  struct stat info;
  return fstatat(dir->fd, name, &info, 0) == 0;
}

void mxsi_rundir_remove(const mxsi_rundir *dir, const char *name) {
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
  static const char *const ours[] = {"config.yaml.tmp", "metrics.csv.tmp", "summary.json.tmp"};
  for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
    if (strcmp(name, ours[i]) == 0)
      return 1;
  return strncmp(name, "checkpoint.tmp.", 15) == 0;
}

/* What counts as content: not what a run leaves behind when it is killed early, nor an early
 * request to stop. */
static int is_content(const char *name) {
  return strcmp(name, ".") != 0 && strcmp(name, "..") != 0 && strcmp(name, lock_name) != 0 &&
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
  *sub = (mxsi_rundir){.path = path, .fd = -1, .lock_fd = -1};
  if (make && mkdirat(dir->fd, name, 0777) != 0 && errno != EEXIST)
    return refuse(path, "create the directory of a replica", errno);
  sub->fd = openat(dir->fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (sub->fd >= 0)
    return MXS_OK;
  return make ? refuse(path, "open the directory of a replica", errno)
              : mxs_fail(MXS_ERR_INPUT, "%s: %s", path, strerror(errno));
}

void mxsi_rundir_leave(mxsi_rundir *sub) {
  if (sub->fd >= 0)
    (void)close(sub->fd);
  sub->fd = -1;
}

void mxsi_rundir_drop(const mxsi_rundir *dir, int64_t replica) {
  static const char *const ours[] = {"metrics.csv", "summary.json", "metrics.csv.tmp",
                                     "summary.json.tmp"};
  char name[REPLICA_NAME];
  mxsi_rundir sub;
  replica_name(replica, name);
  if (mxsi_rundir_enter(dir, replica, 0, name, &sub) != MXS_OK)
    return;
  const int is_run = mxsi_rundir_has(&sub, "config.yaml") || mxsi_rundir_has(&sub, lock_name);
  for (size_t i = 0; i < sizeof ours / sizeof *ours && !is_run; i++)
    mxsi_rundir_remove(&sub, ours[i]);
  mxsi_rundir_leave(&sub);
  if (!is_run)
    (void)unlinkat(dir->fd, name, AT_REMOVEDIR);
}

/* ---- what does not belong to the run ------------------------------------------------------- */

static int visit_temporary(const mxsi_rundir *dir, int64_t replicas, const char *name) {
  (void)replicas;
  if (is_temporary(name))
    mxsi_rundir_remove(dir, name);
  return 0;
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

static mxs_status check_content(const mxsi_rundir *dir) {
  if (mxsi_rundir_has(dir, "checkpoint.h5") || mxsi_rundir_has(dir, "checkpoint.prev.h5") ||
      is_our_config(dir) || !for_each_name(dir, 0, visit_content))
    return MXS_OK;
  return mxs_fail(MXS_ERR_CREATE,
                  "%s: not empty and not a run of mxsense (no checkpoint.h5, no config.yaml of "
                  "ours): give another "
                  "directory with -o",
                  dir->path);
}

/* ---- the lock ------------------------------------------------------------------------------ */

typedef enum lock_outcome {
  LOCK_OURS,
  LOCK_BUSY,
  LOCK_RETRY,
  LOCK_UNAVAILABLE,
  LOCK_FAILED
} lock_outcome;

/* The name must still lead to the file that we locked: an owner that ends removes it. */
static int is_current(const mxsi_rundir *dir) {
  struct stat held, named;
  return fstat(dir->lock_fd, &held) == 0 && fstatat(dir->fd, lock_name, &named, 0) == 0 &&
         held.st_dev == named.st_dev && held.st_ino == named.st_ino;
}

static lock_outcome try_lock(const mxsi_rundir *dir) {
  const struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
  if (fcntl(dir->lock_fd, F_OFD_SETLK, &whole) == 0)
    return is_current(dir) ? LOCK_OURS : LOCK_RETRY;
  if (errno == EAGAIN || errno == EACCES)
    return is_current(dir) ? LOCK_BUSY : LOCK_RETRY;
  if (errno == ENOLCK || errno == ENOTSUP || errno == ENOSYS || errno == EINVAL)
    return LOCK_UNAVAILABLE;
  return errno == EINTR ? LOCK_BUSY : LOCK_FAILED;
}

/* "host h, process p, job j, since t" of the owner file */
static void describe_owner(const mxsi_rundir *dir, char *text, size_t size) {
  char *stored = mxsi_file_read(dir->fd, lock_name);
  json_t *owner = stored != NULL ? json_loads(stored, 0, NULL) : NULL;
  const char *host = json_string_value(json_object_get(owner, "host"));
  const char *job = json_string_value(json_object_get(owner, "job"));
  const char *since = json_string_value(json_object_get(owner, "since"));
  if (host == NULL)
    (void)snprintf(text, size, "another run (its owner file is not readable)");
  else
    (void)snprintf(text, size, "the run on host %s, process %lld%s%s%s%s", host,
                   (long long)json_integer_value(json_object_get(owner, "pid")),
                   job != NULL ? ", job " : "", job != NULL ? job : "",
                   since != NULL ? ", since " : "", since != NULL ? since : "");
  json_decref(owner);
  mxs_release(&stored);
}

static mxs_status write_owner(const mxsi_rundir *dir, const mxsi_owner *owner) {
  char now[32];
  mxsi_utc_now(now);
  json_t *object =
      json_pack("{s:s, s:I, s:s*, s:I, s:s}", "host", owner->host, "pid", (json_int_t)owner->pid,
                "job", owner->job[0] != '\0' ? owner->job : NULL, "restart",
                (json_int_t)owner->restart, "since", now);
  char *text = object != NULL ? json_dumps(object, JSON_COMPACT) : NULL;
  mxs_status status = MXS_OK;
  if (text == NULL)
    status = mxs_fail(MXS_ERR_MEMORY, "cannot form the text of %s/%s", dir->path, lock_name);
  else if (ftruncate(dir->lock_fd, 0) != 0 ||
           pwrite(dir->lock_fd, text, strlen(text), 0) != (ssize_t)strlen(text))
    status = mxsi_file_fail(dir, lock_name, "write");
  free(text);
  json_decref(object);
  return status;
}

static void let_go(mxsi_rundir *dir) {
  if (dir->lock_fd >= 0)
    (void)close(dir->lock_fd);
  if (dir->fd >= 0)
    (void)close(dir->fd);
  dir->lock_fd = dir->fd = -1;
}

/* One attempt: open directory and lock file, and lock. A foreign directory is refused before
 * anything is made in it; where a lock file is, its owner may be about to write what makes the
 * directory a run, so then the look comes after the lock. */
static mxs_status attempt(mxsi_rundir *dir, lock_outcome *outcome) {
  MXS_TRY(make_directory(dir));
  dir->lock_made = 0;
  dir->lock_fd = openat(dir->fd, lock_name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
  if (dir->lock_fd < 0 && errno == ENOENT) {
    MXS_TRY(check_content(dir));
    dir->lock_fd = openat(dir->fd, lock_name, O_CREAT | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0666);
    dir->lock_made = 1;
  }
  if (dir->lock_fd < 0 && errno == ENOENT && dir->lock_made) {
    *outcome = LOCK_RETRY; /* the directory was removed under us by an owner that undid its start */
    return MXS_OK;
  }
  if (dir->lock_fd < 0)
    return refuse(dir->path, "create .lock in the run directory", errno);
  *outcome = try_lock(dir);
  if (*outcome == LOCK_FAILED)
    return refuse(dir->path, "lock the run directory", errno);
  return *outcome == LOCK_OURS || *outcome == LOCK_UNAVAILABLE ? check_content(dir) : MXS_OK;
}

static mxs_status wait_for_lock(mxsi_rundir *dir,
                                double patience_s,
                                void (*warn)(void *ctx, const char *text),
                                void *ctx) {
  const struct timespec pause = {.tv_nsec = 100000000};
  char owner[512], text[1024 + PATH_MAX];
  int busy = 0;
  for (;;) {
    lock_outcome outcome = LOCK_FAILED;
    MXS_TRY(attempt(dir, &outcome));
    if (outcome == LOCK_OURS)
      return MXS_OK;
    describe_owner(dir, owner, sizeof owner);
    if (outcome == LOCK_UNAVAILABLE) {
      (void)snprintf(
          text, sizeof text,
          "%s: the file system has no locks; make sure that no other run uses this directory%s%s",
          dir->path, dir->lock_made ? "" : "; it was last used by ", dir->lock_made ? "" : owner);
      warn(ctx, text);
      return MXS_OK;
    }
    let_go(dir);
    if (outcome == LOCK_RETRY)
      continue;
    if ((double)busy * 0.1 >= patience_s)
      return mxs_fail(MXS_ERR_PERMISSION,
                      "%s: in use by %s: wait for its end, or give another directory with -o",
                      dir->path, owner);
    if (busy++ == 0) {
      (void)snprintf(text, sizeof text, "%s: waiting up to %.0f s for %s to end", dir->path,
                     patience_s, owner);
      warn(ctx, text);
    }
    (void)nanosleep(&pause, NULL);
  }
}

mxs_status mxsi_rundir_open(const char *path,
                            const mxsi_owner *owner,
                            double patience_s,
                            void (*warn)(void *ctx, const char *text),
                            void *ctx,
                            mxsi_rundir *dir) {
  *dir = (mxsi_rundir){.path = path, .fd = -1, .lock_fd = -1};
  mxs_status status = wait_for_lock(dir, patience_s, warn, ctx);
  if (status == MXS_OK)
    status = write_owner(dir, owner);
  if (status == MXS_OK) {
    dir->open = 1;
    return MXS_OK;
  }
  if (dir->lock_made && dir->fd >= 0 && dir->lock_fd >= 0 && try_lock(dir) == LOCK_OURS)
    mxsi_rundir_remove(dir, lock_name);
  let_go(dir);
  if (dir->created)
    (void)rmdir(path);
  return status;
}

void mxsi_rundir_close(mxsi_rundir *dir, int undo) {
  if (!dir->open)
    return;
  if (is_current(
          dir)) /* while we still hold it: nobody can be between open and lock and not notice */
    mxsi_rundir_remove(dir, lock_name);
  let_go(dir);
  if (undo && dir->created)
    (void)rmdir(dir->path);
  dir->open = 0;
}
