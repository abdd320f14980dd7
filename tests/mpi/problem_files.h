/** @file
 *  What the tests of problem files share: a directory of their own, a recipe, and files as users
 *  write them. */
#ifndef MXS_TESTS_PROBLEM_FILES_H
#define MXS_TESTS_PROBLEM_FILES_H

#include "mpi_test.h"

#include "op/fast.h"
#include "problem/file_impl.h"
#include "problem/problem_impl.h"
#include "store/store.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_SIZE = 4096, M = 90, N1 = 7, N2 = 5 };

static mxs_comm *comm;
static char scratch[PATH_SIZE];

static inline const char *at(const char *name) {
  static char paths[8][2 * PATH_SIZE];
  static int next;
  char *path = paths[next++ % 8];
  (void)snprintf(path, sizeof paths[0], "%s/%s", scratch, name);
  return path;
}

/* Files do not outlive their test. */
static inline void drop(const char *path) {
  MPI_Barrier(comm->mpi);
  if (comm->rank == 0)
    (void)unlink(path);
  MPI_Barrier(comm->mpi);
}

static const mxs_plant recipe = {.n1 = 9,
                                 .n2 = 6,
                                 .rank = 2,
                                 .measurements = 203,
                                 .held_out = 37,
                                 .condition = 3.0,
                                 .noise = 0.05,
                                 .seed = 12};

/* A dataset as a user would write it; `type` is its type on disk. */
static inline void put(
    hid_t file, const char *name, hid_t type, int ndims, const hsize_t *dims, const double *data) {
  hid_t space = H5Screate_simple(ndims, dims, NULL);
  hid_t links = H5Pcreate(H5P_LINK_CREATE);
  (void)H5Pset_create_intermediate_group(links, 1);
  hid_t set = H5Dcreate2(file, name, type, space, links, H5P_DEFAULT, H5P_DEFAULT);
  assert_true(set >= 0);
  if (data != NULL)
    assert_true(H5Dwrite(set, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) >= 0);
  (void)H5Dclose(set);
  (void)H5Pclose(links);
  (void)H5Sclose(space);
}

typedef struct user_file {
  int dims_A; /* 0: no A */
  int signs;  /* entries of A are +-1 */
  hsize_t shape_A[3];
  hid_t type_A;
  hsize_t m;
  int64_t nan_at; /* entry of A, -1: none */
  double odd;     /* not 0: entry 77 of A */
  hsize_t validation;
  const char *ensemble;
} user_file;

static inline void fill_user(const user_file *u, double *A, double *y) {
  for (int i = 0; i < M * N1 * N2; i++)
    A[i] = u->signs ? ((i * 37) % 11 < 5 ? -1.0 : 1.0) : (double)((i * 37) % 11 - 5);
  if (u->odd != 0.0)
    A[77] = u->odd;
  if (u->nan_at >= 0)
    A[u->nan_at] = (double)NAN;
  for (int i = 0; i < M; i++)
    y[i] = 0.25 * i;
}

static inline void write_user(const char *path, const user_file *u) {
  if (comm->rank == 0) {
    double A[M * N1 * N2];
    double y[M];
    fill_user(u, A, y);
    hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    if (u->dims_A > 0)
      put(file, "A", u->type_A, u->dims_A, u->shape_A, A); /* at most M N1 N2 entries */
    if (u->m > 0)
      put(file, "y", H5T_IEEE_F64BE, 1, &u->m, y);
    if (u->validation > 0) {
      const hsize_t shape[3] = {u->validation, N1, N2};
      put(file, "validation/y", H5T_IEEE_F32LE, 1, &u->validation, y);
      put(file, "validation/A", H5T_IEEE_F32LE, 3, shape, A);
    }
    if (u->ensemble != NULL)
      assert_int_equal(mxs_store_put_text(file, "ensemble", u->ensemble), MXS_OK);
    (void)H5Fclose(file);
  }
  MPI_Barrier(comm->mpi);
}

static inline user_file good_file(void) {
  return (user_file){
      .dims_A = 3, .shape_A = {M, N1, N2}, .type_A = H5T_IEEE_F64LE, .m = M, .nan_at = -1};
}

/* Load with options; the text of the error must contain a word. */
static inline int load_gives(const char *path,
                             const mxs_problem_options *options,
                             mxs_status expected,
                             const char *word) {
  mxs_problem *problem = NULL;
  const mxs_status status = mxs_problem_load(MPI_COMM_WORLD, path, options, &problem);
  const int clean = (status == MXS_OK) == (problem != NULL);
  mxs_problem_destroy(&problem);
  return clean && status == expected && (word == NULL || strstr(mxs_last_error(), word) != NULL);
}

static inline int setup(void **unused) {
  (void)unused;
  mpi_test_scratch("files", scratch, sizeof scratch);
  return mxs_comm_create(MPI_COMM_WORLD, &comm) != MXS_OK;
}

static inline int teardown(void **unused) {
  (void)unused;
  MPI_Barrier(comm->mpi);
  const int left = comm->rank == 0 && rmdir(scratch) != 0; /* a test or a call left a file behind */
  mxs_comm_destroy(&comm);
  return left;
}

#endif
