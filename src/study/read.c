#include "study/axes.h"

#include <stdio.h>
#include <string.h>

enum { MOST_ENTRIES = 128, MOST_SIZE_NAME = 40 };

/** A key with its value in the file, not read yet. */
typedef struct entry {
  mxsi_scope scope;
  int option;
  const yaml_node_t *key, *value;
} entry;

/** The keys of a file, in its order; those of a size take the place of its own. */
typedef struct entries {
  int count;
  entry of[MOST_ENTRIES];
} entries;

/** A study file being read. */
typedef struct reader {
  mxsi_source source;
  const char *text;
  size_t length;
  mxsi_tables *tables;
  entries entries;
  mxsi_file file;
} reader;

enum { KEY_TITLE, KEY_SIZE, KEY_SIZES, KEY_PROBLEM, KEY_SOLVE, KEY_ZIP };

static const yaml_node_t *node_at(const reader *r, int index) {
  return yaml_document_get_node(r->source.document, index);
}

/* ---- keys ----------------------------------------------------------------------------------- */

/* What a study decides itself, and why. */
static mxs_status refuse_solve_key(const reader *r, const yaml_node_t *key, const char *name) {
  static const char *const refused[][2] = {
      {"problem", "the study names it: write 'problem: FILE' at the left margin, for all points"},
      {"replicas", "each solve is a point with a row of its own: write 'repeats: N' at the left "
                   "margin"},
      {"progress", "the study shows how far it is: give --quiet to mxsense study for less"},
      {"quiet", "only the study prints: give --quiet to mxsense study"},
      {"verbose", "only the study prints; DIR/runs/NAME/log.txt tells more of a solve"},
      {"max_walltime", "the time of a job is that of all of its points: the study takes it from "
                       "the scheduler, and DIR/STOP ends it early"}};
  for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
    if (strcmp(name, refused[i][0]) == 0)
      return mxs_fail(MXS_ERR_SETTINGS, "%s:%zu: solve.%s: not in a study: %s", r->source.path,
                      mxs_yaml_line(key), name, refused[i][1]);
  return MXS_OK;
}

static mxs_status find_key(const reader *r, mxsi_scope scope, const yaml_node_t *key, int *option) {
  const mxs_table *table = &r->tables->of[scope];
  const char *name = "";
  MXS_TRY(mxsi_scalar(&r->source, "a key", key, &name));
  *option = mxs_table_find(table, name);
  if (*option < 0) {
    char suggestion[160];
    mxs_table_suggest(table, name, suggestion, sizeof suggestion);
    return mxs_fail(MXS_ERR_SETTINGS, "%s:%zu: unknown %s '%.80s': %s", r->source.path,
                    mxs_yaml_line(key), table->noun, name, suggestion);
  }
  return scope == MXSI_OF_SOLVE ? refuse_solve_key(r, key, table->options[*option].key) : MXS_OK;
}

static int find_entry(const entries *all, mxsi_scope scope, int option) {
  for (int i = 0; i < all->count; i++)
    if (all->of[i].scope == scope && all->of[i].option == option)
      return i;
  return -1;
}

/* What is there already is replaced; what comes twice in one mapping is refused. */
static mxs_status put_entry(reader *r,
                            mxsi_scope scope,
                            const yaml_node_pair_t *pair,
                            const yaml_node_t *mapping) {
  const yaml_node_t *key = node_at(r, pair->key);
  int option = -1;
  MXS_TRY(find_key(r, scope, key, &option));
  const int known = find_entry(&r->entries, scope, option);
  const entry new = {scope, option, key, node_at(r, pair->value)};
  if (known < 0) {
    if (r->entries.count == MOST_ENTRIES)
      return mxs_fail(MXS_ERR_INTERNAL, "%s: more than %d keys", r->source.path, MOST_ENTRIES);
    r->entries.of[r->entries.count++] = new;
    return MXS_OK;
  }
  for (const yaml_node_pair_t *p = mapping->data.mapping.pairs.start; p < pair; p++)
    if (node_at(r, p->key) == r->entries.of[known].key)
      return mxs_fail(MXS_ERR_SETTINGS, "%s:%zu: %s is given twice, first on line %zu: remove one",
                      r->source.path, mxs_yaml_line(key), r->tables->of[scope].options[option].key,
                      mxs_yaml_line(r->entries.of[known].key));
  r->entries.of[known] = new;
  return MXS_OK;
}

