#include "store/store_impl.h"

#include <stdio.h>
#include <string.h>

/* Deflate makes at most 1032 bytes of one. */
enum { DEFLATE_MOST = 1032, FILTERS_KNOWN = H5Z_FILTER_SCALEOFFSET + 1 };

typedef enum link_kind {
  LINK_NONE,
  LINK_HARD,
  LINK_SOFT,
  LINK_EXTERNAL,
  LINK_OTHER,
  LINK_DAMAGED
} link_kind;

static link_kind find_link(hid_t file, const char *name) {
  H5L_info_t info;
  const htri_t exists = H5Lexists(file, name, H5P_DEFAULT);
  if (exists == 0)
    return LINK_NONE;
  if (exists < 0 || H5Lget_info(file, name, &info, H5P_DEFAULT) < 0)
    return LINK_DAMAGED;
  switch (info.type) {
  case H5L_TYPE_HARD:
    return LINK_HARD;
  case H5L_TYPE_SOFT:
    return LINK_SOFT;
  case H5L_TYPE_EXTERNAL:
    return LINK_EXTERNAL;
  default:
    return LINK_OTHER;
  }
}

/* The first link on the way to `name` that is not a hard one, and its length in `name`; nothing is
 * followed beyond it. */
static link_kind walk(hid_t file, const char *name, int *length) {
  char prefix[256];
  const char *slash = name;
  link_kind kind = LINK_HARD;
  while (slash != NULL && kind == LINK_HARD) {
    slash = strchr(slash + (slash != name), '/');
    *length = slash == NULL ? (int)strlen(name) : (int)(slash - name);
    if (*length >= (int)sizeof prefix)
      return LINK_NONE;
    (void)snprintf(prefix, sizeof prefix, "%.*s", *length, name);
    kind = find_link(file, prefix);
  }
  return kind;
}

int mxs_store_has(hid_t file, const char *name) {
  int length = 0;
  return walk(file, name, &length) != LINK_NONE;
}

mxs_status mxsi_store_judge_links(hid_t file, const char *path, const char *name) {
  static const char *const kinds[] = {
      [LINK_SOFT] = "a soft", [LINK_EXTERNAL] = "an external", [LINK_OTHER] = "a user-defined"};
  int length = 0;
  const link_kind kind = walk(file, name, &length);
  if (kind == LINK_HARD)
    return MXS_OK;
  if (kind == LINK_NONE)
    return mxs_fail(MXS_ERR_DATA, "%s: there is no dataset /%s", path, name);
  if (kind == LINK_DAMAGED)
    return mxs_store_fail(MXS_ERR_DATA, path, "/%.*s cannot be looked up: damaged", length, name);
  return mxs_fail(MXS_ERR_DATA,
                  "%s: /%.*s is %s link, and links are not followed: store the data itself under "
                  "this name",
                  path, length, name, kinds[kind]);
}

/* Filters that are built into HDF5, each at most once. */
static mxs_status judge_filters(hid_t properties, const char *path, const char *set) {
  int seen[FILTERS_KNOWN] = {0};
  const int count = H5Pget_nfilters(properties);
  for (int i = 0; i < count; i++) {
    char name[64] = "";
    unsigned flags = 0;
    unsigned config = 0;
    size_t values = 0;
    const H5Z_filter_t filter =
        H5Pget_filter2(properties, (unsigned)i, &flags, &values, NULL, sizeof name, name, &config);
    const int known = filter >= H5Z_FILTER_DEFLATE && filter < FILTERS_KNOWN;
    if (!known || H5Zfilter_avail(filter) <= 0)
      return mxs_fail(MXS_ERR_DATA,
                      "%s: /%s uses the HDF5 filter %d (%.40s), which is not installed here: write "
                      "it with gzip or without compression",
                      path, set, (int)filter, name);
    if (seen[filter]++)
      return mxs_fail(
          MXS_ERR_DATA,
          "%s: /%s goes through the HDF5 filter %d (%.40s) twice: write it with gzip or "
          "without compression",
          path, set, (int)filter, name);
  }
  return count < 0 ? mxs_store_fail(MXS_ERR_DATA, path, "/%s: filters cannot be read", set)
                   : MXS_OK;
}

static mxs_status judge_properties(hid_t properties, const char *path, const char *name) {
  const H5D_layout_t layout = H5Pget_layout(properties);
  if (layout == H5D_VIRTUAL)
    return mxs_fail(MXS_ERR_DATA,
                    "%s: /%s is a virtual dataset, a view of other files: store the data itself",
                    path, name);
  if (layout != H5D_COMPACT && layout != H5D_CONTIGUOUS && layout != H5D_CHUNKED)
    return mxs_store_fail(MXS_ERR_DATA, path, "/%s has an unknown layout", name);
  if (layout == H5D_CONTIGUOUS && H5Pget_external_count(properties) != 0)
    return mxs_fail(
        MXS_ERR_DATA,
        "%s: /%s keeps its data in other files (external storage): store the data itself", path,
        name);
  return judge_filters(properties, path, name);
}

mxs_status mxsi_store_judge_layout(hid_t set, const char *path, const char *name) {
  hid_t properties = H5Dget_create_plist(set);
  const mxs_status status =
      properties < 0 ? mxs_store_fail(MXS_ERR_DATA, path, "/%s: its layout cannot be read", name)
                     : judge_properties(properties, path, name);
  (void)mxs_store_close(&properties);
  return status;
}

static mxs_status fail_storage(const char *path, const char *name, uint64_t there, int64_t bytes) {
  if (there == 0)
    return mxs_fail(MXS_ERR_DATA, "%s: /%s was created but never written: write it", path, name);
  return mxs_fail(MXS_ERR_DATA,
                  "%s: /%s: only %llu bytes are there of %lld: damaged, or written in part", path,
                  name, (unsigned long long)there, (long long)bytes);
}

