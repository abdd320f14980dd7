/* A streamed operator against the dense one of the same rows, and the pieces under it: reads ahead,
 * wrong guesses, failures, many threads. */
#include "op/streamed.h"
#include "base/random.h"
#include "mpi/mpi_test.h"
#include "op/pieces.h"

#include <string.h>
#include <time.h>

enum { M = 75, ROWS = 32, LONG = 33000 /* a block has several pieces */ };

/* Rows in memory, as a file would give them. */
typedef struct shelf {
  char *rows;
  int64_t row_bytes;
  int64_t bad_row; /* cannot be read; -1: all can */
  int reads, destroyed;
} shelf;

static mxs_status shelf_read(void *self, int64_t first, int64_t count, void *rows) {
  shelf *s = self;
  __atomic_fetch_add(&s->reads, 1, __ATOMIC_RELAXED);
  const int64_t bad = __atomic_load_n(&s->bad_row, __ATOMIC_RELAXED);
  if (bad >= first && bad < first + count)
    return mxs_fail(MXS_ERR_DATA, "shelf: row %lld is gone", (long long)bad);
  memcpy(rows, s->rows + first * s->row_bytes, (size_t)(count * s->row_bytes));
  return MXS_OK;
}

static void shelf_destroy(void *self) {
  ((shelf *)self)->destroyed++;
}

static double *of_size(int64_t count) {
  double *a = NULL;
  assert_int_equal(mxs_alloc(count, sizeof *a, &a), MXS_OK);
  return a;
}

static double *numbers(int64_t row, int64_t count) {
  double *values = of_size((count + 3) / 4 * 4);
  mxs_random_gaussian(5, MXS_STREAM_NOISE, row, 0, (count + 3) / 4, values);
  return values;
}

/* The same rows twice. */
typedef struct pair {
  int64_t entries;
  mxs_blocks blocks;
  mxs_dense *dense;
  shelf shelf;
  mxs_streamed *streamed;
} pair;

static mxs_status accept(void *ctx, int64_t first, int64_t count, const void *rows) {
  pair *p = ctx;
  assert_memory_equal(rows, p->shelf.rows + first * p->shelf.row_bytes,
                      (size_t)(count * p->shelf.row_bytes));
  return MXS_OK;
}

static void begin(pair *p, int64_t entries, mxs_storage storage, int ahead) {
  *p = (pair){.entries = entries, .shelf = {.bad_row = -1}};
  p->shelf.row_bytes = entries * mxsi_entry_bytes(storage);
  assert_int_equal(mxs_blocks_create(M, ROWS, 0, 1, &p->blocks), MXS_OK);
  assert_int_equal(mxsi_dense_create(entries, storage, &p->blocks, &p->dense), MXS_OK);
  assert_int_equal(mxs_alloc(M, (size_t)p->shelf.row_bytes, &p->shelf.rows), MXS_OK);
  for (int64_t i = 0; i < M; i++) {
    double *row = numbers(i, entries);
    const int64_t at = p->dense->slot[i / ROWS] + i % ROWS;
    mxsi_dense_put(p->dense, at, 1, row);
    memcpy(p->shelf.rows + i * p->shelf.row_bytes,
           (const char *)p->dense->rows + at * p->shelf.row_bytes, (size_t)p->shelf.row_bytes);
    mxs_release(&row);
  }
  const mxs_row_source source = {.read = shelf_read,
                                 .destroy = shelf_destroy,
                                 .self = &p->shelf,
                                 .name = "shelf",
                                 .how = "from a shelf",
                                 .ahead = ahead};
  assert_int_equal(mxsi_streamed_create(entries, storage, &p->blocks, &source, &p->streamed),
                   MXS_OK);
  for (int64_t j = 0; j < p->blocks.own_count; j++)
    assert_int_equal(mxsi_streamed_look(p->streamed, j, accept, p), MXS_OK);
}

static void end(pair *p) {
  mxsi_op_streamed.destroy(p->streamed);
  assert_int_equal(p->shelf.destroyed, 1);
  mxsi_op_dense.destroy(p->dense);
  mxs_release(&p->shelf.rows);
  mxs_blocks_clear(&p->blocks);
}

static void check_pass(const pair *p, int64_t first, int64_t count) {
  double *x = numbers(1000, p->entries);
  double *g[2];
  double w[2][M];
  for (int k = 0; k < 2; k++) {
    g[k] = numbers(1001, p->entries);
    const mxs_single pass = {.count = count, .x = x, .w = w[k], .g = g[k]};
    assert_int_equal(mxsi_op_single(k == 0 ? &mxsi_op_dense : &mxsi_op_streamed,
                                    k == 0 ? (void *)p->dense : (void *)p->streamed, first, &pass),
                     MXS_OK);
  }
  assert_memory_equal(w[0], w[1], (size_t)count * sizeof w[0][0]);
  assert_memory_equal(g[0], g[1], (size_t)p->entries * sizeof *g[0]);
  mxs_release(&g[0]);
  mxs_release(&g[1]);
  mxs_release(&x);
}

