/** @file
 *  Thin helpers over HDF5 and the file system: opening, numeric datasets by hyperslab, attributes,
 *  durable publishing. Room `store`. Nothing of HDF5's error stack reaches standard error: its
 *  innermost text goes into ours.
 *
 *  Files are judged before they are believed: links are not followed into other files or elsewhere,
 * data must be in the file itself, all of it written, in a size that the file can hold, and behind
 * filters that are built into HDF5; plugins are never loaded. */
#ifndef MXS_STORE_STORE_H
#define MXS_STORE_STORE_H

#include "comm/comm.h"

#include <hdf5.h>
#include <sys/stat.h>

enum {
  MXS_STORE_DIMS = 4,        /**< most dimensions of a dataset that we read */
  MXS_STORE_DIGEST_TEXT = 33 /**< 32 hexadecimal digits and the end */
};

/** Largest transfer in one HDF5 call, in bytes of memory. */
#define MXS_STORE_PIECE_BYTES ((int64_t)1 << 28)

/** Record "path: text: innermost HDF5 error" and return `status`. Local. */
mxs_status mxs_store_fail(mxs_status status, const char *path, const char *format, ...)
    MXS_PRINTF(3, 4);

/** Can this rank read `path`, and does it look like HDF5? Local.
 *  @retval MXS_ERR_INPUT missing  @retval MXS_ERR_PERMISSION not readable  @retval MXS_ERR_DATA not
 *  an HDF5 file */
MXS_CHECKED mxs_status mxs_store_check_readable(const char *path);

/** From now on this process does not open the file that `what` describes, as long as it is that
 * very one (device, inode, size, time): opening it fails with MXS_ERR_DATA and "path: why". For
 * files that are known to crash HDF5. Local. */
MXS_CHECKED mxs_status mxs_store_refuse(const char *path, const struct stat *what, const char *why);

/** Forget all of them. Local. */
void mxs_store_refuse_none(void);

/** Open for reading with the serial driver, after mxs_store_check_readable(). Local. */
MXS_CHECKED mxs_status mxs_store_open(const char *path, hid_t *file);

/** Open for reading on all ranks, each on its own: no call on the file is collective, and closing
 * it is local. All agree on whether all could. Collective. */
MXS_CHECKED mxs_status mxs_store_open_all(const mxs_comm *comm, const char *path, hid_t *file);

/** Create on all ranks over a file that rank 0 reserved; metadata checksummed (format of HDF5
 *  1.10). Collective. */
MXS_CHECKED mxs_status mxs_store_create_all(const mxs_comm *comm, const char *path, hid_t *file);

/** Close any HDF5 identifier and set it to H5I_INVALID_HID; negative ones are skipped. Local; for
 *  files created by all, Collective. @retval MXS_ERR_IO a file did not close well */
mxs_status mxs_store_close(hid_t *id);

/** Is there an object of this name ("truth/U"), or a link on the way to it that is not followed?
 * Local.
 */
int mxs_store_has(hid_t file, const char *name);

/** A numeric dataset opened for reading. */
typedef struct mxs_store_set {
  hid_t id;
  const char *path, *name; /**< borrowed, for messages */
  int ndims;
  int64_t dims[MXS_STORE_DIMS];
  int64_t entries;   /**< product of dims */
  int is_integer;    /**< else floating point */
  int bits;          /**< of precision: 24 and less fit a float exactly when is_integer */
  char type_name[8]; /**< "f64", "f32", "i16", "u8", ... */
  char shape[96];    /**< "(500, 20, 30)" */
} mxs_store_set;

/** Open a dataset of real numbers: any float or integer type, either endianness, any layout within
 * the file, any filter of HDF5 itself. Local.
 *  @retval MXS_ERR_DATA no such dataset, not numbers, a shape beyond 64 bits, not in this file, or
 * not written in full; names path, dataset and remedy */
MXS_CHECKED mxs_status mxs_store_set_open(hid_t file,
                                          const char *path,
                                          const char *name,
                                          mxs_store_set *out);
void mxs_store_set_close(mxs_store_set *set);

/** Read entries first[d] .. first[d] + count[d] - 1 of every dimension into contiguous `data` of
 *  memory type `type`, converting, in pieces below MXS_STORE_PIECE_BYTES; independent transfers.
 *  Local. */
MXS_CHECKED mxs_status mxs_store_read(
    const mxs_store_set *set, hid_t type, const int64_t *first, const int64_t *count, void *data);

/** Go through what reading the dataset will rely on: the size of every chunk (of the
 *  first 32768); small data,
 * and data that HDF5 decodes on trust (szip, nbit, scaleoffset), are read. For a process that may
 * crash. Local. @retval MXS_ERR_DATA damaged */
MXS_CHECKED mxs_status mxs_store_survey(const mxs_store_set *set);

/** Read all of a dataset. Local. */
MXS_CHECKED mxs_status mxs_store_read_all(const mxs_store_set *set, hid_t type, void *data);

