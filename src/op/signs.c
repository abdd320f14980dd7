#include "op/signs.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/simd.h"
#include "base/stream.h"
#include "op/signs_levels.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#if defined(__linux__)
#endif

enum {
  KEEP_BYTES = 1 << 23, /* of arranged entries, for the cache; more is made for each direction */
  WORDS = MXS_OCTET * MXS_STREAM_CHUNK
};

/* What a thread works with. */
typedef struct worker {
  uint64_t *words; /* MXS_OCTET rows of a chunk of the stream */
  void *arranged;  /* a chunk of a strip */
  mxs_wide *sums;  /* MXS_STRIP of each matrix */
  int64_t *r;      /* MXS_STRIP of each matrix */
  mxs_gradient *gradients;
  double generate_s;
} worker;

/* X_r in fixed point: X_r = unit x. */
typedef struct matrix {
  mxs_wide sum; /* of all x_j */
  double unit;  /* NAN: X_r is not finite */
} matrix;

struct mxs_signs {
  int levels;
  int64_t entries;
  int64_t words; /* of a row, a multiple of MXS_STREAM_STEP */
  int64_t tiles; /* with entries; the words may go further */
  int64_t words_of_tile;
  int64_t chunk; /* tiles of a strip that are made at a time */
  uint64_t seed;
  const mxs_signs_kernel *kernel;
  const mxs_blocks *stored; /* NULL: generated */
  uint64_t *rows;           /* of the stored blocks, and an octet that is read and not used */
  int64_t *slot;
  int64_t replicas, threads;
  int64_t *x[MXS_PAIR]; /* fixed point, padded with zeros to whole words */
  char *prepared;
  matrix *matrices;
  worker *workers;
};

static int64_t round_up(int64_t value, int64_t to) {
  return (value + to - 1) / to * to;
}

/* ---------------------------------------------------------------- stored rows */

/* Bits of own block j, none past the last column. */
static void fill_rows(const mxs_signs *s, const mxs_blocks *stored, int64_t j) {
  const int64_t block = stored->own[j];
  uint64_t *rows = s->rows + stored->offset[j] * s->words;
  const int64_t last = s->entries / MXS_TILE;
  mxs_stream_rows(s->seed, MXS_STREAM_ENSEMBLE, mxs_blocks_first(stored, block),
                  mxs_blocks_size(stored, block), 0, s->words, rows, s->words);
  for (int64_t i = 0; i < mxs_blocks_size(stored, block); i++) {
    uint64_t *row = rows + i * s->words;
    for (int64_t w = last; w < s->words; w++)
      row[w] = w == last ? row[w] & ((UINT64_C(1) << (s->entries % MXS_TILE)) - 1) : 0;
  }
}

static mxs_status create_rows(mxs_signs *s, const mxs_blocks *stored, int generate) {
  const int64_t rows = mxs_blocks_own_rows(stored);
  int64_t words = 0;
  s->stored = stored;
  if (__builtin_mul_overflow(rows + MXS_OCTET, s->words, &words))
    return mxs_fail(MXS_ERR_MEMORY, "a shard of %lld measurements of %lld bits does not fit memory",
                    (long long)rows, (long long)s->entries);
  MXS_TRY(mxs_alloc(words, sizeof *s->rows, &s->rows));
  MXS_TRY(mxs_alloc(stored->count, sizeof *s->slot, &s->slot));
  for (int64_t block = 0; block < stored->count; block++)
    s->slot[block] = -1;
  for (int64_t j = 0; j < stored->own_count; j++) {
    s->slot[stored->own[j]] = stored->offset[j];
    if (generate)
      fill_rows(s, stored, j);
  }
  return MXS_OK;
}

int64_t mxsi_signs_slot(const mxs_signs *signs, int64_t block) {
  return signs->slot[block];
}

