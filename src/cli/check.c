#include "cli/plan.h"
#include "cli/probe.h"

#include <math.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

static const char before[] =
    "Usage: mxsense check [SETTINGS.yaml] [--KEY VALUE ...] [-o DIR] [--io DIR]\n"
    "\n"
    "Dry run: takes the same line as solve and tells whether the settings and the shapes in\n"
    "the problem file fit, and what the solve will need: memory per rank, disk, seconds per\n"
    "iteration. Does not read A, solves nothing and, without --io, creates nothing. Run it\n"
    "with the ranks of the solve.\n";

static const char after[] =
    "Examples:\n"
    "  mpirun -n 4 mxsense check --problem p.h5 --k 10\n"
    "  mpirun -n 4 mxsense check run.yaml -o run1 --io .\n"
    "  mpirun -n 4 mxsense check --io /scratch/me\n"
    "\n"
    "The time is measured: the parts of an iteration, on a synthetic sample of the same shape,\n"
    "on all ranks at once, scaled to the whole. The start and checkpoints come on top of it;\n"
    "mxsense bench tells more.\n";

typedef struct check_fields {
  mxs_settings settings; /* first: the settings' own table reads the same fields */
  char *output, *io;
} check_fields;

static const mxs_option own_options[] = {
    {.key = "output",
     .type = MXS_OPTION_PATH,
     .offset = offsetof(check_fields, output),
     .letter = 'o',
     .section = "Check",
     .help = "run directory of the solve: free space there is shown; nothing is created"},
    {.key = "io",
     .type = MXS_OPTION_PATH,
     .offset = offsetof(check_fields, io),
     .section = "Check",
     .help =
         "write, verify and remove a checkpoint of this size in this directory, with all ranks, "
         "and compare with a plain file; works without a problem too"},
};

enum { OWN_COUNT = sizeof own_options / sizeof own_options[0] };

static void print_shapes(const mxs_cli_session *session,
                         const mxs_settings *settings,
                         const mxs_cli_plan *p) {
  const mxs_problem_header *file = &p->file;
  const double sizes = (double)(file->n1 + file->n2);
  const double hold_out = mxs_settings_hold_out(settings, file->m, file->m_validation);
  const double trained = (double)p->shape.m * (1.0 - hold_out);
  const double freedom = (double)p->shape.k * (sizes - (double)p->shape.k);
  mxs_cli_print(session, "settings    fit together\n");
  mxs_cli_print(session, "problem     %s: X is %lld x %lld, m = %lld, %lld held out\n",
                settings->problem, (long long)file->n1, (long long)file->n2, (long long)p->shape.m,
                (long long)file->m_validation);
  mxs_cli_print(session, "factors     k = %lld%s\n", (long long)p->shape.k,
                settings->k.values[0] > 0 ? "" : " (automatic)");
  if (freedom > 0.0)
    mxs_cli_print(session, "freedom     m / (k (n1 + n2 - k)) = %.3g\n", trained / freedom);
  if (file->truth_rank > 0) {
    const double rank = (double)file->truth_rank;
    mxs_cli_print(session,
                  "            m / (r (n1 + n2 - r)) = %.3g, r = %lld the rank of the truth\n",
                  trained / (rank * (sizes - rank)), (long long)file->truth_rank);
  }
  const int64_t blocks = (p->shape.m + p->busiest.block_rows - 1) / p->busiest.block_rows;
  const double even = (double)(p->shape.m + file->m_validation) / (double)session->comm->size;
  mxs_cli_print(session, "blocks      %lld of %lld measurements on %d ranks: balance %.0f %%\n",
                (long long)blocks, (long long)p->busiest.block_rows, session->comm->size,
                100.0 * even / (double)p->busiest.rows);
}

