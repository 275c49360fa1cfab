// Features and the choice of code.
#include "lib/Runtime/Cpu.h"
#include "lib/Runtime/Program.h"

#include <gtest/gtest.h>

using namespace quern;
using namespace quern::runtime;

namespace {

#if defined(__x86_64__)
TEST(Cpu, AgreesWithTheCompilersRuntime) {
  CpuFeatures cpu = CpuFeatures::detect();
  EXPECT_TRUE(cpu.has("sse2"));
  EXPECT_EQ(cpu.has("sse4.2"), bool(__builtin_cpu_supports("sse4.2")));
  EXPECT_EQ(cpu.has("avx2"), bool(__builtin_cpu_supports("avx2")));
  EXPECT_EQ(cpu.has("fma"), bool(__builtin_cpu_supports("fma")));
  EXPECT_EQ(cpu.has("avx512f"), bool(__builtin_cpu_supports("avx512f")));
  EXPECT_EQ(cpu.has("avx512_vnni"), bool(__builtin_cpu_supports("avx512vnni")));
  EXPECT_EQ(cpu.has("avx512vbmi"), bool(__builtin_cpu_supports("avx512vbmi")));
}

TEST(Cpu, Masks) {
  CpuFeatures cpu = CpuFeatures::detect();
  cpu.mask("sse4.2, popcnt");
  EXPECT_EQ(cpu.missing({"sse2", "sse4.2", "popcnt", "teleport"}),
            (std::vector<std::string>{"sse4.2", "popcnt", "teleport"}));
  cpu = CpuFeatures::detect();
  cpu.mask("all");
  EXPECT_FALSE(cpu.has("avx"));
  EXPECT_TRUE(cpu.has("ssse3"));
}

Manifest twoTargets() {
  Manifest manifest;
  manifest.code = {{"fast", "code.fast", {"sse2", "teleport"}, {}}, {"base", "code.base", {"sse2"}, {}}};
  return manifest;
}

TEST(ChooseCode, TakesTheFirstThatRuns) {
  Manifest manifest = twoTargets();
  CpuFeatures cpu = CpuFeatures::detect();
  EXPECT_EQ((*chooseCode(manifest, cpu, "", "p"))->target, "base");
  EXPECT_EQ((*chooseCode(manifest, cpu, "auto", "p"))->target, "base");
  EXPECT_EQ((*chooseCode(manifest, cpu, "base", "p"))->target, "base");
}

TEST(ChooseCode, NamesWhatIsMissing) {
  Manifest manifest = twoTargets();
  CpuFeatures cpu = CpuFeatures::detect();
  auto forced = chooseCode(manifest, cpu, "fast", "p");
  ASSERT_FALSE(forced);
  EXPECT_EQ(forced.error().status, QUERN_UNSUPPORTED);
  EXPECT_NE(forced.error().message.find("fast lacks teleport"), std::string::npos);
  cpu.mask("sse2");
  auto none = chooseCode(manifest, cpu, "auto", "p");
  EXPECT_NE(none.error().message.find("fast lacks sse2, teleport; base lacks sse2"), std::string::npos);
  EXPECT_NE(chooseCode(manifest, cpu, "m68k", "p").error().message.find("it has fast, base"), std::string::npos);
}
#endif

TEST(Memory, SaysWhatItCannotGive) {
  auto memory = Memory::allocate(uint64_t(1) << 60, "the cache", "use less");
  ASSERT_FALSE(memory);
  EXPECT_EQ(memory.error().status, QUERN_OUT_OF_MEMORY);
  EXPECT_NE(memory.error().message.find("the cache needs 1.0 EiB"), std::string::npos);
  EXPECT_NE(memory.error().message.find("use less"), std::string::npos);
  EXPECT_EQ(describeBytes(1536), "1.5 KiB");
  EXPECT_EQ(describeBytes(7), "7 B");
}

} // namespace
