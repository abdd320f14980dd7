/* Transfers beyond the counts of MPI go in pieces: what reaches MPI is looked at instead of being
 * sent, so that no memory of this size is needed. */
#include "comm/comm.h"
#include "mpi/mpi_test.h"

#include <limits.h>
#include <sys/mman.h>

static int watching;
static const char *expected; /* where the next piece begins */
static int64_t moved;
static int calls;

int MPI_Bcast(void *data, int count, MPI_Datatype type, int root, MPI_Comm mpi) {
  if (!watching)
    return PMPI_Bcast(data, count, type, root, mpi);
  if (data != expected || type != MPI_BYTE || count <= 0)
    watching = -1; /* found to be wrong */
  expected += count;
  moved += count;
  calls++;
  return MPI_SUCCESS;
}

static void test_bcast(void **unused) {
  (void)unused;
  static const int64_t sizes[] = {1, INT_MAX, (int64_t)INT_MAX + 1, (INT64_C(1) << 32) + 5,
                                  (INT64_C(1) << 33) - 1};
  mxs_comm *comm = NULL;
  const size_t room = (size_t)1 << 33;
  char *memory = mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  assert_true(memory != MAP_FAILED);
  assert_ok(mxs_comm_create(MPI_COMM_WORLD, &comm));
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    expected = memory;
    moved = 0;
    calls = 0;
    watching = 1;
    mxs_comm_bcast(comm, memory, sizes[i], comm->size - 1);
    const int good = watching == 1;
    watching = 0;
    assert_everywhere(good && moved == sizes[i] && calls >= (int)((sizes[i] - 1) / INT_MAX) + 1);
  }
  mxs_comm_destroy(&comm);
  (void)munmap(memory, room);
}

static const struct CMUnitTest all_tests[] = {
    cmocka_unit_test(test_bcast),
};

MPI_TEST_MAIN(all_tests)
