// The order in which the blocks of a grid run, with no list of them.
#ifndef QUERN_TEST_PTX_BLOCK_ORDER_H
#define QUERN_TEST_PTX_BLOCK_ORDER_H

#include <cstdint>
#include <numeric>
#include <random>

namespace quern::ptx {

/// The numbers 0 to count - 1, in an order that the seed says: each is `step`, which has no divisor in common with
/// `count`, after the one before.
class BlockOrder {
public:
  BlockOrder(uint64_t count, uint32_t seed) : count(count) {
    if (seed == 0)
      return;
    std::mt19937_64 random(seed);
    next = random() % count;
    do
      step = 1 + random() % count;
    while (std::gcd(step, count) != 1);
  }

  uint64_t take() {
    uint64_t taken = next;
    next = (next + step) % count; // a grid has fewer than 2^63 blocks
    return taken;
  }

private:
  uint64_t count, next = 0, step = 1;
};

} // namespace quern::ptx

#endif // QUERN_TEST_PTX_BLOCK_ORDER_H
