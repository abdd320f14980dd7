#include "run/screen.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { WIDTH_UNKNOWN = 80 };

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

void mxs_screen_open(mxs_screen *screen, int quiet, mxs_progress progress) {
  *screen = (mxs_screen){.out = !quiet, .terminal_fd = -1};
  if (quiet || progress == MXS_PROGRESS_OFF)
    return;
  screen->terminal_fd = find_terminal();
  screen->live = screen->terminal_fd >= 0 || progress == MXS_PROGRESS_ON;
}

void mxs_screen_close(mxs_screen *screen) {
  if (screen->terminal_fd > STDOUT_FILENO)
    (void)close(screen->terminal_fd);
  *screen = (mxs_screen){.terminal_fd = -1};
}

/* Standard output may go away at any time; the run goes on. */
static void put(mxs_screen *screen, const char *text) {
  if (screen->out && (fputs(text, stdout) == EOF || fflush(stdout) != 0))
    screen->out = 0;
}

void mxs_screen_hide(mxs_screen *screen) {
  if (screen->live_shown)
    put(screen, "\r\033[K");
  screen->live_shown = 0;
}

void mxs_screen_line(mxs_screen *screen, const char *line) {
  mxs_screen_hide(screen);
  put(screen, line);
}

static size_t terminal_width(const mxs_screen *screen) {
  struct winsize size;
  if (screen->terminal_fd < 0 || ioctl(screen->terminal_fd, TIOCGWINSZ, &size) != 0 ||
      size.ws_col == 0)
    return WIDTH_UNKNOWN;
  return size.ws_col;
}

void mxs_screen_live(mxs_screen *screen, const char *text) {
  char line[512];
  const size_t width = terminal_width(screen);
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
  put(screen, line);
  screen->live_shown = 1;
}

void mxs_duration_text(double seconds, char text[32]) {
  if (!(seconds < 1e9)) {
    (void)snprintf(text, 32, "-");
    return;
  }
  const long long whole = (long long)(seconds + 0.5);
  if (seconds < 59.95)
    (void)snprintf(text, 32, "%.1f s", seconds);
  else if (whole < 3600)
    (void)snprintf(text, 32, "%lld min %02lld s", whole / 60, whole % 60);
  else if (whole < 172800)
    (void)snprintf(text, 32, "%lld h %02lld min", whole / 3600, whole / 60 % 60);
  else
    (void)snprintf(text, 32, "%lld d %02lld h", whole / 86400, whole / 3600 % 24);
}
