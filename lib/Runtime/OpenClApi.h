// The functions of OpenCL that the runtime calls, found in the system's loader when a device is asked for. Declared by
// hand from the OpenCL 3.0 specification and that of cl_intel_unified_shared_memory: neither building nor starting
// needs OpenCL.
#ifndef QUERN_LIB_RUNTIME_OPENCLAPI_H
#define QUERN_LIB_RUNTIME_OPENCLAPI_H

#include "Fault.h"

#include <cstddef>
#include <cstdint>

namespace quern::runtime::opencl {

using Platform = struct PlatformHandle *;
using Device = struct DeviceHandle *;
using Context = struct ContextHandle *;
using Queue = struct QueueHandle *;
using Program = struct ProgramHandle *;
using Kernel = struct KernelHandle *;

// Results.
inline constexpr int kSuccess = 0, kAllocationFailed = -4, kOutOfResources = -5, kOutOfHostMemory = -6,
                     kInvalidBufferSize = -61, kNoPlatform = -1001;

// What is asked of devices, programs and kernels.
inline constexpr unsigned kDeviceType = 0x1000, kDeviceMemory = 0x101F, kDeviceName = 0x102B, kDriverVersion = 0x102D,
                          kDeviceVersion = 0x102F, kDeviceExtensions = 0x1030, kDeviceIlVersion = 0x105B,
                          kDeviceSubGroupSizes = 0x4108, kProgramBinarySizes = 0x1165, kProgramBinaries = 0x1166,
                          kProgramBuildLog = 0x1183;

// Values.
inline constexpr uint64_t kAllDevices = 0xFFFFFFFF, kTypeCpu = 2;
inline constexpr unsigned kIndirectDeviceAccess = 0x4201; ///< clSetKernelExecInfo

struct Api {
  /// Finds the loader and its functions, once. Fails with QUERN_UNSUPPORTED where there is none.
  static Outcome<const Api *> load();

  int (*clGetPlatformIDs)(unsigned, Platform *, unsigned *);
  int (*clGetDeviceIDs)(Platform, uint64_t, unsigned, Device *, unsigned *);
  int (*clGetDeviceInfo)(Device, unsigned, size_t, void *, size_t *);
  Context (*clCreateContext)(const intptr_t *, unsigned, const Device *, void *, void *, int *);
  int (*clReleaseContext)(Context);
  Queue (*clCreateCommandQueueWithProperties)(Context, Device, const uint64_t *, int *);
  int (*clReleaseCommandQueue)(Queue);
  Program (*clCreateProgramWithIL)(Context, const void *, size_t, int *);
  Program (*clCreateProgramWithBinary)(Context, unsigned, const Device *, const size_t *, const unsigned char *const *,
                                       int *, int *);
  int (*clGetProgramInfo)(Program, unsigned, size_t, void *, size_t *);
  int (*clBuildProgram)(Program, unsigned, const Device *, const char *, void *, void *);
  int (*clGetProgramBuildInfo)(Program, Device, unsigned, size_t, void *, size_t *);
  int (*clReleaseProgram)(Program);
  Kernel (*clCreateKernel)(Program, const char *, int *);
  int (*clReleaseKernel)(Kernel);
  int (*clSetKernelArg)(Kernel, unsigned, size_t, const void *);
  int (*clSetKernelExecInfo)(Kernel, unsigned, size_t, const void *);
  int (*clEnqueueNDRangeKernel)(Queue, Kernel, unsigned, const size_t *, const size_t *, const size_t *, unsigned,
                                const void *, void *);
  int (*clFinish)(Queue);
  void *(*clGetExtensionFunctionAddressForPlatform)(Platform, const char *);
};

/// The functions of cl_intel_unified_shared_memory, which each platform has of its own: memory with addresses.
struct MemoryApi {
  static Outcome<MemoryApi> find(const Api &api, Platform platform, const std::string &device);

  void *(*clDeviceMemAllocINTEL)(Context, Device, const uint64_t *, size_t, unsigned, int *);
  void *(*clHostMemAllocINTEL)(Context, const uint64_t *, size_t, unsigned, int *);
  int (*clMemBlockingFreeINTEL)(Context, void *);
  int (*clEnqueueMemFillINTEL)(Queue, void *, const void *, size_t, size_t, unsigned, const void *, void *);
  int (*clEnqueueMemcpyINTEL)(Queue, unsigned, void *, const void *, size_t, unsigned, const void *, void *);
  int (*clSetKernelArgMemPointerINTEL)(Kernel, unsigned, const void *);
};

/// "CL_OUT_OF_RESOURCES (-5)".
std::string describe(int result);

} // namespace quern::runtime::opencl

#endif // QUERN_LIB_RUNTIME_OPENCLAPI_H
