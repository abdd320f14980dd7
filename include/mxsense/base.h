/** @file
 *  Status codes, error text, matrix views and memory: what every other header builds on.
 *
 *  Collectivity, as used in all headers of mxsense:
 *   - Local: no communication; ranks may differ in arguments and status.
 *   - Collective: every rank of the communicator calls it, and all return the same status.
 *   - Logically collective: same arguments on every rank, no communication. */
#ifndef MXSENSE_BASE_H
#define MXSENSE_BASE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define MXS_CHECKED __attribute__((warn_unused_result))
#define MXS_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define MXS_API __attribute__((visibility("default")))
#else
#define MXS_CHECKED
#define MXS_PRINTF(fmt, args)
#define MXS_API
#endif

/** Every status with the exit code of the program that ends on it, and its meaning. */
#define MXS_STATUS_LIST(X)                                                                         \
  X(MXS_OK, 0, "success")                                                                          \
  X(MXS_ERR_USAGE, 64, "wrong usage")                                                              \
  X(MXS_ERR_DATA, 65, "bad data")                                                                  \
  X(MXS_ERR_INPUT, 66, "input missing")                                                            \
  X(MXS_ERR_MISMATCH, 69, "ranks disagree")                                                        \
  X(MXS_ERR_INTERNAL, 70, "internal error")                                                        \
  X(MXS_ERR_MEMORY, 70, "out of memory")                                                           \
  X(MXS_ERR_NUMERIC, 70, "numerical breakdown")                                                    \
  X(MXS_ERR_ARG, 70, "invalid argument")                                                           \
  X(MXS_ERR_CORRUPT, 70, "replicated state was corrupted")                                         \
  X(MXS_ERR_CREATE, 73, "cannot create")                                                           \
  X(MXS_ERR_IO, 74, "input or output failed")                                                      \
  X(MXS_ERR_PERMISSION, 77, "permission denied or in use")                                         \
  X(MXS_ERR_SETTINGS, 78, "bad settings")

typedef enum mxs_status {
#define MXS_STATUS_ENUM(name, code, text) name,
  MXS_STATUS_LIST(MXS_STATUS_ENUM)
#undef MXS_STATUS_ENUM
      MXS_STATUS_COUNT
} mxs_status;

/** Meaning of a status in a few words. Local. */
MXS_API const char *mxs_status_text(mxs_status status);

/** Exit code of a program that ends on `status` (sysexits.h where it fits). Local. */
MXS_API int mxs_status_exit_code(mxs_status status);

/** Text of this thread's last error, without newline; "" if none. Valid until the next error.
 *  Local. */
MXS_API const char *mxs_last_error(void);

/** Record an error text for this thread and return `status`: `return mxs_fail(MXS_ERR_DATA, ...)`.
 *  Local. The text names the file or key, and what to do. */
MXS_API mxs_status mxs_fail(mxs_status status, const char *format, ...) MXS_PRINTF(2, 3);

/** Return early with the status of a failed call. */
#define MXS_TRY(call)                                                                              \
  do {                                                                                             \
    const mxs_status mxs_try_status_ = (call);                                                     \
    if (mxs_try_status_ != MXS_OK)                                                                 \
      return mxs_try_status_;                                                                      \
  } while (0)

/** As MXS_TRY, for functions that own something: sets `status` and goes to the label. */
#define MXS_TRY_GOTO(status, call, label)                                                          \
  do {                                                                                             \
    (status) = (call);                                                                             \
    if ((status) != MXS_OK)                                                                        \
      goto label;                                                                                  \
  } while (0)

/** Row-major view of a matrix: entry (i, j) is a[i * ld + j], ld >= cols. The view owns nothing. */
typedef struct mxs_mat {
  double *a;
  int64_t rows, cols, ld;
} mxs_mat;

/** Row-major view of a matrix that is only read. */
typedef struct mxs_cmat {
  const double *a;
  int64_t rows, cols, ld;
} mxs_cmat;

/** View of `rows` x `cols` contiguous doubles. */
static inline mxs_mat mxs_view(double *a, int64_t rows, int64_t cols) {
  return (mxs_mat){a, rows, cols, cols};
}

/** Read-only view of `rows` x `cols` contiguous doubles. */
static inline mxs_cmat mxs_cview(const double *a, int64_t rows, int64_t cols) {
  return (mxs_cmat){a, rows, cols, cols};
}

/** Allocate `count` zeroed elements of `size` bytes, 64-byte aligned; `*(void **)out` receives the
 *  pointer (never NULL on success, also for count 0). Local. @retval MXS_ERR_MEMORY, also when
 *  count * size overflows. */
MXS_API MXS_CHECKED mxs_status mxs_alloc(int64_t count, size_t size, void *out);

/** Free what mxs_alloc() gave and set the pointer to NULL; `out` is the address of the pointer.
 *  Local. */
MXS_API void mxs_release(void *out);

/** Number of mxs_alloc() blocks not yet released in this process; 0 when nothing leaks. Local. */
MXS_API int64_t mxs_alloc_outstanding(void);

/** Number of mxs_alloc() calls made so far in this process. Local. */
MXS_API int64_t mxs_alloc_calls(void);

#ifdef __cplusplus
}
#endif
#endif
