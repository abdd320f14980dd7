/** @file
 *  Problem files (HDF5): what they say of themselves, planting new ones, and checking them. Reading
 *  one into a problem is mxs_problem_load() of problem.h. Room `problem`; only in builds with HDF5.
 */
#ifndef MXS_PROBLEM_FILE_H
#define MXS_PROBLEM_FILE_H

#include "comm/comm.h"
#include "mxsense/problem.h"

/** How a file gives the truth. */
typedef enum mxs_truth_form {
  MXS_TRUTH_NONE,
  MXS_TRUTH_FACTORS, /**< /truth/U, /truth/V */
  MXS_TRUTH_MATRIX   /**< /truth/X */
} mxs_truth_form;

/** What a problem file says of itself. */
typedef struct mxs_problem_header {
  int64_t n1, n2, m;
  int64_t m_validation; /**< held-out measurements of the file */
  mxs_ensemble ensemble;
  mxs_storage
      storage; /**< smallest that holds the file's A exactly; AS_FILE for a generated ensemble */
  char entries[8]; /**< type of A on disk: "f64", "f32", "i8", ...; "" for a generated ensemble */
  uint64_t seed;   /**< of a generated ensemble */
  int64_t block_rows; /**< of the fast ensemble, else 0 */
  mxs_truth_form truth;
  int64_t truth_rank; /**< columns of /truth/U, else 0 */
  double noise_std;   /**< NaN: the file does not say */
  int has_digests;
} mxs_problem_header;

/** Read and check the shapes, types and attributes of a problem file; no measurement is read.
 *  Local, serial.
 *  @retval MXS_ERR_INPUT no such file  @retval MXS_ERR_PERMISSION not readable
 *  @retval MXS_ERR_DATA not HDF5, or not a problem; the text names the dataset, its shape and the
 *  remedy */
MXS_CHECKED mxs_status mxs_problem_peek(const char *path, mxs_problem_header *out);

/** The same for all ranks: rank 0 looks, all learn it. Collective. */
MXS_CHECKED mxs_status mxs_problem_peek_all(const mxs_comm *comm,
                                            const char *path,
                                            mxs_problem_header *out);

/** Read everything: all numbers must be finite, and equal to the file's digests where it has them.
 *  Local, serial; memory: one group of rows. `*report` says what was found, one line per dataset,
 *  also on failure (NULL where the file could not be opened); released with mxs_release().
 *  @retval MXS_ERR_DATA not finite, or not what was written */
MXS_CHECKED mxs_status mxs_problem_verify(const char *path, char **report);

/** Go through what loading a problem file, or factors from one, will rely on, in a process that may
 * crash (mxs_store_survey()). Local, serial. @retval MXS_ERR_DATA reading it will fail as well, or
 * would not be safe */
MXS_CHECKED mxs_status mxs_problem_survey(const char *path);

/** Plant a problem and write it: for generated ensembles y, the truth and the recipe; for
 *  MXS_ENSEMBLE_DENSE also A, the entries of the gaussian ensemble rounded to `storage` (F64, F32,
 *  or BF16, whose numbers are written as floats), with y of the rounded A. Collective. Each rank
 * makes and writes its own blocks to a temporary file beside `path`, reads others' back and
 * compares digests; then fsync and rename. The bits of the contents are the same at any number of
 * ranks. Memory per rank: one block of A, y, and X*.
 *  @retval MXS_ERR_SETTINGS the recipe is out of range  @retval MXS_ERR_CREATE `path` exists, or
 *  its directory does not
 *  @retval MXS_ERR_PERMISSION the directory is not writable  @retval MXS_ERR_IO writing failed, or
 *  does not read back */
MXS_CHECKED mxs_status mxs_problem_gen(MPI_Comm comm,
                                       const mxs_plant *plant,
                                       mxs_storage storage,
                                       const char *path);

#endif
