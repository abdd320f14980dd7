#include "cli/plan.h"
#include "cli/probe.h"
#include "cli/script.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char before[] =
    "Usage: mxsense slurm [SETTINGS.yaml] [--KEY VALUE ...] --nodes N --time T -o FILE\n"
    "\n"
    "Writes a job script for sbatch: takes the same line as solve, and how much of the cluster\n"
    "to ask for. Memory and time come from the model of mxsense check. The script is\n"
    "  - one job, where all iterations fit into the time\n"
    "  - a chain, where they do not, or with --chain: before its time is up the job writes a\n"
    "    checkpoint and puts itself back into the queue, until the solve is finished\n"
    "  - an array, with --array LIST: a text file with options of solve on each line, and a\n"
    "    run directory for each, DIRECTORY/1, DIRECTORY/2, ...\n"
    "Solves nothing and submits nothing. Needs no MPI launcher.\n";

static const char after[] =
    "Examples:\n"
    "  mxsense slurm run.yaml --nodes 2 --time 4h -o job.sbatch && sbatch job.sbatch\n"
    "  mxsense slurm --problem p.h5 --k 10 --nodes 1 --tasks_per_node 16 --threads 4 --time\n"
    "      12:00:00 --chain -o job.sbatch\n"
    "  mxsense slurm run.yaml --array settings.txt --nodes 1 --time 30min -o sweep.sbatch\n"
    "\n"
    "The seconds of an iteration are measured on this machine, with the ranks of this command,\n"
    "as if it was a node of the cluster: on a login node take them for a hint. The scripts are\n"
    "those of jobs/ with some lines replaced, and are meant to be read and edited; options of\n"
    "sbatch (--partition, --account, ...) go on its command line or into the script.\n";

enum { LAUNCHER_MPIRUN, LAUNCHER_SRUN, MINUTE = 60, MOST_LIST_OPTIONS = 128 };

static const double rank_overhead_bytes = 2e8; /* program, MPI and HDF5, with their buffers */
static const double memory_reserve = 1.2, time_reserve = 1.1;

typedef struct slurm_fields {
  mxs_settings settings; /* first: the settings' own table reads the same fields */
  int64_t nodes, tasks;  /* tasks 0: automatic */
  double time_s;
  int launcher, chain, force;
  char *array, *directory, *output;
} slurm_fields;

static const mxs_choice launchers[] = {
    {"mpirun", LAUNCHER_MPIRUN}, {"srun", LAUNCHER_SRUN}, {NULL, 0}};

#define FIELD(name) .key = #name, .offset = offsetof(slurm_fields, name), .section = "Job"

static const mxs_option own_options[] = {
    {FIELD(nodes), .type = MXS_OPTION_INTEGER, .low = 1, .high = 100000,
     .flags = MXS_OPTION_REQUIRED, .help = "nodes of the job"},
    {.key = "tasks_per_node",
     .offset = offsetof(slurm_fields, tasks),
     .section = "Job",
     .type = MXS_OPTION_INTEGER,
     .preset = "auto",
     .automatic = "auto",
     .low = 1,
     .high = 4096,
     .help = "ranks on each node; auto: the processors of this machine, divided by --threads"},
    {.key = "time",
     .offset = offsetof(slurm_fields, time_s),
     .section = "Job",
     .type = MXS_OPTION_TIME,
     .flags = MXS_OPTION_REQUIRED,
     .help = "time limit of the job, rounded up to minutes; what takes longer becomes a chain"},
    {FIELD(launcher), .type = MXS_OPTION_CHOICE, .preset = "mpirun", .choices = launchers,
     .help = "what starts the ranks; srun where Slurm has the plugin pmix"},
    {FIELD(chain), .type = MXS_OPTION_SWITCH, .preset = "false",
     .help = "a chain even where one job should do"},
    {FIELD(array), .type = MXS_OPTION_PATH,
     .help = "an array: a text file with options of solve on each line"},
    {FIELD(directory), .type = MXS_OPTION_PATH,
     .help = "run directory, of an array that of the run directories (default: FILE without its "
             "ending, and -run)"},
    {FIELD(output), .type = MXS_OPTION_PATH, .letter = 'o', .flags = MXS_OPTION_REQUIRED,
     .help = "script to write"},
    {FIELD(force), .type = MXS_OPTION_SWITCH, .preset = "false", .help = "replace it"},
};

#undef FIELD

enum { OWN_COUNT = sizeof own_options / sizeof own_options[0] };

typedef enum job_kind { KIND_SINGLE, KIND_CHAIN, KIND_ARRAY } job_kind;

/** The job as it will be asked for. */
typedef struct request {
  job_kind kind;
  int64_t tasks; /* of a node */
  int64_t memory_mb;
  mxs_cli_limit limit;
  double iteration_s, total_s;
  int64_t array_tasks;
} request;

