/** @file
 *  What `mxsense bench` measures, prints and writes, section by section. Room `cli`. */
#ifndef MXS_CLI_BENCH_REPORT_H
#define MXS_CLI_BENCH_REPORT_H

#include "bench/bench.h"
#include "bench/machine.h"
#include "cli/cli.h"

#include <jansson.h>

typedef struct mxs_bench_report {
  const mxs_cli_session *session;
  json_t *json; /**< every section adds its member */
  int quick, threads;
  mxs_machine machine;
  double read_bytes_per_s; /**< of a rank, by mxs_bench_report_read() */
  mxs_bench_io io;         /**< by mxs_bench_report_io() */
} mxs_bench_report;

/** Each prints its part of the table as soon as it is measured. Collective. */
void mxs_bench_report_machine(mxs_bench_report *report);
MXS_CHECKED mxs_status mxs_bench_report_read(mxs_bench_report *report);
MXS_CHECKED mxs_status mxs_bench_report_kernels(mxs_bench_report *report);
MXS_CHECKED mxs_status mxs_bench_report_reductions(mxs_bench_report *report);

/** `shape`: size of the checkpoint; NULL: large enough to tell a rate. */
MXS_CHECKED mxs_status mxs_bench_report_io(mxs_bench_report *report,
                                           const char *dir,
                                           const mxs_bench_shape *shape);
MXS_CHECKED mxs_status mxs_bench_report_model(mxs_bench_report *report,
                                              const mxs_bench_shape *shape);

#endif
