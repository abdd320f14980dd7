#include "conf/settings.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
  LEAST_TO_HOLD_OUT = 10, /* measurements; fewer are all needed */
  AUTO_ITERATIONS = 100
};

#define HELD_OUT 0.1

static const mxs_choice models[] = {
    {"asymmetric", MXS_MODEL_ASYMMETRIC}, {"symmetric", MXS_MODEL_SYMMETRIC}, {NULL, 0}};
static const mxs_choice methods[] = {{"auto", MXS_METHOD_AUTO},
                                     {"gd", MXS_METHOD_GD},
                                     {"nesterov", MXS_METHOD_NESTEROV},
                                     {"sgd", MXS_METHOD_SGD},
                                     {"scaled_gd", MXS_METHOD_SCALED_GD},
                                     {"agn", MXS_METHOD_AGN},
                                     {"riemannian_gd", MXS_METHOD_RIEMANNIAN_GD},
                                     {"gauss_newton", MXS_METHOD_GAUSS_NEWTON},
                                     {NULL, 0}};
static const mxs_choice inits[] = {{"auto", MXS_START_AUTO},
                                   {"random", MXS_START_RANDOM},
                                   {"spectral", MXS_START_SPECTRAL},
                                   {"nystrom", MXS_START_NYSTROM},
                                   {NULL, 0}};
static const mxs_choice weights[] = {{"auto", MXS_WEIGHTS_AUTO},
                                     {"none", MXS_WEIGHTS_NONE},
                                     {"log_det", MXS_WEIGHTS_LOG_DET},
                                     {NULL, 0}};
static const mxs_choice inners[] = {{"auto", MXS_INNER_AUTO},
                                    {"cg", MXS_INNER_CG},
                                    {"gram", MXS_INNER_GRAM},
                                    {"cholesky", MXS_INNER_CHOLESKY},
                                    {NULL, 0}};
static const mxs_choice stops[] = {{"tolerance", MXS_STOP_TOLERANCE},
                                   {"validation", MXS_STOP_VALIDATION},
                                   {"discrepancy", MXS_STOP_DISCREPANCY},
                                   {NULL, 0}};
static const mxs_choice storages[] = {{"auto", MXS_STORAGE_AS_FILE},
                                      {"f64", MXS_STORAGE_F64},
                                      {"f32", MXS_STORAGE_F32},
                                      {"bf16", MXS_STORAGE_BF16},
                                      {"bits", MXS_STORAGE_BITS},
                                      {"stream", MXS_STORAGE_STREAM},
                                      {NULL, 0}};
static const mxs_choice reductions[] = {
    {"reproducible", MXS_REDUCTION_REPRODUCIBLE}, {"fast", MXS_REDUCTION_FAST}, {NULL, 0}};
static const mxs_choice svd_routes[] = {{"auto", MXS_SVD_AUTO},
                                        {"replicated", MXS_SVD_REPLICATED},
                                        {"scalapack", MXS_SVD_SCALAPACK},
                                        {"randomized", MXS_SVD_RANDOMIZED},
                                        {NULL, 0}};
static const mxs_choice progresses[] = {
    {"auto", MXS_PROGRESS_AUTO}, {"on", MXS_PROGRESS_ON}, {"off", MXS_PROGRESS_OFF}, {NULL, 0}};

#define FIELD(name) .key = #name, .offset = offsetof(mxs_settings, name)

