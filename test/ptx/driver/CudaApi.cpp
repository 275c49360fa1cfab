// The driver's functions: arguments checked, the device locked, a broken context reported.
#include "test/ptx/driver/CudaApi.h"

#include "test/ptx/driver/Calls.h"

#include <cstring>
#include <utility>

using namespace quern::ptx;

namespace {

void writeLog(const std::string &log, unsigned count, const int *options, void **values) {
  char *buffer = nullptr;
  size_t bytes = 0;
  for (unsigned i = 0; i < count; ++i) {
    if (options[i] == kJitErrorLog)
      buffer = static_cast<char *>(values[i]);
    if (options[i] == kJitErrorLogBytes)
      bytes = size_t(reinterpret_cast<uintptr_t>(values[i]));
  }
  if (buffer && bytes > 0) {
    size_t length = std::min(log.size(), bytes - 1);
    std::memcpy(buffer, log.data(), length);
    buffer[length] = 0;
  }
}

} // namespace

CUresult cuInit(unsigned flags) {
  Device &device = Device::get();
  std::lock_guard lock(device.mutex);
  return flags ? kInvalidValue : device.start();
}

CUresult cuDriverGetVersion(int *version) {
  if (!version)
    return kInvalidValue;
  *version = DeviceSettings::fromEnvironment().version; // needs no cuInit
  return *version == 0 ? kStubLibrary : kSuccess;
}

CUresult cuDeviceGetCount(int *count) {
  return onDevice([&](Device &) {
    *count = 1;
    return kSuccess;
  });
}

CUresult cuDeviceGet(CUdevice *device, int ordinal) {
  return onDevice([&](Device &) {
    *device = 0;
    return ordinal == 0 ? kSuccess : kInvalidDevice;
  });
}

CUresult cuDeviceGetName(char *name, int bytes, CUdevice device) {
  return onDevice([&](Device &) {
    if (device != 0 || bytes < 1)
      return kInvalidValue;
    std::strncpy(name, "PTX executor", size_t(bytes) - 1);
    name[bytes - 1] = 0;
    return kSuccess;
  });
}

CUresult cuDeviceTotalMem_v2(size_t *bytes, CUdevice device) {
  return onDevice([&](Device &it) {
    *bytes = it.settings.memoryBytes;
    return device == 0 ? kSuccess : kInvalidDevice;
  });
}

CUresult cuDeviceGetAttribute(int *value, int attribute, CUdevice device) {
  return onDevice([&](Device &it) { return device == 0 ? it.attribute(attribute, *value) : kInvalidDevice; });
}

CUresult cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device) {
  return onDevice([&](Device &it) {
    if (device != 0)
      return kInvalidDevice;
    *context = &it.context;
    return it.retain();
  });
}

CUresult cuDevicePrimaryCtxRelease_v2(CUdevice device) {
  return onDevice([&](Device &it) { return device == 0 ? it.release() : kInvalidDevice; });
}

CUresult cuCtxSetCurrent(CUcontext context) {
  return onDevice([&](Device &device) {
    if (context && context != &device.context)
      return kInvalidContext;
    if (contexts.empty())
      contexts.push_back(context);
    contexts.back() = context;
    return kSuccess;
  });
}

CUresult cuCtxPushCurrent_v2(CUcontext context) {
  return onDevice([&](Device &device) {
    if (context != &device.context)
      return kInvalidContext;
    contexts.push_back(context);
    return kSuccess;
  });
}

CUresult cuCtxPopCurrent_v2(CUcontext *context) {
  return onDevice([&](Device &) {
    if (contexts.empty())
      return kInvalidContext;
    if (context)
      *context = contexts.back();
    contexts.pop_back();
    return kSuccess;
  });
}

CUresult cuModuleLoadDataEx(CUmodule *module, const void *image, unsigned count, int *options, void **values) {
  return inContext([&](Device &device) {
    std::string log;
    CUresult result = device.load(static_cast<const char *>(image), *module, log);
    writeLog(log, count, options, values);
    return result;
  });
}

CUresult cuModuleUnload(CUmodule module) {
  return inContext([&](Device &device) { return device.unload(module); });
}

CUresult cuModuleGetFunction(CUfunction *function, CUmodule module, const char *name) {
  return inContext([&](Device &device) { return device.function(module, name, *function); });
}

CUresult cuFuncSetAttribute(CUfunction function, int attribute, int value) {
  return inContext([&](Device &device) {
    return attribute == kFunctionDynamicShared ? device.allowShared(function, value) : kInvalidValue;
  });
}

CUresult cuMemGetInfo_v2(size_t *free, size_t *total) {
  return inContext([&](Device &device) {
    *free = device.freeBytes();
    *total = device.settings.memoryBytes;
    return kSuccess;
  });
}

CUresult cuMemAlloc_v2(CUdeviceptr *pointer, size_t bytes) {
  return inContext([&](Device &device) { return device.allocate(bytes, *pointer); });
}

CUresult cuMemFree_v2(CUdeviceptr pointer) {
  return inContext([&](Device &device) { return device.free(pointer); });
}

CUresult cuMemcpyHtoD_v2(CUdeviceptr to, const void *from, size_t bytes) {
  return inContext([&](Device &device) {
    return device.copy(to, bytes, [&](std::byte *place) { std::memcpy(place, from, bytes); });
  });
}

CUresult cuMemcpyDtoH_v2(void *to, CUdeviceptr from, size_t bytes) {
  return inContext([&](Device &device) {
    return device.copy(from, bytes, [&](std::byte *place) { std::memcpy(to, place, bytes); });
  });
}

CUresult cuGetErrorString(CUresult result, const char **text) {
  static constexpr std::pair<CUresult, const char *> texts[] = {{kSuccess, "no error"},
                                                                {kInvalidValue, "invalid argument"},
                                                                {kOutOfMemory, "out of memory"},
                                                                {kNotInitialized, "initialization error"},
                                                                {kNoDevice, "no CUDA-capable device is detected"},
                                                                {kInvalidDevice, "invalid device ordinal"},
                                                                {kInvalidContext, "invalid device context"},
                                                                {kNoBinaryForGpu, "no code for this device"},
                                                                {kInvalidPtx, "the PTX was rejected"},
                                                                {kInvalidHandle, "invalid resource handle"},
                                                                {kNotFound, "named symbol not found"},
                                                                {kLaunchFailed, "unspecified launch failure"},
                                                                {kNotSupported, "operation not supported"},
                                                                {kUnsupportedInCapture, "not while capturing"}};
  *text = nullptr;
  for (auto [known, name] : texts)
    if (known == result)
      *text = name;
  return *text ? kSuccess : kInvalidValue;
}

const char *quernFakeCudaFault() {
  thread_local std::string text;
  Device &device = Device::get();
  std::lock_guard lock(device.mutex);
  text = device.fault;
  return text.c_str();
}

size_t quernFakeCudaLive(const char *kind) {
  Device &device = Device::get();
  std::lock_guard lock(device.mutex);
  return device.live(kind);
}

size_t quernFakeCudaCalls(const char *kind) {
  Device &device = Device::get();
  std::lock_guard lock(device.mutex);
  return device.calls(kind);
}
