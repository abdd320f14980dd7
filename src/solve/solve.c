#include "mxsense/solve.h"

#include "base/random.h"
#include "la/la.h"
#include "solve/solve_impl.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MOST_SINGULAR_VALUES = 10, MOST_REPLICAS = 1024, MOST_THREADS = 4096 };

mxs_solve_options mxs_solve_defaults(void) {
  return (mxs_solve_options){.alpha = (double)NAN,
                             .step = (double)NAN,
                             .max_iterations = 10000,
                             .tolerance = 1e-8,
                             .metrics_every = 10,
                             .progressive = 1,
                             .jacobian_memory = 8e9,
                             .method = MXS_METHOD_GD,
                             .momentum = 0.9,
                             .step_delay = 100.0,
                             .noise_std = (double)NAN,
                             .reduction = MXS_REDUCTION_REPRODUCIBLE,
                             .threads = 1,
                             .svd = MXS_SVD_AUTO};
}

const char *mxs_reason_text(mxs_reason reason) {
  switch (reason) {
  case MXS_REASON_RUNNING:
    return "running";
  case MXS_REASON_TARGET:
    return "target";
  case MXS_REASON_TOLERANCE:
    return "tolerance";
  case MXS_REASON_VALIDATION:
    return "validation";
  case MXS_REASON_STATIONARY:
    return "stationary";
  case MXS_REASON_DISCREPANCY:
    return "discrepancy";
  case MXS_REASON_STOPPED:
    return "stopped";
  case MXS_REASON_DIVERGED:
    return "diverged";
  case MXS_REASON_WALLTIME:
    return "walltime";
  }
  return "unknown";
}

static mxs_status check_positive(const char *name, double value) {
  if (isnan(value) || (value > 0.0 && isfinite(value)))
    return MXS_OK;
  return mxs_fail(MXS_ERR_SETTINGS, "%s = %g: must be positive", name, value);
}

static mxs_status check_replica(const mxs_problem *p, const mxs_replica *replica) {
  MXS_TRY(check_positive("alpha", replica->alpha));
  MXS_TRY(check_positive("step", replica->step));
  if (replica->k < 0 || replica->k > p->k)
    return mxs_fail(MXS_ERR_SETTINGS, "k = %lld of a replica is not in 1 .. %lld, the problem's",
                    (long long)replica->k, (long long)p->k);
  return MXS_OK;
}

static mxs_status check_start(const mxs_problem *p, const mxs_solve_options *o) {
  if (o->start_U.a == NULL)
    return MXS_OK;
  if (o->start_U.rows != p->n1 || o->start_V.rows != p->n2 || o->start_U.cols != p->k ||
      o->start_V.cols != p->k)
    return mxs_fail(
        MXS_ERR_DATA,
        "start factors are %lld x %lld and %lld x %lld, expected %lld x %lld and %lld x %lld",
        (long long)o->start_U.rows, (long long)o->start_U.cols, (long long)o->start_V.rows,
        (long long)o->start_V.cols, (long long)p->n1, (long long)p->k, (long long)p->n2,
        (long long)p->k);
  for (int64_t r = 0; r < o->replica_count; r++)
    if (o->replicas[r].k != 0 && o->replicas[r].k != p->k)
      return mxs_fail(MXS_ERR_SETTINGS,
                      "k = %lld of a replica: with given start factors it must be %lld",
                      (long long)o->replicas[r].k, (long long)p->k);
  return MXS_OK;
}

static mxs_status check_method(const mxs_problem *p, const mxs_solve_options *o) {
  const mxs_rule *rule = mxs_rule_of(o->method);
  const int many = o->replica_count > 1;
  const int64_t least = p->n1 < p->n2 ? p->n1 : p->n2;
  if (rule == NULL)
    return mxs_fail(MXS_ERR_SETTINGS, "method = %d: there is no such method", (int)o->method);
  if (o->model == MXS_MODEL_SYMMETRIC && p->n1 != p->n2)
    return mxs_fail(MXS_ERR_SETTINGS,
                    "model = symmetric: U U^T is square, but the problem is %lld x %lld: set model "
                    "= asymmetric",
                    (long long)p->n1, (long long)p->n2);
  if (o->line_search && !rule->line_search)
    return mxs_fail(MXS_ERR_SETTINGS,
                    "line_search = true: method = %s has none: set line_search = false",
                    rule->name);
  if (o->batch > 0 && !rule->stochastic)
    return mxs_fail(MXS_ERR_SETTINGS,
                    "batch = %lld: method = %s takes all measurements: set batch = 0 or method = "
                    "sgd",
                    (long long)o->batch, rule->name);
  if (many && (!rule->many || o->line_search || o->label_noise > 0.0))
    return mxs_fail(MXS_ERR_SETTINGS,
                    "%lld replicas: %s%s takes one at a time: give one, or set another method",
                    (long long)o->replica_count,
                    !rule->many      ? "method = "
                    : o->line_search ? "line_search"
                                     : "label_noise",
                    rule->many ? "" : rule->name);
  if (o->method == MXS_METHOD_RIEMANNIAN_GD && p->k > least)
    return mxs_fail(MXS_ERR_SETTINGS,
                    "k = %lld: method = riemannian_gd needs k of at most %lld, the smaller side: "
                    "lower k",
                    (long long)p->k, (long long)least);
  return MXS_OK;
}

