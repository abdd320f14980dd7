/** @file
 *  Matrices as NumPy, CSV or HDF5 files. Room `cli`. */
#ifndef MXS_CLI_EXPORT_FILE_H
#define MXS_CLI_EXPORT_FILE_H

#include "base/text.h"

typedef enum mxs_export_format {
  MXS_EXPORT_AUTO,
  MXS_EXPORT_NPY,
  MXS_EXPORT_CSV,
  MXS_EXPORT_H5
} mxs_export_format;

typedef struct mxs_export_part {
  const char *name; /**< of the dataset, and of the file where there are two parts */
  mxs_cmat values;  /**< contiguous */
  int is_vector;    /**< one dimension: values has one column */
} mxs_export_part;

/** Settle the format: MXS_EXPORT_AUTO becomes that of the ending of `path`, or npy. Local.
 *  @retval MXS_ERR_USAGE the ending is that of another format */
MXS_CHECKED mxs_status mxs_export_choose(const char *path, int *format);

/** Write the parts: one HDF5 file, or a file for each part, named PATH_name where there is more
 *  than one. The format's ending is added where `path` has none. `written` gets the names, with "
 *  and " between them. On failure nothing is left behind. Local.
 *  @retval MXS_ERR_CREATE a file exists, or its directory does not  @retval MXS_ERR_PERMISSION
 * @retval MXS_ERR_IO */
MXS_CHECKED mxs_status mxs_export_write(mxs_export_format format,
                                        const char *path,
                                        const mxs_export_part *parts,
                                        int count,
                                        mxs_text *written);

#endif
