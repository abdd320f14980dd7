#include "problem/file_impl.h"

#include "op/fast.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define ENSEMBLES_HERE "this build has: dense, gaussian, gaussian8, rademacher, fast"

/* The ensemble named by the file, or told by the datasets it has. */
static mxs_status find_ensemble(hid_t file, const char *path, mxs_ensemble *ensemble) {
  char name[64] = "";
  if (mxs_store_has_attribute(file, "ensemble"))
    MXS_TRY(mxs_store_get_text(file, path, "ensemble", name, sizeof name));
  else if (mxs_store_has(file, "A"))
    (void)snprintf(name, sizeof name, "dense");
  else if (mxs_store_has(file, "a"))
    (void)snprintf(name, sizeof name, "rank_one");
  else if (mxs_store_has(file, "row"))
    (void)snprintf(name, sizeof name, "entries");
  else
    return mxs_fail(
        MXS_ERR_DATA,
        "%s: there is neither a dataset /A nor a root attribute `ensemble`; store A with shape "
        "(m, n1, n2)",
        path);
  static const mxs_ensemble known[] = {MXS_ENSEMBLE_DENSE, MXS_ENSEMBLE_GAUSSIAN,
                                       MXS_ENSEMBLE_GAUSSIAN8, MXS_ENSEMBLE_RADEMACHER,
                                       MXS_ENSEMBLE_FAST};
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (strcmp(name, mxs_ensemble_name(known[i])) == 0) {
      *ensemble = known[i];
      return MXS_OK;
    }
  return mxs_fail(MXS_ERR_DATA, "%s: ensemble `%s` is not available; " ENSEMBLES_HERE, path, name);
}

/* A problem of ours says so; a file of a user need not, but a checkpoint must not pass for one. */
static mxs_status check_format(hid_t file, const char *path) {
  char format[64];
  int64_t version = 1;
  if (!mxs_store_has_attribute(file, "format"))
    return MXS_OK;
  MXS_TRY(mxs_store_get_text(file, path, "format", format, sizeof format));
  if (strcmp(format, "mxsense-problem") != 0)
    return mxs_fail(MXS_ERR_DATA, "%s: this is a `%s` file, not a problem", path, format);
  if (mxs_store_has_attribute(file, "format_version"))
    MXS_TRY(mxs_store_get_integer(file, path, "format_version", &version));
  if (version > MXS_PROBLEM_FORMAT_VERSION)
    return mxs_fail(MXS_ERR_DATA,
                    "%s: format_version %lld is newer than %d, the newest this build reads; update",
                    path, (long long)version, MXS_PROBLEM_FORMAT_VERSION);
  if (version < 1)
    return mxs_fail(
        MXS_ERR_DATA,
        "%s: format_version %lld is unknown; this build reads 1 to %d: give it with the "
        "format, or leave both out",
        path, (long long)version, MXS_PROBLEM_FORMAT_VERSION);
  return MXS_OK;
}

/* Measurements of /y or /validation/y. */
static mxs_status read_count(hid_t file, const char *path, const char *name, int64_t *count) {
  mxs_store_set y;
  MXS_TRY(mxs_store_set_open(file, path, name, &y));
  mxs_store_set_close(&y);
  if (y.ndims < 1 || y.ndims > 2 || (y.ndims == 2 && y.dims[1] != 1))
    return mxs_fail(MXS_ERR_DATA, "%s: /%s has shape %s, expected (m,)", path, name, y.shape);
  if (y.entries == 0)
    return mxs_fail(MXS_ERR_DATA, "%s: /%s is empty; at least one measurement is needed", path,
                    name);
  *count = y.entries;
  return MXS_OK;
}

