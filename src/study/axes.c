#include "study/axes.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* ---- tables --------------------------------------------------------------------------------- */

static const mxs_choice repeats_over[] = {{"both", MXSI_REPEAT_PROBLEM | MXSI_REPEAT_START},
                                          {"problem", MXSI_REPEAT_PROBLEM},
                                          {"start", MXSI_REPEAT_START},
                                          {NULL, 0}};
static const mxs_choice packs[] = {{"auto", 1}, {"off", 0}, {NULL, 0}};

#define TOP(name) .key = #name, .offset = offsetof(mxsi_top, name)
#define SECTION(name) .key = #name, .offset = offsetof(mxsi_top, unused), .type = MXS_OPTION_PATH
static const mxs_option top_options[] = {
    {SECTION(title)},
    {SECTION(size)},
    {SECTION(sizes)},
    {SECTION(problem)},
    {SECTION(solve)},
    {SECTION(zip)},
    {TOP(repeats), .type = MXS_OPTION_INTEGER, .preset = "1", .low = 1, .high = MXSI_POINT_LIMIT},
    {TOP(repeat_over), .type = MXS_OPTION_CHOICE, .preset = "both", .choices = repeats_over},
    {TOP(ranks), .type = MXS_OPTION_INTEGER, .preset = "all", .automatic = "all", .low = 1,
     .high = INT32_MAX},
    {TOP(pack), .type = MXS_OPTION_CHOICE, .preset = "auto", .choices = packs},
};

#undef TOP
#undef SECTION

static const mxs_option derived_options[] = {
    {.key = "n",
     .offset = offsetof(mxsi_recipe, n),
     .type = MXS_OPTION_INTEGER,
     .low = 1,
     .high = INT32_MAX},
    {.key = "rho",
     .offset = offsetof(mxsi_recipe, rho),
     .type = MXS_OPTION_REAL,
     .low = 0,
     .high = INFINITY,
     .flags = MXS_OPTION_ABOVE_LOW},
    {.key = "measurements_per_rank",
     .offset = offsetof(mxsi_recipe, measurements_per_rank),
     .type = MXS_OPTION_INTEGER,
     .low = 1,
     .high = INFINITY},
};

static const char hint[] = "mxsense study --help";

mxs_table mxsi_problem_table(mxs_option storage[MXSI_PROBLEM_OPTIONS]) {
  const int planting = mxs_planting_table.count;
  const int derived = (int)(sizeof derived_options / sizeof derived_options[0]);
  memcpy(storage, mxs_planting_table.options, (size_t)planting * sizeof *storage);
  memcpy(storage + planting, derived_options, sizeof derived_options);
  return (mxs_table){"key of problem", hint, storage, planting + derived};
}

mxs_status mxsi_tables_create(mxsi_tables **out) {
  MXS_TRY(mxs_alloc(1, sizeof **out, out));
  mxsi_tables *tables = *out;
  tables->of[MXSI_OF_PROBLEM] = mxsi_problem_table(tables->storage);
  tables->of[MXSI_OF_SOLVE] = mxs_settings_table;
  tables->of[MXSI_OF_STUDY] =
      (mxs_table){"key", hint, top_options, (int)(sizeof top_options / sizeof top_options[0])};
  return MXS_OK;
}

void mxsi_tables_destroy(mxsi_tables **tables) {
  if (*tables != NULL)
    mxs_settings_clear(&(*tables)->settings);
  mxs_release(tables);
}

int64_t mxsi_rank_multiple(const char *text) {
  const size_t digits = strspn(text, "0123456789");
  if (strcmp(text + digits, "r") != 0 || digits > 9)
    return 0;
  int64_t factor = digits == 0 ? 1 : 0;
  for (size_t i = 0; i < digits; i++)
    factor = 10 * factor + (text[i] - '0');
  return factor;
}

static mxs_status canonical_rank_multiple(int64_t factor, char **out) {
  return factor == 1 ? mxs_text_format(out, "r") : mxs_text_format(out, "%lldr", (long long)factor);
}

