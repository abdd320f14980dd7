/** @file
 *  Effective settings of a command that has them: solve, check and slurm. Room `cli`. */
#ifndef MXS_CLI_SETUP_H
#define MXS_CLI_SETUP_H

#include "cli/cli.h"
#include "conf/settings.h"

/** Defaults and the command line into `fields`, which starts with an mxs_settings: shows bad values
 *  before MPI_Init. Without a settings file the settings must fit together already, unless `open`
 *  says that a problem need not be named. Local.
 *  @retval MXS_ERR_SETTINGS bad value */
MXS_CHECKED mxs_status mxs_cli_precheck(const mxs_table *table,
                                        const mxs_cli_args *args,
                                        int open,
                                        void *fields);

/** Defaults, then the settings file (operand 0, if there is one), then the command line.
 *  Collective. */
MXS_CHECKED mxs_status mxs_cli_settings(const mxs_cli_session *session,
                                        const mxs_table *table,
                                        const mxs_cli_args *args,
                                        void *fields);

/** As mxs_cli_settings(), for one process that reads the file itself, before MPI_Init. Local. */
MXS_CHECKED mxs_status mxs_cli_early_settings(const mxs_table *table,
                                              const mxs_cli_args *args,
                                              void *fields);

/** Compare build, BLAS kernel and command line, as text of what it sets, over the ranks.
 * Collective.
 *  @retval MXS_ERR_MISMATCH they differ */
MXS_CHECKED mxs_status mxs_cli_same_line(const mxs_cli_session *session, const char *line);

/** Compare build, BLAS kernel, settings and directory over the ranks. Collective. @retval
 *  MXS_ERR_MISMATCH they differ */
MXS_CHECKED mxs_status mxs_cli_same(const mxs_cli_session *session,
                                    const mxs_settings *settings,
                                    const char *dir);

#endif
