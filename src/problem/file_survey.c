#include "problem/file_impl.h"

/* A dataset, where there is one; those that cannot be opened are refused by whoever wants them. */
static mxs_status survey_set(hid_t file, const char *path, const char *name) {
  mxs_store_set set;
  if (!mxs_store_has(file, name) || mxs_store_set_open(file, path, name, &set) != MXS_OK)
    return MXS_OK;
  const mxs_status status = mxs_store_survey(&set);
  mxs_store_set_close(&set);
  return status;
}

static mxs_status survey_sets(hid_t file, const char *path) {
  static const char *const starts[] = {"factors/U", "factors/V"};
  for (int which = 0; which < MXSI_FILE_SETS; which++) {
    MXS_TRY(survey_set(file, path, mxsi_file_name(which)));
    MXS_TRY(survey_set(file, path, mxsi_file_digest_name(which)));
  }
  for (size_t i = 0; i < sizeof starts / sizeof *starts; i++)
    MXS_TRY(survey_set(file, path, starts[i]));
  return MXS_OK;
}

mxs_status mxs_problem_survey(const char *path) {
  hid_t file = H5I_INVALID_HID;
  mxs_problem_header header;
  MXS_TRY(mxs_store_open(path, &file));
  /* A header that makes no sense is told of by who wants it; what survives here survives there. */
  mxs_status status = mxsi_file_header(file, path, &header);
  if (status != MXS_ERR_MEMORY)
    status = survey_sets(file, path);
  (void)mxs_store_close(&file);
  return status;
}
