/** @file
 *  Frame of a test program that runs under mpirun: every rank runs the same cmocka group.
 *
 *  A cmocka assertion leaves its test by longjmp. Where only one rank may fail, use
 * assert_everywhere(), or the others wait in the next collective until the test's time limit. */
#ifndef MXS_TESTS_MPI_TEST_H
#define MXS_TESTS_MPI_TEST_H

#include "mxsense/base.h"

#include <mpi.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static inline int mpi_test_rank(void) {
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  return rank;
}

static inline int mpi_test_size(void) {
  int size = 0;
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  return size;
}

/** Make a directory of this run's own below MXS_TEST_TMP and write its path, the same on all ranks.
 * Collective. */
static inline void mpi_test_scratch(const char *name, char *path, size_t size) {
  const char *root = getenv("MXS_TEST_TMP");
  long number = (long)getpid();
  MPI_Bcast(&number, 1, MPI_LONG, 0, MPI_COMM_WORLD);
  (void)snprintf(path, size, "%s/%s.%d.%ld", root != NULL ? root : ".", name, mpi_test_size(),
                 number);
  if (mpi_test_rank() == 0)
    (void)mkdir(path, 0777);
  MPI_Barrier(MPI_COMM_WORLD);
}

/** 1 when `condition` holds on every rank. Collective. */
static inline int mpi_test_all(int condition) {
  int mine = condition != 0, all = 0;
  MPI_Allreduce(&mine, &all, 1, MPI_INT, MPI_MIN, MPI_COMM_WORLD);
  return all;
}

/** 1 when two arrays are equal bit for bit. */
static inline int mpi_test_same_bits(const void *a, const void *b, size_t bytes) {
  return memcmp(a, b, bytes) == 0;
}

/** Fail on all ranks when `condition` fails on one. Collective. */
#define assert_everywhere(condition)                                                               \
  do {                                                                                             \
    const int holds_here_ = (condition) ? 1 : 0;                                                   \
    if (!mpi_test_all(holds_here_))                                                                \
      fail_msg("%s: %s", holds_here_ ? "fails on another rank" : "fails here", #condition);        \
  } while (0)

/** A collective call that must succeed, with its error text when it does not. Collective. */
#define assert_ok(call)                                                                            \
  do {                                                                                             \
    const mxs_status status_here_ = (call);                                                        \
    if (!mpi_test_all(status_here_ == MXS_OK))                                                     \
      fail_msg("%s: %s (%s)", #call, mxs_status_text(status_here_), mxs_last_error());             \
  } while (0)

/** Run a group on every rank; non-zero when a test failed, or memory is still allocated, on any
 * rank. */
#define MPI_TEST_MAIN_WITH(tests, setup, teardown)                                                 \
  int main(int argc, char **argv) {                                                                \
    MPI_Init(&argc, &argv);                                                                        \
    int bad = cmocka_run_group_tests(tests, setup, teardown);                                      \
    if (mxs_alloc_outstanding() != 0) {                                                            \
      (void)fprintf(stderr, "[rank %d] %lld blocks were not released\n", mpi_test_rank(),          \
                    (long long)mxs_alloc_outstanding());                                           \
      bad = 1;                                                                                     \
    }                                                                                              \
    bad = !mpi_test_all(bad == 0);                                                                 \
    MPI_Finalize();                                                                                \
    return bad;                                                                                    \
  }

#define MPI_TEST_MAIN(tests) MPI_TEST_MAIN_WITH(tests, NULL, NULL)

#endif
