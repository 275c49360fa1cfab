// A library of OpenCL that knows devices and compiles nothing: what a host meets before a kernel runs.
// QUERN_FAKE_OPENCL lists its devices, with commas: "gpu", "cpu", "old" (SPIR-V 1.2), "plain" (no extensions),
// "floats" (no half) and "single" (no sub-groups); QUERN_FAKE_OPENCL_LARGEST is the most bytes of an allocation. With
// QUERN_FAKE_OPENCL_FAULT programs are taken, and the first kernel that runs faults.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#define QUERN_FAKE_OPENCL extern "C" __attribute__((visibility("default")))

namespace {

constexpr int kSuccess = 0, kDeviceNotFound = -1, kOutOfResources = -5, kBuildFailure = -11, kInvalidValue = -30,
              kInvalidBufferSize = -61, kNoPlatform = -1001;

struct FakeDevice {
  std::string kind;
};

std::vector<FakeDevice> &devices() {
  static std::vector<FakeDevice> list;
  return list;
}

/// What the environment says now.
void findDevices() {
  const char *given = std::getenv("QUERN_FAKE_OPENCL");
  std::string names = given ? given : "";
  devices().clear();
  for (size_t begin = 0; begin < names.size();) {
    size_t end = std::min(names.find(',', begin), names.size());
    devices().push_back({names.substr(begin, end - begin)});
    begin = end + 1;
  }
}

std::string extensionsOf(const std::string &kind) {
  std::string memory = "cl_intel_unified_shared_memory",
              groups = " cl_khr_subgroup_shuffle cl_intel_required_subgroup_size";
  return kind == "plain" ? "" : memory + (kind == "single" ? "" : groups) + (kind == "floats" ? "" : " cl_khr_fp16");
}

bool faults() { return std::getenv("QUERN_FAKE_OPENCL_FAULT"); }
bool hasFaulted = false;

int answer(const void *data, size_t bytes, size_t room, void *to, size_t *needed) {
  if (needed)
    *needed = bytes;
  if (to && room < bytes)
    return kInvalidValue;
  if (to)
    std::memcpy(to, data, bytes);
  return kSuccess;
}

} // namespace

QUERN_FAKE_OPENCL int clGetPlatformIDs(unsigned room, void **platforms, unsigned *count) {
  findDevices();
  *count = devices().empty() ? 0 : 1;
  if (room > 0)
    platforms[0] = &devices();
  return *count ? kSuccess : kNoPlatform;
}

QUERN_FAKE_OPENCL int clGetDeviceIDs(void *, uint64_t, unsigned room, void **out, unsigned *count) {
  *count = unsigned(devices().size());
  for (unsigned i = 0; i < *count && i < room; ++i)
    out[i] = &devices()[i];
  return *count ? kSuccess : kDeviceNotFound;
}

QUERN_FAKE_OPENCL int clGetDeviceInfo(void *device, unsigned what, size_t room, void *to, size_t *needed) {
  const std::string &kind = static_cast<FakeDevice *>(device)->kind;
  auto text = [&](const std::string &value) { return answer(value.c_str(), value.size() + 1, room, to, needed); };
  auto number = [&](uint64_t value) { return answer(&value, sizeof value, room, to, needed); };
  const size_t subGroupSizes[] = {16, 32};
  switch (what) {
  case 0x1000: // type
    return number(kind == "cpu" ? 2 : 4);
  case 0x101F: // memory
    return number(uint64_t(4) << 30);
  case 0x102B: // name
    return text("fake " + kind);
  case 0x102D: // version of the driver
    return text("7.1");
  case 0x1030: // extensions
    return text(extensionsOf(kind));
  case 0x105B: // versions of SPIR-V
    return text(kind == "old" ? "SPIR-V_1.0 SPIR-V_1.2" : "SPIR-V_1.0 SPIR-V_1.4");
  case 0x4108: // sizes of sub-groups
    return answer(subGroupSizes, sizeof subGroupSizes, room, to, needed);
  default:
    return kInvalidValue;
  }
}

QUERN_FAKE_OPENCL void *clCreateContext(const void *, unsigned, void *const *devices, void *, void *, int *result) {
  *result = kSuccess;
  return devices[0];
}

