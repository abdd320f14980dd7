#include "store/store_impl.h"

#include <stdio.h>
#include <string.h>

enum { CHUNK_BYTES = 1 << 20, CACHE_BYTES = 1 << 28 };

/* Do the parts of a floating-point type lie within it? */
static int float_is_sound(hid_t type, size_t bits) {
  size_t sign = 0;
  size_t exponent = 0;
  size_t exponent_bits = 0;
  size_t fraction = 0;
  size_t fraction_bits = 0;
  if (H5Tget_fields(type, &sign, &exponent, &exponent_bits, &fraction, &fraction_bits) < 0)
    return 0;
  return sign < bits && exponent < bits && exponent_bits <= bits - exponent && fraction < bits &&
         fraction_bits <= bits - fraction && exponent_bits > 0 && exponent_bits < 32;
}

/* Name, precision and kind of a type of real numbers; 0 when it is none. Booleans of numpy are
 * enumerations of int8. */
static int describe_type(hid_t type, mxs_store_set *set) {
  const H5T_class_t class = H5Tget_class(type);
  hid_t base = class == H5T_ENUM ? H5Tget_super(type) : H5Tcopy(type);
  const H5T_class_t kind = base < 0 ? H5T_NO_CLASS : H5Tget_class(base);
  const size_t bits = kind == H5T_INTEGER || kind == H5T_FLOAT ? H5Tget_precision(base) : 0;
  const size_t room = bits > 0 ? 8 * H5Tget_size(base) : 0;
  const int offset = bits > 0 ? H5Tget_offset(base) : -1;
  int sound = offset >= 0 && bits <= room && (size_t)offset <= room - bits;
  if (kind == H5T_FLOAT)
    sound = sound && room <= 128 && float_is_sound(base, room);
  else
    sound = sound && room <= 64;
  set->is_integer = kind == H5T_INTEGER;
  set->bits = (int)(bits & 0xfffU);
  const char *letter = kind == H5T_FLOAT ? "f" : H5Tget_sign(base) == H5T_SGN_NONE ? "u" : "i";
  (void)snprintf(set->type_name, sizeof set->type_name, "%s%u", letter, (unsigned)set->bits);
  (void)mxs_store_close(&base);
  return sound;
}

/* Dimensions, their product and the text of the shape; 0 when they do not fit. */
static int describe_shape(hid_t space, mxs_store_set *set) {
  hsize_t dims[H5S_MAX_RANK];
  set->ndims = H5Sget_simple_extent_ndims(space);
  if (set->ndims < 0 || set->ndims > MXS_STORE_DIMS ||
      H5Sget_simple_extent_dims(space, dims, NULL) < 0)
    return 0;
  size_t used = (size_t)snprintf(set->shape, sizeof set->shape, "(");
  set->entries = H5Sget_simple_extent_type(space) == H5S_NULL ? 0 : 1;
  for (int d = 0; d < set->ndims; d++) {
    if (dims[d] > INT64_MAX / 16 ||
        __builtin_mul_overflow(set->entries, (int64_t)dims[d], &set->entries) ||
        set->entries > INT64_MAX / 16)
      return 0;
    set->dims[d] = (int64_t)dims[d];
    used += (size_t)snprintf(set->shape + used, sizeof set->shape - used, "%s%lld",
                             d > 0 ? ", " : "", (long long)dims[d]);
  }
  (void)snprintf(set->shape + used, sizeof set->shape - used, set->ndims == 1 ? ",)" : ")");
  return 1;
}

/* A chunk that does not fit the cache would be read and decoded again for every block that touches
 * it. */
static mxs_status enlarge_cache(hid_t file, mxs_store_set *set) {
  mxsi_store_chunks c;
  if (!mxsi_store_chunks_find(set->id, &c) || c.bytes <= CHUNK_BYTES || c.bytes > CACHE_BYTES)
    return MXS_OK;
  hid_t access = H5Pcreate(H5P_DATASET_ACCESS);
  (void)mxs_store_close(&set->id);
  (void)H5Pset_chunk_cache(access, 521, (size_t)c.bytes * 2, 1.0);
  set->id = H5Dopen2(file, set->name, access);
  (void)mxs_store_close(&access);
  return set->id >= 0 ? MXS_OK
                      : mxs_store_fail(MXS_ERR_DATA, set->path, "/%s cannot be opened as a dataset",
                                       set->name);
}

