/* Visits to stored rows: the same bits by every instruction set, path, cut of a range and company,
 * and the right ones where arithmetic is exact. */
#include "base/random.h"
#include "mpi/mpi_test.h"
#include "op/op.h"

#include <math.h>
#include <pthread.h>
#include <string.h>

enum { ROWS = 75, LONGEST = 4500, MOST = 16 };

static const mxs_storage storages[] = {MXS_STORAGE_F64, MXS_STORAGE_F32, MXS_STORAGE_BF16};
static const int64_t lengths[] = {1, 7, 8, 16, 63, 130, 1000, LONGEST};
static const int64_t counts[] = {1, 3, 4, 9, ROWS};

/* Entries at most in one case: fused multiply-adds without instructions for them are slow. */
enum { MODERATE = 18000 };

/* Stored rows and the same rows written out. */
typedef struct shard {
  mxs_blocks blocks;
  mxs_dense *dense;
  double *entries;
} shard;

static void gaussians(int64_t row, int64_t count, double *values) {
  double four[4];
  for (int64_t i = 0; i < count; i++) {
    if (i % 4 == 0)
      mxs_random_gaussian(21, MXS_STREAM_NOISE, row, i / 4, 1, four);
    values[i] = four[i % 4];
  }
}

static void begin(shard *s, mxs_storage storage, int64_t n) {
  assert_int_equal(mxs_blocks_create(ROWS, 128, 0, 1, &s->blocks), MXS_OK);
  assert_int_equal(mxsi_dense_create(n, storage, &s->blocks, &s->dense), MXS_OK);
  assert_int_equal(mxs_alloc(ROWS * n, sizeof *s->entries, &s->entries), MXS_OK);
  gaussians(0, ROWS * n, s->entries);
  mxsi_dense_put(s->dense, 0, ROWS, s->entries);
  for (int64_t i = 0; i < ROWS; i++)
    for (int64_t j = 0; j < n; j++)
      s->entries[i * n + j] =
          mxsi_entry(storage, (char *)s->dense->rows + i * n * mxsi_entry_bytes(storage),
                     mxsi_entry_place(storage, n, j));
}

static void end(shard *s) {
  mxs_release(&s->entries);
  mxsi_op_dense.destroy(s->dense);
  mxs_blocks_clear(&s->blocks);
}

/* What a pass leaves. */
typedef struct result {
  double w[MOST][ROWS], g[MOST][LONGEST];
} result;

/* Arguments of all passes, and what w and G hold before one. */
static double x[MOST][LONGEST], y[ROWS], weight[ROWS];
static result start;

static int fill(void **state) {
  (void)state;
  gaussians(2000, ROWS, y);
  gaussians(2001, ROWS, weight);
  for (int64_t r = 0; r < MOST; r++) {
    gaussians(1000 + r, LONGEST, x[r]);
    gaussians(1100 + r, ROWS, start.w[r]);
    gaussians(1200 + r, LONGEST, start.g[r]);
  }
  return 0;
}

static void prepare(int64_t n, result *out) {
  for (int64_t r = 0; r < MOST; r++) {
    memcpy(out->w[r], start.w[r], sizeof out->w[r]);
    memcpy(out->g[r], start.g[r], (size_t)n * sizeof(double));
  }
}

/* `part` is 1: forward only, 2: adjoint only, 3: both. */
/* Matrices from .. from + replicas - 1, measurements first .. first + count - 1. */
static void pass(const shard *s,
                 int64_t first,
                 int64_t count,
                 int64_t from,
                 int64_t replicas,
                 int part,
                 int thread,
                 result *out) {
  const double *xs[MOST];
  double *gs[MOST];
  for (int64_t r = 0; r < replicas; r++) {
    xs[r] = x[from + r];
    gs[r] = out->g[from + r];
  }
  const mxs_pass p = {.first = first,
                      .count = count,
                      .replicas = replicas,
                      .x = part & 1 ? xs : NULL,
                      .y = y + first,
                      .weight = weight + first,
                      .w = &out->w[from][first],
                      .stride = ROWS,
                      .g = part & 2 ? gs : NULL,
                      .thread = thread};
  assert_int_equal(mxsi_op_dense.pass(s->dense, &p), MXS_OK);
}

static void plan(const shard *s, int64_t replicas, int threads) {
  assert_int_equal(mxsi_op_dense.plan(s->dense, replicas, threads), MXS_OK);
}

static void one_pass(const shard *s, int64_t count, int64_t replicas, int part, result *out) {
  prepare(s->dense->entries, out);
  pass(s, 0, count, 0, replicas, part, 0, out);
}

