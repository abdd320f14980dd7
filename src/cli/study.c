#include "study/study.h"
#include "cli/probe.h"
#include "cli/script.h"
#include "cli/setup.h"
#include "run/run.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char before[] =
    "Usage: mxsense study STUDY.yaml -o DIR [OPTION...]\n"
    "       mxsense study STUDY.yaml --plan\n"
    "       mxsense study STUDY.yaml --slurm FILE --parts N --time T [--ranks R] -o DIR\n"
    "       mxsense study --collect -o DIR\n"
    "\n"
    "Solves every point of a grid, of problems that it plants and of settings, and writes one\n"
    "table of them all. Started again it does what is missing, whatever ended it before; a list\n"
    "that was made longer adds the new points. A study file, with comments:\n"
    "\n"
    "  title: success over rho and rank # one line\n"
    "  problem:                       # options of mxsense gen; or problem: FILE for all points\n"
    "    n: 24                        # n1 and n2\n"
    "    rank: [1, 2, 3]              # a list is an axis: each value is tried with all others\n"
    "    rho: {from: 1, to: 4, step: 0.5} # as a list; measurements = rho r (n1 + n2 - r)\n"
    "  solve:                         # settings of mxsense solve\n"
    "    method: gd\n"
    "    k: 2r                        # of k only: so many times the rank that is planted\n"
    "    alpha: {from: 1e-1, to: 1e-6, count: 6, scale: log}\n"
    "  repeats: 5                     # repeat j adds j to both seeds; or repeat_over: problem\n"
    "                                 # (other problems, same start), or start (the reverse)\n"
    "\n"
    "Axes go in the order of the file, the last one fastest. More keys:\n"
    "  zip: [[problem.rank, solve.k]] # lists of one length that advance together\n"
    "  ranks: [1, 2, 4]               # ranks of a point; also measurements_per_rank in problem\n"
    "  sizes: {small: {repeats: 2}, full: {problem: {n: 100}}} # keys that take the place of\n"
    "  size: small                    # the file's own; --size NAME wins\n"
    "  pack: off                      # each point in a pass of its own, for timings; auto: up\n"
    "                                 # to 16 that differ in alpha, step, k and seed in one\n";

static const char after[] =
    "Files in DIR: table.csv and table.h5, a row for each point; study.yaml; problems/NAME.h5;\n"
    "runs/NAME, what mxsense solve leaves, with replica_<r> inside for points that shared a\n"
    "pass. Names come of the content: studies in one DIR share the points that both have.\n"
    "\n"
    "Examples:\n"
    "  mxsense study success.yaml --plan\n"
    "  mpirun -n 2 mxsense study success.yaml -o success --ranks 1 --at_once 2\n"
    "  mxsense study success.yaml --size full --slurm job.sbatch --parts 20 --time 2h -o success\n"
    "  mxsense study --collect -o success && column -s, -t success/table.csv | less -S\n"
    "\n"
    "Signals: SIGUSR1, SIGTERM or a file DIR/STOP: the solves that run stop with a checkpoint.\n"
    "With --part all parts obey DIR/STOP, and it stays until you remove it.\n";

typedef struct study_fields {
  char *output, *size, *part, *script;
  int plan, collect, quiet, force;
  int64_t at_once, ranks, parts;
  double time_s;
} study_fields;

#define FIELD(name) .key = #name, .offset = offsetof(study_fields, name)

static const mxs_option options[] = {
    {FIELD(output), .type = MXS_OPTION_PATH, .letter = 'o', .section = "Study",
     .help = "directory of the study: created, or gone on with"},
    {FIELD(size), .type = MXS_OPTION_WORD, .section = "Study",
     .help = "one of the sizes of the file"},
    {FIELD(plan), .type = MXS_OPTION_SWITCH, .preset = "false", .section = "Study",
     .help = "print the points, and the runs that they are solved in, and solve nothing"},
    {FIELD(collect), .type = MXS_OPTION_SWITCH, .preset = "false", .section = "Study",
     .help = "write the table of what is there, and solve nothing"},
    {FIELD(quiet), .type = MXS_OPTION_SWITCH, .preset = "false", .section = "Study",
     .help = "print the last line only"},
    {FIELD(ranks), .type = MXS_OPTION_INTEGER, .preset = "all", .automatic = "all", .low = 1,
     .high = 1000000, .section = "Ranks",
     .help = "ranks of a point where the file does not say; with --slurm: of a task"},
    {FIELD(at_once), .type = MXS_OPTION_INTEGER, .preset = "1", .automatic = "max", .low = 1,
     .high = 1000000, .section = "Ranks",
     .help = "most points that are solved at the same time, each by ranks of its own; max: as "
             "many as there are ranks for"},
    {FIELD(part), .type = MXS_OPTION_WORD, .section = "Parts",
     .help = "I/N: only run I, I + N, I + 2 N, ... of the study, so that N processes or jobs can "
             "share one DIR"},
    {.key = "slurm",
     .offset = offsetof(study_fields, script),
     .type = MXS_OPTION_PATH,
     .section = "Parts",
     .help = "write a script for sbatch to this file, an array with a task for each part, and "
             "solve nothing"},
    {FIELD(parts), .type = MXS_OPTION_INTEGER, .preset = "1", .low = 1, .high = 100000,
     .section = "Parts", .help = "tasks of that array"},
    {.key = "time",
     .offset = offsetof(study_fields, time_s),
     .type = MXS_OPTION_TIME,
     .section = "Parts",
     .help = "time limit of a task; one that needs longer puts itself back into the queue"},
    {FIELD(force), .type = MXS_OPTION_SWITCH, .preset = "false", .section = "Parts",
     .help = "replace the script"},
};

