// Times of the kernel calls of profiled steps, collected by the mark function of the kernel ABI.
#ifndef QUERN_LIB_RUNTIME_PROFILE_H
#define QUERN_LIB_RUNTIME_PROFILE_H

#include "quern/Runtime/KernelABI.h"

#include <chrono>
#include <cstdint>
#include <vector>

namespace quern::runtime {

/// Nanoseconds of each kernel call, summed over the steps since `start`. Thread 0 keeps the time: a mark follows a
/// barrier, so what it sees is the slowest thread's end.
class Profile {
public:
  void start() { times.clear(); }
  const std::vector<uint64_t> &nanoseconds() const { return times; }

  /// Sets the call's fields; the clock starts.
  void attach(QuernCall &call) {
    call.mark = &Profile::mark;
    call.markContext = this;
    last = std::chrono::steady_clock::now();
  }

private:
  static constexpr int64_t kMostOps = 1 << 16; ///< what a damaged image calls beyond is left out

  static void mark(const QuernCall *call, int64_t op) {
    if (call->thread != 0 || op < 0 || op >= kMostOps)
      return;
    auto &self = *static_cast<Profile *>(call->markContext);
    auto now = std::chrono::steady_clock::now();
    if (self.times.size() <= size_t(op))
      self.times.resize(size_t(op) + 1);
    self.times[size_t(op)] += uint64_t((now - self.last).count());
    self.last = std::chrono::steady_clock::now();
  }

  std::vector<uint64_t> times;
  std::chrono::steady_clock::time_point last;
};

} // namespace quern::runtime

#endif // QUERN_LIB_RUNTIME_PROFILE_H