/* Memory that this node can give without swapping, in bytes; 0 where it does not tell. */
static double available_memory(void) {
  FILE *file = fopen("/proc/meminfo", "re");
  if (file == NULL)
    return 0.0;
  char line[256];
  double bytes = 0.0;
  while (fgets(line, sizeof line, file) != NULL) {
    if (strncmp(line, "MemAvailable:", 13) != 0)
      continue;
    char *number = line + 13 + strspn(line + 13, " \t");
    number[strcspn(number, " \t\n")] = '\0';
    int64_t kilobytes = 0;
    if (mxs_parse_integer(number, &kilobytes) == MXS_OK)
      bytes = (double)kilobytes * 1024.0;
  }
  (void)fclose(file); /* only read */
  return bytes;
}

static void print_memory(const mxs_cli_session *session, const mxs_cli_plan *p) {
  MPI_Comm node = MPI_COMM_NULL;
  int ranks = 1;
  MPI_Comm_split_type(session->comm->mpi, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node);
  MPI_Comm_size(node, &ranks);
  MPI_Comm_free(&node);
  const double available = available_memory();
  const double share = available / (double)ranks;
  const double least = mxs_comm_spread(session->comm, share).min;
  mxs_cli_print(session, "memory      about ");
  mxs_cli_print_size(session, p->memory_bytes);
  mxs_cli_print(session, " per rank");
  if (least > 0.0) {
    mxs_cli_print(session, "; available: ");
    mxs_cli_print_size(session, least);
  }
  mxs_cli_print(session, "\n");
  if (p->jacobian_bytes > 0.0) {
    mxs_cli_print(session, "            of it ");
    mxs_cli_print_size(session, p->jacobian_bytes);
    mxs_cli_print(session,
                  " for the Jacobian if the rank comes to %lld: 4 (n1 + n2) r bytes a measurement "
                  "at rank r, over all ranks at most jacobian_memory\n",
                  (long long)p->rank);
  }
  if (least > 0.0 && p->memory_bytes > least)
    mxs_cli_warning(session, "the solve needs more memory than its nodes have: use more nodes, or "
                             "storage: f32 or stream");
}

/* Free space where `path` will be: of its nearest directory that exists. */
static double free_space(const char *path) {
  char parent[4096];
  struct statvfs space;
  if (snprintf(parent, sizeof parent, "%s", path) >= (int)sizeof parent)
    return -1.0;
  while (statvfs(parent, &space) != 0) {
    char *slash = strrchr(parent, '/');
    if (slash == NULL || slash == parent)
      return -1.0;
    *slash = '\0';
  }
  return (double)space.f_bavail * (double)space.f_frsize;
}

/* Two generations and the one being written; rows of the metrics are in each, and in metrics.csv.
 */
static void print_disk(const mxs_cli_session *session,
                       const check_fields *fields,
                       const mxs_cli_plan *p) {
  const double columns = 16.0 + 10.0;
  const double rows =
      (double)mxs_settings_iterations(&fields->settings) / (double)fields->settings.metrics_every +
      1.0;
  const double factors = 8.0 * (double)(p->file.n1 + p->file.n2) * (double)p->shape.k;
  const double checkpoint = factors + 8.0 * rows * columns;
  const double needed = 3.0 * checkpoint + 20.0 * rows * columns;
  mxs_cli_print(session, "disk        at most ");
  mxs_cli_print_size(session, needed);
  mxs_cli_print(session, " in the run directory; a checkpoint is at most ");
  mxs_cli_print_size(session, checkpoint);
  const double space = fields->output == NULL ? -1.0 : free_space(fields->output);
  if (space >= 0.0) {
    mxs_cli_print(session, "; free: ");
    mxs_cli_print_size(session, space);
  }
  mxs_cli_print(session, "\n");
  if (space >= 0.0 && space < needed)
    mxs_cli_warning(session, "the run directory's file system has too little space");
}

