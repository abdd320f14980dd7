#include "base/text.h"
#include "op/streamed.h"
#include "problem/file_impl.h"
#include "problem/problem_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A dataset whose rows are read again and again. */
typedef struct file_rows {
  char *path, *name; /* of the file; for messages */
  int64_t row_bytes;
  hid_t type;         /* of the rows in memory */
  int fd;             /* the file, apart from HDF5 */
  struct stat opened; /* what it was then */
  int64_t offset;     /* of the dataset in the file; -1: HDF5 reads it */
  hid_t file;         /* for HDF5 */
  mxs_store_set set;
} file_rows;

/* HDF5 is not made for threads: those of a pass read one after another. What else uses HDF5 does so
 * while there is no pass. */
static pthread_mutex_t hdf5_in_use = PTHREAD_MUTEX_INITIALIZER;

static int same_time(struct timespec a, struct timespec b) {
  return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static mxs_status check_unchanged(const file_rows *f) {
  struct stat now;
  if (fstat(f->fd, &now) != 0)
    return mxs_fail(MXS_ERR_IO, "%s: cannot be looked at: %s", f->path, strerror(errno));
  if (now.st_size == f->opened.st_size && same_time(now.st_mtim, f->opened.st_mtim))
    return MXS_OK;
  return mxs_fail(MXS_ERR_IO,
                  "%s: was changed under the run: %lld bytes when it was opened, %lld now", f->path,
                  (long long)f->opened.st_size, (long long)now.st_size);
}

static mxs_status fail_rows(const file_rows *f, int64_t first, int64_t count, const char *why) {
  return mxs_fail(MXS_ERR_IO, "%s: rows %lld .. %lld cannot be read: %s", f->name, (long long)first,
                  (long long)(first + count - 1), why);
}

/* 0, or errno; ENODATA: the file ends before. */
static int read_bytes(int fd, char *to, int64_t bytes, int64_t offset) {
  while (bytes > 0) {
    const ssize_t n = pread(fd, to, (size_t)bytes, (off_t)offset);
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return n < 0 ? errno : ENODATA;
    to += n;
    offset += n;
    bytes -= n;
  }
  return 0;
}

static mxs_status read_plain(void *self, int64_t first, int64_t count, void *rows) {
  const file_rows *f = self;
  const int error = read_bytes(f->fd, rows, count * f->row_bytes, f->offset + first * f->row_bytes);
  if (error != 0)
    return fail_rows(f, first, count, error == ENODATA ? "the file ends before" : strerror(error));
  return check_unchanged(f);
}

static mxs_status read_by_hdf5(void *self, int64_t first, int64_t count, void *rows) {
  const file_rows *f = self;
  (void)pthread_mutex_lock(&hdf5_in_use);
  const mxs_status status = mxsi_file_rows(&f->set, f->type, first, count, rows);
  (void)pthread_mutex_unlock(&hdf5_in_use);
  MXS_TRY(status);
  return check_unchanged(f);
}

static void close_rows(void *self) {
  file_rows *f = self;
  mxs_store_set_close(&f->set);
  (void)mxs_store_close(&f->file);
  if (f->fd >= 0)
    (void)close(f->fd);
  mxs_release(&f->path);
  mxs_release(&f->name);
  mxs_release(&f);
}

/* Does a plain read give what HDF5 gives? Tried on the last line of the dataset. */
static mxs_status is_plain(const file_rows *f, int *plain) {
  const mxs_store_set *set = &f->set;
  int64_t first[MXS_STORE_DIMS];
  int64_t count[MXS_STORE_DIMS];
  char *lines = NULL;
  for (int d = 0; d < set->ndims; d++) {
    count[d] = d + 1 < set->ndims ? 1 : set->dims[d];
    first[d] = set->dims[d] - count[d];
  }
  const int64_t size = (int64_t)H5Tget_size(f->type);
  const int64_t bytes = count[set->ndims - 1] * size;
  const int64_t last = f->offset + set->entries * size - bytes;
  *plain = 0;
  MXS_TRY(mxs_alloc(2, (size_t)bytes, &lines));
  const mxs_status status = mxs_store_read(set, f->type, first, count, lines);
  *plain = status == MXS_OK && read_bytes(f->fd, lines + bytes, bytes, last) == 0 &&
           memcmp(lines, lines + bytes, (size_t)bytes) == 0;
  mxs_release(&lines);
  return status;
}

/* Where the numbers are in the file, one after another as in memory; -1: they are not. */
static mxs_status find_offset(file_rows *f) {
  f->offset = -1;
  hid_t properties = H5Dget_create_plist(f->set.id);
  hid_t type = H5Dget_type(f->set.id);
  const int contiguous = H5Pget_layout(properties) == H5D_CONTIGUOUS &&
                         H5Tequal(type, f->type) > 0 && H5Dget_offset(f->set.id) != HADDR_UNDEF;
  (void)mxs_store_close(&type);
  (void)mxs_store_close(&properties);
  if (!contiguous)
    return MXS_OK;
  int plain = 0;
  f->offset = (int64_t)H5Dget_offset(f->set.id);
  MXS_TRY(is_plain(f, &plain));
  f->offset = plain ? f->offset : -1;
  return MXS_OK;
}

static mxs_status open_rows(file_rows *f, const char *path, int which) {
  MXS_TRY(mxs_text_format(&f->path, "%s", path));
  MXS_TRY(mxs_text_format(&f->name, "%s: /%s", path, mxsi_file_name(which)));
  MXS_TRY(mxs_store_open(f->path, &f->file));
  f->fd = open(f->path, O_RDONLY | O_CLOEXEC);
  if (f->fd < 0 || fstat(f->fd, &f->opened) != 0)
    return mxs_fail(MXS_ERR_IO, "%s: cannot open: %s", f->path, strerror(errno));
  MXS_TRY(mxs_store_set_open(f->file, f->path, mxsi_file_name(which), &f->set));
  f->type = mxsi_file_digest_type(&f->set);
  f->row_bytes = mxsi_file_row_entries(&f->set) * (int64_t)H5Tget_size(f->type);
  MXS_TRY(find_offset(f));
  if (f->offset >= 0) {
    mxs_store_set_close(&f->set);
    (void)mxs_store_close(&f->file);
  }
  return MXS_OK;
}

/* The operator, and where its rows come from. */
static mxs_status attach(const char *path, int which, mxs_data *data) {
  file_rows *f = NULL;
  mxs_streamed *streamed = NULL;
  MXS_TRY(mxs_alloc(1, sizeof *f, &f));
  *f = (file_rows){.fd = -1, .file = H5I_INVALID_HID, .set = {.id = H5I_INVALID_HID}};
  const mxs_status status = open_rows(f, path, which);
  if (status != MXS_OK) {
    close_rows(f);
    return status;
  }
  const int plain = f->offset >= 0;
  const mxs_row_source source = {.read = plain ? read_plain : read_by_hdf5,
                                 .destroy = close_rows,
                                 .self = f,
                                 .name = f->name,
                                 .how = plain ? "read ahead from the file" : "read through HDF5",
                                 .ahead = plain};
  const mxs_storage storage = f->type == H5T_NATIVE_FLOAT ? MXS_STORAGE_F32 : MXS_STORAGE_F64;
  MXS_TRY(mxsi_streamed_create(mxsi_file_row_entries(&f->set), storage, &data->blocks, &source,
                               &streamed));
  data->op = &mxsi_op_streamed;
  data->self = streamed;
  return MXS_OK;
}

/* The first look at some rows. */
static mxs_status check_rows(void *ctx, int64_t first, int64_t count, const void *rows) {
  mxsi_file_check *check = ctx;
  MXS_TRY(mxsi_file_check_finite(check->set, check->type, first, count, rows));
  return mxsi_file_check_rows(check, first, count, rows);
}

mxs_status mxsi_file_stream(hid_t file, const char *path, int which, mxs_data *data) {
  mxs_store_set set;
  mxsi_file_check check = {.parts = NULL};
  int64_t *order = NULL;
  MXS_TRY(attach(path, which, data));
  MXS_TRY(mxs_store_set_open(file, path, mxsi_file_name(which), &set));
  mxs_status status = mxsi_file_check_begin(file, &set, which, &check);
  if (status == MXS_OK)
    status = mxsi_file_own_order(&data->blocks, &order);
  for (int64_t j = 0; j < data->blocks.own_count && status == MXS_OK; j++)
    status = mxsi_streamed_look(data->self, order[j], check_rows, &check);
  if (status == MXS_OK)
    status = mxsi_file_check_end(&check);
  mxs_release(&order);
  mxsi_file_check_clear(&check);
  mxs_store_set_close(&set);
  return status;
}
