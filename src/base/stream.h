/** @file
 *  Fast random words for the entries of generated ensembles: a data format, the same on every
 *  machine. Room `base`.
 *
 *  The 64-bit words of row i of a stream, w = 0, 1, ...: chunk c = w / 512, step s = (w mod 512) /
 * 8, lane l = w mod 8. Lane l of chunk c is a generator xoshiro256++ (Blackman and Vigna,
 * "Scrambled linear pseudorandom number generators", ACM TOMS 47, 2021), and word w its output
 * number s. Its four state words, 64 bits each, are the output words (low 32 bits first) of
 * Philox4x32-10 at counters 16 c + 2 l and 16 c + 2 l + 1 of (seed, stream, i), as in random.h. */
#ifndef MXS_BASE_STREAM_H
#define MXS_BASE_STREAM_H

#include "base/random.h"

enum { MXS_STREAM_CHUNK = 512, MXS_STREAM_STEP = 8 };

/** Words first .. first + count - 1 of rows row .. row + rows - 1; word w of row i goes to
 *  words[(i - row) * ld + w - first]. `first` is a multiple of MXS_STREAM_CHUNK, `count` of
 *  MXS_STREAM_STEP. Local. Vectorised. */
void mxs_stream_rows(uint64_t seed,
                     mxs_stream stream,
                     int64_t row,
                     int64_t rows,
                     int64_t first,
                     int64_t count,
                     uint64_t *words,
                     int64_t ld);

#endif
