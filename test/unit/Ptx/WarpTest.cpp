// Shuffles, votes and reductions over the lanes of a warp.
#include "test/unit/Ptx/RunPtx.h"

namespace quern::ptx {
namespace {

/// What each of 32 lanes has in %r1 after `body`; %r2 is 100 + its number, %r9 the number.
std::vector<uint32_t> lanes(const std::string &body, uint32_t seed = 0) {
  return run<uint32_t>(
      "mov.u32 %r9, %tid.x; add.u32 %r2, %r9, 100; mul.wide.u32 %rd2, %r9, 4; add.u64 %rd3, %rd1, %rd2;\n" + body +
          "\nst.global.b32 [%rd3], %r1;",
      32, 32, "", seed);
}

template <typename Expected> void expectLanes(const std::string &body, Expected expected) {
  for (uint32_t seed : {0u, 1u, 2u}) {
    auto values = lanes(body, seed);
    for (uint32_t lane = 0; lane < 32; ++lane)
      EXPECT_EQ(values[lane], uint32_t(expected(lane))) << body << " lane " << lane << " seed " << seed;
  }
}

TEST(PtxWarp, Shuffles) {
  expectLanes("shfl.sync.bfly.b32 %r1, %r2, 16, 31, -1;", [](uint32_t lane) { return 100 + (lane ^ 16); });
  expectLanes("shfl.sync.down.b32 %r1, %r2, 3, 31, -1;",
              [](uint32_t lane) { return 100 + (lane < 29 ? lane + 3 : lane); });
  expectLanes("shfl.sync.up.b32 %r1, %r2, 3, 0, -1;", [](uint32_t lane) { return 100 + (lane < 3 ? lane : lane - 3); });
  expectLanes("shfl.sync.idx.b32 %r1, %r2, 5, 31, -1;", [](uint32_t) { return 105; });
  // Segments of eight lanes: bits 8-12 keep the upper bits of the lane's own number.
  expectLanes("shfl.sync.idx.b32 %r1, %r2, 5, 0x181f, -1;", [](uint32_t lane) { return 100 + (lane & 24) + 5; });
  expectLanes("shfl.sync.down.b32 %r1|%p1, %r2, 3, 31, -1; selp.b32 %r1, 1, 0, %p1;",
              [](uint32_t lane) { return lane < 29; });
}

TEST(PtxWarp, Votes) {
  expectLanes("setp.lt.u32 %p1, %r9, 4; vote.sync.ballot.b32 %r1, %p1, -1;", [](uint32_t) { return 15; });
  expectLanes("setp.lt.u32 %p1, %r9, 4; vote.sync.any.pred %p2, %p1, -1; selp.b32 %r1, 1, 0, %p2;",
              [](uint32_t) { return 1; });
  expectLanes("setp.lt.u32 %p1, %r9, 4; vote.sync.all.pred %p2, %p1, -1; selp.b32 %r1, 1, 0, %p2;",
              [](uint32_t) { return 0; });
}

TEST(PtxWarp, Reductions) {
  expectLanes("redux.sync.add.s32 %r1, %r9, -1;", [](uint32_t) { return 31 * 16; });
  expectLanes("sub.s32 %r3, %r9, 5; redux.sync.min.s32 %r1, %r3, -1;", [](uint32_t) { return -5; });
  expectLanes("sub.s32 %r3, %r9, 5; redux.sync.max.u32 %r1, %r3, -1;", [](uint32_t) { return -1; });
}

TEST(PtxWarp, PartsOfAWarpMeet) {
  // Only the lanes below 16 shuffle; those that left do not keep them waiting.
  expectLanes("mov.b32 %r1, 7; setp.ge.u32 %p1, %r9, 16; @%p1 bra $end;\n"
              "shfl.sync.bfly.b32 %r1, %r2, 1, 31, 0xffff;\n$end:",
              [](uint32_t lane) { return lane < 16 ? 100 + (lane ^ 1) : 7; });
  expectLanes("mov.b32 %r1, 7; setp.ge.u32 %p1, %r9, 16; @%p1 bra $end;\nactivemask.b32 %r1;\n$end:",
              [](uint32_t lane) { return lane < 16 ? 0xffff : 7; });
}

TEST(PtxWarp, FaultsOfWarps) {
  using testing::HasSubstr;
  std::string half = "mov.u32 %r9, %tid.x; setp.ge.u32 %p1, %r9, 16;";
  EXPECT_THAT(errorOf(half + "@%p1 bra $end;\nshfl.sync.bfly.b32 %r1, %r9, 1, 31, -1;\n$end:\nbar.sync 0;", 32),
              HasSubstr("divergent barrier: of 32 threads 16 wait at a barrier, 16 for lanes of their warp"));
  EXPECT_THAT(errorOf(half + "@!%p1 shfl.sync.bfly.b32 %r1, %r9, 16, 31, 0xffff;", 32),
              HasSubstr("reads lane 16, which does not take part in the shuffle"));
  EXPECT_THAT(errorOf(half + "@%p1 shfl.sync.bfly.b32 %r1, %r9, 1, 31, 0xffff;", 32),
              HasSubstr("the member mask leaves out the lane itself"));
  EXPECT_THAT(errorOf("mov.u32 %r9, %tid.x; and.b32 %r8, %r9, 1; sub.u32 %r7, -1, %r8;"
                      "shfl.sync.bfly.b32 %r1, %r9, 1, 31, %r7;",
                      32),
              HasSubstr("do not agree about the member mask"));
}

} // namespace
} // namespace quern::ptx
