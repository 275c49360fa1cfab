// The hashes of packages: XXH3, 64 and 128 bits, unseeded.
#ifndef QUERN_RUNTIME_HASH_H
#define QUERN_RUNTIME_HASH_H

#include <cstdint>
#include <memory>
#include <span>

namespace quern {

struct Hash128 {
  uint64_t low, high;
  bool operator==(const Hash128 &) const = default;
};

uint64_t hash64(std::span<const uint8_t> bytes);
Hash128 hash128(std::span<const uint8_t> bytes);

/// XXH3-128 of bytes that come in pieces.
class Hasher {
public:
  Hasher();
  ~Hasher();
  void update(std::span<const uint8_t> bytes);
  Hash128 digest() const;

private:
  struct State;
  std::unique_ptr<State> state;
};

} // namespace quern

#endif // QUERN_RUNTIME_HASH_H