static mxs_status put_section(reader *r, mxsi_scope scope, const yaml_node_t *section) {
  for (const yaml_node_pair_t *pair = section->data.mapping.pairs.start;
       pair < section->data.mapping.pairs.top; pair++)
    MXS_TRY(put_entry(r, scope, pair, section));
  return MXS_OK;
}

static void drop_scope(entries *all, mxsi_scope scope, int option) {
  int kept = 0;
  for (int i = 0; i < all->count; i++)
    if (all->of[i].scope != scope || (option >= 0 && all->of[i].option != option))
      all->of[kept++] = all->of[i];
  all->count = kept;
}

/* The section `problem` is a mapping, or the name of a file; the last of the two counts. */
static mxs_status put_problem(reader *r, const yaml_node_pair_t *pair, const yaml_node_t *mapping) {
  const yaml_node_t *value = node_at(r, pair->value);
  if (value != NULL && value->type == YAML_MAPPING_NODE) {
    drop_scope(&r->entries, MXSI_OF_STUDY, KEY_PROBLEM);
    return put_section(r, MXSI_OF_PROBLEM, value);
  }
  const char *text = "";
  if (value == NULL || value->type != YAML_SCALAR_NODE)
    return mxs_fail(MXS_ERR_SETTINGS,
                    "%s:%zu: problem: give keys of mxsense gen, or one problem file for all points",
                    r->source.path, mxs_yaml_line(node_at(r, pair->key)));
  MXS_TRY(mxsi_scalar(&r->source, "problem", value, &text));
  drop_scope(&r->entries, MXSI_OF_PROBLEM, -1);
  return put_entry(r, MXSI_OF_STUDY, pair, mapping);
}

static mxs_status put_pair(reader *r,
                           const yaml_node_pair_t *pair,
                           const yaml_node_t *mapping,
                           int of_a_size) {
  const yaml_node_t *key = node_at(r, pair->key);
  const yaml_node_t *value = node_at(r, pair->value);
  int option = -1;
  MXS_TRY(find_key(r, MXSI_OF_STUDY, key, &option));
  if (of_a_size && (option == KEY_SIZE || option == KEY_SIZES))
    return mxs_fail(MXS_ERR_SETTINGS, "%s:%zu: %s: not inside of a size", r->source.path,
                    mxs_yaml_line(key), option == KEY_SIZE ? "size" : "sizes");
  if (option == KEY_PROBLEM)
    return put_problem(r, pair, mapping);
  if (option != KEY_SOLVE)
    return put_entry(r, MXSI_OF_STUDY, pair, mapping);
  if (value == NULL || value->type != YAML_MAPPING_NODE)
    return mxs_fail(MXS_ERR_SETTINGS, "%s:%zu: solve: give settings of mxsense solve below it",
                    r->source.path, mxs_yaml_line(key));
  return put_section(r, MXSI_OF_SOLVE, value);
}

/* A section that comes twice would not show as an entry that does. */
static mxs_status refuse_twice(const reader *r, const yaml_node_t *mapping) {
  size_t lines[16] = {0};
  for (const yaml_node_pair_t *pair = mapping->data.mapping.pairs.start;
       pair < mapping->data.mapping.pairs.top; pair++) {
    const yaml_node_t *key = node_at(r, pair->key);
    int option = -1;
    MXS_TRY(find_key(r, MXSI_OF_STUDY, key, &option));
    if (lines[option] != 0)
      return mxs_fail(MXS_ERR_SETTINGS, "%s:%zu: %s is given twice, first on line %zu: remove one",
                      r->source.path, mxs_yaml_line(key),
                      r->tables->of[MXSI_OF_STUDY].options[option].key, lines[option]);
    lines[option] = mxs_yaml_line(key);
  }
  return MXS_OK;
}

