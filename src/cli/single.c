#include "cli/single.h"
#include "la/la.h"
#include "store/store.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

mxs_status mxs_cli_join_path(const char *dir, const char *name, char **path) {
  const size_t length = strlen(dir);
  return mxs_text_format(path, "%s%s%s", dir, length > 0 && dir[length - 1] == '/' ? "" : "/",
                         name);
}

/* A run has one of these from its first moments on. */
static int is_run(const char *dir) {
  static const char *const names[] = {"checkpoint.h5", "checkpoint.prev.h5", "config.yaml"};
  int found = 0;
  for (size_t i = 0; i < sizeof names / sizeof names[0] && !found; i++) {
    char *path = NULL;
    found = mxs_cli_join_path(dir, names[i], &path) == MXS_OK && access(path, F_OK) == 0;
    mxs_release(&path);
  }
  return found;
}

mxs_status mxs_cli_kind_of(const char *path, mxs_cli_kind *kind) {
  struct stat entry;
  if (stat(path, &entry) != 0)
    return mxs_fail(errno == EACCES ? MXS_ERR_PERMISSION : MXS_ERR_INPUT, "%s: %s", path,
                    errno == EACCES ? "permission denied" : "no such file or directory");
  if (S_ISDIR(entry.st_mode)) {
    *kind = MXS_CLI_RUN;
    if (access(path, R_OK | X_OK) != 0)
      return mxs_fail(MXS_ERR_PERMISSION, "%s: no permission to read the directory", path);
    return is_run(path)
               ? MXS_OK
               : mxs_fail(MXS_ERR_DATA, "%s: a directory, but not a run of mxsense solve", path);
  }
  hid_t file = H5I_INVALID_HID;
  MXS_TRY(mxs_store_open(path, &file));
  char format[64] = "";
  mxs_status status = MXS_OK;
  if (mxs_store_has_attribute(file, "format"))
    status = mxs_store_get_text(file, path, "format", format, sizeof format);
  (void)mxs_store_close(&file); /* only read */
  *kind = strcmp(format, "mxsense-checkpoint") == 0 ? MXS_CLI_CHECKPOINT : MXS_CLI_PROBLEM;
  return status;
}

mxs_status mxs_cli_singular_values(mxs_cmat U, mxs_cmat V, double **values, int64_t *count) {
  const int64_t least = U.rows < V.rows ? U.rows : V.rows;
  *count = least < U.cols ? least : U.cols;
  MXS_TRY(mxs_alloc(*count, sizeof **values, values));
  const mxs_status status = mxs_la_svd_product(U, V, *values, NULL, NULL);
  if (status != MXS_OK)
    mxs_release(values);
  return status;
}

mxs_status mxs_cli_alone(const mxs_cli_session *session,
                         mxs_status (*work)(const mxs_cli_session *session,
                                            const mxs_comm *self,
                                            void *ctx),
                         void *ctx) {
  mxs_status status = MXS_OK;
  if (session->rank == 0) {
    mxs_comm *self = NULL;
    status = mxs_comm_create(MPI_COMM_SELF, &self);
    if (status == MXS_OK)
      status = work(session, self, ctx);
    mxs_comm_destroy(&self);
  }
  return mxs_comm_agree(session->comm, status);
}
