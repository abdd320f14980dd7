#include "cli/bench_report.h"

#include "bench/json.h"

#include <math.h>
#include <stdio.h>

enum {
  LEAST_ARRAY = 64 << 20,
  MOST_ARRAY = 1 << 30,
  QUICK_ARRAY = 64 << 20,
  CACHES = 4, /* an array of so many last-level caches does not fit one */
  GENERATED_ENTRIES = 1 << 28,
  STORED_ENTRIES = 1 << 28, /* more take long to fill and tell nothing new */
  QUICK_SHARE = 4,
  BLOCK = 256,
  LEAST_ROWS = 64 /* of a canonical block: fewer would not pay for a visit to G */
};

/** A row of the table of kernels. */
typedef struct kernel_row {
  const char *name;
  mxs_ensemble ensemble;
  mxs_storage storage;
} kernel_row;

static const kernel_row kernel_rows[] = {
    {"dense f64", MXS_ENSEMBLE_DENSE, MXS_STORAGE_F64},
    {"dense f32", MXS_ENSEMBLE_DENSE, MXS_STORAGE_F32},
    {"dense bf16", MXS_ENSEMBLE_DENSE, MXS_STORAGE_BF16},
    {"dense bits", MXS_ENSEMBLE_DENSE, MXS_STORAGE_BITS},
    {"rademacher", MXS_ENSEMBLE_RADEMACHER, MXS_STORAGE_AS_FILE},
    {"rademacher, stored bits", MXS_ENSEMBLE_RADEMACHER, MXS_STORAGE_BITS},
    {"gaussian8", MXS_ENSEMBLE_GAUSSIAN8, MXS_STORAGE_AS_FILE},
    {"gaussian", MXS_ENSEMBLE_GAUSSIAN, MXS_STORAGE_AS_FILE},
    {"fast", MXS_ENSEMBLE_FAST, MXS_STORAGE_AS_FILE},
};

/* X of so many rows and columns. The last takes long, and is not for --quick. */
static const int64_t orders[] = {100, 256, 1000};
static const int64_t leaf_lengths[] = {1, 10000, 1000000};

enum {
  KERNEL_ROWS = sizeof kernel_rows / sizeof kernel_rows[0],
  ORDERS = sizeof orders / sizeof orders[0],
  LEAF_LENGTHS = sizeof leaf_lengths / sizeof leaf_lengths[0]
};

static double patience(const mxs_bench_report *report) {
  return report->quick ? 0.05 : 0.5;
}

/* Lines come as they are measured, also into a pipe. */
static void show(void) {
  (void)fflush(stdout); /* a failure shows when the session ends */
}

static mxs_status add(json_t *json, const char *name, json_t *value) {
  return json_object_set_new(json, name, value) == 0
             ? MXS_OK
             : mxs_fail(MXS_ERR_MEMORY, "cannot form the text of %s", name);
}

static int64_t array_bytes(const mxs_bench_report *report) {
  const int64_t share = CACHES * report->machine.cache_bytes / report->machine.ranks_per_host;
  const int64_t most = report->quick ? QUICK_ARRAY : MOST_ARRAY;
  const int64_t bytes = share < LEAST_ARRAY ? LEAST_ARRAY : share;
  return bytes < most ? bytes : most;
}

void mxs_bench_report_machine(mxs_bench_report *report) {
  const mxs_machine *machine = &report->machine;
  const mxs_cli_session *s = report->session;
  mxs_cli_print(s, "%d rank%s on %lld host%s, %s, BLAS kernel %s\n", machine->ranks,
                machine->ranks == 1 ? "" : "s", (long long)machine->hosts,
                machine->hosts == 1 ? "" : "s", machine->cpu, machine->blas_kernel);
  (void)json_object_set_new(report->json, "machine", mxs_machine_json(machine));
  (void)json_object_set_new(report->json, "build", mxs_machine_build_json(machine));
  show();
}

mxs_status mxs_bench_report_read(mxs_bench_report *report) {
  const mxs_cli_session *s = report->session;
  const int64_t bytes = array_bytes(report);
  MXS_TRY(mxs_bench_read_scratch(s->comm, bytes, report->threads, patience(report),
                                 &report->read_bytes_per_s));
  mxs_cli_print(s, "\nread bandwidth   %.3g GB/s per rank, %.3g GB/s in total",
                report->read_bytes_per_s * 1e-9,
                report->read_bytes_per_s * (double)s->comm->size * 1e-9);
  mxs_cli_print(s, "   (%.0f MB per rank", (double)bytes * 1e-6);
  if (report->machine.cache_bytes > 0)
    mxs_cli_print(s, ", cache %.0f MB", (double)report->machine.cache_bytes * 1e-6);
  mxs_cli_print(s, ")\n");
  show();
  return add(report->json, "read",
             mxs_bench_read_json(bytes, report->read_bytes_per_s, s->comm->size));
}

