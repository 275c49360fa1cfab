#include "CudaDevice.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace quern::runtime {

namespace {

using cuda::Driver;

constexpr std::string_view kTargetPrefix = "nvptx:sm_";
constexpr int kLeastCapability = 75;  ///< that there is code for
constexpr int kLeastOverlapping = 90; ///< for which kernels wait for the launch before

/// 80 of "nvptx:sm_80"; 0 if it is something else, as "nvptx:sm_90a", whose code runs on that one kind alone.
int capabilityOf(std::string_view target) {
  int capability = 0;
  if (!target.starts_with(kTargetPrefix))
    return 0;
  const char *end = target.data() + target.size();
  auto [stop, error] = std::from_chars(target.data() + kTargetPrefix.size(), end, capability);
  return error == std::errc() && stop == end ? capability : 0;
}

/// What can be known before it is opened.
DeviceInfo describe(const Driver &driver, int index) {
  DeviceInfo info;
  info.id = "cuda:" + std::to_string(index);
  info.api = "cuda";
  char name[256] = "";
  cuda::DeviceIndex device = 0;
  int major = 0, minor = 0;
  size_t bytes = 0;
  if (driver.cuDeviceGet(&device, index) == cuda::kSuccess) { // what cannot be had stays empty
    driver.cuDeviceGetName(name, sizeof name - 1, device);
    driver.cuDeviceGetAttribute(&major, cuda::kCapabilityMajor, device);
    driver.cuDeviceGetAttribute(&minor, cuda::kCapabilityMinor, device);
    driver.cuDeviceTotalMem_v2(&bytes, device);
  }
  info.name = name;
  info.target = std::string(kTargetPrefix) + std::to_string(major * 10 + minor);
  info.memoryBytes = bytes;
  if (int capability = major * 10 + minor; capability < kLeastCapability) {
    info.id = info.api;
    info.problem = "the GPU cuda:" + std::to_string(index) + " (" + info.name + ") has the compute capability " +
                   std::to_string(major) + "." + std::to_string(minor) + "; 7.5 or later is needed";
  }
  return info;
}

} // namespace

CudaDevice::CudaDevice(const Driver &driver, int index) : driver(driver), index(index) {
  about = describe(driver, index);
  capability = capabilityOf(about.target);
}

Outcome<void> CudaDevice::start() {
  if (auto found = check(driver.cuDeviceGet(&device, index), "the device cannot be had"); !found)
    return found;
  if (auto retained = check(driver.cuDevicePrimaryCtxRetain(&context, device), "the device cannot be opened");
      !retained) {
    context = nullptr;
    return retained;
  }
  Current current(*this);
  return check(driver.cuStreamCreate(&stream, cuda::kStreamNonBlocking), "the device cannot be used");
}

CudaDevice::~CudaDevice() {
  if (!context)
    return;
  if (stream) {
    Current current(*this);
    driver.cuStreamDestroy_v2(stream);
  }
  driver.cuDevicePrimaryCtxRelease_v2(device);
}

bool CudaDevice::canOverlap(const std::string &target) const {
  int version = 0;
  return capabilityOf(target) >= kLeastOverlapping && driver.cuDriverGetVersion(&version) == cuda::kSuccess &&
         version >= cuda::kLeastOverlappingVersion;
}

Outcome<uint64_t> CudaDevice::freeBytes() {
  Current current(*this);
  size_t free = 0, total = 0;
  if (auto known = check(driver.cuMemGetInfo_v2(&free, &total), "its memory cannot be asked for"); !known)
    return tl::unexpected(std::move(known).error());
  return free;
}

Outcome<DeviceAddress> CudaDevice::allocate(uint64_t bytes) {
  Current current(*this);
  cuda::Pointer pointer = 0;
  if (auto made = check(driver.cuMemAlloc_v2(&pointer, bytes), std::to_string(bytes) + " bytes of memory are refused");
      !made)
    return tl::unexpected(std::move(made).error());
  return pointer;
}

void CudaDevice::release(DeviceAddress address) {
  Current current(*this);
  driver.cuMemFree_v2(address);
}

Outcome<void *> CudaDevice::allocateHost(uint64_t bytes) {
  Current current(*this);
  void *memory = nullptr;
  if (auto made = check(driver.cuMemAllocHost_v2(&memory, bytes),
                        std::to_string(bytes) + " bytes of the host's memory are refused");
      !made)
    return tl::unexpected(std::move(made).error());
  return memory;
}

void CudaDevice::releaseHost(void *memory) {
  Current current(*this);
  driver.cuMemFreeHost(memory);
}

Outcome<void> CudaDevice::write(DeviceAddress to, const void *from, uint64_t bytes) {
  Current current(*this);
  return check(driver.cuMemcpyHtoDAsync_v2(to, from, bytes, stream), "a copy to the device failed");
}

Outcome<void> CudaDevice::read(void *to, DeviceAddress from, uint64_t bytes) {
  Current current(*this);
  return check(driver.cuMemcpyDtoHAsync_v2(to, from, bytes, stream), "a copy from the device failed");
}

Outcome<void> CudaDevice::clear(DeviceAddress to, uint64_t bytes) {
  Current current(*this);
  return check(driver.cuMemsetD8Async(to, 0, bytes, stream), "memory cannot be cleared");
}

Outcome<void> CudaDevice::launch(const KernelLaunch &launch) {
  Current current(*this);
  // The driver reads as many arguments as the kernel has, and as many bytes of each as the kernel says, whatever the
  // package does: 4 KiB is the most that all of them can have.
  constexpr size_t kMost = 512;
  std::array<uint64_t, 2 * kMost> values{};
  std::array<void *, kMost> arguments;
  for (size_t i = 0; i < kMost; ++i) {
    values[i] = i < launch.arguments.size() ? launch.arguments[i].value : 0;
    arguments[i] = &values[i];
  }
  cuda::LaunchAttribute overlaps{cuda::kProgrammaticStreamSerialization, 0, 1, {}};
  bool early = launch.overlaps && mayOverlap;
  cuda::LaunchConfig config{{launch.grid[0], launch.grid[1], launch.grid[2]},
                            {launch.threads, 1, 1},
                            launch.sharedBytes,
                            stream,
                            early ? &overlaps : nullptr,
                            early};
  return check(driver.cuLaunchKernelEx(&config, static_cast<cuda::Function>(launch.kernel), arguments.data(), nullptr),
               "a kernel cannot be started");
}

Outcome<void> CudaDevice::synchronize() {
  Current current(*this);
  return check(driver.cuStreamSynchronize(stream), "the work given to the device failed");
}

Outcome<std::vector<DeviceInfo>> listCudaDevices() {
  auto driver = Driver::open();
  if (!driver)
    return tl::unexpected(std::move(driver).error());
  int count = 0;
  (*driver)->cuDeviceGetCount(&count);
  std::vector<DeviceInfo> out;
  for (int index = 0; index < count; ++index)
    out.push_back(describe(**driver, index));
  return out;
}

bool cudaRuns(const DeviceInfo &device, const std::string &target) {
  int wanted = capabilityOf(target);
  return wanted > 0 && wanted <= capabilityOf(device.target);
}

Outcome<std::unique_ptr<Device>> openCudaDevice(int index) {
  auto driver = Driver::open();
  if (!driver)
    return tl::unexpected(std::move(driver).error());
  auto device = std::make_unique<CudaDevice>(**driver, index);
  if (auto started = device->start(); !started)
    return tl::unexpected(std::move(started).error());
  return device;
}

} // namespace quern::runtime
