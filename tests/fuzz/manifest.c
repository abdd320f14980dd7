/* The manifest of a checkpoint: what is accepted makes a checkpoint whose parts can be asked for.
 */
#include "fuzz.h"

#include "ckpt/ckpt_impl.h"

#include <string.h>

static void walk(const mxs_ckpt *ckpt) {
  const mxs_array *arrays = NULL;
  const int64_t count = mxs_ckpt_arrays(ckpt, &arrays);
  for (int64_t i = 0; i < count; i++) {
    const mxs_array *found = NULL;
    const int64_t entries = arrays[i].rows * arrays[i].cols;
    if (entries > 0) /* the first and the last can be touched */
      ((double *)arrays[i].data)[entries - 1] = ((double *)arrays[i].data)[0];
    FUZZ_REQUIRE((mxs_ckpt_doubles(ckpt, arrays[i].name, &found) == MXS_OK) !=
                         arrays[i].is_integer ||
                     found != &arrays[i],
                 arrays[i].name);
  }
  for (int64_t r = 0; r < mxs_ckpt_get_info(ckpt)->replicas; r++) {
    const mxs_history *history = mxs_ckpt_history(ckpt, r);
    for (int64_t c = 0; c < history->columns; c++)
      FUZZ_REQUIRE(strlen(history->names[c]) < SIZE_MAX, "columns have names");
    if (history->rows * history->columns > 0)
      history->values[history->rows * history->columns - 1] = 0.0;
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  char *text = NULL;
  mxs_ckpt *ckpt = NULL;
  FUZZ_REQUIRE(mxs_alloc((int64_t)size + 1, 1, &text) == MXS_OK, mxs_last_error());
  memcpy(text, data, size);
  if (mxsi_ckpt_create("fuzz", text, &ckpt) == MXS_OK)
    walk(ckpt);
  else
    FUZZ_REQUIRE(ckpt == NULL && mxs_last_error()[0] != '\0', "a refusal has a text");
  mxs_ckpt_destroy(&ckpt);
  mxs_release(&text);
  FUZZ_REQUIRE(mxs_alloc_outstanding() == 0, "memory is released");
  return 0;
}
