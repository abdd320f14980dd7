#define XXH_INLINE_ALL
#include "base/hash.h"

#include <xxhash.h>

struct mxs_hash_parts {
  XXH3_state_t state; /* wants the alignment of mxs_alloc() */
};

uint64_t mxs_hash64(const void *data, size_t bytes, uint64_t seed) {
  return XXH3_64bits_withSeed(data, bytes, seed);
}

static void put(XXH128_hash_t digest, uint64_t out[2]) {
  out[0] = digest.high64;
  out[1] = digest.low64;
}

void mxs_hash128(const void *data, size_t bytes, uint64_t out[2]) {
  put(XXH3_128bits(data, bytes), out);
}

mxs_status mxs_hash_parts_create(mxs_hash_parts **out) {
  return mxs_alloc(1, sizeof **out, out);
}

void mxs_hash_parts_begin(mxs_hash_parts *parts) {
  (void)XXH3_128bits_reset(&parts->state); /* cannot fail: there is a state */
}

void mxs_hash_parts_add(mxs_hash_parts *parts, const void *data, size_t bytes) {
  (void)XXH3_128bits_update(&parts->state, data, bytes); /* cannot fail: there is data */
}

void mxs_hash_parts_end(const mxs_hash_parts *parts, uint64_t out[2]) {
  put(XXH3_128bits_digest(&parts->state), out);
}