#undef FIELD

static const mxs_table table = {"option", "mxsense study --help", options,
                                (int)(sizeof options / sizeof options[0])};

/* ---- the command line ----------------------------------------------------------------------- */

static mxs_status parse_part(const char *text, mxs_study_options *out) {
  char first[24] = "";
  const char *slash = text == NULL ? NULL : strchr(text, '/');
  out->part = out->parts = 1;
  if (text == NULL)
    return MXS_OK;
  if (slash != NULL && slash - text < (ptrdiff_t)sizeof first) {
    memcpy(first, text, (size_t)(slash - text));
    if (mxs_parse_integer(first, &out->part) == MXS_OK &&
        mxs_parse_integer(slash + 1, &out->parts) == MXS_OK && out->part >= 1 &&
        out->part <= out->parts)
      return MXS_OK;
  }
  return mxs_fail(MXS_ERR_SETTINGS,
                  "--part: '%.80s' is no part: give I/N with 1 <= I <= N, like "
                  "3/10",
                  text);
}

static mxs_status check_mode(const mxs_cli_args *args, const study_fields *fields) {
  const int modes = fields->plan + fields->collect + (fields->script != NULL);
  if (modes > 1)
    return mxs_fail(MXS_ERR_USAGE, "--plan, --collect and --slurm do different things: give one");
  if (args->operands == 0 && !fields->collect)
    return mxs_fail(MXS_ERR_USAGE,
                    "no study file given: mxsense study STUDY.yaml -o DIR; %s shows "
                    "one",
                    table.hint);
  if (!fields->plan)
    MXS_TRY(mxs_cli_need(&table, args, "output", "-o DIR, the directory of the study"));
  if (fields->script != NULL)
    MXS_TRY(mxs_cli_need(&table, args, "time", "--time T, of a task"));
  for (int i = 0; fields->script == NULL && i < 3; i++) {
    static const char *const of_slurm[] = {"parts", "time", "force"};
    if (mxs_cli_given(&table, args, of_slurm[i]))
      return mxs_fail(MXS_ERR_USAGE, "--%s: goes with --slurm FILE: add it, or drop this one",
                      of_slurm[i]);
  }
  if (fields->script != NULL && fields->part != NULL)
    return mxs_fail(MXS_ERR_USAGE, "--part: the tasks of a script have it of their own: give "
                                   "--parts N");
  return MXS_OK;
}

static mxs_status precheck(const mxs_cli_args *args, study_fields *fields) {
  mxs_study_options unused;
  MXS_TRY(mxs_table_defaults(&table, fields));
  MXS_TRY(mxs_cli_apply(&table, args, fields));
  MXS_TRY(parse_part(fields->part, &unused));
  return check_mode(args, fields);
}

/* ---- the file ------------------------------------------------------------------------------- */

/* The study file; of --collect that of DIR, where no other is given. */
static mxs_status study_path(const mxs_cli_args *args, const study_fields *fields, char **path) {
  if (args->operands > 0)
    return mxs_text_format(path, "%s", args->operand[0]);
  MXS_TRY(mxs_text_format(path, "%s/study.yaml", fields->output));
  if (access(*path, F_OK) == 0)
    return MXS_OK;
  const mxs_status status =
      mxs_fail(MXS_ERR_INPUT, "%s: no study here: give the DIR of one, or its file as well", *path);
  mxs_release(path);
  return status;
}

