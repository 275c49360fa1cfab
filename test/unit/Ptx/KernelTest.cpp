// Whole kernels as LLVM's NVPTX back end writes them.
#include "test/unit/Ptx/RunPtx.h"

#include <set>

namespace quern::ptx {
namespace {

TEST(PtxKernels, SumsABlock) {
  // Sums 256 numbers: shuffles within warps, then shared memory; four blocks in a grid.
  std::string body = R"(
    mov.u32 %r1, %tid.x; mov.u32 %r2, %ctaid.x; mov.u32 %r3, %ntid.x; mad.lo.s32 %r4, %r2, %r3, %r1;
    mul.wide.u32 %rd4, %r4, 4; add.s64 %rd5, %rd1, %rd4; ld.global.nc.b32 %r5, [%rd5];
    shfl.sync.bfly.b32 %r6, %r5, 16, 31, -1; add.rn.f32 %r5, %r5, %r6;
    shfl.sync.bfly.b32 %r6, %r5, 8, 31, -1; add.rn.f32 %r5, %r5, %r6;
    shfl.sync.bfly.b32 %r6, %r5, 4, 31, -1; add.rn.f32 %r5, %r5, %r6;
    shfl.sync.bfly.b32 %r6, %r5, 2, 31, -1; add.rn.f32 %r5, %r5, %r6;
    shfl.sync.bfly.b32 %r6, %r5, 1, 31, -1; add.rn.f32 %r5, %r5, %r6;
    and.b32 %r7, %r1, 31; setp.ne.b32 %p1, %r7, 0; @%p1 bra $L__BB0_2;
    shr.u32 %r8, %r1, 3; and.b32 %r8, %r8, 28; cvt.u64.u32 %rd6, %r8; mov.b64 %rd7, part; add.s64 %rd8, %rd7, %rd6;
    st.shared.b32 [%rd8], %r5;
$L__BB0_2:
    bar.sync 0;
    setp.ne.b32 %p2, %r1, 0; @%p2 bra $L__BB0_4;
    mov.b32 %r10, 0f00000000; mov.b64 %rd9, part; mov.b32 %r12, 0;
$L__BB0_3:
    ld.shared.b32 %r11, [%rd9]; add.rn.f32 %r10, %r10, %r11; add.s64 %rd9, %rd9, 4; add.s32 %r12, %r12, 1;
    setp.ne.s32 %p3, %r12, 8; @%p3 bra $L__BB0_3;
    mul.wide.u32 %rd10, %r2, 4; add.s64 %rd11, %rd2, %rd10; st.global.b32 [%rd11], %r10;
$L__BB0_4:)";
  std::string text = kernelText(body, 2, ".shared .align 4 .b8 part[32];\n");
  for (uint32_t seed = 0; seed < 4; ++seed) {
    GlobalMemory memory;
    std::vector<float> numbers(1024), sums(4);
    for (size_t i = 0; i < numbers.size(); ++i)
      numbers[i] = float(i % 97) - 40;
    uint64_t out = upload(memory, sums);
    Status status = tryRun(text, memory, {upload(memory, numbers), out}, {{4, 1, 1}, {256, 1, 1}}, {seed});
    ASSERT_TRUE(status) << status.error().message;
    download(memory, out, sums);
    for (size_t block = 0; block < 4; ++block) {
      float expected = 0; // integers: exact in any order
      for (size_t i = 0; i < 256; ++i)
        expected += numbers[256 * block + i];
      EXPECT_EQ(sums[block], expected);
    }
  }
}

TEST(PtxKernels, BlocksRunOnceInAnOrderOfTheSeed) {
  // Each block adds one to its own number, and writes its index over that of the block before.
  std::string body = "mov.u32 %r1, %ctaid.x; mov.u32 %r2, %ctaid.y; mov.u32 %r3, %ctaid.z;\n"
                     "mad.lo.u32 %r4, %r3, 3, %r2; mad.lo.u32 %r5, %r4, 5, %r1; mul.wide.u32 %rd4, %r5, 4;\n"
                     "add.u64 %rd5, %rd1, %rd4; ld.global.b32 %r6, [%rd5]; add.u32 %r6, %r6, 1;\n"
                     "st.global.b32 [%rd5], %r6; st.global.b32 [%rd1+120], %r5;";
  std::set<uint32_t> lastOnes;
  for (uint32_t seed = 0; seed < 8; ++seed) {
    GlobalMemory memory;
    std::vector<uint32_t> values(31);
    uint64_t out = upload(memory, values);
    Status status = tryRun(kernelText(body), memory, {out}, {{5, 3, 2}, {1, 1, 1}}, {seed});
    ASSERT_TRUE(status) << status.error().message;
    download(memory, out, values);
    for (size_t i = 0; i < 30; ++i)
      EXPECT_EQ(values[i], 1u) << "block " << i << " seed " << seed;
    if (seed == 0) {
      EXPECT_EQ(values[30], 29u);
    }
    lastOnes.insert(values[30]);
  }
  EXPECT_GT(lastOnes.size(), 3u);
}

TEST(PtxKernels, NamesOfDynamicSharedMemoryShareIt) {
  std::string text = ".version 8.0\n.target sm_80\n.address_size 64\n.extern .shared .align 4 .b8 some[];\n"
                     ".extern .shared .align 16 .b8 all[];\n.visible .entry k(.param .u64 p0)\n"
                     "{ .reg .b64 %rd<4>; .reg .b32 %r<3>; .shared .align 4 .b8 own[12];\n"
                     "ld.param.b64 %rd1, [p0]; mov.b64 %rd2, all; mov.b64 %rd3, some; mov.b32 %r1, 9;\n"
                     "st.shared.b32 [%rd2+28], %r1; ld.shared.b32 %r2, [%rd3+28]; st.global.b32 [%rd1], %r2; ret; }";
  auto module = loadModule(text);
  ASSERT_TRUE(module) << module.error().message;
  EXPECT_EQ(module->kernels.front().declaredSharedBytes, 12u);
  GlobalMemory memory;
  std::vector<uint32_t> values(1);
  uint64_t out = upload(memory, values);
  Status status = tryRun(text, memory, {out}, {{1, 1, 1}, {1, 1, 1}, 32});
  ASSERT_TRUE(status) << status.error().message;
  download(memory, out, values);
  EXPECT_EQ(values[0], 9u);
}

TEST(PtxKernels, DynamicSharedMemory) {
  std::string text = ".version 8.0\n.target sm_80\n.address_size 64\n.extern .shared .align 16 .b8 all[];\n"
                     ".visible .entry k(.param .u64 p0)\n{ .reg .b64 %rd<4>; .reg .b32 %r<3>;\n"
                     "ld.param.b64 %rd1, [p0]; mov.b64 %rd2, all; mov.b32 %r1, 9; st.shared.b32 [%rd2+60], %r1;\n"
                     "ld.shared.b32 %r2, [%rd2+60]; st.global.b32 [%rd1], %r2; ret; }";
  GlobalMemory memory;
  std::vector<uint32_t> values(1);
  uint64_t out = upload(memory, values);
  LaunchShape shape;
  shape.dynamicSharedBytes = 64;
  Status status = tryRun(text, memory, {out}, shape);
  ASSERT_TRUE(status) << status.error().message;
  download(memory, out, values);
  EXPECT_EQ(values[0], 9u);
  shape.dynamicSharedBytes = 60;
  status = tryRun(text, memory, {out}, shape);
  ASSERT_FALSE(status);
  EXPECT_THAT(status.error().message, testing::HasSubstr("all at 16 of 60 bytes"));
}

} // namespace
} // namespace quern::ptx
