/* Sums over bytes with the tile registers of AMX: 16 x 64 bytes times 64 x 16 bytes at a time. The
 * digits of two matrices fill 14 of 16 columns (forward) or rows (adjoint), so a second matrix is
 * free.
 *
 * Strip: as in signs_vnni.c. X: four columns of a tile a row, column c of the row at byte 4 n + c,
 * n = 8 p + l for digit l of matrix p.
 *
 * The tests compile this file with tile functions of their own in place of the instructions. */
#include "op/signs_bytes.h"

#if MXS_SIGNS_X86
#include <stdatomic.h>
#include <string.h>

enum {
  SIDE = 16, /* rows of a tile register */
  LINE = 64, /* bytes of its row */
  AREA = SIDE * LINE,
  SLOT = SIDE / MXS_PAIR,     /* columns for the digits of a matrix */
  FLUSH = 512,                /* tiles before a sum could overflow: 2^9 64 255 128 < 2^31 */
  GROUPS = MXS_STRIP / SIDE,  /* of rows */
  STEPS = MXS_TILE / MXS_QUAD /* rows of 4 columns, or columns of 4 rows */
};

#define AMX                                                                                        \
  __attribute__((                                                                                  \
      target("amx-tile,amx-int8,avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512vnni")))

/* Instructions name their registers, so these are macros. gcc 12 does not know that they read
 * memory: `publish` keeps stores before them. */
#ifndef MXS_AMX_EMULATED
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#define tile_configure(from) _tile_loadconfig(from)
#define tile_release() _tile_release()
#define tile_zero(t) _tile_zero(t)
#define tile_load(t, from) _tile_loadd(t, from, LINE)
#define tile_store(t, to) _tile_stored(t, to, LINE)
#define tile_add_us(sum, a, b) _tile_dpbusd(sum, a, b)
#define tile_add_su(sum, a, b) _tile_dpbsud(sum, a, b)

/* The system saves the tile registers only of processes that ask for them. */
static int permitted(void) {
#if defined(__linux__) && defined(SYS_arch_prctl)
  enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
  unsigned a = 0;
  unsigned b = 0;
  unsigned c = 0;
  unsigned d = 0;
  const unsigned tile = 1U << 24;
  const unsigned int8 = 1U << 25;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & tile) == 0 || (d & int8) == 0)
    return 0;
  return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
#else
  return 0;
#endif
}
#endif

static void publish(void) {
  atomic_signal_fence(memory_order_seq_cst);
}

/* Seven registers of full size. A constant: nothing has to be stored before it is read. */
static const struct configuration {
  uint8_t palette, start, reserved[14];
  uint16_t bytes[SIDE];
  uint8_t rows[SIDE];
} configuration = {.palette = 1,
                   .bytes = {LINE, LINE, LINE, LINE, LINE, LINE, LINE},
                   .rows = {SIDE, SIDE, SIDE, SIDE, SIDE, SIDE, SIDE}};

AMX static void begin(void) {
  tile_configure(&configuration);
}

AMX static void end(void) {
  tile_release();
}

static void prepare(const int64_t *const *x, int64_t tiles, void *prepared) {
  int8_t digits[MXS_DIGITS][MXS_TILE];
  memset(prepared, 0, (size_t)(tiles * AREA));
  for (int64_t t = 0; t < tiles; t++) {
    int8_t *to = (int8_t *)prepared + t * AREA;
    for (int64_t p = 0; p < MXS_PAIR; p++) {
      mxsi_digits(x[p] + t * MXS_TILE, MXS_TILE, MXS_TILE, digits[0]);
      for (int64_t l = 0; l < MXS_DIGITS; l++)
        for (int64_t j = 0; j < MXS_TILE; j++)
          to[j / MXS_QUAD * LINE + (SLOT * p + l) * MXS_QUAD + j % MXS_QUAD] = digits[l][j];
    }
  }
}

/* Registers 0 .. 3: sums of 16 rows each; 4: digits; 5: levels. */
AMX static void forward_tiles(const uint8_t *b,
                              const int8_t *digits,
                              int64_t tiles,
                              int32_t sums[MXS_STRIP][SIDE]) {
  publish();
  tile_zero(0);
  tile_zero(1);
  tile_zero(2);
  tile_zero(3);
  for (int64_t t = 0; t < tiles; t++) {
    const uint8_t *rows = b + t * MXS_LEVELS_TILE;
    tile_load(4, digits + t * AREA);
    tile_load(5, rows);
    tile_add_us(0, 5, 4);
    tile_load(6, rows + AREA);
    tile_add_us(1, 6, 4);
    tile_load(5, rows + AREA + AREA);
    tile_add_us(2, 5, 4);
    tile_load(6, rows + AREA + AREA + AREA);
    tile_add_us(3, 6, 4);
  }
  tile_store(0, sums[0]);
  tile_store(1, sums[SIDE]);
  tile_store(2, sums[SIDE + SIDE]);
  tile_store(3, sums[SIDE + SIDE + SIDE]);
  publish();
}

