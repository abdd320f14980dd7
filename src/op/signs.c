#include "op/signs.h"

#include "base/random.h"
#include "base/simd.h"
#include "op/op.h"

#include <math.h>
#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#define HAVE_MASKS 1
#else
#define HAVE_MASKS 0
#endif

#define INLINE static inline __attribute__((always_inline))

enum {
  GROUP = 8,   /* rows that share the loads of x and of G */
  WORD = 64,   /* entries in a word of bits */
  PAIR = 128,  /* entries of one counter of the generator: two words */
  BYTES = 8,   /* bytes in a word of bits */
  CHUNK = 128, /* words of a row made at a time */
  X_BITS = 54, /* |x_j| <= 2^54 */
  FLUSH = 256, /* additions to a lane before it could overflow: 2^8 2^54 < 2^63 */
  R_BITS = 55  /* |r_i| <= 2^55: a strip of 2^6 rows stays below 2^62 */
};

__extension__ typedef __int128 wide;

struct mxs_signs {
  int64_t entries, words; /* words of bits in a row, a multiple of 2 */
  uint64_t seed;
  uint64_t *bits; /* MXS_STRIP rows */
  int64_t *x;     /* padded with zeros to whole words, as G */
  int64_t *G;
  int masks; /* the processor has byte masks of 64-bit additions */
};

/* Kernels take the bits of a group of rows, `words` apart. A lane is emptied into two halves, 32
 * bits each, before it can overflow: sum = 2^32 sum(high) + sum(low). */
static wide total(const int64_t *high, const int64_t *low, int lanes) {
  wide high_sum = 0;
  wide low_sum = 0;
  for (int i = 0; i < lanes; i++) {
    high_sum += high[i];
    low_sum += low[i];
  }
  return high_sum * ((wide)1 << 32) + low_sum;
}

/* Four lanes: what every processor since AVX2 has whole. */
enum { LANES = 4 };
typedef int64_t lanes __attribute__((vector_size(32)));

INLINE lanes load(const int64_t *p) {
  lanes v;
  memcpy(&v, p, sizeof v);
  return v;
}

INLINE lanes all(int64_t v) {
  return (lanes){v, v, v, v};
}

/* All ones in the lanes whose bit of the word is set. */
INLINE lanes chosen(lanes word, lanes place) {
  return (word & place) == place;
}

INLINE lanes place_of(int v) {
  const int64_t first = (int64_t)(UINT64_C(1) << (LANES * v));
  return (lanes){first, 2 * first, 4 * first, (int64_t)(8 * (uint64_t)first)};
}

INLINE void flush(lanes *near, lanes *high, lanes *low) {
  *high += *near >> 32;
  *low += *near & 0xFFFFFFFF;
  *near = all(0);
}

MXS_SIMD
static void forward_portable(const uint64_t *bits, int64_t words, const int64_t *x, wide *sums) {
  lanes near[GROUP];
  lanes high[GROUP];
  lanes low[GROUP];
  lanes place[WORD / LANES];
  for (int v = 0; v < WORD / LANES; v++)
    place[v] = place_of(v);
  for (int i = 0; i < GROUP; i++)
    near[i] = high[i] = low[i] = all(0);
  for (int64_t c = 0; c < words; c++) {
    for (int i = 0; i < GROUP; i++) {
      const lanes word = all((int64_t)bits[i * words + c]);
      lanes sum = near[i];
      for (int v = 0; v < WORD / LANES; v++)
        sum += load(x + c * WORD + (int64_t)v * LANES) & chosen(word, place[v]);
      near[i] = sum;
    }
    if ((c + 1) * (WORD / LANES) % FLUSH == 0)
      for (int i = 0; i < GROUP; i++)
        flush(&near[i], &high[i], &low[i]);
  }
  for (int i = 0; i < GROUP; i++) {
    int64_t halves[2][LANES];
    flush(&near[i], &high[i], &low[i]);
    memcpy(halves[0], &high[i], sizeof halves[0]);
    memcpy(halves[1], &low[i], sizeof halves[1]);
    sums[i] = total(halves[0], halves[1], LANES);
  }
}

MXS_SIMD
static void adjoint_portable(const uint64_t *bits, int64_t words, const int64_t *r, int64_t *G) {
  lanes place[WORD / LANES];
  for (int v = 0; v < WORD / LANES; v++)
    place[v] = place_of(v);
  for (int64_t c = 0; c < words; c++) {
    for (int v = 0; v < WORD / LANES; v++) {
      int64_t *at = G + c * WORD + (int64_t)v * LANES;
      lanes g = load(at);
      for (int i = 0; i < GROUP; i++)
        g += all(r[i]) & chosen(all((int64_t)bits[i * words + c]), place[v]);
      memcpy(at, &g, sizeof g);
    }
  }
}