mxs_status mxsi_canonical(
    mxsi_tables *tables, mxsi_scope scope, int option, const char *text, char **out) {
  const mxs_table *table = &tables->of[scope];
  const mxs_option *one = &table->options[option];
  void *const fields[] = {&tables->recipe, &tables->settings, &tables->top};
  mxs_text value = {0};
  const int64_t factor =
      scope == MXSI_OF_SOLVE && strcmp(one->key, "k") == 0 ? mxsi_rank_multiple(text) : 0;
  *out = NULL;
  if (factor > 0)
    return canonical_rank_multiple(factor, out);
  if (mxs_option_is_list(one) && strpbrk(text, ",[") != NULL)
    return mxs_fail(MXS_ERR_SETTINGS,
                    "%s: '%.80s' is a list inside of one point: write %s: [A, B], a point for each",
                    one->key, text, one->key);
  mxs_status status = mxs_table_set(table, fields[scope], option, text);
  if (status == MXS_OK)
    status = mxs_table_format(table, fields[scope], option, &value);
  if (status != MXS_OK)
    mxs_release(&value.data);
  *out = value.data;
  return status;
}

/* ---- nodes ---------------------------------------------------------------------------------- */

mxs_status mxsi_scalar(const mxsi_source *source,
                       const char *key,
                       const yaml_node_t *node,
                       const char **text) {
  if (node == NULL || node->type != YAML_SCALAR_NODE)
    return mxs_fail(MXS_ERR_SETTINGS, "%s:%zu: %s takes a single value here", source->path,
                    node == NULL ? 0 : mxs_yaml_line(node), key);
  *text = (const char *)node->data.scalar.value;
  if (strlen(*text) != node->data.scalar.length)
    return mxs_fail(MXS_ERR_SETTINGS, "%s:%zu: %s has a NUL in it", source->path,
                    mxs_yaml_line(node), key);
  if (mxs_yaml_is_null(node))
    return mxs_fail(MXS_ERR_SETTINGS, "%s:%zu: %s has no value: give one or remove the line",
                    source->path, mxs_yaml_line(node), key);
  if (node->end_mark.line > node->start_mark.line)
    return mxs_fail(MXS_ERR_SETTINGS,
                    "%s:%zu: no key, but more text for %s of line %zu: keep it to one line",
                    source->path, mxs_yaml_line(node) + 1, key, mxs_yaml_line(node));
  return MXS_OK;
}

/* ---- values --------------------------------------------------------------------------------- */

void mxsi_column_clear(mxsi_column *column) {
  for (int64_t i = 0; i < column->texts; i++)
    mxs_release(&column->values[i]);
  mxs_release(&column->values);
  mxs_release(&column->preset);
  mxs_release(&column->key);
  mxs_release(&column->name);
  *column = (mxsi_column){0};
}

static mxs_status make_room(const mxsi_source *source,
                            const yaml_node_t *node,
                            int64_t count,
                            mxsi_column *column) {
  if (count < 1)
    return mxs_fail(MXS_ERR_SETTINGS, "%s:%zu: %s: the list is empty: give values", source->path,
                    mxs_yaml_line(node), column->key);
  if (count > MXSI_POINT_LIMIT)
    return mxs_fail(MXS_ERR_SETTINGS, "%s:%zu: %s: more than %d values: make it shorter",
                    source->path, mxs_yaml_line(node), column->key, (int)MXSI_POINT_LIMIT);
  return mxs_alloc(count, sizeof *column->values, &column->values);
}

/* The next value of the column. */
static mxs_status add_value(const mxsi_source *source,
                            mxsi_tables *tables,
                            const yaml_node_t *node,
                            const char *text,
                            mxsi_column *column) {
  const mxs_status status =
      mxsi_canonical(tables, column->scope, column->option, text, &column->values[column->count]);
  if (status == MXS_ERR_SETTINGS)
    return mxs_fail(status, "%s:%zu: %s", source->path, mxs_yaml_line(node), mxs_last_error());
  MXS_TRY(status);
  column->count++;
  column->texts = column->count;
  return MXS_OK;
}

static mxs_status read_list(const mxsi_source *source,
                            mxsi_tables *tables,
                            const yaml_node_t *node,
                            mxsi_column *column) {
  const yaml_node_item_t *first = node->data.sequence.items.start;
  const yaml_node_item_t *end = node->data.sequence.items.top;
  MXS_TRY(make_room(source, node, end - first, column));
  for (const yaml_node_item_t *item = first; item < end; item++) {
    const yaml_node_t *value = yaml_document_get_node(source->document, *item);
    const char *text = "";
    MXS_TRY(mxsi_scalar(source, column->key, value, &text));
    MXS_TRY(add_value(source, tables, value, text, column));
  }
  return MXS_OK;
}

/* ---- ranges --------------------------------------------------------------------------------- */

