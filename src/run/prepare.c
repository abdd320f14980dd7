#include "base/place.h"
#include "problem/file.h"
#include "run/run_impl.h"

#include <math.h>
#include <string.h>

/* Automatic k and hold_out need the shape of the problem. */
static mxs_status resolve(mxsi_run *run) {
  mxs_problem_header header;
  MXS_TRY(mxs_problem_peek_all(run->comm, run->settings.problem, &header));
  mxs_settings_resolve(&run->settings, header.n1, header.n2, header.m, header.m_validation);
  mxs_status status = mxs_settings_echo(&run->settings, &run->config);
  run->noise_std = isnan(run->settings.noise_std) ? header.noise_std : run->settings.noise_std;
  if (status == MXS_OK)
    status = mxsi_replicas_create(run);
  return mxs_comm_agree(run->comm, status);
}

/* A finished run whose target is met, and whose files are complete: the summary is the last that is
 * written. Another problem file must be looked at first, so that it is not taken for the one that
 * was solved. */
static int is_done(mxsi_run *run) {
  int done = 0;
  if (run->root) {
    const mxs_ckpt_info *info = mxs_ckpt_get_info(run->resumed);
    char reason[16];
    int64_t iterations = -1;
    double residual = 0;
    const int complete = mxsi_summary_read(&run->dir, reason, &iterations, &residual) &&
                         iterations == info->iteration && strcmp(reason, info->reason) == 0;
    done = info->finished && complete && mxsi_replicas_met(run) &&
           mxs_settings_same(mxs_ckpt_config(run->resumed), run->config, "problem");
  }
  mxs_comm_bcast(run->comm, &done, sizeof done, 0);
  return done;
}

static mxs_status load_problem(mxsi_run *run) {
  const mxs_settings *settings = &run->settings;
  const mxs_problem_options options = {.k = mxs_settings_k(settings, 0, 0),
                                       .measurements = settings->measurements,
                                       .block_rows = settings->block_rows,
                                       .hold_out = settings->hold_out,
                                       .seed = (uint64_t)settings->seed.values[0],
                                       .storage = (mxs_storage)settings->storage};
  const double began = mxs_clock();
  MXS_TRY(mxs_problem_load(run->comm->mpi, settings->problem, &options, &run->problem));
  run->info = mxs_problem_get_info(run->problem);
  run->load_s = mxs_clock() - began;
  if (run->resumed != NULL && mxs_ckpt_get_info(run->resumed)->problem_digest != run->info.digest)
    return mxs_fail(MXS_ERR_SETTINGS,
                    "problem: %s is not the problem that the run in %s was started with: give that "
                    "one, or start a new "
                    "run in another directory",
                    settings->problem, run->path);
  return MXS_OK;
}

/* A run that was started from a file goes on without it: its own factors stand in, the first of
 * many. */
static mxs_status find_start(mxsi_run *run, mxs_cmat *U, mxs_cmat *V) {
  const int64_t n1 = run->info.n1, n2 = run->info.n2, k = mxs_settings_k(&run->settings, 0, 0);
  if (strncmp(run->settings.init, "file:", 5) != 0)
    return MXS_OK;
  if (run->resumed != NULL) {
    const mxs_array *factors[2] = {NULL, NULL};
    const int many = run->replicas > 1;
    const char *U_name = many ? "replica_0/factors/U" : "factors/U";
    const char *V_name = many ? "replica_0/factors/V" : "factors/V";
    if (mxs_ckpt_doubles(run->resumed, U_name, &factors[0]) != MXS_OK ||
        mxs_ckpt_doubles(run->resumed, V_name, &factors[1]) != MXS_OK)
      return mxs_fail(MXS_ERR_IO, "%s: no factors in it", mxs_ckpt_path(run->resumed));
    *U = mxs_cview(factors[0]->data, factors[0]->rows, factors[0]->cols);
    *V = mxs_cview(factors[1]->data, factors[1]->rows, factors[1]->cols);
    return MXS_OK;
  }
  MXS_TRY(mxsi_run_read_start(run, run->settings.init + 5));
  *U = mxs_cview(run->start, n1, k);
  *V = mxs_cview(run->start + n1 * k, n2, k);
  return MXS_OK;
}

