#include "base/text.h"
#include "conf/build.h"
#include "conf/number.h"
#include "store/store.h"
#include "study/execute.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

static const char group_name[] = "table";

/* ---- columns --------------------------------------------------------------------------------- */

static mxs_status grow(void **data, size_t size, int64_t count, int64_t *capacity) {
  void *larger = NULL;
  if (count < *capacity)
    return MXS_OK;
  const int64_t more = *capacity < 16 ? 16 : 2 * *capacity;
  MXS_TRY(mxs_alloc(more, size, &larger));
  if (count > 0)
    memcpy(larger, *data, (size_t)count * size);
  mxs_release(data);
  *data = larger;
  *capacity = more;
  return MXS_OK;
}

mxs_status mxsi_table_add(mxsi_table *table, const char *name, mxsi_kind kind, int64_t *column) {
  void *series = table->series;
  const mxs_status status = grow(&series, sizeof *table->series, table->count, &table->capacity);
  table->series = series;
  MXS_TRY(status);
  mxsi_series *s = &table->series[table->count];
  *s = (mxsi_series){.kind = kind};
  (void)snprintf(s->name, sizeof s->name, "%s", name);
  *column = table->count++;
  switch (kind) {
  case MXSI_INTEGER:
    MXS_TRY(mxs_alloc(table->rows, sizeof *s->integers, &s->integers));
    for (int64_t i = 0; i < table->rows; i++)
      s->integers[i] = INT64_MIN;
    return MXS_OK;
  case MXSI_REAL:
    MXS_TRY(mxs_alloc(table->rows, sizeof *s->reals, &s->reals));
    for (int64_t i = 0; i < table->rows; i++)
      s->reals[i] = (double)NAN;
    return MXS_OK;
  case MXSI_TEXT:
    break;
  }
  return mxs_alloc(table->rows, sizeof *s->texts, &s->texts);
}

/* The same text often comes again in the next row. */
mxs_status mxsi_table_set_text(mxsi_table *table, int64_t column, int64_t row, const char *text) {
  mxsi_series *s = &table->series[column];
  const char *above = row > 0 ? s->texts[row - 1] : NULL;
  if (text == NULL || (above != NULL && strcmp(above, text) == 0)) {
    s->texts[row] = text == NULL ? NULL : above;
    return MXS_OK;
  }
  void *known = table->text;
  const mxs_status status = grow(&known, sizeof *table->text, table->texts, &table->text_capacity);
  table->text = known;
  MXS_TRY(status);
  MXS_TRY(mxs_text_format(&table->text[table->texts], "%s", text));
  s->texts[row] = table->text[table->texts++];
  return MXS_OK;
}

void mxsi_table_clear(mxsi_table *table) {
  for (int64_t c = 0; c < table->count; c++) {
    mxs_release(&table->series[c].integers);
    mxs_release(&table->series[c].reals);
    mxs_release(&table->series[c].texts);
  }
  for (int64_t i = 0; i < table->texts; i++)
    mxs_release(&table->text[i]);
  mxs_release(&table->series);
  mxs_release(&table->text);
  *table = (mxsi_table){0};
}

/* ---- CSV ------------------------------------------------------------------------------------- */

/* In quotes where it has to be. */
static int put_text(FILE *file, const char *text) {
  if (strpbrk(text, ",\"\r\n") == NULL)
    return fputs(text, file) >= 0;
  int good = fputc('"', file) != EOF;
  for (const char *c = text; *c != '\0' && good; c++)
    good = (*c != '"' || fputc('"', file) != EOF) && fputc(*c, file) != EOF;
  return good && fputc('"', file) != EOF;
}

static int put_cell(FILE *file, const mxsi_series *s, int64_t row) {
  char text[MXS_REAL_TEXT];
  switch (s->kind) {
  case MXSI_INTEGER:
    return s->integers[row] == INT64_MIN || fprintf(file, "%lld", (long long)s->integers[row]) > 0;
  case MXSI_REAL:
    if (isnan(s->reals[row]))
      return 1;
    mxs_format_real(s->reals[row], text);
    return fputs(text, file) >= 0;
  case MXSI_TEXT:
    break;
  }
  return s->texts[row] == NULL || put_text(file, s->texts[row]);
}

static int put_table(FILE *file, const mxsi_table *table) {
  int good = 1;
  for (int64_t c = 0; c < table->count && good; c++)
    good = (c == 0 || fputc(',', file) != EOF) && put_text(file, table->series[c].name);
  good = good && fputc('\n', file) != EOF;
  for (int64_t i = 0; i < table->rows && good; i++) {
    for (int64_t c = 0; c < table->count && good; c++)
      good = (c == 0 || fputc(',', file) != EOF) && put_cell(file, &table->series[c], i);
    good = good && fputc('\n', file) != EOF;
  }
  return good;
}

static mxs_status write_csv(const mxsi_table *table, const char *path) {
  FILE *file = fopen(path, "we");
  if (file == NULL)
    return mxs_fail(MXS_ERR_IO, "%s: cannot create: %s", path, strerror(errno));
  const int good = put_table(file, table);
  if (fclose(file) != 0 || !good)
    return mxs_fail(MXS_ERR_IO, "%s: cannot write: %s", path, strerror(errno));
  return MXS_OK;
}

