/** @file
 *  Sums over blocks of measurements that do not depend on order, on the number of ranks, or on the
 *  allreduce algorithm. Room `comm`.
 *
 *  A leaf is what one block contributes: a row of doubles, cut into quantities (gradient of U,
 *  gradient of V, loss, ...). In reproducible mode each entry v of a quantity with scale exponent e
 *  is split into two integers, t = v 2^(35 - e),   hi = rint(t),   lo = rint((t - hi) 2^40), and
 *  added: integer sums have no rounding, so no order. The scale follows the largest entry of the
 *  pass before: with 2^13 blocks there is room for entries up to 2^13 times that one, and a
 *  resolution of 2^-75 of it. A pass in which an entry outgrew the room, or in which all shrank
 *  below 2^-22 of it, must be redone, with a scale that fits; finish() says so, with the same
 *  answer on all ranks. Every leaf is thus kept to 2^-53 of its largest entry or better.
 *
 *  The largest exponent travels in the same message: each block adds one to a counter of its
 *  exponent relative to the scale (64 counters of 14 bits in 16 words per quantity). Counters of
 *  status words ride along too.
 *
 *  A quantity with a NaN or Inf in a block is counted and left out; the others go on: one of many
 *  trajectories that blows up does no harm to the rest.
 *
 *  In fast mode leaves are summed as doubles, and by MPI_Allreduce in its own order. */
#ifndef MXS_COMM_REDUCER_H
#define MXS_COMM_REDUCER_H

#include "comm/comm.h"

#include "mxsense/solve.h"

enum { MXS_REDUCER_WORDS = 6 };

typedef struct mxs_reducer mxs_reducer;

/** Make a reducer for leaves of `quantities` consecutive runs of lengths[q] doubles. Memory: two
 *  (reproducible) or one (fast) number per double of a leaf. Local. */
MXS_CHECKED mxs_status mxs_reducer_create(const mxs_comm *comm,
                                          mxs_reduction mode,
                                          const int64_t *lengths,
                                          int quantities,
                                          mxs_reducer **out);

void mxs_reducer_destroy(mxs_reducer **reducer);

/** Scale exponents, one per quantity: state that a resumed run must restore for the same bits.
 *  Local. */
int64_t *mxs_reducer_scales(mxs_reducer *reducer);

/** Where a quantity has no scale yet, start from the expected magnitude of its largest entry, the
 *  same on all ranks: a guess within the room saves the pass that would find it out. Local. */
void mxs_reducer_guess(mxs_reducer *reducer, int quantity, double magnitude);

/** Forget all scales: guesses count again, and no bit that follows depends on what was summed
 *  before. Local. */
void mxs_reducer_forget(mxs_reducer *reducer);

/** Start a pass: all sums and words zero. Local. */
void mxs_reducer_begin(mxs_reducer *reducer);

/** Add a leaf. Local; one thread at a time. Cost: about 1 ns per entry. */
void mxs_reducer_commit(mxs_reducer *reducer, const double *leaf);

/** Add one quantity of a leaf, which begins at `part`; several quantities may be added at a time,
 * by a thread each. Local. */
void mxs_reducer_commit_one(mxs_reducer *reducer, int quantity, const double *part);

/** Add to a status word, 0 <= word < MXS_REDUCER_WORDS. Local. */
void mxs_reducer_count(mxs_reducer *reducer, int word, int64_t value);

/** Outcome of a pass, the same on all ranks. */
typedef struct mxs_reduced {
  double *sum; /**< the leaf's layout; owned by the reducer, the caller's to use until begin */
  int64_t words[MXS_REDUCER_WORDS]; /**< status words, summed over the ranks */
  const int64_t *nonfinite; /**< of each quantity: leaves with a NaN or Inf, over all ranks */
  int redo;                 /**< the scale did not fit and was changed: do the pass again */
} mxs_reduced;

/** Sum over the ranks: one allreduce, one of two words that compares the sums, and `state`, over
 * the ranks, and one more of a few words when `redo` is set. Collective. `state`: digest of what
 * the ranks hold alike, such as the factors of the pass: nothing that a corrupted rank brings about
 *  gets past here.
 *  @retval MXS_ERR_CORRUPT the ranks do not hold the same; `*out` is not to be used */
MXS_CHECKED mxs_status mxs_reducer_finish(mxs_reducer *reducer, uint64_t state, mxs_reduced *out);

/** Bytes that one allreduce carries. Local. */
int64_t mxs_reducer_bytes(const mxs_reducer *reducer);

/** Seconds this rank spent in allreduce since creation. Local. */
double mxs_reducer_seconds(const mxs_reducer *reducer);

#endif
