/** @file
 *  Measurements on this machine, and the seconds of an iteration that follow from them: for `bench`
 *  and `check`, and for the limit that a run is compared with. Room `bench`.
 *
 *  All ranks measure at once, as they compute. A repeat starts at a barrier and takes as long as
 * its slowest rank. Rates are per rank, from the best of the repeats; the model takes medians. */
#ifndef MXS_BENCH_BENCH_H
#define MXS_BENCH_BENCH_H

#include "comm/comm.h"
#include "conf/number.h"
#include "mxsense/solve.h"

/** Seconds of a repeat, the same on all ranks. */
typedef struct mxs_bench_time {
  double best_s, median_s;
  int64_t repeats;
} mxs_bench_time;

/** Something to be timed; may be Collective. */
typedef struct mxs_bench_work {
  mxs_status (*run)(void *ctx);
  void *ctx;
} mxs_bench_work;

/** Time `count` works by turns, so that all see the same machine: once to warm up, then until
 *  `seconds` are over, but three times at least. Collective. @retval that of a work that failed */
MXS_CHECKED mxs_status mxs_bench_repeat(const mxs_comm *comm,
                                        const mxs_bench_work *works,
                                        int count,
                                        double seconds,
                                        mxs_bench_time *times);

/** What reading an array is timed with. Each thread reads a part of it, and `streams` (1 or 4)
 * parts of that side by side. */
typedef struct mxs_bench_array {
  const void *data;
  int64_t bytes;
  int threads, streams;
  uint64_t sum; /**< of its words: keeps the reads alive */
} mxs_bench_array;

/** Read all of an mxs_bench_array, vectorised. Local. */
MXS_CHECKED mxs_status mxs_bench_read_once(void *array);

/** Bytes per second at which every rank reads `bytes` bytes at `data` (some may have none), all at
 *  once with `threads` threads; the better of one stream and four. Takes about `seconds`.
 *  Collective. */
MXS_CHECKED mxs_status mxs_bench_read(const mxs_comm *comm,
                                      const void *data,
                                      int64_t bytes,
                                      int threads,
                                      double seconds,
                                      double *bytes_per_s);

/** As above, of an array made for it: huge pages, `bytes` on this rank. Collective. */
MXS_CHECKED mxs_status mxs_bench_read_scratch(
    const mxs_comm *comm, int64_t bytes, int threads, double seconds, double *bytes_per_s);

/** A kernel to be measured: every rank has `rows` rows of n1 n2 entries of its own, and visits
 *  them in passes of `block` rows, both directions for `replicas` matrices, on `threads` threads
 *  where the operator takes more than one. */
typedef struct mxs_bench_case {
  mxs_ensemble ensemble;
  mxs_storage storage; /**< of a dense or rademacher ensemble */
  int64_t n1, n2, rows, block;
  int64_t replicas; /**< 0: one */
  int threads;
  int blas; /**< of dense f64: compare with two dgemv on the same array */
} mxs_bench_case;

typedef struct mxs_bench_kernel {
  int threads;             /**< in use */
  char path[128];          /**< what the operator says of itself */
  int64_t bytes;           /**< of the rows in memory; 0: they are generated */
  mxs_bench_time pass;     /**< over all rows */
  mxs_bench_time read;     /**< of the same bytes; zero where generated */
  mxs_bench_time blas;     /**< zero where not asked for */
  double generate_s;       /**< of a pass, spent making entries, as far as the operator says */
  double entries_per_s;    /**< of a rank */
  double bytes_per_s;      /**< of a rank; 0 where generated */
  double fraction_of_read; /**< read / pass, 0 where generated */
} mxs_bench_kernel;

/** Measure a kernel through its operator's table. Memory: its rows. Collective. */
MXS_CHECKED mxs_status mxs_bench_measure_kernel(const mxs_comm *comm,
                                                const mxs_bench_case *what,
                                                double seconds,
                                                mxs_bench_kernel *out);

