// Kernels with a planted fault: each is caught in every order of threads, and the message says where.
#include "test/unit/Ptx/RunPtx.h"

namespace quern::ptx {
namespace {

using testing::AllOf;
using testing::HasSubstr;

/// Every thread writes its number to shared memory and reads its neighbour's, 64 threads.
std::string exchange(const std::string &barrier) {
  return R"(
    mov.u32 %r1, %tid.x; mov.b64 %rd2, buffer; mul.wide.u32 %rd3, %r1, 4; add.u64 %rd4, %rd2, %rd3;
    st.shared.b32 [%rd4], %r1;
    )" + barrier +
         R"(
    xor.b32 %r2, %r1, 33; mul.wide.u32 %rd5, %r2, 4; add.u64 %rd6, %rd2, %rd5;
    ld.shared.b32 %r3, [%rd6]; add.u64 %rd7, %rd1, %rd3; st.global.b32 [%rd7], %r3;)";
}
constexpr char kBuffer[] = ".shared .align 4 .b8 buffer[256];\n";

TEST(PtxFaults, BarrierOrdersSharedMemory) {
  for (uint32_t seed = 0; seed < 4; ++seed) {
    auto values = run<uint32_t>(exchange("bar.sync 0;"), 64, 64, kBuffer, seed);
    for (uint32_t i = 0; i < 64; ++i)
      EXPECT_EQ(values[i], i ^ 33);
  }
}

TEST(PtxFaults, RemovedBarrierIsARace) {
  for (uint32_t seed = 0; seed < 4; ++seed)
    EXPECT_THAT(errorOf(exchange(""), 64, kBuffer, seed),
                AllOf(HasSubstr("kernel k, line "), HasSubstr("block (0,0,0), thread ("),
                      HasSubstr("race in shared memory: "), HasSubstr("without a barrier in between")));
}

TEST(PtxFaults, RemovedBarrierBeforeOverwritingIsARace) {
  // Thread 63 overwrites what all have read.
  auto overwrite = [](const std::string &barrier) {
    return "mov.u32 %r1, %tid.x; mov.b64 %rd2, buffer; ld.shared.b32 %r2, [%rd2];\n" + barrier +
           "\nsetp.eq.u32 %p1, %r1, 63; @%p1 st.shared.b32 [%rd2], %r1;";
  };
  EXPECT_EQ(errorOf(overwrite("bar.sync 0;"), 64, kBuffer), "no error");
  EXPECT_THAT(
      errorOf(overwrite(""), 64, kBuffer),
      HasSubstr("thread (63,0,0): race in shared memory: writes byte 0 of buffer, which thread 0 read in line 8"));
  for (uint32_t seed = 1; seed < 5; ++seed)
    EXPECT_THAT(errorOf(overwrite(""), 64, kBuffer, seed), HasSubstr("race in shared memory"));
}

TEST(PtxFaults, WarpsAreOrderedByTheirOwnBarrier) {
  auto within = [](const std::string &barrier) {
    return "mov.u32 %r1, %tid.x; mov.b64 %rd2, buffer; mul.wide.u32 %rd3, %r1, 4; add.u64 %rd4, %rd2, %rd3;\n"
           "st.shared.b32 [%rd4], %r1;\n" +
           barrier +
           "\nxor.b32 %r2, %r1, 1; mul.wide.u32 %rd5, %r2, 4; add.u64 %rd6, %rd2, %rd5; ld.shared.b32 %r3, [%rd6];";
  };
  EXPECT_EQ(errorOf(within("bar.warp.sync -1;"), 64, kBuffer), "no error");
  EXPECT_THAT(errorOf(within(""), 64, kBuffer), HasSubstr("race in shared memory"));
}

TEST(PtxFaults, BarrierOfAPartOfAWarp) {
  std::string half = "mov.u32 %r1, %tid.x; setp.ge.u32 %p1, %r1, 16;";
  EXPECT_EQ(errorOf(half + "@%p1 ret;\nbar.warp.sync 0xffff;", 32), "no error");
  EXPECT_THAT(errorOf(half + "@%p1 bra $end;\nbar.warp.sync 0xffff;\n$end:\nbar.sync 0;", 32),
              HasSubstr("the member mask leaves out lane 16, which has not ended"));
}

