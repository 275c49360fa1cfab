// The functions of NVIDIA's driver library that the fake one has, declared by hand from the CUDA driver API's
// documentation: names, arguments and numbers are the driver's own.
#ifndef QUERN_TEST_PTX_DRIVER_CUDAAPI_H
#define QUERN_TEST_PTX_DRIVER_CUDAAPI_H

#include <cstddef>

using CUresult = int;
using CUdevice = int;
using CUdeviceptr = unsigned long long;
using CUcontext = struct FakeContext *;
using CUmodule = struct FakeModule *;
using CUfunction = struct FakeFunction *;
using CUstream = struct FakeStream *;
using CUevent = struct FakeEvent *;
using CUgraph = struct FakeGraph *;
using CUgraphExec = struct FakeGraphExec *;

struct CUlaunchAttribute {
  int id;
  int padding;
  int value; ///< the first of the 64 bytes that values may have
  char rest[60];
};
struct CUlaunchConfig {
  unsigned gridX, gridY, gridZ, blockX, blockY, blockZ, sharedBytes;
  CUstream stream;
  CUlaunchAttribute *attributes;
  unsigned attributeCount;
};

namespace quern::ptx {

// Results.
inline constexpr CUresult kSuccess = 0, kInvalidValue = 1, kOutOfMemory = 2, kNotInitialized = 3, kStubLibrary = 34,
                          kNoDevice = 100, kInvalidDevice = 101, kInvalidContext = 201, kNoBinaryForGpu = 209,
                          kInvalidPtx = 218, kInvalidHandle = 400, kNotFound = 500, kNotReady = 600,
                          kLaunchFailed = 719, kNotSupported = 801, kUnsupportedInCapture = 900;

// Device attributes.
inline constexpr int kMaxThreadsPerBlock = 1, kMaxSharedPerBlock = 8, kWarpSize = 10, kMultiprocessors = 16,
                     kCapabilityMajor = 75, kCapabilityMinor = 76, kMaxSharedOptIn = 97;

// Other numbers: the function attribute for dynamic shared memory, a stream's flag, options of cuModuleLoadDataEx.
inline constexpr int kFunctionDynamicShared = 8, kStreamNonBlocking = 1, kStreamSerialization = 6, kJitErrorLog = 5,
                     kJitErrorLogBytes = 6;

} // namespace quern::ptx

#define QUERN_FAKE_CUDA extern "C" __attribute__((visibility("default")))

QUERN_FAKE_CUDA CUresult cuInit(unsigned flags);
QUERN_FAKE_CUDA CUresult cuDriverGetVersion(int *version);
QUERN_FAKE_CUDA CUresult cuDeviceGetCount(int *count);
QUERN_FAKE_CUDA CUresult cuDeviceGet(CUdevice *device, int ordinal);
QUERN_FAKE_CUDA CUresult cuDeviceGetName(char *name, int bytes, CUdevice device);
QUERN_FAKE_CUDA CUresult cuDeviceGetAttribute(int *value, int attribute, CUdevice device);
QUERN_FAKE_CUDA CUresult cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device);
QUERN_FAKE_CUDA CUresult cuDevicePrimaryCtxRelease_v2(CUdevice device);
QUERN_FAKE_CUDA CUresult cuDeviceTotalMem_v2(size_t *bytes, CUdevice device);
QUERN_FAKE_CUDA CUresult cuCtxSetCurrent(CUcontext context);
QUERN_FAKE_CUDA CUresult cuCtxPushCurrent_v2(CUcontext context);
QUERN_FAKE_CUDA CUresult cuCtxPopCurrent_v2(CUcontext *context);
QUERN_FAKE_CUDA CUresult cuModuleLoadDataEx(CUmodule *module, const void *image, unsigned count, int *options,
                                            void **values);
