#include "problem/file_impl.h"

#include "base/hash.h"

/* Bytes that are read again at a time, of a group that is not ours to its end. */
enum { TAIL_BYTES = 1 << 22 };

hid_t mxsi_file_digest_type(const mxs_store_set *set) {
  return !set->is_integer && set->bits == 32 ? H5T_NATIVE_FLOAT : H5T_NATIVE_DOUBLE;
}

mxs_status mxsi_file_check_begin(hid_t file,
                                 const mxs_store_set *set,
                                 int which,
                                 mxsi_file_check *out) {
  *out = (mxsi_file_check){.set = set, .type = mxsi_file_digest_type(set)};
  if (set->ndims < 1 || !mxs_store_has(file, mxsi_file_digest_name(which)))
    return MXS_OK;
  out->row_bytes = mxsi_file_row_entries(set) * (int64_t)H5Tget_size(out->type);
  mxs_status status = mxsi_file_groups_read(file, set->path, which, set->dims[0], &out->groups);
  if (status == MXS_OK)
    status = mxs_hash_parts_create(&out->parts);
  if (status != MXS_OK)
    mxsi_file_check_clear(out);
  return status;
}

void mxsi_file_check_clear(mxsi_file_check *check) {
  mxsi_file_groups_clear(&check->groups);
  mxs_release(&check->parts);
  mxs_release(&check->floats);
  check->room = 0;
}

mxs_status mxsi_file_group_compare(const mxs_store_set *set,
                                   const mxsi_file_groups *groups,
                                   int64_t group,
                                   const uint64_t found[2]) {
  const uint64_t *expected = groups->digests + 2 * group;
  const int64_t first = group * groups->rows_per_digest;
  if (found[0] == expected[0] && found[1] == expected[1])
    return MXS_OK;
  return mxs_fail(
      MXS_ERR_DATA,
      "%s: /%s: rows %lld .. %lld are not what was written (digest differs): get the file "
      "anew, or delete /digests if the change was meant",
      set->path, set->name, (long long)first,
      (long long)(first + mxsi_file_group_size(groups, group) - 1));
}

/* Rows at .. at + count - 1 of the group that is open; closes it with its last row. */
static mxs_status add(mxsi_file_check *check, int64_t count, const void *rows) {
  const int64_t group = check->at / check->groups.rows_per_digest;
  const int64_t end =
      group * check->groups.rows_per_digest + mxsi_file_group_size(&check->groups, group);
  mxs_hash_parts_add(check->parts, rows, (size_t)(count * check->row_bytes));
  check->at += count;
  if (check->at < end)
    return MXS_OK;
  uint64_t found[2];
  mxs_hash_parts_end(check->parts, found);
  check->open = 0;
  return mxsi_file_group_compare(check->set, &check->groups, group, found);
}

/* The rest of the open group is another rank's: read it too. */
static mxs_status complete(mxsi_file_check *check) {
  const int64_t most = check->row_bytes < TAIL_BYTES ? TAIL_BYTES / check->row_bytes : 1;
  const int64_t rows = check->groups.rows_per_digest;
  char *tail = NULL;
  MXS_TRY(mxs_alloc(most < rows ? most : rows, (size_t)check->row_bytes, &tail));
  mxs_status status = MXS_OK;
  while (check->open && status == MXS_OK) {
    const int64_t group = check->at / rows;
    const int64_t left = group * rows + mxsi_file_group_size(&check->groups, group) - check->at;
    const int64_t count = left < most ? left : most;
    status = mxsi_file_rows(check->set, check->type, check->at, count, tail);
    if (status == MXS_OK)
      status = add(check, count, tail);
  }
  mxs_release(&tail);
  return status;
}

mxs_status mxsi_file_check_rows(mxsi_file_check *check,
                                int64_t first,
                                int64_t count,
                                const void *rows) {
  if (check->parts == NULL)
    return MXS_OK;
  if (check->open && check->at != first)
    MXS_TRY(complete(check));
  int64_t done = 0;
  while (done < count) {
    const int64_t past = (first + done) % check->groups.rows_per_digest;
    const int64_t left = check->groups.rows_per_digest - past;
    const int64_t n = count - done < left ? count - done : left;
    if (!check->open && past == 0) {
      mxs_hash_parts_begin(check->parts);
      check->at = first + done;
      check->open = 1;
    }
    if (check->open) /* else the group began in a block of another rank, which checks it */
      MXS_TRY(add(check, n, (const char *)rows + done * check->row_bytes));
    done += n;
  }
  return MXS_OK;
}

mxs_status mxsi_file_check_doubles(mxsi_file_check *check,
                                   int64_t first,
                                   int64_t count,
                                   const double *rows) {
  const int64_t entries = count * mxsi_file_row_entries(check->set);
  if (check->parts == NULL || check->type == H5T_NATIVE_DOUBLE)
    return mxsi_file_check_rows(check, first, count, rows);
  if (check->room < entries) {
    mxs_release(&check->floats);
    MXS_TRY(mxs_alloc(entries, sizeof *check->floats, &check->floats));
    check->room = entries;
  }
  for (int64_t j = 0; j < entries; j++)
    check->floats[j] = (float)rows[j]; /* they came from floats */
  return mxsi_file_check_rows(check, first, count, check->floats);
}

mxs_status mxsi_file_check_end(mxsi_file_check *check) {
  return check->open ? complete(check) : MXS_OK;
}
