// Threads for one piece of work: all of it is done, whatever the system refuses.
#include "quern/Support/Threads.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <fstream>
#include <stdexcept>
#include <sys/resource.h>
#include <vector>

#ifndef __has_feature
#define __has_feature(name) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define QUERN_SANITIZED 1
#endif

using namespace quern;

/// How often each of `count` numbers is called.
static bool callsEachOnce(unsigned count) {
  std::vector<std::atomic<int>> calls(count);
  runOnThreads(count, [&](unsigned i) { ++calls[i]; });
  return std::ranges::all_of(calls, [](const std::atomic<int> &n) { return n == 1; });
}

TEST(Threads, CallEachNumberOnce) {
  EXPECT_TRUE(callsEachOnce(1));
  EXPECT_TRUE(callsEachOnce(7));
}

TEST(Threads, ThrowWhatAThreadEndedWithAfterAllHaveEnded) {
  for (unsigned culprit : {0u, 3u}) {
    std::atomic<int> others = 0;
    auto work = [&](unsigned i) {
      if (i == culprit)
        throw std::runtime_error("no luck");
      ++others;
    };
    EXPECT_THROW(runOnThreads(5, work), std::runtime_error);
    EXPECT_EQ(others, 4);
  }
}

/// Address space for a few stacks more than the program has now.
static void limitMemory() {
  size_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  rlimit limit{pages * 4096 + (64u << 20), RLIM_INFINITY};
  ASSERT_EQ(setrlimit(RLIMIT_AS, &limit), 0);
}

TEST(Threads, DoWithThoseThatTheSystemStarts) {
#ifdef QUERN_SANITIZED
  GTEST_SKIP() << "sanitizers need the address space";
#endif
  EXPECT_EXIT((limitMemory(), std::exit(callsEachOnce(1000) ? 0 : 1)), testing::ExitedWithCode(0), "");
}