typedef struct range {
  double from, to, step;
  int64_t count;
  int log;
} range;

enum { RANGE_FROM, RANGE_TO, RANGE_STEP, RANGE_COUNT, RANGE_SCALE, RANGE_KEYS };

static const mxs_choice scales[] = {{"linear", 0}, {"log", 1}, {NULL, 0}};
static const mxs_option range_options[RANGE_KEYS] = {
    [RANGE_FROM] = {.key = "from",
                    .offset = offsetof(range, from),
                    .type = MXS_OPTION_REAL,
                    .low = -INFINITY,
                    .high = INFINITY},
    [RANGE_TO] = {.key = "to",
                  .offset = offsetof(range, to),
                  .type = MXS_OPTION_REAL,
                  .low = -INFINITY,
                  .high = INFINITY},
    [RANGE_STEP] = {.key = "step",
                    .offset = offsetof(range, step),
                    .type = MXS_OPTION_REAL,
                    .low = -INFINITY,
                    .high = INFINITY},
    [RANGE_COUNT] = {.key = "count",
                     .offset = offsetof(range, count),
                     .type = MXS_OPTION_INTEGER,
                     .low = 2,
                     .high = MXSI_POINT_LIMIT},
    [RANGE_SCALE] = {.key = "scale",
                     .offset = offsetof(range, log),
                     .type = MXS_OPTION_CHOICE,
                     .choices = scales},
};
static const mxs_table range_table = {"key of a range", hint, range_options, RANGE_KEYS};

static mxs_status merge_range_key(const mxsi_source *source,
                                  const yaml_node_pair_t *pair,
                                  int given[RANGE_KEYS],
                                  range *out) {
  const yaml_node_t *key = yaml_document_get_node(source->document, pair->key);
  const yaml_node_t *value = yaml_document_get_node(source->document, pair->value);
  const char *name = "";
  const char *text = "";
  MXS_TRY(mxsi_scalar(source, "a key of a range", key, &name));
  const int index = mxs_table_find(&range_table, name);
  if (index < 0) {
    char suggestion[160];
    mxs_table_suggest(&range_table, name, suggestion, sizeof suggestion);
    return mxs_fail(MXS_ERR_SETTINGS, "%s:%zu: unknown %s '%.80s': %s", source->path,
                    mxs_yaml_line(key), range_table.noun, name, suggestion);
  }
  if (given[index]++)
    return mxs_fail(MXS_ERR_SETTINGS, "%s:%zu: %s is given twice: remove one", source->path,
                    mxs_yaml_line(key), range_options[index].key);
  MXS_TRY(mxsi_scalar(source, range_options[index].key, value, &text));
  const mxs_status status = mxs_table_set(&range_table, out, index, text);
  return status == MXS_ERR_SETTINGS
             ? mxs_fail(status, "%s:%zu: %s", source->path, mxs_yaml_line(value), mxs_last_error())
             : status;
}

/* Both ends belong to a range: so many steps must lead from one to the other. */
static mxs_status count_steps(range *out) {
  const double steps = (out->to - out->from) / out->step;
  const double whole = round(steps);
  if (!(steps >= 0.0))
    return mxs_fail(MXS_ERR_SETTINGS, "step: %g does not lead from %g to %g: turn it round",
                    out->step, out->from, out->to);
  if (steps >= MXSI_POINT_LIMIT)
    return mxs_fail(MXS_ERR_SETTINGS, "step: more than %d values: give a larger step",
                    (int)MXSI_POINT_LIMIT);
  if (fabs(steps - whole) > 1e-9 * fmax(1.0, steps))
    return mxs_fail(MXS_ERR_SETTINGS,
                    "step: %g does not end at %g: both ends belong to a range: give to: %.12g",
                    out->step, out->to, out->from + floor(steps) * out->step);
  out->count = (int64_t)whole + 1;
  return MXS_OK;
}

static mxs_status check_range(const int given[RANGE_KEYS], range *out) {
  if (!given[RANGE_FROM] || !given[RANGE_TO] || given[RANGE_STEP] + given[RANGE_COUNT] != 1)
    return mxs_fail(MXS_ERR_SETTINGS, "a range is {from: A, to: B, step: C} or {from: A, to: B, "
                                      "count: N, scale: linear or log}");
  if (given[RANGE_STEP] && given[RANGE_SCALE])
    return mxs_fail(MXS_ERR_SETTINGS, "scale: goes with count, not with step: drop one");
  if (out->log && (out->from <= 0.0 || out->to <= 0.0))
    return mxs_fail(MXS_ERR_SETTINGS, "scale: log needs ends above 0");
  return given[RANGE_STEP] ? count_steps(out) : MXS_OK;
}