/** Shape of the pieces in which a transfer of `count` entries of `size` bytes is cut, each
 *  contiguous in memory and at most `limit` bytes (one entry at least). Local. */
void mxs_store_pieces(int ndims, const int64_t *count, size_t size, int64_t limit, int64_t *piece);

/** How a dataset is laid out. */
typedef enum mxs_store_layout {
  MXS_STORE_PLAIN,  /**< contiguous: independent writes are legal */
  MXS_STORE_CHECKED /**< chunked with fletcher32: collective writes only */
} mxs_store_layout;

/** Create a dataset in a file of mxs_store_create_all(), groups on the way included; never filled,
 *  allocated at once. Collective. */
MXS_CHECKED mxs_status mxs_store_create_set(hid_t file,
                                            const char *path,
                                            const char *name,
                                            hid_t type,
                                            int ndims,
                                            const int64_t *dims,
                                            mxs_store_layout layout,
                                            hid_t *out);

/** Write a hyperslab from contiguous memory of type `type`, as mxs_store_read() reads. Local
 *  (MXS_STORE_PLAIN). */
MXS_CHECKED mxs_status mxs_store_write(hid_t set,
                                       const char *path,
                                       hid_t type,
                                       const int64_t *first,
                                       const int64_t *count,
                                       const void *data);

/** Write a dataset of rows that all ranks hold in full: rank p writes rows [p n / P, (p + 1) n /
 *  P), in collective transfers. A scalar (ndims 0) is written by one rank. Collective; the status
 *  may differ between ranks. */
MXS_CHECKED mxs_status mxs_store_write_shared(const mxs_comm *comm,
                                              hid_t set,
                                              const char *path,
                                              hid_t type,
                                              int ndims,
                                              const int64_t *dims,
                                              const void *data);

/** Attributes of an object. Writing: Collective in a file of all, the same values everywhere. */
MXS_CHECKED mxs_status mxs_store_put_integer(hid_t object, const char *name, int64_t value);
MXS_CHECKED mxs_status mxs_store_put_unsigned(hid_t object, const char *name, uint64_t value);
MXS_CHECKED mxs_status mxs_store_put_number(hid_t object, const char *name, double value);
MXS_CHECKED mxs_status mxs_store_put_text(hid_t object, const char *name, const char *value);

/** Is there an attribute of this name? Where that cannot be told, yes: reading it tells. Local. */
int mxs_store_has_attribute(hid_t object, const char *name);

/** Reading. `path` is for messages. Local. @retval MXS_ERR_DATA missing, not one value, of another
 *  class, out of range */
MXS_CHECKED mxs_status mxs_store_get_integer(hid_t object,
                                             const char *path,
                                             const char *name,
                                             int64_t *value);
MXS_CHECKED mxs_status mxs_store_get_unsigned(hid_t object,
                                              const char *path,
                                              const char *name,
                                              uint64_t *value);
MXS_CHECKED mxs_status mxs_store_get_number(hid_t object,
                                            const char *path,
                                            const char *name,
                                            double *value);

/** Text attribute of fixed or variable length, of at most 4 KiB in the file; longer text is cut to
 *  `size` - 1 bytes. */
MXS_CHECKED mxs_status
mxs_store_get_text(hid_t object, const char *path, const char *name, char *value, size_t size);

/** Type of a text of `length` bytes, for mxs_store_create_set(); closed by mxs_store_close().
 *  Local. */
MXS_CHECKED mxs_status mxs_store_text_type(int64_t length, hid_t *type);

/** Read a scalar text dataset of fixed length; released with mxs_release(). Local. @retval
 *  MXS_ERR_DATA it is none */
MXS_CHECKED mxs_status mxs_store_read_text(hid_t file,
                                           const char *path,
                                           const char *name,
                                           char **text);

/** XXH3-128 of memory in hexadecimal. Local. */
void mxs_store_digest(const void *data, int64_t bytes, char text[MXS_STORE_DIGEST_TEXT]);

/** Create an empty file that must not exist yet; shows whether the directory can be written to.
 *  Local.
 *  @retval MXS_ERR_CREATE no such directory, or it exists  @retval MXS_ERR_PERMISSION */
MXS_CHECKED mxs_status mxs_store_reserve(const char *path);

/** Ask the file system for `bytes` bytes in an existing file, so that a full disk is seen before
 *  data moves; file systems that cannot tell are believed. Local. @retval MXS_ERR_IO no space, or
 *  beyond a quota or limit */
MXS_CHECKED mxs_status mxs_store_preallocate(const char *path, int64_t bytes);

/** The same, and `*promised` = 0 where the file system only looks as if it had the room. Local. */
MXS_CHECKED mxs_status mxs_store_ask_for_room(const char *path, int64_t bytes, int *promised);

/** Force a file to the disk. Local. */
MXS_CHECKED mxs_status mxs_store_sync(const char *path);

/** Force the directory that holds `path` to the disk. Local. */
MXS_CHECKED mxs_status mxs_store_sync_parent(const char *path);

#endif