/* ---- kernels ------------------------------------------------------------------------------- */

static mxs_bench_case case_of(const mxs_bench_report *report,
                              const kernel_row *row,
                              int64_t order) {
  const int dense = row->ensemble == MXS_ENSEMBLE_DENSE;
  const double share = report->quick ? 1.0 / (double)QUICK_SHARE : 1.0;
  const double fitting = (double)array_bytes(report) / mxs_storage_bytes(row->storage);
  const double stored =
      fitting < (double)STORED_ENTRIES * share ? fitting : (double)STORED_ENTRIES * share;
  const double wanted =
      row->storage != MXS_STORAGE_AS_FILE ? stored : (double)GENERATED_ENTRIES * share;
  const int64_t entries = order * order;
  const int64_t fit = (int64_t)(wanted / (double)entries);
  const int64_t few = fit < LEAST_ROWS ? LEAST_ROWS : fit;
  /* A block of a transform costs the same for one row and for as many as X has entries. */
  const int whole = row->ensemble == MXS_ENSEMBLE_FAST;
  const int64_t rows = whole ? entries * report->threads : few;
  const int64_t even = (rows + report->threads - 1) / report->threads; /* a block for each */
  return (mxs_bench_case){.ensemble = row->ensemble,
                          .storage = row->storage,
                          .n1 = order,
                          .n2 = order,
                          .rows = rows,
                          .block = even < BLOCK || whole ? even : BLOCK,
                          .threads = report->threads,
                          .blas = dense && row->storage == MXS_STORAGE_F64};
}

/* A number of seconds, or of bytes, with its unit, as wide as the others. */
static void print_seconds(const mxs_cli_session *s, double seconds) {
  if (seconds < 1e-3)
    mxs_cli_print(s, " %9.2f us", seconds * 1e6);
  else if (seconds < 1.0)
    mxs_cli_print(s, " %9.2f ms", seconds * 1e3);
  else
    mxs_cli_print(s, " %9.2f s ", seconds);
}

/* Three digits or more, without an exponent. */
static void print_number(const mxs_cli_session *s, int width, double value) {
  if (value > 0.0)
    mxs_cli_print(s, " %*.*f", width, value < 10.0 ? 3 : value < 1000.0 ? 1 : 0, value);
  else
    mxs_cli_print(s, " %*s", width, "-");
}

static void print_kernel(const mxs_cli_session *s,
                         const mxs_bench_case *what,
                         const mxs_bench_kernel *kernel) {
  const int64_t entries = what->n1 * what->n2;
  mxs_cli_print(s, "  %14lld", (long long)entries);
  print_number(s, 10, 1e6 * kernel->pass.best_s / (double)what->rows);
  print_number(s, 12, kernel->entries_per_s * 1e-9);
  print_number(s, 9, kernel->bytes_per_s * 1e-9);
  print_number(s, 9, kernel->fraction_of_read);
  print_number(s, 9, kernel->blas.best_s / kernel->pass.best_s);
  mxs_cli_print(s, "\n");
  show();
}

static mxs_status report_kernel(mxs_bench_report *report, const kernel_row *row, json_t *list) {
  const mxs_cli_session *s = report->session;
  const int count = report->quick ? ORDERS - 1 : ORDERS;
  for (int i = 0; i < count; i++) {
    const mxs_bench_case what = case_of(report, row, orders[i]);
    mxs_bench_kernel kernel;
    MXS_TRY(mxs_bench_measure_kernel(s->comm, &what, patience(report), &kernel));
    if (i == 0)
      mxs_cli_print(s, "%s%s%s\n", row->name, kernel.path[0] != '\0' ? ": " : "", kernel.path);
    print_kernel(s, &what, &kernel);
    if (json_array_append_new(list,
                              mxs_bench_kernel_json(&what, &kernel, report->read_bytes_per_s)) != 0)
      return mxs_fail(MXS_ERR_MEMORY, "cannot form the text of a kernel");
  }
  return MXS_OK;
}

mxs_status mxs_bench_report_kernels(mxs_bench_report *report) {
  json_t *list = json_array();
  MXS_TRY(add(report->json, "kernels", list));
  mxs_cli_print(report->session, "\n%-8s %7s %10s %12s %9s %9s %9s\n", "kernel", "row of", "us/row",
                "Gentries/s", "GB/s", "of limit", "vs BLAS");
  show();
  for (int i = 0; i < KERNEL_ROWS; i++)
    MXS_TRY(report_kernel(report, &kernel_rows[i], list));
  return MXS_OK;
}

/* ---- reductions, checkpoint, prediction ---------------------------------------------------- */

