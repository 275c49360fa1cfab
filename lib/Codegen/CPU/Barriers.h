// Where threads must meet: each kernel call says which places it reads and writes and how it splits them over threads;
// a barrier is needed exactly where a call touches what another thread may have written, or writes what one may still
// read.
#ifndef QUERN_LIB_CODEGEN_CPU_BARRIERS_H
#define QUERN_LIB_CODEGEN_CPU_BARRIERS_H

#include <cstdint>
#include <string>
#include <vector>

namespace quern::codegen {

/// A place that a call touches: rows of `bytes` at `offset` of the arena of dynamic size `size`, or, with size -1, the
/// cache of layer `offset`.
struct Access {
  int64_t size, offset, bytes;
  std::string split; ///< two calls with the same split and place touch it with the same threads; "" never does

  bool conflicts(const Access &other) const {
    bool meets = size == other.size && offset < other.offset + other.bytes && other.offset < offset + bytes;
    bool together = !split.empty() && split == other.split && offset == other.offset && bytes == other.bytes;
    return meets && !together;
  }
};

class Barriers {
public:
  /// Notes a call; returns true if a barrier must stand before it.
  bool enter(const std::vector<Access> &reads, const std::vector<Access> &writes) {
    auto any = [](const std::vector<Access> &earlier, const std::vector<Access> &now) {
      for (const Access &a : earlier)
        for (const Access &b : now)
          if (a.conflicts(b))
            return true;
      return false;
    };
    bool needed = any(written, reads) || any(written, writes) || any(read, writes);
    if (needed) {
      read.clear();
      written.clear();
    }
    read.insert(read.end(), reads.begin(), reads.end());
    written.insert(written.end(), writes.begin(), writes.end());
    return needed;
  }

private:
  std::vector<Access> read, written; ///< since the last barrier
};

} // namespace quern::codegen

#endif // QUERN_LIB_CODEGEN_CPU_BARRIERS_H