static mxs_status put_mapping(reader *r, const yaml_node_t *mapping, int of_a_size) {
  MXS_TRY(refuse_twice(r, mapping));
  for (const yaml_node_pair_t *pair = mapping->data.mapping.pairs.start;
       pair < mapping->data.mapping.pairs.top; pair++)
    MXS_TRY(put_pair(r, pair, mapping, of_a_size));
  return MXS_OK;
}

/* ---- values --------------------------------------------------------------------------------- */

static mxs_status set_top(reader *r, const entry *e) {
  const mxs_table *table = &r->tables->of[MXSI_OF_STUDY];
  const char *text = "";
  MXS_TRY(mxsi_scalar(&r->source, table->options[e->option].key, e->value, &text));
  const mxs_status status = mxs_table_set(table, &r->tables->top, e->option, text);
  return status == MXS_ERR_SETTINGS ? mxs_fail(status, "%s:%zu: %s", r->source.path,
                                               mxs_yaml_line(e->value), mxs_last_error())
                                    : status;
}

static mxs_status set_title(reader *r, const entry *e) {
  const char *text = "";
  mxs_study *study = r->file.study;
  MXS_TRY(mxsi_scalar(&r->source, "title", e->value, &text));
  for (const char *p = text; *p != '\0'; p++)
    if ((unsigned char)*p < 0x20 || *p == 0x7f)
      return mxs_fail(MXS_ERR_SETTINGS,
                      "%s:%zu: title: has a control character in it: one line "
                      "of text is needed",
                      r->source.path, mxs_yaml_line(e->value));
  mxs_release(&study->title);
  return mxs_text_format(&study->title, "%s", text);
}

static mxs_status set_problem_file(reader *r, const entry *e) {
  const char *text = "";
  MXS_TRY(mxsi_scalar(&r->source, "problem", e->value, &text));
  mxs_settings *settings = &r->tables->settings;
  const mxs_status status = mxs_settings_set(settings, "problem", text);
  if (status != MXS_OK)
    return mxs_fail(status, "%s:%zu: %s", r->source.path, mxs_yaml_line(e->value),
                    mxs_last_error());
  mxs_release(&r->file.study->problem_file);
  return mxs_text_format(&r->file.study->problem_file, "%s", settings->problem);
}

/* In how many of the tables of problems and of settings a key is. */
static int homes(const mxsi_tables *tables, const char *key) {
  return (mxs_table_find(&tables->of[MXSI_OF_PROBLEM], key) >= 0) +
         (mxs_table_find(&tables->of[MXSI_OF_SOLVE], key) >= 0);
}

static mxs_status begin_column(reader *r, mxsi_scope scope, int option, mxsi_column **out) {
  static const char *const prefixes[] = {"problem.", "solve.", ""};
  mxs_study *study = r->file.study;
  mxsi_column *column = &study->column[study->columns++];
  const mxs_option *one = &r->tables->of[scope].options[option];
  column->scope = scope;
  column->option = option;
  MXS_TRY(mxs_text_format(&column->key, "%s", one->key));
  MXS_TRY(mxs_text_format(&column->name, "%s%s",
                          homes(r->tables, one->key) > 1 ? prefixes[scope] : "", one->key));
  if (one->preset != NULL)
    MXS_TRY(mxsi_canonical(r->tables, scope, option, one->preset, &column->preset));
  *out = column;
  return MXS_OK;
}

static mxs_status add_column(reader *r, const entry *e) {
  mxsi_column *column = NULL;
  MXS_TRY(begin_column(r, e->scope, e->option, &column));
  MXS_TRY(mxsi_read_values(&r->source, r->tables, e->value, column));
  column->varies = column->count > 1;
  return MXS_OK;
}