TEST(PtxFaults, DivergentBarrier) {
  EXPECT_THAT(
      errorOf("mov.u32 %r1, %tid.x; setp.eq.u32 %p1, %r1, 5; @%p1 ret;\nbar.sync 0;", 64),
      HasSubstr("divergent barrier: of 64 threads 63 wait at a barrier, 0 for lanes of their warp, and 1 have ended"));
  EXPECT_THAT(errorOf("mov.u32 %r1, %tid.x; setp.eq.u32 %p1, %r1, 5; @%p1 bra $a;\nbar.sync 0;\nbra $b;\n"
                      "$a:\nbar.sync 0;\n$b:",
                      32),
              HasSubstr("divergent barrier: another lane of the warp waits at line"));
}

/// 32 threads bring 16 bytes each to shared memory and read them back.
std::string asyncCopy(const std::string &wait) {
  return R"(
    mov.u32 %r1, %tid.x; mul.wide.u32 %rd2, %r1, 16; mov.b64 %rd3, tile;
    add.u64 %rd4, %rd3, %rd2; add.u64 %rd5, %rd1, %rd2;
    cp.async.cg.shared.global [%rd4], [%rd5], 16;
    cp.async.commit_group;
    )" + wait +
         R"(
    ld.shared.v4.b32 {%r2, %r3, %r4, %r5}, [%rd4];
    cp.async.wait_all;)";
}
constexpr char kTile[] = ".shared .align 16 .b8 tile[512];\n";

TEST(PtxFaults, RemovedWaitForACopy) {
  EXPECT_EQ(errorOf(asyncCopy("cp.async.wait_group 0;"), 32, kTile), "no error");
  EXPECT_THAT(errorOf(asyncCopy(""), 32, kTile),
              AllOf(HasSubstr("reads shared memory at address "), HasSubstr("has not been waited for")));
  EXPECT_THAT(errorOf(asyncCopy("cp.async.wait_group 1;"), 32, kTile), HasSubstr("has not been waited for"));
  EXPECT_THAT(errorOf("mov.b64 %rd3, tile; cp.async.ca.shared.global [%rd3], [%rd1], 4;", 1, kTile),
              HasSubstr("ends before the cp.async in line 8 has been waited for"));
}

TEST(PtxFaults, CopyFillsUpWithZeros) {
  std::string body = "mov.b64 %rd3, tile; cp.async.cg.shared.global [%rd3+16], [%rd1+16], 16, 0; cp.async.wait_all;\n"
                     "ld.shared.b32 %r1, [%rd3+28]; st.global.b32 [%rd1], %r1;";
  EXPECT_EQ(run<uint32_t>(body, 8, 1, kTile)[0], 0u);
}

TEST(PtxFaults, CopyIgnoresItsSource) {
  auto body = [](const char *predicate) {
    return std::string("mov.b32 %r1, 7; st.global.b32 [%rd1+16], %r1; mov.b64 %rd3, tile; setp.eq.u32 %p1, %r1, ") +
           predicate +
           "; cp.async.cg.shared.global [%rd3], [%rd1+16], 16, %p1; cp.async.wait_all;\n"
           "ld.shared.b32 %r2, [%rd3]; st.global.b32 [%rd1], %r2;";
  };
  EXPECT_EQ(run<uint32_t>(body("7"), 8, 1, kTile)[0], 0u);
  EXPECT_EQ(run<uint32_t>(body("8"), 8, 1, kTile)[0], 7u);
}

TEST(PtxFaults, MisalignedAccess) {
  // The declared alignment of 2 is all that the buffer has.
  EXPECT_THAT(errorOf("mov.b64 %rd3, halves; mov.b32 %r1, 0; st.shared.v4.b32 [%rd3], {%r1, %r1, %r1, %r1};", 1,
                      ".shared .align 2 .b8 halves[64];\n"),
              HasSubstr("misaligned access: 16 bytes at shared address"));
  EXPECT_THAT(errorOf("ld.global.b32 %r1, [%rd1+2];"), HasSubstr("misaligned access: 4 bytes at address 0x"));
  EXPECT_THAT(errorOf("mov.b64 %rd3, tile; cp.async.cg.shared.global [%rd3+8], [%rd1], 16;", 1, kTile),
              HasSubstr("misaligned access: 16 bytes at shared address"));
}

