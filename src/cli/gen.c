#include "cli/cli.h"
#include "comm/blocks.h"
#include "problem/file.h"
#include "problem/problem_impl.h"

#include <math.h>
#include <string.h>
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
  int ensemble, storage;
  int64_t n1, n2, rank, measurements, blocks, seed;
  double condition, noise, hold_out;
  char *output;
} gen_fields;

static const mxs_choice ensembles[] = {
    {"gaussian", MXS_ENSEMBLE_GAUSSIAN},     {"gaussian8", MXS_ENSEMBLE_GAUSSIAN8},
    {"rademacher", MXS_ENSEMBLE_RADEMACHER}, {"fast", MXS_ENSEMBLE_FAST},
    {"dense", MXS_ENSEMBLE_DENSE},           {NULL, 0}};
static const mxs_choice storages[] = {
    {"f64", MXS_STORAGE_F64}, {"f32", MXS_STORAGE_F32}, {"bf16", MXS_STORAGE_BF16}, {NULL, 0}};

#define FIELD(name) .key = #name, .offset = offsetof(gen_fields, name)

static const mxs_option options[] = {
    {FIELD(n1), .type = MXS_OPTION_INTEGER, .low = 1, .high = INT32_MAX,
     .flags = MXS_OPTION_REQUIRED, .section = "Problem", .help = "rows of X*"},
    {FIELD(n2), .type = MXS_OPTION_INTEGER, .low = 1, .high = INT32_MAX,
     .flags = MXS_OPTION_REQUIRED, .section = "Problem", .help = "columns of X*"},
    {FIELD(rank), .type = MXS_OPTION_INTEGER, .low = 1, .high = INT32_MAX,
     .flags = MXS_OPTION_REQUIRED, .section = "Problem", .help = "rank of X*, at most min(n1, n2)"},
    {FIELD(condition), .type = MXS_OPTION_REAL, .preset = "1", .low = 1, .high = INFINITY,
     .section = "Problem", .help = "largest over smallest non-zero singular value of X*"},
    {FIELD(ensemble), .type = MXS_OPTION_CHOICE, .preset = "gaussian", .choices = ensembles,
     .section = "Measurements",
     .help =
         "gaussian: entries of A i.i.d. N(0, 1); gaussian8: of 256 levels; rademacher: +1 or "
         "-1; fast: random rows of a Walsh-Hadamard transform with random signs, in blocks; all "
         "generated when needed; dense: the gaussian entries, stored in the file"},
    {FIELD(blocks), .type = MXS_OPTION_INTEGER, .preset = "auto", .automatic = "auto", .low = 1,
     .high = INFINITY, .section = "Measurements",
     .help = "of --ensemble fast: each costs one transform in each direction and is worked on by "
             "one rank; auto: as few as can be, the fastest"},
    {FIELD(storage), .type = MXS_OPTION_CHOICE, .preset = "f64", .choices = storages,
     .section = "Measurements", .help = "of the A of --ensemble dense"},
    {FIELD(measurements), .type = MXS_OPTION_INTEGER, .low = 1, .high = INFINITY,
     .flags = MXS_OPTION_REQUIRED, .section = "Measurements", .help = "number m of measurements"},
    {FIELD(noise), .type = MXS_OPTION_REAL, .preset = "0", .low = 0, .high = INFINITY,
     .section = "Measurements", .help = "standard deviation of the noise added to y"},
    {FIELD(hold_out), .type = MXS_OPTION_REAL, .preset = "0", .low = 0, .high = 1,
     .flags = MXS_OPTION_BELOW_HIGH, .section = "Measurements",
     .help = "this fraction of m follows as further measurements, to validate on"},
    {FIELD(seed), .type = MXS_OPTION_INTEGER, .preset = "0", .low = 0, .high = INFINITY,
     .section = "Measurements", .help = "of X*, A and the noise"},
    {FIELD(output), .type = MXS_OPTION_PATH, .flags = MXS_OPTION_REQUIRED, .letter = 'o',
     .section = "Output", .help = "problem file to write; must not exist"},
};

#undef FIELD

static const mxs_table table = {"option", "mxsense gen --help", options,
                                (int)(sizeof options / sizeof options[0])};

static mxs_status parse(const mxs_cli_args *args, gen_fields *fields) {
  static const char *const needed[][2] = {{"n1", "--n1 ROWS"},
                                          {"n2", "--n2 COLUMNS"},
                                          {"rank", "--rank R"},
                                          {"measurements", "--measurements M"},
                                          {"output", "-o FILE"}};
  for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++)
    MXS_TRY(mxs_cli_need(&table, args, needed[i][0], needed[i][1]));
  MXS_TRY(mxs_table_defaults(&table, fields));
  MXS_TRY(mxs_cli_apply(&table, args, fields));
  const int64_t smaller = fields->n1 < fields->n2 ? fields->n1 : fields->n2;
  if (fields->rank > smaller)
    return mxs_fail(MXS_ERR_SETTINGS,
                    "--rank: %lld is more than min(n1, n2) = %lld: give a smaller rank",
                    (long long)fields->rank, (long long)smaller);
  if (fields->ensemble != MXS_ENSEMBLE_DENSE && mxs_cli_given(&table, args, "storage"))
    return mxs_fail(MXS_ERR_SETTINGS,
                    "--storage: only --ensemble dense stores A: drop one of the two options");
  if (fields->ensemble != MXS_ENSEMBLE_FAST && fields->blocks != 0)
    return mxs_fail(MXS_ERR_SETTINGS,
                    "--blocks: only --ensemble fast has blocks: drop one of the two options");
  return MXS_OK;
}

static mxs_plant plant_of(const gen_fields *fields) {
  return (mxs_plant){.n1 = fields->n1,
                     .n2 = fields->n2,
                     .rank = fields->rank,
                     .measurements = fields->measurements,
                     .held_out = (int64_t)llround(fields->hold_out * (double)fields->measurements),
                     .condition = fields->condition,
                     .noise = fields->noise,
                     .ensemble = (mxs_ensemble)fields->ensemble,
                     .seed = (uint64_t)fields->seed,
                     .blocks = fields->blocks};
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
  const mxs_plant plant = plant_of(fields);
  MXS_TRY(mxs_problem_gen(MPI_COMM_WORLD, &plant, (mxs_storage)fields->storage, fields->output));
  report(session, fields, &plant);
  return MXS_OK;
}

int mxs_cli_gen(mxs_cli_session *session, int argc, char **argv) {
  mxs_cli_args args;
  gen_fields fields = {0};
  mxs_status status = mxs_cli_parse(&table, 0, argc, argv, &args);
  if (status == MXS_OK && args.help)
    return mxs_cli_end(session, MXS_OK, mxs_cli_help(session, before, &table, after));
  if (status == MXS_OK)
    status = parse(&args, &fields);
  if (status == MXS_OK)
    status = mxs_cli_begin(session, 0);
  if (status == MXS_OK)
    status = generate(session, &fields);
  mxs_table_clear(&table, &fields);
  return mxs_cli_end(session, status, 0);
}
