/* Open-file-description locks: held by this process whatever its libraries open and close. */
#define _GNU_SOURCE
#include "base/clock.h"
#include "run/rundir_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <time.h>
#include <unistd.h>

enum { WHO_TEXT = 512 };

/* How long an owner on another host is watched for a sign of life although its lock is free. */
static const double quiet_enough_s = 4 * MXSI_HEARTBEAT_S;

/* Rivals that judged the same owner dead have taken its place by then. */
static const struct timespec settling = {.tv_nsec = 500000000};
static const struct timespec pause_between = {.tv_nsec = 100000000};

typedef enum lock_outcome {
  LOCK_FREE,        /* locked by us now */
  LOCK_BUSY,        /* another holds it */
  LOCK_RETRY,       /* the file is no longer the one of that name */
  LOCK_UNAVAILABLE, /* the file system has no locks */
  LOCK_FAILED
} lock_outcome;

/* An attempt to own a directory, and what was seen of its owner. */
typedef struct claim {
  mxsi_rundir *dir;
  const mxsi_owner *me;
  double patience_s, began, changed; /* clock: of the first look, of the last change of the file */
  int looks;
  mxsi_record record;
  char *text;
  lock_outcome outcome;
} claim;

/* ---- the lock file ------------------------------------------------------------------------- */

/* The name must still lead to the file that we locked: an owner that ends removes it. */
static int is_current(const mxsi_rundir *dir) {
  struct stat held, named;
  return fstat(dir->lock_fd, &held) == 0 && fstatat(dir->fd, MXSI_LOCK_NAME, &named, 0) == 0 &&
         held.st_dev == named.st_dev && held.st_ino == named.st_ino;
}

static lock_outcome lock_file(int fd) {
  const struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
  if (fcntl(fd, F_OFD_SETLK, &whole) == 0)
    return LOCK_FREE;
  if (errno == EAGAIN || errno == EACCES || errno == EINTR)
    return LOCK_BUSY;
  if (errno == ENOLCK || errno == ENOTSUP || errno == ENOSYS || errno == EINVAL)
    return LOCK_UNAVAILABLE;
  return LOCK_FAILED;
}

/* Systems whose clients keep what they write for a while. */
static int is_remote(int fd) {
  static const unsigned long kinds[] = {0x6969 /* NFS */, 0xFF534D42 /* CIFS */,
                                        0xFE534D42 /* SMB2 */, 0x65735546 /* FUSE */};
  struct statfs system;
  if (fstatfs(fd, &system) != 0)
    return 1;
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
    if (((unsigned long)system.f_type & 0xFFFFFFFF) == kinds[i])
      return 1;
  return 0;
}

static void make_token(char token[MXSI_TOKEN_TEXT]) {
  unsigned long long number = 0;
  if (getrandom(&number, sizeof number, 0) != (ssize_t)sizeof number)
    number = (unsigned long long)(mxs_clock() * 1e9) ^ (unsigned long long)getpid() << 40;
  (void)snprintf(token, MXSI_TOKEN_TEXT, "%016llx", number);
}

/* Put our name into an empty or just created lock file. */
static mxs_status write_record(mxsi_rundir *dir, const mxsi_owner *me) {
  char *text = NULL;
  mxsi_record record = {.owner = *me, .locked = dir->locked};
  mxsi_utc_now(record.since);
  memcpy(record.token, dir->token, sizeof record.token);
  dir->is_remote = is_remote(dir->lock_fd);
  MXS_TRY(mxsi_record_text(&record, &text));
  const size_t length = strlen(text);
  mxs_status status = MXS_OK;
  if (ftruncate(dir->lock_fd, 0) != 0 || pwrite(dir->lock_fd, text, length, 0) != (ssize_t)length ||
      (dir->is_remote && fsync(dir->lock_fd) != 0))
    status = mxsi_file_fail(dir, MXSI_LOCK_NAME, "write");
  mxs_release(&text);
  return status;
}

void mxsi_rundir_heartbeat(const mxsi_rundir *dir) {
  char beat[MXSI_BEAT_TEXT + 1];
  if (!dir->open)
    return;
  (void)snprintf(beat, sizeof beat, "%20lld", 1 + (long long)(mxs_clock() * 10));
  if (pwrite(dir->lock_fd, beat, MXSI_BEAT_TEXT, MXSI_BEAT_AT) == MXSI_BEAT_TEXT && dir->is_remote)
    (void)fdatasync(dir->lock_fd);
}

