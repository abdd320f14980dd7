/** @file
 *  What the files of the objective share. Room `objective`. */
#ifndef MXS_OBJECTIVE_OBJECTIVE_IMPL_H
#define MXS_OBJECTIVE_OBJECTIVE_IMPL_H

#include "comm/reducer.h"
#include "objective/objective.h"

/** Quantities of a replica in a leaf: gradient of U and of V, or G in the place of the first with
 *  the second empty; the losses. */
enum { LEAF_GU, LEAF_GV, LEAF_LOSS, LEAF_VALIDATION, LEAF_QUANTITIES = MXS_OBJECTIVE_SCALES };

/** Status words of the reduction. */
enum { WORD_FAILED, WORD_STOP, WORD_CHECKPOINT, WORD_WALLTIME, WORD_TRAIN, WORD_HELD };

/** Normal numbers come by the four. */
#define MXSI_NOISE_STEP INT64_C(4)

/** One replica. */
typedef struct mxsi_replica {
  int64_t k;
  int full;                           /**< its leaf holds G itself */
  int64_t start[LEAF_QUANTITIES + 1]; /**< of its quantities in a leaf */
  double *X;                          /**< n1 n2, where the operator has `pass` */
  double *gU, *gV;                    /**< where the leaf holds G */
} mxsi_replica;

/** What one thread works with. */
typedef struct mxsi_worker {
  double *leaf;
  double *w;  /**< residuals of a block, one replica after another */
  double *y;  /**< y of a block with label noise, and room for three numbers more at each end */
  double *G;  /**< n1 n2 for each replica whose leaf does not hold it; columns of the identity for
                 operators without `pass` */
  double **g; /**< gradients of a pass: places in G or in the leaf */
  mxs_status status;
  char text[512]; /**< of its first failure */
} mxsi_worker;

/** What the loss along lines needs (line.c). */
typedef struct mxsi_line mxsi_line;

/** The Jacobian and its products (jacobian.h). */
typedef struct mxsi_jacobian mxsi_jacobian;

struct mxs_objective {
  mxs_problem *problem;
  mxs_reduction reduction;
  int dense; /**< the operator has `pass`: X and G are formed */
  int whole; /**< G is wanted */
  int64_t replicas;
  int threads;
  int64_t rows; /**< of the largest block */
  mxsi_replica *replica;
  mxsi_worker *worker;
  mxs_sample sample;
  int64_t sampled_count;
  int64_t *sampled;     /**< own blocks in the sample */
  int64_t *train_count; /**< training measurements of each own block */
  int64_t active_count;
  int64_t *active;  /**< replicas that are in this pass */
  const double **x; /**< and their X */
  mxs_reducer *reducer;
  double *S; /**< room for the back-projection where there is no X */
  double compute_s;
  double other_reduce_s; /**< of the back-projection */
  int64_t passes, visits;
  mxsi_line *line;         /**< NULL before the first */
  mxsi_jacobian *jacobian; /**< NULL: not asked for */
};

/** Rows or columns of n1 x n2 that are multiplied at a time: panels, not threads, fix the bits. */
enum { MXSI_PANEL = 128 };

/** Columns of the identity that operators without `pass` are multiplied by at a time. */
enum { MXSI_COLUMNS = 64 };

/** Run job 0 .. jobs - 1 on the objective's threads; jobs of one thread come in turn. The first
 *  failure ends it and is returned. Local. */
typedef mxs_status (*mxsi_job)(mxs_objective *o, int thread, int64_t job, void *ctx);
MXS_CHECKED mxs_status mxsi_objective_run(mxs_objective *o, int64_t jobs, mxsi_job job, void *ctx);

/** Replicas that are in the pass. Local. */
void mxsi_objective_activate(mxs_objective *o, const mxs_point *points);

/** X of the active points, and the operator told of them. Local. */
MXS_CHECKED mxs_status mxsi_objective_products(mxs_objective *o, const mxs_point *points);

/** All blocks of this rank in the sample into the reducer. Local. */
MXS_CHECKED mxs_status mxsi_objective_blocks(mxs_objective *o, const mxs_point *points);

/** Measurements of own block j: first measurement of the operator, their number, and their place in
 *  y. Local. */
typedef struct mxsi_range {
  int64_t first, count, at;
} mxsi_range;
mxsi_range mxsi_block_range(const mxs_data *data, int64_t j);

/** op->pass for as many matrices as the operator takes. Local. */
MXS_CHECKED mxs_status mxsi_objective_visit(const mxs_data *data, const mxs_pass *pass);

/** Room for samples, and the sample of everything. Local. */
MXS_CHECKED mxs_status mxsi_sample_create(mxs_objective *o);

/** y of a range of the training set as the gradient sees it: with label noise in worker->y, or as
 *  it is. Local. */
const double *mxsi_sample_targets(const mxs_objective *o,
                                  const mxsi_worker *worker,
                                  const mxsi_range *range);

/** Training and held-out measurements of the sample, of the training set, over all ranks.
 * Collective. */
void mxsi_sample_total(const mxs_objective *o, int64_t count[2]);

/** Training and held-out measurements that this rank visits, into the words of a reducer; the
 *  separate held-out set where `validation` is set. Local. */
void mxsi_sample_count(const mxs_objective *o, int validation, mxs_reducer *reducer);

/** Seconds in allreduce, and release. */
double mxsi_line_seconds(const mxsi_line *line);
void mxsi_line_destroy(mxs_objective *o);

/** Digest of points, which all ranks hold alike. Local. */
uint64_t mxsi_points_digest(const mxs_point *points, int64_t count);

/** Are they as they were when the pass began? Local. */
MXS_CHECKED mxs_status mxsi_points_check(const mxs_point *points, int64_t count, uint64_t before);

/** G += sum_i w_i A_i of an operator that knows products only. `identity`: n2 x MXSI_COLUMNS.
 * Local.
 */
MXS_CHECKED mxs_status mxsi_project_columns(
    const mxs_problem *p, const mxsi_range *range, const double *w, double *identity, double *G);

#endif