/* The formulas of kernels_rows.h, word by word. */
static double dot(const double *a, const double *v, int64_t n) {
  double lane[16] = {0}, s[8];
  const int64_t whole = n - n % 16;
  for (int64_t j = 0; j < whole; j++)
    lane[j % 16] = fma(a[j], v[j], lane[j % 16]);
  for (int l = 0; l < 8; l++)
    s[l] = lane[l] + lane[l + 8];
  double sum = ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
  for (int64_t j = whole; j < n; j++)
    sum = fma(a[j], v[j], sum);
  return sum;
}

static void expect(const shard *s, int64_t count, int64_t replicas, int part, result *out) {
  const int64_t n = s->dense->entries;
  prepare(n, out);
  for (int64_t r = 0; r < replicas; r++) {
    for (int64_t i = 0; i < count; i++) {
      const double *a = s->entries + i * n;
      if (part & 1)
        out->w[r][i] = dot(a, x[r], n) - y[i];
      const double c = weight[i] * out->w[r][i];
      for (int64_t j = 0; j < n && part & 2; j++)
        out->g[r][j] = fma(a[j], c, out->g[r][j]);
    }
  }
}

static void assert_same(const result *a, const result *b, int64_t n) {
  for (int64_t r = 0; r < MOST; r++) {
    assert_memory_equal(a->w[r], b->w[r], sizeof a->w[r]);
    assert_memory_equal(a->g[r], b->g[r], (size_t)n * sizeof(double));
  }
}

static result expected, got;

typedef const mxs_kernels *(*kernels_function)(void);

static const kernels_function tables[] = {mxsi_kernels_avx512, mxsi_kernels_avx2,
                                          mxsi_kernels_portable};

/* Every table on one shard, in all directions. */
static void check_tables(shard *s, int64_t count, int64_t replicas) {
  for (int part = 1; part <= 3; part++) {
    expect(s, count, replicas, part, &expected);
    for (size_t t = 0; t < sizeof tables / sizeof *tables; t++) {
      if (tables[t]() == NULL)
        continue;
      s->dense->visits.kernels = tables[t]();
      one_pass(s, count, replicas, part, &got);
      assert_same(&got, &expected, s->dense->entries);
    }
  }
}

/* Thresholds of the paths: near, one group behind, far. */
static const int64_t caches[][2] = {{INT64_MAX, INT64_MAX}, {0, INT64_MAX}, {0, 0}};
static const char *const paths[] = {"fused, groups", "fused one group behind", "two directions"};

static void one_matrix(void **state) {
  (void)state;
  for (size_t e = 0; e < 3; e++) {
    for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++) {
      shard s;
      begin(&s, storages[e], lengths[l]);
      for (size_t c = 0; c < 3; c++) {
        mxs_op_info info = {.bytes = 0};
        s.dense->visits.near_bytes = caches[c][0];
        s.dense->visits.far_bytes = caches[c][1];
        mxsi_op_dense.info(s.dense, &info);
        const size_t way = c == 1 && storages[e] == MXS_STORAGE_F64 ? 0 : c;
        assert_memory_equal(info.path, paths[way], strlen(paths[way]));
        for (size_t k = 0; k < sizeof counts / sizeof *counts; k++)
          if (lengths[l] * counts[k] <= MODERATE)
            check_tables(&s, counts[k], 1);
      }
      end(&s);
    }
  }
}

static void many_matrices(void **state) {
  (void)state;
  static const int64_t replicas[] = {2, 3, 4, 5, 7, 8, 9, MOST};
  for (size_t e = 0; e < 3; e++) {
    for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++) {
      shard s;
      begin(&s, storages[e], lengths[l]);
      plan(&s, MOST, 1);
      for (size_t c = 0; c < 3; c++) {
        s.dense->visits.near_bytes = caches[c][0];
        s.dense->visits.far_bytes = caches[c][1];
        for (size_t r = 0; r < sizeof replicas / sizeof *replicas; r++)
          for (size_t k = 0; k < sizeof counts / sizeof *counts; k++)
            if (lengths[l] * counts[k] * replicas[r] <= MODERATE)
              check_tables(&s, counts[k], replicas[r]);
      }
      end(&s);
    }
  }
}

