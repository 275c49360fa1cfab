// SPIR-V hangs on its kernels alone, and not on what the process has written before.
#include "test/unit/GPU/CompileMatvec.h"

#include <csignal>

namespace quern {
namespace {

Matvec matvecOf(const char *format) {
  Matvec matvec{.segments = {}, .width = 256, .columns = 1};
  matvec.segments.push_back(*codegen::matvecSegment(specOf(format), 4));
  return matvec;
}

TEST(GpuSpirv, IsTheSameEachTime) {
  std::vector<Matvec> matvecs;
  for (const char *format : {"q8_0", "q4_0", "q5_0", "iq4_nl", "q2_K", "q3_K", "q4_K", "q5_K", "q6_K", "iq4_xs"})
    matvecs.push_back(matvecOf(format));
  std::vector<std::string> first;
  for (const Matvec &matvec : matvecs)
    first.push_back(compileMatvec(matvec, "spirv").code);
  for (int round = 0; round < 3; ++round)
    for (size_t i = 0; i < matvecs.size(); ++i)
      EXPECT_TRUE(compileMatvec(matvecs[i], "spirv").code == first[i]) << matvecs[i].name() << " in round " << round;
}

/// As daemons leave it to the processes that they start; nobody can then wait for a process.
TEST(GpuSpirv, NeedsNoExitStatusOfItsProcess) {
  std::string expected = compileMatvec(matvecOf("q8_0"), "spirv").code;
  auto before = std::signal(SIGCHLD, SIG_IGN);
  std::string code = compileMatvec(matvecOf("q8_0"), "spirv").code;
  std::signal(SIGCHLD, before);
  EXPECT_FALSE(code.empty());
  EXPECT_TRUE(code == expected);
}

} // namespace
} // namespace quern
