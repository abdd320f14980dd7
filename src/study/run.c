#include "run/run.h"

#include "base/clock.h"
#include "base/text.h"
#include "study/execute.h"

#include <math.h>

enum { EXIT_STOPPED = 75, WHAT_SIZE = 160 };

int64_t mxsi_pass_ranks(const mxs_study_options *options, const mxsi_pass *pass, int world) {
  if (pass->ranks > 0)
    return pass->ranks;
  return options->ranks > 0 ? options->ranks : world;
}

/* ---- a pass ---------------------------------------------------------------------------------- */

/* The error of a run, and which. */
static mxs_status name_run(const mxsi_job *job,
                           const mxsi_pass *pass,
                           const char *run,
                           mxs_status status) {
  char what[WHAT_SIZE], text[2048];
  mxsi_study_describe(job->study, &job->study->point[pass->points[0]], what, sizeof what);
  (void)snprintf(text, sizeof text, "%s", mxs_last_error());
  return mxs_fail(status, "%s%s%s%s: %s", run, what[0] != '\0' ? " (" : "", what,
                  what[0] != '\0' ? ")" : "", text);
}

static mxs_status solve(mxsi_job *job,
                        const mxs_comm *group,
                        const mxsi_pass *pass,
                        const char *problem,
                        const char *run,
                        int *code) {
  const mxs_run_part part = {
      .began = job->began, .within = 1, .stop = mxsi_groups_poll, .ctx = job};
  mxs_settings settings;
  MXS_TRY(mxs_comm_agree(group, mxsi_study_settings(job->study, pass, problem, &settings)));
  settings.quiet = 1;
  settings.progress = MXS_PROGRESS_OFF;
  int time_is_up = mxs_run_time_left(settings.max_walltime, job->began) <= 0.0;
  mxs_comm_bcast(group, &time_is_up, sizeof time_is_up, 0);
  mxs_status status = MXS_OK;
  *code = EXIT_STOPPED;
  if (!time_is_up && job->study->problem_file == NULL)
    status = mxsi_study_plant(group, job->study, &job->study->point[pass->points[0]], problem);
  if (!time_is_up && status == MXS_OK)
    status = mxs_run_solve_part(group->mpi, &settings, run, &part, code);
  mxs_settings_clear(&settings);
  return status;
}

mxs_status mxsi_pass_run(mxsi_job *job, const mxs_comm *group, const mxsi_pass *pass, int *code) {
  char *problem = NULL;
  char *run = NULL;
  mxs_status status = mxsi_place_problem(job->study, job->options->dir, pass, &problem);
  if (status == MXS_OK)
    status = mxsi_place_run(job->options->dir, pass, &run);
  status = mxs_comm_agree(group, status);
  if (status == MXS_OK) {
    status = solve(job, group, pass, problem, run, code);
    if (status == MXS_OK && *code != EXIT_STOPPED)
      status = mxs_comm_agree(
          group, group->rank == 0 ? mxsi_place_link(job->study, job->options->dir, pass) : MXS_OK);
    if (status != MXS_OK)
      status = name_run(job, pass, run, status);
  }
  mxs_release(&problem);
  mxs_release(&run);
  return status;
}

/* ---- the whole ------------------------------------------------------------------------------- */

/* What is left of a pass. */
static mxs_status add_pass(mxsi_job *job, const mxsi_pass *pass, const uint8_t *done) {
  mxsi_pass *left = &job->pass[job->passes];
  *left = *pass;
  left->count = 0;
  MXS_TRY(mxs_alloc(pass->count, sizeof *left->points, &left->points));
  job->passes++;
  for (int64_t i = 0; i < pass->count; i++)
    if (!done[pass->points[i]])
      left->points[left->count++] = pass->points[i];
  if (left->count > 0 && left->count < pass->count)
    mxsi_study_name_pass(job->study, left);
  if (left->count == 0)
    mxs_release(&job->pass[--job->passes].points);
  return MXS_OK;
}

