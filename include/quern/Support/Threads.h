// Short-lived threads for one piece of work.
#ifndef QUERN_SUPPORT_THREADS_H
#define QUERN_SUPPORT_THREADS_H

#include <functional>

namespace quern {

/// More are refused where a user names a number: no machine has use for them.
inline constexpr int kMostWorkers = 1024;

/// Calls `work(i)` once for each i below `threads` (at least one), each on a thread of its own; the calling thread
/// takes 0 and, after that, those for which the system started no thread. Returns when all have ended. An exception
/// that one of them ended with is thrown here.
void runOnThreads(unsigned threads, const std::function<void(unsigned)> &work);

} // namespace quern

#endif // QUERN_SUPPORT_THREADS_H