static mxs_status check_size(const char *path, int64_t n1, int64_t n2, int64_t m) {
  int64_t entries = 0;
  if (n1 < 1 || n2 < 1)
    return mxs_fail(MXS_ERR_DATA, "%s: n1 = %lld and n2 = %lld must be at least 1", path,
                    (long long)n1, (long long)n2);
  if (__builtin_mul_overflow(n1, n2, &entries) || entries > INT64_MAX / 16 / m)
    return mxs_fail(MXS_ERR_DATA,
                    "%s: %lld measurements of %lld x %lld entries are beyond all memory", path,
                    (long long)m, (long long)n1, (long long)n2);
  return MXS_OK;
}

/* n1 and n2 of a dataset (m, n1 * n2), from its attributes. */
static mxs_status read_flat_shape(const mxs_store_set *set, int64_t *n1, int64_t *n2) {
  int64_t entries = 0;
  if (!mxs_store_has_attribute(set->id, "n1") || !mxs_store_has_attribute(set->id, "n2"))
    return mxs_fail(MXS_ERR_DATA,
                    "%s: /%s has shape %s but no attributes n1 and n2; set f[\"%s\"].attrs[\"n1\"] "
                    "and [\"n2\"], "
                    "or reshape it to (m, n1, n2)",
                    set->path, set->name, set->shape, set->name);
  MXS_TRY(mxs_store_get_integer(set->id, set->path, "n1", n1));
  MXS_TRY(mxs_store_get_integer(set->id, set->path, "n2", n2));
  if (*n1 < 1 || *n2 < 1 || __builtin_mul_overflow(*n1, *n2, &entries) || entries != set->dims[1])
    return mxs_fail(
        MXS_ERR_DATA,
        "%s: /%s has shape %s, but its attributes n1 = %lld and n2 = %lld ask for rows of n1 * n2 "
        "entries; correct the attributes",
        set->path, set->name, set->shape, (long long)*n1, (long long)*n2);
  return MXS_OK;
}

/* Shape of /A or /validation/A against the number of measurements of its y. */
static mxs_status check_rows(const mxs_store_set *set, const char *y, int64_t m) {
  if (set->ndims != 2 && set->ndims != 3)
    return mxs_fail(
        MXS_ERR_DATA,
        "%s: /%s has shape %s, expected (m, n1, n2), or (m, n1 * n2) with attributes n1 and n2",
        set->path, set->name, set->shape);
  if (set->dims[0] == m)
    return MXS_OK;
  const int last = set->dims[set->ndims - 1] == m;
  return mxs_fail(MXS_ERR_DATA,
                  "%s: /%s has shape %s but /%s has %lld entries: the first dimension counts "
                  "measurements%s",
                  set->path, set->name, set->shape, y, (long long)m,
                  last ? "; store np.moveaxis(A, -1, 0)" : " and must agree");
}

/* What the file says of how few bits its entries need; its promise is checked when they are read.
 */
static mxs_status read_storage(const mxs_store_set *set, mxs_storage *storage) {
  char name[16];
  MXS_TRY(mxs_store_get_text(set->id, set->path, MXSI_FILE_STORAGE, name, sizeof name));
  if (strcmp(name, mxs_storage_name(MXS_STORAGE_BF16)) != 0)
    return mxs_fail(MXS_ERR_DATA,
                    "%s: /%s: attribute " MXSI_FILE_STORAGE
                    " is `%s`; it may be `bf16`, or not be there",
                    set->path, set->name, name);
  *storage = MXS_STORAGE_BF16;
  return MXS_OK;
}

static mxs_status read_dense(hid_t file, const char *path, mxs_problem_header *out) {
  mxs_store_set set;
  mxs_status status = MXS_OK;
  MXS_TRY(mxs_store_set_open(file, path, "A", &set));
  MXS_TRY_GOTO(status, check_rows(&set, "y", out->m), cleanup);
  if (set.ndims == 2) {
    MXS_TRY_GOTO(status, read_flat_shape(&set, &out->n1, &out->n2), cleanup);
  } else {
    out->n1 = set.dims[1];
    out->n2 = set.dims[2];
  }
  (void)snprintf(out->entries, sizeof out->entries, "%s", set.type_name);
  out->storage = set.bits <= (set.is_integer ? 24 : 32) ? MXS_STORAGE_F32 : MXS_STORAGE_F64;
  if (mxs_store_has_attribute(set.id, MXSI_FILE_STORAGE))
    status = read_storage(&set, &out->storage);
cleanup:
  mxs_store_set_close(&set);
  return status;
}