/** A reduction of leaves of `lengths`. */
typedef struct mxs_bench_reduction {
  mxs_bench_time commit; /**< a leaf added to the sums of a rank */
  mxs_bench_time finish; /**< the sum over the ranks, when all are there */
  int64_t bytes;         /**< that it carries */
} mxs_bench_reduction;

/** Collective. */
MXS_CHECKED mxs_status mxs_bench_measure_reduction(const mxs_comm *comm,
                                                   mxs_reduction mode,
                                                   const int64_t *lengths,
                                                   int quantities,
                                                   double seconds,
                                                   mxs_bench_reduction *out);

/** A checkpoint on a file system. */
typedef struct mxs_bench_io {
  double bytes;
  double write_s; /**< written, read back, compared, forced to the disk and published */
  double plain_s; /**< the same bytes written by rank 0 and forced to the disk, no more */
  double read_s;
} mxs_bench_io;

/** Write a checkpoint with factors n1 x k and n2 x k, or larger ones where these are too small to
 *  tell a rate (1 MB; where all are 1, there is no problem, and it is 34 MB), in a new directory
 *  below `dir`, read it, compare, write the same bytes to a plain file, and remove all. Collective.
 *  @retval MXS_ERR_INPUT no such directory  @retval MXS_ERR_PERMISSION not writable  @retval
 *  MXS_ERR_IO it failed */
MXS_CHECKED mxs_status mxs_bench_measure_io(
    const mxs_comm *comm, const char *dir, int64_t n1, int64_t n2, int64_t k, mxs_bench_io *out);

/** What a solve will be like. */
typedef struct mxs_bench_shape {
  int64_t n1, n2, k;
  int64_t m, m_validation; /**< measurements trained on, and held out in the file */
  int64_t block_rows;      /**< of an ensemble that works by blocks of its own; 0: chosen for k */
  int64_t truth_rank;      /**< 0: unknown */
  mxs_ensemble ensemble;
  mxs_storage storage; /**< of a dense or rademacher ensemble */
  mxs_reduction reduction;
  int64_t replicas; /**< trajectories that share the passes; 0: one */
  int threads;      /**< of a rank */
  int ranks;        /**< of the solve; 0: as many as measure */
  int64_t metrics_every;
  int64_t singular_values; /**< of a row of metrics; 0: min(k, 10) */
  mxs_cadence checkpoint_every;
} mxs_bench_shape;

/** Measurements that the busiest rank of the solve visits in an iteration, and its blocks. */
typedef struct mxs_bench_shard {
  int64_t rows, blocks;
  int64_t block_rows; /**< of a block of the training set */
} mxs_bench_shard;

/** Collective. */
MXS_CHECKED mxs_status mxs_bench_busiest(const mxs_comm *comm,
                                         const mxs_bench_shape *shape,
                                         mxs_bench_shard *out);

/** Seconds of an iteration on the busiest rank, and of its parts:
 *
 *      iteration = kernel + factors + commit + reduce + metrics / metrics_every + checkpoint share
 *
 *  kernel: most rows of a rank x n1 n2 / rate; factors: X = U V^T, and for every block G V and
 *  G^T U, shared by the threads; commit: blocks x time to add a leaf; reduce: one allreduce. */
typedef struct mxs_bench_model {
  mxs_bench_kernel kernel;
  mxs_bench_reduction reduction;
  mxs_bench_shard busiest;
  int64_t sample; /**< rows of a rank that were measured */
  double kernel_s, factors_s, commit_s, reduce_s, metrics_s;
  double checkpoint_s; /**< NaN: not measured */
  double seconds;
} mxs_bench_model;

/** Measure what the problem needs, and predict. `io`: of mxs_bench_measure_io(), or NULL. Takes
 *  about five times `seconds`, and `sample_bytes` of memory for rows, but a least block of 32 rows.
 *  The allreduce is that of the ranks that measure. Collective. */
MXS_CHECKED mxs_status mxs_bench_predict(const mxs_comm *comm,
                                         const mxs_bench_shape *shape,
                                         const mxs_bench_io *io,
                                         int64_t sample_bytes,
                                         double seconds,
                                         mxs_bench_model *out);

#endif