static const mxs_option options[] = {
    {FIELD(problem), .type = MXS_OPTION_PATH, .flags = MXS_OPTION_MAY_CHANGE | MXS_OPTION_REQUIRED,
     .section = "Problem",
     .help = "problem file (HDF5); a relative path, also in a settings file, starts at the current "
             "directory; on resume its content must be the same"},
    {FIELD(measurements), .type = MXS_OPTION_INTEGER, .preset = "all", .automatic = "all", .low = 1,
     .high = INFINITY, .section = "Problem", .help = "use the first N measurements only"},
    {FIELD(hold_out), .type = MXS_OPTION_REAL, .preset = "auto", .automatic = "auto", .low = 0,
     .high = 1, .flags = MXS_OPTION_BELOW_HIGH, .section = "Problem",
     .help = "fraction of the measurements kept out of the gradient, to validate on; not with a "
             "file that has its own held-out measurements; auto: 0.1 for the method auto with ten "
             "measurements or more and none held out in the file, else 0"},
    {FIELD(storage), .type = MXS_OPTION_CHOICE, .preset = "auto", .choices = storages,
     .section = "Problem",
     .help =
         "how a stored A is held in memory; auto: as in the file; bf16 rounds; bits: A of entries "
         "+-1, or the ensemble rademacher, made once and kept; stream: not held, but read from the "
         "problem file at every pass; arithmetic is always f64"},
    {FIELD(model), .type = MXS_OPTION_CHOICE, .preset = "asymmetric", .choices = models,
     .section = "Method",
     .help = "the unknown matrix is U V^T, or symmetric: U U^T, positive semidefinite"},
    {FIELD(method), .type = MXS_OPTION_CHOICE, .preset = "auto", .choices = methods,
     .section = "Method",
     .help = "auto: from the data alone to a matrix and a certificate: finds the rank, start and "
             "steps, one run at a time; gd: gradient descent on both factors from a small start; "
             "nesterov: with momentum; "
             "sgd: on batches; scaled_gd: preconditioned by the factors' Gram matrices, its speed "
             "does not depend on the condition of X; agn: the same, one factor at a time; "
             "riemannian_gd: on the matrices of rank k; gauss_newton: least squares on the "
             "compressed Jacobian, ten to twenty passes over A"},
    {FIELD(k), .type = MXS_OPTION_INTEGERS, .preset = "auto", .automatic = "auto", .low = 1,
     .high = INFINITY, .section = "Method",
     .help = "columns of the factors, at least the rank looked for; with method: auto the largest "
             "rank that it looks for; auto: min(n1, n2) / 4, at least 2"},
    {FIELD(step), .type = MXS_OPTION_REALS, .preset = "auto", .automatic = "auto", .low = 0,
     .high = INFINITY, .flags = MXS_OPTION_ABOVE_LOW, .section = "Method",
     .help =
         "step size mu; auto: of gd and nesterov 0.25 / s1, with s1 the top singular value of the "
         "back-projection, of sgd less with small batches; of scaled_gd 0.5, less for many "
         "columns; of agn 1, less for "
         "many columns; of riemannian_gd the best along the gradient, from half a pass more"},
    {FIELD(momentum), .type = MXS_OPTION_REAL, .preset = "0.9", .low = 0, .high = 1,
     .flags = MXS_OPTION_BELOW_HIGH, .section = "Method", .help = "of nesterov"},
    {FIELD(line_search), .type = MXS_OPTION_SWITCH, .preset = "false", .section = "Method",
     .help = "gd, scaled_gd: the best step along the direction, from half a pass more; step is not "
             "used"},
    {FIELD(lambda), .type = MXS_OPTION_REAL, .preset = "0", .low = 0, .high = INFINITY,
     .section = "Method",
     .help =
         "scaled_gd, agn: added to the Gram matrices, times s1 / scale^2; for k above the rank"},
    {FIELD(balance), .type = MXS_OPTION_REAL, .preset = "0", .low = 0, .high = INFINITY,
     .section = "Method",
     .help = "gd, nesterov, sgd: weight of the regulariser ||U^T U - V^T V||^2 / 4, times scale^2; "
             "1/4 is usual, 0 is none"},
    {FIELD(label_noise), .type = MXS_OPTION_REAL, .preset = "0", .low = 0, .high = INFINITY,
     .section = "Method",
     .help = "standard deviation of fresh noise on y in every gradient, in units of y; not with "
             "method: auto"},
    {FIELD(perturb), .type = MXS_OPTION_REAL, .preset = "0", .low = 0, .high = INFINITY,
     .section = "Method",
     .help = "gd: radius of a random kick, relative to the norm of the factors, where the gradient "
             "is nearly zero but the residual is not; 0: none"},
    {FIELD(weights), .type = MXS_OPTION_CHOICE, .preset = "auto", .choices = weights,
     .section = "Method",
     .help =
         "gauss_newton: log_det weights the least squares towards low rank, for few measurements "
         "or k above the rank; auto: with fewer than 1.5 measurements per degree of freedom"},
    {FIELD(inner), .type = MXS_OPTION_CHOICE, .preset = "auto", .choices = inners,
     .section = "Method",
     .help =
         "gauss_newton: least squares by conjugate gradients on the Jacobian (cg), or on its Gram "
         "matrix of order n = (n1 + n2) k (gram), or by a factorisation of that (cholesky), spread "
         "over the ranks where n >= 1024 and reduction is fast; the last two take 24 n^2 bytes a "
         "rank; auto: cholesky where n is below some 24 times the products of cg, which are 15 at "
         "3 measurements per degree of freedom and 80 at 1.2; else cg"},
    {FIELD(progressive), .type = MXS_OPTION_SWITCH, .preset = "true", .section = "Method",
     .help = "auto: begin with a part of the measurements where there are many more than needed"},
    {FIELD(jacobian_memory), .type = MXS_OPTION_REAL, .preset = "8", .low = 0, .high = INFINITY,
     .flags = MXS_OPTION_ABOVE_LOW, .unit = "GB", .section = "Method",
     .help =
         "auto: what the compressed Jacobian may take over all ranks; where it would be more it "
         "covers a part of the measurements, and gradients cover all"},
    {FIELD(batch), .type = MXS_OPTION_INTEGER, .preset = "all", .automatic = "all", .low = 1,
     .high = INFINITY, .section = "Method",
     .help = "sgd: measurements of a step, in whole blocks (block_rows)"},
    {FIELD(step_decay), .type = MXS_OPTION_REAL, .preset = "0", .low = 0, .high = 1,
     .section = "Method",
     .help = "sgd: step t is step / (1 + t / step_delay)^step_decay; 0: constant"},
    {FIELD(step_delay), .type = MXS_OPTION_REAL, .preset = "100", .low = 0, .high = INFINITY,
     .flags = MXS_OPTION_ABOVE_LOW, .unit = "iterations", .section = "Method",
     .help = "sgd: see step_decay"},
    {FIELD(init), .type = MXS_OPTION_SOURCE, .preset = "auto", .choices = inits, .section = "Start",
     .help =
         "random: entries of U and V i.i.d. N(0, alpha^2); spectral: leading singular triplets of "
         "the back-projection; nystrom: a sketch of it; file:PATH: /factors/U and /factors/V of "
         "an HDF5 file, such as a checkpoint; auto: random for gd, nesterov and sgd, spectral for "
         "the other methods"},
    {FIELD(alpha), .type = MXS_OPTION_REALS, .preset = "auto", .automatic = "auto", .low = 0,
     .high = INFINITY, .flags = MXS_OPTION_ABOVE_LOW, .section = "Start",
     .help = "scale of the random start; auto: 1e-3 sqrt(s1 / scale^2), scale^2 the mean square of "
             "the entries of A"},
    {FIELD(seed), .type = MXS_OPTION_INTEGERS, .preset = "0", .low = 0, .high = INFINITY,
     .section = "Start",
     .help = "of the start and of every random choice of the solver; hold_out goes by the first"},
    {FIELD(replicas), .type = MXS_OPTION_INTEGER, .preset = "auto", .automatic = "auto", .low = 1,
     .high = MXS_LIST_LIMIT, .section = "Start",
     .help = "runs that advance together and share each pass over A; auto: as many as the lists of "
             "k, step, alpha and seed have values; without a list the seeds count up from seed"},
    {FIELD(max_iterations), .type = MXS_OPTION_INTEGER, .preset = "10000", .low = 0,
     .high = INFINITY, .flags = MXS_OPTION_MAY_CHANGE, .section = "Stopping",
     .help = "stop after so many iterations, counted from the first start, not from a resume"},
    {FIELD(tolerance), .type = MXS_OPTION_REAL, .preset = "1e-8", .low = 0, .high = INFINITY,
     .flags = MXS_OPTION_MAY_CHANGE, .section = "Stopping",
     .help = "stop when the relative residual norm(R)/norm(y) is at most this; 0: never; method: "
             "auto knows itself when it is done"},
    {FIELD(stop), .type = MXS_OPTION_CHOICE, .preset = "tolerance", .choices = stops,
     .section = "Stopping",
     .help =
         "tolerance: on the relative residual; validation: that, or patience iterations after the "
         "lowest held-out loss, and the answer is the point where it was lowest (needs hold_out or "
         "held-out data); discrepancy: tolerance, or where the residual is as small as noise_std "
         "lets it "
         "be"},
    {FIELD(patience), .type = MXS_OPTION_INTEGER, .preset = "auto", .automatic = "auto", .low = 1,
     .high = INFINITY, .unit = "iterations", .section = "Stopping",
     .help =
         "stop: validation: go on so long after the lowest held-out loss; auto: what the smallest "
         "signal takes to grow tenfold from the start, a thousandfold at least"},
    {FIELD(noise_std), .type = MXS_OPTION_REAL, .preset = "auto", .automatic = "auto", .low = 0,
     .high = INFINITY, .section = "Stopping",
     .help = "standard deviation of the noise in y, for stop: discrepancy and the error estimate; "
             "auto: "
             "that of the problem file"},
    {FIELD(max_walltime), .type = MXS_OPTION_TIME, .preset = "auto", .automatic = "auto",
     .flags = MXS_OPTION_MAY_CHANGE, .section = "Stopping",
     .help = "stop with a checkpoint, and exit code 75, before this start has taken so long; auto: "
             "what is left of the Slurm job"},
    {FIELD(metrics_every), .type = MXS_OPTION_INTEGER, .preset = "10", .low = 1, .high = INFINITY,
     .flags = MXS_OPTION_MAY_CHANGE, .unit = "iterations", .section = "Output",
     .help = "between rows of metrics.csv"},
    {FIELD(singular_values), .type = MXS_OPTION_INTEGER, .preset = "auto", .automatic = "auto",
     .low = 1, .high = INFINITY, .section = "Output",
     .help = "leading singular values of U V^T in the metrics; auto: min(k, 10)"},
    {FIELD(checkpoint_every), .type = MXS_OPTION_CADENCE, .preset = "10min",
     .flags = MXS_OPTION_MAY_CHANGE, .section = "Output",
     .help = "between checkpoints, whichever comes first; every end writes one too"},
    {FIELD(checkpoint_share), .type = MXS_OPTION_REAL, .preset = "0.02", .low = 0, .high = 1,
     .flags = MXS_OPTION_MAY_CHANGE | MXS_OPTION_ABOVE_LOW, .section = "Output",
     .help =
         "at most this fraction of the time goes into checkpoints of checkpoint_every: one that "
         "comes too soon after a slow one waits; 1: none waits"},
    {FIELD(checkpoint_keep), .type = MXS_OPTION_INTEGER, .preset = "0", .automatic = "all",
     .low = 0, .high = INFINITY, .flags = MXS_OPTION_MAY_CHANGE | MXS_OPTION_MOST,
     .section = "Output",
     .help = "older checkpoints that stay, as checkpoint.ITERATION.h5; 0: none are made, none are "
             "removed"},
    {FIELD(progress), .type = MXS_OPTION_CHOICE, .preset = "auto", .choices = progresses,
     .flags = MXS_OPTION_MAY_CHANGE, .section = "Output",
     .help = "progress line; auto: on a terminal"},
    {FIELD(stall_warning), .type = MXS_OPTION_TIME, .preset = "60s",
     .flags = MXS_OPTION_MAY_CHANGE | MXS_OPTION_ABOVE_LOW, .section = "Output",
     .help = "warn after so long without progress, or 10 times the longest iteration if that is "
             "longer: which ranks do not answer, and what the others wait for"},
    {FIELD(stall_limit), .type = MXS_OPTION_TIME, .preset = "never", .automatic = "never",
     .flags = MXS_OPTION_MAY_CHANGE | MXS_OPTION_ABOVE_LOW, .section = "Stopping",
     .help = "end the run, with exit code 70, after so long without progress; a checkpoint that "
             "hangs for 300 s and 20 times the last one always ends it, with 74"},
    {FIELD(quiet), .type = MXS_OPTION_SWITCH, .preset = "false", .flags = MXS_OPTION_MAY_CHANGE,
     .section = "Output", .help = "print errors and warnings only"},
    {FIELD(verbose), .type = MXS_OPTION_SWITCH, .preset = "false", .flags = MXS_OPTION_MAY_CHANGE,
     .section = "Output", .help = "print more: timings, decisions, build"},
    {FIELD(threads), .type = MXS_OPTION_INTEGER, .preset = "1", .low = 1, .high = 4096,
     .flags = MXS_OPTION_MAY_CHANGE, .section = "Arithmetic",
     .help =
         "threads of every rank, with the same bits as one; best is a rank for each NUMA domain "
         "and a thread for each of its cores"},
    {FIELD(block_rows), .type = MXS_OPTION_INTEGER, .preset = "auto", .automatic = "auto", .low = 1,
     .high = INFINITY, .section = "Arithmetic",
     .help =
         "measurements in a block, the unit that ranks and threads share: more save projections "
         "on the factors, fewer serve more ranks; other blocks give other last bits; auto: 10 k "
         "to 100 k, the more the nearer that comes to 1024 blocks; ensemble fast: as in the file"},
    {FIELD(reduction), .type = MXS_OPTION_CHOICE, .preset = "reproducible", .choices = reductions,
     .section = "Arithmetic",
     .help = "reproducible: the same bits at any number of ranks; fast: plain sums of doubles"},
    {FIELD(svd), .type = MXS_OPTION_CHOICE, .preset = "auto", .choices = svd_routes,
     .section = "Arithmetic",
     .help = "decomposition of the back-projection; scalapack needs --reduction fast; randomized: "
             "the leading part by passes over A, for operators that have no full matrices"},
};