/* ---- what to ask for ------------------------------------------------------------------------ */

static int64_t tasks_per_node(const slurm_fields *fields) {
  const long processors = sysconf(_SC_NPROCESSORS_ONLN);
  const int64_t fitting = (int64_t)processors / fields->settings.threads;
  if (fields->tasks > 0)
    return fields->tasks;
  return fitting > 1 ? fitting : 1;
}

static mxs_status plan_job(const mxs_cli_session *session,
                           const slurm_fields *fields,
                           request *out) {
  mxs_cli_plan plan = {.memory_bytes = 0.0};
  mxs_bench_model model;
  out->tasks = tasks_per_node(fields);
  if (out->tasks * fields->nodes > INT32_MAX)
    return mxs_fail(MXS_ERR_SETTINGS, "nodes: %lld of %lld ranks are too many",
                    (long long)fields->nodes, (long long)out->tasks);
  MXS_TRY(mxs_cli_plan_make(session, &fields->settings, (int)(out->tasks * fields->nodes), &plan));
  MXS_TRY(mxs_cli_plan_time(session, &plan, &model));
  const double rank_bytes = memory_reserve * plan.memory_bytes + rank_overhead_bytes;
  out->memory_mb = (int64_t)ceil((double)out->tasks * rank_bytes / (double)(1 << 20));
  out->limit = mxs_cli_script_limit(fields->time_s);
  out->iteration_s = model.seconds;
  out->total_s = model.seconds * (double)mxs_settings_iterations(&fields->settings);
  const int fits = time_reserve * out->total_s + (double)out->limit.lead_s <=
                   (double)(out->limit.minutes * MINUTE);
  if (fields->array != NULL)
    out->kind = KIND_ARRAY;
  else
    out->kind = fields->chain || !fits ? KIND_CHAIN : KIND_SINGLE;
  return MXS_OK;
}

/* ---- the list of an array ------------------------------------------------------------------- */

/* Options of solve in a line, which is cut into words. */
static mxs_status check_options(char *line) {
  char *words[MOST_LIST_OPTIONS] = {NULL};
  int count = 1;
  char *state = NULL;
  for (char *word = strtok_r(line, " \t\r", &state); word != NULL;
       word = strtok_r(NULL, " \t\r", &state)) {
    if (count == MOST_LIST_OPTIONS)
      return mxs_fail(MXS_ERR_USAGE, "more than %d words: use a settings file", count - 1);
    words[count++] = word;
  }
  mxs_cli_args args;
  mxs_settings settings;
  MXS_TRY(mxs_cli_parse(&mxs_settings_table, 0, count, words, &args));
  mxs_status status = mxs_settings_defaults(&settings);
  if (status == MXS_OK)
    status = mxs_cli_apply(&mxs_settings_table, &args, &settings);
  mxs_settings_clear(&settings);
  return status;
}

/* Blank lines and those that start with # do not count, as in the script. */
static mxs_status count_list(const char *path, char *text, int64_t *tasks) {
  int64_t number = 0;
  char *next = text;
  while (next != NULL && *next != '\0') {
    char *line = next;
    char *end = strchr(line, '\n');
    next = end != NULL ? end + 1 : NULL;
    if (end != NULL)
      *end = '\0';
    number++;
    line += strspn(line, " \t\r");
    if (*line == '\0' || *line == '#')
      continue;
    (*tasks)++;
    const mxs_status status = check_options(line);
    if (status != MXS_OK) {
      char why[512];
      (void)snprintf(why, sizeof why, "%s", mxs_last_error());
      return mxs_fail(status, "%s:%lld: %s", path, (long long)number, why);
    }
  }
  if (*tasks == 0)
    return mxs_fail(MXS_ERR_DATA, "%s: no options: give some on each line, like --seed 1", path);
  return MXS_OK;
}

static mxs_status read_list(const mxs_cli_session *session, const char *path, int64_t *tasks) {
  char *text = NULL;
  char *copy = NULL;
  size_t length = 0;
  MXS_TRY(mxs_cli_read_file(session, path, &text, &length));
  mxs_status status = mxs_text_format(&copy, "%.*s", (int)length, text);
  if (status == MXS_OK)
    status = count_list(path, copy, tasks);
  mxs_release(&copy);
  mxs_release(&text);
  return mxs_comm_agree(session->comm, status);
}

/* ---- the script ----------------------------------------------------------------------------- */

static mxs_status add_setting(const mxs_table *table,
                              const slurm_fields *fields,
                              int option,
                              mxs_text *words) {
  mxs_text value = {0};
  mxs_status status = mxs_table_format(table, fields, option, &value);
  if (status == MXS_OK && value.data != NULL) {
    status = mxs_text_add(words, "%s--%s ", words->data[words->length - 1] == '(' ? "" : " ",
                          table->options[option].key);
    if (status == MXS_OK)
      status = mxs_cli_script_word(words, value.data);
  }
  mxs_release(&value.data);
  return status;
}

