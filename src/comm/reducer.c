#include "comm/reducer.h"

#include "base/simd.h"

#include <math.h>
#include <string.h>

enum {
  ENTRY_BITS = 35,  /* an entry as large as the scale's is 2^35 in units of hi */
  LOW_BITS = 40,    /* hi's unit in units of lo */
  ROOM_BITS = 13,   /* exponents up to this much above the scale fit: |t| < 2^(35 + 14), 2^13 blocks
                       below 2^63 */
  SHRINK_BITS = 22, /* further below the scale than this, the resolution is worse than a double's */
  BINS = 64,        /* exponent counters: bin = exponent - scale + SCALE_BIN, clamped */
  SCALE_BIN = 48,
  BINS_PER_WORD = 4, /* 14 bits hold a count of 2^13 blocks */
  BIN_BITS = 16,
  BIN_WORDS = BINS / BINS_PER_WORD,
  NO_SCALE = INT16_MIN,
  LEAST_EXPONENT = -900
};

struct mxs_reducer {
  const mxs_comm *comm;
  mxs_reduction mode;
  int quantities;
  int64_t start[MXS_REDUCER_QUANTITIES + 1];
  int64_t scales[MXS_REDUCER_QUANTITIES];  /* exponents; NO_SCALE before the first pass */
  int64_t largest[MXS_REDUCER_QUANTITIES]; /* of this rank in this pass */
  double *leaf;
  double *sum;
  int64_t *words; /* reproducible: [hi | lo | bins | status | nonfinite] */
  double seconds;
};

static int64_t words_length(const mxs_reducer *r) {
  const int64_t sums = r->mode == MXS_REDUCTION_REPRODUCIBLE
                           ? 2 * r->start[r->quantities] + (int64_t)r->quantities * BIN_WORDS
                           : 0;
  return sums + MXS_REDUCER_WORDS + 1;
}

static int64_t *status_words(mxs_reducer *r) {
  return r->words + words_length(r) - MXS_REDUCER_WORDS - 1;
}

mxs_status mxs_reducer_create(const mxs_comm *comm,
                              mxs_reduction mode,
                              const int64_t *lengths,
                              int quantities,
                              mxs_reducer **out) {
  *out = NULL;
  mxs_reducer *r = NULL;
  mxs_status status = mxs_alloc(1, sizeof *r, &r);
  if (status != MXS_OK)
    return status;
  r->comm = comm;
  r->mode = mode;
  r->quantities = quantities;
  for (int q = 0; q < quantities; q++) {
    r->start[q + 1] = r->start[q] + lengths[q];
    r->scales[q] = NO_SCALE;
  }
  MXS_TRY_GOTO(status, mxs_alloc(r->start[quantities], sizeof *r->leaf, &r->leaf), cleanup);
  /* Status words follow the sums, so that fast mode sends them as doubles in the same message. */
  MXS_TRY_GOTO(status,
               mxs_alloc(r->start[quantities] + MXS_REDUCER_WORDS + 1, sizeof *r->sum, &r->sum),
               cleanup);
  MXS_TRY_GOTO(status, mxs_alloc(words_length(r), sizeof *r->words, &r->words), cleanup);
  *out = r;
cleanup:
  if (status != MXS_OK)
    mxs_reducer_destroy(&r);
  return status;
}

void mxs_reducer_destroy(mxs_reducer **reducer) {
  if (*reducer == NULL)
    return;
  mxs_release(&(*reducer)->leaf);
  mxs_release(&(*reducer)->sum);
  mxs_release(&(*reducer)->words);
  mxs_release(reducer);
}

int64_t *mxs_reducer_scales(mxs_reducer *reducer) {
  return reducer->scales;
}

void mxs_reducer_begin(mxs_reducer *r) {
  memset(r->words, 0, (size_t)words_length(r) * sizeof *r->words);
  if (r->mode == MXS_REDUCTION_FAST)
    memset(r->sum, 0, (size_t)r->start[r->quantities] * sizeof *r->sum);
  for (int q = 0; q < r->quantities; q++)
    r->largest[q] = NO_SCALE;
}