#undef FIELD

const mxs_table mxs_settings_table = {"setting", "mxsense solve --help", options,
                                      (int)(sizeof options / sizeof options[0])};

mxs_status mxs_settings_defaults(mxs_settings *settings) {
  *settings = (mxs_settings){0};
  return mxs_table_defaults(&mxs_settings_table, settings);
}

void mxs_settings_clear(mxs_settings *settings) {
  mxs_table_clear(&mxs_settings_table, settings);
}

int64_t mxs_settings_k(const mxs_settings *settings, int64_t n1, int64_t n2) {
  const int64_t quarter = (n1 < n2 ? n1 : n2) / 4;
  int64_t most = 0;
  for (int64_t i = 0; i < settings->k.count; i++)
    most = settings->k.values[i] > most ? settings->k.values[i] : most;
  if (most > 0)
    return most;
  return quarter > 2 ? quarter : 2;
}

int64_t mxs_settings_replicas(const mxs_settings *settings) {
  const int64_t counts[] = {settings->k.count, settings->alpha.count, settings->seed.count,
                            settings->step.count};
  int64_t most = settings->replicas > 0 ? settings->replicas : 1;
  for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
    most = counts[i] > most ? counts[i] : most;
  return most;
}

double mxs_settings_hold_out(const mxs_settings *settings, int64_t m, int64_t m_validation) {
  const int64_t used = settings->measurements > 0 ? settings->measurements : m;
  if (!isnan(settings->hold_out))
    return settings->hold_out;
  return settings->method == MXS_METHOD_AUTO && m_validation == 0 && used >= LEAST_TO_HOLD_OUT
             ? HELD_OUT
             : 0.0;
}

