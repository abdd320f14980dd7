/* The kernel for AMX, with tile registers in memory in place of those of a processor that may not
 * be here: the same source, the same integers as the portable kernel. */
#include "op/signs_kernel.h"

#include "mpi/mpi_test.h"

#if MXS_SIGNS_X86
#define MXS_AMX_EMULATED
#define mxsi_levels_amx mxsi_levels_amx_emulated

#include <string.h>

static struct {
  int bytes, rows; /* 0: not configured */
  uint8_t byte[16][64];
} tiles_of_processor[8];

static void tile_configure(const void *from) {
  uint8_t c[64];
  memcpy(c, from, sizeof c);
  for (int t = 0; t < 8; t++) {
    tiles_of_processor[t].bytes = c[0] == 1 ? c[16 + 2 * t] + 256 * c[17 + 2 * t] : 0;
    tiles_of_processor[t].rows = c[0] == 1 ? c[48 + t] : 0;
  }
}

static void tile_release(void) {
  memset(tiles_of_processor, 0, sizeof tiles_of_processor);
}

static void tile_zero(int t) {
  memset(tiles_of_processor[t].byte, 0, sizeof tiles_of_processor[t].byte);
}

static void tile_load(int t, const void *from) {
  memset(tiles_of_processor[t].byte, 0, sizeof tiles_of_processor[t].byte);
  for (int i = 0; i < tiles_of_processor[t].rows; i++)
    memcpy(tiles_of_processor[t].byte[i], (const uint8_t *)from + (ptrdiff_t)i * 64,
           (size_t)tiles_of_processor[t].bytes);
}

static void tile_store(int t, void *to) {
  for (int i = 0; i < tiles_of_processor[t].rows; i++)
    memcpy((uint8_t *)to + (ptrdiff_t)i * 64, tiles_of_processor[t].byte[i],
           (size_t)tiles_of_processor[t].bytes);
}

static int signed_byte(uint8_t byte) {
  return byte < 128 ? byte : byte - 256;
}

/* sum_mn += sum_k sum_c a_m(4k+c) b_k(4n+c) of 32 bits, which wrap. */
static void tile_add(int sum, int a, int b, int a_is_signed) {
  for (int m = 0; m < tiles_of_processor[sum].rows; m++)
    for (int64_t n = 0; n < tiles_of_processor[sum].bytes / 4; n++) {
      uint32_t value = 0;
      memcpy(&value, &tiles_of_processor[sum].byte[m][4 * n], sizeof value);
      for (int64_t k = 0; k < tiles_of_processor[a].bytes / 4; k++)
        for (int64_t c = 0; c < 4; c++) {
          const uint8_t left = tiles_of_processor[a].byte[m][4 * k + c];
          const uint8_t right = tiles_of_processor[b].byte[k][4 * n + c];
          value += (uint32_t)(a_is_signed ? signed_byte(left) * right : left * signed_byte(right));
        }
      memcpy(&tiles_of_processor[sum].byte[m][4 * n], &value, sizeof value);
    }
}

static void tile_add_us(int sum, int a, int b) {
  tile_add(sum, a, b, 0);
}

static void tile_add_su(int sum, int a, int b) {
  tile_add(sum, a, b, 1);
}

static int permitted(void) {
  return 1;
}

#include "op/signs_amx.c" // NOLINT(bugprone-suspicious-include)

#include "base/random.h"
#include "op/signs.h"

enum { LARGEST = 1000, ROWS = 70, REPLICAS = 5 };