/* Type, shape and storage of an open dataset. */
static mxs_status describe(hid_t file, mxs_store_set *set) {
  const char *path = set->path;
  const char *name = set->name;
  mxs_status status = MXS_OK;
  hid_t type = H5Dget_type(set->id);
  hid_t space = H5Dget_space(set->id);
  if (type < 0 || space < 0)
    status = mxs_store_fail(MXS_ERR_DATA, path, "/%s cannot be opened as a dataset", name);
  else if (!describe_type(type, set))
    status =
        mxs_fail(MXS_ERR_DATA, "%s: /%s must hold real numbers (float or integer)", path, name);
  else if (!describe_shape(space, set))
    status = mxs_fail(MXS_ERR_DATA, "%s: /%s has more than %d dimensions or more than 2^59 entries",
                      path, name, MXS_STORE_DIMS);
  else
    status = mxsi_store_judge_storage(file, set->id, path, name,
                                      set->entries * (int64_t)H5Tget_size(type));
  (void)mxs_store_close(&space);
  (void)mxs_store_close(&type);
  return status;
}

mxs_status mxs_store_set_open(hid_t file, const char *path, const char *name, mxs_store_set *out) {
  *out = (mxs_store_set){.id = H5I_INVALID_HID, .path = path, .name = name};
  MXS_TRY(mxsi_store_judge_links(file, path, name));
  out->id = H5Dopen2(file, name, H5P_DEFAULT);
  mxs_status status =
      out->id < 0 ? mxs_store_fail(MXS_ERR_DATA, path, "/%s cannot be opened as a dataset", name)
                  : mxsi_store_judge_layout(out->id, path, name);
  if (status == MXS_OK)
    status = describe(file, out);
  if (status == MXS_OK)
    status = enlarge_cache(file, out);
  if (status != MXS_OK)
    mxs_store_set_close(out);
  return status;
}

void mxs_store_set_close(mxs_store_set *set) {
  (void)mxs_store_close(&set->id);
}

void mxs_store_pieces(int ndims, const int64_t *count, size_t size, int64_t limit, int64_t *piece) {
  int64_t room = limit / (int64_t)size;
  int cut = 0;
  for (int d = ndims - 1; d >= 0; d--) {
    const int64_t fits = room < 1 ? 1 : room;
    piece[d] = cut ? 1 : count[d] < fits ? count[d] : fits;
    cut = cut || piece[d] < count[d];
    room = piece[d] > 0 ? room / piece[d] : room;
  }
}

/* One transfer to be cut: `read` or `write` is the memory, the other one NULL. */
typedef struct transfer {
  hid_t set, space, type, xfer;
  int ndims;
  const int64_t *first, *count;
  char *read;
  const char *write;
} transfer;

static herr_t move_piece(const transfer *t,
                         const hsize_t *start,
                         const hsize_t *extent,
                         size_t offset) {
  hid_t memory = H5Screate_simple(t->ndims, extent, NULL);
  herr_t result =
      memory < 0 ? -1 : H5Sselect_hyperslab(t->space, H5S_SELECT_SET, start, NULL, extent, NULL);
  if (result >= 0)
    result = t->read != NULL
                 ? H5Dread(t->set, t->type, memory, t->space, t->xfer, t->read + offset)
                 : H5Dwrite(t->set, t->type, memory, t->space, t->xfer, t->write + offset);
  (void)mxs_store_close(&memory);
  return result;
}

/* Pieces are contiguous in memory and follow each other, so `offset` just grows. */
static herr_t move_pieces(const transfer *t) {
  int64_t piece[MXS_STORE_DIMS];
  int64_t at[MXS_STORE_DIMS] = {0};
  const size_t size = H5Tget_size(t->type);
  for (int d = 0; d < t->ndims; d++)
    if (t->count[d] == 0)
      return 0;
  mxs_store_pieces(t->ndims, t->count, size, MXS_STORE_PIECE_BYTES, piece);
  size_t offset = 0;
  for (;;) {
    hsize_t start[MXS_STORE_DIMS];
    hsize_t extent[MXS_STORE_DIMS];
    size_t bytes = size;
    for (int d = 0; d < t->ndims; d++) {
      const int64_t left = t->count[d] - at[d];
      extent[d] = (hsize_t)(left < piece[d] ? left : piece[d]);
      start[d] = (hsize_t)t->first[d] + (hsize_t)at[d];
      bytes *= (size_t)extent[d];
    }
    if (move_piece(t, start, extent, offset) < 0)
      return -1;
    offset += bytes;
    int d = t->ndims - 1;
    while (d >= 0 && (at[d] += piece[d]) >= t->count[d])
      at[d--] = 0;
    if (d < 0)
      return 0;
  }
}