void mxs_settings_resolve(
    mxs_settings *settings, int64_t n1, int64_t n2, int64_t m, int64_t m_validation) {
  if (settings->k.count == 1)
    settings->k.values[0] = mxs_settings_k(settings, n1, n2);
  settings->hold_out = mxs_settings_hold_out(settings, m, m_validation);
  settings->replicas = mxs_settings_replicas(settings);
}

double mxs_settings_jacobian_bytes(const mxs_settings *settings,
                                   const mxs_problem_size *size,
                                   int64_t *rank) {
  const int64_t sides = size->n1 + size->n2;
  const int64_t most = mxs_settings_k(settings, size->n1, size->n2);
  const int automatic = settings->method == MXS_METHOD_AUTO;
  *rank = most;
  if ((!automatic && settings->method != MXS_METHOD_GAUSS_NEWTON) ||
      size->ensemble == MXS_ENSEMBLE_FAST)
    return 0.0;
  /* More columns than measurements can tell are not tried. */
  while (automatic && *rank > 1 && *rank * (sides - *rank) >= size->m)
    --*rank;
  const double row = (double)sizeof(float) * (double)sides * (double)*rank;
  const double share = 1e9 * settings->jacobian_memory * (double)size->rows / (double)size->m;
  const double bytes = row * (double)size->rows;
  return automatic && bytes > share ? share : bytes;
}