static void forward(const mxs_tiles *tiles, const void *prepared, mxs_wide *sums) {
  _Alignas(64) int32_t near[MXS_STRIP][SIDE];
  const uint8_t *b = tiles->entries;
  const int8_t *digits = (const int8_t *)prepared + tiles->first * AREA;
  begin();
  for (int64_t t = 0; t < tiles->count; t += FLUSH) {
    forward_tiles(b + t * MXS_LEVELS_TILE, digits + t * AREA,
                  tiles->count - t < FLUSH ? tiles->count - t : FLUSH, near);
    for (int64_t i = 0; i < MXS_STRIP; i++)
      for (int64_t p = 0; p < MXS_PAIR; p++)
        for (int64_t l = 0; l < MXS_DIGITS; l++)
          sums[p * MXS_STRIP + i] += near[i][SLOT * p + l] * ((mxs_wide)1 << (8 * l));
  }
  end();
}

/* Bytes of four rows of a tile next to each other, as four operands of 16 columns. */
AMX static void interleave_tile(const uint8_t *b, uint8_t out[GROUPS][STEPS][LINE]) {
  for (int64_t q = 0; q < STEPS; q++)
    for (int v = 0; v < GROUPS; v += 2) {
      __m512i level[2];
      mxs_interleave(b + q * MXS_QUAD * MXS_TILE, v, level);
      _mm512_store_si512(out[v][q], level[0]);
      _mm512_store_si512(out[v + 1][q], level[1]);
    }
}

/* Registers 0 .. 3: sums of 16 columns each; 4: digits of the residuals; 5, 6: levels. */
AMX static void adjoint_tile(uint8_t level[GROUPS][STEPS][LINE],
                             int32_t sums[GROUPS][MXS_PAIR * SLOT][SIDE]) {
  publish();
  tile_zero(0);
  tile_zero(1);
  tile_zero(2);
  tile_zero(3);
  tile_load(5, level[0]);
  tile_add_su(0, 4, 5);
  tile_load(6, level[1]);
  tile_add_su(1, 4, 6);
  tile_load(5, level[2]);
  tile_add_su(2, 4, 5);
  tile_load(6, level[3]);
  tile_add_su(3, 4, 6);
  tile_store(0, sums[0]);
  tile_store(1, sums[1]);
  tile_store(2, sums[2]);
  tile_store(3, sums[3]);
  publish();
}

AMX static void adjoint(const mxs_tiles *tiles, const mxs_gradient *to, int64_t entries) {
  _Alignas(64) int8_t digits[SIDE][MXS_STRIP] = {{0}};
  _Alignas(64) uint8_t level[GROUPS][STEPS][LINE];
  _Alignas(64) int32_t sums[GROUPS][MXS_PAIR * SLOT][SIDE];
  for (int64_t p = 0; p < MXS_PAIR; p++)
    mxsi_digits(to[p].r, MXS_STRIP, MXS_STRIP, digits[SLOT * p]);
  begin();
  publish();
  tile_load(4, digits);
  for (int64_t t = 0; t < tiles->count; t++) {
    interleave_tile((const uint8_t *)tiles->entries + t * MXS_LEVELS_TILE, level);
    adjoint_tile(level, sums);
    for (int64_t p = 0; p < MXS_PAIR; p++) {
      _Alignas(64) int64_t G[MXS_TILE];
      for (int64_t v = 0; v < GROUPS; v++) {
        __m512i sum[MXS_DIGITS];
        for (int64_t l = 0; l < MXS_DIGITS; l++)
          sum[l] = _mm512_load_si512(sums[v][SLOT * p + l]);
        mxs_put_columns(sum, v, G);
      }
      mxs_signs_finish(G, tiles->first + t, entries, &to[p]);
    }
  }
  end();
}

static int available(void) {
  return mxsi_levels_vnni.available() && permitted();
}

const mxs_signs_kernel mxsi_levels_amx = {.name = "AMX int8",
                                          .available = available,
                                          .together = MXS_PAIR,
                                          .prepared_size = AREA,
                                          .arranged_size = MXS_LEVELS_TILE,
                                          .prepare = prepare,
                                          .arrange = mxsi_levels_arrange,
                                          .forward = forward,
                                          .adjoint = adjoint};
#endif
