#include "conf/table.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { PATH_SIZE = 4096, VALUE_SIZE = 64 };

static void *field_of(const mxs_table *table, void *fields, int index) {
  return (char *)fields + table->options[index].offset;
}

/* For messages: a value as it was given, cut where it is long. */
static mxs_status refuse(const mxs_option *option, const char *text) {
  mxs_text accepted = {0};
  char reason[128];
  if (snprintf(reason, sizeof reason, "%s", mxs_last_error()) < 0)
    reason[0] = '\0';
  mxs_status status = mxs_option_describe(option, &accepted);
  if (status == MXS_OK)
    status = mxs_fail(MXS_ERR_SETTINGS, "%s: '%.80s' %s: give %s", option->key, text, reason,
                      accepted.data);
  mxs_release(&accepted.data);
  return status;
}

static mxs_status check_range(const mxs_option *option, double value) {
  const int low =
      value > option->low || (value == option->low && (option->flags & MXS_OPTION_ABOVE_LOW) == 0);
  const int high = value < option->high ||
                   (value == option->high && (option->flags & MXS_OPTION_BELOW_HIGH) == 0);
  return low && high ? MXS_OK : mxs_fail(MXS_ERR_SETTINGS, "is out of range");
}

static mxs_status set_integer(const mxs_option *option, const char *text, int64_t *field) {
  int64_t value = (option->flags & MXS_OPTION_MOST) != 0 ? INT64_MAX : 0;
  if (option->automatic == NULL || strcmp(text, option->automatic) != 0) {
    MXS_TRY(mxs_parse_integer(text, &value));
    MXS_TRY(check_range(option, (double)value));
  }
  *field = value;
  return MXS_OK;
}

static mxs_status set_real(const mxs_option *option, const char *text, double *field) {
  double value = NAN;
  if (option->automatic == NULL || strcmp(text, option->automatic) != 0) {
    MXS_TRY(mxs_parse_real(text, &value));
    MXS_TRY(check_range(option, value));
  }
  *field = value;
  return MXS_OK;
}

/* The next value of a list, without the blanks around it; what is left of the list goes to `rest`,
 * NULL after the last one. */
static mxs_status next_value(const char *list, char value[VALUE_SIZE], const char **rest) {
  const char *comma = strchr(list, ',');
  const char *end = comma != NULL ? comma : list + strlen(list);
  *rest = comma != NULL ? comma + 1 : NULL;
  while (*list == ' ')
    list++;
  while (end > list && end[-1] == ' ')
    end--;
  if (end - list >= VALUE_SIZE)
    return mxs_fail(MXS_ERR_SETTINGS, "has a value of more than %d characters", VALUE_SIZE - 1);
  memcpy(value, list, (size_t)(end - list));
  value[end - list] = '\0';
  return MXS_OK;
}

/* A value of a list, whichever of the two it is. */
static mxs_status set_value(const mxs_option *option, const char *text, int64_t *i, double *x) {
  const mxs_status status = i != NULL ? set_integer(option, text, i) : set_real(option, text, x);
  if (status != MXS_ERR_SETTINGS)
    return status;
  char reason[128];
  (void)snprintf(reason, sizeof reason, "%s", mxs_last_error());
  return mxs_fail(status, "has '%.40s', which %s", text, reason);
}

/* "1,2,3" with blanks around the values, or the same in brackets. */
static mxs_status set_list(
    const mxs_option *option, const char *text, int64_t *count, int64_t *integers, double *reals) {
  char value[VALUE_SIZE];
  char *inside = NULL;
  const size_t length = strlen(text);
  const int bracketed = length >= 2 && text[0] == '[' && text[length - 1] == ']';
  MXS_TRY(
      mxs_text_format(&inside, "%.*s", (int)(bracketed ? length - 2 : length), text + bracketed));
  const char *rest = inside;
  mxs_status status = MXS_OK;
  int automatic = 0;
  *count = 0;
  while (rest != NULL) {
    if (*count == MXS_LIST_LIMIT) {
      status = mxs_fail(MXS_ERR_SETTINGS, "has more than %d values", MXS_LIST_LIMIT);
      goto cleanup;
    }
    MXS_TRY_GOTO(status, next_value(rest, value, &rest), cleanup);
    MXS_TRY_GOTO(status,
                 set_value(option, value, integers != NULL ? integers + *count : NULL,
                           reals != NULL ? reals + *count : NULL),
                 cleanup);
    automatic = automatic || (option->automatic != NULL && strcmp(value, option->automatic) == 0);
    ++*count;
  }
  if (automatic && *count > 1)
    status = mxs_fail(MXS_ERR_SETTINGS, "has '%s' among other values", option->automatic);
cleanup:
  mxs_release(&inside);
  return status;
}

static int is_list_text(const char *text) {
  return text[0] == '[' || strchr(text, ',') != NULL;
}

