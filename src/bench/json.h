/** @file
 *  The numbers of bench.h as JSON, for the file that `mxsense bench -o` writes. Room `bench`. All
 *  Local; NULL when memory is short. Seconds, bytes and rates without prefixes; rates per rank. */
#ifndef MXS_BENCH_JSON_H
#define MXS_BENCH_JSON_H

#include "bench/bench.h"

#include <jansson.h>

json_t *mxs_bench_read_json(int64_t bytes, double bytes_per_s, int ranks);
json_t *mxs_bench_kernel_json(const mxs_bench_case *what,
                              const mxs_bench_kernel *kernel,
                              double read_bytes_per_s);
json_t *mxs_bench_reduction_json(mxs_reduction mode,
                                 int64_t length,
                                 const mxs_bench_reduction *reduction);
json_t *mxs_bench_io_json(const char *dir, const mxs_bench_io *io);
json_t *mxs_bench_model_json(const mxs_bench_shape *shape, const mxs_bench_model *model);

#endif
