#include "conf/build.h"
#include "run/run_impl.h"

#include <math.h>
#include <string.h>

static const char *ensemble_text(mxs_ensemble ensemble) {
  static const char *const names[] = {"dense", "gaussian", "rademacher", "user"};
  return names[ensemble];
}

static void bytes_text(double bytes, char text[32]) {
  static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
  size_t unit = 0;
  for (; bytes >= 999.5 && unit < 4; unit++)
    bytes /= 1000;
  (void)snprintf(text, 32, "%.3g %s", bytes, units[unit]);
}

static void number_text(double value, const char *automatic, char text[32]) {
  if (isnan(value))
    (void)snprintf(text, 32, "%s", automatic);
  else
    (void)snprintf(text, 32, "%.6g", value);
}

static void say(mxsi_run *run, const char *label, const char *text) {
  mxsi_log_line(&run->log, MXSI_BOTH, "  %-11s%s", label, text);
}

static void report_problem(mxsi_run *run) {
  const mxs_problem_info *info = &run->info;
  char line[512], held_out[64] = "", truth[64] = "";
  mxsi_log_line(&run->log, MXSI_BOTH, "  %-11s%s", "problem", run->settings.problem);
  if (info->m_validation > 0)
    (void)snprintf(held_out, sizeof held_out, " + %lld held out", (long long)info->m_validation);
  if (info->truth_rank > 0)
    (void)snprintf(truth, sizeof truth, ", truth of rank %lld", (long long)info->truth_rank);
  (void)snprintf(line, sizeof line, "%lld x %lld, m = %lld%s, %s%s%s", (long long)info->n1,
                 (long long)info->n2, (long long)info->m, held_out, ensemble_text(info->ensemble),
                 info->ensemble != MXS_ENSEMBLE_DENSE
                     ? ""
                     : (info->storage == MXS_STORAGE_F32 ? " (f32)" : " (f64)"),
                 truth);
  say(run, "", line);
}

static void report_method(mxsi_run *run) {
  const mxs_settings *settings = &run->settings;
  char line[512], alpha[32], step[32];
  number_text(settings->alpha, "auto", alpha);
  number_text(settings->step, "auto", step);
  if (strncmp(settings->init, "file:", 5) == 0)
    (void)snprintf(line, sizeof line, "k = %lld%s, start from %s", (long long)settings->k,
                   run->k_given ? "" : " (auto)", settings->init + 5);
  else
    (void)snprintf(line, sizeof line, "k = %lld%s, random start, alpha %s, seed %lld",
                   (long long)settings->k, run->k_given ? "" : " (auto)", alpha,
                   (long long)settings->seed);
  say(run, "factors", line);
  (void)snprintf(line, sizeof line,
                 "gradient descent, step %s, at most %lld iterations, tolerance %g", step,
                 (long long)settings->max_iterations, settings->tolerance);
  say(run, "method", line);
}

void mxsi_report_begin(mxsi_run *run, double memory_bytes) {
  char line[512], memory[32];
  if (run->settings.quiet)
    return;
  report_problem(run);
  report_method(run);
  (void)snprintf(line, sizeof line, "%s, %lld blocks of %lld measurements",
                 run->settings.reduction == MXS_REDUCTION_FAST ? "fast" : "reproducible",
                 (long long)run->info.blocks, (long long)run->info.rows_per_block);
  say(run, "reduction", line);
  bytes_text(memory_bytes, memory);
  (void)snprintf(line, sizeof line, "%s per rank", memory);
  say(run, "memory", line);
  (void)snprintf(line, sizeof line, "%s, BLAS kernel %s", run->machine.cpu,
                 run->machine.blas_kernel);
  say(run, "machine", line);
  if (run->settings.verbose) {
    const mxs_build build = mxs_build_get();
    (void)snprintf(line, sizeof line, "%s, %s, HDF5 %s", build.compiler, run->machine.mpi,
                   run->machine.hdf5);
    say(run, "build", line);
    say(run, "BLAS", run->machine.blas);
  }
  say(run, "directory", run->path);
  if (run->saved_iteration >= 0)
    mxsi_log_line(&run->log, MXSI_BOTH, "  %-11sfrom iteration %lld", "resumed",
                  (long long)run->saved_iteration);
}

static void report_share(mxsi_run *run, const char *what, mxs_spread seconds, double wall) {
  mxsi_log_line(&run->log, MXSI_BOTH, "  %-11s%10.3f  %10.3f  %10.3f  %5.1f %%", what, seconds.min,
                seconds.mean, seconds.max, wall > 0 ? 100 * seconds.mean / wall : 0);
}

static void report_timings(mxsi_run *run, const mxs_result *result, const mxsi_timings *timings) {
  char bytes[32];
  mxsi_log_line(&run->log, MXSI_BOTH, "%s", "");
  mxsi_log_line(&run->log, MXSI_BOTH, "  %-11s%10s  %10s  %10s  %7s", "seconds", "min", "mean",
                "max", "share");
  report_share(run, "load", timings->load, timings->wall);
  report_share(run, "compute", timings->compute, timings->wall);
  report_share(run, "reduce", timings->reduce, timings->wall);
  report_share(run, "metrics", timings->metrics, timings->wall);
  report_share(run, "checkpoint", timings->checkpoint, timings->wall);
  bytes_text((double)result->reduce_bytes, bytes);
  mxsi_log_line(&run->log, MXSI_BOTH, "  %.6g passes over A, %s reduced per iteration",
                result->passes_over_A, bytes);
  mxsi_log_line(&run->log, MXSI_BOTH, "  step %.6g, alpha %.6g, s1 %.6g, scale %.6g", result->step,
                result->alpha, result->s1, sqrt(result->scale2));
}

/* The last line, also the only one of a quiet run. */
void mxsi_report_end(mxsi_run *run, const mxs_result *result, const mxsi_timings *timings) {
  char elapsed[32], test[64] = "", how[64];
  if (!run->settings.quiet)
    report_timings(run, result, timings);
  if (!isnan(result->test_error))
    (void)snprintf(test, sizeof test, ", test error %.3e", result->test_error);
  mxsi_duration_text(result->seconds, elapsed);
  switch (result->reason) {
  case MXS_REASON_TARGET:
    (void)snprintf(how, sizeof how, "target reached");
    break;
  case MXS_REASON_TOLERANCE:
    (void)snprintf(how, sizeof how, "tolerance reached");
    break;
  case MXS_REASON_DIVERGED:
    (void)snprintf(how, sizeof how, "diverged, try a smaller step:");
    break;
  case MXS_REASON_STOPPED:
  case MXS_REASON_RUNNING:
    (void)snprintf(how, sizeof how, "stopped, the same command goes on:");
    break;
  }
  mxsi_log_line(&run->log, MXSI_BOTH,
                "%s %s %lld iterations in %s: loss %.3e, residual %.3e%s, rank %lld", how,
                result->reason > 0 ? "after" : "at", (long long)result->iterations, elapsed,
                result->loss, result->relative_residual, test, (long long)result->rank_estimate);
}