mxs_status mxs_store_read(
    const mxs_store_set *set, hid_t type, const int64_t *first, const int64_t *count, void *data) {
  hid_t space = H5Dget_space(set->id);
  const transfer t = {.set = set->id,
                      .space = space,
                      .type = type,
                      .xfer = H5P_DEFAULT,
                      .ndims = set->ndims,
                      .first = first,
                      .count = count,
                      .read = data};
  const herr_t result = space < 0 ? -1 : move_pieces(&t);
  (void)mxs_store_close(&space);
  return result >= 0 ? MXS_OK
                     : mxs_store_fail(MXS_ERR_DATA, set->path,
                                      "cannot read /%s: damaged or cut short", set->name);
}

mxs_status mxs_store_read_all(const mxs_store_set *set, hid_t type, void *data) {
  const int64_t first[MXS_STORE_DIMS] = {0};
  if (set->ndims > 0)
    return mxs_store_read(set, type, first, set->dims, data);
  if (set->entries > 0 && H5Dread(set->id, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) < 0)
    return mxs_store_fail(MXS_ERR_DATA, set->path, "cannot read /%s: damaged or cut short",
                          set->name);
  return MXS_OK;
}

mxs_status mxs_store_write(hid_t set,
                           const char *path,
                           hid_t type,
                           const int64_t *first,
                           const int64_t *count,
                           const void *data) {
  hid_t space = H5Dget_space(set);
  const transfer t = {.set = set,
                      .space = space,
                      .type = type,
                      .xfer = H5P_DEFAULT,
                      .ndims = space < 0 ? 0 : H5Sget_simple_extent_ndims(space),
                      .first = first,
                      .count = count,
                      .write = data};
  const herr_t result = space < 0 ? -1 : move_pieces(&t);
  (void)mxs_store_close(&space);
  return result >= 0 ? MXS_OK : mxs_store_fail(MXS_ERR_IO, path, "cannot write");
}

/* Chunks of about a megabyte, whole rows where they fit. */
static herr_t set_chunks(hid_t properties, size_t size, int ndims, const int64_t *dims) {
  int64_t piece[MXS_STORE_DIMS];
  hsize_t chunk[MXS_STORE_DIMS];
  mxs_store_pieces(ndims, dims, size, CHUNK_BYTES, piece);
  for (int d = 0; d < ndims; d++)
    chunk[d] = (hsize_t)piece[d];
  const herr_t result = H5Pset_chunk(properties, ndims, chunk);
  return result < 0 ? result : H5Pset_fletcher32(properties);
}

/* Groups on the way to `name`. No times in their headers: the same contents give the same bytes. */
static herr_t create_parents(hid_t file, const char *name) {
  char prefix[256];
  hid_t creation = H5Pcreate(H5P_GROUP_CREATE);
  herr_t result = creation < 0 ? -1 : H5Pset_obj_track_times(creation, 0);
  for (const char *slash = strchr(name, '/'); slash != NULL && result >= 0;
       slash = strchr(slash + 1, '/')) {
    (void)snprintf(prefix, sizeof prefix, "%.*s", (int)(slash - name), name);
    if (mxs_store_has(file, prefix))
      continue;
    hid_t group = H5Gcreate2(file, prefix, H5P_DEFAULT, creation, H5P_DEFAULT);
    result = group < 0 ? -1 : 0;
    (void)mxs_store_close(&group);
  }
  (void)mxs_store_close(&creation);
  return result;
}