/* Number of chunks; 0 when they cannot be in a file of `file_bytes` bytes. */
static uint64_t expected_chunks(const mxsi_store_chunks *c, uint64_t file_bytes) {
  uint64_t count = 1;
  for (int d = 0; d < c->ndims; d++)
    if (__builtin_mul_overflow(count, c->counts[d], &count) || count > file_bytes)
      return 0;
  return count;
}

int mxsi_store_chunks_find(hid_t set, mxsi_store_chunks *out) {
  *out = (mxsi_store_chunks){.bytes = 0};
  hid_t properties = H5Dget_create_plist(set);
  hid_t space = H5Dget_space(set);
  hid_t type = H5Dget_type(set);
  hsize_t dims[H5S_MAX_RANK] = {0};
  hsize_t chunk[H5S_MAX_RANK] = {0};
  const int ndims = space < 0 ? -1 : H5Sget_simple_extent_ndims(space);
  int good = properties >= 0 && type >= 0 && ndims > 0 && ndims <= MXS_STORE_DIMS &&
             H5Sget_simple_extent_dims(space, dims, NULL) == ndims &&
             H5Pget_chunk(properties, H5S_MAX_RANK, chunk) == ndims;
  out->bytes = good ? H5Tget_size(type) : 0;
  out->ndims = ndims;
  for (int d = 0; d < ndims && good; d++) {
    good = chunk[d] > 0 && !__builtin_mul_overflow(out->bytes, chunk[d], &out->bytes) &&
           out->bytes <= UINT32_MAX;
    out->chunk[d] = chunk[d];
    out->counts[d] = good ? dims[d] / chunk[d] + (dims[d] % chunk[d] != 0) : 0;
  }
  for (int i = 0; good && i < H5Pget_nfilters(properties); i++) {
    unsigned config = 0;
    unsigned flags = 0;
    size_t values = 0;
    const H5Z_filter_t filter =
        H5Pget_filter2(properties, (unsigned)i, &flags, &values, NULL, 0, NULL, &config);
    out->filters |= 1U << (unsigned)filter;
  }
  (void)mxs_store_close(&type);
  (void)mxs_store_close(&space);
  (void)mxs_store_close(&properties);
  return good;
}

/* Least bytes that filters make of `bytes`. */
static uint64_t least_stored(unsigned filters, uint64_t bytes) {
  const unsigned keep = 1U << H5Z_FILTER_SHUFFLE | 1U << H5Z_FILTER_FLETCHER32;
  if ((filters & ~keep) == 0)
    return bytes;
  return (filters & ~(keep | 1U << H5Z_FILTER_DEFLATE)) == 0 ? bytes / DEFLATE_MOST : 1;
}

static mxs_status judge_chunks(
    hid_t set, const char *path, const char *name, uint64_t file_bytes, int64_t bytes) {
  mxsi_store_chunks c;
  hsize_t found = 0;
  if (!mxsi_store_chunks_find(set, &c))
    return mxs_store_fail(MXS_ERR_DATA, path, "/%s: its chunks make no sense", name);
  const uint64_t expected = expected_chunks(&c, file_bytes);
  const uint64_t least = least_stored(c.filters, (uint64_t)bytes);
  if (expected == 0 || least > file_bytes)
    return mxs_fail(MXS_ERR_DATA,
                    "%s: /%s: %lld bytes cannot be in a file of %llu: damaged, or never written",
                    path, name, (long long)bytes, (unsigned long long)file_bytes);
  hid_t space = H5Dget_space(set);
  const herr_t result = space < 0 ? -1 : H5Dget_num_chunks(set, space, &found);
  (void)mxs_store_close(&space);
  if (result < 0)
    return mxs_store_fail(MXS_ERR_DATA, path, "/%s: the index of its chunks is damaged", name);
  if (found < expected && found > 0)
    return mxs_fail(
        MXS_ERR_DATA,
        "%s: /%s: %llu of %llu chunks were never written: write them, or cut the dataset", path,
        name, (unsigned long long)(expected - found), (unsigned long long)expected);
  const uint64_t stored = found == 0 ? 0 : (uint64_t)H5Dget_storage_size(set);
  return stored == 0 || stored < least ? fail_storage(path, name, stored, bytes) : MXS_OK;
}

mxs_status mxsi_store_judge_storage(
    hid_t file, hid_t set, const char *path, const char *name, int64_t bytes) {
  hsize_t file_bytes = 0;
  if (bytes == 0)
    return MXS_OK;
  if (H5Fget_filesize(file, &file_bytes) < 0)
    return mxs_store_fail(MXS_ERR_DATA, path, "cannot tell the size of the file");
  hid_t properties = H5Dget_create_plist(set);
  const H5D_layout_t layout = properties < 0 ? H5D_LAYOUT_ERROR : H5Pget_layout(properties);
  (void)mxs_store_close(&properties);
  if (layout == H5D_CHUNKED)
    return judge_chunks(set, path, name, file_bytes, bytes);
  const uint64_t stored = (uint64_t)H5Dget_storage_size(set);
  if (stored < (uint64_t)bytes)
    return fail_storage(path, name, stored, bytes);
  if (layout != H5D_CONTIGUOUS)
    return MXS_OK;
  const haddr_t offset = H5Dget_offset(set);
  if (offset == HADDR_UNDEF)
    return fail_storage(path, name, 0, bytes);
  const uint64_t after = file_bytes > offset ? file_bytes - offset : 0;
  return after < (uint64_t)bytes ? fail_storage(path, name, after, bytes) : MXS_OK;
}