mxs_status mxsi_signs_put(mxs_signs *signs, int64_t row, int64_t count, const double *values) {
  for (int64_t i = 0; i < count; i++) {
    const double *value = values + i * signs->entries;
    uint64_t *words = signs->rows + (row + i) * signs->words;
    memset(words, 0, (size_t)signs->words * sizeof *words);
    for (int64_t j = 0; j < signs->entries; j++) {
      const long long index = i * signs->entries + j;
      if (value[j] != 1.0 && value[j] != -1.0)
        return mxs_fail(MXS_ERR_DATA, "entry %lld is %.17g, and not 1 or -1", index, value[j]);
      words[j / MXS_TILE] |= (uint64_t)(value[j] < 0.0) << (j % MXS_TILE);
    }
  }
  return MXS_OK;
}

/* NULL: another rank has it. */
static const uint64_t *stored_row(const mxs_signs *s, int64_t i) {
  const int64_t slot = s->slot[i / s->stored->rows];
  return slot < 0 ? NULL : s->rows + (slot + i % s->stored->rows) * s->words;
}

const void *mxsi_signs_stored(const mxs_signs *s, int64_t *bytes) {
  *bytes = s->stored != NULL ? mxs_blocks_own_rows(s->stored) * s->words * 8 : 0;
  return s->stored != NULL ? s->rows : NULL;
}

static uint64_t signs_digest(const void *self, int64_t first, int64_t count) {
  const mxs_signs *signs = self;
  const uint64_t *row = signs->stored == NULL ? NULL : stored_row(signs, first);
  return row == NULL ? 0 : mxs_hash64(row, (size_t)(count * signs->words) * sizeof *row, 0);
}

/* ---------------------------------------------------------------- memory */

void mxsi_signs_use(mxs_signs *signs, const mxs_signs_kernel *kernel) {
  signs->kernel = kernel;
  const int64_t step = MXS_STREAM_CHUNK / signs->words_of_tile;
  const int64_t kept = KEEP_BYTES / kernel->arranged_size / step * step;
  signs->chunk = signs->tiles < kept ? signs->tiles : kept;
}

mxs_status mxsi_signs_create(int64_t entries,
                             mxs_ensemble ensemble,
                             uint64_t seed,
                             const mxs_blocks *stored,
                             mxs_signs **out) {
  *out = NULL;
  const int levels = ensemble == MXS_ENSEMBLE_GAUSSIAN8;
  if (levels && stored != NULL)
    return mxs_fail(MXS_ERR_ARG, "entries of gaussian8 do not fit into bits");
  mxs_signs *s = NULL;
  MXS_TRY(mxs_alloc(1, sizeof *s, &s));
  s->levels = levels;
  s->entries = entries;
  s->seed = seed;
  s->tiles = (entries + MXS_TILE - 1) / MXS_TILE;
  s->words_of_tile = levels ? MXS_TILE / 8 : 1;
  s->words = round_up(s->tiles * s->words_of_tile, MXS_STREAM_STEP);
  mxsi_signs_use(s, mxsi_signs_choose(levels));
  mxs_status status = MXS_OK;
  if (stored != NULL)
    status = create_rows(s, stored, ensemble == MXS_ENSEMBLE_RADEMACHER);
  if (status != MXS_OK)
    mxsi_signs_destroy(&s);
  *out = s;
  return status;
}

static void release_plan(mxs_signs *s) {
  for (int64_t t = 0; t < s->threads && s->workers != NULL; t++) {
    mxs_release(&s->workers[t].words);
    mxs_release(&s->workers[t].arranged);
    mxs_release(&s->workers[t].sums);
    mxs_release(&s->workers[t].r);
    mxs_release(&s->workers[t].gradients);
  }
  for (int p = 0; p < MXS_PAIR; p++)
    mxs_release(&s->x[p]);
  mxs_release(&s->prepared);
  mxs_release(&s->matrices);
  mxs_release(&s->workers);
  s->replicas = s->threads = 0;
}

void mxsi_signs_destroy(mxs_signs **signs) {
  if (*signs == NULL)
    return;
  release_plan(*signs);
  mxs_release(&(*signs)->rows);
  mxs_release(&(*signs)->slot);
  mxs_release(signs);
}