static void check_rows(const pair *p, int64_t first, int64_t count) {
  double *room[2] = {of_size(count * p->entries), of_size(count * p->entries)};
  const double *rows[2];
  assert_int_equal(mxsi_op_dense.rows(p->dense, first, count, room[0], &rows[0]), MXS_OK);
  assert_int_equal(mxsi_op_streamed.rows(p->streamed, first, count, room[1], &rows[1]), MXS_OK);
  assert_ptr_equal(rows[1], room[1]);
  assert_memory_equal(rows[0], rows[1], (size_t)(count * p->entries) * sizeof *rows[0]);
  mxs_release(&room[0]);
  mxs_release(&room[1]);
}

static void check_squares(const pair *p, int64_t first, int64_t count) {
  double sum[2];
  assert_int_equal(mxsi_op_dense.frobenius2(p->dense, first, count, &sum[0]), MXS_OK);
  assert_int_equal(mxsi_op_streamed.frobenius2(p->streamed, first, count, &sum[1]), MXS_OK);
  assert_memory_equal(&sum[0], &sum[1], sizeof sum[0]);
}

static void is_the_dense_one(void **state) {
  (void)state;
  static const int64_t shapes[] = {1, 37, 1000, LONG};
  static const mxs_storage storages[] = {MXS_STORAGE_F64, MXS_STORAGE_F32};
  static const int64_t ranges[][2] = {{0, 32},  {32, 32}, {64, 11}, {64, 11}, {0, 1},   {27, 3},
                                      {33, 30}, {70, 5},  {31, 1},  {0, 32},  {32, 28}, {60, 4}};
  for (int ahead = 0; ahead < 2; ahead++)
    for (size_t t = 0; t < sizeof storages / sizeof *storages; t++)
      for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        pair p;
        begin(&p, shapes[i], storages[t], ahead);
        for (size_t k = 0; k < sizeof ranges / sizeof *ranges; k++) {
          check_pass(&p, ranges[k][0], ranges[k][1]);
          check_rows(&p, ranges[k][0], ranges[k][1]);
          check_squares(&p, ranges[k][0], ranges[k][1]);
        }
        end(&p);
      }
}

static void failures_are_told(void **state) {
  (void)state;
  pair p;
  double w[M];
  begin(&p, LONG, MXS_STORAGE_F64, 1);
  double *x = numbers(1000, LONG);
  const mxs_single pass = {.count = 8, .x = x, .w = w};
  __atomic_store_n(&p.shelf.bad_row, 40, __ATOMIC_RELAXED);
  /* What the first look left in memory makes room for the rest. */
  check_pass(&p, 0, 32);
  check_pass(&p, 64, 11);
  for (int again = 0; again < 3; again++) {
    assert_int_equal(mxsi_op_single(&mxsi_op_streamed, p.streamed, 36, &pass), MXS_ERR_IO);
    assert_non_null(strstr(mxs_last_error(), "row 40 is gone (block 1,"));
  }
  __atomic_store_n(&p.shelf.bad_row, -1, __ATOMIC_RELAXED);
  assert_int_equal(mxsi_op_single(&mxsi_op_streamed, p.streamed, 36, &pass), MXS_OK);
  check_pass(&p, 32, 32);
  mxs_release(&x);
  end(&p);
}

/* One bit of one entry, after it was looked at. */
static void changes_are_told(void **state) {
  (void)state;
  pair p;
  double w[M];
  begin(&p, LONG, MXS_STORAGE_F64, 1);
  double *x = numbers(1000, LONG);
  const uint64_t digest = mxsi_op_streamed.digest(p.streamed, 64, 11);
  assert_int_not_equal(digest, mxsi_op_streamed.digest(p.streamed, 32, 32));
  p.shelf.rows[74 * p.shelf.row_bytes + 123] ^= 4;
  /* Those that were read last are still in memory. */
  const mxs_single whole = {.count = 32, .x = x, .w = w};
  assert_int_equal(mxsi_op_single(&mxsi_op_streamed, p.streamed, 0, &whole), MXS_OK);
  assert_int_equal(mxsi_op_single(&mxsi_op_streamed, p.streamed, 32, &whole), MXS_OK);
  const mxs_single last = {.count = 11, .x = x, .w = w};
  mxs_status status = MXS_OK;
  for (int i = 0; i < 3 && status == MXS_OK; i++) {
    status = mxsi_op_single(&mxsi_op_streamed, p.streamed, 64, &last);
    for (int64_t first = 0; first < 64 && status == MXS_OK; first += 32)
      assert_int_equal(mxsi_op_single(&mxsi_op_streamed, p.streamed, first, &whole), MXS_OK);
  }
  assert_int_equal(status, MXS_ERR_IO);
  assert_non_null(strstr(mxs_last_error(), "shelf: rows 64 .. 74 are not what was read first"));
  assert_true(mxsi_op_streamed.digest(p.streamed, 64, 11) == digest);
  mxs_release(&x);
  end(&p);
}