/* Seeds are columns even where the file has none: repeats count them up. */
static mxs_status add_seed(reader *r, mxsi_scope scope) {
  const int option = mxs_table_find(&r->tables->of[scope], "seed");
  if (find_entry(&r->entries, scope, option) >= 0)
    return MXS_OK;
  mxsi_column *column = NULL;
  MXS_TRY(begin_column(r, scope, option, &column));
  MXS_TRY(mxs_alloc(1, sizeof *column->values, &column->values));
  column->count = 1;
  column->texts = 1;
  return mxs_text_format(&column->values[0], "0");
}

static mxs_status read_entry(reader *r, const entry *e) {
  if (e->scope != MXSI_OF_STUDY)
    return add_column(r, e);
  switch (e->option) {
  case KEY_TITLE:
    return set_title(r, e);
  case KEY_PROBLEM:
    return set_problem_file(r, e);
  case KEY_SIZE:
  case KEY_SIZES:
  case KEY_ZIP:
    return MXS_OK;
  default:
    return strcmp(r->tables->of[MXSI_OF_STUDY].options[e->option].key, "ranks") == 0
               ? add_column(r, e)
               : set_top(r, e);
  }
}

static const mxsi_column *column_of(const mxs_study *study, mxsi_scope scope, const char *key) {
  for (int64_t c = 0; c < study->columns; c++)
    if (study->column[c].scope == scope && strcmp(study->column[c].key, key) == 0)
      return &study->column[c];
  return NULL;
}

/* ---- which keys go together ----------------------------------------------------------------- */

static mxs_status exclude(const reader *r, const char *a, const char *b, const char *why) {
  const mxsi_column *first = column_of(r->file.study, MXSI_OF_PROBLEM, a);
  const mxsi_column *second = column_of(r->file.study, MXSI_OF_PROBLEM, b);
  if (first == NULL || second == NULL)
    return MXS_OK;
  return mxs_fail(MXS_ERR_SETTINGS, "%s:%zu: problem.%s: not together with %s, %s: drop one",
                  r->source.path, second->line, b, a, why);
}

static mxs_status need(const reader *r, const char *const keys[4], const char *example) {
  for (int i = 0; i < 4 && keys[i] != NULL; i++)
    if (column_of(r->file.study, MXSI_OF_PROBLEM, keys[i]) != NULL)
      return MXS_OK;
  return mxs_fail(MXS_ERR_SETTINGS, "%s: problem.%s is missing: give %s", r->source.path, keys[0],
                  example);
}

static mxs_status check_problem_keys(const reader *r) {
  static const char *const m[] = {"measurements", "rho", "measurements_per_rank"};
  MXS_TRY(need(r, (const char *const[4]){"n1", "n"}, "n1 and n2, or n for both"));
  MXS_TRY(need(r, (const char *const[4]){"n2", "n"}, "n1 and n2, or n for both"));
  MXS_TRY(need(r, (const char *const[4]){"rank"}, "'rank: R' below problem"));
  MXS_TRY(need(r, (const char *const[4]){m[0], m[1], m[2]},
               "measurements, rho, or measurements_per_rank"));
  MXS_TRY(exclude(r, "n", "n1", "which sets n1 and n2"));
  MXS_TRY(exclude(r, "n", "n2", "which sets n1 and n2"));
  for (int i = 0; i < 3; i++)
    for (int j = i + 1; j < 3; j++)
      MXS_TRY(exclude(r, m[i], m[j], "which says the number of measurements too"));
  if (column_of(r->file.study, MXSI_OF_PROBLEM, m[2]) != NULL &&
      column_of(r->file.study, MXSI_OF_STUDY, "ranks") == NULL)
    return mxs_fail(MXS_ERR_SETTINGS,
                    "%s: problem.measurements_per_rank: needs the ranks of a point: add 'ranks: P'",
                    r->source.path);
  return MXS_OK;
}