double *mxs_reducer_leaf(mxs_reducer *r) {
  memset(r->leaf, 0, (size_t)r->start[r->quantities] * sizeof *r->leaf);
  return r->leaf;
}

/* Adding 1.5 2^52 rounds |t| < 2^51 to an integer, which then stands in the low bits. */
#define ROUNDER 0x1.8p52

MXS_SIMD
static void quantise(const double *v, int64_t n, double unit, int64_t *hi, int64_t *lo) {
  const double rounder = ROUNDER;
  int64_t zero = 0;
  memcpy(&zero, &rounder, sizeof zero);
  for (int64_t i = 0; i < n; i++) {
    const double t = v[i] * unit;
    const double rounded = t + rounder;
    const double rest = (t - (rounded - rounder)) * (double)(INT64_C(1) << LOW_BITS) + rounder;
    int64_t high = 0;
    int64_t low = 0;
    memcpy(&high, &rounded, sizeof high);
    memcpy(&low, &rest, sizeof low);
    hi[i] += high - zero;
    lo[i] += low - zero;
  }
}

/* Exponent e with |v| < 2^(e + 1) of the largest entry. */
static int64_t exponent_of(int64_t bits) {
  const int64_t e = (bits >> 52) - 1023;
  return e < LEAST_EXPONENT ? LEAST_EXPONENT : e;
}

void mxs_reducer_guess(mxs_reducer *r, int quantity, double magnitude) {
  if (r->scales[quantity] != NO_SCALE || !isfinite(magnitude) || magnitude <= 0.0)
    return;
  const int64_t exponent = ilogb(magnitude);
  r->scales[quantity] = exponent < LEAST_EXPONENT ? LEAST_EXPONENT : exponent;
}

static void commit_quantity(mxs_reducer *r, int q, int64_t exponent) {
  const int64_t begin = r->start[q];
  const int64_t length = r->start[q + 1] - begin;
  const int64_t total = r->start[r->quantities];
  r->largest[q] = exponent > r->largest[q] ? exponent : r->largest[q];
  int64_t bin = BINS - 1;
  if (r->scales[q] != NO_SCALE && exponent - r->scales[q] <= ROOM_BITS) {
    bin = exponent - r->scales[q] + SCALE_BIN;
    bin = bin < 0 ? 0 : bin;
    quantise(r->leaf + begin, length, ldexp(1.0, (int)(ENTRY_BITS - r->scales[q])),
             r->words + begin, r->words + total + begin);
  }
  int64_t *bins = r->words + 2 * total + (int64_t)q * BIN_WORDS;
  bins[bin / BINS_PER_WORD] += INT64_C(1) << (BIN_BITS * (bin % BINS_PER_WORD));
}

void mxs_reducer_commit(mxs_reducer *r) {
  const int64_t total = r->start[r->quantities];
  int64_t bits[MXS_REDUCER_QUANTITIES];
  for (int q = 0; q < r->quantities; q++) {
    bits[q] = mxs_largest_bits(r->leaf + r->start[q], r->start[q + 1] - r->start[q]);
    if (bits[q] >= MXS_INFINITE_BITS) {
      status_words(r)[MXS_REDUCER_WORDS]++;
      return;
    }
  }
  if (r->mode == MXS_REDUCTION_FAST) {
    for (int64_t i = 0; i < total; i++)
      r->sum[i] += r->leaf[i];
    return;
  }
  for (int q = 0; q < r->quantities; q++)
    if (bits[q] != 0)
      commit_quantity(r, q, exponent_of(bits[q]));
}

void mxs_reducer_count(mxs_reducer *r, int word, int64_t value) {
  status_words(r)[word] += value;
}

