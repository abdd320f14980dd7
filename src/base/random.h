/** @file
 *  Counter-based random numbers: every value is a pure function of (seed, stream, row, column), the
 *  same on every machine. Philox4x32-10 (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as
 *  easy as 1, 2, 3", SC 2011). */
#ifndef MXS_BASE_RANDOM_H
#define MXS_BASE_RANDOM_H

#include <stdint.h>

/** Streams keep the uses of one seed apart. Those of `gen` are below 16, those of the solver from
 *  16. */
typedef enum mxs_stream {
  MXS_STREAM_ENSEMBLE = 0,
  MXS_STREAM_TRUTH_U = 1,
  MXS_STREAM_TRUTH_V = 2,
  MXS_STREAM_NOISE = 3,
  MXS_STREAM_FAST_SIGNS = 4,
  MXS_STREAM_FAST_ROWS = 5,
  MXS_STREAM_START_U = 16,
  MXS_STREAM_START_V = 17,
  MXS_STREAM_HOLD_OUT = 18,
  MXS_STREAM_RANGE_FINDER = 19,
  MXS_STREAM_LABEL_NOISE = 20,
  MXS_STREAM_BATCH = 21,
  MXS_STREAM_PERTURB_U = 22,
  MXS_STREAM_PERTURB_V = 23
} mxs_stream;

/** Philox4x32-10: four output words of one counter and key. */
void mxs_philox4x32(const uint32_t key[2], const uint32_t counter[4], uint32_t out[4]);

/** Words of `count` consecutive counters c = first .. first + count - 1 of row `row`: 4 count
 *  words. Vectorised. */
void mxs_random_words(
    uint64_t seed, mxs_stream stream, int64_t row, int64_t first, int64_t count, uint32_t *words);

/** N(0, 1) numbers 4c .. 4c + 3 of row `row` for the same counters: those of output words 0 (the
 * low half) and 1, then those of 2 and 3, by normal.h. */
void mxs_random_gaussian(
    uint64_t seed, mxs_stream stream, int64_t row, int64_t first, int64_t count, double *values);

/** The first `count` N(0, 1) numbers of row `row`. */
void mxs_random_gaussian_row(
    uint64_t seed, mxs_stream stream, int64_t row, int64_t count, double *values);

/** One uniform number in (0, 1) for (row, 0). */
double mxs_random_uniform(uint64_t seed, mxs_stream stream, int64_t row);

#endif
