// What is no PTX that the executor can run is refused, with the line and what stands there.
#include "test/unit/Ptx/RunPtx.h"

namespace quern::ptx {
namespace {

using testing::HasSubstr;

std::string loadError(const std::string &text) {
  auto module = loadModule(text);
  return module ? "no error" : module.error().message;
}

constexpr char kHead[] = ".version 8.0\n.target sm_80\n.address_size 64\n";

TEST(PtxParser, ReadsWhatLlvmWrites) {
  std::string text = std::string(kHead) + R"(
	// .globl	first
// demoted
.extern .shared .align 16 .b8 dynamic[];
.visible .entry first(
	.param .u64 .ptr .global .align 16 first_param_0,
	.param .u32 first_param_1,
	.param .align 8 .b8 first_param_2[16]
)
.reqntid 128, 1, 1
{
	.reg .pred 	%p<2>;
	.shared .align 32 .b8 tile[2560];
	.pragma "nounroll";
$L__BB0_1:
	@!%p1 bra.uni 	$L__BB0_1;
	ret;
}
.visible .entry second()
.maxntid 64
{
	ret;
})";
  auto module = loadModule(text);
  ASSERT_TRUE(module) << module.error().message;
  EXPECT_EQ(module->target, "sm_80");
  const Kernel *first = module->find("first");
  ASSERT_NE(first, nullptr);
  EXPECT_EQ(first->parameters.at(1).address, 8u);
  EXPECT_EQ(first->parameters.at(2).address, 16u);
  EXPECT_EQ(first->parameterBytes, 32u);
  EXPECT_EQ(first->requiredBlock, (std::array<uint32_t, 3>{128, 1, 1}));
  EXPECT_TRUE(first->dynamicShared);
  EXPECT_EQ(first->shared.front().address % 64, 32u) << "aligned as declared, and no better";
  EXPECT_EQ(module->find("second")->maxThreads, 64u);
  EXPECT_EQ(module->find("third"), nullptr);
}

TEST(PtxParser, RefusesUnknownOpcodesAndModifiers) {
  EXPECT_EQ(loadError(kernelText("frob.b32 %r1, %r2;")), "kernel k, line 7: frob.b32 is not known to the executor");
  EXPECT_THAT(loadError(kernelText("add.cc.u32 %r1, %r2, %r3;")), HasSubstr("does not know .cc"));
  EXPECT_THAT(loadError(kernelText("ld.global.b32.frob %r1, [%rd1];")), HasSubstr("has the modifier .frob"));
  EXPECT_THAT(loadError(kernelText("add.rm.f32 %r1, %r2, %r3;")), HasSubstr("rounds in a direction"));
  EXPECT_THAT(loadError(kernelText("call.uni (retval0), __nv_expf, (param0);")), testing::StartsWith("line 7: "));
}

TEST(PtxParser, RefusesWhatTheTargetLacks) {
  auto errorFor = [](const char *target, const std::string &body) {
    return loadError(kernelText(body, 1, "", target));
  };
  EXPECT_EQ(errorFor("sm_75", "redux.sync.add.s32 %r1, %r2, -1;"),
            "kernel k, line 7: redux.sync.add.s32 needs sm_80, the module is for sm_75");
  const std::string halves = ".row.col.f32.f16.f16.f32 {%r1,%r2,%r3,%r4}, ", sums = ", {%r1,%r2,%r3,%r4};";
  for (const std::string &body :
       {std::string("cp.async.cg.shared.global [%rd2], [%rd1], 16;"), std::string("cp.async.wait_all;"),
        std::string("max.NaN.f32 %r1, %r2, %r3;"), std::string("min.f16 %rs1, %rs2, %rs3;"),
        std::string("cvt.rn.bf16.f32 %rs1, %r1;"), std::string("fma.rn.bf16x2 %r1, %r2, %r3, %r4;"),
        "mma.sync.aligned.m16n8k16" + halves + "{%r1,%r2,%r3,%r4}, {%r5,%r6}" + sums,
        "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%r1,%r2,%r3,%r4}, {%r1,%r2,%r3,%r4}, {%r5,%r6}" + sums,
        "mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32 {%r1,%r2,%r3,%r4}, {%r1,%r2}, {%r5}" + sums}) {
    EXPECT_THAT(errorFor("sm_75", body), HasSubstr("needs sm_80, the module is for sm_75")) << body;
    EXPECT_EQ(errorFor("sm_80", body), "no error");
  }
  EXPECT_EQ(errorFor("sm_75", "mma.sync.aligned.m16n8k8" + halves + "{%r1,%r2}, {%r5}" + sums), "no error");
  EXPECT_EQ(errorFor("sm_75", "ldmatrix.sync.aligned.m8n8.x1.shared.b16 %r1, [%rd1];"), "no error");
  EXPECT_THAT(errorFor("sm_70", "ldmatrix.sync.aligned.m8n8.x1.shared.b16 %r1, [%rd1];"), HasSubstr("needs sm_75"));
  EXPECT_THAT(errorFor("sm_80", "add.rn.bf16 %rs1, %rs2, %rs3;"), HasSubstr("needs sm_90"));
  EXPECT_EQ(errorFor("compute_80", ""), "the target is compute_80, which is no sm_<compute capability>");
}

TEST(PtxParser, RefusesUnknownNames) {
  EXPECT_THAT(loadError(kernelText("mov.b32 %r1, %x;")), HasSubstr("an operand %x that is no register"));
  EXPECT_THAT(loadError(kernelText("bra $nowhere;")), HasSubstr("jumps to $nowhere, which is no label here"));
  EXPECT_THAT(loadError(kernelText("@%q bra $a;\n$a:")), HasSubstr("depends on %q"));
  EXPECT_THAT(loadError(kernelText("add.u32 %r1, %r2;")), HasSubstr("lacks an operand"));
  EXPECT_THAT(loadError(kernelText("add.u32 %r1, %r2, %r3, %r4;")), HasSubstr("more operands"));
}

TEST(PtxParser, RefusesBrokenText) {
  EXPECT_EQ(loadError(""), "the text has no .target");
  EXPECT_EQ(loadError(std::string(kHead) + "#"), "line 4: unexpected character '#'");
  EXPECT_EQ(loadError(std::string(kHead) + ".visible .func f() { ret; }"),
            "line 4: expected .entry or .shared (.func, .global and .const are not executed), got '.func'");
  EXPECT_THAT(loadError(std::string(kHead) + ".visible .entry k() {"), HasSubstr("got 'end of the text'"));
  EXPECT_THAT(loadError(std::string(kHead) + ".shared .align 3 .b8 x[4];"), HasSubstr("a power of two"));
  EXPECT_THAT(loadError(kernelText("$a:\n$a:")), HasSubstr("no second label $a"));
}

} // namespace
} // namespace quern::ptx