static mxs_status set_integers(const mxs_option *option, const char *text, mxs_integers *field) {
  mxs_integers list = {.count = 1};
  if (is_list_text(text))
    MXS_TRY(set_list(option, text, &list.count, list.values, NULL));
  else
    MXS_TRY(set_integer(option, text, list.values));
  *field = list;
  return MXS_OK;
}

static mxs_status set_reals(const mxs_option *option, const char *text, mxs_reals *field) {
  mxs_reals list = {.count = 1};
  if (is_list_text(text))
    MXS_TRY(set_list(option, text, &list.count, NULL, list.values));
  else
    MXS_TRY(set_real(option, text, list.values));
  *field = list;
  return MXS_OK;
}

static mxs_status set_choice(const mxs_choice *choice, const char *text, int *field) {
  for (; choice->word != NULL; choice++) {
    if (strcmp(text, choice->word) == 0) {
      *field = choice->value;
      return MXS_OK;
    }
  }
  return mxs_fail(MXS_ERR_SETTINGS, "is not one of its values");
}

static mxs_status replace_string(const char *prefix, const char *value, char **field) {
  const size_t head = strlen(prefix);
  const size_t length = strlen(value);
  char *copy = NULL;
  MXS_TRY(mxs_alloc((int64_t)(head + length + 1), 1, &copy));
  if (snprintf(copy, head + length + 1, "%s%s", prefix, value) < 0)
    copy[0] = '\0';
  mxs_release(field);
  *field = copy;
  return MXS_OK;
}

static int is_utf8(const char *text) {
  for (const unsigned char *p = (const unsigned char *)text; *p != '\0';) {
    int more = 0;
    if (*p >= 0xf0 && *p <= 0xf4)
      more = 3;
    else if (*p >= 0xe0 && *p < 0xf0)
      more = 2;
    else if (*p >= 0xc2 && *p < 0xe0)
      more = 1;
    else if (*p >= 0x80)
      return 0;
    for (p++; more > 0; more--, p++)
      if ((*p & 0xc0) != 0x80)
        return 0;
  }
  return 1;
}

/* Text that a settings file can hold. */
static mxs_status check_text(const char *text) {
  if (!is_utf8(text))
    return mxs_fail(MXS_ERR_SETTINGS, "is not UTF-8");
  for (const char *p = text; *p != '\0'; p++)
    if ((unsigned char)*p < 0x20 || *p == 0x7f)
      return mxs_fail(MXS_ERR_SETTINGS, "has a control character in it");
  return MXS_OK;
}

static mxs_status set_word(const char *text, char **field) {
  if (text[0] == '\0')
    return mxs_fail(MXS_ERR_SETTINGS, "is empty");
  MXS_TRY(check_text(text));
  return replace_string("", text, field);
}

/* A path is kept as an absolute one, so that the echo means the same file from any directory. */
static mxs_status set_path(const char *prefix, const char *text, char **field) {
  if (text[0] == '\0')
    return mxs_fail(MXS_ERR_SETTINGS, "names no file");
  MXS_TRY(check_text(text));
  if (text[0] == '/')
    return replace_string(prefix, text, field);
  char path[2 * PATH_SIZE];
  if (getcwd(path, PATH_SIZE) == NULL || strlen(text) >= PATH_SIZE)
    return mxs_fail(MXS_ERR_SETTINGS, "cannot be made an absolute path");
  while (strncmp(text, "./", 2) == 0)
    text += 2 + strspn(text + 2, "/");
  const size_t length = strlen(path);
  if (snprintf(path + length, sizeof path - length, "%s%s", length > 1 ? "/" : "", text) < 0)
    return mxs_fail(MXS_ERR_SETTINGS, "cannot be made an absolute path");
  return replace_string(prefix, path, field);
}

static mxs_status set_source(const mxs_option *option, const char *text, char **field) {
  for (const mxs_choice *choice = option->choices; choice->word != NULL; choice++)
    if (strcmp(text, choice->word) == 0)
      return replace_string("", text, field);
  if (strncmp(text, "file:", 5) != 0)
    return mxs_fail(MXS_ERR_SETTINGS, "is not one of its values");
  return set_path("file:", text + 5, field);
}

static mxs_status set_time(const mxs_option *option, const char *text, double *field) {
  double value = 0.0;
  if (option->automatic != NULL && strcmp(text, option->automatic) == 0) {
    *field = (double)NAN;
    return MXS_OK;
  }
  MXS_TRY(mxs_parse_time(text, &value));
  if (value <= 0.0 && (option->flags & MXS_OPTION_ABOVE_LOW) != 0)
    return mxs_fail(MXS_ERR_SETTINGS, "is no time");
  *field = value;
  return MXS_OK;
}

