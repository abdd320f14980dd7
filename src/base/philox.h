/** @file
 *  The rounds of Philox4x32-10 for a batch of counters: what every kind of random number here is
 *  made of. Room `base`. */
#ifndef MXS_BASE_PHILOX_H
#define MXS_BASE_PHILOX_H

#include <stdint.h>

#define MXS_PHILOX_M0 0xD2511F53U
#define MXS_PHILOX_M1 0xCD9E8D57U
#define MXS_PHILOX_W0 0x9E3779B9U
#define MXS_PHILOX_W1 0xBB67AE85U

enum { MXS_PHILOX_ROUNDS = 10 };

/** Word w of counter i is c[w n + i], before and after. A round takes (c0, c1, c2, c3) to (hi(M1
 *  c2) ^ c1 ^ k0, lo(M1 c2), hi(M0 c0) ^ c3 ^ k1, lo(M0 c0)). `n` is a constant of the caller, for
 *  the compiler to unroll. */
static inline __attribute__((always_inline)) void mxs_philox_rounds(uint32_t *c,
                                                                    int n,
                                                                    uint32_t k0,
                                                                    uint32_t k1) {
  for (int round = 0; round < MXS_PHILOX_ROUNDS; round++) {
    for (int i = 0; i < n; i++) {
      const uint64_t p0 = (uint64_t)MXS_PHILOX_M0 * c[i];
      const uint64_t p1 = (uint64_t)MXS_PHILOX_M1 * c[2 * n + i];
      const uint32_t c1 = c[n + i];
      const uint32_t c3 = c[3 * n + i];
      c[i] = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
      c[n + i] = (uint32_t)p1;
      c[2 * n + i] = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
      c[3 * n + i] = (uint32_t)p0;
    }
    k0 += MXS_PHILOX_W0;
    k1 += MXS_PHILOX_W1;
  }
}

/** Write counter `counter` of a row of a stream (random.h) at place i of a batch of n. */
static inline __attribute__((always_inline)) void mxs_philox_counter(
    uint32_t *c, int64_t n, int64_t i, uint32_t stream, int64_t row, uint64_t counter) {
  c[i] = (uint32_t)counter;
  c[n + i] = ((uint32_t)(counter >> 32) & 0xFFFFU) | (stream << 16);
  c[2 * n + i] = (uint32_t)(uint64_t)row;
  c[3 * n + i] = (uint32_t)((uint64_t)row >> 32);
}

#endif
