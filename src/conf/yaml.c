#include "conf/yaml.h"

#include "conf/table.h"

#include <stdio.h>
#include <string.h>

/* ---- documents --------------------------------------------------------------------------------
 */

size_t mxs_yaml_line(const yaml_node_t *node) {
  return node->start_mark.line + 1;
}

int mxs_yaml_is_null(const yaml_node_t *node) {
  const char *text = (const char *)node->data.scalar.value;
  return node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
         (text[0] == '\0' || strcmp(text, "~") == 0 || strcmp(text, "null") == 0);
}

static mxs_status syntax_error(const yaml_parser_t *parser, const char *path) {
  return mxs_fail(MXS_ERR_SETTINGS, "%s:%zu: not valid YAML: %s", path,
                  parser->problem_mark.line + 1,
                  parser->problem != NULL ? parser->problem : "unreadable");
}

/* A second document would be silently lost. */
static mxs_status expect_end(yaml_parser_t *parser, const char *path) {
  yaml_document_t rest;
  if (!yaml_parser_load(parser, &rest))
    return syntax_error(parser, path);
  const yaml_node_t *root = yaml_document_get_root_node(&rest);
  const size_t line = root == NULL ? 0 : mxs_yaml_line(root);
  yaml_document_delete(&rest);
  if (line > 0)
    return mxs_fail(MXS_ERR_SETTINGS,
                    "%s:%zu: a second YAML document starts: use one file for each", path, line);
  return MXS_OK;
}

static mxs_status load(yaml_parser_t *parser, const char *path, yaml_document_t *document) {
  if (!yaml_parser_load(parser, document))
    return syntax_error(parser, path);
  if (yaml_document_get_root_node(document) == NULL)
    return MXS_OK;
  const mxs_status status = expect_end(parser, path);
  if (status != MXS_OK)
    yaml_document_delete(document);
  return status;
}

mxs_status mxs_yaml_load(const char *path,
                         const char *text,
                         size_t length,
                         yaml_document_t *document) {
  yaml_parser_t parser;
  if (!yaml_parser_initialize(&parser))
    return mxs_fail(MXS_ERR_MEMORY, "%s: no memory for the YAML parser", path);
  yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
  yaml_parser_set_input_string(&parser, (const unsigned char *)text, length);
  const mxs_status status = load(&parser, path, document);
  yaml_parser_delete(&parser);
  return status;
}

/* ---- settings ---------------------------------------------------------------------------------
 */

/** A document being merged: for messages, what was given and where. */
typedef struct merge {
  const mxs_table *table;
  void *fields;
  const char *path;
  yaml_document_t *document;
  size_t *lines; /* lines[option]: where it was given, 0: not yet */
} merge;

/* The text of a scalar; NULL for other nodes and for text with a NUL inside. */
static const char *scalar_text(const yaml_node_t *node) {
  if (node == NULL || node->type != YAML_SCALAR_NODE)
    return NULL;
  const char *text = (const char *)node->data.scalar.value;
  return strlen(text) == node->data.scalar.length ? text : NULL;
}

/* The scalars of a list as the text that the command line would have. */
static mxs_status join_list(const merge *m,
                            const char *key,
                            const yaml_node_t *list,
                            mxs_text *text) {
  const yaml_node_item_t *first = list->data.sequence.items.start;
  for (const yaml_node_item_t *item = first; item < list->data.sequence.items.top; item++) {
    const yaml_node_t *node = yaml_document_get_node(m->document, *item);
    const char *value = scalar_text(node);
    if (value == NULL || strpbrk(value, ",[]") != NULL)
      return mxs_fail(MXS_ERR_SETTINGS, "%s:%zu: %s takes a list of single values", m->path,
                      mxs_yaml_line(list), key);
    MXS_TRY(mxs_text_add(text, "%s%s", item == first ? "[" : ", ", value));
  }
  return first == list->data.sequence.items.top ? mxs_text_add(text, "[]")
                                                : mxs_text_add(text, "]");
}