static mxs_status print_time(const mxs_cli_session *session, const mxs_cli_plan *p, int automatic) {
  mxs_bench_model model;
  MXS_TRY(mxs_cli_plan_time(session, p, &model));
  const double compute = model.kernel_s + model.factors_s + model.commit_s;
  mxs_cli_print(session,
                "time        about %.3g seconds per iteration: %.3g compute, %.3g allreduce, %.3g "
                "metrics\n",
                model.seconds, compute, model.reduce_s, model.metrics_s);
  if (automatic)
    mxs_cli_print(session,
                  "            of a pass with k columns: the method auto takes 10 to 40 where it "
                  "finds the rank soon, up to some 100 or more where not, and in each reads the "
                  "Jacobian about 10 times\n");
  mxs_cli_print(session, "            measured on a sample of %lld measurements per rank, ",
                (long long)model.sample);
  if (model.kernel.bytes > 0)
    mxs_cli_print(session, "A read at %.3g GB/s per rank, %.2f of the limit\n",
                  model.kernel.bytes_per_s * 1e-9, model.kernel.fraction_of_read);
  else
    mxs_cli_print(session, "%.3g G entries of A generated per second and rank\n",
                  model.kernel.entries_per_s * 1e-9);
  if (p->read_bytes > 0.0) {
    mxs_cli_print(session, "            storage stream: every rank reads ");
    mxs_cli_print_size(session, p->read_bytes);
    mxs_cli_print(session,
                  " of the file per iteration meanwhile; it takes longer where\n"
                  "            the file comes at less than %.3g MB/s per rank\n",
                  p->read_bytes * 1e-6 / compute);
  }
  return MXS_OK;
}

static mxs_status test_io(const mxs_cli_session *session, const char *dir, const mxs_cli_plan *p) {
  mxs_bench_io result = {0};
  MXS_TRY(mxs_bench_measure_io(session->comm, dir, p->file.n1, p->file.n2, p->shape.k, &result));
  mxs_cli_print(session, "io          %s: ", dir);
  mxs_cli_print_size(session, result.bytes);
  mxs_cli_print(session,
                " written and verified in %.3g s (%.3g MB/s), read in %.3g s (%.3g MB/s); "
                "a plain file of the same bytes is written in %.3g s (%.3g MB/s)\n",
                result.write_s, result.bytes * 1e-6 / result.write_s, result.read_s,
                result.bytes * 1e-6 / result.read_s, result.plain_s,
                result.bytes * 1e-6 / result.plain_s);
  return MXS_OK;
}

static mxs_status check_problem(const mxs_cli_session *session,
                                const check_fields *fields,
                                mxs_cli_plan *p) {
  const mxs_settings *settings = &fields->settings;
  MXS_TRY(mxs_cli_plan_make(session, settings, 0, p));
  print_shapes(session, settings, p);
  print_memory(session, p);
  print_disk(session, fields, p);
  return print_time(session, p, settings->method == MXS_METHOD_AUTO);
}

static mxs_status check(mxs_cli_session *session,
                        const mxs_table *table,
                        const mxs_cli_args *args,
                        check_fields *fields) {
  mxs_cli_plan p = {.file = {.n1 = 1, .n2 = 1}, .shape = {.k = 1}};
  MXS_TRY(mxs_cli_settings(session, table, args, fields));
  if (fields->settings.problem != NULL || fields->io == NULL)
    MXS_TRY(check_problem(session, fields, &p));
  return fields->io == NULL ? MXS_OK : test_io(session, fields->io, &p);
}

int mxs_cli_check(mxs_cli_session *session, int argc, char **argv) {
  mxs_option storage[MXS_CLI_OPTIONS];
  const mxs_table table =
      mxs_cli_join(&mxs_settings_table, own_options, OWN_COUNT, "mxsense check --help", storage);
  mxs_cli_args args;
  check_fields fields = {0};
  mxs_status status = mxs_cli_parse(&table, 1, argc, argv, &args);
  if (status == MXS_OK && args.help)
    return mxs_cli_end(session, MXS_OK, mxs_cli_help(session, before, &table, after));
  if (status == MXS_OK)
    status = mxs_cli_precheck(&table, &args, mxs_cli_given(&table, &args, "io"), &fields);
  if (status == MXS_OK)
    status = mxs_cli_probe_settings(session, &table, &args, &fields);
  if (status == MXS_OK)
    status = mxs_cli_begin(session, 0);
  if (status == MXS_OK)
    status = check(session, &table, &args, &fields);
  mxs_table_clear(&table, &fields);
  return mxs_cli_end(session, status, 0);
}