int64_t mxs_settings_iterations(const mxs_settings *settings) {
  return settings->method == MXS_METHOD_AUTO && settings->max_iterations > AUTO_ITERATIONS
             ? AUTO_ITERATIONS
             : settings->max_iterations;
}

mxs_replica mxs_settings_replica(const mxs_settings *settings, int64_t r) {
  const mxs_settings *s = settings;
  const int listed = s->k.count > 1 || s->alpha.count > 1 || s->seed.count > 1 || s->step.count > 1;
  return (mxs_replica){.alpha = s->alpha.values[s->alpha.count > 1 ? r : 0],
                       .step = s->step.values[s->step.count > 1 ? r : 0],
                       .seed = (uint64_t)s->seed.values[s->seed.count > 1 ? r : 0] +
                               (listed ? 0 : (uint64_t)r),
                       .k = s->k.values[s->k.count > 1 ? r : 0]};
}

mxs_start mxs_settings_start(const mxs_settings *settings) {
  for (const mxs_choice *init = inits; init->word != NULL; init++)
    if (strcmp(settings->init, init->word) == 0)
      return (mxs_start)init->value;
  return MXS_START_AUTO;
}

mxs_status mxs_settings_merge_yaml(mxs_settings *settings,
                                   const char *path,
                                   const char *text,
                                   size_t length) {
  return mxs_table_merge_yaml(&mxs_settings_table, settings, path, text, length);
}

