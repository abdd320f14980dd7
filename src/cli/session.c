#include "cli/cli.h"
#include "la/la.h"
#include "store/store.h"

#include <errno.h>
#include <hdf5.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum { SETTINGS_FILE_LIMIT = 1 << 20 };

static int launcher_rank(void) {
  static const char *const names[] = {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK",
                                      "SLURM_PROCID"};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    const char *text = getenv(names[i]);
    int64_t rank = 0;
    if (text != NULL && mxs_parse_integer(text, &rank) == MXS_OK && rank >= 0 && rank <= INT32_MAX)
      return (int)rank;
  }
  return 0;
}

mxs_cli_session mxs_cli_session_early(void) {
  return (mxs_cli_session){.rank = launcher_rank()};
}

static void default_signals(void) {
  static const int caught[] = {SIGUSR1, SIGUSR2, SIGTERM};
  for (size_t i = 0; i < sizeof caught / sizeof caught[0]; i++) {
    struct sigaction action = {.sa_handler = SIG_DFL};
    (void)sigaction(caught[i], &action, NULL); /* cannot fail for these */
  }
}

mxs_status mxs_cli_begin(mxs_cli_session *session, int obeys_signals) {
  if (!obeys_signals)
    default_signals();
  /* It copies the path of every file that is opened into 256 bytes, and nobody shares file pointers
   * here. */
  (void)setenv("OMPI_MCA_sharedfp", "^lockedfile", 0);
  int provided = 0;
  (void)MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED,
                        &provided); /* errors end the program there */
  (void)H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
  MXS_TRY(mxs_comm_create(MPI_COMM_WORLD, &session->comm));
  session->rank = session->comm->rank;
  return mxs_comm_agree(session->comm, mxs_la_prepare());
}

static void print_line(const mxs_cli_session *session, const char *kind, const char *text) {
  if (session->rank != 0)
    return;
  char line[4096];
  if (snprintf(line, sizeof line, "mxsense: %s: %s", kind, text) < 0)
    return;
  for (char *p = line; *p != '\0'; p++)
    if ((unsigned char)*p < 0x20 || *p == 0x7f)
      *p = ' ';
  (void)fflush(stdout); /* so that a log of both streams is in order */
  (void)fprintf(stderr, "%s\n", line);
}

void mxs_cli_error(const mxs_cli_session *session, const char *text) {
  print_line(session, "error", text);
}

void mxs_cli_warning(const mxs_cli_session *session, const char *text) {
  print_line(session, "warning", text);
}

void mxs_cli_print(const mxs_cli_session *session, const char *format, ...) {
  if (session->rank != 0)
    return;
  va_list args;
  va_start(args, format);
  (void)vprintf(format, args); /* a failure shows when the session ends */
  va_end(args);
}

/* A full disk behind standard output is an error; a reader that has seen enough is not. */
static mxs_status flush_output(void) {
  errno = 0;
  if ((fflush(stdout) != 0 || ferror(stdout) != 0) && errno != EPIPE && errno != 0)
    return mxs_fail(MXS_ERR_IO, "cannot write to standard output: %s", strerror(errno));
  return MXS_OK;
}

/* A launcher ends all ranks when the first one fails. Rank 0 has the message to print and may not
 * even have started: the others stay until the launcher tells them by a signal that it has gone, or
 * some seconds. */
static void let_rank_0_speak(void) {
  const struct timespec limit = {.tv_sec = 3};
  (void)nanosleep(&limit, NULL);
}

int mxs_cli_end(mxs_cli_session *session, mxs_status status, int code) {
  if (status != MXS_OK)
    mxs_cli_error(session, mxs_last_error());
  if (session->comm != NULL) {
    mxs_status flushed = session->rank == 0 ? flush_output() : MXS_OK;
    flushed = mxs_comm_agree(session->comm, flushed);
    if (status == MXS_OK && flushed != MXS_OK) {
      mxs_cli_error(session, mxs_last_error());
      status = flushed;
    }
    mxs_comm_destroy(&session->comm);
    mxs_store_refuse_none();
    (void)H5close();
  } else if (status == MXS_OK && session->rank == 0) {
    status = flush_output();
    if (status != MXS_OK)
      mxs_cli_error(session, mxs_last_error());
  }
  int started = 0;
  (void)MPI_Initialized(&started);
  if (started)
    (void)MPI_Finalize();
  else if (status != MXS_OK && session->rank != 0)
    let_rank_0_speak();
  return status != MXS_OK ? mxs_status_exit_code(status) : code;
}

static mxs_status open_error(const char *path) {
  if (errno == EACCES || errno == EPERM)
    return mxs_fail(MXS_ERR_PERMISSION, "%s: no permission to read the settings file", path);
  if (errno == ENOENT || errno == ENOTDIR)
    return mxs_fail(MXS_ERR_INPUT, "%s: no such settings file", path);
  return mxs_fail(MXS_ERR_IO, "%s: cannot read the settings file: %s", path, strerror(errno));
}

mxs_status mxs_cli_read_text(const char *path, char **text, size_t *length) {
  struct stat entry;
  if (stat(path, &entry) != 0)
    return open_error(path);
  if (S_ISDIR(entry.st_mode))
    return mxs_fail(MXS_ERR_INPUT,
                    "%s: a directory, not a settings file: give a run directory with -o", path);
  FILE *file = fopen(path, "rbe");
  if (file == NULL)
    return open_error(path);
  mxs_status status = mxs_alloc(SETTINGS_FILE_LIMIT + 1, 1, text);
  if (status == MXS_OK) {
    *length = fread(*text, 1, SETTINGS_FILE_LIMIT + 1, file);
    if (ferror(file) != 0)
      status = mxs_fail(MXS_ERR_IO, "%s: cannot read the settings file", path);
  }
  (void)fclose(file); /* only read */
  if (status == MXS_OK && *length > 4 && memcmp(*text, "\x89HDF", 4) == 0)
    return mxs_fail(MXS_ERR_DATA, "%s: an HDF5 file, not a settings file: give it as --problem %s",
                    path, path);
  if (status == MXS_OK && *length > SETTINGS_FILE_LIMIT)
    return mxs_fail(MXS_ERR_DATA, "%s: too large for a settings file", path);
  return status;
}

mxs_status mxs_cli_read_file(const mxs_cli_session *session,
                             const char *path,
                             char **text,
                             size_t *length) {
  *text = NULL;
  *length = 0;
  mxs_status status = session->rank == 0 ? mxs_cli_read_text(path, text, length) : MXS_OK;
  MXS_TRY_GOTO(status, mxs_comm_agree(session->comm, status), cleanup);
  int64_t bytes = (int64_t)*length;
  mxs_comm_bcast(session->comm, &bytes, sizeof bytes, 0);
  *length = (size_t)bytes;
  status = session->rank == 0 ? MXS_OK : mxs_alloc(bytes, 1, text);
  MXS_TRY_GOTO(status, mxs_comm_agree(session->comm, status), cleanup);
  mxs_comm_bcast(session->comm, *text, bytes, 0);
  return MXS_OK;
cleanup:
  mxs_release(text);
  return status;
}