static mxs_status add_passes(mxsi_job *job, const uint8_t *done) {
  MXS_TRY(mxs_alloc(job->study->passes, sizeof *job->pass, &job->pass));
  for (int64_t i = 0; i < job->study->passes; i++)
    if (mxsi_pass_is_mine(job->options, i))
      MXS_TRY(add_pass(job, &job->study->pass[i], done));
  return MXS_OK;
}

/* What is to come, on all ranks. */
static mxs_status plan(mxsi_job *job) {
  const int root = job->world->rank == 0;
  uint8_t *done = NULL;
  mxs_status status = mxs_comm_agree(job->world, mxs_alloc(job->study->count, 1, &done));
  if (status == MXS_OK)
    status = mxs_comm_agree(job->world,
                            root ? mxsi_outcome_find(job->study, job->options->dir, done) : MXS_OK);
  if (status == MXS_OK) {
    mxs_comm_bcast(job->world, done, job->study->count, 0);
    status = mxs_comm_agree(job->world, add_passes(job, done));
  }
  mxs_release(&done);
  return status;
}

/* Before anything is made. */
static mxs_status check_ranks(const mxsi_job *job) {
  for (int64_t i = 0; i < job->passes; i++) {
    const mxsi_pass *pass = &job->pass[i];
    const int64_t ranks = mxsi_pass_ranks(job->options, pass, job->world->size);
    if (ranks > job->world->size)
      return mxs_fail(
          MXS_ERR_SETTINGS,
          "ranks: %s: point %lld asks for %lld, and there %s %d: start %lld with mpirun "
          "-np or srun -n, or give fewer",
          job->study->path, (long long)pass->points[0], (long long)ranks,
          job->world->size == 1 ? "is" : "are", job->world->size, (long long)ranks);
  }
  return MXS_OK;
}

/* For each number of ranks, in the order in which the passes have them. */
static mxs_status run_all(mxsi_job *job) {
  const int size = job->world->size;
  uint8_t *had = NULL; /* [ranks] */
  mxs_status status = mxs_comm_agree(job->world, mxs_alloc(size + 1, 1, &had));
  for (int64_t i = 0; i < job->passes && !job->stop && status == MXS_OK; i++) {
    const int64_t ranks = mxsi_pass_ranks(job->options, &job->pass[i], size);
    if (had[ranks])
      continue;
    had[ranks] = 1;
    status = mxsi_groups_run(job, ranks);
  }
  mxs_release(&had);
  return status;
}

static mxs_status work(mxsi_job *job) {
  const int root = job->world->rank == 0;
  MXS_TRY(plan(job));
  MXS_TRY(check_ranks(job));
  MXS_TRY(
      mxs_comm_agree(job->world, root ? mxsi_place_make(job->study, job->options->dir) : MXS_OK));
  mxs_run_share_walltime(job->world);
  if (root)
    mxsi_report_open(&job->report, job->study, job->options, job->pass, job->passes);
  const mxs_status status = run_all(job);
  if (root)
    mxsi_report_close(&job->report);
  return status;
}

/* STOP is for all processes that work on parts of the study: then none of them removes it. */
static mxs_status tabulate(const mxsi_job *job) {
  int unfinished = 0;
  if (job->stop_file && job->options->parts == 1)
    mxsi_place_obeyed(job->options->dir);
  return mxs_study_collect(job->study, job->options->dir, &unfinished);
}

mxs_status mxs_study_run(MPI_Comm comm,
                         const mxs_study *study,
                         const mxs_study_options *options,
                         int *exit_code) {
  mxs_comm *world = NULL;
  MXS_TRY(mxs_comm_create(comm, &world));
  mxsi_job job = {.study = study, .options = options, .world = world, .began = mxs_clock()};
  mxs_status status = work(&job);
  if (status == MXS_OK)
    status = mxs_comm_agree(world, world->rank == 0 ? tabulate(&job) : MXS_OK);
  *exit_code = job.stop ? EXIT_STOPPED : 0;
  for (int64_t i = 0; i < job.passes; i++)
    mxs_release(&job.pass[i].points);
  mxs_release(&job.pass);
  mxs_comm_destroy(&world);
  return status;
}
