#include "problem/file_impl.h"

#include <math.h>
#include <stdio.h>

int64_t mxsi_file_row_entries(const mxs_store_set *set) {
  return set->dims[0] == 0 ? 0 : set->entries / set->dims[0];
}

/* First entry that is not finite, or `count`. */
static int64_t first_bad(hid_t type, const void *data, int64_t count) {
  int64_t i = 0;
  if (H5Tget_size(type) == sizeof(float)) {
    const float *a = data;
    while (i < count && isfinite(a[i]))
      i++;
  } else {
    const double *a = data;
    while (i < count && isfinite(a[i]))
      i++;
  }
  return i;
}

static mxs_status fail_entry(const mxs_store_set *set, hid_t type, int64_t at, const void *entry) {
  char index[96];
  int64_t left = at;
  int64_t below = set->entries;
  size_t used = 0;
  const int is_float = H5Tget_size(type) == sizeof(float);
  const double value = is_float ? (double)*(const float *)entry : *(const double *)entry;
  for (int d = 0; d < set->ndims; d++) {
    below /= set->dims[d];
    used += (size_t)snprintf(index + used, sizeof index - used, "%s%lld", d > 0 ? ", " : "",
                             (long long)(left / below));
    left %= below;
  }
  const int narrowed = is_float && !isnan(value) && set->bits > 32;
  return mxs_fail(MXS_ERR_DATA, "%s: %s[%s] is %s%s", set->path, set->name, index,
                  isnan(value)  ? "nan"
                  : value > 0.0 ? "inf"
                                : "-inf",
                  narrowed ? ", or too large for storage f32; use storage f64" : "");
}

mxs_status mxsi_file_rows(
    const mxs_store_set *set, hid_t type, int64_t first, int64_t count, void *rows) {
  int64_t start[MXS_STORE_DIMS] = {0};
  int64_t extent[MXS_STORE_DIMS];
  const int64_t row = mxsi_file_row_entries(set);
  for (int d = 0; d < set->ndims; d++)
    extent[d] = set->dims[d];
  start[0] = first;
  extent[0] = count;
  MXS_TRY(mxs_store_read(set, type, start, extent, rows));
  const int64_t bad = first_bad(type, rows, count * row);
  if (bad < count * row)
    return fail_entry(set, type, first * row + bad,
                      (const char *)rows + (size_t)bad * H5Tget_size(type));
  return MXS_OK;
}
