#include "base/text.h"
#include "ckpt/ckpt_impl.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NAME_SIZE = 64 };

/* Zeros in front, so that a listing is in order. */
static void name_of(int64_t iteration, char name[NAME_SIZE]) {
  (void)snprintf(name, NAME_SIZE, "checkpoint.%010" PRId64 ".h5", iteration);
}

mxs_status mxs_ckpt_kept_path(const char *dir, int64_t iteration, char **path) {
  char name[NAME_SIZE];
  name_of(iteration, name);
  return mxs_text_format(path, "%s/%s", dir, name);
}

/* -1: it is the name of none. */
static int64_t iteration_of(const char *name) {
  static const char head[] = "checkpoint.";
  char again[NAME_SIZE];
  if (strncmp(name, head, sizeof head - 1) != 0)
    return -1;
  const int64_t iteration = strtoll(name + sizeof head - 1, NULL, 10);
  name_of(iteration, again);
  return strcmp(name, again) == 0 ? iteration : -1;
}

static int later_first(const void *a, const void *b) {
  int64_t x = 0;
  int64_t y = 0;
  memcpy(&x, a, sizeof x);
  memcpy(&y, b, sizeof y);
  return (x < y) - (x > y);
}

static mxs_status append(int64_t **list, int64_t *count, int64_t *capacity, int64_t value) {
  if (*count == *capacity) {
    int64_t *longer = NULL;
    const int64_t room = *capacity > 0 ? 2 * *capacity : 16;
    MXS_TRY(mxs_alloc(room, sizeof *longer, &longer));
    if (*count > 0)
      memcpy(longer, *list, (size_t)*count * sizeof *longer);
    mxs_release(list);
    *list = longer;
    *capacity = room;
  }
  (*list)[(*count)++] = value;
  return MXS_OK;
}

mxs_status mxs_ckpt_kept(const char *dir, int64_t **iterations, int64_t *count) {
  int64_t capacity = 0;
  mxs_status status = MXS_OK;
  *iterations = NULL;
  *count = 0;
  DIR *stream = opendir(dir);
  if (stream == NULL)
    return MXS_OK;
  for (const struct dirent *entry = readdir(stream); entry != NULL && status == MXS_OK;
       entry = readdir(stream)) {
    const int64_t iteration = iteration_of(entry->d_name);
    if (iteration >= 0)
      status = append(iterations, count, &capacity, iteration);
  }
  (void)closedir(stream);
  if (status != MXS_OK)
    mxs_release(iterations);
  else if (*count > 0)
    qsort(*iterations, (size_t)*count, sizeof **iterations, later_first);
  return status;
}

mxs_status mxsi_ckpt_path_to_keep(const char *dir, const char *path, char **kept) {
  hid_t file = H5I_INVALID_HID;
  int64_t iteration = -1;
  *kept = NULL;
  if (mxs_store_open(path, &file) != MXS_OK ||
      mxs_store_get_integer(file, path, "iteration", &iteration) != MXS_OK)
    iteration = -1;
  (void)mxs_store_close(&file);
  return iteration >= 0 ? mxs_ckpt_kept_path(dir, iteration, kept) : MXS_OK;
}

void mxsi_ckpt_prune(const char *dir, int64_t iteration, int64_t keep) {
  int64_t *iterations = NULL;
  int64_t count = 0;
  int64_t older = 0;
  if (mxs_ckpt_kept(dir, &iterations, &count) != MXS_OK)
    return;
  for (int64_t i = 0; i < count; i++) {
    char *path = NULL;
    if (iterations[i] >= iteration || older++ < keep)
      continue;
    if (mxs_ckpt_kept_path(dir, iterations[i], &path) == MXS_OK)
      (void)unlink(path);
    mxs_release(&path);
  }
  mxs_release(&iterations);
}
