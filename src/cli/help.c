#include "cli/cli.h"

const char mxs_cli_exit_codes[] =
    "Exit codes:\n"
    "  0   finished, or nothing to do    73  cannot create the output\n"
    "  64  wrong usage                   74  input or output failed\n"
    "  65  bad data                      75  stopped early with a checkpoint: run the same\n"
    "  66  input missing                     line again to go on\n"
    "  69  ranks disagree                76  diverged or not finite\n"
    "  70  internal error, bad memory,   77  permission denied, or directory in use\n"
    "      or no progress                78  bad settings\n";

int mxs_cli_help(const mxs_cli_session *session,
                 const char *before,
                 const mxs_table *table,
                 const char *after) {
  mxs_text options = {0};
  const mxs_status status = mxs_table_help(table, &options);
  if (status == MXS_OK)
    mxs_cli_print(session, "%s\n%s\n%s\n%s", before, options.data != NULL ? options.data : "",
                  after, mxs_cli_exit_codes);
  else
    mxs_cli_error(session, mxs_last_error());
  mxs_release(&options.data);
  return mxs_status_exit_code(status);
}
