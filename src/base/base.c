#include "mxsense/base.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { ERROR_TEXT_SIZE = 2048, ALIGNMENT = 64 };

/* Memory of several huge pages comes fresh from the system, is aligned to them, and asks for them:
 * fewer misses of the address translation, prefetching that does not end every 4 KB, and pages that
 * are there, and near, from the first touch on. The address sanitizer wants to see all of it. */
enum { HUGE_PAGE = 1 << 21, HUGE_LEAST = 1 << 22 };
#if defined(MADV_HUGEPAGE) && !defined(__SANITIZE_ADDRESS__)
#define FRESH_PAGES 1
#else
#define FRESH_PAGES 0
#endif

/* In the ALIGNMENT bytes before a block. */
typedef struct origin {
  void *base;
  size_t mapped; /* bytes, 0: from malloc */
} origin;

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

/* Zeroed; NULL: no memory. */
static char *aligned_block(size_t bytes) {
  origin from = {NULL, 0};
  char *block = NULL;
#if FRESH_PAGES
  if (bytes >= HUGE_LEAST) {
    from.mapped = bytes + HUGE_PAGE + ALIGNMENT;
    from.base = mmap(NULL, from.mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (from.base == MAP_FAILED)
      return NULL;
    const size_t past = (size_t)((uintptr_t)from.base + ALIGNMENT) % HUGE_PAGE;
    block = (char *)from.base + ALIGNMENT + (past != 0 ? HUGE_PAGE - past : 0);
    (void)madvise(block, bytes, MADV_HUGEPAGE); /* a wish: small pages serve as well */
  }
#endif
  if (block == NULL) {
    if (posix_memalign(&from.base, ALIGNMENT, bytes + ALIGNMENT) != 0)
      return NULL;
    block = (char *)from.base + ALIGNMENT;
    memset(block, 0, bytes);
  }
  memcpy(block - ALIGNMENT, &from, sizeof from);
  return block;
}

static void free_block(char *block) {
  origin from;
  memcpy(&from, block - ALIGNMENT, sizeof from);
  if (from.mapped > 0)
    (void)munmap(from.base, from.mapped);
  else
    free(from.base);
}

mxs_status mxs_alloc(int64_t count, size_t size, void *out) {
  void *block = NULL;
  memcpy(out, &block, sizeof block);
  size_t bytes = 0;
  if (count < 0 || __builtin_mul_overflow((size_t)count, size, &bytes) ||
      bytes > (size_t)PTRDIFF_MAX - 2 * (size_t)HUGE_PAGE)
    return mxs_fail(MXS_ERR_MEMORY, "cannot allocate %lld elements of %zu bytes: size overflows",
                    (long long)count, size);
  bytes = bytes == 0 ? ALIGNMENT : bytes;
  block = aligned_block(bytes);
  if (block == NULL)
    return mxs_fail(MXS_ERR_MEMORY,
                    "cannot allocate %.3g GB: use more ranks or nodes, or a smaller k",
                    (double)bytes * 1e-9);
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
  free_block(block);
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
