#include "bench/json.h"
#include "bench/machine.h"
#include "cli/bench_report.h"
#include "cli/cli.h"
#include "cli/probe.h"
#include "conf/settings.h"
#include "problem/file.h"
#include "problem/problem_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

static const char before[] =
    "Usage: mxsense bench [--quick] [--problem FILE | --n1 N --n2 N --measurements M] [-o FILE]\n"
    "\n"
    "Measures this machine as a solve would use it, all ranks at once: how fast memory is\n"
    "read, how fast each kernel goes, what a reduction and a checkpoint take. With a problem\n"
    "file or a shape it predicts the seconds of an iteration, part by part. Takes a minute\n"
    "or two, with --quick some seconds. Run it with the ranks of the solve.\n";

static const char after[] =
    "The table of kernels, per rank, from the best repeat:\n"
    "  row of       entries of a measurement matrix, n1 n2\n"
    "  us/row       time of both directions, <A_i, X> - y_i and G += w_i A_i, for one row\n"
    "  Gentries/s   entries of A visited per second; fast does not visit them one by one: then\n"
    "               those that it stands for\n"
    "  GB/s         the same in bytes, where A is stored\n"
    "  of limit     time of a plain read of the same rows / time of the kernel: 1 cannot be\n"
    "               beaten by a kernel that reads A. Generated ensembles have no such limit\n"
    "  vs BLAS      time of two dgemv on the same rows, which is how numpy does it, on one\n"
    "               thread / time of the kernel\n"
    "\n"
    "Examples:\n"
    "  mxsense bench --quick\n"
    "  mpirun -n 4 mxsense bench --problem p.h5 --k 10 -o bench.json\n"
    "  mpirun -n 4 mxsense bench --n1 1000 --n2 1000 --measurements 1e5 --ensemble rademacher\n";

typedef struct bench_fields {
  char *problem, *io, *output;
  int64_t n1, n2, k, measurements, threads;
  int ensemble, storage, reduction, quick;
} bench_fields;

static const mxs_choice ensembles[] = {{"dense", MXS_ENSEMBLE_DENSE},
                                       {"gaussian", MXS_ENSEMBLE_GAUSSIAN},
                                       {"rademacher", MXS_ENSEMBLE_RADEMACHER},
                                       {"gaussian8", MXS_ENSEMBLE_GAUSSIAN8},
                                       {"fast", MXS_ENSEMBLE_FAST},
                                       {NULL, 0}};
static const mxs_choice storages[] = {{"auto", MXS_STORAGE_AS_FILE}, {"f64", MXS_STORAGE_F64},
                                      {"f32", MXS_STORAGE_F32},      {"bf16", MXS_STORAGE_BF16},
                                      {"bits", MXS_STORAGE_BITS},    {NULL, 0}};
static const mxs_choice reductions[] = {
    {"reproducible", MXS_REDUCTION_REPRODUCIBLE}, {"fast", MXS_REDUCTION_FAST}, {NULL, 0}};

#define FIELD(name) .key = #name, .offset = offsetof(bench_fields, name)

