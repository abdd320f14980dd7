#include "problem/file_impl.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { INDEX_TEXT = 96 };

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

/* Index of entry `at` of a dataset: "17, 3, 4". */
static void index_text(const mxs_store_set *set, int64_t at, char text[INDEX_TEXT]) {
  int64_t left = at;
  int64_t below = set->entries;
  size_t used = 0;
  for (int d = 0; d < set->ndims; d++) {
    below /= set->dims[d];
    used += (size_t)snprintf(text + used, INDEX_TEXT - used, "%s%lld", d > 0 ? ", " : "",
                             (long long)(left / below));
    left %= below;
  }
}

static mxs_status fail_entry(const mxs_store_set *set, hid_t type, int64_t at, const void *entry) {
  char index[INDEX_TEXT];
  const int is_float = H5Tget_size(type) == sizeof(float);
  const double value = is_float ? (double)*(const float *)entry : *(const double *)entry;
  index_text(set, at, index);
  const int narrowed = is_float && !isnan(value) && set->bits > 32;
  return mxs_fail(MXS_ERR_DATA, "%s: %s[%s] is %s%s", set->path, set->name, index,
                  isnan(value)  ? "nan"
                  : value > 0.0 ? "inf"
                                : "-inf",
                  narrowed ? ", or too large for storage f32; use storage f64" : "");
}

mxs_status mxsi_file_check_finite(
    const mxs_store_set *set, hid_t type, int64_t first, int64_t count, const void *rows) {
  const int64_t row = mxsi_file_row_entries(set);
  const int64_t bad = first_bad(type, rows, count * row);
  if (bad == count * row)
    return MXS_OK;
  return fail_entry(set, type, first * row + bad,
                    (const char *)rows + (size_t)bad * H5Tget_size(type));
}

mxs_status mxsi_file_rows(
    const mxs_store_set *set, hid_t type, int64_t first, int64_t count, void *rows) {
  int64_t start[MXS_STORE_DIMS] = {0};
  int64_t extent[MXS_STORE_DIMS];
  for (int d = 0; d < set->ndims; d++)
    extent[d] = set->dims[d];
  start[0] = first;
  extent[0] = count;
  MXS_TRY(mxs_store_read(set, type, start, extent, rows));
  return mxsi_file_check_finite(set, type, first, count, rows);
}

double mxsi_file_round_bf16(double value) {
  const int dropped = 52 - 7; /* bits of the fraction */
  if (fabs(value) < 0x1p-126)
    return rint(value * 0x1p133) * 0x1p-133; /* as many as are left there */
  uint64_t bits = 0;
  memcpy(&bits, &value, sizeof bits);
  bits += (UINT64_C(1) << (dropped - 1)) - 1 + ((bits >> dropped) & 1);
  bits &= ~((UINT64_C(1) << dropped) - 1);
  double rounded = 0.0;
  memcpy(&rounded, &bits, sizeof rounded);
  return fabs(rounded) <= 0x1.fep127 ? rounded : copysign((double)INFINITY, value);
}

mxs_status mxsi_file_to_bf16(const mxs_store_set *set, int64_t first, int64_t count, double *rows) {
  const int64_t row = mxsi_file_row_entries(set);
  const int is_promised = mxs_store_has_attribute(set->id, MXSI_FILE_STORAGE);
  char index[INDEX_TEXT];
  for (int64_t j = 0; j < count * row; j++) {
    const double rounded = mxsi_file_round_bf16(rows[j]);
    if (isfinite(rounded) && (!is_promised || rounded == rows[j])) {
      rows[j] = rounded;
      continue;
    }
    index_text(set, first * row + j, index);
    if (!isfinite(rounded))
      return mxs_fail(MXS_ERR_DATA, "%s: %s[%s] is %g, too large for storage bf16; use storage f64",
                      set->path, set->name, index, rows[j]);
    return mxs_fail(MXS_ERR_DATA,
                    "%s: %s[%s] is %.9g, which is not a bf16 number as the dataset's "
                    "attribute " MXSI_FILE_STORAGE " says: remove the attribute",
                    set->path, set->name, index, rows[j]);
  }
  return MXS_OK;
}

mxs_status mxsi_file_check_signs(const mxs_store_set *set,
                                 int64_t first,
                                 int64_t count,
                                 const double *rows) {
  const int64_t row = mxsi_file_row_entries(set);
  int64_t j = 0;
  char index[INDEX_TEXT];
  while (j < count * row && fabs(rows[j]) == 1.0)
    j++;
  if (j == count * row)
    return MXS_OK;
  index_text(set, first * row + j, index);
  return mxs_fail(MXS_ERR_DATA,
                  "%s: %s[%s] is %g: storage bits is for entries +1 and -1 only; use another, or "
                  "auto",
                  set->path, set->name, index, rows[j]);
}