static mxs_status set_text(const merge *m, int index, const yaml_node_t *value, const char *text) {
  const mxs_status status = mxs_table_set(m->table, m->fields, index, text);
  return status == MXS_ERR_SETTINGS
             ? mxs_fail(status, "%s:%zu: %s", m->path, mxs_yaml_line(value), mxs_last_error())
             : status;
}

static mxs_status merge_list(const merge *m, int index, const yaml_node_t *value) {
  mxs_text text = {0};
  mxs_status status = join_list(m, m->table->options[index].key, value, &text);
  if (status == MXS_OK)
    status = set_text(m, index, value, text.data);
  mxs_release(&text.data);
  return status;
}

static mxs_status merge_pair(const merge *m, const yaml_node_t *key, const yaml_node_t *value) {
  const char *name = scalar_text(key);
  if (name == NULL)
    return mxs_fail(MXS_ERR_SETTINGS, "%s:%zu: a key must be plain text", m->path,
                    mxs_yaml_line(key));
  const int index = mxs_table_find(m->table, name);
  if (index < 0) {
    char suggestion[160];
    mxs_table_suggest(m->table, name, suggestion, sizeof suggestion);
    return mxs_fail(MXS_ERR_SETTINGS, "%s:%zu: unknown %s '%.80s': %s", m->path, mxs_yaml_line(key),
                    m->table->noun, name, suggestion);
  }
  if (m->lines[index] != 0)
    return mxs_fail(MXS_ERR_SETTINGS, "%s:%zu: %s is given twice, first on line %zu: remove one",
                    m->path, mxs_yaml_line(key), m->table->options[index].key, m->lines[index]);
  m->lines[index] = mxs_yaml_line(key);
  if (value != NULL && value->type == YAML_SEQUENCE_NODE &&
      mxs_option_is_list(&m->table->options[index]))
    return merge_list(m, index, value);
  const char *text = scalar_text(value);
  if (text == NULL)
    return mxs_fail(MXS_ERR_SETTINGS, "%s:%zu: %s takes a single value, not a list or mapping",
                    m->path, mxs_yaml_line(key), m->table->options[index].key);
  if (mxs_yaml_is_null(value))
    return mxs_fail(MXS_ERR_SETTINGS, "%s:%zu: %s has no value: give one or remove the line",
                    m->path, mxs_yaml_line(key), m->table->options[index].key);
  if (value->end_mark.line > value->start_mark.line)
    return mxs_fail(MXS_ERR_SETTINGS,
                    "%s:%zu: not a setting, but more text for %s of line %zu: keep it to one line",
                    m->path, mxs_yaml_line(value) + 1, m->table->options[index].key,
                    mxs_yaml_line(value));
  return set_text(m, index, value, text);
}

static mxs_status merge_document(const merge *m) {
  const yaml_node_t *root = yaml_document_get_root_node(m->document);
  if (root == NULL || (root->type == YAML_SCALAR_NODE && root->data.scalar.length == 0))
    return MXS_OK; /* only comments: nothing is set */
  if (root->type != YAML_MAPPING_NODE)
    return mxs_fail(MXS_ERR_SETTINGS, "%s:%zu: not a list of settings: write 'key: value' lines",
                    m->path, mxs_yaml_line(root));
  for (const yaml_node_pair_t *pair = root->data.mapping.pairs.start;
       pair < root->data.mapping.pairs.top; pair++)
    MXS_TRY(merge_pair(m, yaml_document_get_node(m->document, pair->key),
                       yaml_document_get_node(m->document, pair->value)));
  return MXS_OK;
}

mxs_status mxs_table_merge_yaml(
    const mxs_table *table, void *fields, const char *path, const char *text, size_t length) {
  size_t *lines = NULL;
  yaml_document_t document;
  MXS_TRY(mxs_alloc(table->count, sizeof *lines, &lines));
  mxs_status status = mxs_yaml_load(path, text, length, &document);
  if (status == MXS_OK) {
    const merge m = {table, fields, path, &document, lines};
    status = merge_document(&m);
    yaml_document_delete(&document);
  }
  mxs_release(&lines);
  return status;
}