static void run(const mxs_signs_kernel *kernel,
                int64_t entries,
                int64_t count,
                int64_t replicas,
                double (*w)[ROWS],
                double (*g)[LARGEST]) {
  static double x[REPLICAS][LARGEST];
  const double *xs[REPLICAS];
  double *gs[REPLICAS];
  mxs_signs *signs = NULL;
  for (int r = 0; r < REPLICAS; r++) {
    mxs_random_gaussian_row(9, MXS_STREAM_NOISE, r, LARGEST, x[r]);
    mxs_random_gaussian_row(9, MXS_STREAM_NOISE, 10 + r, LARGEST, g[r]);
    memset(w[r], 0, sizeof w[r]);
    xs[r] = x[r];
    gs[r] = g[r];
  }
  assert_int_equal(mxsi_signs_create(entries, MXS_ENSEMBLE_GAUSSIAN8, 4, NULL, &signs), MXS_OK);
  mxsi_signs_use(signs, kernel);
  assert_int_equal(mxsi_op_signs.plan(signs, replicas, 1), MXS_OK);
  assert_int_equal(mxsi_op_signs.point(signs, replicas, xs), MXS_OK);
  const mxs_pass pass = {.first = 3,
                         .count = count,
                         .replicas = replicas,
                         .x = xs,
                         .w = w[0],
                         .stride = ROWS,
                         .g = gs};
  assert_int_equal(mxsi_op_signs.pass(signs, &pass), MXS_OK);
  mxsi_signs_destroy(&signs);
}

static void same_bits(void **state) {
  (void)state;
  static const int64_t sizes[] = {1, 63, 64, 65, 127, 128, LARGEST};
  static const int64_t counts[] = {1, 8, 33, 64, ROWS};
  static double w[2][REPLICAS][ROWS], g[2][REPLICAS][LARGEST];
  if (!mxsi_levels_amx_emulated.available())
    skip();
  assert_true(mxsi_signs_agrees(1, &mxsi_levels_amx_emulated));
  for (size_t n = 0; n < sizeof sizes / sizeof *sizes; n++)
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++)
      for (int64_t replicas = 1; replicas <= REPLICAS; replicas++) {
        run(&mxsi_levels_amx_emulated, sizes[n], counts[c], replicas, w[0], g[0]);
        run(&mxsi_levels_portable, sizes[n], counts[c], replicas, w[1], g[1]);
        assert_memory_equal(w[0], w[1], sizeof w[0]);
        assert_memory_equal(g[0], g[1], sizeof g[0]);
      }
}

/* The largest digits and levels, over more tiles than 32 bits can add up. */
static void sums_do_not_wrap(void **state) {
  (void)state;
  enum { TILES = 1100, COLUMNS = TILES * MXS_TILE };
  const mxs_signs_kernel *kernel = &mxsi_levels_amx_emulated;
  if (!kernel->available())
    skip();
  uint64_t *ones = NULL;
  int64_t *x = NULL;
  char *prepared = NULL;
  mxs_tiles tiles = {.count = TILES, .rows = MXS_OCTET};
  mxs_wide sums[MXS_PAIR * MXS_STRIP] = {0};
  assert_int_equal(mxs_alloc(COLUMNS / 8, sizeof *ones, &ones), MXS_OK);
  assert_int_equal(mxs_alloc(COLUMNS, sizeof *x, &x), MXS_OK);
  assert_int_equal(mxs_alloc(TILES, (size_t)kernel->prepared_size, &prepared), MXS_OK);
  assert_int_equal(mxs_alloc(TILES, (size_t)kernel->arranged_size, &tiles.entries), MXS_OK);
  memset(ones, 0x7F, COLUMNS);
  kernel->arrange(ones, 0, 0, &tiles);
  for (int64_t j = 0; j < COLUMNS; j++)
    x[j] = -63 * (INT64_C(1) << 48) - 128 * (((INT64_C(1) << 48) - 1) / 255);
  const int64_t *pair[MXS_PAIR] = {x, x};
  kernel->prepare(pair, TILES, prepared);
  kernel->forward(&tiles, prepared, sums);
  for (int i = 0; i < MXS_OCTET; i++) {
    assert_true(sums[i] == (mxs_wide)x[0] * 255 * COLUMNS);
    assert_true(sums[MXS_STRIP + i] == sums[i]);
  }
  mxs_release(&ones);
  mxs_release(&x);
  mxs_release(&prepared);
  mxs_release(&tiles.entries);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(same_bits),
      cmocka_unit_test(sums_do_not_wrap),
  };
  return cmocka_run_group_tests(tests, NULL, NULL) || mxs_alloc_outstanding() != 0;
}
#else
int main(void) {
  return 77; /* skipped */
}
#endif