static mxs_status check_file_keys(const reader *r) {
  const mxsi_column *k = column_of(r->file.study, MXSI_OF_SOLVE, "k");
  for (int64_t i = 0; k != NULL && i < k->count; i++)
    if (mxsi_rank_multiple(k->values[i]) > 0)
      return mxs_fail(
          MXS_ERR_SETTINGS,
          "%s:%zu: solve.k: %s is of the rank of a planted problem, and the study names "
          "a file: give a number",
          r->source.path, k->line, k->values[i]);
  if (r->tables->top.repeats > 1 && r->file.repeat_over == MXSI_REPEAT_PROBLEM)
    return mxs_fail(MXS_ERR_SETTINGS,
                    "%s: repeat_over: problem needs planted problems, and the study names a file: "
                    "write repeat_over: start",
                    r->source.path);
  return MXS_OK;
}

/* ---- zip ------------------------------------------------------------------------------------ */

static mxs_status find_zipped(const reader *r, const yaml_node_t *node, int64_t *found) {
  const mxs_study *study = r->file.study;
  const char *name = "";
  int matches = 0;
  MXS_TRY(mxsi_scalar(&r->source, "zip", node, &name));
  for (int64_t c = 0; c < study->columns; c++) {
    static const char *const prefixes[] = {"problem.", "solve.", ""};
    const mxsi_column *column = &study->column[c];
    const size_t head = strlen(prefixes[column->scope]);
    if (column->line == 0)
      continue;
    const int whole =
        strncmp(name, prefixes[column->scope], head) == 0 && strcmp(name + head, column->key) == 0;
    if (whole || strcmp(name, column->key) == 0) {
      *found = c;
      matches++;
    }
  }
  if (matches == 1)
    return MXS_OK;
  return mxs_fail(MXS_ERR_SETTINGS,
                  matches == 0 ? "%s:%zu: zip: no key '%.80s' in this file: name one that it has, "
                                 "like problem.rank, solve.k or ranks"
                               : "%s:%zu: zip: '%.80s' is a key of problem and of solve: write "
                                 "which one, like solve.seed",
                  r->source.path, mxs_yaml_line(node), name);
}

static mxs_status join_zipped(reader *r, const yaml_node_t *node, int64_t *first) {
  const mxs_study *study = r->file.study;
  int64_t *group = r->file.group;
  int64_t c = -1;
  MXS_TRY(find_zipped(r, node, &c));
  int used = group[c] != c || *first == c;
  for (int64_t other = 0; other < study->columns; other++)
    used = used || (other != c && group[other] == c);
  if (used)
    return mxs_fail(MXS_ERR_SETTINGS, "%s:%zu: zip: %s comes twice: name it once", r->source.path,
                    mxs_yaml_line(node), study->column[c].name);
  if (*first >= 0 && study->column[c].count != study->column[*first].count)
    return mxs_fail(MXS_ERR_SETTINGS,
                    "%s:%zu: zip: %s has %lld values, and %s has %lld: what advances together "
                    "needs lists of the same length",
                    r->source.path, mxs_yaml_line(node), study->column[c].name,
                    (long long)study->column[c].count, study->column[*first].name,
                    (long long)study->column[*first].count);
  *first = *first < 0 ? c : *first;
  group[c] = *first;
  return MXS_OK;
}

/* A group is known by its first column in the order of the file. */
static void lead_by_first(const mxsi_file *file, int64_t leader) {
  int64_t first = 0;
  while (file->group[first] != leader)
    first++;
  for (int64_t c = 0; c < file->study->columns; c++)
    if (file->group[c] == leader)
      file->group[c] = first;
}