static double range_value(const range *r, int64_t i) {
  if (i == 0)
    return r->from;
  if (i == r->count - 1)
    return r->to;
  if (r->step != 0.0)
    return r->from + (double)i * r->step;
  const double share = (double)i / (double)(r->count - 1);
  if (r->log)
    return pow(10.0, log10(r->from) + share * (log10(r->to) - log10(r->from)));
  return r->from + share * (r->to - r->from);
}

/* Ends as they were given; what is between them has twelve digits, so that 0.3 is 0.3. */
static mxs_status range_text(const range *r, int64_t i, int whole, char out[64]) {
  const double value = range_value(r, i);
  char digits[MXS_REAL_TEXT];
  if (whole && fabs(value) >= 9e18)
    return mxs_fail(MXS_ERR_SETTINGS, "%g is too large for an integer", value);
  if (whole)
    (void)snprintf(out, 64, "%lld", (long long)llround(value));
  else if (i == 0 || i == r->count - 1) {
    mxs_format_real(value, digits);
    (void)snprintf(out, 64, "%s", digits);
  } else
    (void)snprintf(out, 64, "%.12g", value);
  for (char *p = out; *p != '\0'; p++)
    if (*p == ',')
      *p = '.'; /* of the locale */
  return MXS_OK;
}

static mxs_status add_range(const mxsi_source *source,
                            mxsi_tables *tables,
                            const yaml_node_t *node,
                            const range *r,
                            mxsi_column *column) {
  const mxs_option_type type = tables->of[column->scope].options[column->option].type;
  const int whole = type == MXS_OPTION_INTEGER || type == MXS_OPTION_INTEGERS;
  char text[64];
  if (!whole && type != MXS_OPTION_REAL && type != MXS_OPTION_REALS)
    return mxs_fail(MXS_ERR_SETTINGS, "%s:%zu: %s: a range is for numbers: give a list",
                    source->path, mxs_yaml_line(node), column->key);
  MXS_TRY(make_room(source, node, r->count, column));
  for (int64_t i = 0; i < r->count; i++) {
    if (range_text(r, i, whole, text) != MXS_OK)
      return mxs_fail(MXS_ERR_SETTINGS, "%s:%zu: %s: %s", source->path, mxs_yaml_line(node),
                      column->key, mxs_last_error());
    MXS_TRY(add_value(source, tables, node, text, column));
    if (i > 0 && strcmp(column->values[i], column->values[i - 1]) == 0)
      return mxs_fail(MXS_ERR_SETTINGS,
                      "%s:%zu: %s: the range has %s twice: give a smaller count or a larger step",
                      source->path, mxs_yaml_line(node), column->key, column->values[i]);
  }
  return MXS_OK;
}

static mxs_status read_range(const mxsi_source *source,
                             mxsi_tables *tables,
                             const yaml_node_t *node,
                             mxsi_column *column) {
  range r = {0};
  int given[RANGE_KEYS] = {0};
  for (const yaml_node_pair_t *pair = node->data.mapping.pairs.start;
       pair < node->data.mapping.pairs.top; pair++)
    MXS_TRY(merge_range_key(source, pair, given, &r));
  const mxs_status status = check_range(given, &r);
  if (status != MXS_OK)
    return mxs_fail(status, "%s:%zu: %s: %s", source->path, mxs_yaml_line(node), column->key,
                    mxs_last_error());
  return add_range(source, tables, node, &r, column);
}

mxs_status mxsi_read_values(const mxsi_source *source,
                            mxsi_tables *tables,
                            const yaml_node_t *node,
                            mxsi_column *column) {
  const char *text = "";
  if (node == NULL)
    return mxs_fail(MXS_ERR_SETTINGS, "%s: %s has no value: give one", source->path, column->key);
  column->line = mxs_yaml_line(node);
  if (node->type == YAML_SEQUENCE_NODE)
    return read_list(source, tables, node, column);
  if (node->type == YAML_MAPPING_NODE)
    return read_range(source, tables, node, column);
  MXS_TRY(mxsi_scalar(source, column->key, node, &text));
  MXS_TRY(make_room(source, node, 1, column));
  return add_value(source, tables, node, text, column);
}