/* The settings file, what the command line sets, and the problem, with absolute paths. */
static mxs_status set_settings(mxs_cli_script *script,
                               const mxs_table *table,
                               const mxs_cli_args *args,
                               const slurm_fields *fields) {
  mxs_text words = {0};
  mxs_status status = mxs_text_add(&words, "settings=(");
  if (status == MXS_OK && args->operands > 0) {
    char *path = realpath(args->operand[0], NULL);
    status = mxs_cli_script_word(&words, path != NULL ? path : args->operand[0]);
    free(path);
  }
  for (int option = 0; option < mxs_settings_table.count && status == MXS_OK; option++) {
    const char *key = table->options[option].key;
    if (mxs_cli_given(table, args, key) || strcmp(key, "problem") == 0)
      status = add_setting(table, fields, option, &words);
  }
  if (status == MXS_OK)
    status = mxs_cli_script_set(script, "settings=(", "%s)", words.data);
  mxs_release(&words.data);
  return status;
}

static mxs_status set_resources(mxs_cli_script *script,
                                const slurm_fields *fields,
                                const request *job) {
  const int to_ranks = job->kind == KIND_SINGLE && fields->launcher == LAUNCHER_SRUN;
  MXS_TRY(mxs_cli_script_set(
      script, "#SBATCH --ntasks=",
      "#SBATCH --nodes=%lld\n#SBATCH --ntasks-per-node=%lld\n#SBATCH --cpus-per-task=%lld",
      (long long)fields->nodes, (long long)job->tasks, (long long)fields->settings.threads));
  MXS_TRY(mxs_cli_script_set(script, "##SBATCH --mem=", "#SBATCH --mem=%lldM",
                             (long long)job->memory_mb));
  return mxs_cli_script_set_limit(script, &job->limit, to_ranks ? "" : "B:");
}

/* The text for a launcher that is not the template's own. */
static mxs_status set_launcher(mxs_cli_script *script,
                               const slurm_fields *fields,
                               const request *job) {
  if (fields->launcher == LAUNCHER_SRUN && job->kind != KIND_SINGLE)
    return mxs_cli_script_set(script, "launch=", "launch=(srun --mpi=pmix --wait=60)");
  return fields->launcher == LAUNCHER_MPIRUN
             ? mxs_cli_script_set_threads(script, fields->settings.threads)
             : MXS_OK;
}

static mxs_status set_directory(mxs_cli_script *script,
                                const slurm_fields *fields,
                                const request *job) {
  const char *start = job->kind == KIND_ARRAY ? "parent=" : "directory=";
  if (fields->directory != NULL)
    return mxs_cli_script_set_word(script, start, fields->directory);
  static const char ending[] = ".sbatch";
  const size_t length = strlen(fields->output);
  const size_t tail = sizeof ending - 1;
  const int ends = length > tail && strcmp(fields->output + length - tail, ending) == 0;
  char *path = NULL;
  MXS_TRY(mxs_text_format(&path, "%.*s-run", (int)(ends ? length - tail : length), fields->output));
  const mxs_status status = mxs_cli_script_set_word(script, start, path);
  mxs_release(&path);
  return status;
}

static mxs_status fill_script(mxs_cli_script *script,
                              const mxs_table *table,
                              const mxs_cli_args *args,
                              const slurm_fields *fields,
                              const request *job) {
  static const char *const names[][2] = {[KIND_SINGLE] = {"solve.sbatch", "solve_srun.sbatch"},
                                         [KIND_CHAIN] = {"chain.sbatch", "chain.sbatch"},
                                         [KIND_ARRAY] = {"array.sbatch", "array.sbatch"}};
  script->name = names[job->kind][fields->launcher == LAUNCHER_SRUN];
  MXS_TRY(set_resources(script, fields, job));
  MXS_TRY(mxs_cli_script_set_program(script));
  MXS_TRY(set_settings(script, table, args, fields));
  MXS_TRY(set_launcher(script, fields, job));
  MXS_TRY(set_directory(script, fields, job));
  if (job->kind != KIND_ARRAY)
    return MXS_OK;
  MXS_TRY(mxs_cli_script_set_word(script, "list=", fields->array));
  return mxs_cli_script_set(script, "#SBATCH --array=", "#SBATCH --array=1-%lld",
                            (long long)job->array_tasks);
}

