#include "OpenClDevices.h"

#include "OpenClDevice.h"

#include <algorithm>

namespace quern::runtime {
namespace opencl {
namespace {

std::string textOf(const Api &api, Device device, unsigned what) {
  size_t bytes = 0;
  if (api.clGetDeviceInfo(device, what, 0, nullptr, &bytes) != kSuccess || bytes == 0)
    return "";
  std::string text(bytes, '\0');
  api.clGetDeviceInfo(device, what, bytes, text.data(), nullptr);
  return text.c_str();
}

uint64_t numberOf(const Api &api, Device device, unsigned what) {
  uint64_t number = 0;
  api.clGetDeviceInfo(device, what, sizeof number, &number, nullptr);
  return number;
}

bool hasWord(const std::string &words, const std::string &word) {
  return (" " + words + " ").find(" " + word + " ") != std::string::npos;
}

/// Whether a list as "SPIR-V_1.0 SPIR-V_1.4" holds 1.3 or a later version of 1.
bool takesSpirv13(const std::string &versions) {
  const std::string prefix = "SPIR-V_1.";
  for (size_t at = 0; (at = versions.find(prefix, at)) != std::string::npos;) {
    at += prefix.size();
    if (at < versions.size() && versions[at] >= '3' && versions[at] <= '9')
      return true;
  }
  return false;
}

bool hasSubGroupsOf32(const Api &api, Device device) {
  size_t sizes[16] = {}, bytes = 0;
  if (api.clGetDeviceInfo(device, kDeviceSubGroupSizes, sizeof sizes, sizes, &bytes) != kSuccess)
    return false;
  size_t *end = sizes + std::min(bytes, sizeof sizes) / sizeof(size_t);
  return std::find(sizes, end, 32) != end;
}

/// What the kernels need and the device does not have; empty: nothing.
std::string missingOf(const Api &api, Device device) {
  struct Need {
    const char *extension, *what;
  };
  constexpr Need needs[] = {
      {"cl_khr_fp16", "numbers of 16 bits (cl_khr_fp16)"},
      {"cl_khr_subgroup_shuffle", "shuffles in sub-groups (cl_khr_subgroup_shuffle)"},
      {"cl_intel_unified_shared_memory", "memory with addresses (cl_intel_unified_shared_memory)"}};
  std::string extensions = textOf(api, device, kDeviceExtensions), missing;
  auto add = [&](const std::string &what) { missing += (missing.empty() ? "" : ", ") + what; };
  if (!takesSpirv13(textOf(api, device, kDeviceIlVersion)))
    add("SPIR-V 1.3");
  if (!hasWord(extensions, "cl_intel_required_subgroup_size") || !hasSubGroupsOf32(api, device))
    add("sub-groups of 32 (cl_intel_required_subgroup_size)");
  for (const Need &need : needs)
    if (!hasWord(extensions, need.extension))
      add(need.what);
  return missing;
}

/// All devices of all platforms, in the loader's order.
Outcome<std::vector<Found>> findAll(const Api &api) {
  Platform platforms[16];
  unsigned count = 0;
  int result = api.clGetPlatformIDs(16, platforms, &count);
  if (result != kSuccess && result != kNoPlatform)
    return fault(QUERN_UNSUPPORTED, "OpenCL does not tell its platforms: " + describe(result));
  std::vector<Found> all;
  for (unsigned i = 0; i < std::min(count, 16u); ++i) {
    Device devices[32];
    unsigned found = 0;
    if (api.clGetDeviceIDs(platforms[i], kAllDevices, 32, devices, &found) != kSuccess)
      continue; // a platform may have no device
    for (unsigned d = 0; d < std::min(found, 32u); ++d)
      all.push_back({platforms[i], devices[d]});
  }
  return all;
}

} // namespace

std::string describeDriver(const Api &api, const Found &found) {
  return textOf(api, found.device, kDriverVersion) + ", " + textOf(api, found.device, kDeviceVersion);
}

Outcome<Devices> findDevices(const Api &api) {
  auto all = findAll(api);
  if (!all)
    return tl::unexpected(std::move(all).error());
  std::string problems;
  Devices out;
  std::vector<Found> processors; // who asks for OpenCL means other devices first, where there are some
  for (const Found &found : *all) {
    std::string missing = missingOf(api, found.device);
    DeviceInfo info = describeDevice(api, found, 0);
    if (missing.empty()) {
      (info.isProcessor ? processors : out.usable).push_back(found);
      continue;
    }
    info.id = info.api;
    info.problem = "the OpenCL device " + info.name + " (driver " + textOf(api, found.device, kDriverVersion) +
                   ") lacks " + missing;
    problems += (problems.empty() ? "" : "; ") + info.problem;
    out.refused.push_back(std::move(info));
  }
  out.usable.insert(out.usable.end(), processors.begin(), processors.end());
  if (!out.usable.empty())
    return out;
  return fault(QUERN_UNSUPPORTED, problems.empty() ? "OpenCL knows no device on this machine; install its driver"
                                                   : problems + "; update the driver");
}

DeviceInfo describeDevice(const Api &api, const Found &found, int index) {
  DeviceInfo info;
  info.id = "opencl:" + std::to_string(index);
  info.name = textOf(api, found.device, kDeviceName);
  info.api = "opencl";
  info.target = "spirv";
  info.memoryBytes = numberOf(api, found.device, kDeviceMemory);
  info.isProcessor = numberOf(api, found.device, kDeviceType) & kTypeCpu;
  return info;
}

} // namespace opencl

Outcome<std::vector<DeviceInfo>> listOpenClDevices() {
  auto api = opencl::Api::load();
  if (!api)
    return tl::unexpected(std::move(api).error());
  auto devices = opencl::findDevices(**api);
  if (!devices)
    return tl::unexpected(std::move(devices).error());
  std::vector<DeviceInfo> out;
  for (size_t index = 0; index < devices->usable.size(); ++index)
    out.push_back(opencl::describeDevice(**api, devices->usable[index], int(index)));
  out.insert(out.end(), devices->refused.begin(), devices->refused.end());
  return out;
}

bool openClRuns(const DeviceInfo &, const std::string &target) { return target == "spirv"; }

} // namespace quern::runtime
