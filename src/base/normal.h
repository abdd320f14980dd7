/** @file
 *  Normal numbers from random words: a data format, the same bits on every machine. Room `base`.
 *
 *  Box-Muller: a 64-bit word, its halves taken as u_0 = (low 32 bits + 1/2) 2^-32 and u_1 = (high
 *  32 bits + 1/2) 2^-32, gives the two N(0, 1) numbers
 *
 *    a = r cos t,  b = r sin t,  r = sqrt(-2 log u_0),  t = 2 pi u_1.
 *
 *  log, cos and sin are polynomials of ours, from + - * and sqrt of doubles, each rounded once and
 *  in the order written in normal.c. |computed - exact| < 1e-11 r, and r < 6.77. */
#ifndef MXS_BASE_NORMAL_H
#define MXS_BASE_NORMAL_H

#include <stdint.h>

enum { MXS_NORMAL_STEP = 8 };

/** Word 8 s + l gives values[16 s + l] = a and values[16 s + 8 + l] = b, 0 <= l < 8: no shuffles.
 *  `count`, of words, is a multiple of MXS_NORMAL_STEP; 2 count values. No aliasing. Local.
 *  Vectorised. */
void mxs_normal_pairs(int64_t count, const uint64_t *words, double *values);

#endif
