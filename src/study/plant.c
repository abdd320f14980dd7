#include "base/text.h"
#include "problem/file.h"
#include "store/store.h"
#include "study/execute.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* Publish what was planted, unless another process was faster: what it made is the same. Rank 0. */
static mxs_status publish(const char *planted, const char *path) {
  const int error = link(planted, path) == 0 ? 0 : errno;
  const int no_links = error == EPERM || error == ENOTSUP || error == ENOSYS || error == EMLINK;
  if (no_links)
    return mxsi_place_publish(planted, path);
  (void)unlink(planted);
  if (error != 0 && error != EEXIST)
    return mxs_fail(MXS_ERR_IO, "%s: cannot link to %s: %s", planted, path, strerror(error));
  return mxs_store_sync_parent(path);
}

/* A name that only this process has: the processes of a study may plant the same problem. */
static mxs_status plant(const mxs_comm *comm, const mxs_planting *planting, const char *path) {
  const mxs_plant recipe = mxs_planting_recipe(planting);
  char *planted = NULL;
  int64_t length = 0;
  mxs_status status = comm->rank == 0 ? mxsi_place_temporary(path, &planted) : MXS_OK;
  MXS_TRY_GOTO(status, mxs_comm_agree(comm, status), cleanup);
  if (comm->rank == 0) {
    (void)unlink(planted); /* of a process of that number that is gone */
    length = (int64_t)strlen(planted) + 1;
  }
  mxs_comm_bcast(comm, &length, sizeof length, 0);
  status = comm->rank == 0 ? MXS_OK : mxs_alloc(length, 1, &planted);
  MXS_TRY_GOTO(status, mxs_comm_agree(comm, status), cleanup);
  mxs_comm_bcast(comm, planted, length, 0);
  MXS_TRY_GOTO(status, mxs_problem_gen(comm->mpi, &recipe, (mxs_storage)planting->storage, planted),
               cleanup);
  status =
      mxs_comm_agree(comm, comm->rank == 0 && planted != NULL ? publish(planted, path) : MXS_OK);
cleanup:
  mxs_release(&planted);
  return status;
}

mxs_status mxsi_study_plant(const mxs_comm *comm,
                            const mxs_study *study,
                            const mxsi_point *point,
                            const char *path) {
  mxs_planting planting;
  int there = comm->rank == 0 && mxsi_place_has(path);
  mxs_comm_bcast(comm, &there, sizeof there, 0);
  if (there)
    return MXS_OK;
  MXS_TRY(mxs_comm_agree(comm, mxsi_study_planting(study, point, &planting)));
  return plant(comm, &planting, path);
}
