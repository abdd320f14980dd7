#include "cli/export_file.h"
#include "cli/probe.h"
#include "cli/single.h"
#include "la/la.h"

#include <string.h>
#include <unistd.h>

static const char before[] =
    "Usage: mxsense export DIR_OR_CHECKPOINT [--what WHAT] [--replica R] [--format FORMAT]\n"
    "       -o PATH\n"
    "\n"
    "Writes the answer of a run, from its newest checkpoint that verifies. Factors as npy\n"
    "or csv make two files, PATH_U and PATH_V; in HDF5 the datasets are /U and /V,\n"
    "/singular_values, or /X. An ending (.npy, .csv, .h5) is added where PATH has none.\n"
    "Files that exist are not replaced. Needs no MPI launcher.\n";

static const char after[] =
    "Examples:\n"
    "  mxsense export run1 --what factors --format npy -o answer\n"
    "  mxsense export run1 --what singular_values -o s.csv\n"
    "  mxsense export run1/checkpoint.h5 --what X -o X.h5\n"
    "  mxsense export sweep --replica 3 --what X -o X3.npy\n"
    "\n"
    "Row-major numbers of 64 bits; CSV has no header and reads back to the same bits.\n";

enum { WHAT_FACTORS, WHAT_SINGULAR_VALUES, WHAT_X };

typedef struct export_fields {
  int what;
  int format;      /* mxs_export_format */
  int64_t replica; /* -1: not given */
  char *output;
  const char *source;
} export_fields;

static const mxs_choice whats[] = {
    {"factors", WHAT_FACTORS}, {"singular_values", WHAT_SINGULAR_VALUES}, {"X", WHAT_X}, {NULL, 0}};
static const mxs_choice formats[] = {{"auto", MXS_EXPORT_AUTO},
                                     {"npy", MXS_EXPORT_NPY},
                                     {"csv", MXS_EXPORT_CSV},
                                     {"h5", MXS_EXPORT_H5},
                                     {NULL, 0}};

static const mxs_option options[] = {
    {.key = "what",
     .type = MXS_OPTION_CHOICE,
     .offset = offsetof(export_fields, what),
     .preset = "factors",
     .choices = whats,
     .section = "Options",
     .help = "U and V, the singular values of U V^T, or X = U V^T"},
    {.key = "format",
     .type = MXS_OPTION_CHOICE,
     .offset = offsetof(export_fields, format),
     .preset = "auto",
     .choices = formats,
     .section = "Options",
     .help = "NumPy file, text, or HDF5; auto: by the ending of PATH, else npy"},
    {.key = "replica",
     .type = MXS_OPTION_INTEGER,
     .offset = offsetof(export_fields, replica),
     .high = MXS_LIST_LIMIT - 1,
     .section = "Options",
     .help = "which of the runs that advanced together"},
    {.key = "output",
     .type = MXS_OPTION_PATH,
     .offset = offsetof(export_fields, output),
     .flags = MXS_OPTION_REQUIRED,
     .letter = 'o',
     .section = "Options",
     .help = "file to write, or the common part of two names"},
};

static const mxs_table table = {"option", "mxsense export --help", options,
                                (int)(sizeof options / sizeof options[0])};

static mxs_status read_checkpoint(const mxs_cli_session *session,
                                  const mxs_comm *self,
                                  const char *source,
                                  mxs_ckpt **ckpt) {
  mxs_cli_kind kind;
  MXS_TRY(mxs_cli_kind_of(source, &kind));
  if (kind == MXS_CLI_PROBLEM)
    return mxs_fail(MXS_ERR_DATA, "%s: not a checkpoint or run directory", source);
  if (kind == MXS_CLI_CHECKPOINT)
    return mxs_ckpt_read(self, source, ckpt);
  char *note = NULL;
  MXS_TRY(mxs_ckpt_read_latest(self, source, ckpt, &note));
  if (note != NULL)
    mxs_cli_warning(session, note);
  mxs_release(&note);
  if (*ckpt == NULL)
    return mxs_fail(MXS_ERR_INPUT, "%s: no checkpoint yet", source);
  return MXS_OK;
}

static mxs_cmat view_of(const mxs_array *array) {
  return mxs_cview(array->data, array->rows, array->cols);
}

static mxs_status write_factors(
    mxs_export_format format, const char *path, mxs_cmat U, mxs_cmat V, mxs_text *written) {
  const mxs_export_part parts[] = {{"U", U, 0}, {"V", V, 0}};
  return mxs_export_write(format, path, parts, 2, written);
}

static mxs_status write_values(
    mxs_export_format format, const char *path, mxs_cmat U, mxs_cmat V, mxs_text *written) {
  double *values = NULL;
  int64_t count = 0;
  MXS_TRY(mxs_cli_singular_values(U, V, &values, &count));
  const mxs_export_part part = {"singular_values", mxs_cview(values, count, 1), 1};
  const mxs_status status = mxs_export_write(format, path, &part, 1, written);
  mxs_release(&values);
  return status;
}

