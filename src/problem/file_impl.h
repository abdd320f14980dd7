/** @file
 *  What the files of problem files share. Room `problem`. */
#ifndef MXS_PROBLEM_FILE_IMPL_H
#define MXS_PROBLEM_FILE_IMPL_H

#include "problem/file.h"
#include "store/store.h"

enum { MXS_PROBLEM_FORMAT_VERSION = 1 };

/** As mxs_problem_peek(), of an open file. Local. */
MXS_CHECKED mxs_status mxsi_file_header(hid_t file, const char *path, mxs_problem_header *out);

/** Rows first .. first + count - 1 of a dataset whose first dimension counts measurements; every
 * entry is checked to be finite. `type`: H5T_NATIVE_DOUBLE or H5T_NATIVE_FLOAT. Local.
 *  @retval MXS_ERR_DATA names dataset and index of the first entry that is not finite */
MXS_CHECKED mxs_status
mxsi_file_rows(const mxs_store_set *set, hid_t type, int64_t first, int64_t count, void *rows);

/** Entries of a row: the product of all dimensions but the first. Local. */
int64_t mxsi_file_row_entries(const mxs_store_set *set);

#endif