TEST(PtxFaults, OutOfBounds) {
  EXPECT_EQ(errorOf("ld.global.b32 %r1, [%rd1+1020];"), "no error");
  EXPECT_THAT(errorOf("ld.global.b32 %r1, [%rd1+1024];"),
              AllOf(HasSubstr("4 bytes at address 0x"), HasSubstr("out of bounds of global memory")));
  EXPECT_THAT(errorOf("st.global.b32 [%rd1+-4], %r1;"), HasSubstr("out of bounds of global memory"));
  EXPECT_THAT(errorOf("mov.b64 %rd3, tile; ld.shared.b32 %r1, [%rd3+512];", 1, kTile),
              AllOf(HasSubstr("4 bytes at shared address"), HasSubstr("tile at 16 of 512 bytes")));
  EXPECT_THAT(errorOf("ld.param.b64 %rd3, [p0+8];"), HasSubstr("out of bounds of parameters"));
  EXPECT_THAT(errorOf("mov.b64 %rd3, stack; st.local.b32 [%rd3+16], %r1;", 1, ".local .align 8 .b8 stack[16];\n"),
              HasSubstr("out of bounds of local memory"));
}

TEST(PtxFaults, ArraysDoNotAdjoin) {
  // Both 64 bytes, equally aligned: where one ends, the other does not begin.
  std::string shared = ".shared .align 16 .b8 one[64];\n.shared .align 16 .b8 two[64];\n";
  std::string local = ".local .align 16 .b8 one[64];\n.local .align 16 .b8 two[64];\n";
  for (std::string array : {"one", "two"}) {
    std::string base = "mov.b64 %rd3, " + array + ";";
    EXPECT_EQ(errorOf(base + "st.shared.b32 [%rd3+60], %r1;", 1, shared), "no error");
    EXPECT_EQ(errorOf(base + "st.local.b32 [%rd3+60], %r1;", 1, local), "no error");
    for (const char *offset : {"64", "128", "-16"}) {
      EXPECT_THAT(errorOf(base + "st.shared.b32 [%rd3+" + offset + "], %r1;", 1, shared), HasSubstr("out of bounds"));
      EXPECT_THAT(errorOf(base + "st.local.b32 [%rd3+" + offset + "], %r1;", 1, local), HasSubstr("out of bounds"));
    }
  }
}

TEST(PtxFaults, GenericAddresses) {
  std::string body = "mov.b64 %rd3, tile; cvta.shared.u64 %rd4, %rd3; mov.b32 %r1, 42; st.b32 [%rd4+4], %r1;\n"
                     "ld.shared.b32 %r2, [%rd3+4]; cvta.to.shared.u64 %rd5, %rd4; ld.shared.b32 %r3, [%rd5+4];\n"
                     "add.u32 %r4, %r2, %r3; st.b32 [%rd1], %r4;";
  EXPECT_EQ(run<uint32_t>(body, 1, 1, kTile)[0], 84u);
}

TEST(PtxFaults, EndlessLoopAndTrap) {
  EXPECT_THAT(errorOf("$a:\nbra $a;"), HasSubstr("the launch goes on after 1048576 instructions"));
  EXPECT_THAT(errorOf("trap;"), HasSubstr("thread (0,0,0): trap"));
}

