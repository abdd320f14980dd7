#include "cli/script.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { MINUTE = 60, LEAD_S = 300 };

mxs_status mxs_cli_script_set(mxs_cli_script *script, const char *start, const char *format, ...) {
  char line[8192];
  va_list args;
  va_start(args, format);
  const int length = vsnprintf(line, sizeof line, format, args);
  va_end(args);
  if (length < 0 || length >= (int)sizeof line || script->count == MXS_CLI_LINES)
    return mxs_fail(MXS_ERR_USAGE, "too many settings for a job script: use a settings file");
  mxs_cli_line *next = &script->lines[script->count];
  MXS_TRY(mxs_text_format(&next->text, "%s", line));
  next->start = start;
  script->count++;
  return MXS_OK;
}

static const mxs_cli_template *find(const char *name) {
  const mxs_cli_template *one = mxs_cli_templates;
  while (one->name != NULL && strcmp(one->name, name) != 0)
    one++;
  return one;
}

static mxs_status text_of(const mxs_cli_script *script, char **text) {
  const mxs_cli_template *model = find(script->name);
  mxs_text out = {0};
  int used[MXS_CLI_LINES] = {0};
  mxs_status status = mxs_text_add(&out, "%s", "");
  for (const char *const *line = model->lines; line != NULL && *line != NULL && status == MXS_OK;
       line++) {
    const char *instead = *line;
    for (int i = 0; i < script->count; i++) {
      if (strncmp(*line, script->lines[i].start, strlen(script->lines[i].start)) != 0)
        continue;
      instead = script->lines[i].text[0] != '\0' ? script->lines[i].text : NULL;
      used[i] = 1;
    }
    if (instead != NULL)
      status = mxs_text_add(&out, "%s\n", instead);
  }
  for (int i = 0; i < script->count && status == MXS_OK; i++)
    if (!used[i])
      status = mxs_fail(MXS_ERR_INTERNAL, "jobs/%s has no line '%s'", script->name,
                        script->lines[i].start);
  *text = out.data;
  if (status != MXS_OK)
    mxs_release(text);
  return status;
}

void mxs_cli_script_clear(mxs_cli_script *script) {
  for (int i = 0; i < script->count; i++)
    mxs_release(&script->lines[i].text);
  script->count = 0;
}

mxs_status mxs_cli_script_word(mxs_text *text, const char *word) {
  static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                              "_-./:,=+@%";
  if (word[0] != '\0' && strspn(word, plain) == strlen(word))
    return mxs_text_add(text, "%s", word);
  MXS_TRY(mxs_text_add(text, "'"));
  for (const char *p = word; *p != '\0'; p++)
    MXS_TRY(*p == '\'' ? mxs_text_add(text, "'\\''") : mxs_text_add(text, "%c", *p));
  return mxs_text_add(text, "'");
}

mxs_status mxs_cli_script_set_word(mxs_cli_script *script, const char *start, const char *word) {
  mxs_text text = {0};
  mxs_status status = mxs_cli_script_word(&text, word);
  if (status == MXS_OK)
    status = mxs_cli_script_set(script, start, "%s%s", start, text.data);
  mxs_release(&text.data);
  return status;
}

mxs_status mxs_cli_script_set_program(mxs_cli_script *script) {
  char path[4096];
  mxs_text word = {0};
  const ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
  if (length <= 0)
    return MXS_OK; /* the template looks for it on PATH */
  path[length] = '\0';
  mxs_status status = mxs_cli_script_word(&word, path);
  if (status == MXS_OK)
    status = mxs_cli_script_set(script, "program=", "program=${MXSENSE:-%s}", word.data);
  mxs_release(&word.data);
  return status;
}

mxs_cli_limit mxs_cli_script_limit(double seconds) {
  const int64_t minutes = (int64_t)fmax(1.0, ceil(seconds / MINUTE)); /* 0 would be no limit */
  return (mxs_cli_limit){minutes, minutes * MINUTE / 4 < LEAD_S ? minutes * MINUTE / 4 : LEAD_S};
}

mxs_status mxs_cli_script_set_limit(mxs_cli_script *script,
                                    const mxs_cli_limit *limit,
                                    const char *target) {
  const long long minutes = (long long)limit->minutes;
  MXS_TRY(mxs_cli_script_set(script, "#SBATCH --time=", "#SBATCH --time=%lld-%02lld:%02lld:00",
                             minutes / 1440, minutes / 60 % 24, minutes % 60));
  return mxs_cli_script_set(script, "#SBATCH --signal=", "#SBATCH --signal=%sUSR1@%lld", target,
                            (long long)limit->lead_s);
}

mxs_status mxs_cli_script_set_threads(mxs_cli_script *script, int64_t threads) {
  return threads > 1
             ? mxs_cli_script_set(script,
                                  "launch=", "launch=(mpirun -np \"$SLURM_NTASKS\" --bind-to none)")
             : MXS_OK;
}

static mxs_status write_text(const char *path, const char *text, int replace) {
  const int file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | (replace ? O_TRUNC : O_EXCL), 0777);
  if (file < 0 && errno == EEXIST)
    return mxs_fail(MXS_ERR_CREATE, "%s exists: give another -o, or --force to replace it", path);
  if (file < 0)
    return mxs_fail(MXS_ERR_CREATE, "%s: cannot create the job script: %s", path, strerror(errno));
  const ssize_t length = (ssize_t)strlen(text);
  const int failed = write(file, text, (size_t)length) != length;
  if (close(file) != 0 || failed) {
    const int why = errno;
    if (!replace)
      (void)unlink(path);
    return mxs_fail(MXS_ERR_IO, "%s: cannot write the job script: %s", path, strerror(why));
  }
  return MXS_OK;
}

mxs_status mxs_cli_script_write(const mxs_cli_script *script, const char *path, int replace) {
  char *text = NULL;
  MXS_TRY(text_of(script, &text));
  const mxs_status status = write_text(path, text, replace);
  mxs_release(&text);
  return status;
}
