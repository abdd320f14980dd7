#include "base/text.h"
#include "bench/bench.h"
#include "ckpt/ckpt.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Least number of numbers in a factor of the test: half a MB, and 17 MB without a problem. */
enum { DIRECTORY_SIZE = 4096, LEAST_NUMBERS = 1 << 16, USUAL_NUMBERS = 1 << 21 };

/* The directory is new, so that the files of a run are never touched. */
static mxs_status make_directory(const char *dir, char path[DIRECTORY_SIZE]) {
  struct stat entry;
  if (stat(dir, &entry) != 0 || !S_ISDIR(entry.st_mode))
    return mxs_fail(MXS_ERR_INPUT, "--io: %s: no such directory", dir);
  if (snprintf(path, DIRECTORY_SIZE, "%s/mxsense-io-test.%ld", dir, (long)getpid()) >=
      DIRECTORY_SIZE)
    return mxs_fail(MXS_ERR_CREATE, "--io: %s: path too long", dir);
  if (mkdir(path, 0777) != 0)
    return mxs_fail(errno == EACCES || errno == EROFS ? MXS_ERR_PERMISSION : MXS_ERR_IO,
                    "--io: %s: cannot create a directory there: %s", dir, strerror(errno));
  return MXS_OK;
}

static void remove_directory(const char *path) {
  static const char *const names[] = {"checkpoint.h5", "checkpoint.prev.h5", "plain"};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    char *file = NULL;
    if (mxs_text_format(&file, "%s/%s", path, names[i]) == MXS_OK)
      (void)unlink(file); /* it need not exist */
    mxs_release(&file);
  }
  (void)rmdir(path);
}

static mxs_status compare(const mxs_ckpt *ckpt, const mxs_array *arrays, int64_t count) {
  for (int64_t i = 0; i < count; i++) {
    const mxs_array *read = NULL;
    MXS_TRY(mxs_ckpt_doubles(ckpt, arrays[i].name, &read));
    if (read->rows != arrays[i].rows || read->cols != arrays[i].cols ||
        memcmp(read->data, arrays[i].data, (size_t)(read->rows * read->cols) * sizeof(double)) != 0)
      return mxs_fail(MXS_ERR_IO, "--io: /%s was read back with other values than were written",
                      read->name);
  }
  return MXS_OK;
}

static mxs_status write_and_read(const mxs_comm *comm,
                                 const char *path,
                                 mxs_array *arrays,
                                 mxs_bench_io *out) {
  static const char *const column = "iteration";
  double row = 0.0;
  const mxs_history history = {
      .names = &column, .columns = 1, .rows = 1, .capacity = 1, .values = &row};
  const mxs_ckpt_info info = {.reason = "target", .finished = 1};
  const mxs_ckpt_place place = {.dir = path, .tag = "io-test"};
  mxs_ckpt *ckpt = NULL;
  char *note = NULL;
  MPI_Barrier(comm->mpi);
  const double start = MPI_Wtime();
  MXS_TRY(mxs_ckpt_write(comm, &place, &info, arrays, 2, &history, "io test\n"));
  const double written = MPI_Wtime();
  mxs_status status = mxs_ckpt_read_latest(comm, path, &ckpt, &note);
  const double read = MPI_Wtime();
  if (status == MXS_OK && ckpt == NULL)
    status = mxs_fail(MXS_ERR_IO, "--io: %s: the checkpoint written there is gone", path);
  if (status == MXS_OK)
    status = mxs_comm_agree(comm, compare(ckpt, arrays, 2));
  mxs_release(&note);
  mxs_ckpt_destroy(&ckpt);
  out->write_s = written - start;
  out->read_s = read - written;
  return status;
}

/* Local: rank 0. */
static mxs_status write_plain(const char *path, const double *data, int64_t count) {
  char file[DIRECTORY_SIZE + 8];
  (void)snprintf(file, sizeof file, "%s/plain", path);
  const int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  const char *from = (const char *)data;
  int64_t left = count * (int64_t)sizeof *data;
  int good = fd >= 0;
  while (good && left > 0) {
    const ssize_t written = write(fd, from, left < 1 << 24 ? (size_t)left : (size_t)1 << 24);
    good = written > 0;
    from += good ? written : 0;
    left -= good ? written : 0;
  }
  good = good && fsync(fd) == 0;
  const int error = errno;
  if (fd >= 0)
    (void)close(fd);
  return good ? MXS_OK : mxs_fail(MXS_ERR_IO, "--io: cannot write %s: %s", file, strerror(error));
}

mxs_status mxs_bench_measure_io(
    const mxs_comm *comm, const char *dir, int64_t n1, int64_t n2, int64_t k, mxs_bench_io *out) {
  char path[DIRECTORY_SIZE] = "";
  double *factors = NULL;
  const int64_t least = n1 == 1 && n2 == 1 ? USUAL_NUMBERS : LEAST_NUMBERS;
  const int64_t rows_U = n1 * k < least ? least / k + 1 : n1;
  const int64_t rows_V = n2 * k < least ? least / k + 1 : n2;
  const int64_t count = (rows_U + rows_V) * k;
  MXS_TRY(mxs_comm_agree(comm, mxs_alloc(count, sizeof *factors, &factors)));
  for (int64_t j = 0; j < count; j++)
    factors[j] = 1.0 / (double)(j + 1);
  mxs_array arrays[] = {{"factors/U", 0, rows_U, k, factors, 0},
                        {"factors/V", 0, rows_V, k, factors + rows_U * k, 0}};
  out->bytes = (double)count * (double)sizeof(double);
  mxs_status status = comm->rank == 0 ? make_directory(dir, path) : MXS_OK;
  status = mxs_comm_agree(comm, status);
  if (status == MXS_OK) {
    mxs_comm_bcast(comm, path, sizeof path, 0);
    status = write_and_read(comm, path, arrays, out);
    const double start = MPI_Wtime();
    if (status == MXS_OK)
      status = mxs_comm_agree(comm, comm->rank == 0 ? write_plain(path, factors, count) : MXS_OK);
    out->plain_s = MPI_Wtime() - start;
    MPI_Barrier(comm->mpi); /* nobody has the files open any more */
    if (comm->rank == 0)
      remove_directory(path);
  }
  mxs_release(&factors);
  return status;
}