/* ---- whether it is ours -------------------------------------------------------------------- */

int mxsi_rundir_owned(const mxsi_rundir *dir) {
  char found[MXSI_TOKEN_AT + MXSI_TOKEN_TEXT - 1] = {0};
  const mxsi_rundir *top = dir->owner != NULL ? dir->owner : dir;
  if (!top->open)
    return 0;
  /* Opened anew: this is when a remote file system asks its server what the name means. */
  const int fd = openat(top->fd, MXSI_LOCK_NAME, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0)
    return errno != ENOENT; /* trouble of the file system is no loss */
  const ssize_t length = pread(fd, found, sizeof found, 0);
  (void)close(fd);
  return length < 0 || (length == (ssize_t)sizeof found &&
                        memcmp(found + MXSI_TOKEN_AT, top->token, MXSI_TOKEN_TEXT - 1) == 0);
}

mxs_status mxsi_rundir_check(const mxsi_rundir *dir) {
  const mxsi_rundir *top = dir->owner != NULL ? dir->owner : dir;
  char who[WHO_TEXT];
  char *text = NULL;
  mxsi_record record;
  if (mxsi_rundir_owned(dir))
    return MXS_OK;
  mxsi_record_read(top, &record, &text);
  const int there = text != NULL;
  mxs_release(&text);
  mxsi_record_describe(&record, who, sizeof who);
  if (!there)
    return mxs_fail(MXS_ERR_PERMISSION,
                    "%s: this run lost the directory: its " MXSI_LOCK_NAME
                    " was removed, by a run that took over and has ended, or by hand; the "
                    "checkpoints there are good: run the same line again to go on",
                    top->path);
  return mxs_fail(MXS_ERR_PERMISSION,
                  "%s: this run lost the directory to %s: it was stopped, or cut off from its "
                  "files, for so long that it was taken for dead; nothing of the other run was "
                  "touched",
                  top->path, who);
}

/* ---- one attempt --------------------------------------------------------------------------- */

static void let_go(mxsi_rundir *dir) {
  if (dir->lock_fd >= 0)
    (void)close(dir->lock_fd);
  if (dir->fd >= 0)
    (void)close(dir->fd);
  dir->lock_fd = dir->fd = -1;
  dir->lock_made = 0;
}

