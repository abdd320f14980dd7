#include "cli/cli.h"
#include "run/run.h"

#include <string.h>

static const mxs_cli_command commands[] = {
    {"gen", "plant a problem: a problem file with a known answer", mxs_cli_gen},
    {"solve", "solve a problem, or go on where a run stopped", mxs_cli_solve},
    {"check", "dry run: settings, memory, disk, time per iteration", mxs_cli_check},
    {"study", "a grid of problems and settings, solved into one table", mxs_cli_study},
    {"slurm", "job script: one job, a chain, or an array", mxs_cli_slurm},
    {"bench", "speed of this machine, and of an iteration of a problem on it", mxs_cli_bench},
    {"info", "what a problem file, checkpoint or run directory holds", mxs_cli_info},
    {"export", "factors, singular values or X as .npy, CSV or HDF5", mxs_cli_export},
};

enum { COMMAND_COUNT = sizeof commands / sizeof commands[0] };

static int print_help(const mxs_cli_session *session) {
  mxs_cli_print(session,
                "Usage: mxsense COMMAND [OPTION...]\n"
                "\n"
                "Recovery of a low-rank matrix X from measurements y_i = <A_i, X> + noise, by\n"
                "gradient descent on factors X = U V^T from a small random start, on any number\n"
                "of MPI ranks.\n"
                "\n"
                "Commands:\n");
  for (int i = 0; i < COMMAND_COUNT; i++)
    mxs_cli_print(session, "  %-8s %s\n", commands[i].name, commands[i].summary);
  mxs_cli_print(session,
                "\n"
                "  mxsense COMMAND --help   options and examples of a command\n"
                "  mxsense --version        version, build and libraries\n"
                "\n"
                "Examples:\n"
                "  mxsense gen --n1 60 --n2 60 --rank 3 --measurements 3000 -o p.h5\n"
                "  mpirun -n 4 mxsense solve --problem p.h5 --k 10 -o run1\n"
                "  mxsense info run1\n"
                "  mxsense export run1 --what factors --format npy -o answer\n"
                "\n%s",
                mxs_cli_exit_codes);
  return 0;
}

/* The command names are a table of options too, for the suggestion. */
static mxs_status unknown_command(const char *name) {
  mxs_option options[COMMAND_COUNT] = {{0}};
  for (int i = 0; i < COMMAND_COUNT; i++)
    options[i].key = commands[i].name;
  const mxs_table table = {"command", "mxsense --help", options, COMMAND_COUNT};
  char suggestion[160];
  mxs_table_suggest(&table, name, suggestion, sizeof suggestion);
  return mxs_fail(MXS_ERR_USAGE, "unknown command '%.80s': %s", name, suggestion);
}

static int dispatch(mxs_cli_session *session, int argc, char **argv) {
  if (argc < 2)
    return mxs_cli_end(
        session,
        mxs_fail(MXS_ERR_USAGE,
                 "no command given: gen, solve, check, study, slurm, bench, info or export; see "
                 "mxsense --help"),
        0);
  const char *name = argv[1];
  if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0)
    return mxs_cli_end(session, MXS_OK, print_help(session));
  if (strcmp(name, "--version") == 0)
    return mxs_cli_end(session, MXS_OK, mxs_cli_version(session));
  for (int i = 0; i < COMMAND_COUNT; i++)
    if (strcmp(name, commands[i].name) == 0)
      return commands[i].run(session, argc - 1, argv + 1);
  return mxs_cli_end(session, unknown_command(name), 0);
}

int main(int argc, char **argv) {
  mxs_run_catch_signals();
  const char *warning = mxs_cli_select_kernel(argv);
  mxs_cli_session session = mxs_cli_session_early();
  if (warning != NULL)
    mxs_cli_warning(&session, warning);
  return dispatch(&session, argc, argv);
}