static mxs_status write_product(
    mxs_export_format format, const char *path, mxs_cmat U, mxs_cmat V, mxs_text *written) {
  double *x = NULL;
  int64_t entries = 0;
  if (__builtin_mul_overflow(U.rows, V.rows, &entries))
    return mxs_fail(MXS_ERR_MEMORY, "X of %lld x %lld is too large: export the factors",
                    (long long)U.rows, (long long)V.rows);
  MXS_TRY(mxs_alloc(entries, sizeof *x, &x));
  mxs_la_gemm(0, 1, 1.0, U, V, 0.0, mxs_view(x, U.rows, V.rows));
  const mxs_export_part part = {"X", mxs_cview(x, U.rows, V.rows), 0};
  const mxs_status status = mxs_export_write(format, path, &part, 1, written);
  mxs_release(&x);
  return status;
}

enum { NAME_SIZE = 64 };

/* Names of the factors of the wanted replica, or of the only one. */
static mxs_status name_factors(const mxs_ckpt *ckpt,
                               int64_t replica,
                               char U_name[NAME_SIZE],
                               char V_name[NAME_SIZE]) {
  const int64_t count = mxs_ckpt_get_info(ckpt)->replicas;
  char folder[NAME_SIZE / 2] = "";
  if (replica >= count)
    return mxs_fail(MXS_ERR_USAGE, "%s: there is no replica %lld: %lld is the last",
                    mxs_ckpt_path(ckpt), (long long)replica, (long long)count - 1);
  if (replica < 0 && count > 1)
    return mxs_fail(MXS_ERR_USAGE, "%s: has %lld replicas: give --replica 0 .. %lld",
                    mxs_ckpt_path(ckpt), (long long)count, (long long)count - 1);
  if (count > 1)
    (void)snprintf(folder, sizeof folder, "replica_%lld/", (long long)replica);
  (void)snprintf(U_name, NAME_SIZE, "%sfactors/U", folder);
  (void)snprintf(V_name, NAME_SIZE, "%sfactors/V", folder);
  return MXS_OK;
}

static mxs_status write_answer(const mxs_ckpt *ckpt,
                               const export_fields *fields,
                               mxs_text *written) {
  const mxs_array *U = NULL;
  const mxs_array *V = NULL;
  char U_name[NAME_SIZE], V_name[NAME_SIZE];
  MXS_TRY(name_factors(ckpt, fields->replica, U_name, V_name));
  MXS_TRY(mxs_ckpt_doubles(ckpt, U_name, &U));
  MXS_TRY(mxs_ckpt_doubles(ckpt, V_name, &V));
  const mxs_export_format format = (mxs_export_format)fields->format;
  if (U->cols != V->cols)
    return mxs_fail(MXS_ERR_DATA, "%s: /factors/U and /factors/V have different numbers of columns",
                    mxs_ckpt_path(ckpt));
  if (fields->what == WHAT_FACTORS)
    return write_factors(format, fields->output, view_of(U), view_of(V), written);
  if (fields->what == WHAT_X)
    return write_product(format, fields->output, view_of(U), view_of(V), written);
  return write_values(format, fields->output, view_of(U), view_of(V), written);
}

static mxs_status export_answer(const mxs_cli_session *session, const mxs_comm *self, void *ctx) {
  const export_fields *fields = ctx;
  mxs_ckpt *ckpt = NULL;
  mxs_text written = {0};
  mxs_status status = read_checkpoint(session, self, fields->source, &ckpt);
  if (status == MXS_OK)
    status = write_answer(ckpt, fields, &written);
  if (status == MXS_OK)
    mxs_cli_print(session, "wrote %s of iteration %lld to %s\n", whats[fields->what].word,
                  (long long)mxs_ckpt_get_info(ckpt)->iteration, written.data);
  mxs_release(&written.data);
  mxs_ckpt_destroy(&ckpt);
  return status;
}

static mxs_status parse(const mxs_cli_args *args, export_fields *fields) {
  if (args->operands == 0)
    return mxs_fail(MXS_ERR_USAGE, "export needs a run directory or checkpoint; see %s",
                    table.hint);
  MXS_TRY(mxs_cli_need(&table, args, "output", "-o PATH"));
  MXS_TRY(mxs_table_defaults(&table, fields));
  fields->source = args->operand[0];
  fields->replica = -1;
  MXS_TRY(mxs_cli_apply(&table, args, fields));
  return mxs_export_choose(fields->output, &fields->format);
}

int mxs_cli_export(mxs_cli_session *session, int argc, char **argv) {
  mxs_cli_args args;
  export_fields fields = {0};
  mxs_status status = mxs_cli_parse(&table, 1, argc, argv, &args);
  if (status == MXS_OK && args.help)
    return mxs_cli_end(session, MXS_OK, mxs_cli_help(session, before, &table, after));
  if (status == MXS_OK)
    status = parse(&args, &fields);
  if (status == MXS_OK)
    status = mxs_cli_probe(session, fields.source);
  if (status == MXS_OK)
    status = mxs_cli_begin(session, 0);
  if (status == MXS_OK)
    status = mxs_cli_alone(session, export_answer, &fields);
  mxs_table_clear(&table, &fields);
  return mxs_cli_end(session, status, 0);
}
