#include "cli/probe.h"
#include "cli/single.h"
#include "problem/file.h"
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#define MEMORY_LIMIT 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define MEMORY_LIMIT 0
#endif
#endif
#ifndef MEMORY_LIMIT
#define MEMORY_LIMIT 1 /* the address sanitizer reserves terabytes */
#endif

/* PATIENCE: time by the clock over processor time, for a file system that is slow. */
enum {
  WHY_SIZE = 1024,
  LEAST_SECONDS = 5,
  MOST_SECONDS = 600,
  BYTES_PER_SECOND = 2000000,
  PATIENCE = 4
};

/* How a child ends, other than by a signal. */
enum { SOUND = 0, BAD = 3, NO_MEMORY = 4 };

/* Processor time that a file may take; by the clock, twice as long. */
static int seconds_for(int64_t bytes) {
  const int64_t seconds = LEAST_SECONDS + bytes / BYTES_PER_SECOND;
  return (int)(seconds < MOST_SECONDS ? seconds : MOST_SECONDS);
}

/* Address space that this process has. */
static int64_t own_memory(void) {
  char text[64] = "";
  FILE *file = fopen("/proc/self/statm", "re");
  if (file == NULL)
    return 0;
  const char *line = fgets(text, sizeof text, file);
  (void)fclose(file); /* only read */
  return line == NULL ? 0 : strtoll(line, NULL, 10) * sysconf(_SC_PAGESIZE);
}

/* The soft limit; of processor time, the hard one says nothing of its reason. */
static void limit(int resource, int64_t value) {
  struct rlimit now;
  if (getrlimit(resource, &now) != 0)
    return;
  if (now.rlim_cur == RLIM_INFINITY || now.rlim_cur > (rlim_t)value)
    now.rlim_cur = (rlim_t)value;
  (void)setrlimit(resource, &now); /* what cannot be limited is still watched by the clock */
}

