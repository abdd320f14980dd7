#include "conf/table.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { HELP_WIDTH = 80, HELP_INDENT = 26 };

static const void *field_of(const mxs_table *table, const void *fields, int index) {
  return (const char *)fields + table->options[index].offset;
}

static mxs_status describe_range(const mxs_option *option, const char *what, mxs_text *out) {
  char low[MXS_REAL_TEXT];
  char high[MXS_REAL_TEXT];
  mxs_format_real(option->low, low);
  mxs_format_real(option->high, high);
  MXS_TRY(mxs_text_add(out, "%s", what));
  if (isfinite(option->low))
    MXS_TRY(
        mxs_text_add(out, " %s %s", (option->flags & MXS_OPTION_ABOVE_LOW) != 0 ? ">" : ">=", low));
  if (isfinite(option->high))
    MXS_TRY(mxs_text_add(out, "%s %s %s", isfinite(option->low) ? " and" : "",
                         (option->flags & MXS_OPTION_BELOW_HIGH) != 0 ? "<" : "<=", high));
  return MXS_OK;
}

int mxs_option_is_list(const mxs_option *option) {
  return option->type == MXS_OPTION_INTEGERS || option->type == MXS_OPTION_REALS;
}

static mxs_status describe_choices(const mxs_choice *choice, mxs_text *out) {
  for (const mxs_choice *c = choice; c->word != NULL; c++) {
    const char *joint = c[1].word == NULL ? " or " : ", ";
    MXS_TRY(mxs_text_add(out, "%s%s", c == choice ? "" : joint, c->word));
  }
  return MXS_OK;
}

mxs_status mxs_option_describe(const mxs_option *option, mxs_text *out) {
  switch (option->type) {
  case MXS_OPTION_INTEGER:
  case MXS_OPTION_INTEGERS:
    MXS_TRY(describe_range(option, "an integer", out));
    break;
  case MXS_OPTION_REAL:
  case MXS_OPTION_REALS:
    MXS_TRY(describe_range(option, "a number", out));
    break;
  case MXS_OPTION_CHOICE:
    MXS_TRY(describe_choices(option->choices, out));
    break;
  case MXS_OPTION_SWITCH:
    MXS_TRY(mxs_text_add(out, "true or false"));
    break;
  case MXS_OPTION_PATH:
    MXS_TRY(mxs_text_add(out, "a path"));
    break;
  case MXS_OPTION_WORD:
    MXS_TRY(mxs_text_add(out, "text"));
    break;
  case MXS_OPTION_SOURCE:
    MXS_TRY(describe_choices(option->choices, out));
    MXS_TRY(mxs_text_add(out, " or file:PATH"));
    break;
  case MXS_OPTION_CADENCE:
    MXS_TRY(mxs_text_add(
        out, "iterations (200), a time (30s, 10min, 2h), or both (200,10min); 0 is never"));
    break;
  case MXS_OPTION_TIME:
    MXS_TRY(mxs_text_add(out, "a time (30s, 10min, 2h, 1d, 1-12:00:00)"));
    break;
  }
  if (option->automatic != NULL)
    MXS_TRY(mxs_text_add(out, ", or %s", option->automatic));
  return mxs_option_is_list(option) ? mxs_text_add(out, ", or a list with one for each replica")
                                    : MXS_OK;
}

static mxs_status format_real(double value, mxs_text *out) {
  char text[MXS_REAL_TEXT];
  mxs_format_real(value, text);
  return mxs_text_add(out, "%s", text);
}

static mxs_status format_one_integer(const mxs_option *option, int64_t value, mxs_text *out) {
  const int64_t automatic = (option->flags & MXS_OPTION_MOST) != 0 ? INT64_MAX : 0;
  return option->automatic != NULL && value == automatic
             ? mxs_text_add(out, "%s", option->automatic)
             : mxs_text_add(out, "%lld", (long long)value);
}

