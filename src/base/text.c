#include "base/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static mxs_status reserve(mxs_text *text, int64_t more) {
  const int64_t needed = text->length + more + 1;
  if (needed <= text->capacity)
    return MXS_OK;
  char *larger = NULL;
  const int64_t capacity = needed > 2 * text->capacity ? needed + 256 : 2 * text->capacity;
  MXS_TRY(mxs_alloc(capacity, 1, &larger));
  if (text->data != NULL)
    memcpy(larger, text->data, (size_t)text->length);
  mxs_release(&text->data);
  text->data = larger;
  text->capacity = capacity;
  return MXS_OK;
}

/* `args` and `again` are the same arguments: one for the length, one for the text. */
static mxs_status append(mxs_text *text, const char *format, va_list args, va_list again)
    MXS_PRINTF(2, 0);

static mxs_status append(mxs_text *text, const char *format, va_list args, va_list again) {
  const int length = vsnprintf(NULL, 0, format, args);
  if (length < 0)
    return mxs_fail(MXS_ERR_INTERNAL, "cannot format a text");
  MXS_TRY(reserve(text, length));
  if (vsnprintf(text->data + text->length, (size_t)length + 1, format, again) != length)
    return mxs_fail(MXS_ERR_INTERNAL, "cannot format a text");
  text->length += length;
  return MXS_OK;
}

mxs_status mxs_text_add(mxs_text *text, const char *format, ...) {
  va_list args;
  va_list again;
  va_start(args, format);
  va_start(again, format);
  const mxs_status status = append(text, format, args, again);
  va_end(args);
  va_end(again);
  return status;
}

mxs_status mxs_text_format(char **out, const char *format, ...) {
  mxs_text text = {0};
  va_list args;
  va_list again;
  va_start(args, format);
  va_start(again, format);
  const mxs_status status = append(&text, format, args, again);
  va_end(args);
  va_end(again);
  if (status != MXS_OK)
    mxs_release(&text.data);
  *out = text.data;
  return status;
}

mxs_status mxs_text_wrap(mxs_text *text, const char *words, int indent, int width) {
  int column = indent;
  for (const char *p = words + strspn(words, " "); *p != '\0';) {
    const int length = (int)strcspn(p, " ");
    if (column > indent && column + 1 + length > width) {
      MXS_TRY(mxs_text_add(text, "\n%*s", indent, ""));
      column = indent;
    }
    MXS_TRY(mxs_text_add(text, "%s%.*s", column > indent ? " " : "", length, p));
    column += length + (column > indent);
    p += length;
    p += strspn(p, " ");
  }
  return mxs_text_add(text, "\n");
}