static mxs_status read_study(const mxs_cli_session *session,
                             const mxs_cli_args *args,
                             const study_fields *fields,
                             mxs_study **study) {
  char *path = NULL;
  char *text = NULL;
  size_t length = 0;
  mxs_status status = mxs_comm_agree(session->comm, study_path(args, fields, &path));
  if (status == MXS_OK)
    status = mxs_cli_read_file(session, path, &text, &length);
  if (status == MXS_OK)
    status = mxs_comm_agree(session->comm, mxs_study_read(path, text, length, fields->size, study));
  mxs_release(&text);
  mxs_release(&path);
  return status;
}

/* A problem file that the study names may be hostile. What is wrong with the study itself is told
 * later. */
static mxs_status probe_problem(const mxs_cli_session *session,
                                const mxs_cli_args *args,
                                const study_fields *fields) {
  char *text = NULL;
  size_t length = 0;
  mxs_study *study = NULL;
  mxs_status status = MXS_OK;
  if (session->rank != 0 || args->operands == 0)
    return MXS_OK;
  if (mxs_cli_read_text(args->operand[0], &text, &length) == MXS_OK &&
      mxs_study_read(args->operand[0], text, length, fields->size, &study) == MXS_OK)
    status = mxs_cli_probe(session, mxs_study_tell(study).problem_file);
  mxs_study_destroy(&study);
  mxs_release(&text);
  return status;
}

/* ---- the script ----------------------------------------------------------------------------- */

static mxs_status set_study(mxs_cli_script *script, const char *path) {
  char *whole = realpath(path, NULL);
  const mxs_status status = mxs_cli_script_set_word(script, "study=", whole != NULL ? whole : path);
  free(whole);
  return status;
}

/* What is the same for all tasks of the command line. */
static mxs_status set_options(mxs_cli_script *script, const mxs_cli_args *args) {
  static const char *const keys[] = {"size", "at_once", "quiet"};
  mxs_text words = {0};
  mxs_status status = mxs_text_add(&words, "options=(");
  for (int i = 0; i < args->count && status == MXS_OK; i++)
    for (size_t j = 0; j < sizeof keys / sizeof keys[0] && status == MXS_OK; j++)
      if (strcmp(options[args->values[i].option].key, keys[j]) == 0) {
        status = mxs_text_add(&words, "%s--%s=", words.data[words.length - 1] == '(' ? "" : " ",
                              keys[j]);
        if (status == MXS_OK)
          status = mxs_cli_script_word(&words, args->values[i].text);
      }
  if (status == MXS_OK)
    status = mxs_cli_script_set(script, "options=(", "%s)", words.data);
  mxs_release(&words.data);
  return status;
}

static mxs_status set_resources(mxs_cli_script *script,
                                const study_fields *fields,
                                const mxs_study_facts *facts) {
  const mxs_cli_limit limit = mxs_cli_script_limit(fields->time_s);
  const int64_t wanted = facts->ranks > 0 ? facts->ranks : 1;
  const int64_t ranks = fields->ranks > 0 ? fields->ranks : wanted;
  if (ranks < facts->ranks)
    return mxs_fail(MXS_ERR_SETTINGS, "--ranks: %lld are too few: a point of the study has %lld",
                    (long long)ranks, (long long)facts->ranks);
  MXS_TRY(mxs_cli_script_set(script, "#SBATCH --array=", "#SBATCH --array=1-%lld",
                             (long long)fields->parts));
  MXS_TRY(mxs_cli_script_set(
      script, "#SBATCH --ntasks=", "#SBATCH --ntasks=%lld\n#SBATCH --cpus-per-task=%lld",
      (long long)ranks, (long long)facts->threads));
  MXS_TRY(mxs_cli_script_set_limit(script, &limit, "B:"));
  MXS_TRY(mxs_cli_script_set_threads(script, facts->threads));
  return mxs_cli_script_set(script, "parts=", "parts=%lld", (long long)fields->parts);
}

static mxs_status fill_script(mxs_cli_script *script,
                              const mxs_cli_args *args,
                              const study_fields *fields,
                              const mxs_study_facts *facts) {
  script->name = "study.sbatch";
  MXS_TRY(set_resources(script, fields, facts));
  MXS_TRY(mxs_cli_script_set_program(script));
  MXS_TRY(set_study(script, args->operand[0]));
  MXS_TRY(set_options(script, args));
  return mxs_cli_script_set_word(script, "directory=", fields->output);
}

