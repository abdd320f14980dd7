/* A settings file, up to the first NUL, and "key=value" lines after it, as from a command line:
 * whatever is accepted is told again by its echo, which reads back to the same echo. */
#include "fuzz.h"

#include "conf/settings.h"

#include <string.h>

static void apply_lines(mxs_settings *settings, char *lines) {
  char *rest = lines;
  for (char *line = strsep(&rest, "\n"); line != NULL; line = strsep(&rest, "\n")) {
    char *value = line;
    const char *key = strsep(&value, "=");
    if (value != NULL && mxs_settings_set(settings, key, value) != MXS_OK)
      FUZZ_REQUIRE(mxs_last_error()[0] != '\0', "a refusal has a text");
  }
}

static void check_echo(const mxs_settings *settings) {
  mxs_settings again = {0};
  char *first = NULL;
  char *second = NULL;
  FUZZ_REQUIRE(mxs_settings_echo(settings, &first) == MXS_OK, mxs_last_error());
  FUZZ_REQUIRE(mxs_settings_defaults(&again) == MXS_OK, mxs_last_error());
  FUZZ_REQUIRE(mxs_settings_merge_yaml(&again, "echo", first, strlen(first)) == MXS_OK,
               mxs_last_error());
  FUZZ_REQUIRE(mxs_settings_echo(&again, &second) == MXS_OK, mxs_last_error());
  FUZZ_REQUIRE(strcmp(first, second) == 0, first);
  FUZZ_REQUIRE(mxs_settings_compatible(first, second) == MXS_OK, mxs_last_error());
  mxs_release(&first);
  mxs_release(&second);
  mxs_settings_clear(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  char *text = NULL;
  mxs_settings *settings = NULL;
  FUZZ_REQUIRE(mxs_alloc((int64_t)size + 1, 1, &text) == MXS_OK, mxs_last_error());
  FUZZ_REQUIRE(mxs_alloc(1, sizeof *settings, &settings) == MXS_OK, mxs_last_error());
  memcpy(text, data, size);
  const size_t length = strlen(text);
  FUZZ_REQUIRE(mxs_settings_defaults(settings) == MXS_OK, mxs_last_error());
  const mxs_status merged = mxs_settings_merge_yaml(settings, "fuzz", text, length);
  if (length < size)
    apply_lines(settings, text + length + 1);
  if (merged == MXS_OK && mxs_settings_check(settings) == MXS_OK)
    check_echo(settings);
  mxs_settings_clear(settings);
  mxs_release(&settings);
  mxs_release(&text);
  FUZZ_REQUIRE(mxs_alloc_outstanding() == 0, "memory is released");
  return 0;
}
