/** @file
 *  Option tables: one array of entries drives parsing, validation, --help and the echo of a struct
 *  of settings. Room `conf`.
 *
 *  Keys are written with underscores; when a key is looked up, hyphens are as good. */
#ifndef MXS_CONF_TABLE_H
#define MXS_CONF_TABLE_H

#include "base/text.h"
#include "conf/number.h"

enum { MXS_LIST_LIMIT = 1024 };

/** Values of a list option, one for each replica; a single one is for all of them. */
typedef struct mxs_integers {
  int64_t count, values[MXS_LIST_LIMIT];
} mxs_integers;

typedef struct mxs_reals {
  int64_t count;
  double values[MXS_LIST_LIMIT];
} mxs_reals;

/** Type of the field that an option sets. Automatic is 0 for an integer and NaN for a number; a
 *  list is automatic where its only value is. */
typedef enum mxs_option_type {
  MXS_OPTION_INTEGER,  /**< int64_t */
  MXS_OPTION_REAL,     /**< double, finite */
  MXS_OPTION_CHOICE,   /**< int, the value of the chosen word */
  MXS_OPTION_SWITCH,   /**< int, 0 or 1 */
  MXS_OPTION_PATH,     /**< char *, owned; made absolute; NULL: not given */
  MXS_OPTION_WORD,     /**< char *, owned; a line of text; NULL: not given */
  MXS_OPTION_SOURCE,   /**< char *, owned; one of the words, or file:PATH with PATH made absolute */
  MXS_OPTION_CADENCE,  /**< mxs_cadence */
  MXS_OPTION_TIME,     /**< double, seconds */
  MXS_OPTION_INTEGERS, /**< mxs_integers: "3", "3,5" or "[3, 5]" */
  MXS_OPTION_REALS     /**< mxs_reals */
} mxs_option_type;

enum {
  MXS_OPTION_ABOVE_LOW = 1,  /**< `low` itself is excluded */
  MXS_OPTION_BELOW_HIGH = 2, /**< `high` itself is excluded */
  MXS_OPTION_MAY_CHANGE = 4, /**< may differ when a run is resumed */
  MXS_OPTION_REQUIRED = 8,   /**< has no default and must be given */
  MXS_OPTION_MOST = 16       /**< the automatic value of an integer is INT64_MAX */
};

typedef struct mxs_choice {
  const char *word;
  int value;
} mxs_choice;

typedef struct mxs_option {
  const char *key;
  mxs_option_type type;
  size_t offset;             /**< of the field in the struct */
  const char *preset;        /**< default, as a user would write it; NULL: not given */
  const char *automatic;     /**< word for the automatic value; NULL: there is none */
  const mxs_choice *choices; /**< of a choice or source, ended by a NULL word */
  double low, high;          /**< range of an integer or number, in a list too */
  unsigned flags;
  char letter; /**< short form on the command line (-o), or 0 */
  const char *section, *unit, *help;
} mxs_option;

typedef struct mxs_table {
  const char *noun; /**< "setting", "option": for messages */
  const char *hint; /**< command that lists them all */
  const mxs_option *options;
  int count;
} mxs_table;

/** Set every field to its default. Local. */
MXS_CHECKED mxs_status mxs_table_defaults(const mxs_table *table, void *fields);

/** Free the strings. Local. */
void mxs_table_clear(const mxs_table *table, void *fields);

/** Index of a key, -1 if there is no such key. Local. */
int mxs_table_find(const mxs_table *table, const char *key);

/** What to tell after an unknown key: "did you mean 'step'?", or the nearest key and where all are
 *  listed. Local. */
void mxs_table_suggest(const mxs_table *table, const char *key, char *out, size_t size);

/** Set one field from text. On failure the field keeps its value. Local.
 *  @retval MXS_ERR_SETTINGS names the key, the value, and what is accepted */
MXS_CHECKED mxs_status mxs_table_set(const mxs_table *table,
                                     void *fields,
                                     int index,
                                     const char *text);

/** Append the value of a field as mxs_table_set() reads it; nothing for a path that was not given.
 *  Local. */
MXS_CHECKED mxs_status mxs_table_format(const mxs_table *table,
                                        const void *fields,
                                        int index,
                                        mxs_text *out);

/** Whether an option takes a list. Local. */
int mxs_option_is_list(const mxs_option *option);

/** Append what an option accepts, in words: "an integer >= 1, or auto". Local. */
MXS_CHECKED mxs_status mxs_option_describe(const mxs_option *option, mxs_text *out);

/** Append one "key: value" line of YAML for every field that has a value. Local. */
MXS_CHECKED mxs_status mxs_table_echo(const mxs_table *table, const void *fields, mxs_text *out);

/** Append the options part of a --help text, by section. Local. */
MXS_CHECKED mxs_status mxs_table_help(const mxs_table *table, mxs_text *out);

/** Merge a YAML mapping of keys to scalars, or to lists of them, over the fields; `path` is for
 * messages. Local.
 *  @retval MXS_ERR_SETTINGS not YAML, unknown or repeated key, or bad value; the text names file,
 *  line and key */
MXS_CHECKED mxs_status mxs_table_merge_yaml(
    const mxs_table *table, void *fields, const char *path, const char *text, size_t length);

#endif