#if HAVE_MASKS
#define MASKS __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl")))

/* As above, with a byte of bits as the mask of an addition to eight lanes. */
MASKS
static void forward_masks(const uint64_t *bits, int64_t words, const int64_t *x, wide *sums) {
  const __m512i low_half = _mm512_set1_epi64(0xFFFFFFFF);
  const unsigned char *mask[GROUP];
  __m512i near[GROUP];
  __m512i high[GROUP];
  __m512i low[GROUP];
  for (int i = 0; i < GROUP; i++) {
    mask[i] = (const unsigned char *)(bits + i * words);
    near[i] = high[i] = low[i] = _mm512_setzero_si512();
  }
  for (int64_t start = 0; start < words * BYTES; start += FLUSH) {
    const int64_t end = start + FLUSH < words * BYTES ? start + FLUSH : words * BYTES;
    for (int64_t v = start; v < end; v++) {
      const __m512i xv = _mm512_load_si512(x + v * MXS_LANES);
      for (int i = 0; i < GROUP; i++)
        near[i] = _mm512_mask_add_epi64(near[i], mask[i][v], near[i], xv);
    }
    for (int i = 0; i < GROUP; i++) {
      high[i] = _mm512_add_epi64(high[i], _mm512_srai_epi64(near[i], 32));
      low[i] = _mm512_add_epi64(low[i], _mm512_and_si512(near[i], low_half));
      near[i] = _mm512_setzero_si512();
    }
  }
  for (int i = 0; i < GROUP; i++) {
    int64_t halves[2][MXS_LANES];
    _mm512_storeu_si512(halves[0], high[i]);
    _mm512_storeu_si512(halves[1], low[i]);
    sums[i] = total(halves[0], halves[1], MXS_LANES);
  }
}

MASKS
static void adjoint_masks(const uint64_t *bits, int64_t words, const int64_t *r, int64_t *G) {
  const unsigned char *mask[GROUP];
  __m512i w[GROUP];
  for (int i = 0; i < GROUP; i++) {
    mask[i] = (const unsigned char *)(bits + i * words);
    w[i] = _mm512_set1_epi64(r[i]);
  }
  for (int64_t v = 0; v < words * BYTES; v++) {
    __m512i g = _mm512_load_si512(G + v * MXS_LANES);
    __m512i h = _mm512_setzero_si512(); /* two chains, or the latency of one would show */
    for (int i = 0; i < GROUP; i += 2) {
      g = _mm512_mask_add_epi64(g, mask[i][v], g, w[i]);
      h = _mm512_mask_add_epi64(h, mask[i + 1][v], h, w[i + 1]);
    }
    _mm512_store_si512(G + v * MXS_LANES, _mm512_add_epi64(g, h));
  }
}
#endif

static int has_masks(void) {
#if HAVE_MASKS
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
#else
  return 0;
#endif
}

void mxsi_signs_use_portable(mxs_signs *s) {
  s->masks = 0;
}

static void forward(const mxs_signs *s, const uint64_t *bits, wide *sums) {
#if HAVE_MASKS
  if (s->masks) {
    forward_masks(bits, s->words, s->x, sums);
    return;
  }
#endif
  forward_portable(bits, s->words, s->x, sums);
}

static void adjoint(const mxs_signs *s, const uint64_t *bits, const int64_t *r) {
#if HAVE_MASKS
  if (s->masks) {
    adjoint_masks(bits, s->words, r, s->G);
    return;
  }
#endif
  adjoint_portable(bits, s->words, r, s->G);
}

mxs_status mxsi_signs_create(int64_t entries,
                             mxs_ensemble ensemble,
                             uint64_t seed,
                             const mxs_blocks *stored,
                             mxs_signs **out) {
  *out = NULL;
  if (ensemble != MXS_ENSEMBLE_RADEMACHER || stored != NULL)
    return mxs_fail(MXS_ERR_ARG, "only generated signs");
  mxs_signs *s = NULL;
  MXS_TRY(mxs_alloc(1, sizeof *s, &s));
  s->entries = entries;
  s->words = 2 * ((entries + PAIR - 1) / PAIR);
  s->seed = seed;
  s->masks = has_masks();
  mxs_status status = mxs_alloc(MXS_STRIP * s->words, sizeof *s->bits, &s->bits);
  if (status == MXS_OK)
    status = mxs_alloc(WORD * s->words, sizeof *s->x, &s->x);
  if (status == MXS_OK)
    status = mxs_alloc(WORD * s->words, sizeof *s->G, &s->G);
  if (status != MXS_OK)
    mxsi_signs_destroy(&s);
  *out = s;
  return status;
}

