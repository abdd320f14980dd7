/** @file
 *  A recovery problem: measurements y_i = <A_i, X*> + noise of an unknown n1 x n2 matrix X*,
 *  sharded over the ranks of a communicator.
 *
 *  Measurements are cut into canonical blocks, fixed by m, n1, n2 and k alone; block b of the fixed
 *  (bit-reversed) order belongs to rank b mod P. Each rank holds its own blocks of y, and of A
 *  where A is stored, and nothing else. */
#ifndef MXSENSE_PROBLEM_H
#define MXSENSE_PROBLEM_H

#include "mxsense/op.h"

#include <mpi.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct mxs_problem mxs_problem;

/** Ensembles of measurement matrices. Those called generated are pure functions of (seed, i, p, q),
 *  never stored unless asked; README, "Ensembles", has their formulas. */
typedef enum mxs_ensemble {
  MXS_ENSEMBLE_DENSE,      /**< A stored */
  MXS_ENSEMBLE_GAUSSIAN,   /**< generated: i.i.d. N(0, 1) entries */
  MXS_ENSEMBLE_RADEMACHER, /**< generated: i.i.d. +-1 entries */
  MXS_ENSEMBLE_GAUSSIAN8,  /**< generated: i.i.d. entries of 256 levels, normal quantiles */
  MXS_ENSEMBLE_FAST, /**< generated: random signs, Walsh-Hadamard transform, random rows, in blocks
                      */
  MXS_ENSEMBLE_USER  /**< the caller's own operator */
} mxs_ensemble;

/** How the entries of A are held in memory; sums are always f64 or exact. */
typedef enum mxs_storage {
  MXS_STORAGE_AS_FILE,
  MXS_STORAGE_F64,
  MXS_STORAGE_F32,
  MXS_STORAGE_BF16,
  MXS_STORAGE_BITS, /**< one bit an entry, for entries +-1: stored, or of the rademacher ensemble */
  MXS_STORAGE_STREAM /**< A stays in the problem file and is read again at every pass */
} mxs_storage;

/** Names as in files and settings: "dense", "gaussian", ...; "auto", "f64", ... Local. */
MXS_API const char *mxs_ensemble_name(mxs_ensemble ensemble);
MXS_API const char *mxs_storage_name(mxs_storage storage);

/** Bytes of an entry in memory: 8, 4, 2, 1/8; 0 of MXS_STORAGE_STREAM. Local. */
MXS_API double mxs_storage_bytes(mxs_storage storage);

/** What a solver wants from a problem; fixed when the problem is made. */
typedef struct mxs_problem_options {
  int64_t k; /**< columns of the factors to be solved for: fixes the canonical blocks; >= 1 */
  int64_t measurements; /**< use the first so many only; 0: all */
  double hold_out; /**< fraction in [0, 1) kept out of the gradient, chosen by counter; 0: none */
  uint64_t seed;   /**< of the hold-out choice */
  int64_t block_rows;  /**< measurements in a canonical block; 0: chosen from m and k */
  mxs_storage storage; /**< of a stored A; BITS also for the rademacher ensemble, made once and
                          kept; other generated ensembles take AS_FILE only */
} mxs_problem_options;

/** Recipe of a planted problem: X* = U* V*^T with orthonormal singular vectors, singular values
 *  evenly spaced from 1 to 1/condition; y_i = <A_i, X*> + noise * N(0, 1). A generated ensemble's A
 *  is never stored. */
typedef struct mxs_plant {
  int64_t n1, n2;       /**< shape of X* */
  int64_t rank;         /**< 1 <= rank <= min(n1, n2) */
  int64_t measurements; /**< m >= 1 training measurements */
  int64_t held_out;     /**< further measurements i = m .. m + held_out - 1 kept for validation */
  double condition;     /**< s_1 / s_rank >= 1 */
  double noise;         /**< standard deviation, units of y; >= 0 */
  mxs_ensemble ensemble;
  uint64_t seed;
  int64_t blocks; /**< blocks of the fast ensemble, about: each costs a transform of n1 n2 numbers
                     in each direction, holds at most as many measurements as the least power of two
                     not below n1 n2, and is worked on by one rank; 0: the fewest, the fastest */
} mxs_plant;

/** Plant a problem in memory. Collective. Cost: one pass over the generated measurements.
 *  @retval MXS_ERR_SETTINGS a field of `plant` or `options` is out of range */
MXS_API MXS_CHECKED mxs_status mxs_problem_plant(MPI_Comm comm,
                                                 const mxs_plant *plant,
                                                 const mxs_problem_options *options,
                                                 mxs_problem **problem);

/** A caller's own measurement operator and data. */
typedef struct mxs_problem_spec {
  int64_t n1, n2, m;
  const mxs_op_table *table; /**< must outlive the problem */
  void *self; /**< given to every function of the table; destroyed with the problem if the
                   table has `destroy`, even when creation fails */
  /** y[0 .. count-1] = measurements first .. first + count - 1; called once per own block. Local.
   */
  mxs_status (*measurements)(void *self, int64_t first, int64_t count, double *y);
  mxs_cmat truth_U, truth_V; /**< X* = U* V*^T for the metrics, copied; .a = NULL: unknown */
} mxs_problem_spec;

/** Make a problem from a caller's operator. Collective.
 *  @retval MXS_ERR_SETTINGS shapes or options out of range  @retval MXS_ERR_DATA y is not finite */
MXS_API MXS_CHECKED mxs_status mxs_problem_create(MPI_Comm comm,
                                                  const mxs_problem_spec *spec,
                                                  const mxs_problem_options *options,
                                                  mxs_problem **problem);

/** Read a problem file (HDF5; README, "Your own data"), each rank its own measurements. Collective.
 *  Only in builds with HDF5. Every entry is checked to be finite.
 *  @retval MXS_ERR_INPUT no such file  @retval MXS_ERR_PERMISSION not readable
 *  @retval MXS_ERR_DATA not HDF5, shapes or types wrong, or not finite; the text names path,
 *  dataset, index */
MXS_API MXS_CHECKED mxs_status mxs_problem_load(MPI_Comm comm,
                                                const char *path,
                                                const mxs_problem_options *options,
                                                mxs_problem **problem);

/** Free a problem and set the pointer to NULL; NULL-safe. Collective. */
MXS_API void mxs_problem_destroy(mxs_problem **problem);

/** Sizes of a problem. Local. */
typedef struct mxs_problem_info {
  int64_t n1, n2;
  int64_t m;              /**< training measurements (without those held out) */
  int64_t m_validation;   /**< held-out measurements */
  int64_t blocks;         /**< canonical blocks of the training set */
  int64_t rows_per_block; /**< measurements in a block (the last one may have fewer) */
  int64_t truth_rank;     /**< rank of X* where it is known, else 0 */
  int64_t bytes_local;    /**< memory held by this rank for y, A and the operator's workspaces */
  int64_t rows_local;     /**< measurements of this rank, held out or not */
  mxs_ensemble ensemble;
  mxs_storage storage; /**< AS_FILE: A is generated and not kept */
  const char *operator_name;
  char path[128];  /**< which kernel runs; "" where the operator does not tell */
  uint64_t digest; /**< of the measurements and the operator; the same at any number of ranks */
} mxs_problem_info;

MXS_API mxs_problem_info mxs_problem_get_info(const mxs_problem *problem);

#ifdef __cplusplus
}
#endif
#endif
