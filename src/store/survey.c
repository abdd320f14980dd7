#include "store/store_impl.h"

#include <string.h>

/* What is read whole: small data, and data whose decoders trust what they read. */
enum { SMALL_BYTES = 1 << 26, PIECE_BYTES = 1 << 24 };

/* Looking one up takes some 30 microseconds: of more chunks only their number and sum are known. */
enum { MOST_CHUNKS = 1 << 15 };

static const unsigned decoders =
    1U << H5Z_FILTER_SZIP | 1U << H5Z_FILTER_NBIT | 1U << H5Z_FILTER_SCALEOFFSET;

/* A chunk that is shorter than it must be would be read beyond its end. */
static mxs_status survey_chunk(const mxs_store_set *set,
                               const mxsi_store_chunks *c,
                               const hsize_t *at) {
  hsize_t bytes = 0;
  if (H5Dget_chunk_storage_size(set->id, at, &bytes) < 0)
    return mxs_store_fail(MXS_ERR_DATA, set->path, "/%s: the index of its chunks is damaged",
                          set->name);
  const unsigned shrinking = c->filters & (decoders | 1U << H5Z_FILTER_DEFLATE);
  const uint64_t sum = (c->filters & 1U << H5Z_FILTER_FLETCHER32) != 0 ? 4 : 0;
  if (bytes <= UINT32_MAX && bytes > sum && (shrinking != 0 || bytes >= c->bytes))
    return MXS_OK;
  return mxs_fail(MXS_ERR_DATA, "%s: /%s: a chunk of %llu bytes is stored in %llu: damaged",
                  set->path, set->name, (unsigned long long)c->bytes, (unsigned long long)bytes);
}

static mxs_status survey_chunks(const mxs_store_set *set, const mxsi_store_chunks *c) {
  uint64_t index[MXS_STORE_DIMS] = {0};
  for (int done = 0; done < MOST_CHUNKS; done++) {
    hsize_t at[MXS_STORE_DIMS] = {0};
    for (int d = 0; d < c->ndims; d++)
      at[d] = index[d] * c->chunk[d];
    MXS_TRY(survey_chunk(set, c, at));
    int d = c->ndims - 1;
    while (d >= 0 && ++index[d] == c->counts[d])
      index[d--] = 0;
    if (d < 0)
      return MXS_OK;
  }
  return MXS_OK;
}

static mxs_status read_rows(const mxs_store_set *set) {
  const int64_t row = set->entries / set->dims[0] * (int64_t)sizeof(double);
  const int64_t most = row < PIECE_BYTES ? PIECE_BYTES / row : 1;
  int64_t first[MXS_STORE_DIMS] = {0};
  int64_t count[MXS_STORE_DIMS];
  double *rows = NULL;
  memcpy(count, set->dims, sizeof count);
  mxs_status status = mxs_alloc(most < set->dims[0] ? most : set->dims[0], (size_t)row, &rows);
  for (; first[0] < set->dims[0] && status == MXS_OK; first[0] += most) {
    const int64_t left = set->dims[0] - first[0];
    count[0] = left < most ? left : most;
    status = mxs_store_read(set, H5T_NATIVE_DOUBLE, first, count, rows);
  }
  mxs_release(&rows);
  return status;
}

mxs_status mxs_store_survey(const mxs_store_set *set) {
  mxsi_store_chunks c;
  if (set->entries == 0 || set->ndims == 0)
    return MXS_OK;
  const int chunked = mxsi_store_chunks_find(set->id, &c);
  if (chunked)
    MXS_TRY(survey_chunks(set, &c));
  const int decodes = chunked && (c.filters & decoders) != 0;
  return decodes || set->entries <= (int64_t)SMALL_BYTES * 8 / set->bits ? read_rows(set) : MXS_OK;
}