/* Several bands and tiles of a row, by the fastest table. */
static void many_bands_and_tiles(void **state) {
  (void)state;
  static const int64_t replicas[] = {4, 9, MOST};
  for (size_t e = 0; e < 3; e++) {
    for (size_t k = 0; k < 6; k++) {
      shard s;
      begin(&s, storages[e], LONGEST - 1);
      plan(&s, MOST, 1);
      s.dense->visits.far_bytes = k < 3 ? INT64_MAX : 0;
      expect(&s, ROWS, replicas[k % 3], 3, &expected);
      one_pass(&s, ROWS, replicas[k % 3], 3, &got);
      assert_same(&got, &expected, LONGEST - 1);
      end(&s);
    }
  }
}

/* A matrix has the same bits in any company and in any place. */
static void company_does_not_matter(void **state) {
  (void)state;
  enum { N = 300 };
  static const int64_t subsets[][2] = {{0, 1}, {3, 1}, {0, 9}, {7, 8}, {5, 11}};
  shard s;
  begin(&s, MXS_STORAGE_F32, N);
  plan(&s, MOST, 1);
  one_pass(&s, ROWS, MOST, 3, &expected);
  for (size_t k = 0; k < sizeof subsets / sizeof *subsets; k++) {
    const int64_t from = subsets[k][0];
    const int64_t replicas = subsets[k][1];
    prepare(N, &got);
    pass(&s, 0, ROWS, from, replicas, 3, 0, &got);
    for (int64_t r = from; r < from + replicas; r++) {
      assert_memory_equal(got.w[r], expected.w[r], sizeof got.w[r]);
      assert_memory_equal(got.g[r], expected.g[r], N * sizeof(double));
    }
  }
  /* Fewer than were planned. */
  prepare(N, &got);
  pass(&s, 0, ROWS, 0, 5, 3, 0, &got);
  for (int64_t r = 0; r < 5; r++)
    assert_memory_equal(got.g[r], expected.g[r], N * sizeof(double));
  end(&s);
}

/* A range in one pass or in several. */
static void cuts_do_not_matter(void **state) {
  (void)state;
  enum { N = 300 };
  for (int64_t replicas = 1; replicas <= MOST; replicas += MOST - 1) {
    for (size_t c = 0; c < 3; c++) {
      shard s;
      begin(&s, MXS_STORAGE_BF16, N);
      s.dense->visits.near_bytes = caches[c][0];
      s.dense->visits.far_bytes = caches[c][1];
      plan(&s, replicas, 1);
      one_pass(&s, ROWS, replicas, 3, &expected);
      prepare(N, &got);
      for (int64_t first = 0; first < ROWS; first += 7)
        pass(&s, first, ROWS - first < 7 ? ROWS - first : 7, 0, replicas, 3, 0, &got);
      assert_same(&got, &expected, N);
      end(&s);
    }
  }
}

typedef struct job {
  const shard *s;
  int thread;
  result *out;
} job;

static void *run_job(void *arg) {
  const job *j = arg;
  for (int repeat = 0; repeat < 20; repeat++) {
    prepare(j->s->dense->entries, j->out);
    pass(j->s, 0, ROWS, 0, MOST, 3, j->thread, j->out);
  }
  return NULL;
}

static void two_threads_at_once(void **state) {
  (void)state;
  static result other;
  shard s;
  begin(&s, MXS_STORAGE_F64, 130);
  plan(&s, MOST, 2);
  one_pass(&s, ROWS, MOST, 3, &expected);
  prepare(130, &other);
  prepare(130, &got);
  job jobs[] = {{&s, 0, &got}, {&s, 1, &other}};
  pthread_t thread;
  assert_int_equal(pthread_create(&thread, NULL, run_job, &jobs[1]), 0);
  run_job(&jobs[0]);
  assert_int_equal(pthread_join(thread, NULL), 0);
  assert_same(&got, &expected, 130);
  assert_same(&other, &expected, 130);
  end(&s);
}

