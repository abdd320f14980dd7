/* posix_spawnp(), environ. */
#define _GNU_SOURCE
#include "run/run.h"
#include "run/run_impl.h"

#include <math.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ANSWER_SIZE = 64, ASK_MS = 10000 };

static const double ending_s = 5; /* for the last files and MPI_Finalize, where there is time */
static const double ending_share = 0.05; /* of the time in all, where there is little */
static const double bytes_per_s = 5e7;   /* a checkpoint's, before the first was written */
static const double checkpoint_least_s = 0.5;

static double scheduler_end = INFINITY; /* mxs_clock() when the allocation ends */

/* ---- what the scheduler says --------------------------------------------------------------------
 */

/* The first line that a command writes within ASK_MS; 0: none. */
static int ask(char *const *command, char answer[ANSWER_SIZE]) {
  int ends[2];
  pid_t child = 0;
  posix_spawn_file_actions_t actions;
  ssize_t length = 0;
  int status = -1;
  if (pipe(ends) != 0)
    return 0;
  (void)posix_spawn_file_actions_init(&actions);
  (void)posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  (void)posix_spawn_file_actions_addclose(&actions, ends[0]);
  (void)posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", 1, 0);
  const int failed = posix_spawnp(&child, command[0], &actions, NULL, command, environ);
  (void)posix_spawn_file_actions_destroy(&actions);
  (void)close(ends[1]);
  struct pollfd wait = {.fd = ends[0], .events = POLLIN};
  if (failed == 0 && poll(&wait, 1, ASK_MS) == 1)
    length = read(ends[0], answer, ANSWER_SIZE - 1);
  (void)close(ends[0]);
  if (failed == 0) {
    (void)kill(child, SIGKILL); /* it has said what there is */
    (void)waitpid(child, &status, 0);
  }
  answer[length > 0 ? length : 0] = '\0';
  answer[strcspn(answer, " \n")] = '\0';
  return length > 0;
}

void mxs_run_find_walltime(void) {
  const char *end = getenv("SLURM_JOB_END_TIME"); /* newer Slurms: in seconds since 1970 */
  char *job = getenv("SLURM_JOB_ID");
  char answer[ANSWER_SIZE];
  int64_t at = 0;
  double left = 0.0;
  if (end != NULL && mxs_parse_integer(end, &at) == MXS_OK) {
    scheduler_end = mxs_clock() + difftime((time_t)at, time(NULL));
    return;
  }
  if (job == NULL)
    return;
  char *const command[] = {"squeue", "-h", "-o", "%L", "-j", job, NULL};
  if (ask(command, answer) && mxs_parse_time(answer, &left) == MXS_OK)
    scheduler_end = mxs_clock() + left;
}

/* Clocks of hosts differ. */
void mxs_run_share_walltime(const mxs_comm *comm) {
  double left = scheduler_end - mxs_clock();
  mxs_comm_bcast(comm, &left, sizeof left, 0);
  scheduler_end = mxs_clock() + left;
}

/* ---- what it means for a run --------------------------------------------------------------------
 */

static double time_up_at(double max_walltime, double began) {
  return isnan(max_walltime) ? scheduler_end : began + max_walltime;
}

double mxs_run_time_left(double max_walltime, double began) {
  return time_up_at(max_walltime, began) - mxs_clock();
}

void mxsi_walltime_begin(mxsi_run *run) {
  const double began = run->part->began > 0.0 ? run->part->began : run->began_at;
  run->time_up_at = time_up_at(run->settings.max_walltime, began);
}

void mxsi_walltime_state(mxsi_run *run, double bytes) {
  run->save_s = checkpoint_least_s + bytes / bytes_per_s;
}

/* Before the next pass: after it there must be time for its checkpoint and the end, however much
 * slower than the last ones they are. */
int mxsi_walltime_is_up(mxsi_run *run, double now) {
  const double last = now - run->polled_at - (run->saved_at > run->polled_at ? run->save_s : 0.0);
  const double all = run->time_up_at - run->began_at;
  if (run->polled_at > 0.0)
    run->pass_s = fmax(last, 0.9 * run->pass_s);
  run->polled_at = now;
  return run->time_up_at - now <
         2.0 * run->pass_s + 2.0 * run->save_s + fmin(ending_s, ending_share * all);
}
