/** @file
 *  Text that grows. Room `base`. */
#ifndef MXS_BASE_TEXT_H
#define MXS_BASE_TEXT_H

#include "mxsense/base.h"

/** Zero-initialise; `data` is NULL or ends with a NUL, and is released with mxs_release(). */
typedef struct mxs_text {
  char *data;
  int64_t length, capacity;
} mxs_text;

/** Append formatted text; for numbers with a decimal point use mxs_format_real() and %s. Local. */
MXS_CHECKED mxs_status mxs_text_add(mxs_text *text, const char *format, ...) MXS_PRINTF(2, 3);

/** A new formatted text, released with mxs_release(); NULL on failure. Local. */
MXS_CHECKED mxs_status mxs_text_format(char **out, const char *format, ...) MXS_PRINTF(2, 3);

/** Append `words` (separated by spaces), broken into lines of at most `width` columns, each but the
 *  first indented by `indent`; the first starts at column `indent`. Ends with a newline. Local. */
MXS_CHECKED mxs_status mxs_text_wrap(mxs_text *text, const char *words, int indent, int width);

#endif
