/** @file
 *  Shared parts of the program: argument parsing, the session with MPI, messages, help. Room `cli`.
 */
#ifndef MXS_CLI_CLI_H
#define MXS_CLI_CLI_H

#include "comm/comm.h"
#include "conf/table.h"

#include <stdio.h>

/** One process of the program. Errors and results are printed by rank 0 only. */
typedef struct mxs_cli_session {
  int rank;       /**< from the launcher's environment, from MPI once that is up */
  mxs_comm *comm; /**< NULL before mxs_cli_begin() */
} mxs_cli_session;

/** A command of the program: parses, works, prints, and returns the exit code. */
typedef struct mxs_cli_command {
  const char *name, *summary;
  int (*run)(mxs_cli_session *session, int argc, char **argv);
} mxs_cli_command;

int mxs_cli_gen(mxs_cli_session *session, int argc, char **argv);
int mxs_cli_solve(mxs_cli_session *session, int argc, char **argv);
int mxs_cli_check(mxs_cli_session *session, int argc, char **argv);
int mxs_cli_study(mxs_cli_session *session, int argc, char **argv);
int mxs_cli_slurm(mxs_cli_session *session, int argc, char **argv);
int mxs_cli_bench(mxs_cli_session *session, int argc, char **argv);
int mxs_cli_info(mxs_cli_session *session, int argc, char **argv);
int mxs_cli_export(mxs_cli_session *session, int argc, char **argv);

enum { MXS_CLI_VALUES = 256, MXS_CLI_OPERANDS = 512, MXS_CLI_OPTIONS = 64 };

/** A command line taken apart: names are known, values are not looked at yet. */
typedef struct mxs_cli_args {
  int count, operands, help;
  struct {
    int option;
    const char *text;
  } values[MXS_CLI_VALUES];
  const char *operand[MXS_CLI_OPERANDS];
} mxs_cli_args;

/** Take `argv` (its first entry is the command's name) apart. Local. @retval MXS_ERR_USAGE unknown
 *  option with the nearest, missing value, or more than `operands` operands */
MXS_CHECKED mxs_status
mxs_cli_parse(const mxs_table *table, int operands, int argc, char **argv, mxs_cli_args *args);

/** Set the fields that the command line names. Local. @retval MXS_ERR_SETTINGS bad value */
MXS_CHECKED mxs_status mxs_cli_apply(const mxs_table *table,
                                     const mxs_cli_args *args,
                                     void *fields);

/** Was this option given? Local. */
int mxs_cli_given(const mxs_table *table, const mxs_cli_args *args, const char *key);

/** Check that an option was given. Local. @retval MXS_ERR_USAGE it was not; the text shows
 *  `example` */
MXS_CHECKED mxs_status mxs_cli_need(const mxs_table *table,
                                    const mxs_cli_args *args,
                                    const char *key,
                                    const char *example);

/** `first` followed by more options of the command itself, in `storage` of MXS_CLI_OPTIONS entries.
 *  Local. */
mxs_table mxs_cli_join(const mxs_table *first,
                       const mxs_option *more,
                       int count,
                       const char *hint,
                       mxs_option *storage);

/** Print a --help text: `before`, the options of the table, `after`, exit codes. Rank 0. Returns
 *  the exit code. */
int mxs_cli_help(const mxs_cli_session *session,
                 const char *before,
                 const mxs_table *table,
                 const char *after);

/** "Exit codes:" of all commands. */
extern const char mxs_cli_exit_codes[];

/** Rank as the launcher's environment has it, before MPI_Init; 0 without a launcher. Local. */
mxs_cli_session mxs_cli_session_early(void);

/** Start MPI and HDF5; call it once arguments are valid. Signals end a command again that does not
 *  obey them. Collective. */
MXS_CHECKED mxs_status mxs_cli_begin(mxs_cli_session *session, int obeys_signals);

/** Report `status` if it is an error, end MPI if it was started, and return the exit code: that of
 *  the status, else `code`. Collective once MPI was started; then all ranks give the same status
 *  and code. */
int mxs_cli_end(mxs_cli_session *session, mxs_status status, int code);

/** One line "mxsense: error: ..." or "mxsense: warning: ..." on standard error, control characters
 *  made spaces. Rank 0. */
void mxs_cli_error(const mxs_cli_session *session, const char *text);
void mxs_cli_warning(const mxs_cli_session *session, const char *text);

/** Print to standard output on rank 0. */
void mxs_cli_print(const mxs_cli_session *session, const char *format, ...) MXS_PRINTF(2, 3);

/** Read the settings file `path`; released with mxs_release(). Local. @retval as below */
MXS_CHECKED mxs_status mxs_cli_read_text(const char *path, char **text, size_t *length);

/** Read the settings file `path` on rank 0 and give its text to all ranks. Collective.
 *  @retval MXS_ERR_INPUT missing  @retval MXS_ERR_DATA not a text file */
MXS_CHECKED mxs_status mxs_cli_read_file(const mxs_cli_session *session,
                                         const char *path,
                                         char **text,
                                         size_t *length);

/** One BLAS thread per rank, and the kernel that this processor runs fastest: may start the program
 *  anew, once. Local. Returns a warning, or NULL. */
const char *mxs_cli_select_kernel(char **argv);

/** Print --version. Rank 0. Returns the exit code. */
int mxs_cli_version(const mxs_cli_session *session);

#endif