static mxs_status check_options(const mxs_problem *p, const mxs_solve_options *o) {
  MXS_TRY(check_positive("alpha", o->alpha));
  MXS_TRY(check_positive("step", o->step));
  if (o->max_iterations < 0)
    return mxs_fail(MXS_ERR_SETTINGS, "max_iterations = %lld: must not be negative",
                    (long long)o->max_iterations);
  if (!(o->tolerance >= 0.0 && isfinite(o->tolerance)))
    return mxs_fail(MXS_ERR_SETTINGS, "tolerance = %g: must not be negative", o->tolerance);
  if (o->metrics_every < 1)
    return mxs_fail(MXS_ERR_SETTINGS, "metrics_every = %lld: must be positive",
                    (long long)o->metrics_every);
  if (o->singular_values < 0 || o->singular_values > 1000000)
    return mxs_fail(MXS_ERR_SETTINGS, "singular_values = %lld is not in 0 .. 1000000",
                    (long long)o->singular_values);
  if (o->replica_count < 0 || o->replica_count > MOST_REPLICAS)
    return mxs_fail(MXS_ERR_SETTINGS, "replica_count = %lld is not in 0 .. %d",
                    (long long)o->replica_count, MOST_REPLICAS);
  if (o->threads < 1 || o->threads > MOST_THREADS)
    return mxs_fail(MXS_ERR_SETTINGS, "threads = %d is not in 1 .. %d", o->threads, MOST_THREADS);
  if (o->svd == MXS_SVD_SCALAPACK && o->reduction != MXS_REDUCTION_FAST)
    return mxs_fail(MXS_ERR_SETTINGS,
                    "svd = scalapack gives other bits for other numbers of ranks: it needs "
                    "reduction = fast, or use svd = replicated");
  for (int64_t r = 0; r < o->replica_count; r++)
    MXS_TRY(check_replica(p, &o->replicas[r]));
  MXS_TRY(check_method(p, o));
  MXS_TRY(mxsi_stop_check(p, o));
  return check_start(p, o);
}

static mxs_status copy_start(mxs_cmat from, const char *name, double **out) {
  MXS_TRY(mxs_alloc(from.rows * from.cols, sizeof **out, out));
  for (int64_t i = 0; i < from.rows; i++)
    for (int64_t j = 0; j < from.cols; j++) {
      const double value = from.a[i * from.ld + j];
      if (!isfinite(value))
        return mxs_fail(MXS_ERR_DATA, "start factor %s[%lld, %lld] is %g: it must be finite", name,
                        (long long)i, (long long)j, value);
      (*out)[i * from.cols + j] = value;
    }
  return MXS_OK;
}

static mxs_status check_symmetric_start(const mxs_solver *s) {
  const size_t bytes = (size_t)(s->problem->n1 * s->problem->k) * sizeof *s->start_U;
  if (s->options.model == MXS_MODEL_SYMMETRIC && memcmp(s->start_U, s->start_V, bytes) != 0)
    return mxs_fail(MXS_ERR_DATA, "start factors U and V differ: model = symmetric needs V = U");
  return MXS_OK;
}

static void add_array(
    mxs_solver *s, mxsi_trajectory *t, int64_t r, const char *name, mxs_array array) {
  char *to = t->name[t->names++];
  if (s->replicas == 1)
    (void)snprintf(to, MXSI_NAME, "%s", name);
  else
    (void)snprintf(to, MXSI_NAME, "replica_%lld/%s", (long long)r, name);
  array.name = to;
  s->arrays[s->array_count++] = array;
}