static mxs_status read_generated(hid_t file, const char *path, mxs_problem_header *out) {
  int64_t version = 0;
  int64_t m = out->m;
  MXS_TRY(mxs_store_get_integer(file, path, "n1", &out->n1));
  MXS_TRY(mxs_store_get_integer(file, path, "n2", &out->n2));
  MXS_TRY(mxs_store_get_unsigned(file, path, "seed", &out->seed));
  MXS_TRY(mxs_store_get_integer(file, path, "ensemble_version", &version));
  if (mxs_store_has_attribute(file, "m"))
    MXS_TRY(mxs_store_get_integer(file, path, "m", &m));
  if (m != out->m)
    return mxs_fail(MXS_ERR_DATA, "%s: attribute m = %lld but /y has %lld entries: they must agree",
                    path, (long long)m, (long long)out->m);
  if (version != MXS_ENSEMBLE_VERSION)
    return mxs_fail(MXS_ERR_DATA,
                    "%s: ensemble_version %lld is not available, this build has version %d: "
                    "generate the problem again, or use the version of the program that wrote it",
                    path, (long long)version, MXS_ENSEMBLE_VERSION);
  return MXS_OK;
}

/* Blocks of the fast ensemble; n1 n2 and m are known to be sound. */
static mxs_status read_blocks(hid_t file, const char *path, mxs_problem_header *out) {
  const int64_t order = mxsi_fast_order(out->n1 * out->n2);
  MXS_TRY(mxs_store_get_integer(file, path, "block_rows", &out->block_rows));
  if (out->block_rows < 1 || out->block_rows > order)
    return mxs_fail(MXS_ERR_DATA,
                    "%s: block_rows = %lld is not in 1 .. %lld, the order of the transform for "
                    "%lld x %lld",
                    path, (long long)out->block_rows, (long long)order, (long long)out->n1,
                    (long long)out->n2);
  const int64_t m = out->m > out->m_validation ? out->m : out->m_validation;
  if ((m - 1) / out->block_rows >= MXS_MAX_BLOCKS)
    return mxs_fail(MXS_ERR_DATA,
                    "%s: %lld measurements in blocks of block_rows = %lld are more than %d blocks: "
                    "generate the problem with fewer",
                    path, (long long)m, (long long)out->block_rows, (int)MXS_MAX_BLOCKS);
  return MXS_OK;
}

static mxs_status read_validation(hid_t file, const char *path, mxs_problem_header *out) {
  const int has_rows = out->ensemble == MXS_ENSEMBLE_DENSE && mxs_store_has(file, "validation/A");
  if (!mxs_store_has(file, "validation/y"))
    return has_rows ? mxs_fail(MXS_ERR_DATA,
                               "%s: there is /validation/A but no /validation/y; add it", path)
                    : MXS_OK;
  MXS_TRY(read_count(file, path, "validation/y", &out->m_validation));
  if (out->m_validation > INT64_MAX - out->m)
    return mxs_fail(MXS_ERR_DATA, "%s: too many measurements", path);
  if (out->ensemble != MXS_ENSEMBLE_DENSE)
    return MXS_OK;
  mxs_store_set set;
  MXS_TRY(mxs_store_set_open(file, path, "validation/A", &set));
  mxs_status status = check_rows(&set, "validation/y", out->m_validation);
  const int fits = set.ndims == 3 ? set.dims[1] == out->n1 && set.dims[2] == out->n2
                                  : set.dims[1] == out->n1 * out->n2;
  if (status == MXS_OK && !fits)
    status = mxs_fail(
        MXS_ERR_DATA,
        "%s: /validation/A has shape %s but /A has matrices of %lld x %lld: they must agree", path,
        set.shape, (long long)out->n1, (long long)out->n2);
  mxs_store_set_close(&set);
  return status;
}

