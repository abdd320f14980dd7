/** @file
 *  Commands that one rank does alone: info and export. Room `cli`. */
#ifndef MXS_CLI_SINGLE_H
#define MXS_CLI_SINGLE_H

#include "ckpt/ckpt.h"
#include "cli/cli.h"

/** Kinds of paths that these commands take. */
typedef enum mxs_cli_kind { MXS_CLI_PROBLEM, MXS_CLI_CHECKPOINT, MXS_CLI_RUN } mxs_cli_kind;

/** Look at a path. Local. @retval MXS_ERR_INPUT no such file or directory  @retval
 *  MXS_ERR_PERMISSION not readable
 *  @retval MXS_ERR_DATA a file that is not HDF5, or a directory that is not a run */
MXS_CHECKED mxs_status mxs_cli_kind_of(const char *path, mxs_cli_kind *kind);

/** DIR/name, released with mxs_release(). Local. */
MXS_CHECKED mxs_status mxs_cli_join_path(const char *dir, const char *name, char **path);

/** Singular values of U V^T, descending; `*count` = min(n1, n2, k) of them, released with
 *  mxs_release(). By the QR cores of the factors: U V^T is not formed. Local. */
MXS_CHECKED mxs_status mxs_cli_singular_values(mxs_cmat U,
                                               mxs_cmat V,
                                               double **values,
                                               int64_t *count);

/** Run `work` on rank 0, with a communicator of its own. Collective. */
MXS_CHECKED mxs_status mxs_cli_alone(const mxs_cli_session *session,
                                     mxs_status (*work)(const mxs_cli_session *session,
                                                        const mxs_comm *self,
                                                        void *ctx),
                                     void *ctx);

#endif