static void list_shared(mxs_solver *s) {
  const mxs_problem *p = s->problem;
  const mxs_spectrum *spectrum = &s->spectrum;
  const int64_t kept = s->trajectory[0].extent.kept;
  mxs_array *to = s->arrays + s->array_count;
  *to++ = (mxs_array){"state/data_values", 0, 1, spectrum->count, spectrum->s, 0};
  *to++ = (mxs_array){"state/data_left", 0, p->n1, spectrum->count, spectrum->left, 0};
  *to++ = (mxs_array){"state/data_right", 0, p->n2, spectrum->count, spectrum->right, 0};
  if (s->options.method == MXS_METHOD_AUTO) {
    *to++ = (mxs_array){"state/auto", 1, 1, MXSI_AUTO_INTEGERS, &s->automatic, 0};
    *to++ = (mxs_array){"state/auto_numbers", 0, 1, MXSI_AUTO_NUMBERS, &s->automatic_numbers, 0};
  }
  if (kept > 0) {
    *to++ = (mxs_array){"state/kept_U", 0, p->n1, kept, s->kept_U, 0};
    *to++ = (mxs_array){"state/kept_V", 0, p->n2, kept, s->kept_V, 0};
  }
  s->array_count = to - s->arrays;
}

/* By the names that they have in a checkpoint. */
void mxsi_solver_list_arrays(mxs_solver *s) {
  static const char *const answer[] = {"factors/U", "factors/V"};
  static const char *const aside[] = {"state/U", "state/V"};
  const mxs_problem *p = s->problem;
  s->array_count = 0;
  for (int64_t r = 0; r < s->replicas; r++) {
    mxsi_trajectory *t = &s->trajectory[r];
    t->names = 0;
    add_array(s, t, r, "state/counters", (mxs_array){NULL, 1, 1, MXSI_COUNTERS, &t->count, 0});
    add_array(s, t, r, "state/extent", (mxs_array){NULL, 1, 1, MXSI_EXTENT, &t->extent, 1});
  }
  s->shape_count = s->array_count;
  for (int64_t r = 0; r < s->replicas; r++) {
    mxsi_trajectory *t = &s->trajectory[r];
    mxs_optim *o = &t->optim;
    if (mxsi_stop_keeps_best(s)) {
      add_array(s, t, r, "factors/U", (mxs_array){NULL, 0, p->n1, t->k, t->best_U, 0});
      add_array(s, t, r, "factors/V", (mxs_array){NULL, 0, p->n2, t->k, t->best_V, 0});
      add_array(s, t, r, "state/best", (mxs_array){NULL, 0, 1, MXSI_BEST, &t->best, 0});
    }
    const char *const *names = mxsi_stop_keeps_best(s) ? aside : answer;
    add_array(s, t, r, names[0], (mxs_array){NULL, 0, p->n1, t->k, o->U, 0});
    add_array(s, t, r, names[1], (mxs_array){NULL, 0, p->n2, t->k, o->V, 0});
    add_array(s, t, r, "state/numbers", (mxs_array){NULL, 0, 1, MXSI_NUMBERS, &t->number, 0});
    add_array(s, t, r, "state/rule", (mxs_array){NULL, 0, 1, MXS_OPTIM_NUMBERS, o->number, 1});
    add_array(s, t, r, "state/phase", (mxs_array){NULL, 0, 1, MXS_PHASE_NUMBERS, &t->phase, 0});
    add_array(s, t, r, "state/scales", (mxs_array){NULL, 1, 1, MXS_OBJECTIVE_SCALES, t->scales, 0});
    if (t->rule->remembers) {
      add_array(s, t, r, "state/memory_U", (mxs_array){NULL, 0, p->n1, t->k, o->memory_U, 0});
      add_array(s, t, r, "state/memory_V", (mxs_array){NULL, 0, p->n2, t->k, o->memory_V, 0});
    }
  }
  list_shared(s);
}

static void release_factors(mxsi_trajectory *t) {
  mxs_optim *o = &t->optim;
  mxs_release(&t->best_U);
  mxs_release(&t->best_V);
  mxs_release(&o->U);
  mxs_release(&o->V);
  mxs_release(&o->memory_U);
  mxs_release(&o->memory_V);
  mxs_release(&o->work_U);
  mxs_release(&o->work_V);
}

