// Single instructions against values worked out by hand or by the host.
#include "test/unit/Ptx/RunPtx.h"

#include <cmath>

namespace quern::ptx {
namespace {

/// The result in %r1 of instructions that set it.
uint32_t word(const std::string &body) { return run<uint32_t>(body + "\nst.global.b32 [%rd1], %r1;", 1)[0]; }
uint64_t longWord(const std::string &body) { return run<uint64_t>(body + "\nst.global.b64 [%rd1], %rd2;", 1)[0]; }
float number(const std::string &body) { return std::bit_cast<float>(word(body)); }

TEST(PtxArithmetic, Integers) {
  EXPECT_EQ(word("mov.b32 %r2, -3; add.s32 %r1, %r2, 5;"), 2u);
  EXPECT_EQ(word("mov.b32 %r2, 0; sub.s32 %r1, %r2, 1;"), ~0u);
  EXPECT_EQ(word("mov.b32 %r2, 0x80000001; mul.lo.s32 %r1, %r2, 3;"), 0x80000003u);
  EXPECT_EQ(word("mov.b32 %r2, -2; mul.hi.s32 %r1, %r2, 3;"), ~0u);
  EXPECT_EQ(word("mov.b32 %r2, -2; mul.hi.u32 %r1, %r2, 3;"), 2u);
  EXPECT_EQ(longWord("mov.b32 %r2, -2; mul.wide.s32 %rd2, %r2, 3;"), uint64_t(-6));
  EXPECT_EQ(longWord("mov.b32 %r2, -2; mov.b64 %rd3, 10; mad.wide.s32 %rd2, %r2, 3, %rd3;"), 4u);
  EXPECT_EQ(longWord("mov.b64 %rd3, 7; mad.lo.s64 %rd2, %rd3, 34, 2;"), 240u);
  EXPECT_EQ(word("mov.b32 %r2, -7; div.s32 %r1, %r2, 2;"), uint32_t(-3));
  EXPECT_EQ(word("mov.b32 %r2, -7; rem.s32 %r1, %r2, 2;"), uint32_t(-1));
  EXPECT_EQ(word("mov.b32 %r2, -7; max.s32 %r1, %r2, 2;"), 2u);
  EXPECT_EQ(word("mov.b32 %r2, -7; max.u32 %r1, %r2, 2;"), uint32_t(-7));
  EXPECT_EQ(word("mov.b16 %rs1, 0xffff; mul.lo.s16 %rs2, %rs1, %rs1; cvt.u32.u16 %r1, %rs2;"), 1u);
}

TEST(PtxArithmetic, Bits) {
  EXPECT_EQ(word("mov.b32 %r2, 1; shl.b32 %r1, %r2, 32;"), 0u);
  EXPECT_EQ(word("mov.b32 %r2, -8; shr.s32 %r1, %r2, 1;"), uint32_t(-4));
  EXPECT_EQ(word("mov.b32 %r2, -8; shr.s32 %r1, %r2, 40;"), ~0u);
  EXPECT_EQ(word("mov.b32 %r2, -8; shr.u32 %r1, %r2, 28;"), 15u);
  EXPECT_EQ(word("mov.b32 %r2, 0x33221100; mov.b32 %r3, 0x77665544; prmt.b32 %r1, %r2, %r3, 0x7105;"), 0x77110055u);
  EXPECT_EQ(word("mov.b32 %r2, 0x80; mov.b32 %r3, 0; prmt.b32 %r1, %r2, %r3, 0x8888U;"), ~0u);
  EXPECT_EQ(word("mov.b32 %r2, 0xabcd1234; bfe.u32 %r1, %r2, 8, 12;"), 0xd12u);
  EXPECT_EQ(word("mov.b32 %r2, 0x00000f00; bfe.s32 %r1, %r2, 8, 4;"), ~0u);
  EXPECT_EQ(word("mov.b32 %r2, 0x5; mov.b32 %r3, 0xffffffff; bfi.b32 %r1, %r2, %r3, 4, 4;"), 0xffffff5fu);
  EXPECT_EQ(word("mov.b32 %r2, 0x89abcdef; mov.b32 %r3, 0x01234567; shf.l.wrap.b32 %r1, %r2, %r3, 8;"), 0x23456789u);
  EXPECT_EQ(word("mov.b32 %r2, 0x89abcdef; mov.b32 %r3, 0x01234567; shf.r.wrap.b32 %r1, %r2, %r3, 8;"), 0x6789abcdu);
  EXPECT_EQ(word("mov.b32 %r2, 12; mov.b32 %r3, 10; mov.b32 %r4, 6; lop3.b32 %r1, %r2, %r3, %r4, 0x96;"), 12u ^ 10 ^ 6);
  EXPECT_EQ(word("mov.b32 %r2, 0xff; popc.b32 %r1, %r2;"), 8u);
  EXPECT_EQ(word("mov.b32 %r2, 0xff; clz.b32 %r1, %r2;"), 24u);
  EXPECT_EQ(word("mov.b32 %r2, 1; brev.b32 %r1, %r2;"), 0x80000000u);
}

TEST(PtxArithmetic, DotsOfBytes) {
  // (-1, 2, -3, 4) . (5, 6, 7, 8) = 18, and with the first as unsigned 18 + 256 * (5 + 7)
  std::string operands = "mov.b32 %r2, 0x04fd02ff; mov.b32 %r3, 0x08070605; mov.b32 %r4, 100;";
  EXPECT_EQ(word(operands + "dp4a.s32.s32 %r1, %r2, %r3, %r4;"), 118u);
  EXPECT_EQ(word(operands + "dp4a.u32.s32 %r1, %r2, %r3, %r4;"), 118u + 256 * 12);
}

TEST(PtxArithmetic, Floats) {
  EXPECT_EQ(number("mov.b32 %r2, 0f3F800000; mov.b32 %r3, 0f40000000; fma.rn.f32 %r1, %r2, %r3, 0f40400000;"), 5.0f);
  EXPECT_EQ(number("mov.b32 %r2, 0f40400000; div.rn.f32 %r1, %r2, 0f40000000;"), 1.5f);
  EXPECT_EQ(number("mov.b32 %r2, 0f3F800000; ex2.approx.f32 %r1, %r2;"), 2.0f);
  EXPECT_EQ(number("mov.b32 %r2, 0f40800000; rsqrt.approx.ftz.f32 %r1, %r2;"), 0.5f);
  EXPECT_EQ(number("mov.b32 %r2, 0f7FC00000; max.f32 %r1, %r2, 0f40000000;"), 2.0f);
  EXPECT_TRUE(std::isnan(number("mov.b32 %r2, 0f7FC00000; max.NaN.f32 %r1, %r2, 0f40000000;")));
  EXPECT_EQ(word("mov.b32 %r2, 0x00000001; add.rn.ftz.f32 %r1, %r2, 0f00000000;"), 0u);
  EXPECT_EQ(word("mov.b32 %r2, 0x00000001; add.rn.f32 %r1, %r2, 0f00000000;"), 1u);
  EXPECT_EQ(number("mov.b32 %r2, 0f40000000; add.sat.f32 %r1, %r2, %r2;"), 1.0f);
  EXPECT_EQ(word("mov.b32 %r2, 0f3F800000; neg.f32 %r1, %r2;"), 0xbf800000u);
}

TEST(PtxArithmetic, HalvesRoundOnce) {
  // 1 + 2^-11 lies between two f16 and goes to the even one; a little more goes up (f16 has 11 bits of precision).
  auto addToOne = [](const std::string &bits) {
    return word("mov.b16 %rs1, 0x3c00; mov.b16 %rs2, " + bits +
                "; add.rn.f16 %rs3, %rs1, %rs2; cvt.u32.u16 %r1, %rs3;");
  };
  EXPECT_EQ(addToOne("0x1000"), 0x3c00u);
  EXPECT_EQ(addToOne("0x1001"), 0x3c01u);
  // (1 + 3/1024)^2 - 1 = 6/1024 + 9/2^20; a product rounded before the sum would lose the last term.
  EXPECT_EQ(word("mov.b16 %rs1, 0x3c03; mov.b16 %rs2, 0xbc00; fma.rn.f16 %rs3, %rs1, %rs1, %rs2; "
                 "cvt.u32.u16 %r1, %rs3;"),
            0x1e02u);
  EXPECT_EQ(word("mov.b32 %r2, 0x40003c00; mul.rn.f16x2 %r1, %r2, %r2;"), 0x44003c00u);
  EXPECT_EQ(word("mov.b32 %r2, 0f3F800000; mov.b32 %r3, 0f40000000; cvt.rn.f16x2.f32 %r1, %r2, %r3;"), 0x3c004000u);
  EXPECT_EQ(word("mov.b32 %r2, 0f3F800000; mov.b32 %r3, 0f40000000; cvt.rn.bf16x2.f32 %r1, %r2, %r3;"), 0x3f804000u);
}

TEST(PtxArithmetic, Conversions) {
  EXPECT_EQ(number("mov.b16 %rs1, -5; cvt.rn.f32.s16 %r1, %rs1;"), -5.0f);
  EXPECT_EQ(number("mov.b16 %rs1, 0xc000; cvt.f32.f16 %r1, %rs1;"), -2.0f);
  EXPECT_EQ(word("mov.b32 %r2, 0fC0200000; cvt.rni.s32.f32 %r1, %r2;"), uint32_t(-2)); // -2.5 to the even one
  EXPECT_EQ(word("mov.b32 %r2, 0fC0200000; cvt.rzi.s32.f32 %r1, %r2;"), uint32_t(-2));
  EXPECT_EQ(word("mov.b32 %r2, 0fC0200000; cvt.rmi.s32.f32 %r1, %r2;"), uint32_t(-3));
  EXPECT_EQ(word("mov.b32 %r2, 0f7FC00000; cvt.rzi.s32.f32 %r1, %r2;"), 0u);
  EXPECT_EQ(number("mov.b32 %r2, 0f40200000; cvt.rni.f32.f32 %r1, %r2;"), 2.0f);
  EXPECT_EQ(word("mov.b32 %r2, 0x1ff; cvt.s32.s8 %r1, %r2;"), ~0u);
  EXPECT_EQ(word("mov.b32 %r2, 300; cvt.sat.s8.s32 %r1, %r2;"), 127u);
  EXPECT_EQ(longWord("mov.b32 %r2, -1; cvt.u64.u32 %rd2, %r2;"), 0xffffffffu);
  EXPECT_EQ(longWord("mov.b32 %r2, -1; cvt.s64.s32 %rd2, %r2;"), ~uint64_t(0));
}

TEST(PtxArithmetic, MovesVectors) {
  EXPECT_EQ(longWord("mov.b32 %r2, 1; mov.b32 %r3, 2; mov.b64 %rd2, {%r2, %r3};"), 0x200000001u);
  EXPECT_EQ(word("mov.b64 %rd2, 0x200000001; mov.b64 {_, %r1}, %rd2;"), 2u);
  EXPECT_EQ(word("mov.b32 %r2, 0x30002; mov.b32 {%rs1, %rs2}, %r2; cvt.u32.u16 %r1, %rs2;"), 3u);
}

TEST(PtxArithmetic, Comparisons) {
  auto flag = [](const std::string &compare) { return word(compare + " selp.b32 %r1, 1, 0, %p1;"); };
  EXPECT_EQ(flag("mov.b32 %r2, -1; setp.lt.s32 %p1, %r2, 0;"), 1u);
  EXPECT_EQ(flag("mov.b32 %r2, -1; setp.lt.u32 %p1, %r2, 0;"), 0u);
  EXPECT_EQ(flag("mov.b32 %r2, -1; setp.hi.u32 %p1, %r2, 0;"), 1u);
  EXPECT_EQ(flag("mov.b32 %r2, 0f7FC00000; setp.ne.f32 %p1, %r2, %r2;"), 0u);
  EXPECT_EQ(flag("mov.b32 %r2, 0f7FC00000; setp.neu.f32 %p1, %r2, %r2;"), 1u);
  EXPECT_EQ(flag("mov.b32 %r2, 0f7FC00000; setp.nan.f32 %p1, %r2, %r2;"), 1u);
  EXPECT_EQ(flag("setp.eq.u32 %p2, 1, 2; setp.eq.or.u32 %p1, 1, 1, %p2;"), 1u);
  EXPECT_EQ(flag("setp.eq.u32 %p2|%p1, 1, 2;"), 1u);
}

} // namespace
} // namespace quern::ptx
