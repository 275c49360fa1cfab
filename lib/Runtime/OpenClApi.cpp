#include "OpenClApi.h"

#include <dlfcn.h>

namespace quern::runtime::opencl {

namespace {

template <typename Function> bool find(void *library, const char *name, Function *&function) {
  function = reinterpret_cast<Function *>(dlsym(library, name));
  return function;
}

/// The name of the first function that is missing; null where all are there.
const char *findAll(void *library, Api &api) {
#define QUERN_FIND(name)                                                                                               \
  if (!find(library, #name, api.name))                                                                                 \
    return #name;
  QUERN_FIND(clGetPlatformIDs)
  QUERN_FIND(clGetDeviceIDs)
  QUERN_FIND(clGetDeviceInfo)
  QUERN_FIND(clCreateContext)
  QUERN_FIND(clReleaseContext)
  QUERN_FIND(clCreateCommandQueueWithProperties)
  QUERN_FIND(clReleaseCommandQueue)
  QUERN_FIND(clCreateProgramWithIL)
  QUERN_FIND(clCreateProgramWithBinary)
  QUERN_FIND(clGetProgramInfo)
  QUERN_FIND(clBuildProgram)
  QUERN_FIND(clGetProgramBuildInfo)
  QUERN_FIND(clReleaseProgram)
  QUERN_FIND(clCreateKernel)
  QUERN_FIND(clReleaseKernel)
  QUERN_FIND(clSetKernelArg)
  QUERN_FIND(clSetKernelExecInfo)
  QUERN_FIND(clEnqueueNDRangeKernel)
  QUERN_FIND(clFinish)
  QUERN_FIND(clGetExtensionFunctionAddressForPlatform)
#undef QUERN_FIND
  return nullptr;
}

Outcome<Api> open() {
  // Never closed: drivers keep threads and handlers that outlive their last user.
  void *library = dlopen("libOpenCL.so.1", RTLD_NOW | RTLD_LOCAL);
  if (!library)
    return fault(QUERN_UNSUPPORTED, "there is no OpenCL on this machine (libOpenCL.so.1 is missing); install an "
                                    "OpenCL loader and the driver of your device, or run on the CPU");
  Api api;
  if (const char *missing = findAll(library, api))
    return fault(QUERN_UNSUPPORTED, std::string("the OpenCL loader on this machine is too old: it has no ") + missing +
                                        "; OpenCL 2.1 or newer is needed");
  return api;
}

} // namespace

Outcome<const Api *> Api::load() {
  static const Outcome<Api> api = open();
  if (!api)
    return tl::unexpected(api.error());
  return &*api;
}

Outcome<MemoryApi> MemoryApi::find(const Api &api, Platform platform, const std::string &device) {
  MemoryApi memory;
  auto get = [&](const char *name, auto *&function) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(
        api.clGetExtensionFunctionAddressForPlatform(platform, name));
    return function != nullptr;
  };
  if (get("clDeviceMemAllocINTEL", memory.clDeviceMemAllocINTEL) &&
      get("clHostMemAllocINTEL", memory.clHostMemAllocINTEL) &&
      get("clMemBlockingFreeINTEL", memory.clMemBlockingFreeINTEL) &&
      get("clEnqueueMemFillINTEL", memory.clEnqueueMemFillINTEL) &&
      get("clEnqueueMemcpyINTEL", memory.clEnqueueMemcpyINTEL) &&
      get("clSetKernelArgMemPointerINTEL", memory.clSetKernelArgMemPointerINTEL))
    return memory;
  return fault(QUERN_UNSUPPORTED, "the OpenCL driver of " + device +
                                      " lacks functions of "
                                      "cl_intel_unified_shared_memory; update it, or run on the CPU");
}

std::string describe(int result) {
  struct Name {
    int result;
    const char *name;
  };
  static constexpr Name names[] = {
      {-1, "CL_DEVICE_NOT_FOUND"},         {-2, "CL_DEVICE_NOT_AVAILABLE"}, {-4, "CL_MEM_OBJECT_ALLOCATION_FAILURE"},
      {-5, "CL_OUT_OF_RESOURCES"},         {-6, "CL_OUT_OF_HOST_MEMORY"},   {-11, "CL_BUILD_PROGRAM_FAILURE"},
      {-30, "CL_INVALID_VALUE"},           {-42, "CL_INVALID_BINARY"},      {-46, "CL_INVALID_KERNEL_NAME"},
      {-49, "CL_INVALID_ARG_INDEX"},       {-51, "CL_INVALID_ARG_SIZE"},    {-52, "CL_INVALID_KERNEL_ARGS"},
      {-54, "CL_INVALID_WORK_GROUP_SIZE"}, {-59, "CL_INVALID_OPERATION"},   {-61, "CL_INVALID_BUFFER_SIZE"},
      {-1001, "CL_PLATFORM_NOT_FOUND_KHR"}};
  for (const Name &known : names)
    if (known.result == result)
      return std::string(known.name) + " (" + std::to_string(result) + ")";
  return "OpenCL's error " + std::to_string(result);
}

} // namespace quern::runtime::opencl
