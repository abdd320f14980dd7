#include "base/clock.h"
#include "run/run.h"
#include "study/execute.h"

#include <string.h>
#include <time.h>

/* Between groups: a leader (the first rank of a group) reports each pass that has ended to rank 0
 * of the world, and then that it is through; rank 0 gives each of the others one order, to stop or,
 * once all are through, that it is over. Everybody then meets in a barrier. So no message is left
 * over, and nobody waits for one that does not come. */

enum { TAG_REPORT = 1, TAG_ORDER = 2, ORDER_OVER = 0, ORDER_STOP = 1 };

typedef struct message {
  int64_t pass; /* -1: the group is through */
  int stop;     /* it stopped, or failed */
  double seconds;
  mxsi_outcome outcome;
} message;

/* Wait a little longer each time, 20 ms at most. */
static void nap(long *ns) {
  const struct timespec time = {.tv_nsec = *ns};
  (void)nanosleep(&time, NULL);
  *ns = *ns < 10000000 ? 2 * *ns : 20000000;
}

static const long first_nap_ns = 50000;

/* ---- rank 0 of the world --------------------------------------------------------------------- */

static void give_order(mxsi_job *job, int order) {
  for (int64_t g = 1; g < job->groups; g++)
    if (!job->sent[g]) {
      job->sent[g] = 1;
      MPI_Isend(&job->orders[order], 1, MPI_INT, (int)(g * job->size), TAG_ORDER, job->world->mpi,
                &job->requests[g]);
    }
}

static void take(mxsi_job *job, const message *m) {
  if (m->stop && !job->stop) {
    job->stop = 1;
    give_order(job, ORDER_STOP);
  }
  if (m->pass < 0)
    job->ended++;
  else if (!m->stop)
    mxsi_report_pass(&job->report, &job->pass[m->pass], &m->outcome, m->seconds);
}

static void listen(mxsi_job *job) {
  int there = 0;
  if (job->groups > 1)
    MPI_Iprobe(MPI_ANY_SOURCE, TAG_REPORT, job->world->mpi, &there, MPI_STATUS_IGNORE);
  while (there) {
    message m;
    MPI_Recv(&m, (int)sizeof m, MPI_BYTE, MPI_ANY_SOURCE, TAG_REPORT, job->world->mpi,
             MPI_STATUS_IGNORE);
    take(job, &m);
    MPI_Iprobe(MPI_ANY_SOURCE, TAG_REPORT, job->world->mpi, &there, MPI_STATUS_IGNORE);
  }
}

static void look_for_stop(mxsi_job *job) {
  if (job->stop)
    return;
  job->stop_file = mxsi_place_is_stopped(job->options->dir);
  job->stop = job->stop_file || mxs_run_stop_wanted();
  if (job->stop)
    give_order(job, ORDER_STOP);
}

/* ---- other leaders --------------------------------------------------------------------------- */

static void hear(mxsi_job *job) {
  int there = 0;
  int order = ORDER_OVER;
  if (job->ordered)
    return;
  MPI_Iprobe(0, TAG_ORDER, job->world->mpi, &there, MPI_STATUS_IGNORE);
  if (!there)
    return;
  MPI_Recv(&order, 1, MPI_INT, 0, TAG_ORDER, job->world->mpi, MPI_STATUS_IGNORE);
  job->ordered = 1;
  job->stop = job->stop || order == ORDER_STOP;
}

static void tell(mxsi_job *job, const message *m) {
  if (job->world->rank == 0)
    take(job, m);
  else
    MPI_Send(m, (int)sizeof *m, MPI_BYTE, 0, TAG_REPORT, job->world->mpi);
}

/* ---- a group --------------------------------------------------------------------------------- */

int mxsi_groups_poll(void *ctx) {
  mxsi_job *job = ctx;
  if (job->world->rank == 0) {
    listen(job);
    look_for_stop(job);
  } else {
    hear(job);
  }
  return job->stop;
}

/* Before each pass; a signal may have come to any of the ranks. Collective over the group. */
static int goes_on(mxsi_job *job, const mxs_comm *group) {
  int stop = mxs_run_stop_wanted();
  if (group->rank == 0)
    stop = mxsi_groups_poll(job) || stop;
  job->stop = (int)mxs_comm_max(group, stop);
  return !job->stop;
}

