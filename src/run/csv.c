#include "conf/number.h"
#include "run/run_impl.h"

static const char csv_name[] = "metrics.csv";

static int put_row(FILE *file, const double *row, int64_t columns) {
  char text[MXS_REAL_TEXT];
  for (int64_t j = 0; j < columns; j++) {
    mxs_format_real(row[j], text);
    if (fprintf(file, j == 0 ? "%s" : ",%s", text) < 0)
      return 0;
  }
  return fputc('\n', file) != EOF;
}

static int put_history(FILE *file, const mxs_history *history) {
  for (int64_t j = 0; j < history->columns; j++)
    if (fprintf(file, j == 0 ? "%s" : ",%s", history->names[j]) < 0)
      return 0;
  if (fputc('\n', file) == EOF)
    return 0;
  for (int64_t i = 0; i < history->rows; i++)
    if (!put_row(file, history->values + i * history->columns, history->columns))
      return 0;
  return 1;
}

mxs_status mxsi_csv_open(const mxsi_rundir *dir, const mxs_history *history, FILE **file) {
  MXS_TRY(mxsi_file_begin(dir, csv_name, file));
  mxs_status status = put_history(*file, history) ? MXS_OK : mxsi_file_fail(dir, csv_name, "write");
  if (status == MXS_OK)
    status = mxsi_file_publish(dir, csv_name, *file);
  if (status != MXS_OK)
    mxsi_file_abandon(dir, csv_name, file);
  return status;
}

mxs_status mxsi_csv_row(const mxsi_rundir *dir, FILE *file, const double *row, int64_t columns) {
  return put_row(file, row, columns) && fflush(file) == 0 ? MXS_OK
                                                          : mxsi_file_fail(dir, csv_name, "write");
}
