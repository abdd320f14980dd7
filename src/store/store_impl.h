/** @file
 *  What a file must be like before anything of it is read. Room `store`.
 *
 *  HDF5 follows whatever a file says: links into other files, data kept elsewhere, filters of
 * plugins, sizes that the file cannot hold. We take what people write with ordinary tools and
 * refuse the rest by name, before the first H5Dread. */
#ifndef MXS_STORE_STORE_IMPL_H
#define MXS_STORE_STORE_IMPL_H

#include "store/store.h"

#include <sys/stat.h>

/** Are all links on the way to `name` hard links? Local. @retval MXS_ERR_DATA one is missing, or is
 * a soft, external or user-defined link; names path, link and remedy */
MXS_CHECKED mxs_status mxsi_store_judge_links(hid_t file, const char *path, const char *name);

/** Layout and filters of an open dataset, before its space and type are asked for: compact,
 * contiguous or chunked, no file but this one, only filters that are built into HDF5, each once.
 * Local.
 *  @retval MXS_ERR_DATA */
MXS_CHECKED mxs_status mxsi_store_judge_layout(hid_t set, const char *path, const char *name);

/** Was all of a dataset of `bytes` bytes written, and can this file hold it? Local. @retval
 * MXS_ERR_DATA
 */
MXS_CHECKED mxs_status
mxsi_store_judge_storage(hid_t file, hid_t set, const char *path, const char *name, int64_t bytes);

/** The chunks of a dataset. */
typedef struct mxsi_store_chunks {
  int ndims;
  uint64_t bytes;                  /**< of a chunk in memory */
  uint64_t chunk[MXS_STORE_DIMS];  /**< entries of a chunk in each dimension */
  uint64_t counts[MXS_STORE_DIMS]; /**< chunks in each dimension */
  unsigned filters;                /**< bit f: filter f is one of its filters */
} mxsi_store_chunks;

/** Find them; 0 when the layout makes no sense or is none of chunks. Local. */
int mxsi_store_chunks_find(hid_t set, mxsi_store_chunks *out);

/** Fail where mxs_store_refuse() was told of this very file. Local. */
MXS_CHECKED mxs_status mxsi_store_check_refused(const struct stat *what);

#endif