static mxs_status write_script(const mxs_cli_args *args,
                               const study_fields *fields,
                               const mxs_study_facts *facts) {
  mxs_cli_script script = {.count = 0};
  mxs_status status = fill_script(&script, args, fields, facts);
  if (status == MXS_OK)
    status = mxs_cli_script_write(&script, fields->script, fields->force);
  mxs_cli_script_clear(&script);
  return status;
}

static mxs_status make_script(const mxs_cli_session *session,
                              const mxs_cli_args *args,
                              const study_fields *fields,
                              const mxs_study *study) {
  const mxs_study_facts facts = mxs_study_tell(study);
  if (fields->parts > facts.passes)
    return mxs_fail(MXS_ERR_SETTINGS,
                    "--parts: %lld, and the study has %lld runs: give at most so "
                    "many",
                    (long long)fields->parts, (long long)facts.passes);
  const mxs_status status = session->rank == 0 ? write_script(args, fields, &facts) : MXS_OK;
  MXS_TRY(mxs_comm_agree(session->comm, status));
  mxs_cli_print(session,
                "script      %s: an array of %lld tasks for %lld points in %lld runs\n"
                "submit      sbatch %s\n"
                "table       mxsense study --collect -o %s\n",
                fields->script, (long long)fields->parts, (long long)facts.points,
                (long long)facts.passes, fields->script, fields->output);
  return MXS_OK;
}

/* ---- the command ---------------------------------------------------------------------------- */

static mxs_status print_plan(const mxs_cli_session *session, const mxs_study *study) {
  mxs_text text = {0};
  const mxs_status status = mxs_study_plan(study, &text);
  if (status == MXS_OK)
    mxs_cli_print(session, "%s", text.data);
  mxs_release(&text.data);
  return mxs_comm_agree(session->comm, status);
}

static mxs_status collect(const mxs_cli_session *session,
                          const mxs_study *study,
                          const study_fields *fields,
                          int *code) {
  const mxs_status status =
      session->rank == 0 ? mxs_study_collect(study, fields->output, code) : MXS_OK;
  MXS_TRY(mxs_comm_agree(session->comm, status));
  mxs_comm_bcast(session->comm, code, sizeof *code, 0);
  return MXS_OK;
}

static mxs_status run(const mxs_study *study, const study_fields *fields, int *code) {
  mxs_study_options how = {.dir = fields->output,
                           .ranks = fields->ranks,
                           .at_once = fields->at_once,
                           .quiet = fields->quiet};
  MXS_TRY(parse_part(fields->part, &how));
  return mxs_study_run(MPI_COMM_WORLD, study, &how, code);
}

/* What ranks do together follows from their options. */
static mxs_status same(const mxs_cli_session *session, const study_fields *fields) {
  mxs_text line = {0};
  mxs_status status = mxs_comm_agree(session->comm, mxs_table_echo(&table, fields, &line));
  if (status == MXS_OK)
    status = mxs_cli_same_line(session, line.data);
  mxs_release(&line.data);
  return status;
}

static mxs_status act(const mxs_cli_session *session,
                      const mxs_cli_args *args,
                      const study_fields *fields,
                      int *code) {
  mxs_study *study = NULL;
  MXS_TRY(same(session, fields));
  mxs_status status = read_study(session, args, fields, &study);
  if (status == MXS_OK && fields->plan)
    status = print_plan(session, study);
  else if (status == MXS_OK && fields->script != NULL)
    status = make_script(session, args, fields, study);
  else if (status == MXS_OK && fields->collect)
    status = collect(session, study, fields, code);
  else if (status == MXS_OK)
    status = run(study, fields, code);
  mxs_study_destroy(&study);
  return status;
}

int mxs_cli_study(mxs_cli_session *session, int argc, char **argv) {
  mxs_cli_args args;
  study_fields fields = {.output = NULL};
  int code = 0;
  mxs_status status = mxs_cli_parse(&table, 1, argc, argv, &args);
  if (status == MXS_OK && args.help)
    return mxs_cli_end(session, MXS_OK, mxs_cli_help(session, before, &table, after));
  if (status == MXS_OK)
    status = precheck(&args, &fields);
  const int runs = !fields.plan && !fields.collect && fields.script == NULL;
  if (status == MXS_OK && runs && session->rank == 0)
    mxs_run_find_walltime();
  if (status == MXS_OK && runs)
    status = probe_problem(session, &args, &fields);
  if (status == MXS_OK)
    status = mxs_cli_begin(session, runs);
  if (status == MXS_OK)
    status = act(session, &args, &fields, &code);
  mxs_table_clear(&table, &fields);
  return mxs_cli_end(session, status, code);
}