static mxs_status create_solver(mxsi_run *run) {
  const mxs_settings *settings = &run->settings;
  mxs_solve_options options = mxs_solve_defaults();
  mxs_replica *replicas = NULL;
  MXS_TRY(mxs_comm_agree(run->comm, mxs_alloc(run->replicas, sizeof *replicas, &replicas)));
  for (int64_t r = 0; r < run->replicas; r++)
    replicas[r] = mxs_settings_replica(settings, r);
  options.replicas = replicas;
  options.replica_count = run->replicas;
  options.threads = (int)settings->threads;
  options.method = (mxs_method)settings->method;
  options.model = (mxs_model)settings->model;
  options.start = mxs_settings_start(settings);
  options.momentum = settings->momentum;
  options.lambda = settings->lambda;
  options.balance = settings->balance;
  options.label_noise = settings->label_noise;
  options.perturb = settings->perturb;
  options.line_search = settings->line_search;
  options.batch = settings->batch;
  options.step_decay = settings->step_decay;
  options.step_delay = settings->step_delay;
  options.weights = (mxs_weights)settings->weights;
  options.inner = (mxs_inner)settings->inner;
  options.progressive = settings->progressive;
  options.jacobian_memory = 1e9 * settings->jacobian_memory;
  options.stop = (mxs_stop)settings->stop;
  options.patience = settings->patience;
  options.noise_std = run->noise_std;
  options.max_iterations = settings->max_iterations;
  options.tolerance = settings->tolerance;
  options.metrics_every = settings->metrics_every;
  options.singular_values = settings->singular_values;
  options.reduction = (mxs_reduction)settings->reduction;
  options.svd = (mxs_svd_route)settings->svd;
  mxs_status status = find_start(run, &options.start_U, &options.start_V);
  if (status == MXS_OK)
    status = mxs_solver_create(run->problem, &options, &run->solver);
  mxs_release(&replicas);
  return status;
}

/* Rows at and beyond the replica's iteration come again, with the same bits; one that is there only
 * because the run was stopped does not. `from[j]`: where the file has our column j. */
static mxs_status copy_rows(mxsi_run *run, int64_t replica, const int64_t *from, double *row) {
  const mxs_history *saved = mxs_ckpt_history(run->resumed, replica);
  mxs_history *history = &run->histories[replica];
  const double end = (double)*run->replica[replica].iteration;
  for (int64_t i = 0; i < saved->rows; i++) {
    for (int64_t j = 0; j < history->columns; j++)
      row[j] = saved->values[i * saved->columns + from[j]];
    if (row[0] >= end)
      break;
    MXS_TRY(mxs_history_append(history, row));
  }
  return MXS_OK;
}

static mxs_status restore_history(mxsi_run *run, int64_t replica) {
  const mxs_history *saved = mxs_ckpt_history(run->resumed, replica);
  const mxs_history *history = &run->histories[replica];
  int64_t *from = NULL;
  double *row = NULL;
  mxs_status status = MXS_OK;
  MXS_TRY_GOTO(status, mxs_alloc(history->columns, sizeof *from, &from), cleanup);
  MXS_TRY_GOTO(status, mxs_alloc(history->columns, sizeof *row, &row), cleanup);
  for (int64_t j = 0; j < history->columns; j++) {
    from[j] = mxsi_find_name(saved->names, saved->columns, history->names[j]);
    if (from[j] < 0) {
      status = mxs_fail(MXS_ERR_IO, "%s: has no column metrics/%s", mxs_ckpt_path(run->resumed),
                        history->names[j]);
      goto cleanup;
    }
  }
  status = copy_rows(run, replica, from, row);
cleanup:
  mxs_release(&row);
  mxs_release(&from);
  return status;
}