/* A matrix of the truth with the rows it must have; *cols < 0: any number, returned. */
static mxs_status check_truth(
    hid_t file, const char *path, const char *name, int64_t rows, int64_t *cols) {
  mxs_store_set set;
  MXS_TRY(mxs_store_set_open(file, path, name, &set));
  mxs_store_set_close(&set);
  const int fits = set.ndims == 2 && set.dims[0] == rows &&
                   (*cols < 0 ? set.dims[1] >= 1 : set.dims[1] == *cols);
  if (!fits && *cols < 0)
    return mxs_fail(MXS_ERR_DATA, "%s: /%s has shape %s, expected (%lld, r) with r >= 1", path,
                    name, set.shape, (long long)rows);
  if (!fits)
    return mxs_fail(MXS_ERR_DATA, "%s: /%s has shape %s, expected (%lld, %lld)", path, name,
                    set.shape, (long long)rows, (long long)*cols);
  *cols = set.dims[1];
  return MXS_OK;
}

static mxs_status read_truth(hid_t file, const char *path, mxs_problem_header *out) {
  const int has_U = mxs_store_has(file, "truth/U");
  const int has_V = mxs_store_has(file, "truth/V");
  int64_t cols = -1;
  if (has_U != has_V)
    return mxs_fail(MXS_ERR_DATA,
                    "%s: there is /truth/%s but no /truth/%s; add it, or give X* as /truth/X", path,
                    has_U ? "U" : "V", has_U ? "V" : "U");
  if (has_U) {
    MXS_TRY(check_truth(file, path, "truth/U", out->n1, &cols));
    MXS_TRY(check_truth(file, path, "truth/V", out->n2, &cols));
    out->truth = MXS_TRUTH_FACTORS;
    out->truth_rank = cols;
  } else if (mxs_store_has(file, "truth/X")) {
    cols = out->n2;
    MXS_TRY(check_truth(file, path, "truth/X", out->n1, &cols));
    out->truth = MXS_TRUTH_MATRIX;
  }
  return MXS_OK;
}

mxs_status mxsi_file_header(hid_t file, const char *path, mxs_problem_header *out) {
  *out = (mxs_problem_header){.noise_std = (double)NAN};
  MXS_TRY(check_format(file, path));
  MXS_TRY(find_ensemble(file, path, &out->ensemble));
  MXS_TRY(read_count(file, path, "y", &out->m));
  if (out->ensemble == MXS_ENSEMBLE_DENSE)
    MXS_TRY(read_dense(file, path, out));
  else
    MXS_TRY(read_generated(file, path, out));
  MXS_TRY(check_size(path, out->n1, out->n2, out->m));
  MXS_TRY(read_validation(file, path, out));
  if (out->ensemble == MXS_ENSEMBLE_FAST)
    MXS_TRY(read_blocks(file, path, out));
  MXS_TRY(read_truth(file, path, out));
  if (mxs_store_has_attribute(file, "noise_std"))
    MXS_TRY(mxs_store_get_number(file, path, "noise_std", &out->noise_std));
  out->has_digests = mxs_store_has(file, "digests/y");
  return MXS_OK;
}

mxs_status mxs_problem_peek(const char *path, mxs_problem_header *out) {
  hid_t file = H5I_INVALID_HID;
  MXS_TRY(mxs_store_open(path, &file));
  const mxs_status status = mxsi_file_header(file, path, out);
  (void)mxs_store_close(&file);
  return status;
}

mxs_status mxs_problem_peek_all(const mxs_comm *comm, const char *path, mxs_problem_header *out) {
  memset(out, 0, sizeof *out);
  MXS_TRY(mxs_comm_agree(comm, comm->rank == 0 ? mxs_problem_peek(path, out) : MXS_OK));
  mxs_comm_bcast(comm, out, sizeof *out, 0);
  return MXS_OK;
}
