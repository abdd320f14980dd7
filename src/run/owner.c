#include "base/text.h"
#include "run/run.h"
#include "run/rundir_impl.h"

#include <errno.h>
#include <jansson.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const char *environment(const char *name) {
  const char *value = getenv(name);
  return value != NULL ? value : "";
}

/* The first line of a small file; "" if it cannot be read. */
static void read_line(const char *path, char *line, size_t size) {
  line[0] = '\0';
  FILE *file = fopen(path, "re");
  if (file == NULL)
    return;
  if (fgets(line, (int)size, file) == NULL)
    line[0] = '\0';
  (void)fclose(file);
  line[strcspn(line, "\n")] = '\0';
}

/* State and start time, in ticks since the system started, of a process; 0 if they are not told. */
static long long process_start(long pid, char *state) {
  char path[64], line[1024];
  *state = '\0';
  (void)snprintf(path, sizeof path, "/proc/%ld/stat", pid);
  read_line(path, line, sizeof line);
  const char *at = strrchr(line, ')'); /* the name before it may hold anything */
  if (at == NULL || at[1] != ' ')
    return 0;
  *state = at[2];
  at += 2;
  for (int field = 3; field < 22 && at != NULL; field++) {
    at = strchr(at, ' ');
    at = at != NULL ? at + 1 : NULL;
  }
  return at != NULL ? strtoll(at, NULL, 10) : 0;
}

/* Process ids mean the same within one start of a system and one name space of processes. */
static void find_machine(char *machine, size_t size) {
  char boot[64];
  struct stat space;
  read_line("/proc/sys/kernel/random/boot_id", boot, sizeof boot);
  machine[0] = '\0';
  if (boot[0] != '\0' && stat("/proc/self/ns/pid", &space) == 0)
    (void)snprintf(machine, size, "%.48s/%llu", boot, (unsigned long long)space.st_ino);
}

void mxsi_owner_find(mxsi_owner *owner) {
  char state = '\0';
  memset(owner, 0, sizeof *owner);
  char host[sizeof owner->host] = "";
  if (gethostname(host, sizeof host - 1) != 0)
    (void)snprintf(host, sizeof host, "unknown");
  (void)snprintf(owner->host, sizeof owner->host, "%s", host);
  find_machine(owner->machine, sizeof owner->machine);
  owner->pid = (long)getpid();
  owner->started = process_start(owner->pid, &state);
  const char *job = environment("SLURM_JOB_ID");
  if (job[0] == '\0')
    job = environment("PBS_JOBID");
  (void)snprintf(owner->job, sizeof owner->job, "%s", job);
  owner->restart = strtol(environment("SLURM_RESTART_COUNT"), NULL, 10);
}

void mxsi_utc_now(char text[32]) {
  const time_t now = time(NULL);
  struct tm parts;
  text[0] = '\0';
  if (gmtime_r(&now, &parts) != NULL && strftime(text, 32, "%Y-%m-%dT%H:%M:%SZ", &parts) == 0)
    text[0] = '\0';
}

int mxsi_owner_is_near(const mxsi_owner *a, const mxsi_owner *b) {
  return a->machine[0] != '\0' && strcmp(a->machine, b->machine) == 0;
}

const char *mxsi_owner_is_gone(const mxsi_owner *owner) {
  char state = '\0';
  if (owner->pid <= 0)
    return NULL;
  if (kill((pid_t)owner->pid, 0) != 0 && errno == ESRCH)
    return "its process is gone";
  const long long started = process_start(owner->pid, &state);
  if (started != 0 && (state == 'Z' || state == 'X'))
    return "its process has ended";
  if (started != 0 && owner->started != 0 && started != owner->started)
    return "its process is gone, and another one has its number";
  return NULL;
}

int mxs_run_process_is_gone(long pid) {
  return mxsi_owner_is_gone(&(mxsi_owner){.pid = pid}) != NULL;
}

mxs_status mxsi_record_text(const mxsi_record *record, char **text) {
  const mxsi_owner *owner = &record->owner;
  *text = NULL;
  json_t *object = json_pack(
      "{s:s, s:I, s:s, s:I, s:s*, s:I, s:s, s:b}", "host", owner->host, "pid",
      (json_int_t)owner->pid, "machine", owner->machine, "started", (json_int_t)owner->started,
      "job", owner->job[0] != '\0' ? owner->job : NULL, "restart", (json_int_t)owner->restart,
      "since", record->since, "locked", record->locked);
  char *members = object != NULL ? json_dumps(object, JSON_COMPACT) : NULL;
  mxs_status status = members == NULL
                          ? mxs_fail(MXS_ERR_MEMORY, "cannot form the text of " MXSI_LOCK_NAME)
                          : mxs_text_format(text, "{\"beat\":%20lld,\"token\":\"%s\",%s\n",
                                            record->beat, record->token, members + 1);
  free(members);
  json_decref(object);
  return status;
}

static void copy_text(const json_t *object, const char *key, char *out, size_t size) {
  const char *value = json_string_value(json_object_get(object, key));
  (void)snprintf(out, size, "%s", value != NULL ? value : "");
}

static long long integer(const json_t *object, const char *key) {
  return (long long)json_integer_value(json_object_get(object, key));
}

void mxsi_record_read(const mxsi_rundir *dir, mxsi_record *record, char **text) {
  memset(record, 0, sizeof *record);
  *text = mxsi_file_read(dir->fd, MXSI_LOCK_NAME);
  json_t *object = *text != NULL ? json_loads(*text, 0, NULL) : NULL;
  mxsi_owner *owner = &record->owner;
  copy_text(object, "host", owner->host, sizeof owner->host);
  copy_text(object, "machine", owner->machine, sizeof owner->machine);
  copy_text(object, "job", owner->job, sizeof owner->job);
  copy_text(object, "token", record->token, sizeof record->token);
  copy_text(object, "since", record->since, sizeof record->since);
  owner->pid = (long)integer(object, "pid");
  owner->started = integer(object, "started");
  owner->restart = (long)integer(object, "restart");
  record->beat = integer(object, "beat");
  record->locked = json_is_true(json_object_get(object, "locked"));
  json_decref(object);
}

void mxsi_record_describe(const mxsi_record *record, char *text, size_t size) {
  const mxsi_owner *owner = &record->owner;
  if (owner->host[0] == '\0')
    (void)snprintf(text, size, "another run (its owner file is not readable)");
  else
    (void)snprintf(text, size, "the run on host %s, process %ld%s%s%s%s", owner->host, owner->pid,
                   owner->job[0] != '\0' ? ", job " : "", owner->job,
                   record->since[0] != '\0' ? ", since " : "", record->since);
}
