#include "base/text.h"
#include "store/store_impl.h"

#include <stdio.h>
#include <string.h>

enum { LONGEST_TEXT = 1 << 26, LARGEST_ATTRIBUTE = 1 << 12 };

static mxs_status put(hid_t object, const char *name, hid_t type, const void *value) {
  hid_t space = H5Screate(H5S_SCALAR);
  hid_t attribute =
      space < 0 ? H5I_INVALID_HID : H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
  const herr_t result = attribute < 0 ? -1 : H5Awrite(attribute, type, value);
  (void)mxs_store_close(&attribute);
  (void)mxs_store_close(&space);
  return result >= 0 ? MXS_OK : mxs_store_fail(MXS_ERR_IO, name, "cannot write the attribute");
}

mxs_status mxs_store_put_integer(hid_t object, const char *name, int64_t value) {
  return put(object, name, H5T_NATIVE_INT64, &value);
}

mxs_status mxs_store_put_unsigned(hid_t object, const char *name, uint64_t value) {
  return put(object, name, H5T_NATIVE_UINT64, &value);
}

mxs_status mxs_store_put_number(hid_t object, const char *name, double value) {
  return put(object, name, H5T_NATIVE_DOUBLE, &value);
}

mxs_status mxs_store_text_type(int64_t length, hid_t *type) {
  *type = H5Tcopy(H5T_C_S1);
  if (*type >= 0 && H5Tset_size(*type, (size_t)length + 1) >= 0 &&
      H5Tset_cset(*type, H5T_CSET_UTF8) >= 0)
    return MXS_OK;
  (void)mxs_store_close(type);
  return mxs_store_fail(MXS_ERR_INTERNAL, "HDF5", "cannot make a text type");
}

mxs_status mxs_store_put_text(hid_t object, const char *name, const char *value) {
  hid_t type = H5I_INVALID_HID;
  MXS_TRY(mxs_store_text_type((int64_t)strlen(value), &type));
  const mxs_status status = put(object, name, type, value);
  (void)mxs_store_close(&type);
  return status;
}

/* Bytes of an open scalar text dataset of fixed length; 0 when it is none. */
static size_t text_size(hid_t set, hid_t type) {
  hid_t space = H5Dget_space(set);
  const int good = type >= 0 && space >= 0 && H5Tget_class(type) == H5T_STRING &&
                   H5Tis_variable_str(type) == 0 && H5Sget_simple_extent_npoints(space) == 1;
  (void)mxs_store_close(&space);
  const size_t size = good ? H5Tget_size(type) : 0;
  return size <= LONGEST_TEXT ? size : 0;
}

mxs_status mxs_store_read_text(hid_t file, const char *path, const char *name, char **text) {
  *text = NULL;
  hid_t type = H5I_INVALID_HID;
  MXS_TRY(mxsi_store_judge_links(file, path, name));
  hid_t set = H5Dopen2(file, name, H5P_DEFAULT);
  if (set < 0)
    return mxs_store_fail(MXS_ERR_DATA, path, "/%s cannot be opened as a dataset", name);
  mxs_status status = MXS_OK;
  MXS_TRY_GOTO(status, mxsi_store_judge_layout(set, path, name), cleanup);
  type = H5Dget_type(set);
  const size_t size = text_size(set, type);
  if (size == 0) {
    status = mxs_store_fail(MXS_ERR_DATA, path, "/%s is not a text", name);
    goto cleanup;
  }
  MXS_TRY_GOTO(status, mxsi_store_judge_storage(file, set, path, name, (int64_t)size), cleanup);
  MXS_TRY_GOTO(status, mxs_alloc((int64_t)size + 1, 1, text), cleanup);
  if (H5Dread(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, *text) < 0)
    status = mxs_store_fail(MXS_ERR_DATA, path, "cannot read /%s: damaged or cut short", name);
cleanup:
  if (status != MXS_OK)
    mxs_release(text);
  (void)mxs_store_close(&type);
  (void)mxs_store_close(&set);
  return status;
}

int mxs_store_has_attribute(hid_t object, const char *name) {
  return H5Aexists(object, name) != 0;
}

/* An attribute of exactly one value, opened. */
typedef struct attribute_reader {
  hid_t id, type;
  H5T_class_t class;
} attribute_reader;

static void attribute_close(attribute_reader *reader) {
  (void)mxs_store_close(&reader->type);
  (void)mxs_store_close(&reader->id);
}

static mxs_status attribute_open(hid_t object,
                                 const char *path,
                                 const char *name,
                                 attribute_reader *out) {
  *out = (attribute_reader){H5I_INVALID_HID, H5I_INVALID_HID, H5T_NO_CLASS};
  if (!mxs_store_has_attribute(object, name))
    return mxs_fail(MXS_ERR_DATA, "%s: attribute `%s` is missing", path, name);
  hid_t space = H5I_INVALID_HID;
  out->id = H5Aopen(object, name, H5P_DEFAULT);
  if (out->id >= 0) {
    out->type = H5Aget_type(out->id);
    space = H5Aget_space(out->id);
  }
  const hssize_t points = space < 0 ? -1 : H5Sget_simple_extent_npoints(space);
  (void)mxs_store_close(&space);
  if (out->type >= 0)
    out->class = H5Tget_class(out->type);
  const int fits = out->type >= 0 && H5Tget_size(out->type) <= LARGEST_ATTRIBUTE;
  if (points == 1 && fits)
    return MXS_OK;
  attribute_close(out);
  if (points < 0)
    return mxs_store_fail(MXS_ERR_DATA, path, "cannot read attribute `%s`", name);
  if (points == 1 && !fits)
    return mxs_fail(MXS_ERR_DATA, "%s: attribute `%s` is larger than %d bytes: make it shorter",
                    path, name, (int)LARGEST_ATTRIBUTE);
  return mxs_fail(MXS_ERR_DATA, "%s: attribute `%s` must be one value", path, name);
}

