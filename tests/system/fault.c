/* Faults for tests, preloaded into an unmodified program: MXS_FAULT="RULE;RULE;...", with
 *
 *   RULE = ACTION:CALL[=PATH][:NTH[:RANK]]
 *
 *   ACTION  kill, stop    SIGKILL, SIGSTOP to this process instead of the call
 *           after_kill, after_stop    the same once the call has returned
 *           child_kill, child_hang, ...    the same in a forked child only; all others spare it
 *           hang          never return
 *           flip          MPI_Allreduce: invert bit 28 of a word of what was received
 *           sleep<MS>     wait so many milliseconds first
 *           ENOSPC, EDQUOT, EIO, ENOLCK, ENOMEM, ...    the call fails with this errno
 *           +SECONDS, -SECONDS    clock: wall-clock time is off by so much
 *   CALL    open, rename, link, unlink, fsync, fallocate, write, lock, close (of a file), malloc
 *           (by the program itself), clock, H5Dwrite, H5Fclose, H5Fflush, MPI_Allreduce, MPI_Bcast,
 *           MPI_Finalize
 *   PATH    part of the path, or its end if a $ follows: only calls on such a path count; of
 *           MPI_Allreduce: at least so many bytes
 *   NTH     only the call of this number, from 1; "NTH+" from that one on; 0, the default: all
 *   RANK    only on this rank; "*", the default: on all
 *
 * A file MXS_FAULT_LOG, if it is named, receives a line for every rule that struck. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <hdf5.h>
#include <limits.h>
#include <link.h>
#include <mpi.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { RULES = 32, TEXT = 64 };

typedef struct rule {
  char action[TEXT], call[TEXT], path[TEXT];
  long nth;
  int onwards;
  int of_children;
  atomic_long seen;
} rule;

static rule rules[RULES];
static int rule_count;
static pid_t process; /* the one that read them: most spare its children */
static uintptr_t program_begin, program_end;

static const struct {
  const char *name;
  int number;
} errors[] = {{"ENOSPC", ENOSPC}, {"EDQUOT", EDQUOT}, {"EIO", EIO},         {"ENOLCK", ENOLCK},
              {"ENOMEM", ENOMEM}, {"EACCES", EACCES}, {"EROFS", EROFS},     {"EFBIG", EFBIG},
              {"EINTR", EINTR},   {"ESTALE", ESTALE}, {"ENOTSUP", ENOTSUP}, {"EPERM", EPERM}};

static const char *rank_text(void) {
  static const char *const names[] = {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "SLURM_PROCID"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (getenv(names[i]) != NULL)
      return getenv(names[i]);
  return "0";
}

static int add_rule(char *text) {
  rule *r = &rules[rule_count];
  char *rest = NULL;
  const char *action = strtok_r(text, ":", &rest);
  char *call = strtok_r(NULL, ":", &rest);
  const char *nth = strtok_r(NULL, ":", &rest);
  const char *rank = strtok_r(NULL, ":", &rest);
  if (action == NULL || call == NULL || rule_count == RULES)
    return 0;
  if (rank != NULL && strcmp(rank, "*") != 0 && strcmp(rank, rank_text()) != 0)
    return 1;
  const char *path = strchr(call, '=');
  r->of_children = strncmp(action, "child_", 6) == 0;
  (void)snprintf(r->action, TEXT, "%s", r->of_children ? action + 6 : action);
  (void)snprintf(r->call, TEXT, "%.*s", path != NULL ? (int)(path - call) : TEXT - 1, call);
  (void)snprintf(r->path, TEXT, "%s", path != NULL ? path + 1 : "");
  r->nth = nth != NULL ? strtol(nth, NULL, 10) : 0;
  r->onwards = nth != NULL && strchr(nth, '+') != NULL;
  rule_count++;
  return 1;
}

static int find_program(struct dl_phdr_info *info, size_t size, void *data) {
  (void)size;
  (void)data;
  for (int i = 0; i < info->dlpi_phnum; i++) {
    const ElfW(Phdr) *part = &info->dlpi_phdr[i];
    if (part->p_type == PT_LOAD && (part->p_flags & PF_X) != 0) {
      program_begin = info->dlpi_addr + part->p_vaddr;
      program_end = program_begin + part->p_memsz;
    }
  }
  return 1; /* the program comes first */
}

__attribute__((constructor)) static void read_rules(void) {
  static char text[4096];
  char *rest = text;
  (void)dl_iterate_phdr(find_program, NULL);
  process = getpid();
  if (getenv("MXS_FAULT") != NULL)
    (void)snprintf(text, sizeof text, "%s", getenv("MXS_FAULT"));
  for (char *one = strtok_r(text, ";", &rest); one != NULL; one = strtok_r(NULL, ";", &rest))
    if (!add_rule(one)) {
      (void)fprintf(stderr, "fault: `%s` is no rule\n", one);
      _exit(99);
    }
}

static void tell(const rule *r) {
  const char *path = getenv("MXS_FAULT_LOG");
  char line[4 * TEXT];
  if (path == NULL)
    return;
  const int length =
      snprintf(line, sizeof line, "%s:%s=%s rank %s\n", r->action, r->call, r->path, rank_text());
  const int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND, 0666);
  if (fd >= 0 && syscall(SYS_write, fd, line, (size_t)length) < 0)
    errno = 0;
  if (fd >= 0)
    (void)syscall(SYS_close, fd);
}

