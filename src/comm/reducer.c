#include "comm/reducer.h"

#include "base/hash.h"
#include "base/place.h"
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
  int64_t *start;   /* of each quantity in a leaf; start[quantities]: length of a leaf */
  int64_t *scales;  /* exponents; NO_SCALE before the first pass */
  int64_t *largest; /* of this rank in this pass */
  int64_t *words; /* reproducible: [hi | lo | bins | status | nonfinite], fast: without lo, bins */
  double *sum;    /* fast: partial sums; the result takes the place of hi */
  double seconds;
};

static int is_exact(const mxs_reducer *r) {
  return r->mode == MXS_REDUCTION_REPRODUCIBLE;
}

static int64_t leaf_length(const mxs_reducer *r) {
  return r->start[r->quantities];
}

static int64_t *bins_of(const mxs_reducer *r, int q) {
  return r->words + 2 * leaf_length(r) + (int64_t)q * BIN_WORDS;
}

/* Words before those of the status. */
static int64_t sums_length(const mxs_reducer *r) {
  return is_exact(r) ? 2 * leaf_length(r) + (int64_t)r->quantities * BIN_WORDS : leaf_length(r);
}

static int64_t words_length(const mxs_reducer *r) {
  return sums_length(r) + MXS_REDUCER_WORDS + r->quantities;
}

static int64_t *status_words(const mxs_reducer *r) {
  return r->words + sums_length(r);
}

static int64_t *nonfinite_words(const mxs_reducer *r) {
  return status_words(r) + MXS_REDUCER_WORDS;
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
  MXS_TRY_GOTO(status, mxs_alloc(quantities + 1, sizeof *r->start, &r->start), cleanup);
  MXS_TRY_GOTO(status, mxs_alloc(quantities, sizeof *r->scales, &r->scales), cleanup);
  MXS_TRY_GOTO(status, mxs_alloc(quantities, sizeof *r->largest, &r->largest), cleanup);
  for (int q = 0; q < quantities; q++) {
    r->start[q + 1] = r->start[q] + lengths[q];
    r->scales[q] = NO_SCALE;
  }
  MXS_TRY_GOTO(status, mxs_alloc(words_length(r), sizeof *r->words, &r->words), cleanup);
  r->sum = (void *)r->words;
  *out = r;
cleanup:
  if (status != MXS_OK)
    mxs_reducer_destroy(&r);
  return status;
}

void mxs_reducer_destroy(mxs_reducer **reducer) {
  if (*reducer == NULL)
    return;
  mxs_release(&(*reducer)->start);
  mxs_release(&(*reducer)->scales);
  mxs_release(&(*reducer)->largest);
  mxs_release(&(*reducer)->words);
  mxs_release(reducer);
}

int64_t *mxs_reducer_scales(mxs_reducer *reducer) {
  return reducer->scales;
}

