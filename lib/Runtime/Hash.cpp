// XXH3, compiled into this one file.
#include "quern/Runtime/Hash.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace quern {

uint64_t hash64(std::span<const uint8_t> bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

Hash128 hash128(std::span<const uint8_t> bytes) {
  XXH128_hash_t hash = XXH3_128bits(bytes.data(), bytes.size());
  return {hash.low64, hash.high64};
}

struct Hasher::State {
  XXH3_state_t xxh;
};

Hasher::Hasher() : state(std::make_unique<State>()) { XXH3_128bits_reset(&state->xxh); }
Hasher::~Hasher() = default;

void Hasher::update(std::span<const uint8_t> bytes) { XXH3_128bits_update(&state->xxh, bytes.data(), bytes.size()); }

Hash128 Hasher::digest() const {
  XXH128_hash_t hash = XXH3_128bits_digest(&state->xxh);
  return {hash.low64, hash.high64};
}

} // namespace quern