static int matches(const rule *r, const char *path) {
  const size_t length = strlen(r->path);
  if (length == 0 || r->path[length - 1] != '$')
    return strstr(path, r->path) != NULL;
  const size_t whole = strlen(path);
  return whole >= length - 1 && strncmp(path + whole - (length - 1), r->path, length - 1) == 0;
}

/* The rule that strikes at this call, NULL: none. */
static rule *strike(const char *call, const char *path) {
  const int in_child = rule_count > 0 && getpid() != process;
  for (int i = 0; i < rule_count; i++) {
    rule *r = &rules[i];
    if (r->of_children != in_child || strcmp(r->call, call) != 0 ||
        (path != NULL && !matches(r, path)))
      continue;
    const long seen = atomic_fetch_add(&r->seen, 1) + 1;
    if (r->nth == 0 || seen == r->nth || (r->onwards && seen > r->nth)) {
      tell(r);
      return r;
    }
  }
  return NULL;
}

/* What comes before the call; 1: it fails with errno. */
static int before(const rule *r) {
  if (r == NULL)
    return 0;
  if (strcmp(r->action, "kill") == 0)
    (void)kill(getpid(), SIGKILL);
  if (strcmp(r->action, "stop") == 0)
    (void)kill(getpid(), SIGSTOP);
  while (strcmp(r->action, "hang") == 0)
    (void)pause();
  if (strncmp(r->action, "sleep", 5) == 0) {
    const long ms = strtol(r->action + 5, NULL, 10);
    const struct timespec wait = {ms / 1000, ms % 1000 * 1000000};
    (void)nanosleep(&wait, NULL);
  }
  for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
    if (strcmp(r->action, errors[i].name) == 0) {
      errno = errors[i].number;
      return 1;
    }
  return 0;
}

static void after(const rule *r) {
  const int error = errno;
  if (r != NULL && strcmp(r->action, "after_kill") == 0)
    (void)kill(getpid(), SIGKILL);
  if (r != NULL && strcmp(r->action, "after_stop") == 0)
    (void)kill(getpid(), SIGSTOP);
  errno = error;
}

