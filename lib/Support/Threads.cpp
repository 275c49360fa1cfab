#include "quern/Support/Threads.h"

#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

using namespace quern;

namespace {
/// Joins what it has started, however the scope ends.
struct Team {
  std::vector<std::thread> threads;
  ~Team() {
    for (std::thread &thread : threads)
      thread.join();
  }
};
} // namespace

void quern::runOnThreads(unsigned threads, const std::function<void(unsigned)> &work) {
  std::exception_ptr problem;
  std::mutex mutex;
  auto call = [&](unsigned number) noexcept {
    try {
      work(number);
    } catch (...) {
      std::lock_guard lock(mutex);
      if (!problem)
        problem = std::current_exception();
    }
  };
  {
    Team team;
    team.threads.reserve(threads);
    unsigned started = 1;
    try {
      for (; started < threads; ++started)
        team.threads.emplace_back(call, started);
    } catch (const std::exception &) { // no thread or no memory: those that run do it all
    }
    call(0);
    for (; started < threads; ++started)
      call(started);
  }
  if (problem)
    std::rethrow_exception(problem);
}
