#include "base/stream.h"

#include "base/philox.h"
#include "base/simd.h"

#include <string.h>

enum {
  LANES = MXS_STREAM_STEP,
  STATE = 4,
  TEAM = 4, /* rows seeded at a time */
  COUNTERS = 2 * LANES,
  BATCH = TEAM * COUNTERS
};

#define INLINE static inline __attribute__((always_inline))

/* Registers of 512 bits: four rows, sixteen registers of state. */
#define WIDTH 8
#define TOGETHER 4
#define VECTOR wide
#define ROTATE rotate_wide
#define STEP step_wide
#define STEPS steps_wide
#include "base/stream_body.h"
#undef WIDTH
#undef TOGETHER
#undef VECTOR
#undef ROTATE
#undef STEP
#undef STEPS

/* Narrower ones: a row, eight registers of 256 bits. */
#define WIDTH 4
#define TOGETHER 1
#define VECTOR narrow
#define ROTATE rotate_narrow
#define STEP step_narrow
#define STEPS steps_narrow
#include "base/stream_body.h"

static int has_wide_registers(void) {
#if defined(__x86_64__) && defined(__GNUC__)
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl");
#else
  return 0;
#endif
}

/* States of chunk `chunk` of the rows. State words 2 h and 2 h + 1 of lane l are the words of
 * counter 2 l + h. */
INLINE void seed_lanes(uint64_t seed,
                       mxs_stream stream,
                       const int64_t row[TEAM],
                       int64_t chunk,
                       uint64_t s[TEAM][STATE][LANES]) {
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
  const int wide_registers = has_wide_registers();
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
      uint64_t s[TEAM][STATE][LANES];
      seed_lanes(seed, stream, team, (first + done) / MXS_STREAM_CHUNK, s);
      if (wide_registers)
        steps_wide(s, left, at);
      else
        steps_narrow(s, left, at);
      for (int p = 0; p < TEAM; p++)
        at[p] += left;
    }
  }
}
