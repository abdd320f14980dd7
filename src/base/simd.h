/** @file
 *  Vector types and per-instruction-set clones of hot loops. Room `base`.
 *
 *  A loop marked MXS_SIMD is compiled for AVX-512, AVX2 and the baseline, and picked by the CPU at
 *  load time. The lane structure is written out and contraction is off, so all clones give the same
 *  bits. */
#ifndef MXS_BASE_SIMD_H
#define MXS_BASE_SIMD_H

#include <stdint.h>

#if defined(__SANITIZE_ADDRESS__) || !defined(__x86_64__) || defined(__clang__)
#define MXS_SIMD /* the resolver of a clone runs before the sanitizer's runtime is ready */
#else
#define MXS_SIMD __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#endif

enum { MXS_LANES = 8 };

/** Eight doubles as one value. */
typedef double mxs_lanes __attribute__((vector_size(64)));

/** Lanes of a (0 .. 7) and b (8 .. 15) in the order of eight constants. */
#ifdef __clang__
#define MXS_SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
typedef int64_t mxs_lane_order __attribute__((vector_size(64)));
#define MXS_SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (mxs_lane_order){__VA_ARGS__})
#endif

/** Largest |v_i| as its bit pattern: the order of integers is that of magnitudes, with Inf and NaN
 * on top (MXS_INFINITE_BITS and above). 0 for n = 0. */
int64_t mxs_largest_bits(const double *v, int64_t n);

#define MXS_INFINITE_BITS INT64_C(0x7FF0000000000000)

#endif