mxs_status mxs_settings_set(mxs_settings *settings, const char *key, const char *value) {
  const int index = mxs_table_find(&mxs_settings_table, key);
  if (index < 0) {
    char suggestion[160];
    mxs_table_suggest(&mxs_settings_table, key, suggestion, sizeof suggestion);
    return mxs_fail(MXS_ERR_USAGE, "unknown setting '%.80s': %s", key, suggestion);
  }
  return mxs_table_set(&mxs_settings_table, settings, index, value);
}

/* Lists and `replicas` must tell the same number of runs. */
static mxs_status check_replicas(const mxs_settings *settings) {
  const struct {
    const char *key;
    int64_t count;
  } lists[] = {{"k", settings->k.count},
               {"step", settings->step.count},
               {"alpha", settings->alpha.count},
               {"seed", settings->seed.count}};
  const char *first = NULL;
  int64_t count = 0;
  for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
    if (lists[i].count <= 1)
      continue;
    if (first != NULL && lists[i].count != count)
      return mxs_fail(MXS_ERR_SETTINGS,
                      "%s: %lld values, but %s has %lld: give lists of the same length, with one "
                      "value for each replica",
                      lists[i].key, (long long)lists[i].count, first, (long long)count);
    first = lists[i].key;
    count = lists[i].count;
  }
  if (first != NULL && settings->replicas > 0 && settings->replicas != count)
    return mxs_fail(MXS_ERR_SETTINGS,
                    "replicas: %lld, but %s has %lld values: leave replicas out, or give a list of "
                    "that length",
                    (long long)settings->replicas, first, (long long)count);
  if (first == NULL && settings->seed.values[0] > INT64_MAX - settings->replicas)
    return mxs_fail(MXS_ERR_SETTINGS,
                    "seed: %lld is too large for replicas: %lld, whose seeds count up from it",
                    (long long)settings->seed.values[0], (long long)settings->replicas);
  return MXS_OK;
}