static const mxs_option options[] = {
    {FIELD(problem), .type = MXS_OPTION_PATH, .section = "Problem",
     .help = "predict for this problem file; A is not read"},
    {FIELD(n1), .type = MXS_OPTION_INTEGER, .preset = "none", .automatic = "none", .low = 1,
     .high = INT32_MAX, .section = "Problem", .help = "or for this shape: rows of X"},
    {FIELD(n2), .type = MXS_OPTION_INTEGER, .preset = "none", .automatic = "none", .low = 1,
     .high = INT32_MAX, .section = "Problem", .help = "columns of X"},
    {FIELD(measurements), .type = MXS_OPTION_INTEGER, .preset = "all", .automatic = "all", .low = 1,
     .high = (double)INFINITY, .section = "Problem", .help = "number of measurements"},
    {FIELD(ensemble), .type = MXS_OPTION_CHOICE, .preset = "dense", .choices = ensembles,
     .section = "Problem", .help = "of the shape; a file has its own"},
    {FIELD(storage), .type = MXS_OPTION_CHOICE, .preset = "auto", .choices = storages,
     .section = "Problem",
     .help = "of a stored A in memory; auto: as in the file, f64 for a shape"},
    {FIELD(k), .type = MXS_OPTION_INTEGER, .preset = "auto", .automatic = "auto", .low = 1,
     .high = INT32_MAX / 16, .section = "Problem",
     .help = "columns of the factors; auto: min(n1, n2) / 4, at least 2"},
    {FIELD(reduction), .type = MXS_OPTION_CHOICE, .preset = "reproducible", .choices = reductions,
     .section = "Problem", .help = "of the prediction; both are measured"},
    {FIELD(threads), .type = MXS_OPTION_INTEGER, .preset = "1", .low = 1, .high = 1024,
     .section = "Bench", .help = "of every rank, for the kernels that take more than one"},
    {FIELD(quick), .type = MXS_OPTION_SWITCH, .preset = "false", .section = "Bench",
     .help = "shorter rows, smaller arrays, fewer repeats: rougher numbers in some seconds"},
    {FIELD(io), .type = MXS_OPTION_PATH, .section = "Bench",
     .help = "write and remove the test checkpoint in this directory; default: the current one"},
    {FIELD(output), .type = MXS_OPTION_PATH, .letter = 'o', .section = "Bench",
     .help = "write the numbers as JSON too; the file must not exist"},
};

#undef FIELD

static const mxs_table table = {"option", "mxsense bench --help", options,
                                (int)(sizeof options / sizeof options[0])};

static mxs_status check_fields(const mxs_cli_args *args, const bench_fields *fields) {
  const int shaped = fields->n1 > 0 || fields->n2 > 0;
  if (fields->problem != NULL && (shaped || mxs_cli_given(&table, args, "ensemble")))
    return mxs_fail(MXS_ERR_USAGE, "--problem has its own n1, n2 and ensemble: leave them out");
  if (shaped && (fields->n1 == 0 || fields->n2 == 0 || fields->measurements == 0))
    return mxs_fail(MXS_ERR_USAGE, "a shape needs all of --n1, --n2 and --measurements");
  if (!shaped && fields->problem == NULL && fields->measurements > 0)
    return mxs_fail(MXS_ERR_USAGE,
                    "--measurements needs a shape, --n1 and --n2, or a --problem FILE");
  return MXS_OK;
}

/* What is predicted for; n1 = 0: nothing. */
static mxs_status find_shape(const bench_fields *fields,
                             const mxs_problem_header *file,
                             mxs_bench_shape *shape) {
  const mxs_settings settings = {.k = {.count = 1, .values = {fields->k}}};
  *shape = (mxs_bench_shape){.n1 = fields->n1,
                             .n2 = fields->n2,
                             .m = fields->measurements,
                             .ensemble = (mxs_ensemble)fields->ensemble,
                             .storage = (mxs_storage)fields->storage,
                             .reduction = (mxs_reduction)fields->reduction,
                             .threads = (int)fields->threads,
                             .metrics_every = 10,
                             .checkpoint_every = {.seconds = 600.0}};
  if (fields->problem != NULL) {
    if (fields->measurements > file->m)
      return mxs_fail(MXS_ERR_SETTINGS,
                      "measurements: %lld, but %s has %lld: give at most that, or all",
                      (long long)fields->measurements, fields->problem, (long long)file->m);
    shape->n1 = file->n1;
    shape->n2 = file->n2;
    shape->m = fields->measurements > 0 ? fields->measurements : file->m;
    shape->m_validation = file->m_validation;
    shape->block_rows = file->block_rows;
    shape->truth_rank = file->truth_rank;
    shape->ensemble = file->ensemble;
    if (shape->storage == MXS_STORAGE_AS_FILE)
      shape->storage = file->storage;
  }
  if (fields->problem == NULL && shape->ensemble == MXS_ENSEMBLE_FAST) {
    const mxs_plant plant = {
        .n1 = shape->n1, .n2 = shape->n2, .measurements = shape->m, .ensemble = shape->ensemble};
    shape->block_rows = mxsi_plant_shape(&plant).block_rows;
  }
  MXS_TRY(mxsi_problem_check_storage(shape->ensemble, shape->storage,
                                     fields->problem != NULL ? fields->problem : "the shape"));
  if (shape->storage == MXS_STORAGE_AS_FILE && shape->ensemble == MXS_ENSEMBLE_DENSE)
    shape->storage = MXS_STORAGE_F64;
  shape->k = mxs_settings_k(&settings, shape->n1, shape->n2);
  return MXS_OK;
}

