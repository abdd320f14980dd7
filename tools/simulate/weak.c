/* Seconds of an iteration of gradient descent, and of its parts, at one number of ranks; a line of
 * JSON on standard output. tools/simulate.py runs this. */
#include "weak.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* What a rank notes at the begin of every iteration. */
typedef struct note {
  double at, reduce_s;
  double cpu_s; /* of the process, whatever else runs here */
} note;

typedef struct notes {
  const weak_case *what;
  mxs_solver *solver;
  note *note; /* of iterations 0 .. iterations + 1 */
} notes;

/* A quantile over the iterations, each for itself. */
typedef struct times {
  double iteration_s; /* of the slowest rank */
  double busy_s;      /* outside of the reduction, of the busiest rank */
  double mean_s;      /* outside of the reduction, mean over the ranks */
  double cpu_s;       /* of the processor, of the busiest rank */
} times;

static double processor_seconds(void) {
  struct timespec now = {0};
  (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static int poll(void *ctx, int64_t iteration) {
  notes *n = ctx;
  n->note[iteration] =
      (note){MPI_Wtime(), mxs_solver_profile(n->solver).reduce_s, processor_seconds()};
  weak_replicated(n->what);
  return 0;
}

static int compare(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double pick(double *values, int64_t count, double quantile) {
  qsort(values, (size_t)count, sizeof *values, compare);
  return values[(int64_t)((double)(count - 1) * quantile)];
}

/* The first and the last iteration have a row of metrics and are left out. */
static mxs_status collect(const notes *n, times *out) {
  const int64_t count = n->what->iterations;
  const double q = n->what->quantile;
  int size = 1;
  double *values = calloc((size_t)count, 4 * sizeof *values);
  if (values == NULL)
    return mxs_fail(MXS_ERR_MEMORY, "no memory for the times of %lld iterations", (long long)count);
  double *iteration = values, *busy = iteration + count, *cpu = busy + count, *mean = cpu + count;
  for (int64_t i = 0; i < count; i++) {
    const note *from = &n->note[i + 1];
    iteration[i] = from[1].at - from[0].at;
    busy[i] = iteration[i] - (from[1].reduce_s - from[0].reduce_s);
    cpu[i] = from[1].cpu_s - from[0].cpu_s;
    mean[i] = busy[i];
  }
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  MPI_Allreduce(MPI_IN_PLACE, values, (int)(3 * count), MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
  MPI_Allreduce(MPI_IN_PLACE, mean, (int)count, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
  *out = (times){pick(iteration, count, q), pick(busy, count, q), pick(mean, count, q) / size,
                 pick(cpu, count, q)};
  free(values);
  return MXS_OK;
}

static void print(const weak_case *what, const mxs_problem *problem, const notes *n, times t) {
  int rank = 0, size = 1;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  if (rank != 0)
    return;
  const mxs_problem_info info = mxs_problem_get_info(problem);
  const mxs_profile profile = mxs_solver_profile(n->solver);
  (void)printf(
      "{\"simulated\": %d, \"ranks\": %d, \"measurements\": %lld, \"blocks\": %lld, "
      "\"block_rows\": %lld, \"iteration_s\": %.17g, \"busy_s\": %.17g, \"mean_s\": %.17g, "
      "\"cpu_s\": %.17g, \"reduce_bytes\": %lld, \"reproducible\": %d}\n",
      weak_simulated, size, (long long)info.m, (long long)info.blocks,
      (long long)info.rows_per_block, t.iteration_s, t.busy_s, t.mean_s, t.cpu_s,
      (long long)profile.reduce_bytes, what->reduction == MXS_REDUCTION_REPRODUCIBLE);
}

static mxs_status run(const weak_case *what) {
  const MPI_Comm comm = what->alone ? MPI_COMM_SELF : MPI_COMM_WORLD;
  mxs_solve_options options = mxs_solve_defaults();
  mxs_problem *problem = NULL;
  mxs_result result = {0};
  times t = {0};
  notes n = {.what = what, .note = calloc((size_t)what->iterations + 2, sizeof(note))};
  const mxs_hooks hooks = {.ctx = &n, .poll = poll};
  options.tolerance = 0.0;
  options.max_iterations = what->iterations + 1;
  options.metrics_every = what->iterations + 1;
  options.reduction = what->reduction;
  options.svd = weak_svd;
  if (n.note == NULL) /* nothing can be agreed on so early */
    MPI_Abort(MPI_COMM_WORLD, 70);
  mxs_status status = weak_problem(comm, what, &problem);
  if (status == MXS_OK)
    status = mxs_solver_create(problem, &options, &n.solver);
  if (status == MXS_OK)
    status = mxs_solver_run(n.solver, &hooks, &result);
  if (status == MXS_OK && result.reason != MXS_REASON_TARGET)
    status = mxs_fail(MXS_ERR_NUMERIC, "ended early: %s", mxs_reason_text(result.reason));
  if (status == MXS_OK)
    status = collect(&n, &t);
  if (status == MXS_OK)
    print(what, problem, &n, t);
  mxs_solver_destroy(&n.solver);
  mxs_problem_destroy(&problem);
  free(n.note);
  return status;
}

/* --name=value */
static const char *option(int argc, char **argv, const char *name) {
  const size_t length = strlen(name);
  for (int i = 1; i < argc; i++)
    if (strncmp(argv[i], name, length) == 0 && argv[i][length] == '=')
      return argv[i] + length + 1;
  return NULL;
}

static double number(int argc, char **argv, const char *name, double otherwise) {
  const char *text = option(argc, argv, name);
  return text != NULL ? strtod(text, NULL) : otherwise;
}

int main(int argc, char **argv) {
  const char *reduction = option(argc, argv, "--reduction");
  int rank = 0;
  const weak_case what = {
      .n = (int64_t)number(argc, argv, "--n", 100),
      .k = (int64_t)number(argc, argv, "--k", 5),
      .measurements = (int64_t)number(argc, argv, "--measurements", 1000),
      .block_rows = (int64_t)number(argc, argv, "--block_rows", 0),
      .iterations = (int64_t)number(argc, argv, "--iterations", 3),
      .reduction = reduction != NULL && strcmp(reduction, "fast") == 0 ? MXS_REDUCTION_FAST
                                                                       : MXS_REDUCTION_REPRODUCIBLE,
      .quantile = number(argc, argv, "--quantile", 0.5),
      .alone = number(argc, argv, "--alone", 0) != 0,
      .entries_per_s = number(argc, argv, "--entries_per_s", 1e9),
      .block_s = number(argc, argv, "--block_s", 0),
      .fixed_s = number(argc, argv, "--fixed_s", 0),
  };
  MPI_Init(&argc, &argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  const mxs_status status = run(&what);
  if (status != MXS_OK && rank == 0)
    (void)fprintf(stderr, "weak: %s: %s\n", mxs_status_text(status), mxs_last_error());
  MPI_Finalize();
  return status != MXS_OK;
}