QUERN_FAKE_OPENCL void *clCreateCommandQueueWithProperties(void *context, void *, const uint64_t *, int *result) {
  *result = kSuccess;
  return context;
}

QUERN_FAKE_OPENCL void *clCreateProgramWithIL(void *context, const void *, size_t, int *result) {
  *result = kSuccess;
  return context;
}

QUERN_FAKE_OPENCL int clBuildProgram(void *, unsigned, void *const *, const char *, void *, void *) {
  return faults() ? kSuccess : kBuildFailure;
}

QUERN_FAKE_OPENCL int clGetProgramBuildInfo(void *, void *, unsigned, size_t room, void *to, size_t *needed) {
  const char log[] = "there is no compiler in here\n";
  return answer(log, sizeof log, room, to, needed);
}

static void *allocate(size_t bytes, int *result) {
  const char *largest = std::getenv("QUERN_FAKE_OPENCL_LARGEST");
  bool refused = largest && bytes > std::strtoull(largest, nullptr, 10);
  *result = refused ? kInvalidBufferSize : kSuccess;
  return refused ? nullptr : std::malloc(bytes);
}

static void *allocateOnDevice(void *, void *, const uint64_t *, size_t bytes, unsigned, int *result) {
  return allocate(bytes, result);
}

static void *allocateOnHost(void *, const uint64_t *, size_t bytes, unsigned, int *result) {
  return allocate(bytes, result);
}

static int release(void *, void *memory) {
  std::free(memory);
  return kSuccess;
}

static int fill(void *, void *to, const uint8_t *byte, size_t, size_t bytes, unsigned, const void *, void *) {
  std::memset(to, *byte, bytes);
  return kSuccess;
}

static int copy(void *, unsigned, void *to, const void *from, size_t bytes, unsigned, const void *, void *) {
  std::memcpy(to, from, bytes);
  return kSuccess;
}

static int takePointer() { return kSuccess; }

QUERN_FAKE_OPENCL void *clGetExtensionFunctionAddressForPlatform(void *, const char *name) {
  if (std::strcmp(name, "clDeviceMemAllocINTEL") == 0)
    return reinterpret_cast<void *>(allocateOnDevice);
  if (std::strcmp(name, "clHostMemAllocINTEL") == 0)
    return reinterpret_cast<void *>(allocateOnHost);
  if (std::strcmp(name, "clMemBlockingFreeINTEL") == 0)
    return reinterpret_cast<void *>(release);
  if (std::strcmp(name, "clEnqueueMemFillINTEL") == 0)
    return reinterpret_cast<void *>(fill);
  if (std::strcmp(name, "clEnqueueMemcpyINTEL") == 0)
    return reinterpret_cast<void *>(copy);
  return reinterpret_cast<void *>(takePointer);
}

QUERN_FAKE_OPENCL void *clCreateKernel(void *program, const char *, int *result) {
  *result = kSuccess;
  return program;
}

/// As drivers do: what went wrong is told when the host waits for the kernel.
QUERN_FAKE_OPENCL int clEnqueueNDRangeKernel() {
  hasFaulted = true;
  return kSuccess;
}

QUERN_FAKE_OPENCL int clFinish(void *) { return hasFaulted ? kOutOfResources : kSuccess; }

#define QUERN_FAKE_OPENCL_NONE(name, result)                                                                           \
  QUERN_FAKE_OPENCL int name() { return result; }
QUERN_FAKE_OPENCL_NONE(clReleaseContext, kSuccess)
QUERN_FAKE_OPENCL_NONE(clReleaseCommandQueue, kSuccess)
QUERN_FAKE_OPENCL_NONE(clReleaseProgram, kSuccess)
QUERN_FAKE_OPENCL_NONE(clCreateProgramWithBinary, kOutOfResources)
QUERN_FAKE_OPENCL_NONE(clGetProgramInfo, kOutOfResources)
QUERN_FAKE_OPENCL_NONE(clReleaseKernel, kSuccess)
QUERN_FAKE_OPENCL_NONE(clSetKernelArg, kSuccess)
QUERN_FAKE_OPENCL_NONE(clSetKernelExecInfo, kSuccess)