static int64_t padded_chunk(const mxs_signs *s) {
  return round_up(s->chunk * s->words_of_tile, MXS_STREAM_STEP) / s->words_of_tile;
}

static mxs_status allocate(mxs_signs *s) {
  const mxs_signs_kernel *kernel = s->kernel;
  for (int p = 0; p < kernel->together; p++)
    MXS_TRY(mxs_alloc(s->tiles * MXS_TILE, sizeof *s->x[p], &s->x[p]));
  MXS_TRY(mxs_alloc(s->replicas, sizeof *s->matrices, &s->matrices));
  MXS_TRY(mxs_alloc(s->replicas / kernel->together * s->tiles, (size_t)kernel->prepared_size,
                    &s->prepared));
  MXS_TRY(mxs_alloc(s->threads, sizeof *s->workers, &s->workers));
  for (int64_t t = 0; t < s->threads; t++) {
    worker *w = &s->workers[t];
    MXS_TRY(mxs_alloc(WORDS, sizeof *w->words, &w->words));
    MXS_TRY(mxs_alloc(padded_chunk(s), (size_t)kernel->arranged_size, &w->arranged));
    MXS_TRY(mxs_alloc(s->replicas * MXS_STRIP, sizeof *w->sums, &w->sums));
    MXS_TRY(mxs_alloc(s->replicas * MXS_STRIP, sizeof *w->r, &w->r));
    MXS_TRY(mxs_alloc(s->replicas, sizeof *w->gradients, &w->gradients));
  }
  return MXS_OK;
}

static mxs_status signs_plan(void *self, int64_t replicas, int threads) {
  mxs_signs *s = self;
  if (replicas <= s->replicas && threads <= s->threads)
    return MXS_OK;
  const int64_t whole = round_up(replicas, s->kernel->together);
  const int64_t most_replicas = whole > s->replicas ? whole : s->replicas;
  const int64_t most_threads = threads > s->threads ? threads : s->threads;
  release_plan(s);
  s->replicas = most_replicas;
  s->threads = most_threads;
  const mxs_status status = allocate(s);
  if (status != MXS_OK)
    release_plan(s);
  return status;
}

/* ---------------------------------------------------------------- fixed point */

/* Fixed point of n numbers: out_j = v_j 2^shift, cut off, with |out_j| <= 2^bits. Returns 0 when a
 * number is not finite. */
MXS_SIMD
static int to_fixed(const double *v, int64_t n, int bits, int64_t *out, int *shift) {
  const int64_t largest = mxs_largest_bits(v, n);
  if (largest >= MXS_INFINITE_BITS)
    return 0;
  const int64_t exponent = (largest >> 52) - 1022; /* |v_j| < 2^exponent */
  *shift = exponent < -900 ? bits + 900 : bits - (int)exponent;
  const double unit = ldexp(1.0, *shift);
  for (int64_t j = 0; j < n; j++)
    out[j] = (int64_t)(v[j] * unit);
  return 1;
}

/* A matrix that is not finite, or is not there, is zero to the kernels. */
static void fix_matrix(const mxs_signs *s, const double *X, int64_t *x, matrix *out) {
  int shift = 0;
  *out = (matrix){.unit = (double)NAN};
  if (X == NULL || !to_fixed(X, s->entries, MXS_X_BITS, x, &shift)) {
    memset(x, 0, (size_t)s->entries * sizeof *x);
    return;
  }
  out->unit = ldexp(s->levels ? MXS_LEVEL_UNIT : 1.0, -shift);
  for (int64_t j = 0; j < s->entries; j++)
    out->sum += x[j];
}

static char *prepared_at(const mxs_signs *s, int64_t r) {
  return s->prepared + r / s->kernel->together * s->tiles * s->kernel->prepared_size;
}

static mxs_status signs_point(void *self, int64_t replicas, const double *const *x) {
  mxs_signs *s = self;
  for (int64_t r = 0; r < replicas; r += s->kernel->together) {
    for (int p = 0; p < s->kernel->together; p++)
      fix_matrix(s, r + p < replicas ? x[r + p] : NULL, s->x[p], &s->matrices[r + p]);
    s->kernel->prepare((const int64_t *const *)s->x, s->tiles, prepared_at(s, r));
  }
  return MXS_OK;
}