/* Made before anything is measured: an hour later would be a bad time to hear of it. Rank 0. */
static mxs_status open_output(const char *path, FILE **file) {
  if (path == NULL)
    return MXS_OK;
  const int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (fd >= 0)
    *file = fdopen(fd, "w");
  if (*file != NULL)
    return MXS_OK;
  if (errno == EEXIST)
    return mxs_fail(MXS_ERR_CREATE, "%s: exists already: give another name, or remove it", path);
  return mxs_fail(errno == EACCES || errno == EROFS ? MXS_ERR_PERMISSION : MXS_ERR_CREATE,
                  "%s: cannot create: %s", path, strerror(errno));
}

static mxs_status close_output(const char *path, FILE *file, const json_t *json) {
  if (file == NULL)
    return MXS_OK;
  int good = json != NULL && json_dumpf(json, file, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) == 0 &&
             fputc('\n', file) != EOF;
  good = fclose(file) == 0 && good;
  if (!good) {
    (void)unlink(path);
    return mxs_fail(MXS_ERR_IO, "%s: cannot write", path);
  }
  return MXS_OK;
}

static mxs_status measure(const mxs_cli_session *session,
                          const bench_fields *fields,
                          json_t *json) {
  mxs_bench_shape shape;
  mxs_bench_report report = {
      .session = session, .json = json, .quick = fields->quick, .threads = (int)fields->threads};
  mxs_problem_header file = {.n1 = 0};
  if (fields->problem != NULL)
    MXS_TRY(mxs_problem_peek_all(session->comm, fields->problem, &file));
  MXS_TRY(mxs_comm_agree(session->comm, find_shape(fields, &file, &shape)));
  mxs_machine_find(session->comm, &report.machine);
  mxs_bench_report_machine(&report);
  MXS_TRY(mxs_bench_report_read(&report));
  MXS_TRY(mxs_bench_report_kernels(&report));
  MXS_TRY(mxs_bench_report_reductions(&report));
  MXS_TRY(mxs_bench_report_io(&report, fields->io != NULL ? fields->io : ".",
                              shape.n1 > 0 ? &shape : NULL));
  return shape.n1 > 0 ? mxs_bench_report_model(&report, &shape) : MXS_OK;
}

static mxs_status bench(const mxs_cli_session *session, const bench_fields *fields) {
  FILE *file = NULL;
  mxs_status status = session->rank == 0 ? open_output(fields->output, &file) : MXS_OK;
  MXS_TRY(mxs_comm_agree(session->comm, status));
  json_t *json = json_pack("{s:s, s:i, s:b}", "format", "mxsense-bench", "format_version", 1,
                           "quick", fields->quick);
  status = measure(session, fields, json);
  if (status == MXS_OK) {
    status = close_output(fields->output, file, json);
  } else if (file != NULL) {
    (void)fclose(file); /* it is removed */
    (void)unlink(fields->output);
  }
  json_decref(json);
  return mxs_comm_agree(session->comm, status);
}

int mxs_cli_bench(mxs_cli_session *session, int argc, char **argv) {
  mxs_cli_args args;
  bench_fields fields = {0};
  mxs_status status = mxs_cli_parse(&table, 0, argc, argv, &args);
  if (status == MXS_OK && args.help)
    return mxs_cli_end(session, MXS_OK, mxs_cli_help(session, before, &table, after));
  if (status == MXS_OK)
    status = mxs_table_defaults(&table, &fields);
  if (status == MXS_OK)
    status = mxs_cli_apply(&table, &args, &fields);
  if (status == MXS_OK)
    status = check_fields(&args, &fields);
  if (status == MXS_OK)
    status = mxs_cli_probe(session, fields.problem);
  if (status == MXS_OK)
    status = mxs_cli_begin(session, 0);
  if (status == MXS_OK)
    status = bench(session, &fields);
  mxs_table_clear(&table, &fields);
  return mxs_cli_end(session, status, 0);
}