/* Integers of either sign are read as they are: HDF5 would clip what does not fit. */
static mxs_status get_whole(
    hid_t object, const char *path, const char *name, int *negative, uint64_t *magnitude) {
  attribute_reader reader;
  MXS_TRY(attribute_open(object, path, name, &reader));
  mxs_status status = MXS_OK;
  herr_t result = 0;
  *negative = 0;
  if (reader.class != H5T_INTEGER) {
    status = mxs_fail(MXS_ERR_DATA, "%s: attribute `%s` must be an integer", path, name);
  } else if (H5Tget_sign(reader.type) == H5T_SGN_2) {
    int64_t value = 0;
    result = H5Aread(reader.id, H5T_NATIVE_INT64, &value);
    *negative = value < 0;
    *magnitude = value < 0 ? -(uint64_t)value : (uint64_t)value;
  } else {
    result = H5Aread(reader.id, H5T_NATIVE_UINT64, magnitude);
  }
  if (result < 0)
    status = mxs_store_fail(MXS_ERR_DATA, path, "cannot read attribute `%s`", name);
  attribute_close(&reader);
  return status;
}

mxs_status mxs_store_get_integer(hid_t object, const char *path, const char *name, int64_t *value) {
  int negative = 0;
  uint64_t magnitude = 0;
  MXS_TRY(get_whole(object, path, name, &negative, &magnitude));
  if (magnitude > INT64_MAX)
    return mxs_fail(MXS_ERR_DATA, "%s: attribute `%s` is out of range", path, name);
  *value = negative ? -(int64_t)magnitude : (int64_t)magnitude;
  return MXS_OK;
}

mxs_status mxs_store_get_unsigned(hid_t object,
                                  const char *path,
                                  const char *name,
                                  uint64_t *value) {
  int negative = 0;
  MXS_TRY(get_whole(object, path, name, &negative, value));
  return negative ? mxs_fail(MXS_ERR_DATA, "%s: attribute `%s` must not be negative", path, name)
                  : MXS_OK;
}

mxs_status mxs_store_get_number(hid_t object, const char *path, const char *name, double *value) {
  attribute_reader reader;
  MXS_TRY(attribute_open(object, path, name, &reader));
  mxs_status status = MXS_OK;
  if (reader.class != H5T_FLOAT && reader.class != H5T_INTEGER)
    status = mxs_fail(MXS_ERR_DATA, "%s: attribute `%s` must be a number", path, name);
  else if (H5Aread(reader.id, H5T_NATIVE_DOUBLE, value) < 0)
    status = mxs_store_fail(MXS_ERR_DATA, path, "cannot read attribute `%s`", name);
  attribute_close(&reader);
  return status;
}

/* Text of fixed length, padded with anything. */
static mxs_status get_fixed_text(const attribute_reader *reader, char *value, size_t size) {
  const size_t length = H5Tget_size(reader->type);
  char *text = NULL;
  MXS_TRY(mxs_alloc((int64_t)length + 1, 1, &text));
  mxs_status status = MXS_OK;
  if (H5Aread(reader->id, reader->type, text) < 0)
    status = MXS_ERR_DATA;
  else
    (void)snprintf(value, size, "%s", text);
  mxs_release(&text);
  for (size_t end = strlen(value); end > 0 && value[end - 1] == ' '; end--)
    value[end - 1] = '\0';
  return status;
}

static mxs_status get_variable_text(const attribute_reader *reader, char *value, size_t size) {
  char *text = NULL;
  hid_t space = H5Aget_space(reader->id);
  mxs_status status = MXS_ERR_DATA;
  if (space >= 0 && H5Aread(reader->id, reader->type, &text) >= 0) {
    (void)snprintf(value, size, "%s", text == NULL ? "" : text);
    (void)H5Dvlen_reclaim(reader->type, space, H5P_DEFAULT, &text);
    status = MXS_OK;
  }
  (void)mxs_store_close(&space);
  return status;
}

mxs_status mxs_store_get_text(
    hid_t object, const char *path, const char *name, char *value, size_t size) {
  attribute_reader reader;
  value[0] = '\0';
  MXS_TRY(attribute_open(object, path, name, &reader));
  mxs_status status = MXS_OK;
  if (reader.class != H5T_STRING)
    status = mxs_fail(MXS_ERR_DATA, "%s: attribute `%s` must be a string", path, name);
  else if ((H5Tis_variable_str(reader.type) > 0 ? get_variable_text(&reader, value, size)
                                                : get_fixed_text(&reader, value, size)) != MXS_OK)
    status = mxs_store_fail(MXS_ERR_DATA, path, "cannot read attribute `%s`", name);
  attribute_close(&reader);
  return status;
}