mxs_status mxs_bench_report_reductions(mxs_bench_report *report) {
  static const mxs_reduction modes[] = {MXS_REDUCTION_REPRODUCIBLE, MXS_REDUCTION_FAST};
  const mxs_cli_session *s = report->session;
  json_t *list = json_array();
  MXS_TRY(add(report->json, "reductions", list));
  mxs_cli_print(s, "\nreduction      numbers       volume  add a block    allreduce\n");
  for (int i = 0; i < LEAF_LENGTHS; i++) {
    for (size_t j = 0; j < sizeof modes / sizeof modes[0]; j++) {
      mxs_bench_reduction r;
      MXS_TRY(mxs_bench_measure_reduction(s->comm, modes[j], &leaf_lengths[i], 1,
                                          0.4 * patience(report), &r));
      mxs_cli_print(s, "%-13s %8lld %9.1f kB",
                    modes[j] == MXS_REDUCTION_FAST ? "fast" : "reproducible",
                    (long long)leaf_lengths[i], (double)r.bytes * 1e-3);
      print_seconds(s, r.commit.best_s);
      print_seconds(s, r.finish.best_s);
      mxs_cli_print(s, "\n");
      show();
      (void)json_array_append_new(list, mxs_bench_reduction_json(modes[j], leaf_lengths[i], &r));
    }
  }
  return MXS_OK;
}

mxs_status mxs_bench_report_io(mxs_bench_report *report,
                               const char *dir,
                               const mxs_bench_shape *shape) {
  const mxs_cli_session *s = report->session;
  const mxs_bench_io *io = &report->io;
  const int64_t one = 1;
  MXS_TRY(mxs_bench_measure_io(s->comm, dir, shape != NULL ? shape->n1 : one,
                               shape != NULL ? shape->n2 : one, shape != NULL ? shape->k : one,
                               &report->io));
  mxs_cli_print(s,
                "\ncheckpoint       %.3g MB written and verified in %.3g s (%.3g MB/s), read in "
                "%.3g s\n",
                io->bytes * 1e-6, io->write_s, io->bytes * 1e-6 / io->write_s, io->read_s);
  show();
  return add(report->json, "checkpoint", mxs_bench_io_json(dir, io));
}

static void print_part(const mxs_cli_session *s,
                       const mxs_bench_model *model,
                       const char *name,
                       double seconds,
                       const char *what) {
  mxs_cli_print(s, "  %-12s", name);
  print_seconds(s, seconds);
  mxs_cli_print(s, " %6.1f %%  %s\n", 100.0 * seconds / model->seconds, what);
}

static void print_model(const mxs_cli_session *s,
                        const mxs_bench_shape *shape,
                        const mxs_bench_model *model) {
  char text[128];
  mxs_cli_print(s, "\niteration    about %.3g s: X %lld x %lld, m = %lld, k = %lld, %s%s%s\n",
                model->seconds, (long long)shape->n1, (long long)shape->n2, (long long)shape->m,
                (long long)shape->k, mxs_ensemble_name(shape->ensemble),
                shape->storage != MXS_STORAGE_AS_FILE ? " " : "",
                shape->storage != MXS_STORAGE_AS_FILE ? mxs_storage_name(shape->storage) : "");
  (void)snprintf(text, sizeof text, "%lld measurements of the busiest rank, %.3g G entries/s",
                 (long long)model->busiest.rows,
                 (double)model->busiest.rows * (double)shape->n1 * (double)shape->n2 * 1e-9 /
                     model->kernel_s);
  print_part(s, model, "kernel", model->kernel_s, text);
  (void)snprintf(text, sizeof text, "X = U V^T; G V and G^T U, %lld blocks",
                 (long long)model->busiest.blocks);
  print_part(s, model, "factors", model->factors_s, text);
  print_part(s, model, "add blocks", model->commit_s, "to the sums of the rank");
  (void)snprintf(text, sizeof text, "%.3g kB", (double)model->reduction.bytes * 1e-3);
  print_part(s, model, "allreduce", model->reduce_s, text);
  (void)snprintf(text, sizeof text, "a row every %lld iterations", (long long)shape->metrics_every);
  print_part(s, model, "metrics", model->metrics_s, text);
  print_part(s, model, "checkpoints", model->checkpoint_s, "one every 10 minutes");
}

mxs_status mxs_bench_report_model(mxs_bench_report *report, const mxs_bench_shape *shape) {
  const mxs_cli_session *s = report->session;
  mxs_bench_model model;
  MXS_TRY(mxs_bench_predict(s->comm, shape, &report->io, array_bytes(report), patience(report),
                            &model));
  print_model(s, shape, &model);
  show();
  return add(report->json, "model", mxs_bench_model_json(shape, &model));
}
