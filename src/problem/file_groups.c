#include "problem/file_impl.h"

#include "base/hash.h"

static const char *const names[MXSI_FILE_SETS][2] = {
    [MXSI_FILE_Y] = {"y", "digests/y"},
    [MXSI_FILE_A] = {"A", "digests/A"},
    [MXSI_FILE_VALIDATION_Y] = {"validation/y", "digests/validation_y"},
    [MXSI_FILE_VALIDATION_A] = {"validation/A", "digests/validation_A"},
    [MXSI_FILE_U] = {"truth/U", "digests/truth_U"},
    [MXSI_FILE_V] = {"truth/V", "digests/truth_V"},
    [MXSI_FILE_X] = {"truth/X", "digests/truth_X"},
};

const char *mxsi_file_name(int set) {
  return names[set][0];
}

const char *mxsi_file_digest_name(int set) {
  return names[set][1];
}

mxs_status mxsi_file_groups_create(int64_t rows, int64_t rows_per_digest, mxsi_file_groups *out) {
  *out = (mxsi_file_groups){.rows = rows, .rows_per_digest = rows_per_digest};
  out->count = rows / rows_per_digest + (rows % rows_per_digest != 0);
  return mxs_alloc(2 * out->count, sizeof *out->digests, &out->digests);
}

void mxsi_file_groups_clear(mxsi_file_groups *groups) {
  mxs_release(&groups->digests);
  *groups = (mxsi_file_groups){0};
}

mxs_status mxsi_file_groups_read(
    hid_t file, const char *path, int set, int64_t rows, mxsi_file_groups *out) {
  mxs_store_set digests;
  int64_t rows_per_digest = 0;
  *out = (mxsi_file_groups){0};
  MXS_TRY(mxs_store_set_open(file, path, names[set][1], &digests));
  mxs_status status = mxs_store_get_integer(digests.id, path, "rows_per_digest", &rows_per_digest);
  if (status == MXS_OK && rows_per_digest < 1)
    status =
        mxs_fail(MXS_ERR_DATA, "%s: /%s: rows_per_digest must be at least 1", path, names[set][1]);
  if (status == MXS_OK)
    status = mxsi_file_groups_create(rows, rows_per_digest, out);
  if (status == MXS_OK &&
      (digests.ndims != 2 || digests.dims[0] != out->count || digests.dims[1] != 2))
    status = mxs_fail(MXS_ERR_DATA, "%s: /%s has shape %s, expected (%lld, 2)", path, names[set][1],
                      digests.shape, (long long)out->count);
  if (status == MXS_OK)
    status = mxs_store_read_all(&digests, H5T_NATIVE_UINT64, out->digests);
  mxs_store_set_close(&digests);
  if (status != MXS_OK)
    mxsi_file_groups_clear(out);
  return status;
}

int64_t mxsi_file_group_size(const mxsi_file_groups *groups, int64_t group) {
  const int64_t left = groups->rows - group * groups->rows_per_digest;
  return left < groups->rows_per_digest ? left : groups->rows_per_digest;
}

mxs_status mxsi_file_group_check(const mxs_store_set *set,
                                 hid_t type,
                                 const mxsi_file_groups *groups,
                                 int64_t group,
                                 void *rows) {
  const int64_t first = group * groups->rows_per_digest;
  const int64_t count = mxsi_file_group_size(groups, group);
  uint64_t found[2];
  MXS_TRY(mxsi_file_rows(set, type, first, count, rows));
  mxs_hash128(rows, (size_t)(count * mxsi_file_row_entries(set)) * H5Tget_size(type), found);
  return mxsi_file_group_compare(set, groups, group, found);
}
