#include "run/run_impl.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_SIZE = 8192 };

mxs_status mxsi_log_begin(mxsi_log *log,
                          int root,
                          const mxs_settings *settings,
                          const mxsi_owner *owner) {
  *log = (mxsi_log){.root = root, .screen = {.terminal_fd = -1}, .owner = owner};
  if (!root)
    return MXS_OK;
  mxs_screen_open(&log->screen, settings->quiet, (mxs_progress)settings->progress);
  log->copy = open_memstream(&log->pending, &log->pending_size);
  return log->copy != NULL ? MXS_OK : mxs_fail(MXS_ERR_MEMORY, "cannot allocate the log");
}

/* What cannot be written is remembered, not returned: the run hears of it at its next poll. */
static void check(mxsi_log *log, int ok) {
  if (!ok && log->failed == 0)
    log->failed = errno != 0 ? errno : EIO;
}

mxs_status mxsi_log_open(mxsi_log *log, const mxsi_rundir *dir) {
  FILE *file = NULL;
  MXS_TRY(mxsi_file_append(dir, "log.txt", &file));
  mxs_status status = MXS_OK;
  if (fclose(log->copy) != 0 ||
      fwrite(log->pending, 1, log->pending_size, file) != log->pending_size || fflush(file) != 0)
    status = mxsi_file_fail(dir, "log.txt", "write");
  free(log->pending);
  log->pending = NULL;
  log->copy = file;
  log->dir = dir;
  return status == MXS_OK ? mxsi_file_append(dir, "events.jsonl", &log->events) : status;
}

mxs_status mxsi_log_close(mxsi_log *log, const mxsi_rundir *dir) {
  mxs_status status = MXS_OK;
  if (log->dir != NULL) {
    if (log->failed != 0) {
      errno = log->failed;
      status = mxsi_file_fail(dir, "log.txt or events.jsonl", "write");
    }
    const mxs_status events = mxsi_file_close(dir, "events.jsonl", &log->events);
    const mxs_status copy = mxsi_file_close(dir, "log.txt", &log->copy);
    if (status == MXS_OK)
      status = events != MXS_OK ? events : copy;
  } else if (log->copy != NULL) {
    (void)fclose(log->copy);
    free(log->pending);
  }
  mxs_screen_close(&log->screen);
  *log = (mxsi_log){.screen = {.terminal_fd = -1}};
  return status;
}

/* Files of a directory that was lost are another run's. */
static int may_write(const mxsi_log *log) {
  return log->dir == NULL || mxsi_rundir_owned(log->dir);
}

void mxsi_log_line(mxsi_log *log, mxsi_where where, const char *format, ...) {
  char line[LINE_SIZE];
  if (!log->root)
    return;
  va_list args;
  va_start(args, format);
  if (vsnprintf(line, sizeof line - 1, format, args) < 0)
    line[0] = '\0';
  va_end(args);
  const size_t length = strlen(line);
  line[length] = '\n';
  line[length + 1] = '\0';
  if (where == MXSI_BOTH)
    mxs_screen_line(&log->screen, line);
  if (log->copy != NULL && may_write(log))
    check(log, fputs(line, log->copy) >= 0 && fflush(log->copy) == 0);
}

void mxsi_log_warn(mxsi_log *log, const char *format, ...) {
  char text[LINE_SIZE];
  if (!log->root)
    return;
  va_list args;
  va_start(args, format);
  if (vsnprintf(text, sizeof text, format, args) < 0)
    text[0] = '\0';
  va_end(args);
  if (log->warnings_in_copy) {
    mxsi_log_line(log, MXSI_COPY_ONLY, "  warning    %s", text);
    return;
  }
  mxs_screen_hide(&log->screen);
  (void)fprintf(stderr, "mxsense: warning: %s\n", text);
}

void mxsi_log_event(mxsi_log *log, const char *event, int64_t iteration, json_t *more) {
  char now[32];
  if (log->events != NULL && may_write(log)) {
    mxsi_utc_now(now);
    json_t *object = json_pack("{s:s, s:s, s:s?, s:I, s:I}", "event", event, "time", now, "job",
                               log->owner->job[0] != '\0' ? log->owner->job : NULL, "restart",
                               (json_int_t)log->owner->restart, "iteration", (json_int_t)iteration);
    char *text = NULL;
    if (object != NULL && (more == NULL || json_object_update(object, more) == 0))
      text = json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(6));
    errno = 0;
    check(log, text != NULL && fprintf(log->events, "%s\n", text) > 0 && fflush(log->events) == 0);
    free(text);
    json_decref(object);
  }
  json_decref(more);
}
