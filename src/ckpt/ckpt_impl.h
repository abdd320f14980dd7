/** @file
 *  What writing and reading a checkpoint share. Room `ckpt`. */
#ifndef MXS_CKPT_CKPT_IMPL_H
#define MXS_CKPT_CKPT_IMPL_H

#include "ckpt/ckpt.h"
#include "store/store.h"

enum { MXSI_CKPT_FORMAT_VERSION = 1, MXSI_CKPT_NAME = 128, MXSI_CKPT_FOLDER = 40 };

#define MXSI_CKPT_FORMAT "mxsense-checkpoint"

/** A checkpoint in memory. The manifest lists what the file holds, one line per dataset, metrics
 *  last, replica after replica: "name f64|i64 rows cols digest". */
struct mxs_ckpt {
  char *path, *manifest, *config;
  mxs_ckpt_info info;
  mxs_array *arrays;
  int64_t count;
  mxs_history *histories;                 /**< info.replicas of them */
  const char **columns;                   /**< names of the metrics, of all histories */
  char *lines;                            /**< the manifest, cut into the names */
  char (*digests)[MXS_STORE_DIGEST_TEXT]; /**< of the arrays, then of the columns */
};

/** Make a checkpoint with room for what a manifest lists, all zero. Local.
 *  @retval MXS_ERR_DATA the manifest makes no sense */
MXS_CHECKED mxs_status mxsi_ckpt_create(const char *path, const char *manifest, mxs_ckpt **out);

/** Folder of the metrics of a replica of `replicas`: "metrics/" of a single one. Local. */
void mxsi_ckpt_folder(int64_t replicas, int64_t replica, char folder[MXSI_CKPT_FOLDER]);

/** Digest that seals a checkpoint: of its attributes, its configuration and its manifest. Local. */
MXS_CHECKED mxs_status mxsi_ckpt_seal(const mxs_ckpt_info *info,
                                      const char *config,
                                      const char *manifest,
                                      char seal[MXS_STORE_DIGEST_TEXT]);

/** Read one file and verify every digest. Local, serial. `seal` receives the digest above; `newer`
 *  whether the format is beyond this build. @retval as mxs_ckpt_read() */
MXS_CHECKED mxs_status mxsi_ckpt_load(const char *path,
                                      mxs_ckpt **out,
                                      char seal[MXS_STORE_DIGEST_TEXT],
                                      int *newer);

/** Path by which the checkpoint at `path`, which is about to make way, is kept; NULL where it is no
 *  checkpoint. Released with mxs_release(). Local. */
MXS_CHECKED mxs_status mxsi_ckpt_path_to_keep(const char *dir, const char *path, char **kept);

/** Remove those of iterations before `iteration` but the newest `keep`. Local. */
void mxsi_ckpt_prune(const char *dir, int64_t iteration, int64_t keep);

#endif
