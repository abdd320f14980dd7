#include "base/text.h"
#include "problem/file_impl.h"

enum { GROUP_BYTES = 1 << 24 };

/* Append a line to a text that was allocated. */
static mxs_status append(char **text, const char *line) {
  char *longer = NULL;
  MXS_TRY(mxs_text_format(&longer, "%s%s\n", *text, line));
  mxs_release(text);
  *text = longer;
  return MXS_OK;
}

/* Rows read at a time where the file has no digests. */
static int64_t rows_at_once(const mxs_store_set *set) {
  const int64_t bytes = mxsi_file_row_entries(set) * (int64_t)sizeof(double);
  const int64_t rows = bytes > 0 ? GROUP_BYTES / bytes : 1;
  return rows < 1 ? 1 : rows;
}

/* Read one dataset: all finite, and as its digests say where it has them. */
static mxs_status check_set(hid_t file, const mxs_store_set *set, int which, int64_t *digests) {
  const int has_digests = mxs_store_has(file, mxsi_file_digest_name(which));
  const hid_t type = !set->is_integer && set->bits == 32 ? H5T_NATIVE_FLOAT : H5T_NATIVE_DOUBLE;
  mxsi_file_groups groups = {0};
  char *rows = NULL;
  *digests = 0;
  if (set->ndims < 1 || set->entries == 0)
    return mxs_fail(MXS_ERR_DATA, "%s: /%s is empty", set->path, set->name);
  mxs_status status = has_digests
                          ? mxsi_file_groups_read(file, set->path, which, set->dims[0], &groups)
                          : mxsi_file_groups_create(set->dims[0], rows_at_once(set), &groups);
  if (status != MXS_OK)
    return status;
  const int64_t most = mxsi_file_group_size(&groups, 0);
  MXS_TRY_GOTO(status, mxs_alloc(most * mxsi_file_row_entries(set), H5Tget_size(type), &rows),
               cleanup);
  for (int64_t g = 0; g < groups.count && status == MXS_OK; g++)
    status = has_digests ? mxsi_file_group_check(set, type, &groups, g, rows)
                         : mxsi_file_rows(set, type, g * groups.rows_per_digest,
                                          mxsi_file_group_size(&groups, g), rows);
  *digests = has_digests ? groups.count : 0;
cleanup:
  mxs_release(&rows);
  mxsi_file_groups_clear(&groups);
  return status;
}

/* Check one dataset and add its line to the report. */
static mxs_status report_set(
    hid_t file, const char *path, const char *name, int which, char **report) {
  mxs_store_set set;
  int64_t digests = 0;
  char *line = NULL;
  MXS_TRY(mxs_store_set_open(file, path, name, &set));
  const mxs_status status = check_set(file, &set, which, &digests);
  mxs_status told = MXS_OK;
  if (status != MXS_OK)
    told = mxs_text_format(&line, "/%s %s %s: BAD: %s", name, set.shape, set.type_name,
                           mxs_last_error());
  else if (digests > 0)
    told = mxs_text_format(&line, "/%s %s %s: finite, %lld digests agree", name, set.shape,
                           set.type_name, (long long)digests);
  else
    told = mxs_text_format(&line, "/%s %s %s: finite, no digests", name, set.shape, set.type_name);
  mxs_store_set_close(&set);
  if (told == MXS_OK)
    told = append(report, line);
  mxs_release(&line);
  return status != MXS_OK ? status : told;
}

/* All datasets of the header; the first failure is returned, the report goes on. */
static mxs_status verify_sets(hid_t file,
                              const char *path,
                              const mxs_problem_header *header,
                              char **report) {
  const int present[MXSI_FILE_SETS] = {
      [MXSI_FILE_Y] = 1,
      [MXSI_FILE_A] = header->ensemble == MXS_ENSEMBLE_DENSE,
      [MXSI_FILE_VALIDATION_Y] = header->m_validation > 0,
      [MXSI_FILE_VALIDATION_A] = header->m_validation > 0 && header->ensemble == MXS_ENSEMBLE_DENSE,
      [MXSI_FILE_U] = header->truth == MXS_TRUTH_FACTORS,
      [MXSI_FILE_V] = header->truth == MXS_TRUTH_FACTORS,
      [MXSI_FILE_X] = header->truth == MXS_TRUTH_MATRIX,
  };
  char *first = NULL;
  mxs_status status = MXS_OK;
  for (int which = 0; which < MXSI_FILE_SETS; which++) {
    if (!present[which])
      continue;
    const mxs_status found = report_set(file, path, mxsi_file_name(which), which, report);
    if (found != MXS_OK && status == MXS_OK) {
      status = found;
      MXS_TRY(mxs_text_format(&first, "%s", mxs_last_error()));
    }
  }
  if (status != MXS_OK)
    status = mxs_fail(status, "%s", first);
  mxs_release(&first);
  return status;
}

mxs_status mxs_problem_verify(const char *path, char **report) {
  hid_t file = H5I_INVALID_HID;
  mxs_problem_header header;
  *report = NULL;
  MXS_TRY(mxs_store_open(path, &file));
  mxs_status status = mxs_text_format(report, "%s", "");
  if (status == MXS_OK)
    status = mxsi_file_header(file, path, &header);
  if (status == MXS_OK)
    status = verify_sets(file, path, &header, report);
  (void)mxs_store_close(&file);
  return status;
}