static const mxs_rule *rule_of(const mxs_solver *s, int64_t stage) {
  return mxs_rule_of(stage == MXSI_STAGE_PURSUE    ? MXS_METHOD_GAUSS_NEWTON
                     : stage == MXSI_STAGE_POLISH  ? MXS_METHOD_RIEMANNIAN_GD
                     : stage == MXSI_STAGE_DESCEND ? MXS_METHOD_NESTEROV
                                                   : s->options.method);
}

mxs_status mxsi_solver_set_kept(mxs_solver *s, int64_t k) {
  mxs_release(&s->kept_U);
  mxs_release(&s->kept_V);
  s->trajectory[0].extent.kept = k;
  MXS_TRY(mxs_alloc(s->problem->n1 * k, sizeof *s->kept_U, &s->kept_U));
  return mxs_alloc(s->problem->n2 * k, sizeof *s->kept_V, &s->kept_V);
}

mxs_status mxsi_solver_set_columns(mxs_solver *s, int64_t r, int64_t k) {
  mxsi_trajectory *t = &s->trajectory[r];
  mxs_optim *o = &t->optim;
  const int64_t left = s->problem->n1 * k;
  const int64_t right = s->problem->n2 * k;
  release_factors(t);
  t->rule = rule_of(s, t->extent.stage);
  memset(o->number, 0, sizeof o->number);
  t->k = k;
  t->extent.columns = k;
  o->k = k;
  t->best = (mxsi_best){.point.iteration = -1.0};
  if (mxsi_stop_keeps_best(s)) {
    MXS_TRY(mxs_alloc(left, sizeof *t->best_U, &t->best_U));
    MXS_TRY(mxs_alloc(right, sizeof *t->best_V, &t->best_V));
  }
  MXS_TRY(mxs_alloc(left, sizeof *o->U, &o->U));
  MXS_TRY(mxs_alloc(right, sizeof *o->V, &o->V));
  MXS_TRY(mxs_alloc(left, sizeof *o->work_U, &o->work_U));
  MXS_TRY(mxs_alloc(right, sizeof *o->work_V, &o->work_V));
  if (!t->rule->remembers)
    return MXS_OK;
  MXS_TRY(mxs_alloc(left, sizeof *o->memory_U, &o->memory_U));
  return mxs_alloc(right, sizeof *o->memory_V, &o->memory_V);
}

static mxs_status allocate_trajectory(mxs_solver *s, int64_t r) {
  mxsi_trajectory *t = &s->trajectory[r];
  const mxs_solve_options *options = &s->options;
  const int64_t k = t->want.k > 0 ? t->want.k : s->problem->k;
  const int64_t most = k < MOST_SINGULAR_VALUES ? k : MOST_SINGULAR_VALUES;
  const char *const *names = NULL;
  t->extent.stage = options->method == MXS_METHOD_AUTO ? MXSI_STAGE_PURSUE : MXSI_STAGE_METHOD;
  t->optim = (mxs_optim){.problem = s->problem,
                         .options = options,
                         .replica = r,
                         .seed = t->want.seed,
                         .automatic = isnan(t->want.step),
                         .spectrum = &s->spectrum,
                         .at = &s->at[r]};
  MXS_TRY(mxsi_solver_set_columns(s, r, k));
  MXS_TRY(mxs_metrics_create(s->problem, &s->spectrum,
                             options->singular_values > 0 ? options->singular_values : most,
                             &t->metrics));
  return mxs_alloc(mxs_metrics_columns(t->metrics, &names), sizeof *t->row, &t->row);
}

static mxs_status allocate(mxs_solver *s) {
  const mxs_problem *p = s->problem;
  const mxs_solve_options *o = &s->options;
  MXS_TRY(mxs_alloc(s->replicas, sizeof *s->trajectory, &s->trajectory));
  MXS_TRY(mxs_alloc(s->replicas, sizeof *s->points, &s->points));
  MXS_TRY(mxs_alloc(s->replicas, sizeof *s->at, &s->at));
  MXS_TRY(mxs_alloc(s->replicas, sizeof *s->result, &s->result));
  MXS_TRY(mxs_alloc(s->replicas * MXSI_ARRAYS + MXSI_SHARED_ARRAYS, sizeof *s->arrays, &s->arrays));
  MXS_TRY(mxs_spectrum_create(p, &s->spectrum));
  for (int64_t r = 0; r < s->replicas; r++) {
    mxsi_trajectory *t = &s->trajectory[r];
    t->want = o->replica_count > 0
                  ? o->replicas[r]
                  : (mxs_replica){.alpha = o->alpha, .step = o->step, .seed = o->seed};
    MXS_TRY(allocate_trajectory(s, r));
  }
  if (o->start_U.a != NULL) {
    MXS_TRY(copy_start(o->start_U, "U", &s->start_U));
    MXS_TRY(copy_start(o->start_V, "V", &s->start_V));
    MXS_TRY(check_symmetric_start(s));
  }
  s->options.replicas = NULL;
  mxsi_solver_list_arrays(s);
  return MXS_OK;
}

