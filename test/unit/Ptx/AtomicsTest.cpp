// Atomic accesses, and blocks that read what others wrote: with all that tells them of it, and with parts left out.
#include "test/unit/Ptx/RunPtx.h"

namespace quern::ptx {
namespace {

using testing::HasSubstr;

constexpr uint32_t kBlocks = 7, kSumsAt = 300; ///< words of the buffer: counters 0 and 1, numbers from 2 on

/// Every lane writes a number, and the last block to come adds up its lanes' over all blocks. Parts can be left out.
struct Meeting {
  std::string barrier = "bar.warp.sync -1;", release = "fence.acq_rel.gpu;", acquire = "fence.acq_rel.gpu;";
  std::string barrierBehind = "bar.warp.sync -1;", counter = "atom.global.inc.u32 %r4, [%rd1], 6;";

  std::string text() const {
    return kernelText("mov.u32 %r1, %tid.x; mov.u32 %r2, %ctaid.x; mov.b32 %r4, 6;\n"
                      "mad.lo.u32 %r3, %r2, 32, %r1; mul.wide.u32 %rd2, %r3, 4; add.u64 %rd3, %rd1, %rd2;\n"
                      "st.global.b32 [%rd3+8], %r3;\n" +
                      barrier + "setp.ne.u32 %p1, %r1, 0; @%p1 bra $met;\n" + release + "\n" + counter + "\n" +
                      acquire + "\n$met:\n" + barrierBehind +
                      "shfl.sync.idx.b32 %r5, %r4, 0, 31, -1; setp.ne.u32 %p1, %r5, 6; @%p1 ret;\n"
                      "mul.wide.u32 %rd4, %r1, 4; add.u64 %rd5, %rd1, %rd4; mov.b32 %r6, 0; mov.b32 %r7, 0;\n"
                      "add.u64 %rd6, %rd5, 8;\n"
                      "$next:\nld.global.b32 %r8, [%rd6]; add.u32 %r6, %r6, %r8; add.u64 %rd6, %rd6, 128;\n"
                      "add.u32 %r7, %r7, 1; setp.ne.u32 %p1, %r7, 7; @%p1 bra $next;\n"
                      "st.global.b32 [%rd5+1200], %r6;");
  }
};

Status meet(const Meeting &meeting, uint32_t seed, std::vector<uint32_t> &values) {
  GlobalMemory memory;
  values.assign(kSumsAt + 32, 0);
  uint64_t address = upload(memory, values);
  Status status = tryRun(meeting.text(), memory, {address}, {{kBlocks, 1, 1}, {32, 1, 1}}, {seed});
  download(memory, address, values);
  return status;
}

TEST(PtxAtomics, TheLastBlockReadsWhatAllWrote) {
  for (uint32_t seed = 0; seed < 5; ++seed) {
    std::vector<uint32_t> values;
    Status status = meet({}, seed, values);
    ASSERT_TRUE(status) << status.error().message;
    EXPECT_EQ(values[0], 0u); // the counter is as it was
    for (uint32_t lane = 0; lane < 32; ++lane)
      EXPECT_EQ(values[kSumsAt + lane], 32 * (0 + 1 + 2 + 3 + 4 + 5 + 6) + 7 * lane);
  }
}

TEST(PtxAtomics, AnyPartLeftOutIsFound) {
  constexpr char kFound[] = "of which no fences and atomic accesses in between tell";
  for (std::string Meeting::*part : {&Meeting::barrier, &Meeting::release, &Meeting::acquire, &Meeting::barrierBehind})
    for (uint32_t seed = 0; seed < 5; ++seed) {
      Meeting meeting;
      meeting.*part = "";
      std::vector<uint32_t> values;
      Status status = meet(meeting, seed, values);
      ASSERT_FALSE(status);
      EXPECT_THAT(status.error().message, HasSubstr(kFound));
      meeting.*part = part == &Meeting::release || part == &Meeting::acquire ? "membar.cta;" : "";
      EXPECT_FALSE(meet(meeting, seed, values));
    }
}

TEST(PtxAtomics, OtherCountersTellNothing) {
  // Each block counts for itself, and takes itself for the last.
  Meeting meeting;
  meeting.counter = "mul.wide.u32 %rd7, %r2, 4; add.u64 %rd7, %rd7, %rd1; atom.global.inc.u32 %r4, [%rd7+1192], 6;\n"
                    "mov.b32 %r4, 6;";
  std::vector<uint32_t> values;
  Status status = meet(meeting, 1, values);
  ASSERT_FALSE(status);
  EXPECT_THAT(status.error().message, HasSubstr("wrote in line"));
}

TEST(PtxAtomics, OverwritingIsFoundToo) {
  Meeting meeting; // each block takes itself for the last, and all write the sums; the first one reads zeros
  meeting.counter += " mov.b32 %r4, 6;";
  for (uint32_t seed = 0; seed < 3; ++seed) {
    std::vector<uint32_t> values;
    Status status = meet(meeting, seed, values);
    ASSERT_FALSE(status);
    EXPECT_THAT(status.error().message, HasSubstr("overwrites what thread "));
  }
}

TEST(PtxAtomics, OrdersOfTheAccessItself) {
  Meeting meeting;
  meeting.release = meeting.acquire = "";
  meeting.counter = "atom.acq_rel.gpu.global.inc.u32 %r4, [%rd1], 6;";
  std::vector<uint32_t> values;
  Status status = meet(meeting, 2, values);
  EXPECT_TRUE(status) << status.error().message;
  meeting.counter = "atom.release.gpu.global.inc.u32 %r4, [%rd1], 6;";
  EXPECT_FALSE(meet(meeting, 2, values));
  meeting.counter = "atom.acquire.gpu.global.inc.u32 %r4, [%rd1], 6;";
  EXPECT_FALSE(meet(meeting, 2, values));
}

TEST(PtxAtomics, AddAndInc) {
  auto values = run<uint32_t>("mov.b32 %r1, 40; st.global.b32 [%rd1], %r1;\n"
                              "atom.global.add.u32 %r2, [%rd1], 2; st.global.b32 [%rd1+4], %r2;\n"
                              "atom.global.inc.u32 %r3, [%rd1], 43; atom.global.inc.u32 %r4, [%rd1], 43;\n"
                              "st.global.b32 [%rd1+8], %r3; st.global.b32 [%rd1+12], %r4;\n"
                              "atom.global.add.u64 %rd2, [%rd1+16], -1; st.global.b64 [%rd1+24], %rd2;",
                              8);
  EXPECT_THAT(values, testing::ElementsAre(0u, 40u, 42u, 43u, ~0u, ~0u, 0u, 0u));
}

TEST(PtxAtomics, WhatIsNotKnown) {
  EXPECT_THAT(errorOf("atom.shared.add.u32 %r1, [%rd1], 1;"), HasSubstr("in global memory, for the whole device only"));
  EXPECT_THAT(errorOf("atom.cta.global.add.u32 %r1, [%rd1], 1;"), HasSubstr("for the whole device only"));
  EXPECT_THAT(errorOf("atom.global.xor.b32 %r1, [%rd1], 1;"), HasSubstr("is known as .add and .inc only"));
  EXPECT_THAT(errorOf("atom.global.add.u32 %r1, [%rd1+2], 1;"), HasSubstr("misaligned access"));
  EXPECT_THAT(errorOf("atom.global.add.u32 %r1, [%rd1+1024], 1;"), HasSubstr("out of bounds of global memory"));
}

} // namespace
} // namespace quern::ptx
