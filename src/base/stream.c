#include "base/stream.h"

#include "base/philox.h"
#include "base/simd.h"

#include <string.h>

enum {
  LANES = MXS_STREAM_STEP,
  STATE = 4,
  TEAM = 4, /* rows made side by side, or the latency of a step would show */
  COUNTERS = 2 * LANES,
  BATCH = TEAM * COUNTERS
};

typedef uint64_t lanes __attribute__((vector_size(8 * LANES)));

#define INLINE static inline __attribute__((always_inline))

INLINE lanes rotate(lanes v, int by) {
  return (v << by) | (v >> (64 - by));
}

/* One step of xoshiro256++ in all lanes. */
INLINE lanes step(lanes s[STATE]) {
  const lanes out = rotate(s[0] + s[3], 23) + s[0];
  const lanes t = s[1] << 17;
  const lanes s0 = s[0] ^ s[3] ^ s[1];
  const lanes s1 = s[1] ^ s[2] ^ s[0];
  s[2] = s[2] ^ s[0] ^ t;
  s[3] = rotate(s[3] ^ s[1], 45);
  s[0] = s0;
  s[1] = s1;
  return out;
}

/* States of chunk `chunk` of the rows. State words 2 h and 2 h + 1 of lane l are the words of
 * counter 2 l + h. */
INLINE void seed_lanes(uint64_t seed,
                       mxs_stream stream,
                       const int64_t row[TEAM],
                       int64_t chunk,
                       lanes s[TEAM][STATE]) {
  uint32_t c[4 * BATCH];
  for (int64_t p = 0; p < TEAM; p++)
    for (int64_t h = 0; h < 2; h++)
      for (int64_t l = 0; l < LANES; l++)
        mxs_philox_counter(c, BATCH, p * COUNTERS + h * LANES + l, stream, row[p],
                           (uint64_t)(COUNTERS * chunk + 2 * l + h));
  mxs_philox_rounds(c, BATCH, (uint32_t)seed, (uint32_t)(seed >> 32));
  for (int64_t p = 0; p < TEAM; p++)
    for (int64_t q = 0; q < STATE; q++) {
      const uint32_t *low = &c[2 * (q % 2) * BATCH + p * COUNTERS + q / 2 * LANES];
      for (int l = 0; l < LANES; l++)
        s[p][q][l] = low[l] | (uint64_t)low[BATCH + l] << 32;
    }
}

MXS_SIMD
void mxs_stream_rows(uint64_t seed,
                     mxs_stream stream,
                     int64_t row,
                     int64_t rows,
                     int64_t first,
                     int64_t count,
                     uint64_t *words,
                     int64_t ld) {
  for (int64_t i = 0; i < rows; i += TEAM) {
    int64_t team[TEAM];
    uint64_t *at[TEAM];
    for (int64_t p = 0; p < TEAM; p++) { /* the last row stands in for rows that are not wanted */
      const int64_t r = i + p < rows ? i + p : rows - 1;
      team[p] = row + r;
      at[p] = words + r * ld;
    }
    for (int64_t done = 0; done < count; done += MXS_STREAM_CHUNK) {
      const int64_t left = count - done < MXS_STREAM_CHUNK ? count - done : MXS_STREAM_CHUNK;
      lanes s[TEAM][STATE];
      seed_lanes(seed, stream, team, (first + done) / MXS_STREAM_CHUNK, s);
      for (int64_t w = 0; w < left; w += LANES) {
        for (int p = 0; p < TEAM; p++) {
          const lanes out = step(s[p]);
          memcpy(at[p] + done + w, &out, sizeof out);
        }
      }
    }
  }
}
