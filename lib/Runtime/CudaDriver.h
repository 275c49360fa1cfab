// NVIDIA's driver library, opened when it is first needed, so that nothing of CUDA is there when building or starting.
// Names, arguments and numbers are those of the CUDA driver API's documentation, declared by hand.
#ifndef QUERN_LIB_RUNTIME_CUDADRIVER_H
#define QUERN_LIB_RUNTIME_CUDADRIVER_H

#include "Fault.h"

#include <cstddef>
#include <string>

namespace quern::runtime::cuda {

using Result = int;
using DeviceIndex = int;
using Pointer = unsigned long long;
using Context = struct ContextHandle *;
using Module = struct ModuleHandle *;
using Function = struct FunctionHandle *;
using Stream = struct StreamHandle *;
using Event = struct EventHandle *;
using Graph = struct GraphHandle *;
using GraphExec = struct GraphExecHandle *;

/// CUlaunchAttribute: of 64 bytes of value the first four are a number.
struct alignas(8) LaunchAttribute {
  int id;
  int padding;
  int value;
  char rest[60];
};
/// CUlaunchConfig.
struct LaunchConfig {
  unsigned grid[3], block[3];
  unsigned sharedBytes;
  Stream stream;
  LaunchAttribute *attributes;
  unsigned attributeCount;
};
static_assert(sizeof(LaunchAttribute) == 72 && sizeof(LaunchConfig) == 56);

enum : Result {
  kSuccess = 0,
  kOutOfMemory = 2,
  kStubLibrary = 34,
  kNoDevice = 100,
  kInvalidImage = 200,
  kNoBinaryForGpu = 209,
  kNotSupported = 801
};
enum DeviceAttribute { kCapabilityMajor = 75, kCapabilityMinor = 76 };
enum FunctionAttribute { kDynamicSharedBytes = 8 };
enum JitOption { kErrorLog = 5, kErrorLogBytes = 6 };
enum LaunchAttributeId { kProgrammaticStreamSerialization = 6 };
constexpr unsigned kStreamNonBlocking = 1;
constexpr int kCaptureThreadLocal = 1;

/// The first driver that takes PTX of version 8.0: CUDA 12.0, as 1000 * major + 10 * minor.
constexpr int kLeastVersion = 12000;
/// The first one whose graphs keep that launches may overlap: CUDA 12.3.
constexpr int kLeastOverlappingVersion = 12030;

#define QUERN_CUDA_FUNCTIONS(F)                                                                                        \
  F(cuInit, unsigned)                                                                                                  \
  F(cuDriverGetVersion, int *)                                                                                         \
  F(cuDeviceGetCount, int *)                                                                                           \
  F(cuDeviceGet, DeviceIndex *, int)                                                                                   \
  F(cuDeviceGetName, char *, int, DeviceIndex)                                                                         \
  F(cuDeviceTotalMem_v2, size_t *, DeviceIndex)                                                                        \
  F(cuDeviceGetAttribute, int *, int, DeviceIndex)                                                                     \
  F(cuDevicePrimaryCtxRetain, Context *, DeviceIndex)                                                                  \
  F(cuDevicePrimaryCtxRelease_v2, DeviceIndex)                                                                         \
  F(cuCtxPushCurrent_v2, Context)                                                                                      \
  F(cuCtxPopCurrent_v2, Context *)                                                                                     \
  F(cuModuleLoadDataEx, Module *, const void *, unsigned, int *, void **)                                              \
  F(cuModuleUnload, Module)                                                                                            \
  F(cuModuleGetFunction, Function *, Module, const char *)                                                             \
  F(cuFuncSetAttribute, Function, int, int)                                                                            \
  F(cuMemGetInfo_v2, size_t *, size_t *)                                                                               \
  F(cuMemAlloc_v2, Pointer *, size_t)                                                                                  \
  F(cuMemFree_v2, Pointer)                                                                                             \
  F(cuMemAllocHost_v2, void **, size_t)                                                                                \
  F(cuMemFreeHost, void *)                                                                                             \
  F(cuMemcpyHtoDAsync_v2, Pointer, const void *, size_t, Stream)                                                       \
  F(cuMemcpyDtoHAsync_v2, void *, Pointer, size_t, Stream)                                                             \
  F(cuMemsetD8Async, Pointer, unsigned char, size_t, Stream)                                                           \
  F(cuStreamCreate, Stream *, unsigned)                                                                                \
  F(cuStreamDestroy_v2, Stream)                                                                                        \
  F(cuStreamSynchronize, Stream)                                                                                       \
  F(cuStreamBeginCapture_v2, Stream, int)                                                                              \
  F(cuStreamEndCapture, Stream, Graph *)                                                                               \
  F(cuGraphInstantiateWithFlags, GraphExec *, Graph, unsigned long long)                                               \
  F(cuGraphDestroy, Graph)                                                                                             \
  F(cuGraphExecDestroy, GraphExec)                                                                                     \
  F(cuGraphLaunch, GraphExec, Stream)                                                                                  \
  F(cuEventCreate, Event *, unsigned)                                                                                  \
  F(cuEventDestroy_v2, Event)                                                                                          \
  F(cuEventRecord, Event, Stream)                                                                                      \
  F(cuEventElapsedTime, float *, Event, Event)                                                                         \
  F(cuLaunchKernelEx, const LaunchConfig *, Function, void **, void **)                                                \
  F(cuGetErrorString, Result, const char **)

struct Driver {
#define QUERN_CUDA_POINTER(name, ...) Result (*name)(__VA_ARGS__) = nullptr;
  QUERN_CUDA_FUNCTIONS(QUERN_CUDA_POINTER)
#undef QUERN_CUDA_POINTER

  /// The library, opened, of a version that is not too old, and initialised.
  static Outcome<const Driver *> open();

  /// "out of memory (error 2)".
  std::string describe(Result result) const;

private:
  /// Why the library cannot be used, or "".
  std::string load();
};

} // namespace quern::runtime::cuda

#endif // QUERN_LIB_RUNTIME_CUDADRIVER_H