static void hold(int64_t bytes) {
  const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  for (int fd = 0; fd <= 2 && null >= 0; fd++)
    (void)dup2(null, fd); /* the last words of a crash are not ours */
  (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
  (void)prctl(PR_SET_DUMPABLE, 0);
  limit(RLIMIT_CORE, 0);
  limit(RLIMIT_CPU, seconds_for(bytes));
  if (MEMORY_LIMIT)
    limit(RLIMIT_AS, own_memory() + (INT64_C(1) << 31) + 2 * bytes);
}

static int is_checkpoint(const char *path) {
  mxs_cli_kind kind = MXS_CLI_PROBLEM;
  return mxs_cli_kind_of(path, &kind) == MXS_OK && kind == MXS_CLI_CHECKPOINT;
}

/* In the child: the text of what is wrong goes through the pipe. */
static int look(const char *path, int64_t bytes, int pipe) {
  hold(bytes);
  const mxs_status status = is_checkpoint(path) ? mxs_ckpt_survey(path) : mxs_problem_survey(path);
  const char *why = mxs_last_error();
  if (status == MXS_OK)
    return SOUND;
  if (status == MXS_ERR_MEMORY || strstr(why, "memory allocation failed") != NULL)
    return NO_MEMORY;
  if (status != MXS_ERR_DATA)
    return SOUND; /* missing, or not ours: told by who opens it */
  const size_t prefix = strlen(path);
  if (strncmp(why, path, prefix) == 0 && strncmp(why + prefix, ": ", 2) == 0)
    why += prefix + 2;
  return write(pipe, why, strlen(why)) > 0 ? BAD : SOUND;
}

static int64_t now_ms(void) {
  struct timespec now;
  (void)clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Take what the child has to say until it ends; 0 when it was too slow. */
static int listen_to(int pipe, int64_t limit_ms, char why[WHY_SIZE]) {
  const int64_t end = now_ms() + limit_ms;
  size_t used = 0;
  for (;;) {
    const int64_t left = end - now_ms();
    struct pollfd waiting = {.fd = pipe, .events = POLLIN};
    const int ready = left > 0 ? poll(&waiting, 1, (int)left) : 0;
    if (ready == 0)
      return 0;
    if (ready < 0 && errno == EINTR)
      continue;
    const ssize_t count = ready < 0 ? 0 : read(pipe, why + used, WHY_SIZE - 1 - used);
    if (count < 0 && errno == EINTR)
      continue;
    if (count <= 0)
      break;
    used += (size_t)count;
  }
  why[used] = '\0';
  return 1;
}

/* Why the file is refused, "" when it is sound. */
static void judge(int in_time, int ended, int seconds, char why[WHY_SIZE]) {
  static const char remedy[] = "it is damaged or hostile: get or write it anew";
  if (!in_time || (WIFSIGNALED(ended) && WTERMSIG(ended) == SIGXCPU))
    (void)snprintf(why, WHY_SIZE, "HDF5 does not get through this file in %d seconds: %s", seconds,
                   remedy);
  else if (WIFSIGNALED(ended))
    (void)snprintf(why, WHY_SIZE, "HDF5 crashes on this file (signal %d): %s", WTERMSIG(ended),
                   remedy);
  else if (WEXITSTATUS(ended) == NO_MEMORY)
    (void)snprintf(why, WHY_SIZE, "HDF5 runs out of memory on this file: %s", remedy);
  else if (WEXITSTATUS(ended) != SOUND && WEXITSTATUS(ended) != BAD)
    (void)snprintf(why, WHY_SIZE, "HDF5 crashes on this file: %s", remedy);
}

/* Let a child look at a file; without one, the file is taken as it is. */
static void examine(const char *path, int64_t bytes, char why[WHY_SIZE]) {
  int ends[2];
  if (pipe(ends) != 0)
    return;
  const pid_t child = fork();
  if (child == 0) {
    (void)close(ends[0]);
    _exit(look(path, bytes, ends[1]));
  }
  (void)close(ends[1]);
  if (child > 0) {
    int ended = 0;
    const int seconds = seconds_for(bytes);
    const int in_time = listen_to(ends[0], INT64_C(1000) * PATIENCE * seconds, why);
    if (!in_time)
      (void)kill(child, SIGKILL);
    while (waitpid(child, &ended, 0) < 0 && errno == EINTR)
      continue;
    judge(in_time, ended, seconds, why);
  }
  (void)close(ends[0]);
}

static mxs_status probe_file(const char *path, const struct stat *what) {
  char why[WHY_SIZE] = "";
  examine(path, (int64_t)what->st_size, why);
  return why[0] == '\0' ? MXS_OK : mxs_store_refuse(path, what, why);
}

/* A checkpoint of a run directory, if it is there; takes the path over. */
static mxs_status probe_checkpoint(mxs_status named, char *path) {
  struct stat what;
  mxs_status status = named;
  if (status == MXS_OK && stat(path, &what) == 0 && S_ISREG(what.st_mode))
    status = probe_file(path, &what);
  mxs_release(&path);
  return status;
}

static mxs_status probe_run(const char *dir) {
  static const char *const names[] = {"checkpoint.h5", "checkpoint.prev.h5"};
  int64_t *iterations = NULL;
  int64_t count = 0;
  mxs_status status = MXS_OK;
  for (size_t i = 0; i < sizeof names / sizeof *names && status == MXS_OK; i++) {
    char *path = NULL;
    const mxs_status named = mxs_cli_join_path(dir, names[i], &path);
    status = probe_checkpoint(named, path);
  }
  if (status == MXS_OK)
    status = mxs_ckpt_kept(dir, &iterations, &count);
  for (int64_t i = 0; i < count && status == MXS_OK; i++) {
    char *path = NULL;
    const mxs_status named = mxs_ckpt_kept_path(dir, iterations[i], &path);
    status = probe_checkpoint(named, path);
  }
  mxs_release(&iterations);
  return status;
}

mxs_status mxs_cli_probe(const mxs_cli_session *session, const char *path) {
  struct stat what;
  if (session->rank != 0 || path == NULL || stat(path, &what) != 0)
    return MXS_OK;
  if (S_ISDIR(what.st_mode))
    return probe_run(path);
  return S_ISREG(what.st_mode) ? probe_file(path, &what) : MXS_OK;
}

mxs_status mxs_cli_probe_settings(const mxs_cli_session *session,
                                  const mxs_table *table,
                                  const mxs_cli_args *args,
                                  void *fields) {
  const mxs_settings *settings = fields;
  if (session->rank != 0)
    return MXS_OK;
  if (mxs_cli_early_settings(table, args, fields) == MXS_OK) {
    MXS_TRY(mxs_cli_probe(session, settings->problem));
    if (strncmp(settings->init, "file:", 5) == 0)
      MXS_TRY(mxs_cli_probe(session, settings->init + 5));
  }
  return MXS_OK;
}