static mxs_status format_one_real(const mxs_option *option, double value, mxs_text *out) {
  return option->automatic != NULL && isnan(value) ? mxs_text_add(out, "%s", option->automatic)
                                                   : format_real(value, out);
}

static mxs_status format_integers(const mxs_option *option,
                                  const mxs_integers *list,
                                  mxs_text *out) {
  for (int64_t i = 0; i < list->count; i++) {
    if (list->count > 1)
      MXS_TRY(mxs_text_add(out, "%s", i == 0 ? "[" : ", "));
    MXS_TRY(format_one_integer(option, list->values[i], out));
  }
  return list->count > 1 ? mxs_text_add(out, "]") : MXS_OK;
}

static mxs_status format_reals(const mxs_option *option, const mxs_reals *list, mxs_text *out) {
  for (int64_t i = 0; i < list->count; i++) {
    if (list->count > 1)
      MXS_TRY(mxs_text_add(out, "%s", i == 0 ? "[" : ", "));
    MXS_TRY(format_one_real(option, list->values[i], out));
  }
  return list->count > 1 ? mxs_text_add(out, "]") : MXS_OK;
}

static mxs_status format_cadence(const mxs_cadence *value, mxs_text *out) {
  char text[MXS_CADENCE_TEXT];
  mxs_format_cadence(*value, text);
  return mxs_text_add(out, "%s", text);
}

static mxs_status format_time(const mxs_option *option, double seconds, mxs_text *out) {
  if (option->automatic != NULL && isnan(seconds))
    return mxs_text_add(out, "%s", option->automatic);
  if (seconds == 0.0)
    return mxs_text_add(out, "0s");
  const mxs_cadence time = {.seconds = seconds};
  return format_cadence(&time, out);
}

static mxs_status format_choice(const mxs_choice *choice, int value, mxs_text *out) {
  for (; choice->word != NULL; choice++)
    if (choice->value == value)
      return mxs_text_add(out, "%s", choice->word);
  return mxs_fail(MXS_ERR_INTERNAL, "no word for choice %d", value);
}

mxs_status mxs_table_format(const mxs_table *table, const void *fields, int index, mxs_text *out) {
  const mxs_option *option = &table->options[index];
  const void *field = field_of(table, fields, index);
  const char *string = NULL;
  switch (option->type) {
  case MXS_OPTION_INTEGER:
    return format_one_integer(option, *(const int64_t *)field, out);
  case MXS_OPTION_REAL:
    return format_one_real(option, *(const double *)field, out);
  case MXS_OPTION_CHOICE:
    return format_choice(option->choices, *(const int *)field, out);
  case MXS_OPTION_SWITCH:
    return mxs_text_add(out, "%s", *(const int *)field != 0 ? "true" : "false");
  case MXS_OPTION_PATH:
  case MXS_OPTION_WORD:
  case MXS_OPTION_SOURCE:
    memcpy(&string, field, sizeof string);
    return string == NULL ? MXS_OK : mxs_text_add(out, "%s", string);
  case MXS_OPTION_CADENCE:
    return format_cadence(field, out);
  case MXS_OPTION_TIME:
    return format_time(option, *(const double *)field, out);
  case MXS_OPTION_INTEGERS:
    return format_integers(option, field, out);
  case MXS_OPTION_REALS:
    return format_reals(option, field, out);
  }
  return mxs_fail(MXS_ERR_INTERNAL, "unknown type of option");
}

/* Quotes where YAML would read the plain text as something else. */
static mxs_status add_scalar(const char *value, mxs_text *out) {
  static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./+-";
  const size_t head = strncmp(value, "file:/", 6) == 0 ? 6 : 0;
  if (value[head + strspn(value + head, plain)] == '\0')
    return mxs_text_add(out, "%s", value);
  MXS_TRY(mxs_text_add(out, "\""));
  for (const char *p = value; *p != '\0'; p++)
    MXS_TRY(mxs_text_add(out, "%s%c", *p == '"' || *p == '\\' ? "\\" : "", *p));
  return mxs_text_add(out, "\"");
}