/* What a method does not take. */
static mxs_status check_method(const mxs_settings *settings) {
  const int many = mxs_settings_replicas(settings) > 1;
  const int method = settings->method;
  if (settings->line_search && method != MXS_METHOD_GD && method != MXS_METHOD_SCALED_GD)
    return mxs_fail(MXS_ERR_SETTINGS,
                    "line_search: only the methods gd and scaled_gd have one: drop it, or set "
                    "method: gd or scaled_gd");
  if (settings->batch > 0 && method != MXS_METHOD_SGD)
    return mxs_fail(MXS_ERR_SETTINGS,
                    "batch: only the method sgd takes batches: drop it, or set method: sgd");
  if (many && (method == MXS_METHOD_SGD || method == MXS_METHOD_RIEMANNIAN_GD ||
               method == MXS_METHOD_GAUSS_NEWTON))
    return mxs_fail(MXS_ERR_SETTINGS,
                    "replicas: the methods sgd, riemannian_gd and gauss_newton advance one run at "
                    "a time: give no list and replicas: 1, or another method");
  if (many && (settings->line_search || settings->label_noise > 0.0))
    return mxs_fail(MXS_ERR_SETTINGS,
                    "%s: not with replicas: give no list and replicas: 1, or drop it",
                    settings->line_search ? "line_search" : "label_noise");
  return MXS_OK;
}

/* A setting that the method auto decides must have its default. */
static mxs_status check_default(const mxs_settings *settings,
                                const mxs_settings *defaults,
                                const char *key) {
  const int index = mxs_table_find(&mxs_settings_table, key);
  mxs_text given = {0};
  mxs_text preset = {0};
  mxs_status status = mxs_table_format(&mxs_settings_table, settings, index, &given);
  if (status == MXS_OK)
    status = mxs_table_format(&mxs_settings_table, defaults, index, &preset);
  if (status == MXS_OK && strcmp(given.data, preset.data) != 0)
    status = mxs_fail(MXS_ERR_SETTINGS,
                      "%s: %.80s does not go with method: auto, which finds its own way: leave it "
                      "out, or choose another method, such as method: gd",
                      key, given.data);
  mxs_release(&given.data);
  mxs_release(&preset.data);
  return status;
}

/* What the method auto would silently ignore. */
static mxs_status check_auto(const mxs_settings *settings) {
  static const char *const decided[] = {"step", "label_noise", "init", "alpha", "stop"};
  if (mxs_settings_replicas(settings) > 1)
    return mxs_fail(MXS_ERR_SETTINGS,
                    "%s: method: auto is one run at a time: give one value, or choose another "
                    "method, such as method: gd",
                    settings->k.count > 1       ? "k"
                    : settings->seed.count > 1  ? "seed"
                    : settings->alpha.count > 1 ? "alpha"
                    : settings->step.count > 1  ? "step"
                                                : "replicas");
  mxs_settings defaults;
  mxs_status status = mxs_settings_defaults(&defaults);
  for (size_t i = 0; i < sizeof decided / sizeof decided[0] && status == MXS_OK; i++)
    status = check_default(settings, &defaults, decided[i]);
  mxs_settings_clear(&defaults);
  return status;
}

mxs_status mxs_settings_check(const mxs_settings *settings) {
  if (settings->problem == NULL)
    return mxs_fail(
        MXS_ERR_SETTINGS,
        "problem: no problem file given: add --problem FILE, or a line 'problem: FILE' to "
        "the settings file");
  if (settings->svd == MXS_SVD_SCALAPACK && settings->reduction != MXS_REDUCTION_FAST)
    return mxs_fail(MXS_ERR_SETTINGS,
                    "svd: scalapack needs reduction: fast, since its bits depend on the number of "
                    "ranks: set reduction: fast or svd: auto");
  if (settings->quiet != 0 && settings->verbose != 0)
    return mxs_fail(MXS_ERR_SETTINGS, "quiet: cannot be combined with verbose: drop one");
  MXS_TRY(check_method(settings));
  MXS_TRY(check_replicas(settings));
  return settings->method == MXS_METHOD_AUTO ? check_auto(settings) : MXS_OK;
}