/* What was not planned is refused. A plan for less changes nothing, and no plan changes a bit. */
static void plans(void **state) {
  (void)state;
  shard s;
  begin(&s, MXS_STORAGE_F64, 300);
  one_pass(&s, ROWS, 1, 3, &expected);
  const double *xs[] = {x[0], x[1], x[2], x[3]};
  double *gs[] = {got.g[0], got.g[1], got.g[2], got.g[3]};
  mxs_pass p = {.count = 1, .replicas = 4, .x = xs, .w = got.w[0], .stride = ROWS, .g = gs};
  assert_int_equal(mxsi_op_dense.pass(s.dense, &p), MXS_ERR_INTERNAL);
  mxs_op_info one = {.bytes = 0};
  mxs_op_info many = {.bytes = 0};
  mxsi_op_dense.info(s.dense, &one);
  assert_int_equal(one.bytes, ROWS * 300 * 8 + 8);
  plan(&s, 4, 2);
  plan(&s, 1, 1);
  mxsi_op_dense.info(s.dense, &many);
  assert_int_equal(
      many.bytes - one.bytes,
      2 * 8 *
          (4 * (MXS_MANY_ROWS * (MXS_STEP + 1) + MXS_GATHERED + 1) + MXS_GROUP * MXS_TILE_COLUMNS));
  assert_memory_equal(many.path, "fused, 4 matrices, f64, ", 24);
  assert_int_equal(mxsi_op_dense.pass(s.dense, &p), MXS_OK);
  p.thread = 2;
  assert_int_equal(mxsi_op_dense.pass(s.dense, &p), MXS_ERR_INTERNAL);
  p.thread = 0;
  p.replicas = 5;
  assert_int_equal(mxsi_op_dense.pass(s.dense, &p), MXS_ERR_INTERNAL);
  one_pass(&s, ROWS, 1, 3, &got);
  assert_same(&got, &expected, 300);
  end(&s);
}

/* Rounding to bf16: once, to nearest, ties to even; NaN and infinities as they are. */
static void bf16_rounding(void **state) {
  (void)state;
  static const double cases[][2] = {
      {1.0, 1.0},
      {-1.0 - 0x1p-8, -1.0},                  /* a tie: to even */
      {1.0 + 0x3p-8, 1.0 + 0x1p-6},           /* a tie: to even */
      {1.0 + 0x1p-8 + 0x1p-40, 1.0 + 0x1p-7}, /* a tie in float, above it in double */
      {1.0 + 0x3p-8 - 0x1p-40, 1.0 + 0x1p-7}, /* and below it */
      {0x1p-133, 0x1p-133},                   /* smallest number */
      {0x1p-134, 0.0},
      {0x1p-134 + 0x1p-170, 0x1p-133},
      {-0.0, -0.0},
      {0x1.FEp127, 0x1.FEp127}, /* largest number */
      {0x1.FEFFFp127, 0x1.FEp127},
      {0x1.FFp127, INFINITY},
      {1e300, INFINITY},
      {-INFINITY, -INFINITY},
  };
  shard s;
  begin(&s, MXS_STORAGE_BF16, 1);
  for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
    mxsi_dense_put(s.dense, 0, 1, &cases[k][0]);
    const double stored = mxsi_entry(MXS_STORAGE_BF16, s.dense->rows, 0);
    assert_memory_equal(&stored, &cases[k][1], sizeof stored);
  }
  const double none = NAN;
  mxsi_dense_put(s.dense, 0, 1, &none);
  assert_true(isnan(mxsi_entry(MXS_STORAGE_BF16, s.dense->rows, 0)));
  end(&s);
}

/* The sum of squares by its formula, and the digest of what is stored. */
static void squares_and_digest(void **state) {
  (void)state;
  for (size_t e = 0; e < 3; e++) {
    for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++) {
      shard s;
      const int64_t n = lengths[l];
      begin(&s, storages[e], n);
      double total = 0.0, sum = 0.0;
      for (int64_t i = 3; i < 12; i++)
        total += dot(s.entries + i * n, s.entries + i * n, n);
      for (size_t t = 0; t < sizeof tables / sizeof *tables; t++) {
        if (tables[t]() == NULL)
          continue;
        s.dense->visits.kernels = tables[t]();
        assert_int_equal(mxsi_op_dense.frobenius2(s.dense, 3, 9, &sum), MXS_OK);
        assert_memory_equal(&sum, &total, sizeof sum);
      }
      const uint64_t digest = mxsi_op_dense.digest(s.dense, 3, 2);
      assert_true(digest != mxsi_op_dense.digest(s.dense, 4, 2));
      s.entries[5 * n - 1] *= 2.0;
      mxsi_dense_put(s.dense, 3, 2, s.entries + 3 * n);
      assert_true(digest != mxsi_op_dense.digest(s.dense, 3, 2));
      end(&s);
    }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(one_matrix),
      cmocka_unit_test(many_matrices),
      cmocka_unit_test(many_bands_and_tiles),
      cmocka_unit_test(company_does_not_matter),
      cmocka_unit_test(cuts_do_not_matter),
      cmocka_unit_test(two_threads_at_once),
      cmocka_unit_test(plans),
      cmocka_unit_test(bf16_rounding),
      cmocka_unit_test(squares_and_digest),
  };
  return cmocka_run_group_tests(tests, fill, NULL) || mxs_alloc_outstanding() != 0;
}
