/* | symbol | meaning                                                        |
 * |--------|----------------------------------------------------------------|
 * | b, t   | block and row of measurement i = b block_rows + t              |
 * | D      | signs of the block, as bits                                    |
 * | L      | order of the transform H, a power of two, at least n1 n2       |
 * | pi     | permutation of 0 .. L - 1 of the block: row t of it is H[pi(t)] |
 *
 *      w_t = (H D x)[pi(t)] - y_t,      g += D H u  with  u[pi(t)] = weight_t w_t, else 0 */
#include "op/fast.h"

#include "base/clock.h"
#include "base/random.h"
#include "base/simd.h"
#include "base/stream.h"
#include "op/signs.h"

#include <stdio.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

enum { WORD = 64, WORDS_OF_ROUND = 4 };

typedef uint64_t words_lanes __attribute__((vector_size(64)));

/* What one thread needs. */
typedef struct space {
  double *buffer;  /* L numbers */
  uint64_t *signs; /* of a block */
  int64_t *rows;   /* pi(t) of the rows in use */
  double generate_s;
} space;

typedef struct fast {
  int64_t entries, order, block_rows;
  int64_t words; /* of signs: whole steps of the stream */
  uint64_t seed;
  int threads;
  space *spaces;
} fast;

int64_t mxsi_fast_order(int64_t entries) {
  int64_t order = 1;
  while (order < entries)
    order *= 2;
  return order;
}

static int log2_of(int64_t order) {
  int p = 0;
  while (INT64_C(1) << p < order)
    p++;
  return p;
}

MXS_SIMD
static void permute(
    const uint64_t *mul, const uint64_t *add, int p, int64_t first, int64_t count, int64_t *rows) {
  const int shift = (p + 1) / 2;
  const uint64_t mask = (UINT64_C(1) << p) - 1;
  for (int64_t i = 0; i < count; i++) {
    uint64_t x = (uint64_t)(first + i);
    for (int r = 0; r < MXSI_FAST_ROUNDS; r++) {
      x ^= x >> shift;
      x = (x * mul[r] + add[r]) & mask;
    }
    rows[i] = (int64_t)x;
  }
}

void mxsi_fast_permute(
    uint64_t seed, int64_t order, int64_t block, int64_t first, int64_t count, int64_t *rows) {
  uint32_t words[MXSI_FAST_ROUNDS * WORDS_OF_ROUND];
  uint64_t mul[MXSI_FAST_ROUNDS], add[MXSI_FAST_ROUNDS];
  mxs_random_words(seed, MXS_STREAM_FAST_ROWS, block, 0, MXSI_FAST_ROUNDS, words);
  for (int64_t r = 0; r < MXSI_FAST_ROUNDS; r++) {
    const uint32_t *w = words + r * WORDS_OF_ROUND;
    mul[r] = (w[0] | (uint64_t)w[1] << 32) | 1;
    add[r] = w[2] | (uint64_t)w[3] << 32;
  }
  permute(mul, add, log2_of(order), first, count, rows);
}

/* Signs of block `block`; words past the last entry are made too, and not used. */
static void make_signs(const fast *f, int64_t block, uint64_t *signs) {
  mxs_stream_rows(f->seed, MXS_STREAM_FAST_SIGNS, block, 1, 0, f->words, signs, f->words);
}

INLINE mxs_lanes load(const double *p) {
  mxs_lanes v;
  memcpy(&v, p, sizeof v);
  return v;
}

INLINE void store(double *p, mxs_lanes v) {
  memcpy(p, &v, sizeof v);
}

/* v_l with its sign changed where bit 8 part + l of the word is set. */
INLINE mxs_lanes change_signs(mxs_lanes v, uint64_t word, int part) {
  const words_lanes place = {0, 1, 2, 3, 4, 5, 6, 7};
  const words_lanes bits = ((words_lanes){0} + (word >> (MXS_LANES * part))) >> place;
  return (mxs_lanes)((words_lanes)v ^ (bits << (WORD - 1)));
}

static double change_sign(double v, const uint64_t *signs, int64_t j) {
  return (signs[j / WORD] >> (j % WORD)) & 1 ? -v : v;
}

/* buffer = D x, then zeros. */
MXS_SIMD
static void spread(const fast *f, const uint64_t *signs, const double *x, double *buffer) {
  const int64_t whole = f->entries / WORD;
  for (int64_t w = 0; w < whole; w++)
    for (int part = 0; part < WORD / MXS_LANES; part++) {
      const int64_t j = w * WORD + (int64_t)part * MXS_LANES;
      store(buffer + j, change_signs(load(x + j), signs[w], part));
    }
  for (int64_t j = whole * WORD; j < f->entries; j++)
    buffer[j] = change_sign(x[j], signs, j);
  memset(buffer + f->entries, 0, (size_t)(f->order - f->entries) * sizeof *buffer);
}

