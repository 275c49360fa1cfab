// All threads run each job, barriers hold, and more threads than processors do not bring it to a halt.
#include "lib/Runtime/ThreadPool.h"

#include <atomic>
#include <chrono>
#include <gtest/gtest.h>
#include <numeric>

using namespace quern::runtime;

namespace {

/// Each thread adds to its own number and then reads all: any that is behind shows a barrier that let it through.
void exercise(int threads, int jobs, int rounds) {
  ThreadPool pool(threads);
  std::vector<int> numbers(size_t(threads), 0);
  std::atomic<int> wrong{0};
  int expected = 0;
  for (int job = 0; job < jobs; ++job) {
    pool.run([&](int thread) {
      for (int round = 1; round <= rounds; ++round) {
        ++numbers[size_t(thread)];
        pool.barrier().arrive();
        for (int number : numbers)
          wrong += number != expected + round;
        pool.barrier().arrive();
      }
    });
    expected += rounds;
  }
  EXPECT_EQ(wrong, 0);
  for (int number : numbers)
    EXPECT_EQ(number, expected);
}

TEST(ThreadPool, OneThread) { exercise(1, 100, 10); }
TEST(ThreadPool, TwoThreads) { exercise(2, 200, 50); }
TEST(ThreadPool, MoreThreadsThanProcessors) { exercise(9, 20, 50); }

TEST(ThreadPool, SleepersWake) {
  ThreadPool pool(3);
  std::atomic<int> calls{0};
  for (int job = 0; job < 5; ++job) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20)); // longer than workers spin
    pool.run([&](int thread) {
      if (thread == 0)
        std::this_thread::sleep_for(std::chrono::milliseconds(20)); // the others sleep at the end
      ++calls;
    });
  }
  EXPECT_EQ(calls, 15);
}

TEST(ThreadPool, StartsAndStops) {
  for (int i = 0; i < 50; ++i)
    ThreadPool pool(4);
}

} // namespace
