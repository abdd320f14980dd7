#include "cli/setup.h"
#include "base/hash.h"
#include "conf/build.h"
#include "la/la.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Seeds of the digests, so that two kinds of text never look equal. */
enum {
  DIGEST_BUILD = 1,
  DIGEST_KERNEL = 2,
  DIGEST_SETTINGS = 3,
  DIGEST_DIRECTORY = 4,
  DIGEST_OPERAND = 5,
  DIGEST_PROBLEM = 6
};

static mxs_status reset(const mxs_table *table, void *fields) {
  mxs_table_clear(table, fields);
  return mxs_table_defaults(table, fields);
}

mxs_status mxs_cli_precheck(const mxs_table *table,
                            const mxs_cli_args *args,
                            int open,
                            void *fields) {
  MXS_TRY(reset(table, fields));
  MXS_TRY(mxs_cli_apply(table, args, fields));
  return args->operands > 0 || open ? MXS_OK : mxs_settings_check(fields);
}

mxs_status mxs_cli_settings(const mxs_cli_session *session,
                            const mxs_table *table,
                            const mxs_cli_args *args,
                            void *fields) {
  char *text = NULL;
  size_t length = 0;
  mxs_status status = reset(table, fields);
  MXS_TRY(mxs_comm_agree(session->comm, status));
  const char *operand = args->operands > 0 ? args->operand[0] : "";
  MXS_TRY(mxs_comm_same(session->comm, mxs_hash64(operand, strlen(operand), DIGEST_OPERAND),
                        "settings file", "start all ranks with the same one"));
  if (args->operands > 0) {
    MXS_TRY(mxs_cli_read_file(session, args->operand[0], &text, &length));
    status = mxs_settings_merge_yaml(fields, args->operand[0], text, length);
    mxs_release(&text);
    MXS_TRY(mxs_comm_agree(session->comm, status));
  }
  return mxs_comm_agree(session->comm, mxs_cli_apply(table, args, fields));
}

mxs_status mxs_cli_early_settings(const mxs_table *table, const mxs_cli_args *args, void *fields) {
  char *text = NULL;
  size_t length = 0;
  MXS_TRY(reset(table, fields));
  if (args->operands > 0) {
    mxs_status status = mxs_cli_read_text(args->operand[0], &text, &length);
    if (status == MXS_OK)
      status = mxs_settings_merge_yaml(fields, args->operand[0], text, length);
    mxs_release(&text);
    MXS_TRY(status);
  }
  return mxs_cli_apply(table, args, fields);
}

static uint64_t digest_build(void) {
  const mxs_build build = mxs_build_get();
  const char *const parts[] = {build.version, build.commit, build.compiler, build.flags};
  uint64_t digest = DIGEST_BUILD;
  for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
    digest = mxs_hash64(parts[i], strlen(parts[i]), digest);
  return digest;
}

/* Size and places spread over a file; a file that cannot be read is somebody else's to report. */
static uint64_t digest_problem(const char *path) {
  enum { PLACES = 16 };
  static char piece[4096];
  struct stat info = {.st_size = 0};
  uint64_t digest = DIGEST_PROBLEM;
  const int fd = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0)
    return digest;
  if (fstat(fd, &info) == 0 && S_ISREG(info.st_mode)) {
    digest = mxs_hash64(&info.st_size, sizeof info.st_size, digest);
    const off_t last = info.st_size > (off_t)sizeof piece ? info.st_size - (off_t)sizeof piece : 0;
    for (int i = 0; i < PLACES; i++) {
      const ssize_t got = pread(fd, piece, sizeof piece, last / (PLACES - 1) * i);
      digest = mxs_hash64(piece, got > 0 ? (size_t)got : 0, digest);
    }
  }
  (void)close(fd);
  return digest;
}

mxs_status mxs_cli_same_line(const mxs_cli_session *session, const char *line) {
  const char *kernel = mxs_la_blas_kernel();
  MXS_TRY(mxs_comm_same(session->comm, digest_build(), "build of mxsense",
                        "start one binary on all ranks"));
  MXS_TRY(mxs_comm_same(session->comm, mxs_hash64(kernel, strlen(kernel), DIGEST_KERNEL),
                        "BLAS kernel", "set OPENBLAS_CORETYPE to one that all nodes have"));
  return mxs_comm_same(session->comm, mxs_hash64(line, strlen(line), DIGEST_SETTINGS),
                       "command line", "start all ranks with the same one");
}

mxs_status mxs_cli_same(const mxs_cli_session *session,
                        const mxs_settings *settings,
                        const char *dir) {
  char *echo = NULL;
  MXS_TRY(mxs_comm_agree(session->comm, mxs_settings_echo(settings, &echo)));
  const mxs_status status = mxs_cli_same_line(session, echo);
  mxs_release(&echo);
  MXS_TRY(status);
  MXS_TRY(mxs_comm_same(session->comm, digest_problem(settings->problem),
                        "file under the name of the problem", "give one that all hosts share"));
  return dir == NULL ? MXS_OK
                     : mxs_comm_same(session->comm, mxs_hash64(dir, strlen(dir), DIGEST_DIRECTORY),
                                     "run directory", "start all ranks with the same one");
}