void mxsi_signs_destroy(mxs_signs **signs) {
  if (*signs == NULL)
    return;
  mxs_release(&(*signs)->bits);
  mxs_release(&(*signs)->x);
  mxs_release(&(*signs)->G);
  mxs_release(signs);
}

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

/* g_j += (R - 2 G_j) 2^-shift */
MXS_SIMD
static void add_gradient(const int64_t *G, int64_t n, int64_t R, double unit, double *g) {
  for (int64_t j = 0; j < n; j++)
    g[j] += (double)(R - 2 * G[j]) * unit;
}

/* Bits of a strip; rows up to the end of the last group are made too, and not used. */
static void make_bits(const mxs_signs *s, int64_t first, int64_t count) {
  uint32_t words[2 * CHUNK];
  for (int64_t i = 0; i < (count + GROUP - 1) / GROUP * GROUP; i++) {
    for (int64_t done = 0; done < s->words; done += CHUNK) {
      const int64_t n = s->words - done < CHUNK ? s->words - done : CHUNK;
      mxs_random_words(s->seed, MXS_STREAM_ENSEMBLE, first + i, done / 2, n / 2, words);
      for (int64_t c = 0; c < n; c++)
        s->bits[i * s->words + done + c] = words[2 * c] | (uint64_t)words[2 * c + 1] << 32;
    }
  }
}

/* w_i = <a_i, x> - y_i for the rows of a strip; S = sum_j x_j. */
static void strip_forward(const mxs_signs *s, const mxs_single *strip, wide S, int shift) {
  wide sums[GROUP];
  const double unit = ldexp(1.0, -shift);
  for (int64_t first = 0; first < strip->count; first += GROUP) {
    forward(s, s->bits + first * s->words, sums);
    for (int64_t i = first; i < strip->count && i < first + GROUP; i++) {
      const double z = (double)(S - 2 * sums[i - first]) * unit;
      strip->w[i] = strip->y != NULL ? z - strip->y[i] : z;
    }
  }
}

static void strip_adjoint(const mxs_signs *s, const mxs_single *strip) {
  double weighted[MXS_STRIP] = {0};
  int64_t r[MXS_STRIP] = {0};
  int64_t R = 0;
  int shift = 0;
  for (int64_t i = 0; i < strip->count; i++)
    weighted[i] = strip->weight != NULL ? strip->weight[i] * strip->w[i] : strip->w[i];
  if (!to_fixed(weighted, strip->count, R_BITS, r, &shift)) {
    strip->g[0] = (double)NAN;
    return;
  }
  memset(s->G, 0, (size_t)(WORD * s->words) * sizeof *s->G);
  for (int64_t first = 0; first < strip->count; first += GROUP)
    adjoint(s, s->bits + first * s->words, r + first);
  for (int64_t i = 0; i < strip->count; i++)
    R += r[i];
  add_gradient(s->G, s->entries, R, ldexp(1.0, -shift), strip->g);
}

void mxsi_signs_pass(mxs_signs *s, int64_t first, const mxs_single *pass) {
  wide S = 0;
  int shift = 0;
  if (pass->x != NULL) {
    if (!to_fixed(pass->x, s->entries, X_BITS, s->x, &shift)) {
      for (int64_t i = 0; i < pass->count; i++)
        pass->w[i] = (double)NAN;
      return;
    }
    for (int64_t j = 0; j < s->entries; j++)
      S += s->x[j];
  }
  for (int64_t done = 0; done < pass->count; done += MXS_STRIP) {
    mxs_single strip = *pass;
    strip.count = pass->count - done < MXS_STRIP ? pass->count - done : MXS_STRIP;
    strip.y = pass->y != NULL ? pass->y + done : NULL;
    strip.weight = pass->weight != NULL ? pass->weight + done : NULL;
    strip.w = pass->w + done;
    make_bits(s, first + done, strip.count);
    if (pass->x != NULL)
      strip_forward(s, &strip, S, shift);
    if (pass->g != NULL)
      strip_adjoint(s, &strip);
  }
}
