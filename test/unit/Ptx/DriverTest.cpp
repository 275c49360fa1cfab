// The fake driver as a host program meets it: opened by name, its functions looked up one by one.
#include "test/ptx/driver/CudaApi.h"
#include "test/unit/Ptx/RunPtx.h"

#include <dlfcn.h>

namespace quern::ptx {
namespace {

/// One function of the library.
template <typename Function> Function *lookUp(const char *name, Function *) {
  static void *library = dlopen(QUERN_BINARY_DIR "/test/ptx/libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  EXPECT_NE(library, nullptr) << dlerror();
  void *found = library ? dlsym(library, name) : nullptr;
  EXPECT_NE(found, nullptr) << name;
  return reinterpret_cast<Function *>(found);
}
#define CALL(name) lookUp(#name, static_cast<decltype(name) *>(nullptr))

/// Changes %r2, of each thread its number.
std::string changeKernel(const std::string &change) {
  return kernelText("mov.u32 %r1, %tid.x; mul.wide.u32 %rd4, %r1, 4; add.u64 %rd5, %rd1, %rd4;\n"
                    "ld.global.b32 %r2, [%rd5]; " +
                    change + " st.global.b32 [%rd5], %r2;");
}

std::string scaleKernel() { return changeKernel("add.rn.f32 %r2, %r2, %r2;"); }

class PtxDriver : public testing::Test {
protected:
  void SetUp() override {
    CUdevice device = -1;
    ASSERT_EQ(CALL(cuInit)(0), kSuccess);
    ASSERT_EQ(CALL(cuDeviceGet)(&device, 0), kSuccess);
    CUcontext context = nullptr;
    ASSERT_EQ(CALL(cuDevicePrimaryCtxRetain)(&context, device), kSuccess);
    ASSERT_EQ(CALL(cuCtxSetCurrent)(context), kSuccess);
  }
  void TearDown() override { EXPECT_EQ(CALL(cuDevicePrimaryCtxRelease_v2)(0), kSuccess); }

  CUfunction load(const std::string &text) {
    CUmodule module = nullptr;
    CUfunction function = nullptr;
    EXPECT_EQ(CALL(cuModuleLoadDataEx)(&module, text.c_str(), 0, nullptr, nullptr), kSuccess);
    EXPECT_EQ(CALL(cuModuleGetFunction)(&function, module, "k"), kSuccess);
    return function;
  }

  CUdeviceptr upload(const std::vector<float> &values) {
    CUdeviceptr pointer = 0;
    EXPECT_EQ(CALL(cuMemAlloc_v2)(&pointer, values.size() * sizeof(float)), kSuccess);
    EXPECT_EQ(CALL(cuMemcpyHtoD_v2)(pointer, values.data(), values.size() * sizeof(float)), kSuccess);
    return pointer;
  }

  CUresult launch(CUfunction function, unsigned threads, CUdeviceptr pointer, CUstream stream, unsigned shared = 0) {
    void *parameters[] = {&pointer};
    return CALL(cuLaunchKernel)(function, 1, 1, 1, threads, 1, 1, shared, stream, parameters, nullptr);
  }
};

TEST_F(PtxDriver, RunsAKernel) {
  CUdeviceptr pointer = upload({1, 2, 3, 4});
  CUstream stream = nullptr;
  ASSERT_EQ(CALL(cuStreamCreate)(&stream, 0), kSuccess);
  EXPECT_EQ(launch(load(scaleKernel()), 4, pointer, stream), kSuccess);
  EXPECT_EQ(CALL(cuStreamSynchronize)(stream), kSuccess);
  std::vector<float> values(4);
  EXPECT_EQ(CALL(cuMemcpyDtoH_v2)(values.data(), pointer, 16), kSuccess);
  EXPECT_EQ(values, (std::vector<float>{2, 4, 6, 8}));
  EXPECT_EQ(CALL(cuMemFree_v2)(pointer), kSuccess);
  EXPECT_EQ(CALL(cuMemFree_v2)(pointer), kInvalidValue);
}

TEST_F(PtxDriver, LaunchesWaitForASynchronization) {
  CUdeviceptr pointer = upload({1, 2, 3, 4});
  CUstream stream = nullptr;
  ASSERT_EQ(CALL(cuStreamCreate)(&stream, kStreamNonBlocking), kSuccess);
  EXPECT_EQ(launch(load(scaleKernel()), 4, pointer, stream), kSuccess);
  std::vector<float> values(4);
  EXPECT_EQ(CALL(cuMemcpyDtoH_v2)(values.data(), pointer, 16), kSuccess);
  EXPECT_EQ(values, (std::vector<float>{1, 2, 3, 4})) << "read before the stream has come to the kernel";
  EXPECT_EQ(CALL(cuStreamSynchronize)(stream), kSuccess);
  EXPECT_EQ(CALL(cuMemcpyDtoH_v2)(values.data(), pointer, 16), kSuccess);
  EXPECT_EQ(values, (std::vector<float>{2, 4, 6, 8}));
}

TEST_F(PtxDriver, StreamsKeepTheOrderOfTheDefaultStream) {
  CUfunction twice = load(scaleKernel()), oneMore = load(changeKernel("add.rn.f32 %r2, %r2, 0f3F800000;"));
  auto destroys = [](CUstream stream, CUdeviceptr) { return CALL(cuStreamDestroy_v2)(stream); };
  auto frees = [](CUstream, CUdeviceptr other) { return CALL(cuMemFree_v2)(other); };
  auto order = [&](auto finish) {
    CUdeviceptr pointer = upload({3}), other = upload({0});
    CUstream stream = nullptr;
    EXPECT_EQ(CALL(cuStreamCreate)(&stream, 0), kSuccess);
    EXPECT_EQ(launch(twice, 1, pointer, nullptr), kSuccess);
    EXPECT_EQ(launch(oneMore, 1, pointer, stream), kSuccess);
    EXPECT_EQ(finish(stream, other), kSuccess);
    float value = 0;
    EXPECT_EQ(CALL(cuMemcpyDtoH_v2)(&value, pointer, 4), kSuccess);
    return value;
  };
  EXPECT_EQ(order(destroys), 7.0f);
  EXPECT_EQ(order(frees), 7.0f);
}

TEST_F(PtxDriver, SharedMemoryIsWhatIsDeclared) {
  auto arrays = [](int second) {
    return kernelText(
        "", 1, ".shared .align 16 .b8 one[32768];\n.shared .align 16 .b8 two[" + std::to_string(second) + "];\n");
  };
  CUfunction function = load(arrays(16384)); // 48 KiB just fit
  CUdeviceptr pointer = upload({1});
  EXPECT_EQ(launch(function, 1, pointer, nullptr), kSuccess);
  EXPECT_EQ(launch(function, 1, pointer, nullptr, 1), kInvalidValue);
  EXPECT_EQ(CALL(cuFuncSetAttribute)(function, kFunctionDynamicShared, 115 << 10), kSuccess);
  EXPECT_EQ(CALL(cuFuncSetAttribute)(function, kFunctionDynamicShared, (115 << 10) + 1), kInvalidValue);
  CUmodule module = nullptr;
  EXPECT_EQ(CALL(cuModuleLoadDataEx)(&module, arrays(16385).c_str(), 0, nullptr, nullptr), kInvalidPtx);
}

TEST_F(PtxDriver, FaultBreaksTheContext) {
  CUdeviceptr pointer = upload({1, 2, 3, 4});
  EXPECT_EQ(launch(load(scaleKernel()), 5, pointer, nullptr), kSuccess);
  EXPECT_EQ(CALL(cuStreamSynchronize)(nullptr), kLaunchFailed);
  EXPECT_THAT(CALL(quernFakeCudaFault)(), testing::HasSubstr("thread (4,0,0): 4 bytes at address 0x"));
  CUdeviceptr other = 0;
  EXPECT_EQ(CALL(cuMemAlloc_v2)(&other, 16), kLaunchFailed);
  const char *text = nullptr;
  EXPECT_EQ(CALL(cuGetErrorString)(kLaunchFailed, &text), kSuccess);
  EXPECT_STREQ(text, "unspecified launch failure");
  // A new context is whole, and nothing of the old one is left.
  TearDown();
  SetUp();
  size_t free = 0, total = 0;
  EXPECT_EQ(CALL(cuMemGetInfo_v2)(&free, &total), kSuccess);
  EXPECT_EQ(free, total);
}

TEST_F(PtxDriver, AsynchronousCopiesOfPinnedMemoryWait) {
  CUdeviceptr pointer = upload({1, 2});
  CUstream stream = nullptr;
  ASSERT_EQ(CALL(cuStreamCreate)(&stream, kStreamNonBlocking), kSuccess);
  void *memory = nullptr;
  ASSERT_EQ(CALL(cuMemAllocHost_v2)(&memory, 16), kSuccess);
  auto *pinned = static_cast<float *>(memory);
  pinned[0] = 5;
  EXPECT_EQ(CALL(cuMemcpyHtoDAsync_v2)(pointer, pinned, 4, stream), kSuccess);
  EXPECT_EQ(CALL(cuMemcpyDtoHAsync_v2)(pinned + 2, pointer, 8, stream), kSuccess);
  pinned[0] = 6; // too early: this is what goes to the device
  EXPECT_NE(pinned[2], 6.0f);
  EXPECT_EQ(CALL(cuStreamSynchronize)(stream), kSuccess);
  EXPECT_EQ(pinned[2], 6.0f);
  EXPECT_EQ(pinned[3], 2.0f);
  float usual = 7; // of other memory the copy is made at once
  EXPECT_EQ(CALL(cuMemcpyHtoDAsync_v2)(pointer, &usual, 4, stream), kSuccess);
  usual = 8;
  EXPECT_EQ(CALL(cuMemcpyDtoHAsync_v2)(&usual, pointer, 4, stream), kSuccess);
  EXPECT_EQ(usual, 7.0f);
  EXPECT_EQ(CALL(cuMemsetD8Async)(pointer, 0, 8, stream), kSuccess);
  EXPECT_EQ(CALL(cuMemcpyDtoHAsync_v2)(&usual, pointer, 4, stream), kSuccess);
  EXPECT_EQ(usual, 0.0f);
  EXPECT_EQ(CALL(cuMemcpyHtoDAsync_v2)(pointer, pinned, 9, stream), kInvalidValue) << "reaches over the end";
  EXPECT_EQ(CALL(cuMemFreeHost)(memory), kSuccess);
  EXPECT_EQ(CALL(cuMemFreeHost)(memory), kInvalidValue);
}

TEST_F(PtxDriver, CapturedLaunchesBecomeAGraph) {
  CUdeviceptr pointer = upload({1});
  CUfunction twice = load(scaleKernel());
  CUstream stream = nullptr;
  ASSERT_EQ(CALL(cuStreamCreate)(&stream, kStreamNonBlocking), kSuccess);
  EXPECT_EQ(CALL(cuStreamBeginCapture_v2)(stream, 1), kSuccess);
  EXPECT_EQ(launch(twice, 1, pointer, stream), kSuccess);
  EXPECT_EQ(CALL(cuStreamSynchronize)(stream), kUnsupportedInCapture);
  EXPECT_EQ(launch(twice, 1, pointer, stream), kSuccess);
  CUgraph graph = nullptr;
  CUgraphExec made = nullptr;
  EXPECT_EQ(CALL(cuStreamEndCapture)(stream, &graph), kSuccess);
  EXPECT_EQ(CALL(cuGraphInstantiateWithFlags)(&made, graph, 0), kSuccess);
  EXPECT_EQ(CALL(quernFakeCudaLive)("graphs"), 2u);
  EXPECT_EQ(CALL(cuGraphDestroy)(graph), kSuccess);
  EXPECT_EQ(CALL(cuGraphDestroy)(graph), kInvalidHandle);
  auto value = [&] {
    float out = 0;
    EXPECT_EQ(CALL(cuStreamSynchronize)(stream), kSuccess);
    EXPECT_EQ(CALL(cuMemcpyDtoH_v2)(&out, pointer, 4), kSuccess);
    return out;
  };
  EXPECT_EQ(value(), 1.0f) << "recorded, not run";
  for (float expected : {4.0f, 16.0f}) {
    EXPECT_EQ(CALL(cuGraphLaunch)(made, stream), kSuccess);
    EXPECT_EQ(value(), expected);
  }
  EXPECT_EQ(CALL(cuGraphExecDestroy)(made), kSuccess);
  EXPECT_EQ(CALL(cuGraphLaunch)(made, stream), kInvalidHandle);
  EXPECT_EQ(CALL(quernFakeCudaLive)("graphs"), 0u);
}

TEST_F(PtxDriver, LaunchesOverlapWhereTheDeviceCan) {
  CUdeviceptr pointer = upload({1});
  CUfunction twice = load(scaleKernel());
  void *parameters[] = {&pointer};
  CUlaunchAttribute attribute{kStreamSerialization, 0, 0, {}};
  CUlaunchConfig config{1, 1, 1, 1, 1, 1, 0, nullptr, &attribute, 1};
  EXPECT_EQ(CALL(cuLaunchKernelEx)(&config, twice, parameters, nullptr), kSuccess);
  attribute.value = 1; // the device is an sm_80
  EXPECT_EQ(CALL(cuLaunchKernelEx)(&config, twice, parameters, nullptr), kNotSupported);
  attribute.id = 4;
  EXPECT_EQ(CALL(cuLaunchKernelEx)(&config, twice, parameters, nullptr), kNotSupported);
  EXPECT_EQ(CALL(quernFakeCudaCalls)("overlapping launches"), 0u);
}

TEST_F(PtxDriver, EventsTellTheInstructionsBetweenThem) {
  CUdeviceptr pointer = upload({1, 2, 3, 4});
  CUfunction twice = load(scaleKernel());
  CUevent events[3];
  for (CUevent &event : events)
    ASSERT_EQ(CALL(cuEventCreate)(&event, 0), kSuccess);
  float one = -1, four = -1;
  EXPECT_EQ(CALL(cuEventElapsedTime)(&one, events[0], events[1]), kNotReady);
  EXPECT_EQ(CALL(cuEventRecord)(events[0], nullptr), kSuccess);
  EXPECT_EQ(launch(twice, 1, pointer, nullptr), kSuccess);
  EXPECT_EQ(CALL(cuEventRecord)(events[1], nullptr), kSuccess);
  EXPECT_EQ(launch(twice, 4, pointer, nullptr), kSuccess);
  EXPECT_EQ(CALL(cuEventRecord)(events[2], nullptr), kSuccess);
  EXPECT_EQ(CALL(cuStreamSynchronize)(nullptr), kSuccess);
  EXPECT_EQ(CALL(cuEventElapsedTime)(&one, events[0], events[1]), kSuccess);
  EXPECT_EQ(CALL(cuEventElapsedTime)(&four, events[1], events[2]), kSuccess);
  EXPECT_GT(one, 0.0f);
  EXPECT_FLOAT_EQ(four, 4 * one);
  for (CUevent event : events)
    EXPECT_EQ(CALL(cuEventDestroy_v2)(event), kSuccess);
  EXPECT_EQ(CALL(cuEventDestroy_v2)(events[0]), kInvalidHandle);
}

TEST_F(PtxDriver, ContextsAreAStack) {
  CUcontext context = nullptr;
  EXPECT_EQ(CALL(cuCtxPushCurrent_v2)(nullptr), kInvalidContext);
  EXPECT_EQ(CALL(cuCtxPopCurrent_v2)(&context), kSuccess);
  EXPECT_NE(context, nullptr);
  CUdeviceptr pointer = 0;
  EXPECT_EQ(CALL(cuMemAlloc_v2)(&pointer, 4), kInvalidContext);
  EXPECT_EQ(CALL(cuCtxPushCurrent_v2)(context), kSuccess);
  EXPECT_EQ(CALL(cuMemAlloc_v2)(&pointer, 4), kSuccess);
  EXPECT_EQ(CALL(quernFakeCudaLive)("allocations"), 1u);
  EXPECT_EQ(CALL(quernFakeCudaLive)("elephants"), ~size_t(0));
}

TEST_F(PtxDriver, RejectsModules) {
  char log[256] = {};
  int options[] = {kJitErrorLog, kJitErrorLogBytes};
  void *values[] = {log, reinterpret_cast<void *>(sizeof log)};
  CUmodule module = nullptr;
  auto tryLoad = [&](const std::string &text) {
    return CALL(cuModuleLoadDataEx)(&module, text.c_str(), 2, options, values);
  };
  EXPECT_EQ(tryLoad(kernelText("frob.b32 %r1, %r2;")), kInvalidPtx);
  EXPECT_STREQ(log, "kernel k, line 7: frob.b32 is not known to the executor");
  std::string newer = scaleKernel();
  newer.replace(newer.find("sm_80"), 5, "sm_90");
  EXPECT_EQ(tryLoad(newer), kInvalidPtx);
  EXPECT_STREQ(log, "the module is for sm_90, the device is sm_80");
  EXPECT_EQ(tryLoad("\x7f"
                    "ELF"),
            kNoBinaryForGpu);
  EXPECT_EQ(tryLoad(scaleKernel()), kSuccess);
  CUfunction function = nullptr;
  EXPECT_EQ(CALL(cuModuleGetFunction)(&function, module, "other"), kNotFound);
  EXPECT_EQ(CALL(cuModuleUnload)(module), kSuccess);
  EXPECT_EQ(CALL(cuModuleUnload)(module), kInvalidHandle);
}

TEST_F(PtxDriver, Limits) {
  int value = 0;
  EXPECT_EQ(CALL(cuDeviceGetAttribute)(&value, kCapabilityMajor, 0), kSuccess);
  EXPECT_EQ(value, 8);
  EXPECT_EQ(CALL(cuDeviceGetAttribute)(&value, 12345, 0), kInvalidValue);
  CUdeviceptr pointer = 0;
  EXPECT_EQ(CALL(cuMemAlloc_v2)(&pointer, size_t(2) << 30), kOutOfMemory);
  pointer = upload({1});
  CUfunction function = load(scaleKernel());
  EXPECT_EQ(launch(function, 2048, pointer, nullptr), kInvalidValue);
  EXPECT_EQ(launch(function, 1, pointer, nullptr, 50000), kInvalidValue);
  EXPECT_EQ(CALL(cuFuncSetAttribute)(function, kFunctionDynamicShared, 50000), kSuccess);
  EXPECT_EQ(launch(function, 1, pointer, nullptr, 50000), kSuccess);
  EXPECT_EQ(CALL(cuFuncSetAttribute)(function, kFunctionDynamicShared, 1 << 20), kInvalidValue);
  EXPECT_EQ(CALL(cuMemcpyHtoD_v2)(pointer, &value, 8), kInvalidValue) << "reaches over the end";
}

TEST(PtxDriverWithoutContext, IsRefused) {
  CUdeviceptr pointer = 0;
  EXPECT_EQ(CALL(cuInit)(0), kSuccess);
  EXPECT_EQ(CALL(cuCtxSetCurrent)(nullptr), kSuccess);
  EXPECT_EQ(CALL(cuMemAlloc_v2)(&pointer, 16), kInvalidContext);
}

} // namespace
} // namespace quern::ptx