TEST(PtxFaults, LaunchShapes) {
  EXPECT_THAT(errorOf("", 1025), HasSubstr("1 to 1024 threads"));
  GlobalMemory memory;
  for (LaunchShape shape : {LaunchShape{{1, 1, 1}, {1, 1, 65}}, LaunchShape{{1, 65536, 1}, {1, 1, 1}},
                            LaunchShape{{1, 1, 65536}, {1, 1, 1}}, LaunchShape{{1u << 31, 1, 1}, {1, 1, 1}}}) {
    auto refused = tryRun(kernelText("", 0), memory, {}, shape);
    ASSERT_FALSE(refused);
    EXPECT_THAT(refused.error().message, HasSubstr("a grid takes at most 2147483647 x 65535 x 65535 blocks"));
  }
  EXPECT_TRUE(tryRun(kernelText("", 0), memory, {}, {{2, 2, 65535}, {1, 1, 64}}));
  auto status = tryRun(kernelText(""), memory, {}, {});
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().message, "kernel k: 0 bytes of parameters are given; it takes 8");
}

TEST(PtxFaults, FreedMemory) {
  GlobalMemory memory;
  uint64_t address = memory.allocate(64);
  EXPECT_EQ(address % 256, 0u);
  EXPECT_TRUE(memory.release(address));
  EXPECT_FALSE(memory.release(address));
  auto status = tryRun(kernelText("st.global.b32 [%rd1], %r1;"), memory, {address}, {});
  ASSERT_FALSE(status);
  EXPECT_THAT(status.error().message, HasSubstr("they lie in no allocation"));
}

/// A launch that may start before the one before it has ended. The first pointer is what that one writes.
class PtxOverlap : public testing::Test {
protected:
  void SetUp() override {
    written = memory.allocate(256);
    constant = memory.allocate(256);
    Status status = tryRun(kernelText("mov.b32 %r1, 7; st.global.b32 [%rd1], %r1;"), memory, {written}, kOne);
    ASSERT_TRUE(status) << status.error().message;
  }
  std::string errorOf(const std::string &body, bool overlaps = true) {
    LaunchOptions options;
    options.overlaps = overlaps;
    Status status = tryRun(kernelText(body, 2, ".shared .align 16 .b8 place[16];\n", "sm_90"), memory,
                           {written, constant}, kOne, options);
    return status ? "no error" : status.error().message;
  }

  static constexpr LaunchShape kOne = {};
  static constexpr char kWait[] = "griddepcontrol.launch_dependents; griddepcontrol.wait;\n";
  GlobalMemory memory;
  uint64_t written = 0, constant = 0;
};

TEST_F(PtxOverlap, WhatIsBehindTheWaitIsFine) {
  std::string access = "ld.global.b32 %r1, [%rd1]; st.global.b32 [%rd1], %r1;";
  EXPECT_EQ(errorOf(kWait + access), "no error");
  EXPECT_EQ(errorOf("ld.global.v4.b32 {%r2, %r3, %r4, %r5}, [%rd2];\n" + (kWait + access)), "no error");
  EXPECT_EQ(errorOf(access, /*overlaps=*/false), "no error");
}

TEST_F(PtxOverlap, AccessesBeforeTheWaitAreFound) {
  std::string loads = "ld.global.b32 %r1, [%rd1+128];\n", stores = "st.global.b32 [%rd2], %r1;\n",
              counts = "atom.global.add.u32 %r1, [%rd2], 1;\n",
              copies = "mov.b32 %r1, place; cp.async.ca.shared.global [%r1], [%rd1], 16; cp.async.wait_all;\n";
  for (const std::string &reads : {loads, copies})
    EXPECT_THAT(errorOf(reads + kWait), HasSubstr("reads what a kernel wrote, before the thread has waited"));
  for (const std::string &writes : {stores, counts})
    EXPECT_THAT(errorOf(writes + kWait), HasSubstr("writes before the thread has waited for the launch before"));
}

TEST_F(PtxOverlap, ThreadsThatDoNotWaitAreFound) {
  EXPECT_THAT(errorOf("ld.global.b32 %r1, [%rd2];"), HasSubstr("ends without having waited for the launch before"));
}

TEST_F(PtxOverlap, OlderTargetsHaveNoSuchInstruction) {
  Status status = tryRun(kernelText(kWait), memory, {written}, kOne);
  ASSERT_FALSE(status);
  EXPECT_THAT(status.error().message, HasSubstr("sm_90"));
}

} // namespace
} // namespace quern::ptx