/* One pass, and what is told of it. Collective over the group. */
static mxs_status run_one(mxsi_job *job, const mxs_comm *group, int64_t index) {
  const mxsi_pass *pass = &job->pass[index];
  message m;
  char *path = NULL;
  int code = 0;
  const double began = mxs_clock();
  memset(&m, 0, sizeof m);
  const mxs_status status = mxsi_pass_run(job, group, pass, &code);
  const int stop = status != MXS_OK || code == 75;
  if (group->rank == 0) {
    m.pass = index;
    m.stop = stop;
    m.seconds = mxs_clock() - began;
    if (!stop && mxsi_place_run(job->options->dir, pass, &path) == MXS_OK)
      (void)mxsi_outcome_read(path, &m.outcome);
    mxs_release(&path);
    tell(job, &m);
  }
  job->stop = job->stop || stop;
  return status;
}

/* The passes of group `g`. Collective over it. */
static mxs_status run_group(mxsi_job *job, const mxs_comm *group, int64_t g, int64_t ranks) {
  int64_t turn = 0;
  mxs_status status = MXS_OK;
  for (int64_t i = 0; i < job->passes && status == MXS_OK; i++) {
    if (mxsi_pass_ranks(job->options, &job->pass[i], job->world->size) != ranks)
      continue;
    if (turn++ % job->groups != g)
      continue;
    if (!goes_on(job, group))
      break;
    status = run_one(job, group, i);
  }
  return status;
}

/* ---- all of them ----------------------------------------------------------------------------- */

/* Rank 0: until all groups are through; then none waits for more. */
static void wait_for_groups(mxsi_job *job) {
  long ns = first_nap_ns;
  listen(job);
  while (job->ended < job->groups) {
    nap(&ns);
    listen(job);
    look_for_stop(job);
  }
  give_order(job, ORDER_OVER);
  MPI_Waitall((int)job->groups, job->requests, MPI_STATUSES_IGNORE);
}

static void wait_for_order(mxsi_job *job) {
  long ns = first_nap_ns;
  for (hear(job); !job->ordered; hear(job))
    nap(&ns);
}

/* A barrier that leaves the processor to those that work. */
static void meet(const mxs_comm *world) {
  MPI_Request request;
  int done = 0;
  long ns = first_nap_ns;
  MPI_Ibarrier(world->mpi, &request);
  MPI_Test(&request, &done, MPI_STATUS_IGNORE);
  while (!done) {
    nap(&ns);
    MPI_Test(&request, &done, MPI_STATUS_IGNORE);
  }
}

static mxs_status begin(mxsi_job *job, int64_t ranks) {
  const int64_t fit = job->world->size / ranks;
  const int64_t most = job->options->at_once;
  job->groups = most == 0 || most > fit ? fit : most;
  job->size = ranks;
  job->ended = 0;
  job->ordered = 0;
  job->orders[ORDER_OVER] = ORDER_OVER;
  job->orders[ORDER_STOP] = ORDER_STOP;
  MXS_TRY(mxs_alloc(job->groups, 1, &job->sent));
  MXS_TRY(mxs_alloc(job->groups, sizeof(MPI_Request), &job->requests));
  for (int64_t g = 0; g < job->groups; g++)
    job->requests[g] = MPI_REQUEST_NULL;
  return MXS_OK;
}

static mxs_status work(mxsi_job *job, int64_t ranks) {
  const mxs_comm *world = job->world;
  const int64_t g = world->rank / ranks;
  const int works = g < job->groups;
  MPI_Comm mpi = MPI_COMM_NULL;
  mxs_comm *group = NULL;
  mxs_status status = MXS_OK;
  MPI_Comm_split(world->mpi, works ? (int)g : MPI_UNDEFINED, world->rank, &mpi);
  if (works) {
    status = mxs_comm_create(mpi, &group);
    if (status == MXS_OK)
      status = run_group(job, group, g, ranks);
    if (world->rank % ranks == 0) {
      const message through = {.pass = -1, .stop = status != MXS_OK};
      tell(job, &through);
    }
    mxs_comm_destroy(&group);
    MPI_Comm_free(&mpi);
  }
  if (world->rank == 0)
    wait_for_groups(job);
  else if (works && world->rank % ranks == 0)
    wait_for_order(job);
  meet(world);
  return status;
}

mxs_status mxsi_groups_run(mxsi_job *job, int64_t ranks) {
  mxs_status status = mxs_comm_agree(job->world, begin(job, ranks));
  if (status == MXS_OK)
    status = mxs_comm_agree(job->world, work(job, ranks));
  job->stop = (int)mxs_comm_max(job->world, job->stop);
  mxs_release(&job->requests);
  mxs_release(&job->sent);
  return status;
}