/* g += D buffer. */
MXS_SIMD
static void add_signed(const fast *f, const uint64_t *signs, const double *buffer, double *g) {
  const int64_t whole = f->entries / WORD;
  for (int64_t w = 0; w < whole; w++)
    for (int part = 0; part < WORD / MXS_LANES; part++) {
      const int64_t j = w * WORD + (int64_t)part * MXS_LANES;
      store(g + j, load(g + j) + change_signs(load(buffer + j), signs[w], part));
    }
  for (int64_t j = whole * WORD; j < f->entries; j++)
    g[j] += change_sign(buffer[j], signs, j);
}

enum {
  RADIX = 8,
  NEAR = 1 << 12,       /* numbers that fit the first cache */
  FAR = 1 << 15,        /* and the second */
  LEAST = 8 * MXS_LANES /* smaller transforms go number by number */
};

/* `radix` values h apart become their transform, largest distance first. */
INLINE void butterfly(int radix, mxs_lanes v[RADIX]) {
  for (int half = radix / 2; half > 0; half /= 2)
    for (int k = 0; k < radix; k++)
      if ((k & half) == 0) {
        const mxs_lanes a = v[k];
        const mxs_lanes b = v[k + half];
        v[k] = a + b;
        v[k + half] = a - b;
      }
}

/* One pass over n numbers: transforms of order `radix` at distance h, h >= MXS_LANES. */
INLINE void pass(int radix, double *x, int64_t n, int64_t h) {
  for (int64_t base = 0; base < n; base += radix * h)
    for (int64_t j = base; j < base + h; j += MXS_LANES) {
      mxs_lanes v[RADIX];
      for (int k = 0; k < radix; k++)
        v[k] = load(x + j + k * h);
      butterfly(radix, v);
      for (int k = 0; k < radix; k++)
        store(x + j + k * h, v[k]);
    }
}

/* The three distances inside a vector: 4, 2 and 1. */
INLINE mxs_lanes inside(mxs_lanes v) {
  const mxs_lanes four = {1, 1, 1, 1, -1, -1, -1, -1};
  const mxs_lanes two = {1, 1, -1, -1, 1, 1, -1, -1};
  const mxs_lanes one = {1, -1, 1, -1, 1, -1, 1, -1};
  v = (mxs_lanes){v[4], v[5], v[6], v[7], v[0], v[1], v[2], v[3]} + v * four;
  v = (mxs_lanes){v[2], v[3], v[0], v[1], v[6], v[7], v[4], v[5]} + v * two;
  return (mxs_lanes){v[1], v[0], v[3], v[2], v[5], v[4], v[7], v[6]} + v * one;
}

/* The last pass: distances 32 to 1. */
INLINE void last_pass(double *x, int64_t n) {
  for (int64_t j = 0; j < n; j += LEAST) {
    mxs_lanes v[RADIX];
    for (int k = 0; k < RADIX; k++)
      v[k] = load(x + j + (int64_t)k * MXS_LANES);
    butterfly(RADIX, v);
    for (int k = 0; k < RADIX; k++)
      store(x + j + (int64_t)k * MXS_LANES, inside(v[k]));
  }
}

/* Passes of radix 8 over n numbers, transforms of order `order`, a power of 8, while that is more
 * than `enough`; returns what is left of the order. */
INLINE int64_t passes(double *x, int64_t n, int64_t order, int64_t enough) {
  for (; order > enough; order /= RADIX)
    pass(RADIX, x, n, order / RADIX);
  return order;
}

/* A part of the numbers that fits a cache is finished before the next is begun. */
MXS_SIMD
static void transform(double *x, int64_t n) {
  const int left = log2_of(n) % 3;
  if (left == 1)
    pass(2, x, n, n / 2);
  else if (left == 2)
    pass(4, x, n, n / 4);
  const int64_t far = passes(x, n, n >> left, FAR);
  for (int64_t i = 0; i < n; i += far) {
    const int64_t near = passes(x + i, far, far, NEAR);
    for (int64_t j = i; j < i + far; j += near) {
      (void)passes(x + j, near, near, LEAST);
      last_pass(x + j, near);
    }
  }
}

void mxsi_fast_transform(double *x, int64_t order) {
  if (order >= LEAST) {
    transform(x, order);
    return;
  }
  for (int64_t h = order / 2; h > 0; h /= 2)
    for (int64_t j = 0; j < order; j++)
      if ((j & h) == 0) {
        const double a = x[j];
        const double b = x[j + h];
        x[j] = a + b;
        x[j + h] = a - b;
      }
}

