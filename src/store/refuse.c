#include "base/text.h"
#include "store/store_impl.h"

#include <string.h>

/* A file that must not be opened, as it was when somebody said so. */
typedef struct refusal {
  struct refusal *next;
  struct stat what;
  char *why;
} refusal;

static refusal *refusals;

mxs_status mxs_store_refuse(const char *path, const struct stat *what, const char *why) {
  refusal *one = NULL;
  MXS_TRY(mxs_alloc(1, sizeof *one, &one));
  const mxs_status status = mxs_text_format(&one->why, "%s: %s", path, why);
  if (status != MXS_OK) {
    mxs_release(&one);
    return status;
  }
  one->what = *what;
  one->next = refusals;
  refusals = one;
  return MXS_OK;
}

void mxs_store_refuse_none(void) {
  while (refusals != NULL) {
    refusal *first = refusals;
    refusals = first->next;
    mxs_release(&first->why);
    mxs_release(&first);
  }
}

static int same_file(const struct stat *a, const struct stat *b) {
  return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
         a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

mxs_status mxsi_store_check_refused(const struct stat *what) {
  for (const refusal *one = refusals; one != NULL; one = one->next)
    if (same_file(&one->what, what))
      return mxs_fail(MXS_ERR_DATA, "%s", one->why);
  return MXS_OK;
}
