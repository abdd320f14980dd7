#include "run/run_impl.h"
#include "store/store.h"

#include <math.h>
#include <string.h>

/* Shape of factors/U or factors/V against what the problem needs. */
static mxs_status check_shape(const mxs_store_set *set,
                              int64_t rows,
                              int64_t k,
                              const char *rows_name) {
  if (set->ndims == 2 && set->dims[0] == rows && set->dims[1] == k)
    return MXS_OK;
  return mxs_fail(MXS_ERR_DATA,
                  "%s: %s has shape %s, but the start needs %s x k = (%lld, %lld): give another "
                  "file with init, or set k",
                  set->path, set->name, set->shape, rows_name, (long long)rows, (long long)k);
}

static mxs_status read_factor(hid_t file,
                              const char *path,
                              const char *name,
                              int64_t rows,
                              int64_t k,
                              const char *rows_name,
                              double *out) {
  mxs_store_set set;
  MXS_TRY(mxs_store_set_open(file, path, name, &set));
  mxs_status status = check_shape(&set, rows, k, rows_name);
  if (status == MXS_OK)
    status = mxs_store_read_all(&set, H5T_NATIVE_DOUBLE, out);
  for (int64_t i = 0; status == MXS_OK && i < rows * k; i++)
    if (!isfinite(out[i]))
      status = mxs_fail(MXS_ERR_DATA, "%s: %s[%lld, %lld] is %g: it must be finite", path, name,
                        (long long)(i / k), (long long)(i % k), out[i]);
  mxs_store_set_close(&set);
  return status;
}

/* Rank 0: any HDF5 file with the two datasets will do; one that calls itself a checkpoint must also
 * verify. */
static mxs_status read_plain(const mxsi_run *run, const char *path, int *is_checkpoint) {
  const int64_t n1 = run->info.n1, n2 = run->info.n2, k = mxs_settings_k(&run->settings, 0, 0);
  char format[32] = "";
  hid_t file = H5I_INVALID_HID;
  mxs_status status = MXS_OK;
  MXS_TRY_GOTO(status, mxs_store_open(path, &file), cleanup);
  MXS_TRY_GOTO(status, read_factor(file, path, "factors/U", n1, k, "n1", run->start), cleanup);
  MXS_TRY_GOTO(status, read_factor(file, path, "factors/V", n2, k, "n2", run->start + n1 * k),
               cleanup);
  if (mxs_store_has_attribute(file, "format"))
    MXS_TRY_GOTO(status, mxs_store_get_text(file, path, "format", format, sizeof format), cleanup);
  *is_checkpoint = strcmp(format, "mxsense-checkpoint") == 0;
cleanup:
  (void)mxs_store_close(&file);
  return status;
}

mxs_status mxsi_run_read_start(mxsi_run *run, const char *path) {
  const int64_t count = (run->info.n1 + run->info.n2) * mxs_settings_k(&run->settings, 0, 0);
  int is_checkpoint = 0;
  mxs_ckpt *ckpt = NULL;
  MXS_TRY(mxs_comm_agree(run->comm, mxs_alloc(count, sizeof *run->start, &run->start)));
  MXS_TRY(mxs_comm_agree(run->comm, run->root ? read_plain(run, path, &is_checkpoint) : MXS_OK));
  mxs_comm_bcast(run->comm, &is_checkpoint, sizeof is_checkpoint, 0);
  if (is_checkpoint) {
    MXS_TRY(mxs_ckpt_read(run->comm, path, &ckpt));
    mxs_ckpt_destroy(&ckpt);
  }
  mxs_comm_bcast(run->comm, run->start, count * (int64_t)sizeof *run->start, 0);
  return MXS_OK;
}