/* Highest bin of a quantity in which a block was counted, -1: all blocks were zero. */
static int64_t top_bin(const mxs_reducer *r, int q) {
  const int64_t *bins = r->words + 2 * r->start[r->quantities] + (int64_t)q * BIN_WORDS;
  for (int64_t bin = BINS - 1; bin >= 0; bin--)
    if (((bins[bin / BINS_PER_WORD] >> (BIN_BITS * (bin % BINS_PER_WORD))) & 0xFFFF) != 0)
      return bin;
  return -1;
}

/* Follow the largest exponents; 1 when the pass has to be done again. */
static int update_scales(mxs_reducer *r) {
  int redo = 0;
  for (int q = 0; q < r->quantities; q++) {
    const int64_t bin = top_bin(r, q);
    redo = redo || bin == BINS - 1 || (bin >= 0 && bin < SCALE_BIN - SHRINK_BITS);
  }
  if (redo) {
    MPI_Allreduce(r->largest, r->scales, r->quantities, MPI_INT64_T, MPI_MAX, r->comm->mpi);
    return 1;
  }
  for (int q = 0; q < r->quantities; q++)
    if (top_bin(r, q) >= 0)
      r->scales[q] += top_bin(r, q) - SCALE_BIN;
  return 0;
}

static void to_double(mxs_reducer *r, int q, int64_t scale) {
  const int64_t total = r->start[r->quantities];
  const double unit = scale == NO_SCALE ? 0.0 : ldexp(1.0, (int)(scale - ENTRY_BITS));
  const int64_t mask = (INT64_C(1) << LOW_BITS) - 1;
  for (int64_t i = r->start[q]; i < r->start[q + 1]; i++) {
    const int64_t low = r->words[total + i];
    const int64_t high = r->words[i] + (low >> LOW_BITS);
    r->sum[i] = ((double)high + (double)(low & mask) * 0x1p-40) * unit;
  }
}

static void allreduce(mxs_reducer *r, void *data, int64_t count, MPI_Datatype type, size_t size) {
  const int64_t piece = INT64_C(1) << 27;
  const double begin = MPI_Wtime();
  for (int64_t done = 0; done < count; done += piece) {
    const int64_t n = count - done < piece ? count - done : piece;
    MPI_Allreduce(MPI_IN_PLACE, (char *)data + (size_t)done * size, (int)n, type, MPI_SUM,
                  r->comm->mpi);
  }
  r->seconds += MPI_Wtime() - begin;
}

void mxs_reducer_finish(mxs_reducer *r, mxs_reduced *out) {
  const int64_t total = r->start[r->quantities];
  int64_t *status = status_words(r);
  *out = (mxs_reduced){.sum = r->sum};
  if (r->mode == MXS_REDUCTION_FAST) {
    for (int w = 0; w <= MXS_REDUCER_WORDS; w++)
      r->sum[total + w] = (double)status[w];
    allreduce(r, r->sum, total + MXS_REDUCER_WORDS + 1, MPI_DOUBLE, sizeof *r->sum);
    for (int w = 0; w <= MXS_REDUCER_WORDS; w++)
      status[w] = (int64_t)r->sum[total + w];
  } else {
    int64_t scales[MXS_REDUCER_QUANTITIES];
    memcpy(scales, r->scales, sizeof scales);
    allreduce(r, r->words, words_length(r), MPI_INT64_T, sizeof *r->words);
    out->redo = status[MXS_REDUCER_WORDS] == 0 && update_scales(r);
    for (int q = 0; q < r->quantities; q++)
      to_double(r, q, scales[q]);
  }
  memcpy(out->words, status, sizeof out->words);
  out->nonfinite = status[MXS_REDUCER_WORDS];
}

int64_t mxs_reducer_bytes(const mxs_reducer *r) {
  return r->mode == MXS_REDUCTION_REPRODUCIBLE
             ? words_length(r) * (int64_t)sizeof *r->words
             : (r->start[r->quantities] + MXS_REDUCER_WORDS + 1) * (int64_t)sizeof *r->sum;
}

double mxs_reducer_seconds(const mxs_reducer *r) {
  return r->seconds;
}