/* w = (H D x)[rows] - y */
static void forward(const fast *f, const space *s, const mxs_single *part) {
  spread(f, s->signs, part->x, s->buffer);
  mxsi_fast_transform(s->buffer, f->order);
  for (int64_t i = 0; i < part->count; i++)
    part->w[i] = part->y != NULL ? s->buffer[s->rows[i]] - part->y[i] : s->buffer[s->rows[i]];
}

/* g += D H u */
static void adjoint(const fast *f, const space *s, const mxs_single *part) {
  memset(s->buffer, 0, (size_t)f->order * sizeof *s->buffer);
  for (int64_t i = 0; i < part->count; i++)
    s->buffer[s->rows[i]] = part->weight != NULL ? part->weight[i] * part->w[i] : part->w[i];
  mxsi_fast_transform(s->buffer, f->order);
  add_signed(f, s->signs, s->buffer, part->g);
}

/* A range inside one block. */
static void block_pass(const fast *f, space *s, const mxs_pass *part) {
  const int64_t block = part->first / f->block_rows;
  const double begin = mxs_clock();
  make_signs(f, block, s->signs);
  mxsi_fast_permute(f->seed, f->order, block, part->first % f->block_rows, part->count, s->rows);
  s->generate_s += mxs_clock() - begin;
  for (int64_t r = 0; r < part->replicas; r++) {
    const mxs_single single = mxsi_pass_single(part, r);
    if (single.x != NULL)
      forward(f, s, &single);
    if (single.g != NULL)
      adjoint(f, s, &single);
  }
}

static mxs_status fast_pass(void *self, const mxs_pass *pass) {
  const fast *f = self;
  for (int64_t done = 0; done < pass->count;) {
    const int64_t left = f->block_rows - (pass->first + done) % f->block_rows;
    const mxs_pass part = mxsi_pass_part(pass, done, left);
    block_pass(f, &f->spaces[pass->thread], &part);
    done += part.count;
  }
  return MXS_OK;
}

enum { TOGETHER = 64 }; /* rows that are made from the same signs */

/* words_w = D over columns 64 w .. 64 w + 63 of row s of H D: the parity of s AND j is that of the
 * low six bits of both, a pattern of s alone, and that of the others, the same for the word. */
MXS_SIMD
static void row_signs(
    int64_t s, int64_t first, int64_t count, const uint64_t *signs, uint64_t *words) {
  static const uint64_t bit_of_column[] = {
      UINT64_C(0xAAAAAAAAAAAAAAAA), UINT64_C(0xCCCCCCCCCCCCCCCC), UINT64_C(0xF0F0F0F0F0F0F0F0),
      UINT64_C(0xFF00FF00FF00FF00), UINT64_C(0xFFFF0000FFFF0000), UINT64_C(0xFFFFFFFF00000000)};
  uint64_t pattern = 0;
  for (int b = 0; b < 6; b++)
    pattern ^= s >> b & 1 ? bit_of_column[b] : 0;
  for (int64_t w = 0; w < count; w++) {
    const uint64_t common = (uint64_t)(s / WORD) & (uint64_t)(first + w);
    words[w] = signs[w] ^ pattern ^ (0 - (uint64_t)__builtin_parityll(common));
  }
}

/* At most TOGETHER rows of a block, chunk by chunk of its signs. */
static void write_rows(const fast *f, int64_t first, int64_t count, double *rows) {
  const int64_t block = first / f->block_rows;
  int64_t at[TOGETHER];
  mxsi_fast_permute(f->seed, f->order, block, first % f->block_rows, count, at);
  for (int64_t word = 0; word < f->words; word += MXS_STREAM_CHUNK) {
    uint64_t signs[MXS_STREAM_CHUNK], words[MXS_STREAM_CHUNK];
    const int64_t left = f->words - word;
    const int64_t some = left < MXS_STREAM_CHUNK ? left : MXS_STREAM_CHUNK;
    const int64_t columns = f->entries - word * WORD;
    mxs_stream_rows(f->seed, MXS_STREAM_FAST_SIGNS, block, 1, word, some, signs, some);
    for (int64_t i = 0; i < count; i++) {
      row_signs(at[i], word, some, signs, words);
      mxsi_signs_expand(words, columns < some * WORD ? columns : some * WORD,
                        rows + i * f->entries + word * WORD);
    }
  }
}