/* ---------------------------------------------------------------- passes */

/* Arrange tiles first .. first + count - 1 of the strip that begins at measurement `strip`. */
static void make_tiles(const mxs_signs *s, worker *w, int64_t strip, const mxs_tiles *tiles) {
  const double start = mxs_clock();
  const int64_t step = MXS_STREAM_CHUNK / s->words_of_tile;
  for (int64_t row = 0; row < tiles->rows; row += MXS_OCTET) {
    for (int64_t done = 0; done < tiles->count; done += step) {
      const int64_t left = tiles->count - done < step ? tiles->count - done : step;
      const int64_t words = round_up(left * s->words_of_tile, MXS_STREAM_STEP);
      const int64_t word = (tiles->first + done) * s->words_of_tile;
      const mxs_tiles part = {.entries = (char *)tiles->entries + done * s->kernel->arranged_size,
                              .first = tiles->first + done,
                              .count = left,
                              .rows = tiles->rows};
      if (s->stored != NULL) {
        s->kernel->arrange(stored_row(s, strip + row) + word, s->words, row, &part);
        continue;
      }
      mxs_stream_rows(s->seed, MXS_STREAM_ENSEMBLE, strip + row, MXS_OCTET, word, words, w->words,
                      words);
      s->kernel->arrange(w->words, words, row, &part);
    }
  }
  if (s->stored == NULL)
    w->generate_s += mxs_clock() - start;
}

/* The tiles from `first` on that are worked on together. */
static mxs_tiles next_tiles(const mxs_signs *s, const worker *w, int64_t first, int64_t rows) {
  return (mxs_tiles){.entries = w->arranged,
                     .first = first,
                     .count = s->tiles - first < s->chunk ? s->tiles - first : s->chunk,
                     .rows = round_up(rows, MXS_OCTET)};
}

/* w_i = <A_i, X> - y_i for the rows of a strip and all matrices. */
static void strip_forward(const mxs_signs *s, worker *w, const mxs_pass *strip) {
  const int64_t together = s->kernel->together;
  memset(w->sums, 0, (size_t)(s->replicas * MXS_STRIP) * sizeof *w->sums);
  for (int64_t first = 0; first < s->tiles; first += s->chunk) {
    const mxs_tiles tiles = next_tiles(s, w, first, strip->count);
    make_tiles(s, w, strip->first, &tiles);
    for (int64_t r = 0; r < strip->replicas; r += together)
      s->kernel->forward(&tiles, prepared_at(s, r), w->sums + r * MXS_STRIP);
  }
  for (int64_t r = 0; r < strip->replicas; r++) {
    const matrix *X = &s->matrices[r];
    for (int64_t i = 0; i < strip->count; i++) {
      const mxs_wide sum = w->sums[r * MXS_STRIP + i];
      const double z = (double)(s->levels ? sum - 128 * X->sum : X->sum - 2 * sum) * X->unit;
      strip->w[r * strip->stride + i] = strip->y != NULL ? z - strip->y[i] : z;
    }
  }
}

/* The weighted residuals of a matrix in fixed point; what is not finite shows in one entry. */
static mxs_gradient begin_gradient(const mxs_signs *s,
                                   const mxs_pass *strip,
                                   int64_t replica,
                                   int64_t *r) {
  const double *w = strip->w + replica * strip->stride;
  double weighted[MXS_STRIP] = {0};
  int64_t sum = 0;
  int shift = 0;
  mxs_gradient to = {.r = r, .g = strip->g[replica]};
  memset(r, 0, MXS_STRIP * sizeof *r);
  for (int64_t i = 0; i < strip->count; i++)
    weighted[i] = strip->weight != NULL ? strip->weight[i] * w[i] : w[i];
  if (!to_fixed(weighted, strip->count, s->levels ? MXS_R_BITS_OF_LEVELS : MXS_R_BITS_OF_SIGNS, r,
                &shift)) {
    to.g[0] = (double)NAN;
    to.g = NULL;
    return to;
  }
  for (int64_t i = 0; i < strip->count; i++)
    sum += r[i];
  to.offset = s->levels ? -128 * sum : sum;
  to.factor = s->levels ? 1 : -2;
  to.unit = ldexp(s->levels ? MXS_LEVEL_UNIT : 1.0, -shift);
  return to;
}