/* ---- HDF5 ------------------------------------------------------------------------------------ */

/* Texts of one length and their ends, one after the other, as HDF5 has them. */
static mxs_status pack_texts(const mxsi_table *table,
                             const mxsi_series *s,
                             int64_t *length,
                             char **packed) {
  *length = 1;
  for (int64_t i = 0; i < table->rows; i++)
    if (s->texts[i] != NULL && (int64_t)strlen(s->texts[i]) > *length)
      *length = (int64_t)strlen(s->texts[i]);
  const int64_t stride = *length + 1;
  MXS_TRY(mxs_alloc(table->rows * stride, 1, packed));
  for (int64_t i = 0; i < table->rows; i++)
    if (s->texts[i] != NULL)
      memcpy(*packed + i * stride, s->texts[i], strlen(s->texts[i]));
  return MXS_OK;
}

static mxs_status write_set(hid_t file,
                            const char *path,
                            const char *name,
                            const hid_t types[2],
                            int64_t rows,
                            const void *data) {
  char full[sizeof group_name + MXSI_SERIES_NAME];
  hid_t set = H5I_INVALID_HID;
  const int64_t first = 0;
  (void)snprintf(full, sizeof full, "%s/%s", group_name, name);
  mxs_status status =
      mxs_store_create_set(file, path, full, types[0], 1, &rows, MXS_STORE_PLAIN, &set);
  if (status == MXS_OK && rows > 0)
    status = mxs_store_write(set, path, types[1], &first, &rows, data);
  const mxs_status closed = mxs_store_close(&set);
  return status != MXS_OK ? status : closed;
}

static mxs_status write_texts(hid_t file,
                              const char *path,
                              const mxsi_table *table,
                              const mxsi_series *s) {
  hid_t type = H5I_INVALID_HID;
  char *packed = NULL;
  int64_t length = 0;
  mxs_status status = pack_texts(table, s, &length, &packed);
  if (status == MXS_OK)
    status = mxs_store_text_type(length, &type);
  if (status == MXS_OK)
    status = write_set(file, path, s->name, (const hid_t[]){type, type}, table->rows, packed);
  (void)mxs_store_close(&type);
  mxs_release(&packed);
  return status;
}

static mxs_status write_series(hid_t file,
                               const char *path,
                               const mxsi_table *table,
                               const mxsi_series *s) {
  const hid_t integers[] = {H5T_STD_I64LE, H5T_NATIVE_INT64};
  const hid_t reals[] = {H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE};
  switch (s->kind) {
  case MXSI_INTEGER:
    return write_set(file, path, s->name, integers, table->rows, s->integers);
  case MXSI_REAL:
    return write_set(file, path, s->name, reals, table->rows, s->reals);
  case MXSI_TEXT:
    break;
  }
  return write_texts(file, path, table, s);
}

static mxs_status put_attributes(hid_t file, const char *path, const char *title) {
  hid_t group = H5Gopen2(file, group_name, H5P_DEFAULT);
  if (group < 0)
    return mxs_store_fail(MXS_ERR_IO, path, "cannot open group /%s", group_name);
  mxs_status status = mxs_store_put_text(group, "title", title);
  if (status == MXS_OK)
    status = mxs_store_put_text(group, "commit", mxs_build_get().commit);
  (void)mxs_store_close(&group);
  return status;
}

static mxs_status write_hdf5(const mxs_comm *self,
                             const mxsi_table *table,
                             const char *title,
                             const char *path) {
  hid_t file = H5I_INVALID_HID;
  MXS_TRY(mxs_store_reserve(path));
  mxs_status status = mxs_store_create_all(self, path, &file);
  for (int64_t c = 0; c < table->count && status == MXS_OK; c++)
    status = write_series(file, path, table, &table->series[c]);
  if (status == MXS_OK)
    status = put_attributes(file, path, title);
  const mxs_status closed = mxs_store_close(&file);
  return status != MXS_OK ? status : closed;
}

/* ---- files ----------------------------------------------------------------------------------- */

/* Publish a temporary file that was written with `status`; its name is released. */
static mxs_status settle(mxs_status status, char *temporary, const char *path) {
  if (status == MXS_OK)
    status = mxsi_place_publish(temporary, path);
  else
    (void)unlink(temporary);
  mxs_release(&temporary);
  return status;
}

mxs_status mxsi_table_write_csv(const mxsi_table *table, const char *path) {
  char *temporary = NULL;
  MXS_TRY(mxsi_place_temporary(path, &temporary));
  return settle(write_csv(table, temporary), temporary, path);
}

mxs_status mxsi_table_write_hdf5(const mxsi_table *table, const char *title, const char *path) {
  char *temporary = NULL;
  mxs_comm *self = NULL;
  MXS_TRY(mxsi_place_temporary(path, &temporary));
  (void)unlink(temporary);
  mxs_status status = mxs_comm_create(MPI_COMM_SELF, &self);
  if (status == MXS_OK)
    status = write_hdf5(self, table, title, temporary);
  mxs_comm_destroy(&self);
  return settle(status, temporary, path);
}
