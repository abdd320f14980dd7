#include "cli/cli.h"

#include <string.h>

/* Is `text` a word that a switch takes? */
static int is_switch_word(const char *text) {
  static const char *const words[] = {"true", "false", "yes", "no", "on", "off"};
  for (size_t i = 0; text != NULL && i < sizeof words / sizeof words[0]; i++)
    if (strcmp(text, words[i]) == 0)
      return 1;
  return 0;
}

static mxs_status unknown(const mxs_table *table, const char *name) {
  char suggestion[160];
  mxs_table_suggest(table, name, suggestion, sizeof suggestion);
  return mxs_fail(MXS_ERR_USAGE, "unknown option --%.80s: %s", name, suggestion);
}

static mxs_status add_value(mxs_cli_args *args, int option, const char *text) {
  if (args->count == MXS_CLI_VALUES)
    return mxs_fail(MXS_ERR_USAGE, "more than %d options: use a settings file", MXS_CLI_VALUES);
  args->values[args->count].option = option;
  args->values[args->count].text = text;
  args->count++;
  return MXS_OK;
}

/* --key value, --key=value, and --switch. `*next` moves on when the value is an argument of its
 * own. */
static mxs_status take_long(
    const mxs_table *table, char **argv, int argc, int *next, mxs_cli_args *args) {
  const char *name = argv[*next] + 2;
  const char *equals = strchr(name, '=');
  char key[96];
  const size_t length = equals != NULL ? (size_t)(equals - name) : strlen(name);
  if (length >= sizeof key)
    return unknown(table, name);
  memcpy(key, name, length);
  key[length] = '\0';
  const int option = mxs_table_find(table, key);
  if (option < 0)
    return unknown(table, key);
  if (equals != NULL)
    return add_value(args, option, equals + 1);
  const char *value = *next + 1 < argc ? argv[*next + 1] : NULL;
  if (table->options[option].type == MXS_OPTION_SWITCH && !is_switch_word(value))
    return add_value(args, option, "true");
  if (value == NULL)
    return mxs_fail(MXS_ERR_USAGE, "option --%s needs a value: --%s VALUE or --%s=VALUE", key, key,
                    key);
  (*next)++;
  return add_value(args, option, value);
}

/* -o value and -ovalue. */
static mxs_status take_short(
    const mxs_table *table, char **argv, int argc, int *next, mxs_cli_args *args) {
  const char *text = argv[*next];
  int option = 0;
  while (option < table->count && table->options[option].letter != text[1])
    option++;
  if (option == table->count)
    return mxs_fail(MXS_ERR_USAGE, "unknown option %.80s: %s lists all", text, table->hint);
  if (text[2] != '\0')
    return add_value(args, option, text + 2);
  if (*next + 1 == argc)
    return mxs_fail(MXS_ERR_USAGE, "option %s needs a value: %s VALUE", text, text);
  (*next)++;
  return add_value(args, option, argv[*next]);
}

static int wants_help(int argc, char **argv) {
  for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
    if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
      return 1;
  return 0;
}

mxs_status mxs_cli_parse(
    const mxs_table *table, int operands, int argc, char **argv, mxs_cli_args *args) {
  *args = (mxs_cli_args){.help = wants_help(argc, argv)};
  int ended = 0;
  for (int i = 1; i < argc && !args->help; i++) { /* help is given whatever else the line says */
    const char *text = argv[i];
    if (!ended && strcmp(text, "--") == 0) {
      ended = 1;
    } else if (!ended && strncmp(text, "--", 2) == 0) {
      MXS_TRY(take_long(table, argv, argc, &i, args));
    } else if (!ended && text[0] == '-' && text[1] != '\0') {
      MXS_TRY(take_short(table, argv, argc, &i, args));
    } else if (args->operands == operands) {
      return mxs_fail(MXS_ERR_USAGE, "unexpected argument '%.80s': see %s", text, table->hint);
    } else {
      args->operand[args->operands++] = text;
    }
  }
  return MXS_OK;
}

mxs_status mxs_cli_apply(const mxs_table *table, const mxs_cli_args *args, void *fields) {
  for (int i = 0; i < args->count; i++) {
    const mxs_status status =
        mxs_table_set(table, fields, args->values[i].option, args->values[i].text);
    if (status != MXS_OK)
      return mxs_fail(status, "--%s", mxs_last_error());
  }
  return MXS_OK;
}

int mxs_cli_given(const mxs_table *table, const mxs_cli_args *args, const char *key) {
  for (int i = 0; i < args->count; i++)
    if (strcmp(table->options[args->values[i].option].key, key) == 0)
      return 1;
  return 0;
}

mxs_status mxs_cli_need(const mxs_table *table,
                        const mxs_cli_args *args,
                        const char *key,
                        const char *example) {
  if (mxs_cli_given(table, args, key))
    return MXS_OK;
  return mxs_fail(MXS_ERR_USAGE, "missing option --%s: give %s; see %s", key, example, table->hint);
}

mxs_table mxs_cli_join(const mxs_table *first,
                       const mxs_option *more,
                       int count,
                       const char *hint,
                       mxs_option *storage) {
  memcpy(storage, first->options, (size_t)first->count * sizeof *storage);
  memcpy(storage + first->count, more, (size_t)count * sizeof *storage);
  return (mxs_table){"option", hint, storage, first->count + count};
}
