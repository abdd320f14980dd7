#include "base/text.h"
#include "run/run.h"
#include "store/store.h"
#include "study/execute.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { HOST_SIZE = 64, LINK_SIZE = 80 };

static const double abandoned_s = 86400; /* what another host began so long ago is nobody's */

/* ---- names ----------------------------------------------------------------------------------- */

mxs_status mxsi_place_problem(const mxs_study *study,
                              const char *dir,
                              const mxsi_pass *pass,
                              char **path) {
  return study->problem_file != NULL
             ? mxs_text_format(path, "%s", study->problem_file)
             : mxs_text_format(path, "%s/problems/%s.h5", dir, pass->problem);
}

mxs_status mxsi_place_run(const char *dir, const mxsi_pass *pass, char **path) {
  return mxs_text_format(path, "%s/runs/%s", dir, pass->run);
}

mxs_status mxsi_place_point(const char *dir, const mxsi_point *point, char **path) {
  return mxs_text_format(path, "%s/points/%s", dir, point->name);
}

static void find_host(char host[HOST_SIZE]) {
  if (gethostname(host, HOST_SIZE - 1) != 0)
    host[0] = '\0';
  host[HOST_SIZE - 1] = '\0';
}

/* NAME.part.<process>.<host> */
mxs_status mxsi_place_temporary(const char *path, char **temporary) {
  char host[HOST_SIZE] = "";
  find_host(host);
  return mxs_text_format(temporary, "%s.part.%ld.%s", path, (long)getpid(), host);
}

/* ---- what was left behind -------------------------------------------------------------------- */

/* Whether a temporary file is of a process that cannot come back to it. */
static int is_abandoned(const char *folder, const char *name) {
  char host[HOST_SIZE] = "";
  char *end = NULL;
  char *path = NULL;
  struct stat info;
  const char *mark = strstr(name, ".part.");
  if (mark == NULL)
    return 0;
  const long pid = strtol(mark + 6, &end, 10);
  if (pid <= 0 || *end != '.')
    return 0;
  find_host(host);
  const size_t length = strlen(host);
  if (strncmp(end + 1, host, length) == 0 && (end[1 + length] == '\0' || end[1 + length] == '.'))
    return mxs_run_process_is_gone(pid);
  if (mxs_text_format(&path, "%s/%s", folder, name) != MXS_OK)
    return 0;
  const int old = stat(path, &info) == 0 && difftime(time(NULL), info.st_mtime) > abandoned_s;
  mxs_release(&path);
  return old;
}

static void sweep(const char *folder) {
  DIR *stream = opendir(folder);
  const struct dirent *entry = stream != NULL ? readdir(stream) : NULL;
  for (; entry != NULL; entry = readdir(stream)) {
    char *path = NULL;
    if (is_abandoned(folder, entry->d_name) &&
        mxs_text_format(&path, "%s/%s", folder, entry->d_name) == MXS_OK)
      (void)unlink(path);
    mxs_release(&path);
  }
  if (stream != NULL)
    (void)closedir(stream);
}

/* ---- files ----------------------------------------------------------------------------------- */

mxs_status mxsi_place_publish(const char *temporary, const char *path) {
  mxs_status status = mxs_store_sync(temporary);
  if (status == MXS_OK && rename(temporary, path) != 0)
    status = mxs_fail(MXS_ERR_IO, "%s: cannot rename to %s: %s", temporary, path, strerror(errno));
  if (status == MXS_OK)
    return mxs_store_sync_parent(path);
  (void)unlink(temporary);
  return status;
}

/* In the place of one that leads elsewhere, if there is any. */
static mxs_status make_link(const char *target, const char *path) {
  char *temporary = NULL;
  mxs_status status = MXS_OK;
  MXS_TRY(mxsi_place_temporary(path, &temporary));
  (void)unlink(temporary);
  if (symlink(target, temporary) != 0 || rename(temporary, path) != 0)
    status = mxs_fail(MXS_ERR_IO, "%s: cannot make a symbolic link: %s", path, strerror(errno));
  mxs_release(&temporary);
  return status;
}

mxs_status mxsi_place_link(const mxs_study *study, const char *dir, const mxsi_pass *pass) {
  mxs_status status = MXS_OK;
  for (int64_t r = 0; r < pass->count && pass->count > 1 && status == MXS_OK; r++) {
    char target[LINK_SIZE];
    char *path = NULL;
    (void)snprintf(target, sizeof target, "../runs/%s/replica_%lld", pass->run, (long long)r);
    status = mxsi_place_point(dir, &study->point[pass->points[r]], &path);
    if (status == MXS_OK)
      status = make_link(target, path);
    mxs_release(&path);
  }
  return status;
}

static mxs_status write_file(const char *path, const char *text) {
  FILE *file = fopen(path, "we");
  if (file == NULL)
    return mxs_fail(MXS_ERR_IO, "%s: cannot create: %s", path, strerror(errno));
  const int written = fputs(text, file) >= 0;
  if (fclose(file) != 0 || !written)
    return mxs_fail(MXS_ERR_IO, "%s: cannot write: %s", path, strerror(errno));
  return MXS_OK;
}

