#include "base/simd.h"
#include "bench/bench.h"

#include <string.h>
#include <sys/mman.h>

enum { STREAMS = 4, CHAINS = 4, LINE = 64, STEP = CHAINS * LINE };

typedef uint64_t line __attribute__((vector_size(LINE)));

#define INLINE static inline __attribute__((always_inline))

INLINE line load(const char *p) {
  line v;
  memcpy(&v, p, sizeof v);
  return v;
}

/* Sum of the words at data + s stride, s < streams, `bytes` of each. */
INLINE uint64_t sum_streams(const char *data, int64_t bytes, int64_t stride, int streams) {
  line chain[STREAMS * CHAINS] = {{0}};
  for (int64_t at = 0; at + STEP <= bytes; at += STEP)
    for (int s = 0; s < streams; s++)
      for (int c = 0; c < CHAINS; c++)
        chain[s * CHAINS + c] += load(data + s * stride + at + (int64_t)c * LINE);
  line sum = {0};
  for (int c = 0; c < streams * CHAINS; c++)
    sum += chain[c];
  uint64_t total = 0;
  for (int l = 0; l < LINE / 8; l++)
    total += sum[l];
  return total;
}

MXS_SIMD
static uint64_t sum_one(const char *data, int64_t bytes) {
  return sum_streams(data, bytes, 0, 1);
}

MXS_SIMD
static uint64_t sum_four(const char *data, int64_t bytes) {
  return sum_streams(data, bytes / STREAMS, bytes / STREAMS / LINE * LINE, STREAMS);
}

/* The part of an array that thread t reads. */
static uint64_t sum_part(const mxs_bench_array *a, int t) {
  const int64_t part = a->bytes / a->threads / LINE * LINE;
  const char *data = (const char *)a->data + t * part;
  const int64_t bytes = t + 1 < a->threads ? part : a->bytes - t * part;
  return a->streams == STREAMS ? sum_four(data, bytes) : sum_one(data, bytes);
}

mxs_status mxs_bench_read_once(void *array) {
  mxs_bench_array *a = array;
  uint64_t sum = 0;
  if (a->threads == 1) { /* without a pool of threads */
    sum = sum_part(a, 0);
  } else {
#pragma omp parallel for num_threads(a->threads) reduction(+ : sum)
    for (int t = 0; t < a->threads; t++)
      sum += sum_part(a, t);
  }
  a->sum += sum;
  return MXS_OK;
}

mxs_status mxs_bench_read(const mxs_comm *comm,
                          const void *data,
                          int64_t bytes,
                          int threads,
                          double seconds,
                          double *bytes_per_s) {
  mxs_bench_array one = {data, bytes, threads, 1, 0};
  mxs_bench_array four = {data, bytes, threads, STREAMS, 0};
  const mxs_bench_work works[] = {{mxs_bench_read_once, &one}, {mxs_bench_read_once, &four}};
  mxs_bench_time times[2];
  MXS_TRY(mxs_bench_repeat(comm, works, 2, seconds, times));
  const double best = times[0].best_s < times[1].best_s ? times[0].best_s : times[1].best_s;
  *bytes_per_s = best > 0.0 ? (double)bytes / best : 0.0;
  return MXS_OK;
}

mxs_status mxs_bench_read_scratch(
    const mxs_comm *comm, int64_t bytes, int threads, double seconds, double *bytes_per_s) {
  mxs_status status = MXS_OK;
  char *data =
      mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED)
    status = mxs_fail(MXS_ERR_MEMORY, "cannot allocate %.3g GB to read", (double)bytes * 1e-9);
  status = mxs_comm_agree(comm, status);
  if (status == MXS_OK) {
    (void)madvise(data, (size_t)bytes, MADV_HUGEPAGE); /* where there are none, small ones do */
    memset(data, 1, (size_t)bytes); /* pages that were never written would all be the zero page */
    status = mxs_bench_read(comm, data, bytes, threads, seconds, bytes_per_s);
  }
  if (data != MAP_FAILED)
    (void)munmap(data, (size_t)bytes);
  return status;
}
