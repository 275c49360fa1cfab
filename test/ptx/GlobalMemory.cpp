#include "test/ptx/GlobalMemory.h"

#include <algorithm>
#include <cstring>
#include <new>

namespace quern::ptx {
namespace {
constexpr size_t kGap = 256;
}

uint64_t GlobalMemory::allocate(size_t bytes) {
  if (bytes == 0 || bytes > SIZE_MAX / 2)
    return 0;
  std::unique_ptr<std::byte[]> storage(new (std::nothrow) std::byte[bytes + 3 * kGap]);
  if (!storage)
    return 0;
  uint64_t begin = (reinterpret_cast<uint64_t>(storage.get()) + 2 * kGap - 1) / kGap * kGap;
  std::memset(reinterpret_cast<void *>(begin), 0xff, bytes);
  auto after = std::find_if(all.begin(), all.end(), [&](const Allocation &other) { return other.begin > begin; });
  all.insert(after, {begin, begin + bytes, std::move(storage)});
  return begin;
}

bool GlobalMemory::release(uint64_t address) {
  auto found = std::find_if(all.begin(), all.end(), [&](const Allocation &one) { return one.begin == address; });
  if (found == all.end())
    return false;
  all.erase(found);
  last = 0;
  return true;
}

std::byte *GlobalMemory::find(uint64_t address, size_t bytes) {
  auto holds = [&](const Allocation &one) {
    return address >= one.begin && address < one.end && bytes <= one.end - address;
  };
  if (last >= all.size() || !holds(all[last])) {
    auto after = std::upper_bound(all.begin(), all.end(), address,
                                  [](uint64_t value, const Allocation &one) { return value < one.begin; });
    if (after == all.begin() || !holds(*std::prev(after)))
      return nullptr;
    last = size_t(std::prev(after) - all.begin());
  }
  return reinterpret_cast<std::byte *>(address);
}

std::byte *GlobalMemory::findToWrite(uint64_t address, size_t bytes) {
  std::byte *found = find(address, bytes);
  if (found)
    all[last].written = true;
  return found;
}

bool GlobalMemory::isWritten(uint64_t address) { return find(address, 1) && all[last].written; }

} // namespace quern::ptx
