/** @file
 *  Settings of a solve: one typed table gives parsing, validation, --help and the effective
 *  configuration. Room `conf`. */
#ifndef MXS_CONF_SETTINGS_H
#define MXS_CONF_SETTINGS_H

#include "conf/table.h"
#include "mxsense/problem.h"
#include "mxsense/solve.h"

typedef enum mxs_progress { MXS_PROGRESS_AUTO, MXS_PROGRESS_ON, MXS_PROGRESS_OFF } mxs_progress;

/** Effective settings. Strings are owned by the struct. NaN for alpha and step, 0 for k,
 *  measurements and singular_values mean automatic. The lists k, alpha, seed and step have one
 * value for all replicas, or one for each. */
typedef struct mxs_settings {
  char *problem; /**< absolute path once loaded; NULL: not given */
  int64_t measurements;
  int64_t block_rows; /**< 0: automatic */
  int model;          /**< mxs_model */
  int method;         /**< mxs_method */
  double momentum, lambda, balance, label_noise, perturb, step_decay, step_delay;
  int line_search;
  int64_t batch; /**< 0: all */
  int weights;   /**< mxs_weights */
  int inner;     /**< mxs_inner */
  int progressive;
  double jacobian_memory; /**< GB */
  int stop;               /**< mxs_stop */
  int64_t patience;       /**< 0: automatic */
  double noise_std;       /**< NaN: that of the problem */
  mxs_integers k;
  char *init; /**< "auto", "random", "spectral", "nystrom" or "file:/absolute/path" */
  mxs_reals alpha;
  mxs_integers seed;
  mxs_reals step;
  int64_t replicas; /**< 0: as many as the longest list has values */
  int64_t threads;
  double hold_out; /**< NaN: automatic */
  int64_t max_iterations;
  double tolerance;
  int64_t metrics_every;
  int64_t singular_values;
  mxs_cadence checkpoint_every;
  double checkpoint_share;           /**< of the time of a run, at most, for checkpoints */
  double stall_warning, stall_limit; /**< seconds without a pass; limit NaN: never */
  double max_walltime;               /**< seconds of one start; NaN: what the scheduler leaves */
  int64_t checkpoint_keep;           /**< INT64_MAX: all */
  int storage;                       /**< mxs_storage; auto: as in the file */
  int reduction;                     /**< mxs_reduction */
  int svd;                           /**< mxs_svd_route */
  int progress;                      /**< mxs_progress */
  int quiet, verbose;
} mxs_settings;

/** A problem, or the part of it that a rank has. */
typedef struct mxs_problem_size {
  int64_t n1, n2, m;
  int64_t rows; /**< of the m measurements */
  mxs_ensemble ensemble;
} mxs_problem_size;

/** The table of these settings, for --help and for option parsing. */
extern const mxs_table mxs_settings_table;

/** Every default. Local. */
MXS_CHECKED mxs_status mxs_settings_defaults(mxs_settings *settings);

void mxs_settings_clear(mxs_settings *settings);

/** The largest k, or where it is automatic min(n1, n2) / 4, at least 2. Local. */
int64_t mxs_settings_k(const mxs_settings *settings, int64_t n1, int64_t n2);

/** The fraction to hold out of a problem of m measurements and m_validation held-out ones. Local.
 */
double mxs_settings_hold_out(const mxs_settings *settings, int64_t m, int64_t m_validation);

/** Put numbers in the place of the automatic k, hold_out and replicas. Local. */
void mxs_settings_resolve(
    mxs_settings *settings, int64_t n1, int64_t n2, int64_t m, int64_t m_validation);

/** Trajectories that run together. Local. */
int64_t mxs_settings_replicas(const mxs_settings *settings);

/** Bytes of the Jacobian that `rows` of m measurements keep at `rank`, the largest that the method
 *  may come to; 0 where it keeps none. Local. */
double mxs_settings_jacobian_bytes(const mxs_settings *settings,
                                   const mxs_problem_size *size,
                                   int64_t *rank);

/** Iterations that a prediction should reckon with: of the method auto that of a hard problem.
 *  Local. */
int64_t mxs_settings_iterations(const mxs_settings *settings);

/** What replica `r` differs in. Where no key is a list, the seeds are seed, seed + 1, ... Local. */
mxs_replica mxs_settings_replica(const mxs_settings *settings, int64_t r);

/** The start that `init` names; that of a file, which is given otherwise, counts as automatic.
 *  Local. */
mxs_start mxs_settings_start(const mxs_settings *settings);

/** Merge a settings file's text (YAML mapping) over `settings`. `path` is for messages; relative
 *  paths in the file start at the current directory, as on the command line. Local (root reads the
 *  file, the caller broadcasts its text).
 *  @retval MXS_ERR_SETTINGS names file, line, key, and the nearest valid key or the allowed values
 */
MXS_CHECKED mxs_status mxs_settings_merge_yaml(mxs_settings *settings,
                                               const char *path,
                                               const char *text,
                                               size_t length);

/** Set one key from the command line; hyphens are as good as underscores.
 *  @retval MXS_ERR_USAGE no such key (with the nearest)  @retval MXS_ERR_SETTINGS bad value */
MXS_CHECKED mxs_status mxs_settings_set(mxs_settings *settings, const char *key, const char *value);

/** Effective settings as a YAML document, every key, one "key: value" line each in table order,
 *  numbers in a form that reads back to the same bits; feeding it back repeats the run. `*text` is
 *  released with mxs_release(). Local. */
MXS_CHECKED mxs_status mxs_settings_echo(const mxs_settings *settings, char **text);

/** Check what no single key can tell: a problem is named, and keys fit together. Local.
 *  @retval MXS_ERR_SETTINGS names the keys and the remedy */
MXS_CHECKED mxs_status mxs_settings_check(const mxs_settings *settings);

/** 1 when `key` has the same value in two echoes. Local. */
int mxs_settings_same(const char *stored, const char *now, const char *key);

/** Compare two echoes; a key that `stored` does not know counts as its preset. Ignores the keys
 * that may change on resume (those of the stop and the output, threads, problem). Local.
 *  @retval MXS_ERR_SETTINGS names the first key that differs, with both values and the remedy */
MXS_CHECKED mxs_status mxs_settings_compatible(const char *stored, const char *now);

#endif