void mxs_reducer_begin(mxs_reducer *r) {
  memset(r->words, 0, (size_t)words_length(r) * sizeof *r->words);
  for (int q = 0; q < r->quantities; q++)
    r->largest[q] = NO_SCALE;
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

void mxs_reducer_forget(mxs_reducer *r) {
  for (int q = 0; q < r->quantities; q++)
    r->scales[q] = NO_SCALE;
}

static void commit_exactly(mxs_reducer *r, const double *part, int q, int64_t exponent) {
  const int64_t begin = r->start[q];
  const int64_t length = r->start[q + 1] - begin;
  r->largest[q] = exponent > r->largest[q] ? exponent : r->largest[q];
  int64_t bin = BINS - 1;
  if (r->scales[q] != NO_SCALE && exponent - r->scales[q] <= ROOM_BITS) {
    bin = exponent - r->scales[q] + SCALE_BIN;
    bin = bin < 0 ? 0 : bin;
    quantise(part, length, ldexp(1.0, (int)(ENTRY_BITS - r->scales[q])), r->words + begin,
             r->words + leaf_length(r) + begin);
  }
  bins_of(r, q)[bin / BINS_PER_WORD] += INT64_C(1) << (BIN_BITS * (bin % BINS_PER_WORD));
}

void mxs_reducer_commit_one(mxs_reducer *r, int q, const double *part) {
  const int64_t begin = r->start[q];
  const int64_t length = r->start[q + 1] - begin;
  const int64_t bits = mxs_largest_bits(part, length);
  if (bits >= MXS_INFINITE_BITS)
    nonfinite_words(r)[q]++;
  else if (bits != 0 && is_exact(r))
    commit_exactly(r, part, q, exponent_of(bits));
  else if (bits != 0)
    for (int64_t i = 0; i < length; i++)
      r->sum[begin + i] += part[i];
}

void mxs_reducer_commit(mxs_reducer *r, const double *leaf) {
  for (int q = 0; q < r->quantities; q++)
    mxs_reducer_commit_one(r, q, leaf + r->start[q]);
}

void mxs_reducer_count(mxs_reducer *r, int word, int64_t value) {
  status_words(r)[word] += value;
}

/* Highest bin of a quantity in which a block was counted, -1: all blocks were zero. */
static int64_t top_bin(const mxs_reducer *r, int q) {
  const int64_t *bins = bins_of(r, q);
  for (int64_t bin = BINS - 1; bin >= 0; bin--)
    if (((bins[bin / BINS_PER_WORD] >> (BIN_BITS * (bin % BINS_PER_WORD))) & 0xFFFF) != 0)
      return bin;
  return -1;
}

static int fits(const mxs_reducer *r, int q) {
  const int64_t bin = top_bin(r, q);
  return nonfinite_words(r)[q] > 0 || bin < 0 || (bin < BINS - 1 && bin >= SCALE_BIN - SHRINK_BITS);
}

/* Follow the largest exponents; 1 when the pass has to be done again. */
static int update_scales(mxs_reducer *r) {
  int all_fit = 1;
  for (int q = 0; q < r->quantities; q++)
    all_fit = all_fit && fits(r, q);
  if (!all_fit) { /* others keep theirs: no quantity's bits depend on another's */
    MPI_Allreduce(MPI_IN_PLACE, r->largest, r->quantities, MPI_INT64_T, MPI_MAX, r->comm->mpi);
    for (int q = 0; q < r->quantities; q++)
      r->scales[q] = fits(r, q) ? r->scales[q] : r->largest[q];
    return 1;
  }
  for (int q = 0; q < r->quantities; q++)
    if (nonfinite_words(r)[q] == 0 && top_bin(r, q) >= 0)
      r->scales[q] += top_bin(r, q) - SCALE_BIN;
  return 0;
}

static void to_double(mxs_reducer *r, int q) {
  const int64_t total = leaf_length(r);
  const double unit = r->scales[q] == NO_SCALE ? 0.0 : ldexp(1.0, (int)(r->scales[q] - ENTRY_BITS));
  const int64_t mask = (INT64_C(1) << LOW_BITS) - 1;
  for (int64_t i = r->start[q]; i < r->start[q + 1]; i++) {
    const int64_t low = r->words[total + i];
    const int64_t high = r->words[i] + (low >> LOW_BITS);
    const double sum = ((double)high + (double)(low & mask) * 0x1p-40) * unit;
    memcpy(&r->sum[i], &sum, sizeof sum);
  }
}

static void allreduce(mxs_reducer *r, MPI_Datatype type) {
  const int64_t piece = INT64_C(1) << 27;
  const int64_t count = words_length(r);
  const char *before = mxs_place_enter("waits for the sums of the other ranks");
  const double begin = MPI_Wtime();
  for (int64_t done = 0; done < count; done += piece) {
    const int64_t n = count - done < piece ? count - done : piece;
    MPI_Allreduce(MPI_IN_PLACE, r->words + done, (int)n, type, MPI_SUM, r->comm->mpi);
  }
  r->seconds += MPI_Wtime() - begin;
  (void)mxs_place_enter(before);
}

/* The counters, in place, to and from doubles. */
static void counters_to_double(mxs_reducer *r) {
  for (int64_t i = sums_length(r); i < words_length(r); i++) {
    const double value = (double)r->words[i];
    memcpy(&r->words[i], &value, sizeof value);
  }
}

static void counters_from_double(mxs_reducer *r) {
  for (int64_t i = sums_length(r); i < words_length(r); i++) {
    double value = 0.0;
    memcpy(&value, &r->words[i], sizeof value);
    r->words[i] = (int64_t)value;
  }
}

/* The words of all ranks are the same, whatever they add up to. */
static mxs_status compare(mxs_reducer *r, uint64_t state) {
  const double begin = MPI_Wtime();
  const uint64_t digest = mxs_hash64(r->words, (size_t)words_length(r) * sizeof *r->words, state);
  const mxs_status status = mxs_comm_replicated(r->comm, digest);
  r->seconds += MPI_Wtime() - begin;
  return status;
}

mxs_status mxs_reducer_finish(mxs_reducer *r, uint64_t state, mxs_reduced *out) {
  *out = (mxs_reduced){.sum = r->sum, .nonfinite = nonfinite_words(r)};
  if (is_exact(r)) {
    allreduce(r, MPI_INT64_T);
    MXS_TRY(compare(r, state));
    for (int q = 0; q < r->quantities; q++)
      to_double(r, q);
    out->redo = update_scales(r);
  } else {
    counters_to_double(r);
    allreduce(r, MPI_DOUBLE);
    MXS_TRY(compare(r, state));
    counters_from_double(r);
  }
  memcpy(out->words, status_words(r), sizeof out->words);
  return MXS_OK;
}

int64_t mxs_reducer_bytes(const mxs_reducer *r) {
  return words_length(r) * (int64_t)sizeof *r->words;
}

double mxs_reducer_seconds(const mxs_reducer *r) {
  return r->seconds;
}
