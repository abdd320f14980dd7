#include "bench/json.h"

#include <math.h>

/* JSON has no NaN and no infinity. */
static json_t *number(double value) {
  return isfinite(value) ? json_real(value) : json_null();
}

static json_t *time_object(const mxs_bench_time *time) {
  if (time->repeats == 0)
    return json_null();
  return json_pack("{s:f, s:f, s:I}", "best", time->best_s, "median", time->median_s, "repeats",
                   (json_int_t)time->repeats);
}

json_t *mxs_bench_read_json(int64_t bytes, double bytes_per_s, int ranks) {
  return json_pack("{s:I, s:o, s:o}", "bytes", (json_int_t)bytes, "bytes_per_s",
                   number(bytes_per_s), "total_bytes_per_s", number(bytes_per_s * (double)ranks));
}

json_t *mxs_bench_kernel_json(const mxs_bench_case *what,
                              const mxs_bench_kernel *kernel,
                              double read_bytes_per_s) {
  const int stored = kernel->bytes > 0;
  const json_int_t entries = what->n1 * what->n2;
  const int has_storage = what->storage != MXS_STORAGE_AS_FILE;
  return json_pack("{s:s, s:s?, s:s, s:i, s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}",
                   "ensemble", mxs_ensemble_name(what->ensemble), "storage",
                   has_storage ? mxs_storage_name(what->storage) : NULL, "path", kernel->path,
                   "threads", kernel->threads, "entries", entries, "rows", (json_int_t)what->rows,
                   "bytes", (json_int_t)kernel->bytes, "pass_s", time_object(&kernel->pass),
                   "read_s", time_object(&kernel->read), "blas_s", time_object(&kernel->blas),
                   "generate_s", number(kernel->generate_s), "entries_per_s",
                   number(kernel->entries_per_s), "bytes_per_s",
                   stored ? number(kernel->bytes_per_s) : json_null(), "fraction_of_read",
                   stored ? number(kernel->fraction_of_read) : json_null(), "fraction_of_limit",
                   stored ? number(kernel->bytes_per_s / read_bytes_per_s) : json_null());
}

json_t *mxs_bench_reduction_json(mxs_reduction mode,
                                 int64_t length,
                                 const mxs_bench_reduction *reduction) {
  return json_pack("{s:s, s:I, s:I, s:o, s:o}", "mode",
                   mode == MXS_REDUCTION_FAST ? "fast" : "reproducible", "length",
                   (json_int_t)length, "bytes", (json_int_t)reduction->bytes, "commit_s",
                   time_object(&reduction->commit), "allreduce_s", time_object(&reduction->finish));
}

json_t *mxs_bench_io_json(const char *dir, const mxs_bench_io *io) {
  return json_pack("{s:s, s:f, s:f, s:f}", "directory", dir, "bytes", io->bytes, "write_s",
                   io->write_s, "read_s", io->read_s);
}

static json_t *shape_object(const mxs_bench_shape *shape) {
  const int has_storage = shape->storage != MXS_STORAGE_AS_FILE;
  return json_pack("{s:I, s:I, s:I, s:I, s:I, s:s, s:s?, s:s, s:i, s:I}", "n1",
                   (json_int_t)shape->n1, "n2", (json_int_t)shape->n2, "k", (json_int_t)shape->k,
                   "measurements", (json_int_t)shape->m, "held_out",
                   (json_int_t)shape->m_validation, "ensemble", mxs_ensemble_name(shape->ensemble),
                   "storage", has_storage ? mxs_storage_name(shape->storage) : NULL, "reduction",
                   shape->reduction == MXS_REDUCTION_FAST ? "fast" : "reproducible", "threads",
                   shape->threads, "metrics_every", (json_int_t)shape->metrics_every);
}

json_t *mxs_bench_model_json(const mxs_bench_shape *shape, const mxs_bench_model *model) {
  json_t *parts = json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "kernel", number(model->kernel_s),
                            "factors", number(model->factors_s), "commit", number(model->commit_s),
                            "allreduce", number(model->reduce_s), "metrics",
                            number(model->metrics_s), "checkpoint", number(model->checkpoint_s));
  return json_pack("{s:o, s:I, s:I, s:I, s:s, s:o, s:o, s:o}", "problem", shape_object(shape),
                   "rows", (json_int_t)model->busiest.rows, "blocks",
                   (json_int_t)model->busiest.blocks, "sample", (json_int_t)model->sample, "path",
                   model->kernel.path, "entries_per_s", number(model->kernel.entries_per_s),
                   "parts", parts, "seconds_per_iteration", number(model->seconds));
}