/* A block is refused at the first look: that is the status. */
static mxs_status refuse(void *ctx, int64_t first, int64_t count, const void *rows) {
  (void)ctx;
  (void)rows;
  return mxs_fail(MXS_ERR_DATA, "rows %lld and %lld more", (long long)first, (long long)count);
}

static void first_look_may_refuse(void **state) {
  (void)state;
  pair p;
  begin(&p, 37, MXS_STORAGE_F64, 1);
  assert_int_equal(mxsi_streamed_look(p.streamed, 0, refuse, NULL), MXS_ERR_DATA);
  end(&p);
}

static void of_another_rank(void **state) {
  (void)state;
  mxs_blocks blocks;
  shelf s = {.bad_row = -1, .row_bytes = 5 * sizeof(double)};
  mxs_streamed *streamed = NULL;
  const mxs_row_source source = {
      .read = shelf_read, .destroy = shelf_destroy, .self = &s, .name = "", .how = "", .ahead = 1};
  double room[5], sum = 0.0;
  const double *rows = NULL;
  assert_int_equal(mxs_blocks_create(M, ROWS, 1, 2, &blocks), MXS_OK);
  assert_int_equal(mxsi_streamed_create(5, MXS_STORAGE_F64, &blocks, &source, &streamed), MXS_OK);
  assert_int_equal(mxsi_op_streamed.rows(streamed, 0, 1, room, &rows), MXS_ERR_INTERNAL);
  assert_int_equal(mxsi_op_streamed.frobenius2(streamed, 32, 1, &sum), MXS_ERR_INTERNAL);
  assert_true(mxsi_op_streamed.digest(streamed, 0, 32) == 0);
  mxsi_op_streamed.destroy(streamed);
  mxs_blocks_clear(&blocks);
}

/* ---------------------------------------------------------------- pieces */

enum { PIECES = 50, PIECE_WORDS = 16 };

typedef struct maker {
  int slow;
  int made[PIECES];
  int64_t bad;
} maker;

static mxs_status make(void *ctx, int64_t piece, void *to) {
  maker *m = ctx;
  int64_t *words = to;
  const struct timespec pause = {.tv_nsec = 20000 * (piece * 7 % 5)};
  __atomic_fetch_add(&m->made[piece], 1, __ATOMIC_RELAXED);
  for (int i = 0; i < PIECE_WORDS; i++) {
    words[i] = 1000 * piece + i;
    if (m->slow && i == PIECE_WORDS / 2)
      (void)nanosleep(&pause, NULL);
  }
  return __atomic_load_n(&m->bad, __ATOMIC_RELAXED) == piece ? mxs_fail(MXS_ERR_IO, "bad") : MXS_OK;
}

static mxs_pieces *pieces_of(maker *m, int threads) {
  const mxs_pieces_source source = {
      .bytes = PIECE_WORDS * (int64_t)sizeof(int64_t), .read = make, .ctx = m, .ahead = 1};
  mxs_pieces *p = NULL;
  assert_int_equal(mxsi_pieces_create(&source, &p), MXS_OK);
  assert_int_equal(mxsi_pieces_plan(p, threads), MXS_OK);
  return p;
}

/* Returns 0 where the piece is not what it should be. */
static int visit(mxs_pieces *p, int64_t piece, int64_t then) {
  const int64_t next[MXS_PIECES_AHEAD] = {then, then < 0 ? -1 : (then + 1) % PIECES};
  const void *data = NULL;
  int good = 1;
  if (mxsi_pieces_take(p, piece, next, &data) != MXS_OK)
    return 0;
  for (int i = 0; i < PIECE_WORDS; i++)
    good = good && ((const int64_t *)data)[i] == 1000 * piece + i;
  mxsi_pieces_give(p, piece);
  return good;
}

/* Wait until as many pieces were read ahead; a minute without them is a failure. */
static void wait_for(mxs_pieces *p, int64_t reads_ahead) {
  const struct timespec pause = {.tv_nsec = 100000};
  for (int i = 0; i < 600000 && mxsi_pieces_get_info(p).reads_ahead < reads_ahead; i++)
    (void)nanosleep(&pause, NULL);
  assert_true(mxsi_pieces_get_info(p).reads_ahead >= reads_ahead);
}