static void strip_adjoint(const mxs_signs *s, worker *w, const mxs_pass *strip) {
  const int64_t together = s->kernel->together;
  const int made = strip->x != NULL && s->chunk == s->tiles;
  for (int64_t r = 0; r < round_up(strip->replicas, together); r++)
    w->gradients[r] = r < strip->replicas ? begin_gradient(s, strip, r, w->r + r * MXS_STRIP)
                                          : (mxs_gradient){.r = w->r + r * MXS_STRIP};
  for (int64_t first = 0; first < s->tiles; first += s->chunk) {
    const mxs_tiles tiles = next_tiles(s, w, first, strip->count);
    if (!made)
      make_tiles(s, w, strip->first, &tiles);
    for (int64_t r = 0; r < strip->replicas; r += together)
      s->kernel->adjoint(&tiles, &w->gradients[r], s->entries);
  }
}

static mxs_status not_ours(int64_t first) {
  return mxs_fail(MXS_ERR_INTERNAL, "measurement %lld is not on this rank", (long long)first);
}

static mxs_status signs_pass(void *self, const mxs_pass *pass) {
  const mxs_signs *s = self;
  worker *w = &s->workers[pass->thread];
  if (s->stored != NULL && stored_row(s, pass->first) == NULL)
    return not_ours(pass->first);
  for (int64_t done = 0; done < pass->count; done += MXS_STRIP) {
    const mxs_pass strip = mxsi_pass_part(pass, done, MXS_STRIP);
    if (strip.x != NULL)
      strip_forward(s, w, &strip);
    if (strip.g != NULL)
      strip_adjoint(s, w, &strip);
  }
  return MXS_OK;
}

static mxs_status signs_rows(
    void *self, int64_t first, int64_t count, double *room, const double **rows) {
  const mxs_signs *s = self;
  const uint64_t *stored = s->stored != NULL ? stored_row(s, first) : NULL;
  *rows = room;
  if (s->stored == NULL)
    mxsi_signs_rows(s->levels, s->seed, s->entries, first, count, room);
  else if (stored == NULL)
    return not_ours(first);
  else
    for (int64_t i = 0; i < count; i++)
      mxsi_signs_expand(stored + i * s->words, s->entries, room + i * s->entries);
  return MXS_OK;
}

static void signs_info(const void *self, mxs_op_info *info) {
  const mxs_signs *s = self;
  const mxs_signs_kernel *kernel = s->kernel;
  (void)snprintf(info->path, sizeof info->path, "exact integers, %s, %s", kernel->name,
                 s->stored != NULL ? "stored bits" : "generated");
  if (s->stored != NULL)
    info->bytes +=
        (mxs_blocks_own_rows(s->stored) + MXS_OCTET) * s->words * 8 + s->stored->count * 8;
  if (s->replicas > 0)
    info->bytes += (s->replicas / kernel->together * kernel->prepared_size +
                    kernel->together * (int64_t)sizeof(int64_t) * MXS_TILE) *
                   s->tiles;
  for (int64_t t = 0; t < s->threads; t++) {
    info->bytes += padded_chunk(s) * kernel->arranged_size + WORDS * INT64_C(8);
    info->generate_s += s->workers[t].generate_s;
  }
}

static void signs_destroy(void *self) {
  mxs_signs *signs = self;
  mxsi_signs_destroy(&signs);
}

const mxs_op_table mxsi_op_signs = {.name = "signs",
                                    .pass = signs_pass,
                                    .plan = signs_plan,
                                    .point = signs_point,
                                    .rows = signs_rows,
                                    .digest = signs_digest,
                                    .info = signs_info,
                                    .destroy = signs_destroy};
