#include "ThreadPool.h"

#include "Cpu.h"

#include <climits>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace quern::runtime {
namespace {

// A pause lasts 40 to 140 cycles on the x86-64 processors of the last ten years, so this is 30 to 100 us: longer than
// threads with equal shares of an operator wait for each other, shorter than a scheduler's time slice.
constexpr Patience kAlone{2000, false};
// With more threads than processors: enough for the others to have had their turns, where waking a sleeper costs more.
constexpr Patience kCrowded{20, true};

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

void futex(std::atomic<uint32_t> &word, int operation, uint32_t value) {
  static_assert(sizeof(std::atomic<uint32_t>) == 4);
  syscall(SYS_futex, &word, operation, value, nullptr, nullptr, 0);
}

} // namespace

// A sleeper counts itself before it looks for the last time, and the one who advances looks for sleepers afterwards;
// in the single order of these four accesses one of the two sees the other.
void Gate::advance() {
  count.fetch_add(1, std::memory_order_seq_cst);
  if (sleepers.load(std::memory_order_seq_cst) != 0)
    futex(count, FUTEX_WAKE_PRIVATE, INT_MAX);
}

void Gate::waitWhile(uint32_t old, Patience patience) {
  for (int i = 0; i < patience.looks; ++i) {
    if (value() != old)
      return;
    patience.yields ? std::this_thread::yield() : pause();
  }
  sleepers.fetch_add(1, std::memory_order_seq_cst);
  while (count.load(std::memory_order_seq_cst) == old)
    futex(count, FUTEX_WAIT_PRIVATE, old);
  sleepers.fetch_sub(1, std::memory_order_relaxed);
}

void Barrier::arrive() {
  uint32_t now = gate.value(); // cannot change before this thread has arrived
  if (arrived.fetch_add(1, std::memory_order_acq_rel) + 1 < threads) {
    gate.waitWhile(now, patience);
    return;
  }
  arrived.store(0, std::memory_order_relaxed);
  gate.advance();
}

ThreadPool::ThreadPool(int threads)
    : count(threads), patience(threads <= availableProcessors() ? kAlone : kCrowded),
      inner(uint32_t(threads), patience), end(uint32_t(threads), patience) {
  workers.reserve(size_t(count));
  for (int thread = 1; thread < count; ++thread) {
    try {
      workers.emplace_back([this, thread] { work(thread); });
    } catch (...) {
      stop();
      throw;
    }
  }
}

ThreadPool::~ThreadPool() { stop(); }

void ThreadPool::stop() {
  job = nullptr;
  start.advance();
  for (std::thread &worker : workers)
    worker.join();
}

void ThreadPool::run(const std::function<void(int)> &next) {
  job = &next;
  start.advance();
  next(0);
  end.arrive();
}

void ThreadPool::work(int thread) {
  for (uint32_t jobs = 0;; ++jobs) {
    start.waitWhile(jobs, patience);
    if (!job)
      return;
    (*job)(thread);
    end.arrive();
  }
}

} // namespace quern::runtime
