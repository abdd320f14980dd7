/** @file
 *  The job scripts of jobs/, part of the program, with some of their lines replaced. Room `cli`. */
#ifndef MXS_CLI_SCRIPT_H
#define MXS_CLI_SCRIPT_H

#include "base/text.h"

/** A file of jobs/ by its name, line for line; the last line is NULL. */
typedef struct mxs_cli_template {
  const char *name;
  const char *const *lines;
} mxs_cli_template;

/** All of them; the last name is NULL. Made from the files when the program is built. */
extern const mxs_cli_template mxs_cli_templates[];

/** What takes the place of the line that starts with `start`: "" takes the line away. */
typedef struct mxs_cli_line {
  const char *start;
  char *text; /**< owned */
} mxs_cli_line;

enum { MXS_CLI_LINES = 12 };

typedef struct mxs_cli_script {
  const char *name; /**< of the template */
  mxs_cli_line lines[MXS_CLI_LINES];
  int count;
} mxs_cli_script;

/** Replace the line that starts with `start`; what comes of it is not ended by a newline. Local. */
MXS_CHECKED mxs_status mxs_cli_script_set(mxs_cli_script *script,
                                          const char *start,
                                          const char *format,
                                          ...) MXS_PRINTF(3, 4);

void mxs_cli_script_clear(mxs_cli_script *script);

/** Append `word` as a word of a shell script that means just that. Local. */
MXS_CHECKED mxs_status mxs_cli_script_word(mxs_text *text, const char *word);

/** Replace the line that starts with `start` by it and `word`, as above. Local. */
MXS_CHECKED mxs_status mxs_cli_script_set_word(mxs_cli_script *script,
                                               const char *start,
                                               const char *word);

/** Let the script start this very program, unless MXSENSE names another. Local. */
MXS_CHECKED mxs_status mxs_cli_script_set_program(mxs_cli_script *script);

/** Time limit of a job: whole minutes, and how many seconds before their end it is told. */
typedef struct mxs_cli_limit {
  int64_t minutes, lead_s;
} mxs_cli_limit;

mxs_cli_limit mxs_cli_script_limit(double seconds);

/** Set --time and --signal; `target`: "" tells the ranks, "B:" the script. Local. */
MXS_CHECKED mxs_status mxs_cli_script_set_limit(mxs_cli_script *script,
                                                const mxs_cli_limit *limit,
                                                const char *target);

/** Let mpirun leave ranks of several threads more than a core each. Local. */
MXS_CHECKED mxs_status mxs_cli_script_set_threads(mxs_cli_script *script, int64_t threads);

/** Write a script that can be run. Local. @retval MXS_ERR_INTERNAL the template has no such line
 *  @retval MXS_ERR_CREATE it exists and `replace` is 0, or cannot be created  @retval MXS_ERR_IO */
MXS_CHECKED mxs_status mxs_cli_script_write(const mxs_cli_script *script,
                                            const char *path,
                                            int replace);

#endif