QUERN_FAKE_CUDA CUresult cuModuleUnload(CUmodule module);
QUERN_FAKE_CUDA CUresult cuModuleGetFunction(CUfunction *function, CUmodule module, const char *name);
QUERN_FAKE_CUDA CUresult cuFuncSetAttribute(CUfunction function, int attribute, int value);
QUERN_FAKE_CUDA CUresult cuMemGetInfo_v2(size_t *free, size_t *total);
QUERN_FAKE_CUDA CUresult cuMemAlloc_v2(CUdeviceptr *pointer, size_t bytes);
QUERN_FAKE_CUDA CUresult cuMemFree_v2(CUdeviceptr pointer);
QUERN_FAKE_CUDA CUresult cuMemcpyHtoD_v2(CUdeviceptr to, const void *from, size_t bytes);
QUERN_FAKE_CUDA CUresult cuMemcpyDtoH_v2(void *to, CUdeviceptr from, size_t bytes);
QUERN_FAKE_CUDA CUresult cuMemAllocHost_v2(void **pointer, size_t bytes);
QUERN_FAKE_CUDA CUresult cuMemFreeHost(void *pointer);
QUERN_FAKE_CUDA CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void *from, size_t bytes, CUstream stream);
QUERN_FAKE_CUDA CUresult cuMemcpyDtoHAsync_v2(void *to, CUdeviceptr from, size_t bytes, CUstream stream);
QUERN_FAKE_CUDA CUresult cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t bytes, CUstream stream);
QUERN_FAKE_CUDA CUresult cuStreamCreate(CUstream *stream, unsigned flags);
QUERN_FAKE_CUDA CUresult cuStreamDestroy_v2(CUstream stream);
QUERN_FAKE_CUDA CUresult cuStreamSynchronize(CUstream stream);
QUERN_FAKE_CUDA CUresult cuLaunchKernel(CUfunction function, unsigned gridX, unsigned gridY, unsigned gridZ,
                                        unsigned blockX, unsigned blockY, unsigned blockZ, unsigned sharedBytes,
                                        CUstream stream, void **parameters, void **extra);
/// Known is one attribute, programmatic stream serialization: on devices of 9.0 and later, in a captured stream where
/// the driver is for CUDA 12.3 or later.
QUERN_FAKE_CUDA CUresult cuLaunchKernelEx(const CUlaunchConfig *config, CUfunction function, void **parameters,
                                          void **extra);
/// Of the modes (0 to 2) none is told from the others.
QUERN_FAKE_CUDA CUresult cuStreamBeginCapture_v2(CUstream stream, int mode);
QUERN_FAKE_CUDA CUresult cuStreamEndCapture(CUstream stream, CUgraph *graph);
QUERN_FAKE_CUDA CUresult cuGraphInstantiateWithFlags(CUgraphExec *made, CUgraph graph, unsigned long long flags);
QUERN_FAKE_CUDA CUresult cuGraphDestroy(CUgraph graph);
QUERN_FAKE_CUDA CUresult cuGraphExecDestroy(CUgraphExec graph);
QUERN_FAKE_CUDA CUresult cuGraphLaunch(CUgraphExec graph, CUstream stream);
QUERN_FAKE_CUDA CUresult cuEventCreate(CUevent *event, unsigned flags);
QUERN_FAKE_CUDA CUresult cuEventDestroy_v2(CUevent event);
QUERN_FAKE_CUDA CUresult cuEventRecord(CUevent event, CUstream stream);
QUERN_FAKE_CUDA CUresult cuEventElapsedTime(float *milliseconds, CUevent begin, CUevent end);
QUERN_FAKE_CUDA CUresult cuGetErrorString(CUresult result, const char **text);

/// Not the driver's: what the executor said about the kernel that failed last, or an empty text. It stays until the
/// next failure.
QUERN_FAKE_CUDA const char *quernFakeCudaFault();

/// Not the driver's: how many things of a kind there are that the host has made and not given back: "allocations",
/// "pinned" (host memory), "streams", "modules", "events", "graphs" or "contexts"; of an unknown kind, ~0.
QUERN_FAKE_CUDA size_t quernFakeCudaLive(const char *kind);
/// Not the driver's: how often something has been asked for since cuInit: "allocations" on the device, "pinned"
/// memory of the host, "modules" to be loaded, "graphs" to be launched, or "overlapping launches"; and "bytes read" of
/// its memory. Of an unknown kind, ~0.
QUERN_FAKE_CUDA size_t quernFakeCudaCalls(const char *kind);

#endif // QUERN_TEST_PTX_DRIVER_CUDAAPI_H