static mxs_status fast_rows(
    void *self, int64_t first, int64_t count, double *room, const double **rows) {
  const fast *f = self;
  int64_t some = 0;
  for (int64_t done = 0; done < count; done += some) {
    const int64_t block_left = f->block_rows - (first + done) % f->block_rows;
    some = count - done < TOGETHER ? count - done : TOGETHER;
    some = block_left < some ? block_left : some;
    write_rows(f, first + done, some, room + done * f->entries);
  }
  *rows = room;
  return MXS_OK;
}

static mxs_status allocate(const fast *f, space *s) {
  MXS_TRY(mxs_alloc(f->order, sizeof *s->buffer, &s->buffer));
  MXS_TRY(mxs_alloc(f->words, sizeof *s->signs, &s->signs));
  return mxs_alloc(f->block_rows, sizeof *s->rows, &s->rows);
}

static void clear(space *s) {
  mxs_release(&s->buffer);
  mxs_release(&s->signs);
  mxs_release(&s->rows);
}

static mxs_status fast_plan(void *self, int64_t replicas, int threads) {
  fast *f = self;
  space *spaces = NULL;
  (void)replicas; /* they share a buffer, one after another */
  if (threads <= f->threads)
    return MXS_OK;
  MXS_TRY(mxs_alloc(threads, sizeof *spaces, &spaces));
  mxs_status status = MXS_OK;
  for (int t = f->threads; t < threads && status == MXS_OK; t++)
    status = allocate(f, &spaces[t]);
  if (status != MXS_OK) {
    for (int t = f->threads; t < threads; t++)
      clear(&spaces[t]);
    mxs_release(&spaces);
    return status;
  }
  for (int t = 0; t < f->threads; t++)
    spaces[t] = f->spaces[t];
  mxs_release(&f->spaces);
  f->spaces = spaces;
  f->threads = threads;
  return MXS_OK;
}

static void fast_info(const void *self, mxs_op_info *info) {
  const fast *f = self;
  (void)snprintf(info->path, sizeof info->path, "Walsh-Hadamard transform of order 2^%d, f64",
                 log2_of(f->order));
  info->bytes = f->threads * (f->order + f->words + f->block_rows) * (int64_t)sizeof(double);
  for (int t = 0; t < f->threads; t++)
    info->generate_s += f->spaces[t].generate_s;
}

static void fast_destroy(void *self) {
  fast *f = self;
  for (int t = 0; t < f->threads; t++)
    clear(&f->spaces[t]);
  mxs_release(&f->spaces);
  mxs_release(&f);
}

static const mxs_op_table fast_table = {.name = "fast",
                                        .pass = fast_pass,
                                        .plan = fast_plan,
                                        .rows = fast_rows,
                                        .info = fast_info,
                                        .destroy = fast_destroy};

static int64_t words_of(int64_t entries) {
  const int64_t bits = (int64_t)WORD * MXS_STREAM_STEP;
  return (entries + bits - 1) / bits * MXS_STREAM_STEP;
}

mxs_status mxsi_fast_create(
    int64_t entries, uint64_t seed, int64_t block_rows, const mxs_op_table **table, void **self) {
  const int64_t order = mxsi_fast_order(entries);
  fast *f = NULL;
  *self = NULL;
  if (block_rows < 1 || block_rows > order)
    return mxs_fail(MXS_ERR_ARG, "block_rows = %lld is not in 1 .. %lld", (long long)block_rows,
                    (long long)order);
  MXS_TRY(mxs_alloc(1, sizeof *f, &f));
  *f = (fast){.entries = entries,
              .order = order,
              .block_rows = block_rows,
              .words = words_of(entries),
              .seed = seed};
  *table = &fast_table;
  *self = f;
  return MXS_OK;
}

mxs_status mxsi_fast_rows(uint64_t seed,
                          int64_t entries,
                          int64_t block_rows,
                          int64_t first,
                          int64_t count,
                          double *rows) {
  const fast f = {.words = words_of(entries), .seed = seed};
  const int64_t order = mxsi_fast_order(entries);
  uint64_t *signs = NULL;
  MXS_TRY(mxs_alloc(f.words, sizeof *signs, &signs));
  for (int64_t i = 0; i < count; i++) {
    const int64_t block = (first + i) / block_rows;
    int64_t row = 0;
    make_signs(&f, block, signs);
    mxsi_fast_permute(seed, order, block, (first + i) % block_rows, 1, &row);
    for (int64_t j = 0; j < entries; j++) {
      const double h = __builtin_parityll((unsigned long long)(row & j)) ? -1.0 : 1.0;
      rows[i * entries + j] = change_sign(h, signs, j);
    }
  }
  mxs_release(&signs);
  return MXS_OK;
}