#define REAL(type, name, ...)                                                                      \
  static type (*real)(__VA_ARGS__);                                                                \
  if (real == NULL)                                                                                \
  *(void **)&real = dlsym(RTLD_NEXT, #name)

#define WRAP(type, failure, call, path, ...)                                                       \
  const rule *r = strike(call, path);                                                              \
  if (before(r))                                                                                   \
    return failure;                                                                                \
  type result = real(__VA_ARGS__);                                                                 \
  after(r);                                                                                        \
  return result

/* Parameters are named for what they are here, not as in the system's headers. */
/* NOLINTBEGIN(readability-inconsistent-declaration-parameter-name) */

static const char *path_of(int fd, char path[PATH_MAX]) {
  char link_path[64];
  (void)snprintf(link_path, sizeof link_path, "/proc/self/fd/%d", fd);
  const ssize_t length = readlink(link_path, path, PATH_MAX - 1);
  path[length > 0 ? length : 0] = '\0';
  return path;
}

int rename(const char *from, const char *to) {
  REAL(int, rename, const char *, const char *);
  WRAP(int, -1, "rename", to, from, to);
}

int renameat(int from_fd, const char *from, int to_fd, const char *to) {
  REAL(int, renameat, int, const char *, int, const char *);
  WRAP(int, -1, "rename", to, from_fd, from, to_fd, to);
}

int link(const char *from, const char *to) {
  REAL(int, link, const char *, const char *);
  WRAP(int, -1, "link", to, from, to);
}

int linkat(int from_fd, const char *from, int to_fd, const char *to, int flags) {
  REAL(int, linkat, int, const char *, int, const char *, int);
  WRAP(int, -1, "link", to, from_fd, from, to_fd, to, flags);
}

int unlink(const char *path) {
  REAL(int, unlink, const char *);
  WRAP(int, -1, "unlink", path, path);
}

int fsync(int fd) {
  char path[PATH_MAX];
  REAL(int, fsync, int);
  WRAP(int, -1, "fsync", path_of(fd, path), fd);
}

int fallocate(int fd, int mode, off_t offset, off_t length) {
  char path[PATH_MAX];
  REAL(int, fallocate, int, int, off_t, off_t);
  WRAP(int, -1, "fallocate", path_of(fd, path), fd, mode, offset, length);
}

int close(int fd) {
  char path[PATH_MAX];
  REAL(int, close, int);
  for (int i = 0; i < rule_count; i++)
    if (strcmp(rules[i].call, "close") == 0) {
      WRAP(int, -1, "close", path_of(fd, path), fd);
    }
  return real(fd);
}

ssize_t write(int fd, const void *data, size_t size) {
  char path[PATH_MAX];
  REAL(ssize_t, write, int, const void *, size_t);
  for (int i = 0; i < rule_count; i++)
    if (strcmp(rules[i].call, "write") == 0) {
      WRAP(ssize_t, -1, "write", path_of(fd, path), fd, data, size);
    }
  return real(fd, data, size);
}

static mode_t mode_of(int flags, va_list args) {
  return (flags & (O_CREAT | __O_TMPFILE)) != 0 ? va_arg(args, mode_t) : 0;
}

#define OPEN_BODY(call_real)                                                                       \
  va_list args;                                                                                    \
  va_start(args, flags);                                                                           \
  const mode_t mode = mode_of(flags, args);                                                        \
  va_end(args);                                                                                    \
  const rule *r = strike("open", path);                                                            \
  if (before(r))                                                                                   \
    return -1;                                                                                     \
  const int result = call_real;                                                                    \
  after(r);                                                                                        \
  return result

int open(const char *path, int flags, ...) {
  REAL(int, open, const char *, int, ...);
  OPEN_BODY(real(path, flags, mode));
}

int open64(const char *path, int flags, ...) {
  REAL(int, open64, const char *, int, ...);
  OPEN_BODY(real(path, flags, mode));
}

int openat(int dir, const char *path, int flags, ...) {
  REAL(int, openat, int, const char *, int, ...);
  OPEN_BODY(real(dir, path, flags, mode));
}

int fcntl(int fd, int command, ...) {
  REAL(int, fcntl, int, int, ...);
  va_list args;
  va_start(args, command);
  void *argument = va_arg(args, void *);
  va_end(args);
  char path[PATH_MAX];
  if (command == F_OFD_SETLK || command == F_SETLK) {
    WRAP(int, -1, "lock", path_of(fd, path), fd, command, argument);
  }
  return real(fd, command, argument);
}

int fcntl64(int fd, int command, ...) {
  va_list args;
  va_start(args, command);
  void *argument = va_arg(args, void *);
  va_end(args);
  return fcntl(fd, command, argument);
}

/* ---- memory: what the program itself asks for ------------------------------------------------ */

static int strikes_memory(const void *caller) {
  const uintptr_t at = (uintptr_t)caller;
  return rule_count > 0 && at >= program_begin && at < program_end &&
         before(strike("malloc", NULL));
}

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);

