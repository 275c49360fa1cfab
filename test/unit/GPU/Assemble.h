// What NVIDIA's assembler says of PTX, where it is installed.
#ifndef QUERN_TEST_UNIT_GPU_ASSEMBLE_H
#define QUERN_TEST_UNIT_GPU_ASSEMBLE_H

#include <gtest/gtest.h>

#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>

namespace quern {

inline bool hasAssembler() { return std::system("ptxas --version > /dev/null 2>&1") == 0; }

/// What `ptxas -v` says.
inline std::string assemble(const std::string &ptx, const std::string &chip) {
  auto folder = std::filesystem::path(testing::TempDir());
  std::string base = (folder / ("quern_" + std::to_string(getpid()) + "_" + chip)).string();
  std::ofstream(base + ".ptx") << ptx;
  std::string command = "ptxas -v -arch=" + chip + " " + base + ".ptx -o " + base + ".cubin 2>&1", text;
  FILE *output = popen(command.c_str(), "r");
  for (char line[512]; output && fgets(line, sizeof line, output);)
    text += line;
  EXPECT_EQ(output ? pclose(output) : -1, 0) << text;
  std::filesystem::remove(base + ".ptx");
  std::filesystem::remove(base + ".cubin");
  return text;
}

inline size_t countOf(const std::string &text, const std::string &what) {
  size_t count = 0;
  for (size_t at = 0; (at = text.find(what, at)) != std::string::npos; ++at)
    ++count;
  return count;
}

/// Prints what the assembler makes of all kernels in `ptx`, with the registers of each, and fails where one spills.
inline void expectNoSpills(const std::string &ptx, const std::string &chip) {
  std::string said = assemble(ptx, chip);
  std::printf("%s", said.c_str());
  EXPECT_EQ(countOf(said, " 0 bytes spill stores, 0 bytes spill loads"), countOf(ptx, ".entry")) << said;
}

} // namespace quern

#endif // QUERN_TEST_UNIT_GPU_ASSEMBLE_H
