/** @file
 *  What the files of problem files share. Room `problem`. */
#ifndef MXS_PROBLEM_FILE_IMPL_H
#define MXS_PROBLEM_FILE_IMPL_H

#include "base/hash.h"
#include "problem/file.h"
#include "problem/problem_impl.h"
#include "store/store.h"

enum { MXS_PROBLEM_FORMAT_VERSION = 1 };

/** Attribute of /A, /validation/A: the storage that holds the entries exactly, where the type does
 * not tell ("bf16"). */
#define MXSI_FILE_STORAGE "storage"

/** As mxs_problem_peek(), of an open file. Local. */
MXS_CHECKED mxs_status mxsi_file_header(hid_t file, const char *path, mxs_problem_header *out);

/** Rows first .. first + count - 1 of a dataset whose first dimension counts measurements; every
 *  entry is checked to be finite. `type`: H5T_NATIVE_DOUBLE or H5T_NATIVE_FLOAT. Local.
 *  @retval MXS_ERR_DATA names dataset and index of the first entry that is not finite */
MXS_CHECKED mxs_status
mxsi_file_rows(const mxs_store_set *set, hid_t type, int64_t first, int64_t count, void *rows);

/** Are all entries of these rows, already read, finite? `rows` may have been narrowed to floats.
 * Local.
 *  @retval MXS_ERR_DATA as above */
MXS_CHECKED mxs_status mxsi_file_check_finite(
    const mxs_store_set *set, hid_t type, int64_t first, int64_t count, const void *rows);

/** Nearest number with the 8 leading bits of a bf16, ties to even; infinite beyond its range.
 *  `value` is finite. Local. */
double mxsi_file_round_bf16(double value);

/** Round rows first .. first + count - 1 of a dataset to bf16 numbers, in place. Local.
 *  @retval MXS_ERR_DATA an entry is too large, or the dataset promises bf16 numbers and it is none
 */
MXS_CHECKED mxs_status mxsi_file_to_bf16(const mxs_store_set *set,
                                         int64_t first,
                                         int64_t count,
                                         double *rows);

/** Are all entries of rows first .. first + count - 1 of a dataset +1 or -1? Local.
 *  @retval MXS_ERR_DATA names the first that is not */
MXS_CHECKED mxs_status mxsi_file_check_signs(const mxs_store_set *set,
                                             int64_t first,
                                             int64_t count,
                                             const double *rows);

/** Entries of a row: the product of all dimensions but the first. Local. */
int64_t mxsi_file_row_entries(const mxs_store_set *set);

/** Datasets of a problem file that carry numbers: mxs_problem_gen() writes no X. */
enum {
  MXSI_FILE_Y,
  MXSI_FILE_A,
  MXSI_FILE_VALIDATION_Y,
  MXSI_FILE_VALIDATION_A,
  MXSI_FILE_U,
  MXSI_FILE_V,
  MXSI_FILE_X,
  MXSI_FILE_SETS
};

/** Name of one of them ("validation/y"), and of its digests ("digests/validation_y"). Local. */
const char *mxsi_file_name(int set);
const char *mxsi_file_digest_name(int set);

/** Rows that one digest covers: `rows_per_digest` in all but perhaps the last group. */
typedef struct mxsi_file_groups {
  int64_t rows, rows_per_digest, count;
  uint64_t *digests; /**< count x 2: XXH3-128 (high, low) of the rows as they are in the file */
} mxsi_file_groups;

MXS_CHECKED mxs_status mxsi_file_groups_create(int64_t rows,
                                               int64_t rows_per_digest,
                                               mxsi_file_groups *out);
void mxsi_file_groups_clear(mxsi_file_groups *groups);

/** Read the digests of a dataset. Local. */
MXS_CHECKED mxs_status
mxsi_file_groups_read(hid_t file, const char *path, int set, int64_t rows, mxsi_file_groups *out);

/** Rows of group `group`. Local. */
int64_t mxsi_file_group_size(const mxsi_file_groups *groups, int64_t group);

/** Read group `group` of a dataset of type `type` into `rows` and compare it with its digest.
 *  Local.
 *  @retval MXS_ERR_DATA it differs, or is not finite */
MXS_CHECKED mxs_status mxsi_file_group_check(const mxs_store_set *set,
                                             hid_t type,
                                             const mxsi_file_groups *groups,
                                             int64_t group,
                                             void *rows);

/** Compare the digest of a group. Local. @retval MXS_ERR_DATA it differs; names dataset and rows */
MXS_CHECKED mxs_status mxsi_file_group_compare(const mxs_store_set *set,
                                               const mxsi_file_groups *groups,
                                               int64_t group,
                                               const uint64_t found[2]);

/** Positions in blocks->own of this rank's blocks, in the order of the file; released with
 *  mxs_release(). Local. */
MXS_CHECKED mxs_status mxsi_file_own_order(const mxs_blocks *blocks, int64_t **out);

/** Type of the numbers of a dataset as its digests take them: floats where the file has floats,
 * else doubles. Local. */
hid_t mxsi_file_digest_type(const mxs_store_set *set);

/** Attach dataset `which` of A to `data`, to be read again at every pass (op/streamed.h): by a
 *  thread of its own where the numbers lie in the file as in memory, else through HDF5. Rows are
 *  held as mxsi_file_digest_type(). Reads all of this rank's rows once, in the order of the file,
 * to check that they are finite and what was written. The file stays open. Local.
 *  @retval MXS_ERR_DATA they are not */
MXS_CHECKED mxs_status mxsi_file_stream(hid_t file, const char *path, int which, mxs_data *data);

/** Digests compared while rows are read anyway: a group is checked by the rank that has its first
 * row. Rows of it that are in other ranks' blocks are read again; there are none where groups
 * divide blocks. */
typedef struct mxsi_file_check {
  const mxs_store_set *set; /**< borrowed */
  hid_t type;               /**< of the rows that were digested: doubles, or floats */
  int64_t row_bytes;
  mxsi_file_groups groups;
  mxs_hash_parts *parts; /**< NULL: the file has no digests of this dataset */
  int open;              /**< a group is being digested, up to row `at` */
  int64_t at;
  float *floats;
  int64_t room;
} mxsi_file_check;

/** Get ready for dataset `which`; mxsi_file_check_clear() frees it. Local. */
MXS_CHECKED mxs_status mxsi_file_check_begin(hid_t file,
                                             const mxs_store_set *set,
                                             int which,
                                             mxsi_file_check *out);
void mxsi_file_check_clear(mxsi_file_check *check);

/** Rows that were read, in ascending order over all calls: of `check->type`, or as doubles. Local.
 *  @retval MXS_ERR_DATA a digest differs */
MXS_CHECKED mxs_status mxsi_file_check_rows(mxsi_file_check *check,
                                            int64_t first,
                                            int64_t count,
                                            const void *rows);
MXS_CHECKED mxs_status mxsi_file_check_doubles(mxsi_file_check *check,
                                               int64_t first,
                                               int64_t count,
                                               const double *rows);

/** Finish the last group. Local. @retval MXS_ERR_DATA a digest differs */
MXS_CHECKED mxs_status mxsi_file_check_end(mxsi_file_check *check);

#endif
