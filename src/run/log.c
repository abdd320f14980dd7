#include "run/run_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { LINE_SIZE = 8192, WIDTH_UNKNOWN = 80 };

/* Whether a launcher started this process. MPI_Init sets its variables also where none did, so it
 * is the environment at the start of the process that tells. */
static int is_launched(void) {
  static const char *const names[] = {
      "OMPI_COMM_WORLD_SIZE=", "PMIX_RANK=", "PMI_RANK=", "SLURM_PROCID="};
  FILE *file = fopen("/proc/self/environ", "r");
  char *entry = NULL;
  size_t size = 0;
  int found = 0;
  while (file != NULL && !found && getdelim(&entry, &size, '\0', file) > 0)
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
      found = found || strncmp(entry, names[i], strlen(names[i])) == 0;
  free(entry);
  if (file != NULL)
    (void)fclose(file);
  return found;
}

/* Descriptor of the terminal on which standard output ends, or -1. Launchers give every rank a
 * pseudo-terminal of their own and pass on what it prints: then it is the launcher's standard
 * output that counts. */
static int find_terminal(void) {
  char path[64];
  if (!isatty(STDOUT_FILENO))
    return -1;
  if (!is_launched())
    return STDOUT_FILENO;
  (void)snprintf(path, sizeof path, "/proc/%ld/fd/1", (long)getppid());
  const int fd = open(path, O_WRONLY | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0 || isatty(fd))
    return fd;
  (void)close(fd);
  return -1;
}

mxs_status mxsi_log_begin(mxsi_log *log,
                          int root,
                          const mxs_settings *settings,
                          const mxsi_owner *owner) {
  *log = (mxsi_log){.root = root, .out = !settings->quiet, .terminal_fd = -1, .owner = owner};
  if (!root)
    return MXS_OK;
  if (log->out && settings->progress != MXS_PROGRESS_OFF) {
    log->terminal_fd = find_terminal();
    log->live = log->terminal_fd >= 0 || settings->progress == MXS_PROGRESS_ON;
  }
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
  if (log->terminal_fd > STDOUT_FILENO)
    (void)close(log->terminal_fd);
  *log = (mxsi_log){.terminal_fd = -1};
  return status;
}

/* Standard output may go away at any time; the run and its copy go on. */
static void put(mxsi_log *log, const char *text) {
  if (log->out && (fputs(text, stdout) == EOF || fflush(stdout) != 0))
    log->out = 0;
}

static void hide_live(mxsi_log *log) {
  if (log->live_shown)
    put(log, "\r\033[K");
  log->live_shown = 0;
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
  if (where == MXSI_BOTH) {
    hide_live(log);
    put(log, line);
  }
  if (log->copy != NULL && may_write(log))
    check(log, fputs(line, log->copy) >= 0 && fflush(log->copy) == 0);
}

static size_t terminal_width(const mxsi_log *log) {
  struct winsize size;
  if (log->terminal_fd < 0 || ioctl(log->terminal_fd, TIOCGWINSZ, &size) != 0 || size.ws_col == 0)
    return WIDTH_UNKNOWN;
  return size.ws_col;
}

void mxsi_log_live(mxsi_log *log, const char *text) {
  char line[512];
  const size_t width = terminal_width(log);
  size_t length = strlen(text);
  if (length >= width) { /* whole parts only: they are two spaces apart */
    length = width > 1 ? width - 1 : 1;
    for (size_t i = length; i > 1; i--)
      if (text[i] == ' ' && text[i - 1] == ' ') {
        length = i - 1;
        break;
      }
  }
  (void)snprintf(line, sizeof line, "\r%.*s\033[K", (int)length, text);
  put(log, line);
  log->live_shown = 1;
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
  hide_live(log);
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
