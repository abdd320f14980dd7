#include "cli/cli.h"
#include "comm/blocks.h"
#include "conf/planting.h"
#include "problem/file.h"
#include "problem/problem_impl.h"

#include <sys/stat.h>

static const char before[] =
    "Usage: mxsense gen --n1 N --n2 N --rank R --measurements M [OPTION...] -o FILE\n"
    "\n"
    "Plants a problem: X* = U* V*^T with orthonormal singular vectors and singular values\n"
    "evenly spaced from 1 to 1/condition, measured by A_i with entries of variance one,\n"
    "y_i = <A_i, X*> + noise. FILE holds y, the truth and, for the ensembles whose A is\n"
    "generated when needed, the recipe of A instead of A. Everything is a function of the\n"
    "options: the same file content at any number of ranks.\n";

static const char after[] =
    "Examples:\n"
    "  mxsense gen --n1 60 --n2 60 --rank 3 --measurements 3000 -o p.h5\n"
    "  mxsense gen --n1 200 --n2 100 --rank 5 --condition 10 --measurements 2e4 --noise 1e-3 \\\n"
    "      --hold_out 0.1 --ensemble rademacher -o noisy.h5\n"
    "  mpirun -n 4 mxsense gen --ensemble dense --storage f32 --n1 60 --n2 60 --rank 3 \\\n"
    "      --measurements 3000 -o stored.h5\n"
    "\n"
    "A rank-r matrix has r (n1 + n2 - r) degrees of freedom; gradient descent from a small\n"
    "start needs some multiple of that many measurements (rho, printed at the end).\n";

typedef struct gen_fields {
  mxs_planting planting; /* first: its own table reads the same fields */
  char *output;
} gen_fields;

static const mxs_option own_options[] = {
    {.key = "output",
     .type = MXS_OPTION_PATH,
     .offset = offsetof(gen_fields, output),
     .flags = MXS_OPTION_REQUIRED,
     .letter = 'o',
     .section = "Output",
     .help = "problem file to write; must not exist"},
};

static mxs_status parse(const mxs_table *table, const mxs_cli_args *args, gen_fields *fields) {
  static const char *const needed[][2] = {{"n1", "--n1 ROWS"},
                                          {"n2", "--n2 COLUMNS"},
                                          {"rank", "--rank R"},
                                          {"measurements", "--measurements M"},
                                          {"output", "-o FILE"}};
  for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++)
    MXS_TRY(mxs_cli_need(table, args, needed[i][0], needed[i][1]));
  MXS_TRY(mxs_table_defaults(table, fields));
  MXS_TRY(mxs_cli_apply(table, args, fields));
  const mxs_status status =
      mxs_planting_check(&fields->planting, mxs_cli_given(table, args, "storage"));
  return status == MXS_OK ? MXS_OK : mxs_fail(status, "--%s", mxs_last_error());
}

static void report(const mxs_cli_session *session,
                   const gen_fields *fields,
                   const mxs_plant *plant) {
  struct stat entry = {0};
  (void)stat(fields->output, &entry); /* written and verified: the size is for information */
  const int64_t own_rows = mxsi_plant_shape(plant).block_rows;
  const int64_t rows = own_rows > 0 ? own_rows : mxs_blocks_rows(plant->measurements, plant->rank);
  const double freedom = (double)plant->rank * (double)(plant->n1 + plant->n2 - plant->rank);
  mxs_cli_print(session, "wrote %s, %.3g MB, verified\n", fields->output,
                (double)entry.st_size * 1e-6);
  mxs_cli_print(session, "  X*            %lld x %lld, rank %lld, condition %g\n",
                (long long)plant->n1, (long long)plant->n2, (long long)plant->rank,
                plant->condition);
  mxs_cli_print(session, "  measurements  m = %lld %s, noise %g; %lld more held out\n",
                (long long)plant->measurements, mxs_ensemble_name(plant->ensemble), plant->noise,
                (long long)plant->held_out);
  mxs_cli_print(session, "  blocks        %lld of %lld measurements",
                (long long)((plant->measurements + rows - 1) / rows), (long long)rows);
  if (own_rows > 0)
    mxs_cli_print(session, "\n");
  else
    mxs_cli_print(session, ", at k = %lld\n", (long long)plant->rank);
  mxs_cli_print(session, "  rho           m / (r (n1 + n2 - r)) = %.3g\n",
                (double)plant->measurements / freedom);
}

static mxs_status generate(const mxs_cli_session *session, const gen_fields *fields) {
  const mxs_plant plant = mxs_planting_recipe(&fields->planting);
  MXS_TRY(mxs_problem_gen(MPI_COMM_WORLD, &plant, (mxs_storage)fields->planting.storage,
                          fields->output));
  report(session, fields, &plant);
  return MXS_OK;
}

int mxs_cli_gen(mxs_cli_session *session, int argc, char **argv) {
  mxs_option storage[MXS_CLI_OPTIONS];
  const mxs_table table =
      mxs_cli_join(&mxs_planting_table, own_options, 1, "mxsense gen --help", storage);
  mxs_cli_args args;
  gen_fields fields = {0};
  mxs_status status = mxs_cli_parse(&table, 0, argc, argv, &args);
  if (status == MXS_OK && args.help)
    return mxs_cli_end(session, MXS_OK, mxs_cli_help(session, before, &table, after));
  if (status == MXS_OK)
    status = parse(&table, &args, &fields);
  if (status == MXS_OK)
    status = mxs_cli_begin(session, 0);
  if (status == MXS_OK)
    status = generate(session, &fields);
  mxs_table_clear(&table, &fields);
  return mxs_cli_end(session, status, 0);
}
