/** @file
 *  Digests of memory (XXH3). Room `base`. */
#ifndef MXS_BASE_HASH_H
#define MXS_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

/** 64-bit digest of bytes, with a seed that tells uses apart. */
uint64_t mxs_hash64(const void *data, size_t bytes, uint64_t seed);

/** 128-bit digest of bytes, as two words (high, low). */
void mxs_hash128(const void *data, size_t bytes, uint64_t out[2]);

#endif
