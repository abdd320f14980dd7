/** @file
 *  Inside of a problem: what `objective`, `spectral`, `metrics` and `solve` read. Room `problem`.
 */
#ifndef MXS_PROBLEM_PROBLEM_IMPL_H
#define MXS_PROBLEM_PROBLEM_IMPL_H

#include "comm/blocks.h"
#include "comm/comm.h"
#include "mxsense/problem.h"

/** One set of measurements, this rank's part: y and weight are in the order of blocks.own. */
typedef struct mxs_data {
  mxs_blocks blocks;
  const mxs_op_table *op;
  void *self;
  int64_t first;  /**< measurement 0 of this set is measurement `first` of the operator */
  double *y;      /**< mxs_blocks_own_rows() measurements */
  double *weight; /**< 1 trains, 0 is held out; NULL: all train */
  struct {
    uint64_t y, stored;
  } * guards; /**< digests of each own block as it was loaded: of y and weight, and of the stored A
               */
} mxs_data;

/** X* = U V^T as factors, or X* itself; both NULL: unknown. */
typedef struct mxs_truth {
  int64_t rank;         /**< numerical rank of X* */
  int64_t cols;         /**< columns of U and V */
  double *U, *V;        /**< n1 x cols, n2 x cols */
  double *X;            /**< n1 x n2 */
  double *left, *right; /**< singular vectors of X*: n1 x rank, n2 x rank */
} mxs_truth;

/** Sizes of a problem before its options. */
typedef struct mxs_shape {
  int64_t n1, n2;
  int64_t m, m_validation; /**< what the source has */
  int64_t block_rows; /**< measurements in a canonical block, for operators that work by blocks of
                         their own; 0: chosen for k (comm/blocks.h) */
} mxs_shape;

struct mxs_problem {
  mxs_comm *comm;
  int64_t n1, n2, k;
  mxs_data train;      /**< includes the measurements that `hold_out` chose, with weight 0 */
  mxs_data validation; /**< held-out measurements of the file; blocks.m = 0: none */
  int64_t m_train;     /**< sum of the weights over all ranks */
  int64_t m_validation;
  mxs_truth truth;
  double scale2;  /**< sum_i ||A_i||_F^2 / (m n1 n2) */
  double y_norm2; /**< sum of y_i^2 over the training measurements, by the exact reduction */
  mxs_ensemble ensemble;
  mxs_storage storage; /**< AS_FILE: A is generated and not kept */
  uint64_t ensemble_seed;
  int64_t block_rows; /**< of the fast ensemble, else 0 */
  uint64_t digest;
};

/** Check shapes and options, duplicate the communicator, cut the blocks; y (and weight, for
 *  hold_out) allocated. options->measurements shortens shape->m. Collective. */
MXS_CHECKED mxs_status mxsi_problem_begin(MPI_Comm comm,
                                          const mxs_shape *shape,
                                          const mxs_problem_options *options,
                                          mxs_problem **out);

/** Once train, validation and truth are filled: check y for NaN and Inf, choose the hold-out, and
 *  form m_train, scale2, y_norm2 and digest. Collective. */
MXS_CHECKED mxs_status mxsi_problem_finish(mxs_problem *problem,
                                           const mxs_problem_options *options);

/** Compare what is stored of this rank's blocks - y, weights, and A as far as it is in memory -
 * with what it was when the problem was made. Reads all of it once, changes nothing. Local.
 *  @retval MXS_ERR_INTERNAL memory has changed; names the block, the node and the remedy */
MXS_CHECKED mxs_status mxsi_problem_verify(const mxs_problem *problem);

/** Give the truth as factors (copied). Keeps X* itself where that makes the metrics cheaper. Local.
 */
MXS_CHECKED mxs_status mxsi_problem_set_truth(mxs_problem *problem, mxs_cmat U, mxs_cmat V);

/** Give the truth as a matrix (copied); its numerical rank is found. Local. */
MXS_CHECKED mxs_status mxsi_problem_set_truth_matrix(mxs_problem *problem, mxs_cmat X);

/** The rows of A that this rank holds for training, and their bytes; NULL and 0 where A is not
 *  stored. Local. */
const void *mxsi_problem_stored(const mxs_problem *problem, int64_t *bytes);

/** Can A of this ensemble be held so? AS_FILE always; others of a stored A, and bits of the
 *  rademacher ensemble. `where` names the problem in the text. Local.
 *  @retval MXS_ERR_SETTINGS it cannot; the text says what to do */
MXS_CHECKED mxs_status mxsi_problem_check_storage(mxs_ensemble ensemble,
                                                  mxs_storage storage,
                                                  const char *where);

/** Check a recipe, with the key that is out of range in the text. Local. */
MXS_CHECKED mxs_status mxsi_plant_check(const mxs_plant *plant);

/** Sizes of a recipe's problem; its block_rows is that of the fast ensemble, else 0. Local. */
mxs_shape mxsi_plant_shape(const mxs_plant *plant);

/** Factors of a recipe's X* (balanced: U* = Q_1 sqrt(S), V* = Q_2 sqrt(S)), the same on all ranks.
 *  Collective. */
MXS_CHECKED mxs_status mxsi_plant_truth(const mxs_comm *comm,
                                        const mxs_plant *plant,
                                        double *U,
                                        double *V);

/** Add the recipe's noise to y of measurements first .. first + count - 1. Local. */
void mxsi_plant_noise(const mxs_plant *plant, int64_t first, int64_t count, double *y);

/** Attach the generated ensemble of `problem->ensemble` (seed, shape, block_rows) to `data`, which
 *  begins at its measurement `first`. With storage BITS the entries of a set that begins at 0 are
 *  made once and kept; those of one that begins later are generated at every pass. Local. */
MXS_CHECKED mxs_status mxsi_problem_attach_generated(mxs_problem *problem,
                                                     mxs_data *data,
                                                     int64_t first);

#endif