static mxs_status read_zip(reader *r, const entry *e) {
  static const char form[] = "zip is a list of groups: zip: [[problem.rank, solve.k]]";
  const yaml_node_t *node = e->value;
  if (node == NULL || node->type != YAML_SEQUENCE_NODE)
    return mxs_fail(MXS_ERR_SETTINGS, "%s:%zu: %s", r->source.path, mxs_yaml_line(e->key), form);
  for (const yaml_node_item_t *item = node->data.sequence.items.start;
       item < node->data.sequence.items.top; item++) {
    const yaml_node_t *group = node_at(r, *item);
    int64_t leader = -1;
    if (group->type != YAML_SEQUENCE_NODE ||
        group->data.sequence.items.top - group->data.sequence.items.start < 2)
      return mxs_fail(MXS_ERR_SETTINGS, "%s:%zu: %s, of two keys or more", r->source.path,
                      mxs_yaml_line(group), form);
    for (const yaml_node_item_t *key = group->data.sequence.items.start;
         key < group->data.sequence.items.top; key++)
      MXS_TRY(join_zipped(r, node_at(r, *key), &leader));
    lead_by_first(&r->file, leader);
  }
  return MXS_OK;
}

/* ---- sizes ---------------------------------------------------------------------------------- */

/* Byte of the text at a mark: libyaml counts characters. */
static size_t byte_of(const reader *r, const yaml_mark_t *mark) {
  size_t at = 0;
  for (size_t characters = 0; at < r->length; at++)
    if (((unsigned char)r->text[at] & 0xc0) != 0x80 && characters++ == mark->index)
      break;
  return at;
}

/* The text with `size: NAME` as its own. */
static mxs_status set_text(reader *r, const yaml_node_t *root, const char *size) {
  const int own = find_entry(&r->entries, MXSI_OF_STUDY, KEY_SIZE);
  char **out = &r->file.study->text;
  if (size[0] == '\0')
    return mxs_text_format(out, "%.*s", (int)r->length, r->text);
  if (own >= 0) {
    const yaml_node_t *value = r->entries.of[own].value;
    const size_t from = byte_of(r, &value->start_mark);
    const size_t to = byte_of(r, &value->end_mark);
    return mxs_text_format(out, "%.*s%s%.*s", (int)from, r->text, size, (int)(r->length - to),
                           r->text + to);
  }
  const int flow = root->data.mapping.style == YAML_FLOW_MAPPING_STYLE;
  const size_t at = byte_of(r, &root->start_mark) + (flow ? 1 : 0);
  return mxs_text_format(out, "%.*s%ssize: %s%s%*s%.*s", (int)at, r->text, flow ? " " : "", size,
                         flow ? ", " : "\n", flow ? 0 : (int)root->start_mark.column, "",
                         (int)(r->length - at), r->text + at);
}

static int is_size_name(const char *name) {
  static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
  const size_t length = strlen(name);
  return length > 0 && length <= MOST_SIZE_NAME && strspn(name, plain) == length;
}

/* The names of the sizes, for messages. */
static void list_sizes(const reader *r, const yaml_node_t *sizes, char *out, size_t room) {
  out[0] = '\0';
  for (const yaml_node_pair_t *pair = sizes->data.mapping.pairs.start;
       pair < sizes->data.mapping.pairs.top; pair++) {
    const size_t used = strlen(out);
    (void)snprintf(out + used, room - used, "%s%.*s", used == 0 ? "" : ", ", MOST_SIZE_NAME,
                   (const char *)node_at(r, pair->key)->data.scalar.value);
  }
}

/* Every size must be one that could be chosen: its keys are looked at, and its values. */
static mxs_status try_size(reader *r, const entries *own, const yaml_node_t *overrides) {
  r->entries = *own;
  MXS_TRY(put_mapping(r, overrides, 1));
  for (int i = 0; i < r->entries.count; i++) {
    const entry *e = &r->entries.of[i];
    mxsi_column column = {.scope = e->scope, .option = e->option};
    if (e->scope == MXSI_OF_STUDY)
      continue;
    MXS_TRY(mxs_text_format(&column.key, "%s", r->tables->of[e->scope].options[e->option].key));
    const mxs_status status = mxsi_read_values(&r->source, r->tables, e->value, &column);
    mxsi_column_clear(&column);
    MXS_TRY(status);
  }
  return MXS_OK;
}