static mxs_status restore_histories(mxsi_run *run) {
  if (mxs_ckpt_get_info(run->resumed)->replicas != run->replicas)
    return mxs_fail(MXS_ERR_IO, "%s: has the metrics of another number of replicas",
                    mxs_ckpt_path(run->resumed));
  for (int64_t r = 0; r < run->replicas; r++)
    MXS_TRY(restore_history(run, r));
  return MXS_OK;
}

static mxs_status restore(mxsi_run *run) {
  mxs_array *arrays = NULL;
  int64_t count = mxs_solver_shapes(run->solver, &arrays);
  MXS_TRY(mxs_comm_agree(run->comm, mxs_ckpt_fill(run->resumed, arrays, count)));
  MXS_TRY(mxs_solver_reshape(run->solver));
  count = mxs_solver_state(run->solver, &arrays);
  mxs_status status = mxs_ckpt_fill(run->resumed, arrays, count);
  if (status == MXS_OK)
    status = restore_histories(run);
  MXS_TRY(mxs_comm_agree(run->comm, status));
  run->saved_iteration = mxs_ckpt_get_info(run->resumed)->iteration;
  return mxs_solver_restored(run->solver);
}

/* A solver that stands where the checkpoint does, or at the start. Collective. */
static mxs_status make_solver(mxsi_run *run) {
  MXS_TRY(create_solver(run));
  mxsi_replicas_attach(run);
  run->info = mxs_problem_get_info(run->problem); /* the kernel is known once it was planned */
  if (run->resumed != NULL) {
    MXS_TRY(restore(run));
    (void)snprintf(run->resumed_name, sizeof run->resumed_name, "%s",
                   strrchr(mxs_ckpt_path(run->resumed), '/') + 1);
  }
  mxs_ckpt_destroy(&run->resumed);
  mxs_release(&run->start);
  return MXS_OK;
}

/* Our own kernels give the same bits on every processor, those of BLAS do not. */
static mxs_status check_kernel(const mxsi_run *run) {
  const char *before = mxs_ckpt_get_info(run->resumed)->blas_kernel;
  const char *now = run->machine.blas_kernel;
  if (run->settings.reduction != MXS_REDUCTION_REPRODUCIBLE || strcmp(before, now) == 0)
    return MXS_OK;
  return mxs_fail(
      MXS_ERR_SETTINGS,
      "the run in %s was computed with the BLAS kernel %s, and here it is %s, which gives other "
      "bits: export OPENBLAS_CORETYPE=%s to resume, or start a new run in another directory",
      run->path, before, now, before);
}

static mxs_status find_checkpoint(mxsi_run *run) {
  char *note = NULL;
  const mxs_status status = mxs_ckpt_read_latest(run->comm, run->path, &run->resumed, &note);
  if (note != NULL)
    mxsi_log_warn(&run->log, "%s", note);
  mxs_release(&note);
  return status;
}

mxs_status mxsi_run_roll_back(mxsi_run *run) {
  mxs_solver_destroy(&run->solver);
  for (int64_t r = 0; r < run->replicas; r++)
    mxs_history_clear(&run->histories[r]);
  run->saved_iteration = 0;
  MXS_TRY(find_checkpoint(run));
  return make_solver(run);
}

mxs_status mxsi_run_prepare(mxsi_run *run, int *nothing_to_do) {
  *nothing_to_do = 0;
  MXS_TRY(find_checkpoint(run));
  MXS_TRY(resolve(run));
  if (run->resumed != NULL) {
    MXS_TRY(mxs_settings_compatible(mxs_ckpt_config(run->resumed), run->config));
    *nothing_to_do = is_done(run);
    if (*nothing_to_do)
      return MXS_OK;
    MXS_TRY(check_kernel(run));
  }
  mxsi_report_load(run);
  (void)mxs_place_enter("loads the problem");
  MXS_TRY(load_problem(run));
  return make_solver(run);
}
