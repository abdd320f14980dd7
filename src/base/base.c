#include "mxsense/base.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { ERROR_TEXT_SIZE = 2048, ALIGNMENT = 64 };

/* Memory of several huge pages is aligned to them, and asks for them: fewer misses of the address
 * translation, and prefetching that does not end every 4 KB. */
enum { HUGE_PAGE = 1 << 21, HUGE_LEAST = 1 << 22 };

static _Thread_local char error_text[ERROR_TEXT_SIZE];
static atomic_int_fast64_t outstanding;
static atomic_int_fast64_t calls;

static const struct {
  int exit_code;
  const char *text;
} statuses[MXS_STATUS_COUNT] = {
#define STATUS_ROW(name, code, text) [name] = {code, text},
    MXS_STATUS_LIST(STATUS_ROW)
#undef STATUS_ROW
};

static int known(mxs_status status) {
  return (int)status >= 0 && status < MXS_STATUS_COUNT;
}

const char *mxs_status_text(mxs_status status) {
  return known(status) ? statuses[status].text : "unknown status";
}

int mxs_status_exit_code(mxs_status status) {
  return statuses[known(status) ? status : MXS_ERR_INTERNAL].exit_code;
}

const char *mxs_last_error(void) {
  return error_text;
}

mxs_status mxs_fail(mxs_status status, const char *format, ...) {
  char text[ERROR_TEXT_SIZE]; /* the arguments may include mxs_last_error() itself */
  va_list args;
  va_start(args, format);
  if (vsnprintf(text, sizeof text, format, args) < 0)
    text[0] = '\0';
  va_end(args);
  memcpy(error_text, text, sizeof text);
  return status;
}

/* NULL: no memory. */
static void *aligned_block(size_t bytes) {
  void *block = NULL;
  const size_t alignment = bytes >= HUGE_LEAST ? HUGE_PAGE : ALIGNMENT;
  if (posix_memalign(&block, alignment, bytes) != 0)
    return NULL;
#ifdef MADV_HUGEPAGE
  if (bytes >= HUGE_LEAST)
    (void)madvise(block, bytes, MADV_HUGEPAGE); /* a wish: small pages serve as well */
#endif
  return block;
}

mxs_status mxs_alloc(int64_t count, size_t size, void *out) {
  void *block = NULL;
  memcpy(out, &block, sizeof block);
  size_t bytes = 0;
  if (count < 0 || __builtin_mul_overflow((size_t)count, size, &bytes) ||
      bytes > (size_t)PTRDIFF_MAX - HUGE_PAGE)
    return mxs_fail(MXS_ERR_MEMORY, "cannot allocate %lld elements of %zu bytes: size overflows",
                    (long long)count, size);
  bytes = bytes == 0 ? ALIGNMENT : bytes;
  block = aligned_block(bytes);
  if (block == NULL)
    return mxs_fail(MXS_ERR_MEMORY,
                    "cannot allocate %.3g GB: use more ranks or nodes, or a smaller k",
                    (double)bytes * 1e-9);
  memset(block, 0, bytes);
  memcpy(out, &block, sizeof block);
  atomic_fetch_add(&outstanding, 1);
  atomic_fetch_add(&calls, 1);
  return MXS_OK;
}

void mxs_release(void *out) {
  void *block = NULL;
  memcpy(&block, out, sizeof block);
  if (block == NULL)
    return;
  free(block);
  block = NULL;
  memcpy(out, &block, sizeof block);
  atomic_fetch_sub(&outstanding, 1);
}

int64_t mxs_alloc_outstanding(void) {
  return (int64_t)atomic_load(&outstanding);
}

int64_t mxs_alloc_calls(void) {
  return (int64_t)atomic_load(&calls);
}
