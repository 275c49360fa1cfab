// Short hand for tests: PTX text in, buffers in and out.
#ifndef QUERN_TEST_UNIT_PTX_RUNPTX_H
#define QUERN_TEST_UNIT_PTX_RUNPTX_H

#include "test/ptx/Executor.h"
#include "test/unit/Ptx/Buffers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace quern::ptx {

/// A module's head, and one kernel `k` of up to three pointers whose body is given; the pointers are in %rd1, %rd2,
/// %rd3.
inline std::string kernelText(const std::string &body, int pointers = 1, const std::string &shared = "",
                              const std::string &target = "sm_80") {
  std::string parameters, loads;
  for (int i = 0; i < pointers; ++i) {
    std::string number = std::to_string(i);
    parameters += (i ? ", " : "") + std::string(".param .u64 p") + number;
    loads += "ld.param.b64 %rd" + std::to_string(i + 1) + ", [p" + number + "];\n";
  }
  return ".version 8.0\n.target " + target + "\n.address_size 64\n.visible .entry k(" + parameters +
         ") {\n.reg .pred %p<9>; .reg .b16 %rs<19>; .reg .b32 %r<49>; .reg .b64 %rd<29>;\n" + shared + loads + body +
         "\nret;\n}\n";
}

inline Status tryRun(const std::string &text, GlobalMemory &memory, const std::vector<uint64_t> &pointers,
                     const LaunchShape &shape, const LaunchOptions &options = {}) {
  QUERN_ASSIGN(Module module, loadModule(text));
  QUERN_TRY(launch(module.kernels.front(), memory, shape, std::as_bytes(std::span(pointers)), options));
  return {};
}

/// Runs kernel `k`, whose first pointer is where `results` go; `threads` in one block.
template <typename T>
std::vector<T> run(const std::string &body, size_t results, uint32_t threads = 1, const std::string &shared = "",
                   uint32_t seed = 0) {
  GlobalMemory memory;
  std::vector<T> values(results);
  uint64_t out = upload(memory, values);
  Status status = tryRun(kernelText(body, 1, shared), memory, {out}, {{1, 1, 1}, {threads, 1, 1}}, {seed});
  EXPECT_TRUE(status) << status.error().message;
  download(memory, out, values);
  return values;
}

/// The error of a module or of running it.
inline std::string errorOf(const std::string &body, uint32_t threads = 1, const std::string &shared = "",
                           uint32_t seed = 0) {
  GlobalMemory memory;
  uint64_t out = memory.allocate(1024);
  Status status = tryRun(kernelText(body, 1, shared), memory, {out}, {{1, 1, 1}, {threads, 1, 1}}, {seed, 1 << 20});
  return status ? "no error" : status.error().message;
}

} // namespace quern::ptx

#endif // QUERN_TEST_UNIT_PTX_RUNPTX_H