static mxs_status set_field(const mxs_option *option, const char *text, void *field) {
  static const mxs_choice switches[] = {{"true", 1}, {"yes", 1}, {"on", 1}, {"false", 0},
                                        {"no", 0},   {"off", 0}, {NULL, 0}};
  switch (option->type) {
  case MXS_OPTION_INTEGER:
    return set_integer(option, text, field);
  case MXS_OPTION_REAL:
    return set_real(option, text, field);
  case MXS_OPTION_CHOICE:
    return set_choice(option->choices, text, field);
  case MXS_OPTION_SWITCH:
    return set_choice(switches, text, field);
  case MXS_OPTION_PATH:
    return set_path("", text, field);
  case MXS_OPTION_WORD:
    return set_word(text, field);
  case MXS_OPTION_SOURCE:
    return set_source(option, text, field);
  case MXS_OPTION_CADENCE:
    return mxs_parse_cadence(text, field);
  case MXS_OPTION_TIME:
    return set_time(option, text, field);
  case MXS_OPTION_INTEGERS:
    return set_integers(option, text, field);
  case MXS_OPTION_REALS:
    return set_reals(option, text, field);
  }
  return mxs_fail(MXS_ERR_INTERNAL, "unknown type of option");
}

mxs_status mxs_table_set(const mxs_table *table, void *fields, int index, const char *text) {
  const mxs_option *option = &table->options[index];
  const mxs_status status = set_field(option, text, field_of(table, fields, index));
  return status == MXS_ERR_SETTINGS ? refuse(option, text) : status;
}

mxs_status mxs_table_defaults(const mxs_table *table, void *fields) {
  for (int i = 0; i < table->count; i++)
    if (table->options[i].preset != NULL)
      MXS_TRY(mxs_table_set(table, fields, i, table->options[i].preset));
  return MXS_OK;
}

void mxs_table_clear(const mxs_table *table, void *fields) {
  for (int i = 0; i < table->count; i++) {
    const mxs_option_type type = table->options[i].type;
    if (type == MXS_OPTION_PATH || type == MXS_OPTION_WORD || type == MXS_OPTION_SOURCE)
      mxs_release(field_of(table, fields, i));
  }
}

static char normal(char c) {
  return (char)(c == '-' ? '_' : c);
}

static int same_key(const char *key, const char *given) {
  while (*key != '\0' && *key == normal(*given)) {
    key++;
    given++;
  }
  return *key == '\0' && *given == '\0';
}

int mxs_table_find(const mxs_table *table, const char *key) {
  for (int i = 0; i < table->count; i++)
    if (same_key(table->options[i].key, key))
      return i;
  return -1;
}

enum { KEY_SIZE = 48 };

static int smaller(int a, int b) {
  return a < b ? a : b;
}

/* Edit distance with swaps of neighbours (optimal string alignment); texts beyond KEY_SIZE - 1 are
 * cut. */
static int edit_distance(const char *a, const char *b) {
  int cost[3][KEY_SIZE];
  const int rows = smaller((int)strlen(a), KEY_SIZE - 1);
  const int columns = smaller((int)strlen(b), KEY_SIZE - 1);
  for (int j = 0; j <= columns; j++)
    cost[0][j] = j;
  for (int i = 1; i <= rows; i++) {
    int *now = cost[i % 3];
    const int *last = cost[(i + 2) % 3];
    const int *before = cost[(i + 1) % 3];
    now[0] = i;
    for (int j = 1; j <= columns; j++) {
      const int same = a[i - 1] == normal(b[j - 1]);
      now[j] = smaller(smaller(last[j] + 1, now[j - 1] + 1), last[j - 1] + !same);
      if (i > 1 && j > 1 && a[i - 1] == normal(b[j - 2]) && a[i - 2] == normal(b[j - 1]))
        now[j] = smaller(now[j], before[j - 2] + 1);
    }
  }
  return cost[rows % 3][columns];
}

void mxs_table_suggest(const mxs_table *table, const char *key, char *out, size_t size) {
  int best = 0;
  int least = KEY_SIZE * 2;
  for (int i = 0; i < table->count; i++) {
    const char *candidate = table->options[i].key;
    int distance = edit_distance(candidate, key);
    /* A key cut short, as other programs allow, is meant as the whole one. */
    if (strlen(key) >= 3 && strncmp(candidate, key, strlen(key)) == 0)
      distance = 1;
    if (distance < least) {
      least = distance;
      best = i;
    }
  }
  const char *nearest = table->count > 0 ? table->options[best].key : "";
  const int close = least <= 1 + (int)strlen(nearest) / 3;
  const int written =
      table->count == 0 ? snprintf(out, size, "%s tells more", table->hint)
      : close           ? snprintf(out, size, "did you mean '%s'?", nearest)
              : snprintf(out, size, "the nearest is '%s'; %s lists all", nearest, table->hint);
  if (written < 0)
    out[0] = '\0';
}