/* In order and around: every piece is read once a round, all but the first before they are taken.
 */
static void in_order(void **state) {
  (void)state;
  const int64_t visits = INT64_C(4) * PIECES;
  maker m = {.slow = 1, .bad = -1};
  mxs_pieces *p = pieces_of(&m, 1);
  for (int64_t t = 0; t < visits; t++) {
    assert_true(visit(p, t % PIECES, (t + 1) % PIECES));
    wait_for(p, t + MXS_PIECES_AHEAD);
  }
  const mxs_pieces_info info = mxsi_pieces_get_info(p);
  assert_int_equal(info.reads, visits + MXS_PIECES_AHEAD);
  assert_int_equal(info.bytes, mxsi_pieces_memory(PIECE_WORDS * INT64_C(8), 1));
  mxsi_pieces_destroy(&p);
}

/* No word about what comes next is true. */
static void wrong_guesses(void **state) {
  (void)state;
  maker m = {.bad = -1};
  mxs_pieces *p = pieces_of(&m, 1);
  for (int64_t t = 0; t < 20 * (int64_t)PIECES; t++)
    assert_true(visit(p, t * 17 % PIECES, (t * 31 + 5) % PIECES));
  /* And then all are: what was read for nothing is in nobody's way. */
  for (int64_t t = 0; t < 20; t++)
    assert_true(visit(p, t, t + 1));
  /* A taker that is ahead of the reader leaves it guesses that come too late. Nothing moves while
   * wait_for() waits, so they must go first: one that nobody foresaw makes room. */
  assert_true(visit(p, PIECES - 1, -1));
  const int64_t before = mxsi_pieces_get_info(p).reads_ahead;
  for (int64_t t = 20; t < PIECES; t++) {
    assert_true(visit(p, t, (t + 1) % PIECES));
    wait_for(p, before + t - 20);
  }
  mxsi_pieces_destroy(&p);
}

/* All slots wait for takers, and the piece that is taken has been asked for, in vain. */
static void full_of_guesses(void **state) {
  (void)state;
  maker m = {.bad = -1};
  mxs_pieces *p = pieces_of(&m, 1);
  assert_true(visit(p, 0, 1));
  wait_for(p, 2);
  assert_true(visit(p, 1, 10));
  wait_for(p, 4);
  assert_true(visit(p, 2, 12));
  wait_for(p, 5);
  assert_true(visit(p, 13, -1));
  mxsi_pieces_destroy(&p);
}

/* More threads than were planned for, in any order. */
static void many_threads(void **state) {
  (void)state;
  enum { THREADS = 6, VISITS = 300 };
  for (int planned = 1; planned <= THREADS; planned += 5) {
    maker m = {.slow = 1, .bad = -1};
    mxs_pieces *p = pieces_of(&m, planned);
    int good[THREADS] = {0};
#pragma omp parallel for num_threads(THREADS) schedule(static, 1)
    for (int64_t t = 0; t < THREADS; t++)
      for (int64_t i = 0; i < VISITS; i++) {
        const int64_t piece = t % 2 == 0 ? (i * (t + 1)) % PIECES : (i * i + 3 * t) % PIECES;
        good[t] += visit(p, piece, i % 3 == 0 ? -1 : (piece + 1) % PIECES);
      }
    for (int t = 0; t < THREADS; t++)
      assert_int_equal(good[t], VISITS);
    mxsi_pieces_destroy(&p);
  }
}

/* What cannot be read ahead fails when it is taken, as often as that is tried, and no longer. */
static void a_bad_piece(void **state) {
  (void)state;
  maker m = {.bad = 2};
  mxs_pieces *p = pieces_of(&m, 1);
  const void *data = NULL;
  const int64_t none[MXS_PIECES_AHEAD] = {-1, -1};
  assert_true(visit(p, 0, 1));
  assert_true(visit(p, 1, 2));
  assert_int_equal(mxsi_pieces_take(p, 2, none, &data), MXS_ERR_IO);
  assert_int_equal(mxsi_pieces_take(p, 2, none, &data), MXS_ERR_IO);
  __atomic_store_n(&m.bad, -1, __ATOMIC_RELAXED);
  assert_true(visit(p, 2, 3));
  mxsi_pieces_destroy(&p);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(is_the_dense_one), cmocka_unit_test(failures_are_told),
      cmocka_unit_test(changes_are_told), cmocka_unit_test(first_look_may_refuse),
      cmocka_unit_test(of_another_rank),  cmocka_unit_test(in_order),
      cmocka_unit_test(wrong_guesses),    cmocka_unit_test(full_of_guesses),
      cmocka_unit_test(many_threads),     cmocka_unit_test(a_bad_piece),
  };
  return cmocka_run_group_tests(tests, NULL, NULL) || mxs_alloc_outstanding() != 0;
}