/* Its counts stay. */
static void destroy_objective(mxs_solver *s) {
  if (s->objective == NULL)
    return;
  const mxs_objective_profile profile = mxs_objective_get_profile(s->objective);
  s->spent.compute_s += profile.compute_s;
  s->spent.generate_s += profile.generate_s;
  s->spent.reduce_s += profile.reduce_s;
  s->spent.visits += profile.visits;
  mxs_objective_destroy(&s->objective);
}

mxs_status mxsi_solver_set_objective(mxs_solver *s) {
  int64_t *k = NULL;
  mxs_status status = mxs_comm_agree(s->problem->comm, mxs_alloc(s->replicas, sizeof *k, &k));
  const int64_t visits = s->objective != NULL ? mxsi_solver_visits(s) : 0;
  for (int64_t r = 0; r < s->replicas && status == MXS_OK; r++)
    k[r] = s->trajectory[r].k;
  destroy_objective(s);
  if (status == MXS_OK)
    status = mxs_objective_create(s->problem, s->options.reduction, k, s->replicas,
                                  s->options.threads, &s->objective);
  s->visits_before = -visits;
  if (status == MXS_OK && s->trajectory[0].rule->keeps_jacobian) {
    MXS_TRY_GOTO(status, mxs_objective_keep_gradient(s->objective), cleanup);
    MXS_TRY_GOTO(status, mxs_objective_keep_jacobian(s->objective, 1), cleanup);
  }
cleanup:
  for (int64_t r = 0; r < s->replicas; r++)
    s->trajectory[r].optim.objective = s->objective;
  mxs_release(&k);
  return status;
}

mxs_status mxs_solver_create(mxs_problem *problem,
                             const mxs_solve_options *options,
                             mxs_solver **solver) {
  *solver = NULL;
  MXS_TRY(check_options(problem, options));
  mxs_solver *s = NULL;
  mxs_status status = mxs_alloc(1, sizeof *s, &s);
  if (status == MXS_OK) {
    s->problem = problem;
    s->options = *options;
    s->replicas = options->replica_count > 0 ? options->replica_count : 1;
    status = allocate(s);
  }
  status = mxs_comm_agree(problem->comm, status);
  if (status == MXS_OK)
    status = mxsi_solver_set_objective(s);
  if (status != MXS_OK)
    mxs_solver_destroy(&s);
  *solver = s;
  return status;
}

/* In doubles. Of a trajectory: the factors, two limbs of the reduction, projections of a G that
 * comes whole, X; of a thread and trajectory: a leaf, and G where the leaf does not hold it; once:
 * the leading singular vectors, and while the back-projection is taken apart its two limbs, or
 * LAPACK's copy and vectors. */
double mxs_solver_bytes(
    int64_t n1, int64_t n2, int64_t k, int64_t replicas, int threads, int dense) {
  const double factors = (double)(n1 + n2) * (double)k;
  const double entries = (double)n1 * (double)n2;
  const int full = dense && factors >= entries;
  const double leaf = full ? entries : factors;
  const double trajectory = factors + 2.0 * leaf + (full ? factors : 0.0) + (dense ? entries : 0.0);
  const double work = leaf + (dense && !full ? entries : 0.0);
  return 8.0 * ((double)replicas * (trajectory + (double)threads * work) + factors +
                (dense ? 3.0 : 5.0) * entries);
}

void mxs_solver_destroy(mxs_solver **solver) {
  mxs_solver *s = *solver;
  if (s == NULL)
    return;
  mxs_objective_destroy(&s->objective);
  mxs_spectrum_clear(&s->spectrum);
  for (int64_t r = 0; s->trajectory != NULL && r < s->replicas; r++) {
    mxsi_trajectory *t = &s->trajectory[r];
    mxs_metrics_destroy(&t->metrics);
    release_factors(t);
    mxs_release(&t->row);
  }
  mxs_release(&s->trajectory);
  mxs_release(&s->points);
  mxs_release(&s->at);
  mxs_release(&s->result);
  mxs_release(&s->arrays);
  mxs_release(&s->start_U);
  mxs_release(&s->start_V);
  mxs_release(&s->kept_U);
  mxs_release(&s->kept_V);
  mxs_release(solver);
}