mxs_status mxs_settings_echo(const mxs_settings *settings, char **text) {
  *text = NULL;
  mxs_text out = {0};
  const mxs_status status = mxs_table_echo(&mxs_settings_table, settings, &out);
  if (status != MXS_OK) {
    mxs_release(&out.data);
    return status;
  }
  *text = out.data;
  return MXS_OK;
}

/** One "key: value" line of an echo; the parts are not terminated. */
typedef struct echo_line {
  const char *key, *value;
  int key_length, value_length;
} echo_line;

/* The line at `text`; NULL where there is none. */
static const char *read_line(const char *text, echo_line *line) {
  const size_t length = strcspn(text, "\n");
  const char *colon = memchr(text, ':', length);
  if (colon == NULL)
    return NULL;
  *line = (echo_line){text, colon + 1, (int)(colon - text), (int)(text + length - colon) - 1};
  while (line->value_length > 0 && line->value[0] == ' ') {
    line->value++;
    line->value_length--;
  }
  return text[length] == '\n' ? text + length + 1 : text + length;
}

static int find_line(const char *text, const echo_line *wanted, echo_line *found) {
  for (const char *p = read_line(text, found); p != NULL; p = read_line(p, found))
    if (found->key_length == wanted->key_length &&
        memcmp(found->key, wanted->key, (size_t)wanted->key_length) == 0)
      return 1;
  *found = (echo_line){wanted->key, "(not set)", wanted->key_length, (int)strlen("(not set)")};
  return 0;
}

static int may_change(const echo_line *line) {
  char key[64];
  if (snprintf(key, sizeof key, "%.*s", line->key_length, line->key) < 0)
    return 0;
  const int index = mxs_table_find(&mxs_settings_table, key);
  return index >= 0 && (options[index].flags & MXS_OPTION_MAY_CHANGE) != 0;
}

static int is_same(const echo_line *a, const echo_line *b) {
  return a->value_length == b->value_length &&
         memcmp(a->value, b->value, (size_t)b->value_length) == 0;
}

static mxs_status same_value(const echo_line *stored, const echo_line *now) {
  if (is_same(stored, now))
    return MXS_OK;
  return mxs_fail(
      MXS_ERR_SETTINGS,
      "%.*s: the run was started with '%.*s', and now it is '%.*s': set it back to resume, "
      "or start a new run in another directory",
      now->key_length, now->key, stored->value_length, stored->value, now->value_length,
      now->value);
}

int mxs_settings_same(const char *stored, const char *now, const char *key) {
  const echo_line wanted = {.key = key, .key_length = (int)strlen(key)};
  echo_line before = {0};
  echo_line after = {0};
  return find_line(stored, &wanted, &before) && find_line(now, &wanted, &after) &&
         is_same(&before, &after);
}

/* Lines of `now` against those of then. A key that was not there then had the effect of its preset.
 */
static mxs_status compare_lines(const char *stored, const char *presets, const char *now) {
  echo_line line = {0};
  echo_line other = {0};
  for (const char *p = read_line(now, &line); p != NULL; p = read_line(p, &line)) {
    if (!find_line(stored, &line, &other))
      (void)find_line(presets, &line, &other);
    if (!may_change(&line))
      MXS_TRY(same_value(&other, &line));
  }
  for (const char *p = read_line(stored, &line); p != NULL; p = read_line(p, &line))
    if (!find_line(now, &line, &other) && !may_change(&line))
      MXS_TRY(same_value(&line, &other));
  return MXS_OK;
}

mxs_status mxs_settings_compatible(const char *stored, const char *now) {
  mxs_settings presets;
  char *text = NULL;
  mxs_status status = mxs_settings_defaults(&presets);
  if (status == MXS_OK)
    status = mxs_settings_echo(&presets, &text);
  if (status == MXS_OK)
    status = compare_lines(stored, text, now);
  mxs_release(&text);
  mxs_settings_clear(&presets);
  return status;
}
