#include "base/stream.h"

#include "base/simd.h"

#include <string.h>

enum { LANES = MXS_STREAM_STEP, STATE = 4, COUNTERS = 2 * LANES, WORDS_OF_COUNTER = 4 };

typedef uint64_t lanes __attribute__((vector_size(8 * LANES)));

#define INLINE static inline __attribute__((always_inline))

INLINE lanes rotate(lanes v, int by) {
  return (v << by) | (v >> (64 - by));
}

/* One step of xoshiro256++ in all lanes. */
INLINE lanes step(lanes s[STATE]) {
  const lanes out = rotate(s[0] + s[3], 23) + s[0];
  const lanes t = s[1] << 17;
  s[2] ^= s[0];
  s[3] ^= s[1];
  s[1] ^= s[2];
  s[0] ^= s[3];
  s[2] ^= t;
  s[3] = rotate(s[3], 45);
  return out;
}

INLINE void seed_lanes(
    uint64_t seed, mxs_stream stream, int64_t row, int64_t chunk, lanes s[STATE]) {
  uint32_t words[COUNTERS * WORDS_OF_COUNTER];
  mxs_random_words(seed, stream, row, COUNTERS * chunk, COUNTERS, words);
  for (int l = 0; l < LANES; l++)
    for (int q = 0; q < STATE; q++) {
      const uint32_t *pair = &words[2 * (STATE * l + q)];
      s[q][l] = pair[0] | (uint64_t)pair[1] << 32;
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
  for (int64_t i = 0; i < rows; i++) {
    for (int64_t done = 0; done < count; done += MXS_STREAM_CHUNK) {
      const int64_t left = count - done < MXS_STREAM_CHUNK ? count - done : MXS_STREAM_CHUNK;
      lanes s[STATE];
      seed_lanes(seed, stream, row + i, (first + done) / MXS_STREAM_CHUNK, s);
      for (int64_t w = 0; w < left; w += LANES) {
        const lanes out = step(s);
        memcpy(words + i * ld + done + w, &out, sizeof out);
      }
    }
  }
}