static mxs_status check_size(reader *r, const yaml_node_pair_t *pair, const char **name) {
  const yaml_node_t *key = node_at(r, pair->key);
  const yaml_node_t *value = node_at(r, pair->value);
  MXS_TRY(mxsi_scalar(&r->source, "the name of a size", key, name));
  if (!is_size_name(*name))
    return mxs_fail(MXS_ERR_SETTINGS,
                    "%s:%zu: sizes: '%.80s' is no name of a size: take letters, digits, _ and -",
                    r->source.path, mxs_yaml_line(key), *name);
  if (value == NULL || value->type != YAML_MAPPING_NODE)
    return mxs_fail(MXS_ERR_SETTINGS,
                    "%s:%zu: sizes: %s takes keys of the file: {problem: {n: 24}, repeats: 5}",
                    r->source.path, mxs_yaml_line(key), *name);
  return MXS_OK;
}

/* Put the keys of the size that is chosen in the place of the file's own. */
static mxs_status put_sizes(reader *r, const yaml_node_t *sizes, const char *chosen) {
  const entries own = r->entries;
  const yaml_node_t *overrides = NULL;
  char names[256];
  if (sizes == NULL || sizes->type != YAML_MAPPING_NODE)
    return mxs_fail(MXS_ERR_SETTINGS, "%s: sizes: write 'NAME: {KEYS}' lines below it",
                    r->source.path);
  for (const yaml_node_pair_t *pair = sizes->data.mapping.pairs.start;
       pair < sizes->data.mapping.pairs.top; pair++) {
    const char *name = "";
    MXS_TRY(check_size(r, pair, &name));
    const yaml_node_t *value = node_at(r, pair->value);
    MXS_TRY(try_size(r, &own, value));
    if (chosen != NULL && strcmp(name, chosen) == 0)
      overrides = value;
  }
  list_sizes(r, sizes, names, sizeof names);
  r->entries = own;
  if (chosen == NULL)
    return mxs_fail(MXS_ERR_SETTINGS,
                    "%s: size: none is chosen: add 'size: NAME', or --size NAME; "
                    "there are %s",
                    r->source.path, names);
  if (overrides == NULL)
    return mxs_fail(MXS_ERR_SETTINGS, "%s: size: there is no '%.80s': there are %s", r->source.path,
                    chosen, names);
  return put_mapping(r, overrides, 1);
}

static mxs_status choose_size(reader *r, const yaml_node_t *root, const char *size) {
  const int chosen = find_entry(&r->entries, MXSI_OF_STUDY, KEY_SIZE);
  const int sizes = find_entry(&r->entries, MXSI_OF_STUDY, KEY_SIZES);
  const char *name = size;
  const char *own = NULL;
  if (chosen >= 0)
    MXS_TRY(mxsi_scalar(&r->source, "size", r->entries.of[chosen].value, &own));
  if (name == NULL)
    name = own;
  if (sizes < 0 && name != NULL)
    return mxs_fail(MXS_ERR_SETTINGS, "%s: size: '%.80s', and the file has no sizes: drop it",
                    r->source.path, name);
  if (sizes >= 0)
    MXS_TRY(put_sizes(r, r->entries.of[sizes].value, name));
  MXS_TRY(mxs_text_format(&r->file.study->size, "%s", name != NULL ? name : ""));
  return set_text(r, root, r->file.study->size);
}

/* ---- the file ------------------------------------------------------------------------------- */