static mxs_status make_directory(mxsi_rundir *dir) {
  if (mkdir(dir->path, 0777) == 0)
    dir->created = 1;
  else if (errno != EEXIST)
    return mxsi_rundir_refuse(dir->path, "create the run directory", errno);
  dir->fd = open(dir->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (dir->fd < 0)
    return mxsi_rundir_refuse(dir->path, "open the run directory", errno);
  return MXS_OK;
}

/* Open directory and lock file, and lock. A foreign directory is refused before anything is made in
 * it; where a lock file is, its owner may be about to write what makes the directory a run, so then
 * the look comes after the lock. */
static mxs_status look(claim *c) {
  mxsi_rundir *dir = c->dir;
  c->outcome = LOCK_RETRY;
  MXS_TRY(make_directory(dir));
  dir->lock_fd = openat(dir->fd, MXSI_LOCK_NAME, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
  if (dir->lock_fd < 0 && errno == ENOENT) {
    MXS_TRY(mxsi_rundir_check_content(dir));
    dir->lock_fd =
        openat(dir->fd, MXSI_LOCK_NAME, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0666);
    dir->lock_made = dir->lock_fd >= 0;
    /* Another was first, or an owner that undid its start removed the directory under us. */
    if (dir->lock_fd < 0 && (errno == EEXIST || errno == ENOENT))
      return MXS_OK;
  }
  if (dir->lock_fd < 0)
    return mxsi_rundir_refuse(dir->path, "create " MXSI_LOCK_NAME " in the run directory", errno);
  c->outcome = lock_file(dir->lock_fd);
  if (c->outcome == LOCK_FAILED)
    return mxsi_rundir_refuse(dir->path, "lock the run directory", errno);
  if (!is_current(dir))
    c->outcome = LOCK_RETRY;
  return c->outcome == LOCK_FREE || c->outcome == LOCK_UNAVAILABLE ? mxsi_rundir_check_content(dir)
                                                                   : MXS_OK;
}

/* What the lock file says now, and whether that is news. */
static void read_owner(claim *c) {
  char *before = c->text;
  const double now = mxs_clock();
  mxsi_record_read(c->dir, &c->record, &c->text);
  if (c->looks++ == 0)
    c->began = c->changed = now;
  else if (before == NULL || c->text == NULL || strcmp(before, c->text) != 0)
    c->changed = now;
  mxs_release(&before);
}

/* ---- proof --------------------------------------------------------------------------------- */

/* How the owner is known to be dead; NULL: it may be alive. */
static const char *proof_of_death(const claim *c) {
  const mxsi_record *record = &c->record;
  const double now = mxs_clock();
  const double quiet_s = now - c->changed;
  const int near = mxsi_owner_is_near(c->me, &record->owner);
  const int restarted = c->me->job[0] != '\0' && strcmp(c->me->job, record->owner.job) == 0 &&
                        record->owner.restart < c->me->restart;
  if (restarted && now - c->began >= c->patience_s)
    return "an earlier start of the same job, which the scheduler has ended";
  if (c->outcome == LOCK_BUSY)
    return NULL;
  if (c->outcome == LOCK_FREE && record->token[0] == '\0')
    return "its lock is free";
  if (c->outcome == LOCK_FREE && record->locked) {
    const double enough = c->patience_s < quiet_enough_s ? c->patience_s : quiet_enough_s;
    return near || quiet_s >= enough ? "its lock is free" : NULL;
  }
  if (near)
    return mxsi_owner_is_gone(&record->owner);
  return record->beat != 0 && quiet_s >= c->patience_s ? "it gave no more sign of life" : NULL;
}

/* ---- taking over --------------------------------------------------------------------------- */

/* Our own lock file, under a name of its own, locked where that can be. */
static mxs_status make_record(mxsi_rundir *dir, const mxsi_owner *me, const char *name) {
  dir->lock_fd = openat(dir->fd, name, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0666);
  if (dir->lock_fd < 0)
    return mxsi_rundir_refuse(dir->path, "create a lock file in the run directory", errno);
  dir->locked = lock_file(dir->lock_fd) == LOCK_FREE;
  return write_record(dir, me);
}

/* Whether the lock file is still of the owner that was judged: nobody else has taken over since. */
static int is_unchanged(const claim *c) {
  char *text = NULL;
  mxsi_record record;
  mxsi_record_read(c->dir, &record, &text);
  mxs_release(&text);
  return strcmp(record.token, c->record.token) == 0;
}

/* Put our file in the place of a dead owner's. While the old one is locked by us nobody else can;
 * without that, the last one of several that try has it in the end, which each looks for after a
 * while. `*ours` = 0: another was faster. */
static mxs_status take_over(claim *c, const char *proof, int *ours) {
  mxsi_rundir *dir = c->dir;
  const int old_fd = dir->lock_fd;
  char name[sizeof MXSI_LOCK_NAME + MXSI_TOKEN_TEXT], who[WHO_TEXT];
  *ours = 0;
  (void)snprintf(name, sizeof name, "%s.%s", MXSI_LOCK_NAME, dir->token);
  mxs_status status = make_record(dir, c->me, name);
  if (status == MXS_OK && is_unchanged(c)) {
    *ours = renameat(dir->fd, name, dir->fd, MXSI_LOCK_NAME) == 0;
    if (!*ours && errno != ENOENT)
      status = mxsi_file_fail(dir, name, "rename");
  }
  if (!*ours)
    (void)unlinkat(dir->fd, name, 0);
  if (*ours && c->outcome != LOCK_FREE) {
    (void)nanosleep(&settling, NULL);
    *ours = is_current(dir);
  }
  if (old_fd >= 0)
    (void)close(old_fd);
  if (!*ours)
    return status;
  dir->open = 1;
  mxsi_record_describe(&c->record, who, sizeof who);
  (void)snprintf(dir->taken, sizeof dir->taken, "%s: %s", who, proof);
  mxsi_rundir_sweep(dir, INT64_MAX);
  return MXS_OK;
}

/* ---- waiting ------------------------------------------------------------------------------- */

typedef struct teller {
  void (*warn)(void *ctx, const char *text);
  void *ctx;
  int waiting; /* it was told that we wait */
} teller;

static void tell(const teller *t, const mxsi_rundir *dir, const char *what, const char *who) {
  char text[WHO_TEXT + MXSI_TAKEN_TEXT + PATH_MAX];
  (void)snprintf(text, sizeof text, "%s: %s%s", dir->path, what, who);
  t->warn(t->ctx, text);
}

static mxs_status refuse_second(const claim *c) {
  char who[WHO_TEXT];
  mxsi_record_describe(&c->record, who, sizeof who);
  if (c->outcome == LOCK_BUSY)
    return mxs_fail(MXS_ERR_PERMISSION,
                    "%s: in use by %s: wait for its end, or give another directory with -o",
                    c->dir->path, who);
  return mxs_fail(
      MXS_ERR_PERMISSION,
      "%s: in use by %s, as far as can be told without locks of the file system: wait "
      "for its end, or give another directory with -o; if you are sure that it is dead, "
      "remove %s/" MXSI_LOCK_NAME,
      c->dir->path, who, c->dir->path);
}

/* The directory was free, or its owner is proven dead: `*ours` = 1. A lock file without a word is
 * as good as a new one to whom has it locked: who made it comes second, or is dead. */
static mxs_status try_to_own(claim *c, const teller *t, int *ours) {
  mxsi_rundir *dir = c->dir;
  struct stat file;
  *ours = 0;
  const int empty = c->outcome == LOCK_FREE && fstat(dir->lock_fd, &file) == 0 && file.st_size == 0;
  if (empty || (dir->lock_made && c->outcome == LOCK_UNAVAILABLE)) {
    dir->locked = c->outcome == LOCK_FREE;
    MXS_TRY(write_record(dir, c->me));
    *ours = dir->open = 1;
    return MXS_OK;
  }
  read_owner(c);
  const char *proof = proof_of_death(c);
  if (proof == NULL)
    return MXS_OK;
  MXS_TRY(take_over(c, proof, ours));
  if (*ours)
    tell(t, dir, "taken over from ", dir->taken);
  return MXS_OK;
}

static mxs_status wait_for_lock(claim *c, teller *t) {
  char who[WHO_TEXT], what[64];
  for (;;) {
    int ours = 0;
    MXS_TRY(look(c));
    if (c->outcome != LOCK_RETRY)
      MXS_TRY(try_to_own(c, t, &ours));
    if (ours)
      return MXS_OK;
    let_go(c->dir);
    if (c->outcome == LOCK_RETRY)
      continue;
    if (mxs_clock() - c->began >= c->patience_s)
      return refuse_second(c);
    if (!t->waiting) {
      t->waiting = 1;
      mxsi_record_describe(&c->record, who, sizeof who);
      (void)snprintf(what, sizeof what, "waiting up to %.0f s for ", c->patience_s);
      (void)snprintf(who + strlen(who), sizeof who - strlen(who), " to end");
      tell(t, c->dir, what, who);
    }
    (void)nanosleep(&pause_between, NULL);
  }
}

mxs_status mxsi_rundir_open(const char *path,
                            const mxsi_owner *owner,
                            double patience_s,
                            void (*warn)(void *ctx, const char *text),
                            void *ctx,
                            mxsi_rundir *dir) {
  claim c = {.dir = dir, .me = owner, .patience_s = patience_s};
  teller t = {.warn = warn, .ctx = ctx};
  *dir = (mxsi_rundir){.path = path, .fd = -1, .lock_fd = -1};
  make_token(dir->token);
  const mxs_status status = wait_for_lock(&c, &t);
  mxs_release(&c.text);
  if (status == MXS_OK && !dir->locked)
    tell(&t, dir,
         "the file system has no locks: another run here is only noticed by its signs of life", "");
  if (status == MXS_OK)
    return MXS_OK;
  if (dir->lock_made && dir->lock_fd >= 0 && is_current(dir))
    (void)unlinkat(dir->fd, MXSI_LOCK_NAME, 0);
  let_go(dir);
  if (dir->created)
    (void)rmdir(path);
  return status;
}

void mxsi_rundir_close(mxsi_rundir *dir, int undo) {
  if (!dir->open)
    return;
  const int ours = mxsi_rundir_owned(dir);
  if (ours) /* while we still hold it: nobody can be between open and lock and not notice */
    (void)unlinkat(dir->fd, MXSI_LOCK_NAME, 0);
  let_go(dir);
  if (undo && dir->created && ours)
    (void)rmdir(dir->path);
  dir->open = 0;
}
