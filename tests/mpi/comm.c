/* Agreement, equality and small reductions over ranks. */
#include "comm/comm.h"
#include "mpi/mpi_test.h"

#include <string.h>

static mxs_comm *comm;

static int make(void **state) {
  (void)state;
  return mxs_comm_create(MPI_COMM_WORLD, &comm) != MXS_OK;
}

static int destroy(void **state) {
  (void)state;
  mxs_comm_destroy(&comm);
  return comm != NULL;
}

static void agree_on_success(void **state) {
  (void)state;
  assert_ok(mxs_comm_agree(comm, MXS_OK));
}

/* Whoever fails: all return the status and the text of the lowest failing rank. */
static void agree_on_failure(void **state) {
  (void)state;
  for (int bad = 0; bad < comm->size; bad++) {
    const mxs_status mine = comm->rank < bad
                                ? MXS_OK
                                : mxs_fail(comm->rank == bad ? MXS_ERR_DATA : MXS_ERR_IO,
                                           "text of rank %d", comm->rank);
    const mxs_status all = mxs_comm_agree(comm, mine);
    char expected[64], prefixed[64];
    (void)snprintf(expected, sizeof expected, "text of rank %d", bad);
    (void)snprintf(prefixed, sizeof prefixed, "[rank %d] text of rank %d", bad, bad);
    assert_everywhere(all == MXS_ERR_DATA);
    assert_everywhere(strcmp(mxs_last_error(), comm->size > 1 ? prefixed : expected) == 0);
  }
}

static void same(void **state) {
  (void)state;
  assert_ok(mxs_comm_same(comm, 0xfedcba9876543210U, "moon", "look up"));
  for (int bad = 1; bad < comm->size; bad++) {
    const mxs_status status = mxs_comm_same(comm, comm->rank >= bad ? 2 : 1, "moon", "look up");
    char name[32];
    (void)snprintf(name, sizeof name, "rank %d", bad);
    assert_everywhere(status == MXS_ERR_MISMATCH);
    assert_everywhere(strstr(mxs_last_error(), "moon than rank 0: look up") != NULL &&
                      strstr(mxs_last_error(), name) != NULL);
  }
}

static void reductions(void **state) {
  (void)state;
  const int64_t size = comm->size, big = INT64_C(1) << 62;
  assert_everywhere(mxs_comm_sum(comm, comm->rank + 1) == size * (size + 1) / 2);
  assert_everywhere((uint64_t)mxs_comm_sum(comm, big) == (uint64_t)big * (uint64_t)size);
  assert_everywhere(mxs_comm_max(comm, -comm->rank - 5) == -5);
  const mxs_spread spread = mxs_comm_spread(comm, comm->rank);
  assert_everywhere(spread.min == 0.0 && spread.max == (double)(size - 1) &&
                    spread.mean == (double)(size - 1) / 2);
}

static void broadcast(void **state) {
  (void)state;
  int64_t values[1000];
  for (int root = 0; root < comm->size; root++) {
    for (int i = 0; i < 1000; i++)
      values[i] = comm->rank == root ? i * 7 + root : -1;
    mxs_comm_bcast(comm, values, sizeof values, root);
    int good = 1;
    for (int i = 0; i < 1000; i++)
      good = good && values[i] == i * 7 + root;
    assert_everywhere(good);
    mxs_comm_bcast(comm, values, 0, root);
  }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(agree_on_success), cmocka_unit_test(agree_on_failure), cmocka_unit_test(same),
    cmocka_unit_test(reductions),       cmocka_unit_test(broadcast),
};

MPI_TEST_MAIN_WITH(tests, make, destroy)