static mxs_status read_columns(reader *r) {
  mxs_study *study = r->file.study;
  MXS_TRY(mxs_alloc(r->entries.count + 2, sizeof *study->column, &study->column));
  MXS_TRY(mxs_alloc(r->entries.count + 2, sizeof *r->file.group, &r->file.group));
  for (int i = 0; i < r->entries.count; i++)
    MXS_TRY(read_entry(r, &r->entries.of[i]));
  if (study->problem_file == NULL)
    MXS_TRY(add_seed(r, MXSI_OF_PROBLEM));
  MXS_TRY(add_seed(r, MXSI_OF_SOLVE));
  for (int64_t c = 0; c < study->columns; c++)
    r->file.group[c] = c;
  const int zip = find_entry(&r->entries, MXSI_OF_STUDY, KEY_ZIP);
  if (zip >= 0)
    MXS_TRY(read_zip(r, &r->entries.of[zip]));
  study->repeats = r->tables->top.repeats;
  study->pack = r->tables->top.pack;
  r->file.repeat_over = r->tables->top.repeat_over;
  return study->problem_file == NULL ? check_problem_keys(r) : check_file_keys(r);
}

static mxs_status read_root(reader *r, const char *size) {
  const yaml_node_t *root = yaml_document_get_root_node(r->source.document);
  if (root == NULL || root->type != YAML_MAPPING_NODE)
    return mxs_fail(MXS_ERR_SETTINGS,
                    "%s:%zu: not a study: write 'problem:' and 'solve:' with keys below them; "
                    "mxsense study --help shows one",
                    r->source.path, root == NULL ? (size_t)1 : mxs_yaml_line(root));
  MXS_TRY(mxs_text_format(&r->file.study->title, "%s", r->source.path));
  MXS_TRY(mxs_table_defaults(&r->tables->of[MXSI_OF_STUDY], &r->tables->top));
  MXS_TRY(put_mapping(r, root, 0));
  MXS_TRY(choose_size(r, root, size));
  MXS_TRY(read_columns(r));
  return mxsi_study_expand(&r->file);
}

static mxs_status parse(reader *r, const char *size) {
  yaml_document_t document;
  MXS_TRY(mxs_yaml_load(r->source.path, r->text, r->length, &document));
  r->source.document = &document;
  const mxs_status status = read_root(r, size);
  yaml_document_delete(&document);
  return status;
}

mxs_status mxs_study_read(
    const char *path, const char *text, size_t length, const char *size, mxs_study **out) {
  reader *r = NULL;
  *out = NULL;
  if (length > INT32_MAX)
    return mxs_fail(MXS_ERR_SETTINGS, "%s: too long for a study file", path);
  MXS_TRY(mxs_alloc(1, sizeof *r, &r));
  *r = (reader){.source = {.path = path}, .text = text, .length = length};
  mxs_status status = MXS_OK;
  MXS_TRY_GOTO(status, mxs_alloc(1, sizeof *r->file.study, &r->file.study), cleanup);
  MXS_TRY_GOTO(status, mxs_text_format(&r->file.study->path, "%s", path), cleanup);
  MXS_TRY_GOTO(status, mxsi_tables_create(&r->tables), cleanup);
  MXS_TRY_GOTO(status, parse(r, size), cleanup);
  *out = r->file.study;
  r->file.study = NULL;
cleanup:
  mxs_study_destroy(&r->file.study);
  mxsi_tables_destroy(&r->tables);
  mxs_release(&r->file.group);
  mxs_release(&r);
  return status;
}

void mxs_study_destroy(mxs_study **study) {
  mxs_study *s = *study;
  if (s == NULL)
    return;
  for (int64_t c = 0; c < s->columns; c++)
    mxsi_column_clear(&s->column[c]);
  for (int64_t p = 0; p < s->passes; p++)
    mxs_release(&s->pass[p].points);
  mxs_release(&s->column);
  mxs_release(&s->pass);
  mxs_release(&s->point);
  mxs_release(&s->values);
  mxs_release(&s->path);
  mxs_release(&s->title);
  mxs_release(&s->size);
  mxs_release(&s->text);
  mxs_release(&s->problem_file);
  mxs_release(study);
}
