/** @file
 *  Verified checkpoints in parallel HDF5: a directory always holds at least one that reads back
 *  with its digests. Room `ckpt`.
 *
 *  Files: DIR/checkpoint.h5, the one before, DIR/checkpoint.prev.h5, and as many older ones as are
 *  kept, DIR/checkpoint.<iteration>.h5 of ten digits or more. Contents: every array under
 *  its own name (factors/U, factors/V, state/...), metrics/<column> or, of many replicas,
 *  replica_<r>/metrics/<column>, config (text), manifest (text:
 *  name, type, shape and digest of each dataset), and root attributes format
 *  = "mxsense-checkpoint", format_version, creator, iteration, finished, reason, blas_kernel,
 *  problem_digest, config_digest, and digest, which seals attributes, config and manifest. Each
 *  dataset has its XXH3-128 as attribute `xxh3_128`. */
#ifndef MXS_CKPT_CKPT_H
#define MXS_CKPT_CKPT_H

#include "comm/comm.h"
#include "mxsense/solve.h"

/** Rows of the metrics so far, growing. */
typedef struct mxs_history {
  const char *const *names; /**< borrowed */
  int64_t columns, rows, capacity;
  double *values; /**< rows x columns */
} mxs_history;

MXS_CHECKED mxs_status mxs_history_append(mxs_history *history, const double *row);
void mxs_history_clear(mxs_history *history);

/** What a checkpoint says of itself. */
typedef struct mxs_ckpt_info {
  int64_t iteration;
  int finished;
  char reason[16];
  char blas_kernel[64]; /**< of the arithmetic so far: another one gives other bits */
  uint64_t problem_digest;
  int64_t replicas; /**< histories of metrics; 0 means one too */
} mxs_ckpt_info;

/** Where checkpoints go. */
typedef struct mxs_ckpt_place {
  const char *dir;
  const char *tag; /**< of temporary files, of this process alone; the same on all ranks */
  int64_t keep;    /**< older ones that stay; INT64_MAX: all; 0: none are made, none removed */
  /** Asked on rank 0 before anything is made and right before every step that publishes: whether
   *  the directory is still ours. NULL: it is. */
  mxs_status (*guard)(void *ctx);
  void *ctx;
} mxs_ckpt_place;

/** Write, verify and publish a checkpoint. Collective: written in row slabs by all ranks to
 *  DIR/checkpoint.tmp.<tag>.h5, closed, read back and compared with digests of the memory, fsync,
 *  current -> previous, temporary -> current, fsync of the directory, older ones than are kept
 *  removed. On failure the temporary file is removed and what was there stays. Arrays are
 *  replicated: the same on all ranks. `histories`: info->replicas of them.
 *
 *  Of the kept ones, the newest is the file of checkpoint.prev.h5 under a second name. Those of
 *  this iteration and later ones, which a run has that went back to an older one, stay until it
 *  gets there again and replaces them.
 *  @retval MXS_ERR_IO the text says which step failed on which rank
 *  @retval MXS_ERR_CORRUPT the ranks do not hold the same; nothing was written
 *  @retval MXS_ERR_PERMISSION the guard failed: nothing but our temporary file was touched */
MXS_CHECKED mxs_status mxs_ckpt_write(const mxs_comm *comm,
                                      const mxs_ckpt_place *place,
                                      const mxs_ckpt_info *info,
                                      const mxs_array *arrays,
                                      int64_t count,
                                      const mxs_history *histories,
                                      const char *config);

/** A checkpoint read into memory, every digest verified. */
typedef struct mxs_ckpt mxs_ckpt;

/** Read the newest good checkpoint of a directory: checkpoint.h5, else checkpoint.prev.h5, else the
 *  newest good one of those that were kept.
 *  Collective: rank 0 reads, all receive. `*out` = NULL with MXS_OK when there is none. `*note`
 *  (released by mxs_release()) says why the newest was passed over, or is NULL.
 *  @retval MXS_ERR_IO there are checkpoints, but none verifies */
MXS_CHECKED mxs_status mxs_ckpt_read_latest(const mxs_comm *comm,
                                            const char *dir,
                                            mxs_ckpt **out,
                                            char **note);

/** Read one checkpoint file. Collective, as above. @retval MXS_ERR_INPUT missing  @retval
 *  MXS_ERR_DATA not a checkpoint, or does not verify */
MXS_CHECKED mxs_status mxs_ckpt_read(const mxs_comm *comm, const char *path, mxs_ckpt **out);

/** Go through what reading a checkpoint will rely on, without its digests, in a process that may
 * crash (mxs_store_survey()); bad attributes and texts are left to who reads it. Local, serial.
 * @retval MXS_ERR_DATA reading it would not be safe, or fails as well */
MXS_CHECKED mxs_status mxs_ckpt_survey(const char *path);

void mxs_ckpt_destroy(mxs_ckpt **ckpt);

/** Iterations of the checkpoints that were kept in a directory, newest first; released with
 *  mxs_release(). Local. */
MXS_CHECKED mxs_status mxs_ckpt_kept(const char *dir, int64_t **iterations, int64_t *count);

/** Path of the kept checkpoint of an iteration; released with mxs_release(). Local. */
MXS_CHECKED mxs_status mxs_ckpt_kept_path(const char *dir, int64_t iteration, char **path);

/** Parts of a checkpoint, owned by it. Local. */
const char *mxs_ckpt_path(const mxs_ckpt *ckpt);
const mxs_ckpt_info *mxs_ckpt_get_info(const mxs_ckpt *ckpt);
const char *mxs_ckpt_config(const mxs_ckpt *ckpt);
int64_t mxs_ckpt_arrays(const mxs_ckpt *ckpt, const mxs_array **arrays);
const mxs_history *mxs_ckpt_history(const mxs_ckpt *ckpt, int64_t replica);

/** The array of doubles of this name. Local. @retval MXS_ERR_DATA there is none */
MXS_CHECKED mxs_status mxs_ckpt_doubles(const mxs_ckpt *ckpt,
                                        const char *name,
                                        const mxs_array **array);

/** Copy the checkpoint's arrays into `arrays` by name. Local. @retval MXS_ERR_DATA one is missing
 *  or has another shape */
MXS_CHECKED mxs_status mxs_ckpt_fill(const mxs_ckpt *ckpt, mxs_array *arrays, int64_t count);

#endif
