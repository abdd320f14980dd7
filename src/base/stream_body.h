/** @file
 *  Steps of xoshiro256++ in vectors of WIDTH lanes; stream.c includes it once for each WIDTH, with
 *  names for what is here: VECTOR, ROTATE, STEP, STEPS. TOGETHER rows are made side by side, or the
 *  latency of a step would show. */

typedef uint64_t VECTOR __attribute__((vector_size(8 * WIDTH)));

INLINE VECTOR ROTATE(VECTOR v, int by) {
  return (v << by) | (v >> (64 - by));
}

/* One step in all lanes. */
INLINE VECTOR STEP(VECTOR s[STATE]) {
  const VECTOR out = ROTATE(s[0] + s[3], 23) + s[0];
  const VECTOR t = s[1] << 17;
  const VECTOR s0 = s[0] ^ s[3] ^ s[1];
  const VECTOR s1 = s[1] ^ s[2] ^ s[0];
  s[2] = s[2] ^ s[0] ^ t;
  s[3] = ROTATE(s[3] ^ s[1], 45);
  s[0] = s0;
  s[1] = s1;
  return out;
}

/* `count` words of each row of the team, to to[p]. */
INLINE void STEPS(uint64_t state[TEAM][STATE][LANES], int64_t count, uint64_t *const to[TEAM]) {
  enum { PARTS = LANES / WIDTH };
  for (int64_t first = 0; first < TEAM; first += TOGETHER) {
    VECTOR s[TOGETHER][PARTS][STATE];
    for (int64_t p = 0; p < TOGETHER; p++)
      for (int64_t h = 0; h < PARTS; h++)
        for (int64_t q = 0; q < STATE; q++)
          memcpy(&s[p][h][q], &state[first + p][q][h * WIDTH], sizeof s[p][h][q]);
    for (int64_t w = 0; w < count; w += LANES)
      for (int64_t p = 0; p < TOGETHER; p++)
        for (int64_t h = 0; h < PARTS; h++) {
          const VECTOR out = STEP(s[p][h]);
          memcpy(to[first + p] + w + h * WIDTH, &out, sizeof out);
        }
  }
}
