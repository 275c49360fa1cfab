// The threads that run compiled code together. They start once and meet at barriers that first spin, since generated
// code meets hundreds of times in a step, and then sleep, since there may be fewer processors than threads.
#ifndef QUERN_LIB_RUNTIME_THREADPOOL_H
#define QUERN_LIB_RUNTIME_THREADPOOL_H

#include <atomic>
#include <cstdint>
#include <functional>
#include <thread>
#include <vector>

namespace quern::runtime {

/// How a thread waits before it sleeps.
struct Patience {
  int looks;
  bool yields; ///< to other threads between looks, which may need this very processor; otherwise it pauses
};

/// A counter that threads can wait on.
class Gate {
public:
  uint32_t value() const { return count.load(std::memory_order_acquire); }
  /// Counts on, and lets all who wait go on.
  void advance();
  /// Returns when the value is no longer `old`; sleeps when patience is at its end.
  void waitWhile(uint32_t old, Patience patience);

private:
  std::atomic<uint32_t> count{0};
  std::atomic<uint32_t> sleepers{0};
};

/// Lets `threads` threads go on when all have arrived; can be used again at once.
class Barrier {
public:
  Barrier(uint32_t threads, Patience patience) : threads(threads), patience(patience) {}
  void arrive();

private:
  const uint32_t threads;
  const Patience patience;
  alignas(64) std::atomic<uint32_t> arrived{0};
  alignas(64) Gate gate;
};

class ThreadPool {
public:
  /// Starts `threads` - 1 workers; the caller of `run` is thread 0. Throws std::system_error if the system has no more
  /// threads to give.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool &) = delete;
  ThreadPool &operator=(const ThreadPool &) = delete;

  int threads() const { return count; }
  Barrier &barrier() { return inner; }
  /// Calls `job(thread)` on all threads and returns when all have returned. One caller at a time. `job` may use
  /// `barrier()` and must not throw.
  void run(const std::function<void(int thread)> &job);

private:
  void work(int thread);
  void stop();

  const int count;
  const Patience patience;
  Gate start;    ///< counts the jobs
  Barrier inner; ///< for jobs
  Barrier end;   ///< after each job
  const std::function<void(int)> *job = nullptr; ///< null: stop
  std::vector<std::thread> workers;
};

} // namespace quern::runtime

#endif // QUERN_LIB_RUNTIME_THREADPOOL_H
