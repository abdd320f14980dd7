#include "cli/cli.h"
#include "cli/probe.h"
#include "cli/setup.h"
#include "run/run.h"

static const char before[] =
    "Usage: mxsense solve [SETTINGS.yaml] [--KEY VALUE ...] -o DIR\n"
    "\n"
    "Finds a matrix of low rank, U V^T, from measurements y_i = <A_i, X>: minimises\n"
    "f(U, V) = 1/(2m) sum_i (<A_i, U V^T> - y_i)^2, and tells from measurements that it\n"
    "kept out whether that is X. Checkpoints, metrics and a summary go to DIR. When DIR\n"
    "holds a checkpoint, the same line goes on from there. Every setting is a key of\n"
    "the YAML file and an option; an option wins. DIR/config.yaml repeats the run.\n";

static const char after[] =
    "Examples:\n"
    "  mxsense solve --problem p.h5 -o run1\n"
    "  mpirun -n 16 mxsense solve run.yaml --seed 7 -o run7\n"
    "  mxsense solve run1/config.yaml --max_iterations 20000 -o run1\n"
    "  mpirun -n 2 mxsense solve run.yaml --method gd --alpha 1e-2,1e-3,1e-4 -o sweep\n"
    "  mxsense solve --problem p.h5 --method gd --replicas 20 -o seeds\n"
    "\n"
    "Signals: SIGUSR1 or a file DIR/STOP: write a checkpoint and stop; SIGUSR2: write a\n"
    "checkpoint and go on; SIGTERM: as SIGUSR1, as far as the launcher leaves time.\n"
    "In a Slurm job it stops by itself, with a checkpoint, before the time is up.\n"
    "\n"
    "Files in DIR: checkpoint.h5 (answer: /factors/U, /factors/V), metrics.csv,\n"
    "summary.json, config.yaml, events.jsonl, log.txt. Of many replicas, checkpoint.h5 has\n"
    "the answers in /replica_<r>/factors, and metrics.csv is in DIR/replica_<r>.\n";

typedef struct solve_fields {
  mxs_settings settings; /* first: the settings' own table reads the same fields */
  char *output;
} solve_fields;

static const mxs_option own_options[] = {
    {.key = "output",
     .type = MXS_OPTION_PATH,
     .offset = offsetof(solve_fields, output),
     .flags = MXS_OPTION_REQUIRED,
     .letter = 'o',
     .section = "Run",
     .help = "run directory: created, or resumed"},
};

static mxs_status solve(mxs_cli_session *session,
                        const mxs_table *table,
                        const mxs_cli_args *args,
                        solve_fields *fields,
                        int *code) {
  MXS_TRY(mxs_cli_settings(session, table, args, fields));
  MXS_TRY(mxs_comm_agree(session->comm, mxs_settings_check(&fields->settings)));
  MXS_TRY(mxs_cli_same(session, &fields->settings, fields->output));
  MXS_TRY(mxs_run_solve(MPI_COMM_WORLD, &fields->settings, fields->output, code));
  if (*code == 76)
    mxs_cli_error(
        session,
        "the solve diverged: try a smaller step or alpha; see log.txt in the run directory");
  return MXS_OK;
}

int mxs_cli_solve(mxs_cli_session *session, int argc, char **argv) {
  mxs_option storage[MXS_CLI_OPTIONS];
  const mxs_table table =
      mxs_cli_join(&mxs_settings_table, own_options, 1, "mxsense solve --help", storage);
  mxs_cli_args args;
  solve_fields fields = {0};
  int code = 0;
  mxs_status status = mxs_cli_parse(&table, 1, argc, argv, &args);
  if (status == MXS_OK && args.help)
    return mxs_cli_end(session, MXS_OK, mxs_cli_help(session, before, &table, after));
  if (status == MXS_OK)
    status = mxs_cli_need(&table, &args, "output", "-o DIR, the run directory");
  if (status == MXS_OK)
    status = mxs_cli_precheck(&table, &args, 0, &fields);
  if (status == MXS_OK && session->rank == 0)
    mxs_run_find_walltime();
  if (status == MXS_OK)
    status = mxs_cli_probe(session, fields.output);
  if (status == MXS_OK)
    status = mxs_cli_probe_settings(session, &table, &args, &fields);
  if (status == MXS_OK)
    status = mxs_cli_begin(session, 1);
  if (status == MXS_OK)
    status = solve(session, &table, &args, &fields, &code);
  mxs_table_clear(&table, &fields);
  return mxs_cli_end(session, status, code);
}