static mxs_status write_script(const mxs_table *table,
                               const mxs_cli_args *args,
                               const slurm_fields *fields,
                               const request *job) {
  mxs_cli_script script = {.count = 0};
  mxs_status status = fill_script(&script, table, args, fields, job);
  if (status == MXS_OK)
    status = mxs_cli_script_write(&script, fields->output, fields->force);
  mxs_cli_script_clear(&script);
  return status;
}

/* ---- the command ---------------------------------------------------------------------------- */

static void print_span(const mxs_cli_session *session, double seconds) {
  if (seconds < 120.0)
    mxs_cli_print(session, "%.3g s", seconds);
  else if (seconds < 7200.0)
    mxs_cli_print(session, "%.3g min", seconds / 60.0);
  else
    mxs_cli_print(session, "%.3g h", seconds / 3600.0);
}

static void report(const mxs_cli_session *session, const slurm_fields *fields, const request *job) {
  static const char *const texts[] = {"one job", "a chain of jobs", "an array"};
  mxs_cli_print(session, "script      %s: %s", fields->output, texts[job->kind]);
  if (job->kind == KIND_ARRAY)
    mxs_cli_print(session, " of %lld tasks", (long long)job->array_tasks);
  mxs_cli_print(session, ", nodes %lld, ranks per node %lld, ", (long long)fields->nodes,
                (long long)job->tasks);
  print_span(session, (double)(job->limit.minutes * MINUTE));
  mxs_cli_print(session, "\nmemory      ");
  mxs_cli_print_size(session, (double)job->memory_mb * (double)(1 << 20));
  mxs_cli_print(session, " per node\ntime        about ");
  print_span(session, job->iteration_s);
  mxs_cli_print(session, " per iteration on a machine like this one, ");
  print_span(session, job->total_s);
  mxs_cli_print(session, " for all %lld, where the tolerance does not end it before\n",
                (long long)mxs_settings_iterations(&fields->settings));
  mxs_cli_print(session, "submit      sbatch %s\n", fields->output);
  if (job->kind == KIND_ARRAY &&
      job->total_s * time_reserve > (double)(job->limit.minutes * MINUTE))
    mxs_cli_warning(session, "a task may need more than its time: submit the array again then, and "
                             "unfinished tasks go on");
}

static mxs_status slurm(mxs_cli_session *session,
                        const mxs_table *table,
                        const mxs_cli_args *args,
                        slurm_fields *fields) {
  request job = {.array_tasks = 0};
  MXS_TRY(mxs_cli_settings(session, table, args, fields));
  if (fields->array != NULL)
    MXS_TRY(read_list(session, fields->array, &job.array_tasks));
  MXS_TRY(plan_job(session, fields, &job));
  mxs_status status = session->comm->rank == 0 ? write_script(table, args, fields, &job) : MXS_OK;
  MXS_TRY(mxs_comm_agree(session->comm, status));
  report(session, fields, &job);
  return MXS_OK;
}

/* What can be told before MPI_Init, and before anything is measured. */
static mxs_status precheck(const mxs_table *table, const mxs_cli_args *args, slurm_fields *fields) {
  struct stat entry;
  MXS_TRY(mxs_cli_need(table, args, "nodes", "--nodes N"));
  MXS_TRY(mxs_cli_need(table, args, "time", "--time T"));
  MXS_TRY(mxs_cli_need(table, args, "output", "-o FILE"));
  MXS_TRY(mxs_cli_precheck(table, args, 0, fields));
  if (fields->array != NULL && fields->chain)
    return mxs_fail(MXS_ERR_USAGE, "--array and --chain: give one of them; an array that runs out "
                                   "of time goes on when it is submitted again");
  if (!fields->force && stat(fields->output, &entry) == 0)
    return mxs_fail(MXS_ERR_CREATE, "%s exists: give another -o, or --force to replace it",
                    fields->output);
  return MXS_OK;
}

int mxs_cli_slurm(mxs_cli_session *session, int argc, char **argv) {
  mxs_option storage[MXS_CLI_OPTIONS];
  const mxs_table table =
      mxs_cli_join(&mxs_settings_table, own_options, OWN_COUNT, "mxsense slurm --help", storage);
  mxs_cli_args args;
  slurm_fields fields = {0};
  mxs_status status = mxs_cli_parse(&table, 1, argc, argv, &args);
  if (status == MXS_OK && args.help)
    return mxs_cli_end(session, MXS_OK, mxs_cli_help(session, before, &table, after));
  if (status == MXS_OK)
    status = precheck(&table, &args, &fields);
  if (status == MXS_OK)
    status = mxs_cli_probe_settings(session, &table, &args, &fields);
  if (status == MXS_OK)
    status = mxs_cli_begin(session, 0);
  if (status == MXS_OK)
    status = slurm(session, &table, &args, &fields);
  mxs_table_clear(&table, &fields);
  return mxs_cli_end(session, status, 0);
}
