// A library of OpenCL that knows devices and can do nothing with them: what is asked of devices before one is opened.
// QUERN_FAKE_OPENCL lists its devices, of "gpu", "cpu", "old" (SPIR-V 1.2) and "plain" (no extensions), with commas.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#define QUERN_FAKE_OPENCL extern "C" __attribute__((visibility("default")))

namespace {

constexpr int kSuccess = 0, kDeviceNotFound = -1, kOutOfResources = -5, kInvalidValue = -30, kNoPlatform = -1001;

struct FakeDevice {
  std::string kind;
};

std::vector<FakeDevice> &devices() {
  static std::vector<FakeDevice> list = [] {
    std::vector<FakeDevice> out;
    const char *given = std::getenv("QUERN_FAKE_OPENCL");
    std::string names = given ? given : "";
    for (size_t begin = 0; begin < names.size();) {
      size_t end = std::min(names.find(',', begin), names.size());
      out.push_back({names.substr(begin, end - begin)});
      begin = end + 1;
    }
    return out;
  }();
  return list;
}

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
    return text(kind == "plain" ? ""
                                : "cl_khr_fp16 cl_khr_subgroup_shuffle cl_intel_unified_shared_memory "
                                  "cl_intel_required_subgroup_size");
  case 0x105B: // versions of SPIR-V
    return text(kind == "old" ? "SPIR-V_1.0 SPIR-V_1.2" : "SPIR-V_1.0 SPIR-V_1.4");
  case 0x4108: // sizes of sub-groups
    return answer(subGroupSizes, sizeof subGroupSizes, room, to, needed);
  default:
    return kInvalidValue;
  }
}

// The rest is looked up and not called: no test opens a device.
#define QUERN_FAKE_OPENCL_NONE(name)                                                                                   \
  QUERN_FAKE_OPENCL int name() { return kOutOfResources; }
QUERN_FAKE_OPENCL_NONE(clCreateContext)
QUERN_FAKE_OPENCL_NONE(clReleaseContext)
QUERN_FAKE_OPENCL_NONE(clCreateCommandQueueWithProperties)
QUERN_FAKE_OPENCL_NONE(clReleaseCommandQueue)
QUERN_FAKE_OPENCL_NONE(clCreateProgramWithIL)
QUERN_FAKE_OPENCL_NONE(clCreateProgramWithBinary)
QUERN_FAKE_OPENCL_NONE(clGetProgramInfo)
QUERN_FAKE_OPENCL_NONE(clBuildProgram)
QUERN_FAKE_OPENCL_NONE(clGetProgramBuildInfo)
QUERN_FAKE_OPENCL_NONE(clReleaseProgram)
QUERN_FAKE_OPENCL_NONE(clCreateKernel)
QUERN_FAKE_OPENCL_NONE(clReleaseKernel)
QUERN_FAKE_OPENCL_NONE(clSetKernelArg)
QUERN_FAKE_OPENCL_NONE(clSetKernelExecInfo)
QUERN_FAKE_OPENCL_NONE(clEnqueueNDRangeKernel)
QUERN_FAKE_OPENCL_NONE(clFinish)
QUERN_FAKE_OPENCL_NONE(clGetExtensionFunctionAddressForPlatform)
