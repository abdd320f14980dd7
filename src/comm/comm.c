#include "comm/comm.h"

#include "base/place.h"

#include <stdio.h>
#include <string.h>

enum { TEXT_SIZE = 2048 };

mxs_status mxs_comm_create(MPI_Comm mpi, mxs_comm **out) {
  *out = NULL;
  mxs_comm *comm = NULL;
  const mxs_status status = mxs_alloc(1, sizeof *comm, &comm);
  int failed = status != MXS_OK;
  MPI_Allreduce(MPI_IN_PLACE, &failed, 1, MPI_INT, MPI_MAX, mpi);
  if (failed) {
    mxs_release(&comm);
    return status != MXS_OK ? status : mxs_fail(MXS_ERR_MEMORY, "another rank is out of memory");
  }
  MPI_Comm_dup(mpi, &comm->mpi);
  MPI_Comm_rank(comm->mpi, &comm->rank);
  MPI_Comm_size(comm->mpi, &comm->size);
  *out = comm;
  return MXS_OK;
}

void mxs_comm_destroy(mxs_comm **comm) {
  if (*comm == NULL)
    return;
  MPI_Comm_free(&(*comm)->mpi);
  mxs_release(comm);
}

static const char waits[] = "waits for the other ranks";

static void reduce(
    const mxs_comm *comm, const void *in, void *out, int count, MPI_Datatype type, MPI_Op op) {
  const char *before = mxs_place_enter(waits);
  MPI_Allreduce(in, out, count, type, op, comm->mpi);
  (void)mxs_place_enter(before);
}

static void broadcast(const mxs_comm *comm, void *data, int count, MPI_Datatype type, int root) {
  const char *before = mxs_place_enter(waits);
  MPI_Bcast(data, count, type, root, comm->mpi);
  (void)mxs_place_enter(before);
}

mxs_status mxs_comm_agree(const mxs_comm *comm, mxs_status status) {
  /* The lowest failing rank decides: the maximum of size - rank over those that failed. */
  int mine = status == MXS_OK ? 0 : comm->size - comm->rank;
  int worst = 0;
  reduce(comm, &mine, &worst, 1, MPI_INT, MPI_MAX);
  if (worst == 0)
    return MXS_OK;
  const int culprit = comm->size - worst;
  struct {
    int status;
    char text[TEXT_SIZE];
  } message = {0};
  if (comm->rank == culprit) {
    message.status = (int)status;
    const char *text = mxs_last_error();
    const int tagged = comm->size > 1 && strncmp(text, "[rank ", 6) != 0;
    if (tagged)
      (void)snprintf(message.text, sizeof message.text, "[rank %d] %s", comm->rank, text);
    else
      (void)snprintf(message.text, sizeof message.text, "%s", text);
  }
  broadcast(comm, &message, (int)sizeof message, MPI_BYTE, culprit);
  return mxs_fail((mxs_status)message.status, "%s", message.text);
}

mxs_status mxs_comm_same(const mxs_comm *comm,
                         uint64_t digest,
                         const char *what,
                         const char *remedy) {
  uint64_t root = digest;
  broadcast(comm, &root, 1, MPI_UINT64_T, 0);
  int mine = root == digest ? 0 : comm->size - comm->rank;
  int worst = 0;
  reduce(comm, &mine, &worst, 1, MPI_INT, MPI_MAX);
  if (worst == 0)
    return MXS_OK;
  return mxs_fail(MXS_ERR_MISMATCH, "rank %d has another %s than rank 0: %s", comm->size - worst,
                  what, remedy);
}

/* Ranks whose digest equals that of `rank`. */
static int count_equal(const uint64_t *digests, int size, int rank) {
  int equal = 0;
  for (int r = 0; r < size; r++)
    equal += digests[r] == digests[rank];
  return equal;
}

/* The rank to name: one whose state fewest share; of two that differ, the later. */
static int find_odd_rank(const uint64_t *digests, int size) {
  int odd = size - 1;
  for (int r = size - 1; r >= 0; r--)
    if (count_equal(digests, size, r) < count_equal(digests, size, odd))
      odd = r;
  return odd;
}

static mxs_status fail_replicated(const mxs_comm *comm, uint64_t digest) {
  uint64_t *digests = NULL;
  char host[MPI_MAX_PROCESSOR_NAME] = "";
  int length = 0;
  MXS_TRY(mxs_comm_agree(comm, mxs_alloc(comm->size, sizeof *digests, &digests)));
  MPI_Allgather(&digest, 1, MPI_UINT64_T, digests, 1, MPI_UINT64_T, comm->mpi);
  const int odd = find_odd_rank(digests, comm->size);
  const int equal = count_equal(digests, comm->size, odd);
  mxs_release(&digests);
  MPI_Get_processor_name(host, &length);
  broadcast(comm, host, (int)sizeof host, MPI_CHAR, odd);
  if (comm->size == 2)
    return mxs_fail(MXS_ERR_CORRUPT,
                    "rank 1 (host %s) and rank 0 hold different factors or sums: memory or network "
                    "went wrong",
                    host);
  return mxs_fail(
      MXS_ERR_CORRUPT,
      "rank %d (host %s) holds other factors or sums than %d of the %d ranks: memory or "
      "network went wrong",
      odd, host, comm->size - equal, comm->size);
}

mxs_status mxs_comm_replicated(const mxs_comm *comm, uint64_t digest) {
  uint64_t extremes[2] = {digest, ~digest};
  if (comm->size == 1)
    return MXS_OK;
  reduce(comm, MPI_IN_PLACE, extremes, 2, MPI_UINT64_T, MPI_MAX);
  return extremes[0] == ~extremes[1] ? MXS_OK : fail_replicated(comm, digest);
}

void mxs_comm_bcast(const mxs_comm *comm, void *data, int64_t bytes, int root) {
  const int64_t piece = INT64_C(1) << 30;
  for (int64_t done = 0; done < bytes; done += piece) {
    const int64_t left = bytes - done;
    broadcast(comm, (char *)data + done, (int)(left < piece ? left : piece), MPI_BYTE, root);
  }
}

int64_t mxs_comm_sum(const mxs_comm *comm, int64_t value) {
  uint64_t sum = (uint64_t)value;
  reduce(comm, MPI_IN_PLACE, &sum, 1, MPI_UINT64_T, MPI_SUM);
  return (int64_t)sum;
}

int64_t mxs_comm_max(const mxs_comm *comm, int64_t value) {
  reduce(comm, MPI_IN_PLACE, &value, 1, MPI_INT64_T, MPI_MAX);
  return value;
}

mxs_spread mxs_comm_spread(const mxs_comm *comm, double value) {
  double extremes[2] = {-value, value};
  double sum = value;
  reduce(comm, MPI_IN_PLACE, extremes, 2, MPI_DOUBLE, MPI_MAX);
  reduce(comm, MPI_IN_PLACE, &sum, 1, MPI_DOUBLE, MPI_SUM);
  return (mxs_spread){-extremes[0], sum / (double)comm->size, extremes[1]};
}
