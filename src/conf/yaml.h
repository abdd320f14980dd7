/** @file
 *  A file of YAML as one document, for settings and for studies. Room `conf`. */
#ifndef MXS_CONF_YAML_H
#define MXS_CONF_YAML_H

#include "mxsense/base.h"

#include <yaml.h>

/** Load the only document of a text in UTF-8; its root is NULL where there is none. To be released
 *  with yaml_document_delete(). Local.
 *  @retval MXS_ERR_SETTINGS not YAML, or a second document; the text names `path` and line */
MXS_CHECKED mxs_status mxs_yaml_load(const char *path,
                                     const char *text,
                                     size_t length,
                                     yaml_document_t *document);

/** Line of a node, from 1. Local. */
size_t mxs_yaml_line(const yaml_node_t *node);

/** Whether a scalar stands for nothing: empty, "~" or "null". Local. */
int mxs_yaml_is_null(const yaml_node_t *node);

#endif
