/** @file
 *  The `fast` ensemble: measurements by a Walsh-Hadamard transform, N log N operations for a block
 *  of them. Room `op`.
 *
 *  Format version 1. Measurement i is row t = i mod block_rows of block b = i div block_rows, and
 * its entry in column j is D_b[j] H[pi_b(t)][j]:
 *   - H[s][j] = (-1)^popcount(s AND j) is the Walsh-Hadamard matrix of order L = 2^p, the least
 *     power of two with L >= n1 n2; block_rows <= L;
 *   - D_b[j] = 1 - 2 bit, bit j mod 64 of word j / 64 of row b of the stream MXS_STREAM_FAST_SIGNS
 *     (base/stream.h);
 *   - pi_b permutes 0 .. L - 1: eight rounds r = 0 .. 7 of x <- x XOR (x >> s), s = (p + 1) div 2,
 *     then x <- (x mul_r + add_r) mod 2^p. Output words w_0 .. w_3 of counter r of row b of the
 *     stream MXS_STREAM_FAST_ROWS (base/random.h) give mul_r = (w_0 + 2^32 w_1) OR 1 and add_r =
 *     w_2 + 2^32 w_3. */
#ifndef MXS_OP_FAST_H
#define MXS_OP_FAST_H

#include "op/op.h"

/** Rounds of the permutation of rows. */
enum { MXSI_FAST_ROUNDS = 8 };

/** Order L of the transform for n1 n2 = `entries` >= 1: the least power of two not below it. Local.
 */
int64_t mxsi_fast_order(int64_t entries);

/** rows[t - first] = pi_b(t), t = first .. first + count - 1, for block b = `block`; `order` is a
 *  power of two. Local. */
void mxsi_fast_permute(
    uint64_t seed, int64_t order, int64_t block, int64_t first, int64_t count, int64_t *rows);

/** x <- H x, natural order, in place; `order` is a power of two. The additions are in a fixed
 *  order: the same bits on every machine. Local. Cost: order log2(order) additions. */
void mxsi_fast_transform(double *x, int64_t order);

/** Operator with transform blocks of `block_rows` measurements, 1 <= block_rows <=
 *  mxsi_fast_order(entries). A pass makes one transform in each direction for every block that its
 *  range meets, whole or not. The table's destroy frees `*self`. Local.
 *  @retval MXS_ERR_ARG block_rows is out of range */
MXS_CHECKED mxs_status mxsi_fast_create(
    int64_t entries, uint64_t seed, int64_t block_rows, const mxs_op_table **table, void **self);

/** Write the entries of measurements first .. first + count - 1 (count x entries doubles,
 *  row-major), one by one from the formula: for tests. Local. */
MXS_CHECKED mxs_status mxsi_fast_rows(
    uint64_t seed, int64_t entries, int64_t block_rows, int64_t first, int64_t count, double *rows);

#endif