static int holds(const char *path, const char *text) {
  FILE *file = fopen(path, "re");
  const size_t length = strlen(text);
  size_t same = 0;
  int c = file != NULL ? fgetc(file) : EOF;
  while (c != EOF && same < length && (char)c == text[same]) {
    same++;
    c = fgetc(file);
  }
  if (file != NULL)
    (void)fclose(file);
  return file != NULL && c == EOF && same == length;
}

static int is_key(const char *line, const char *key) {
  const size_t length = strlen(key);
  return strncmp(line, key, length) == 0 && line[length] == ':';
}

/* The path of a problem file does not depend on the directory there. */
static mxs_status text_to_keep(const mxs_study *study, char **out) {
  mxs_text text = {0};
  mxs_status status = mxs_text_add(&text, "%s", "");
  for (const char *line = study->text; *line != '\0' && status == MXS_OK;) {
    const int length = (int)strcspn(line, "\n");
    if (study->problem_file != NULL && is_key(line, "problem"))
      status = mxs_text_add(&text, "problem: \"%s\"\n", study->problem_file);
    else
      status = mxs_text_add(&text, "%.*s\n", length, line);
    line += length + (line[length] == '\n');
  }
  *out = text.data;
  if (status != MXS_OK)
    mxs_release(out);
  return status;
}

static mxs_status keep_study(const mxs_study *study, const char *dir) {
  char *text = NULL;
  char *path = NULL;
  char *temporary = NULL;
  mxs_status status = MXS_OK;
  MXS_TRY_GOTO(status, text_to_keep(study, &text), cleanup);
  MXS_TRY_GOTO(status, mxs_text_format(&path, "%s/study.yaml", dir), cleanup);
  if (!holds(path, text)) {
    MXS_TRY_GOTO(status, mxsi_place_temporary(path, &temporary), cleanup);
    status = write_file(temporary, text);
    if (status == MXS_OK)
      status = mxsi_place_publish(temporary, path);
  }
cleanup:
  mxs_release(&temporary);
  mxs_release(&path);
  mxs_release(&text);
  return status;
}

/* ---- the directory --------------------------------------------------------------------------- */

static mxs_status make_directory(const char *path) {
  struct stat info;
  if (mkdir(path, 0777) == 0)
    return MXS_OK;
  const int reason = errno;
  if (reason == EEXIST && stat(path, &info) == 0 && S_ISDIR(info.st_mode))
    return MXS_OK;
  const int denied = reason == EACCES || reason == EPERM || reason == EROFS;
  return mxs_fail(denied ? MXS_ERR_PERMISSION : MXS_ERR_CREATE,
                  "%s: cannot create the directory: %s", path,
                  reason == ENOENT ? "its parent does not exist; make it first" : strerror(reason));
}

static mxs_status make_below(const char *dir, const char *name) {
  char *path = NULL;
  MXS_TRY(mxs_text_format(&path, "%s/%s", dir, name));
  mxs_status status = make_directory(path);
  sweep(path);
  mxs_release(&path);
  return status;
}

static int is_ours(const char *name) {
  static const char *const ours[] = {".", "..", "problems", "runs", "points", "STOP"};
  for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
    if (strcmp(name, ours[i]) == 0)
      return 1;
  return strncmp(name, "study.yaml", 10) == 0;
}

/* Several processes may begin at the same moment: what one of them has made is no reason to refuse.
 */
static mxs_status check_content(const char *dir) {
  DIR *stream = opendir(dir);
  int is_study = 0;
  int foreign = 0;
  if (stream == NULL)
    return mxs_fail(MXS_ERR_PERMISSION, "%s: cannot read the directory: %s", dir, strerror(errno));
  for (const struct dirent *entry = readdir(stream); entry != NULL; entry = readdir(stream)) {
    is_study = is_study || strcmp(entry->d_name, "study.yaml") == 0;
    foreign = foreign || !is_ours(entry->d_name);
  }
  (void)closedir(stream);
  if (is_study || !foreign)
    return MXS_OK;
  return mxs_fail(
      MXS_ERR_CREATE,
      "%s: not empty and not of a study (no study.yaml): give another directory with -o", dir);
}

mxs_status mxsi_place_make(const mxs_study *study, const char *dir) {
  MXS_TRY(make_directory(dir));
  MXS_TRY(check_content(dir));
  MXS_TRY(make_below(dir, "problems"));
  MXS_TRY(make_below(dir, "runs"));
  MXS_TRY(make_below(dir, "points"));
  sweep(dir);
  return keep_study(study, dir);
}

static int stop_file(const char *dir, int (*act)(const char *)) {
  char *path = NULL;
  const int done = mxs_text_format(&path, "%s/STOP", dir) == MXS_OK && act(path) == 0;
  mxs_release(&path);
  return done;
}

static int look(const char *path) {
  return access(path, F_OK);
}

int mxsi_place_has(const char *path) {
  return look(path) == 0;
}

int mxsi_place_is_stopped(const char *dir) {
  return stop_file(dir, look);
}

void mxsi_place_obeyed(const char *dir) {
  (void)stop_file(dir, unlink);
}