mxs_status mxs_table_echo(const mxs_table *table, const void *fields, mxs_text *out) {
  mxs_text value = {0};
  mxs_status status = MXS_OK;
  for (int i = 0; i < table->count && status == MXS_OK; i++) {
    mxs_release(&value.data);
    value = (mxs_text){0};
    MXS_TRY_GOTO(status, mxs_table_format(table, fields, i, &value), cleanup);
    if (value.data == NULL)
      continue;
    MXS_TRY_GOTO(status, mxs_text_add(out, "%s: ", table->options[i].key), cleanup);
    if (table->options[i].type == MXS_OPTION_CADENCE || mxs_option_is_list(&table->options[i]))
      MXS_TRY_GOTO(status, mxs_text_add(out, "%s", value.data), cleanup);
    else
      MXS_TRY_GOTO(status, add_scalar(value.data, out), cleanup);
    MXS_TRY_GOTO(status, mxs_text_add(out, "\n"), cleanup);
  }
cleanup:
  mxs_release(&value.data);
  return status;
}

static mxs_status help_words(const mxs_option *option, mxs_text *words) {
  MXS_TRY(mxs_text_add(words, "%s [", option->help));
  MXS_TRY(mxs_option_describe(option, words));
  if (option->unit != NULL)
    MXS_TRY(mxs_text_add(words, "; %s", option->unit));
  if (option->preset != NULL)
    MXS_TRY(mxs_text_add(words, "; default %s", option->preset));
  if ((option->flags & MXS_OPTION_REQUIRED) != 0)
    MXS_TRY(mxs_text_add(words, "; required"));
  if ((option->flags & MXS_OPTION_MAY_CHANGE) != 0)
    MXS_TRY(mxs_text_add(words, "; may change on resume"));
  return mxs_text_add(words, "]");
}

static mxs_status help_option(const mxs_option *option, mxs_text *out) {
  static const char *const operands[] = {
      [MXS_OPTION_INTEGER] = "N",   [MXS_OPTION_REAL] = "X",
      [MXS_OPTION_CHOICE] = "WORD", [MXS_OPTION_SWITCH] = "",
      [MXS_OPTION_PATH] = "PATH",   [MXS_OPTION_SOURCE] = "SOURCE",
      [MXS_OPTION_WORD] = "TEXT",   [MXS_OPTION_CADENCE] = "WHEN",
      [MXS_OPTION_TIME] = "TIME",   [MXS_OPTION_INTEGERS] = "N,N..",
      [MXS_OPTION_REALS] = "X,X.."};
  const int64_t start = out->length;
  const char *operand = operands[option->type];
  if (option->letter != 0)
    MXS_TRY(mxs_text_add(out, "  -%c, --%s %s", option->letter, option->key, operand));
  else
    MXS_TRY(mxs_text_add(out, "  --%s %s", option->key, operand));
  const int used = (int)(out->length - start);
  if (used > HELP_INDENT - 2)
    MXS_TRY(mxs_text_add(out, "\n%*s", HELP_INDENT, ""));
  else
    MXS_TRY(mxs_text_add(out, "%*s", HELP_INDENT - used, ""));
  mxs_text words = {0};
  mxs_status status = help_words(option, &words);
  if (status == MXS_OK)
    status = mxs_text_wrap(out, words.data, HELP_INDENT, HELP_WIDTH);
  mxs_release(&words.data);
  return status;
}

mxs_status mxs_table_help(const mxs_table *table, mxs_text *out) {
  const char *section = "";
  for (int i = 0; i < table->count; i++) {
    const mxs_option *option = &table->options[i];
    if (strcmp(section, option->section) != 0)
      MXS_TRY(mxs_text_add(out, "%s%s:\n", section[0] == '\0' ? "" : "\n", option->section));
    section = option->section;
    MXS_TRY(help_option(option, out));
  }
  return MXS_OK;
}