mxs_status mxs_store_create_set(hid_t file,
                                const char *path,
                                const char *name,
                                hid_t type,
                                int ndims,
                                const int64_t *dims,
                                mxs_store_layout layout,
                                hid_t *out) {
  *out = H5I_INVALID_HID;
  hsize_t extent[MXS_STORE_DIMS];
  int64_t entries = 1;
  for (int d = 0; d < ndims; d++) {
    extent[d] = (hsize_t)dims[d];
    entries = dims[d] == 0 ? 0 : entries;
  }
  hid_t space = ndims == 0 ? H5Screate(H5S_SCALAR) : H5Screate_simple(ndims, extent, NULL);
  hid_t creation = H5Pcreate(H5P_DATASET_CREATE);
  herr_t result = space < 0 || creation < 0 ? -1 : create_parents(file, name);
  result = result < 0 ? result : H5Pset_obj_track_times(creation, 0);
  result = result < 0 ? result : H5Pset_alloc_time(creation, H5D_ALLOC_TIME_EARLY);
  result = result < 0 ? result : H5Pset_fill_time(creation, H5D_FILL_TIME_NEVER);
  if (result >= 0 && layout == MXS_STORE_CHECKED && ndims > 0 && entries > 0)
    result = set_chunks(creation, H5Tget_size(type), ndims, dims);
  if (result >= 0)
    *out = H5Dcreate2(file, name, type, space, H5P_DEFAULT, creation, H5P_DEFAULT);
  (void)mxs_store_close(&creation);
  (void)mxs_store_close(&space);
  return *out >= 0 ? MXS_OK : mxs_store_fail(MXS_ERR_IO, path, "cannot create dataset /%s", name);
}

/* One collective transfer of rows first .. first + count - 1 (none: an empty selection). */
static herr_t write_rows(const transfer *t, int64_t first, int64_t count) {
  hsize_t start[MXS_STORE_DIMS] = {0};
  hsize_t extent[MXS_STORE_DIMS] = {1};
  size_t row = H5Tget_size(t->type);
  for (int d = 1; d < t->ndims; d++) {
    extent[d] = (hsize_t)t->count[d];
    row *= (size_t)t->count[d];
  }
  if (count > 0 && t->ndims > 0) {
    start[0] = (hsize_t)first;
    extent[0] = (hsize_t)count;
  }
  hid_t memory = t->ndims == 0 ? H5Screate(H5S_SCALAR) : H5Screate_simple(t->ndims, extent, NULL);
  herr_t result = memory < 0 ? -1 : 0;
  if (result >= 0 && count == 0)
    result = H5Sselect_none(memory) < 0 ? -1 : H5Sselect_none(t->space);
  else if (result >= 0 && t->ndims > 0)
    result = H5Sselect_hyperslab(t->space, H5S_SELECT_SET, start, NULL, extent, NULL);
  /* Entered whatever happened above: the others wait in it. */
  const herr_t written =
      H5Dwrite(t->set, t->type, memory, t->space, t->xfer, t->write + (size_t)first * row);
  (void)mxs_store_close(&memory);
  return result < 0 ? result : written;
}

/* rank rows / size, rounded down, without overflow. */
static int64_t slab_begin(int64_t rows, int64_t rank, int64_t size) {
  return rows / size * rank + rows % size * rank / size;
}

mxs_status mxs_store_write_shared(const mxs_comm *comm,
                                  hid_t set,
                                  const char *path,
                                  hid_t type,
                                  int ndims,
                                  const int64_t *dims,
                                  const void *data) {
  const int64_t rows = ndims == 0 ? 1 : dims[0];
  int64_t piece[MXS_STORE_DIMS] = {1};
  for (int d = 0; d < ndims; d++)
    if (dims[d] == 0)
      return MXS_OK;
  mxs_store_pieces(ndims, dims, H5Tget_size(type), MXS_STORE_PIECE_BYTES, piece);
  const int64_t begin = slab_begin(rows, comm->rank, comm->size);
  const int64_t end = slab_begin(rows, comm->rank + 1, comm->size);
  const int64_t largest = rows / comm->size + (rows % comm->size != 0);
  const int64_t rounds = (largest + piece[0] - 1) / piece[0];
  transfer t = {.set = set,
                .space = H5Dget_space(set),
                .type = type,
                .xfer = H5Pcreate(H5P_DATASET_XFER),
                .ndims = ndims,
                .count = dims,
                .write = data};
  herr_t result = t.space < 0 || t.xfer < 0 ? -1 : H5Pset_dxpl_mpio(t.xfer, H5FD_MPIO_COLLECTIVE);
  for (int64_t round = 0; round < rounds; round++) {
    const int64_t first = begin + round * piece[0];
    const int64_t left = first < end ? end - first : 0;
    const herr_t written = write_rows(&t, left > 0 ? first : 0, left < piece[0] ? left : piece[0]);
    result = result < 0 ? result : written;
  }
  (void)mxs_store_close(&t.xfer);
  (void)mxs_store_close(&t.space);
  return result >= 0 ? MXS_OK : mxs_store_fail(MXS_ERR_IO, path, "cannot write");
}