const char *mxs_solver_stage(const mxs_solver *s, int64_t *rank) {
  static const char *const names[] = {
      [MXSI_STAGE_METHOD] = "",
      [MXSI_STAGE_PURSUE] = "pursuit",
      [MXSI_STAGE_DESCEND] = "descent",
      [MXSI_STAGE_POLISH] = "polish",
  };
  *rank = s->trajectory[0].k;
  return names[s->trajectory[0].extent.stage];
}

int64_t mxs_solver_replicas(const mxs_solver *s) {
  return s->replicas;
}

void mxs_solver_factors(const mxs_solver *s, int64_t replica, mxs_cmat *U, mxs_cmat *V) {
  const mxsi_trajectory *t = &s->trajectory[replica];
  const int best = t->best_U != NULL && t->best.point.iteration >= 0.0;
  *U = mxs_cview(best ? t->best_U : t->optim.U, s->problem->n1, t->k);
  *V = mxs_cview(best ? t->best_V : t->optim.V, s->problem->n2, t->k);
}

int64_t mxs_solver_columns(const mxs_solver *s, int64_t replica, const char *const **names) {
  return mxs_metrics_columns(s->trajectory[replica].metrics, names);
}

int64_t mxs_solver_state(mxs_solver *s, mxs_array **arrays) {
  *arrays = s->arrays;
  return s->array_count;
}

int64_t mxs_solver_shapes(mxs_solver *s, mxs_array **arrays) {
  *arrays = s->arrays;
  return s->shape_count;
}

static mxs_status check_columns(const mxs_solver *s, int64_t columns) {
  if (columns >= 1 && columns <= s->problem->k)
    return MXS_OK;
  return mxs_fail(MXS_ERR_DATA, "the saved state has factors of %lld columns, of at most %lld",
                  (long long)columns, (long long)s->problem->k);
}

/* Factors as the counters tell. Local. */
static mxs_status reshape(mxs_solver *s, int *changed) {
  for (int64_t r = 0; r < s->replicas; r++) {
    mxsi_trajectory *t = &s->trajectory[r];
    if (t->extent.columns == t->k && t->rule == rule_of(s, t->extent.stage))
      continue;
    *changed = 1;
    MXS_TRY(check_columns(s, t->extent.columns));
    MXS_TRY(mxsi_solver_set_columns(s, r, t->extent.columns));
  }
  const int64_t kept = s->trajectory[0].extent.kept;
  if (kept == 0)
    return MXS_OK;
  MXS_TRY(check_columns(s, kept));
  return mxsi_solver_set_kept(s, kept);
}

mxs_status mxs_solver_reshape(mxs_solver *s) {
  int changed = 0;
  MXS_TRY(mxs_comm_agree(s->problem->comm, reshape(s, &changed)));
  if (changed)
    MXS_TRY(mxsi_solver_set_objective(s));
  mxsi_solver_list_arrays(s);
  return MXS_OK;
}

int64_t mxsi_freedom(const mxs_solver *s, int64_t k) {
  const mxs_problem *p = s->problem;
  return s->options.model == MXS_MODEL_SYMMETRIC ? k * (2 * p->n1 - k + 1) / 2
                                                 : k * (p->n1 + p->n2 - k);
}

int64_t mxsi_solver_visits(const mxs_solver *s) {
  return mxs_objective_get_profile(s->objective).visits - s->visits_before;
}

mxs_profile mxs_solver_profile(const mxs_solver *s) {
  const mxs_objective_profile profile = mxs_objective_get_profile(s->objective);
  const mxs_problem *p = s->problem;
  return (mxs_profile){.compute_s = s->spent.compute_s + profile.compute_s,
                       .generate_s = s->spent.generate_s + profile.generate_s,
                       .reduce_s = s->spent.reduce_s + profile.reduce_s,
                       .inner_s = s->trajectory[0].optim.inner_s,
                       .metrics_s = s->metrics_s,
                       .checkpoint_s = s->checkpoint_s,
                       .passes = (double)(s->spent.visits + profile.visits) /
                                 (double)(p->train.blocks.m + p->validation.blocks.m),
                       .reduce_bytes = profile.reduce_bytes,
                       .threads = mxs_objective_threads(s->objective)};
}
