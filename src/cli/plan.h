/** @file
 *  What a solve will need, by its settings and the shapes in the problem file: for check and slurm.
 *  Room `cli`. */
#ifndef MXS_CLI_PLAN_H
#define MXS_CLI_PLAN_H

#include "bench/bench.h"
#include "cli/setup.h"
#include "problem/file.h"

/** What the settings and the shapes come to on the ranks of the solve. */
typedef struct mxs_cli_plan {
  mxs_problem_header file;
  mxs_bench_shape shape;
  mxs_bench_shard busiest;
  double memory_bytes;   /**< of the busiest rank */
  double jacobian_bytes; /**< of them the Jacobian's, of factors of `rank` columns; 0: none */
  int64_t rank;
  double read_bytes; /**< of A, that the busiest rank reads from the file at every pass; 0: none */
} mxs_cli_plan;

/** Check the settings and the problem file's header, and plan for `ranks` ranks (0: those of the
 *  session). Does not read A. Collective.
 *  @retval MXS_ERR_SETTINGS they do not fit together  @retval MXS_ERR_INPUT no problem file */
MXS_CHECKED mxs_status mxs_cli_plan_make(const mxs_cli_session *session,
                                         const mxs_settings *settings,
                                         int ranks,
                                         mxs_cli_plan *plan);

/** Measure on this machine, for a second or so, and predict the seconds of an iteration.
 * Collective.
 */
MXS_CHECKED mxs_status mxs_cli_plan_time(const mxs_cli_session *session,
                                         const mxs_cli_plan *plan,
                                         mxs_bench_model *model);

/** Print a number of bytes in MB or GB. Rank 0. */
void mxs_cli_print_size(const mxs_cli_session *session, double bytes);

#endif
