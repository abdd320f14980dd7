/** @file
 *  Digests of memory (XXH3). Room `base`. */
#ifndef MXS_BASE_HASH_H
#define MXS_BASE_HASH_H

#include "mxsense/base.h"

/** 64-bit digest of bytes, with a seed that tells uses apart. */
uint64_t mxs_hash64(const void *data, size_t bytes, uint64_t seed);

/** 128-bit digest of bytes, as two words (high, low). */
void mxs_hash128(const void *data, size_t bytes, uint64_t out[2]);

/** The 128-bit digest of bytes that come in parts, released with mxs_release(). Local. */
typedef struct mxs_hash_parts mxs_hash_parts;
MXS_CHECKED mxs_status mxs_hash_parts_create(mxs_hash_parts **out);
void mxs_hash_parts_begin(mxs_hash_parts *parts);
void mxs_hash_parts_add(mxs_hash_parts *parts, const void *data, size_t bytes);
void mxs_hash_parts_end(const mxs_hash_parts *parts, uint64_t out[2]);

#endif