void *malloc(size_t size) {
  return strikes_memory(__builtin_return_address(0)) ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size) {
  return strikes_memory(__builtin_return_address(0)) ? NULL : __libc_calloc(count, size);
}

int posix_memalign(void **out, size_t alignment, size_t size) {
  REAL(int, posix_memalign, void **, size_t, size_t);
  return strikes_memory(__builtin_return_address(0)) ? ENOMEM : real(out, alignment, size);
}

/* ---- time -------------------------------------------------------------------------------------
 */

static time_t skew(void) {
  for (int i = 0; i < rule_count; i++)
    if (strcmp(rules[i].call, "clock") == 0 &&
        (rules[i].nth == 0 || atomic_fetch_add(&rules[i].seen, 1) + 1 >= rules[i].nth))
      return (time_t)strtol(rules[i].action, NULL, 10);
  return 0;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
  REAL(int, clock_gettime, clockid_t, struct timespec *);
  const int result = real(clock, now);
  if (clock == CLOCK_REALTIME)
    now->tv_sec += skew();
  return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
  REAL(int, gettimeofday, struct timeval *, void *);
  const int result = real(now, zone);
  now->tv_sec += skew();
  return result;
}

time_t time(time_t *out) {
  struct timespec now;
  (void)clock_gettime(CLOCK_REALTIME, &now);
  if (out != NULL)
    *out = now.tv_sec;
  return now.tv_sec;
}

/* ---- HDF5 and MPI ------------------------------------------------------------------------------
 */

herr_t H5Dwrite(hid_t set, hid_t type, hid_t memory, hid_t file, hid_t transfer, const void *data) {
  REAL(herr_t, H5Dwrite, hid_t, hid_t, hid_t, hid_t, hid_t, const void *);
  WRAP(herr_t, -1, "H5Dwrite", NULL, set, type, memory, file, transfer, data);
}

herr_t H5Fclose(hid_t file) {
  REAL(herr_t, H5Fclose, hid_t);
  WRAP(herr_t, -1, "H5Fclose", NULL, file);
}

herr_t H5Fflush(hid_t object, H5F_scope_t scope) {
  REAL(herr_t, H5Fflush, hid_t, H5F_scope_t);
  WRAP(herr_t, -1, "H5Fflush", NULL, object, scope);
}

int MPI_Allreduce(
    const void *send, void *receive, int count, MPI_Datatype type, MPI_Op op, MPI_Comm comm) {
  REAL(int, MPI_Allreduce, const void *, void *, int, MPI_Datatype, MPI_Op, MPI_Comm);
  int size = 0;
  (void)MPI_Type_size(type, &size);
  rule *r = NULL;
  for (int i = 0; i < rule_count && r == NULL; i++)
    if (strcmp(rules[i].call, "MPI_Allreduce") == 0 &&
        (long)count * size >= strtol(rules[i].path, NULL, 10))
      r = strike("MPI_Allreduce", NULL);
  if (before(r))
    return MPI_ERR_OTHER;
  const int result = real(send, receive, count, type, op, comm);
  if (r != NULL && strcmp(r->action, "flip") == 0)
    ((uint64_t *)receive)[(size_t)count * (size_t)size / 4 / sizeof(uint64_t)] ^= UINT64_C(1) << 28;
  after(r);
  return result;
}

int MPI_Bcast(void *data, int count, MPI_Datatype type, int root, MPI_Comm comm) {
  REAL(int, MPI_Bcast, void *, int, MPI_Datatype, int, MPI_Comm);
  WRAP(int, MPI_ERR_OTHER, "MPI_Bcast", NULL, data, count, type, root, comm);
}

int MPI_Finalize(void) {
  REAL(int, MPI_Finalize, void);
  WRAP(int, MPI_ERR_OTHER, "MPI_Finalize", NULL, );
}

/* NOLINTEND(readability-inconsistent-declaration-parameter-name) */
