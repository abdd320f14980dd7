#include "cli/export_file.h"
#include "base/text.h"
#include "conf/number.h"
#include "store/store.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { MOST_PARTS = 2, NPY_ALIGNMENT = 64, NPY_PREAMBLE = 10 };

enum { FORMATS = 4 };

static const char *const endings[FORMATS] = {[MXS_EXPORT_AUTO] = "",
                                             [MXS_EXPORT_NPY] = ".npy",
                                             [MXS_EXPORT_CSV] = ".csv",
                                             [MXS_EXPORT_H5] = ".h5"};

static int ends_with(const char *path, const char *ending) {
  const size_t length = strlen(path);
  const size_t tail = strlen(ending);
  return length > tail && strcmp(path + length - tail, ending) == 0;
}

mxs_status mxs_export_choose(const char *path, int *format) {
  for (int other = MXS_EXPORT_NPY; other < FORMATS; other++) {
    if (!ends_with(path, endings[other]) || *format == other)
      continue;
    if (*format != MXS_EXPORT_AUTO)
      return mxs_fail(MXS_ERR_USAGE,
                      "%s: the ending is of another format than --format %s: leave one of them out",
                      path, endings[*format] + 1);
    *format = other;
  }
  if (*format == MXS_EXPORT_AUTO)
    *format = MXS_EXPORT_NPY;
  return MXS_OK;
}

static mxs_status write_error(const char *path) {
  return mxs_fail(MXS_ERR_IO, "%s: cannot write: %s", path, strerror(errno));
}

/* Version 1.0: magic, version, length of the header, header padded with blanks to a multiple of 64
 * bytes. */
static mxs_status write_npy(FILE *file, const char *path, const mxs_export_part *part) {
  const union {
    uint16_t number;
    unsigned char byte[2];
  } order = {1};
  char shape[64];
  char header[256];
  const int shape_length =
      part->is_vector ? snprintf(shape, sizeof shape, "(%lld,)", (long long)part->values.rows)
                      : snprintf(shape, sizeof shape, "(%lld, %lld)", (long long)part->values.rows,
                                 (long long)part->values.cols);
  const int length =
      snprintf(header, sizeof header, "{'descr': '%cf8', 'fortran_order': False, 'shape': %s, }",
               order.byte[0] == 1 ? '<' : '>', shape);
  if (shape_length < 0 || length < 0)
    return mxs_fail(MXS_ERR_INTERNAL, "cannot format a NumPy header");
  const int total = (NPY_PREAMBLE + length + 1 + NPY_ALIGNMENT - 1) / NPY_ALIGNMENT * NPY_ALIGNMENT;
  const unsigned padded = (unsigned)(total - NPY_PREAMBLE);
  const unsigned char preamble[NPY_PREAMBLE] = {0x93,
                                                'N',
                                                'U',
                                                'M',
                                                'P',
                                                'Y',
                                                1,
                                                0,
                                                (unsigned char)(padded & 0xff),
                                                (unsigned char)(padded >> 8)};
  const size_t numbers = (size_t)(part->values.rows * part->values.cols);
  if (fwrite(preamble, 1, sizeof preamble, file) != sizeof preamble ||
      fprintf(file, "%-*s\n", (int)padded - 1, header) < 0 ||
      fwrite(part->values.a, sizeof(double), numbers, file) != numbers)
    return write_error(path);
  return MXS_OK;
}

static mxs_status write_csv(FILE *file, const char *path, const mxs_export_part *part) {
  const mxs_cmat *values = &part->values;
  for (int64_t i = 0; i < values->rows; i++) {
    for (int64_t j = 0; j < values->cols; j++) {
      char number[MXS_REAL_TEXT];
      mxs_format_real(values->a[i * values->ld + j], number);
      if (fprintf(file, "%s%c", number, j + 1 < values->cols ? ',' : '\n') < 0)
        return write_error(path);
    }
  }
  return MXS_OK;
}

static mxs_status write_stream(mxs_export_format format,
                               const char *path,
                               const mxs_export_part *part) {
  FILE *file = fopen(path, "wbe");
  if (file == NULL)
    return write_error(path);
  const mxs_status status =
      format == MXS_EXPORT_NPY ? write_npy(file, path, part) : write_csv(file, path, part);
  if (fclose(file) != 0 && status == MXS_OK)
    return write_error(path);
  return status;
}

static mxs_status write_dataset(hid_t file, const char *path, const mxs_export_part *part) {
  const hsize_t dims[2] = {(hsize_t)part->values.rows, (hsize_t)part->values.cols};
  const hid_t space = H5Screate_simple(part->is_vector ? 1 : 2, dims, NULL);
  const hid_t set =
      H5Dcreate2(file, part->name, H5T_IEEE_F64LE, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  const herr_t written =
      set < 0 ? -1
              : H5Dwrite(set, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, part->values.a);
  const herr_t closed = set < 0 ? -1 : H5Dclose(set);
  (void)H5Sclose(space); /* memory only */
  return written < 0 || closed < 0
             ? mxs_store_fail(MXS_ERR_IO, path, "cannot write /%s", part->name)
             : MXS_OK;
}

static mxs_status write_h5(const char *path, const mxs_export_part *parts, int count) {
  hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  if (file < 0)
    return mxs_store_fail(MXS_ERR_IO, path, "cannot create the file");
  mxs_status status = MXS_OK;
  for (int i = 0; i < count && status == MXS_OK; i++)
    status = write_dataset(file, path, &parts[i]);
  const mxs_status closed = mxs_store_close(&file);
  return status != MXS_OK ? status : closed;
}

/* PATH, or PATH_name, with the ending once. */
static mxs_status name_file(mxs_export_format format,
                            const char *path,
                            const char *name,
                            char **out) {
  const char *ending = endings[format];
  const int length = (int)strlen(path) - (ends_with(path, ending) ? (int)strlen(ending) : 0);
  return mxs_text_format(out, "%.*s%s%s%s", length, path, name[0] != '\0' ? "_" : "", name, ending);
}

static mxs_status reserve(const char *path) {
  if (access(path, F_OK) == 0)
    return mxs_fail(MXS_ERR_CREATE, "%s: exists already: remove it or choose another name", path);
  return mxs_store_reserve(path);
}

mxs_status mxs_export_write(mxs_export_format format,
                            const char *path,
                            const mxs_export_part *parts,
                            int count,
                            mxs_text *written) {
  char *files[MOST_PARTS] = {NULL};
  const int file_count = format == MXS_EXPORT_H5 ? 1 : count;
  int reserved = 0;
  mxs_status status = MXS_OK;
  for (int i = 0; i < file_count; i++)
    MXS_TRY_GOTO(status, name_file(format, path, file_count > 1 ? parts[i].name : "", &files[i]),
                 cleanup);
  /* All names first: an answer is written whole or not at all. */
  for (; reserved < file_count; reserved++)
    MXS_TRY_GOTO(status, reserve(files[reserved]), cleanup);
  for (int i = 0; i < file_count && status == MXS_OK; i++) {
    status = format == MXS_EXPORT_H5 ? write_h5(files[i], parts, count)
                                     : write_stream(format, files[i], &parts[i]);
    if (status == MXS_OK)
      status = mxs_store_sync(files[i]);
    if (status == MXS_OK)
      status = mxs_text_add(written, "%s%s", i > 0 ? " and " : "", files[i]);
  }
cleanup:
  for (int i = 0; i < MOST_PARTS; i++) {
    if (status != MXS_OK && i < reserved)
      (void)unlink(files[i]); /* ours, and incomplete */
    mxs_release(&files[i]);
  }
  return status;
}
