/* A study file: what is accepted has a plan, settings for each of its passes, and reads back from
 * the text that goes to its directory, to the same points. */
#include "fuzz.h"

#include "study/study_impl.h"

#include <string.h>

enum { MOST_PASSES = 200 };

static void check_passes(const mxs_study *study) {
  mxs_settings *settings = NULL;
  char what[40];
  FUZZ_REQUIRE(mxs_alloc(1, sizeof *settings, &settings) == MXS_OK, mxs_last_error());
  for (int64_t i = 0; i < study->passes && i < MOST_PASSES; i++) {
    const mxsi_pass *pass = &study->pass[i];
    FUZZ_REQUIRE(mxsi_study_settings(study, pass, "/p.h5", settings) == MXS_OK, mxs_last_error());
    FUZZ_REQUIRE(mxs_settings_check(settings) == MXS_OK, mxs_last_error());
    FUZZ_REQUIRE(mxs_settings_replicas(settings) == pass->count, "a replica for each point");
    mxs_settings_clear(settings);
    mxsi_study_describe(study, &study->point[pass->points[0]], what, sizeof what);
    FUZZ_REQUIRE(strlen(what) < sizeof what, "descriptions are cut");
  }
  mxs_release(&settings);
}

static void check_again(const mxs_study *study) {
  mxs_study *again = NULL;
  FUZZ_REQUIRE(mxs_study_read("again", study->text, strlen(study->text), NULL, &again) == MXS_OK,
               mxs_last_error());
  FUZZ_REQUIRE(again->count == study->count && again->passes == study->passes, study->text);
  FUZZ_REQUIRE(strcmp(again->text, study->text) == 0, again->text);
  for (int64_t i = 0; i < study->count; i++)
    FUZZ_REQUIRE(strcmp(again->point[i].name, study->point[i].name) == 0, study->text);
  mxs_study_destroy(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const char *const sizes[] = {NULL, "small"};
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
    mxs_study *study = NULL;
    mxs_text plan = {0};
    if (mxs_study_read("fuzz", (const char *)data, size, sizes[i], &study) == MXS_OK) {
      FUZZ_REQUIRE(mxs_study_plan(study, &plan) == MXS_OK, mxs_last_error());
      check_passes(study);
      check_again(study);
    } else {
      FUZZ_REQUIRE(mxs_last_error()[0] != '\0', "a refusal has a text");
    }
    mxs_release(&plan.data);
    mxs_study_destroy(&study);
    FUZZ_REQUIRE(mxs_alloc_outstanding() == 0, "memory is released");
  }
  return 0;
}
