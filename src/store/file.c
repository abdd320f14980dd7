#include "store/store_impl.h"

#include "base/hash.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { TEXT_SIZE = 1024, LARGE_OBJECT = 1 << 20, ALIGNMENT = 1 << 16 };

/* Keeps the first text that the walk meets: upward walks start at the innermost error. */
static herr_t innermost(unsigned depth, const H5E_error2_t *error, void *text) {
  (void)depth;
  char *out = text;
  if (out[0] == '\0' && error->desc != NULL)
    (void)snprintf(out, TEXT_SIZE, "%s", error->desc);
  return 0;
}

mxs_status mxs_store_fail(mxs_status status, const char *path, const char *format, ...) {
  char detail[TEXT_SIZE] = "";
  char text[TEXT_SIZE];
  va_list args;
  va_start(args, format);
  (void)vsnprintf(text, sizeof text, format, args);
  va_end(args);
  (void)H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, innermost, detail);
  (void)H5Eclear2(H5E_DEFAULT);
  for (char *at = strchr(detail, '\n'); at != NULL; at = strchr(at, '\n'))
    *at = ' ';
  return detail[0] == '\0' ? mxs_fail(status, "%s: %s", path, text)
                           : mxs_fail(status, "%s: %s (HDF5: %s)", path, text, detail);
}

void mxs_store_digest(const void *data, int64_t bytes, char text[MXS_STORE_DIGEST_TEXT]) {
  uint64_t words[2];
  mxs_hash128(data, (size_t)bytes, words);
  (void)snprintf(text, MXS_STORE_DIGEST_TEXT, "%016llx%016llx", (unsigned long long)words[0],
                 (unsigned long long)words[1]);
}

/* errno of opening `path` for reading as a status. */
static mxs_status fail_open(const char *path, int error) {
  if (error == ENOENT || error == ENOTDIR)
    return mxs_fail(MXS_ERR_INPUT, "%s: no such file", path);
  if (error == EACCES || error == EPERM)
    return mxs_fail(MXS_ERR_PERMISSION, "%s: not readable: %s", path, strerror(error));
  return mxs_fail(MXS_ERR_IO, "%s: cannot open: %s", path, strerror(error));
}

mxs_status mxs_store_check_readable(const char *path) {
  struct stat what;
  if (stat(path, &what) == 0)
    MXS_TRY(mxsi_store_check_refused(&what));
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return fail_open(path, errno);
  const int known = fstat(fd, &what) == 0;
  (void)close(fd);
  if (!known || !S_ISREG(what.st_mode))
    return mxs_fail(MXS_ERR_DATA, "%s: not a regular file; give the path of an HDF5 file", path);
  (void)H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
  if (H5Fis_hdf5(path) <= 0)
    return mxs_fail(MXS_ERR_DATA, "%s: not an HDF5 file%s", path,
                    what.st_size == 0 ? " (it is empty)" : ", or damaged");
  return MXS_OK;
}

/* Properties of every access: no error when the file system has no locks. A file may not have
 * plugins loaded for it. */
static mxs_status access_properties(hid_t *out) {
  (void)H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
  hid_t fapl = H5Pcreate(H5P_FILE_ACCESS);
  herr_t result = fapl < 0 ? -1 : H5PLset_loading_state(0);
#if H5_VERSION_GE(1, 12, 1) || (H5_VERSION_GE(1, 10, 7) && !H5_VERSION_GE(1, 12, 0))
  if (result >= 0)
    result = H5Pset_file_locking(fapl, 1, 1);
#endif
  if (result < 0) {
    (void)mxs_store_close(&fapl);
    return mxs_store_fail(MXS_ERR_INTERNAL, "HDF5", "cannot set file access properties");
  }
  *out = fapl;
  return MXS_OK;
}

mxs_status mxs_store_open(const char *path, hid_t *file) {
  *file = H5I_INVALID_HID;
  hid_t fapl = H5I_INVALID_HID;
  MXS_TRY(mxs_store_check_readable(path));
  MXS_TRY(access_properties(&fapl));
  *file = H5Fopen(path, H5F_ACC_RDONLY, fapl);
  (void)H5Pclose(fapl);
  if (*file < 0)
    return mxs_store_fail(MXS_ERR_DATA, path,
                          "cannot open as HDF5; damaged, or open for writing elsewhere");
  return MXS_OK;
}

/* The serial driver on every rank: with that of MPI-IO some calls of HDF5 that look local
 * (H5Lget_info, H5Dopen2) are collective, and a rank that meets damage would leave the others
 * waiting in them. */
mxs_status mxs_store_open_all(const mxs_comm *comm, const char *path, hid_t *file) {
  const mxs_status status = mxs_comm_agree(comm, mxs_store_open(path, file));
  if (status != MXS_OK)
    (void)mxs_store_close(file);
  return status;
}

static herr_t creation_properties(hid_t fapl, const mxs_comm *comm) {
  herr_t result = H5Pset_fapl_mpio(fapl, comm->mpi, MPI_INFO_NULL);
  result = result < 0 ? result : H5Pset_coll_metadata_write(fapl, 1);
  result = result < 0 ? result : H5Pset_all_coll_metadata_ops(fapl, 1);
  result = result < 0 ? result : H5Pset_libver_bounds(fapl, H5F_LIBVER_V110, H5F_LIBVER_V110);
  return result < 0 ? result : H5Pset_alignment(fapl, LARGE_OBJECT, ALIGNMENT);
}

mxs_status mxs_store_create_all(const mxs_comm *comm, const char *path, hid_t *file) {
  *file = H5I_INVALID_HID;
  hid_t fapl = H5I_INVALID_HID;
  const int fd = open(
      path, O_RDWR | O_CLOEXEC); /* a rank that cannot see the file must not enter the create */
  mxs_status status =
      fd < 0 ? mxs_fail(MXS_ERR_IO,
                        "%s: cannot open for writing: %s; all ranks need the same directory", path,
                        strerror(errno))
             : access_properties(&fapl);
  if (fd >= 0)
    (void)close(fd);
  hid_t fcpl = H5Pcreate(H5P_FILE_CREATE);
  if (status == MXS_OK &&
      (H5Pset_obj_track_times(fcpl, 0) < 0 || creation_properties(fapl, comm) < 0))
    status = mxs_store_fail(MXS_ERR_INTERNAL, path, "cannot choose parallel access");
  status = mxs_comm_agree(comm, status);
  if (status == MXS_OK) {
    *file = H5Fcreate(path, H5F_ACC_TRUNC, fcpl, fapl);
    if (*file < 0)
      status = mxs_store_fail(MXS_ERR_IO, path, "cannot create in parallel");
    status = mxs_comm_agree(comm, status);
  }
  (void)mxs_store_close(&fcpl);
  (void)mxs_store_close(&fapl);
  return status;
}

mxs_status mxs_store_close(hid_t *id) {
  const hid_t old = *id;
  *id = H5I_INVALID_HID;
  if (old < 0)
    return MXS_OK;
  const int is_file = H5Iget_type(old) == H5I_FILE;
  const herr_t result = is_file ? H5Fclose(old) : (herr_t)H5Idec_ref(old);
  return result >= 0
             ? MXS_OK
             : mxs_store_fail(MXS_ERR_IO, "HDF5", "cannot close a %s", is_file ? "file" : "object");
}
