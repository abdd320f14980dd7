#define XXH_INLINE_ALL
#include "base/hash.h"

#include <xxhash.h>

uint64_t mxs_hash64(const void *data, size_t bytes, uint64_t seed) {
  return XXH3_64bits_withSeed(data, bytes, seed);
}

void mxs_hash128(const void *data, size_t bytes, uint64_t out[2]) {
  const XXH128_hash_t digest = XXH3_128bits(data, bytes);
  out[0] = digest.high64;
  out[1] = digest.low64;
}
