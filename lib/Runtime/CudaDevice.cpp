#include "CudaDevice.h"

#include "CudaDriver.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

namespace quern::runtime {
namespace {

using cuda::Driver;

constexpr std::string_view kTargetPrefix = "nvptx:sm_";

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
  return info;
}

class CudaDevice final : public Device {
public:
  CudaDevice(const Driver &driver, int index) : driver(driver), index(index) { about = describe(driver, index); }
  ~CudaDevice() override;
  Outcome<void> start();

  Outcome<std::unique_ptr<DeviceModule>> load(const DeviceCode &code) override;
  Outcome<uint64_t> freeBytes() override;
  Outcome<DeviceAddress> allocate(uint64_t bytes) override;
  void release(DeviceAddress address) override;
  Outcome<void *> allocateHost(uint64_t bytes) override;
  void releaseHost(void *memory) override;
  Outcome<void> write(DeviceAddress to, const void *from, uint64_t bytes) override;
  Outcome<void> read(void *to, DeviceAddress from, uint64_t bytes) override;
  Outcome<void> clear(DeviceAddress to, uint64_t bytes) override;
  Outcome<void> launch(const KernelLaunch &launch) override;
  Outcome<std::unique_ptr<DeviceRecording>> record(std::span<const KernelLaunch> launches) override;
  Outcome<void> synchronize() override;
  Outcome<void> launchTimed(std::span<const KernelLaunch> launches, std::span<uint64_t> nanoseconds) override;

  /// `what` the host wanted, for the message; nothing if `result` is a success.
  Outcome<void> check(cuda::Result result, const std::string &what) const {
    if (result == cuda::kSuccess)
      return {};
    return fault(result == cuda::kOutOfMemory ? QUERN_OUT_OF_MEMORY : QUERN_DEVICE_FAILED,
                 about.id + ": " + what + ": " + driver.describe(result));
  }

  /// Makes the device's context the thread's, and the one before again when it ends.
  class Current {
  public:
    explicit Current(const CudaDevice &device) : driver(device.driver) { driver.cuCtxPushCurrent_v2(device.context); }
    ~Current() {
      cuda::Context ignored;
      driver.cuCtxPopCurrent_v2(&ignored);
    }

  private:
    const Driver &driver;
  };

  const Driver &driver;
  cuda::Stream stream = nullptr;

private:
  cuda::Result loadImage(const void *image, cuda::Module &module, std::string &log) const;
  Outcome<void> recordEvents(std::span<const KernelLaunch> launches, std::span<cuda::Event> events);

  int index;
  cuda::Context context = nullptr;
};

class CudaModule final : public DeviceModule {
public:
  CudaModule(CudaDevice &device, cuda::Module module) : device(device), module(module) {}
  ~CudaModule() override {
    CudaDevice::Current current(device);
    device.driver.cuModuleUnload(module);
  }
  Outcome<DeviceKernel> kernel(const std::string &name, uint32_t sharedBytes) override {
    CudaDevice::Current current(device);
    cuda::Function function = nullptr;
    auto found = device.check(device.driver.cuModuleGetFunction(&function, module, name.c_str()),
                              "the package's code has no kernel '" + name + "'");
    if (found && sharedBytes > 0)
      found =
          device.check(device.driver.cuFuncSetAttribute(function, cuda::kDynamicSharedBytes, int(sharedBytes)),
                       "kernel '" + name + "' cannot have " + std::to_string(sharedBytes) + " bytes of shared memory");
    if (!found)
      return tl::unexpected(std::move(found).error());
    return function;
  }

private:
  CudaDevice &device;
  cuda::Module module;
};

class CudaGraph final : public DeviceRecording {
public:
  CudaGraph(CudaDevice &device, cuda::GraphExec graph) : device(device), graph(graph) {}
  ~CudaGraph() override {
    CudaDevice::Current current(device);
    device.driver.cuGraphExecDestroy(graph);
  }
  Outcome<void> launch() override {
    CudaDevice::Current current(device);
    return device.check(device.driver.cuGraphLaunch(graph, device.stream), "a step cannot be started");
  }

private:
  CudaDevice &device;
  cuda::GraphExec graph;
};

Outcome<void> CudaDevice::start() {
  cuda::DeviceIndex device = 0;
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
  driver.cuDevicePrimaryCtxRelease_v2(index);
}

cuda::Result CudaDevice::loadImage(const void *image, cuda::Module &module, std::string &log) const {
  std::array<char, 8192> text{};
  int options[] = {cuda::kErrorLog, cuda::kErrorLogBytes};
  void *values[] = {text.data(), reinterpret_cast<void *>(text.size())};
  cuda::Result result = driver.cuModuleLoadDataEx(&module, image, 2, options, values);
  log = text.data();
  while (!log.empty() && (log.back() == '\n' || log.back() == ' '))
    log.pop_back();
  return result;
}

Outcome<std::unique_ptr<DeviceModule>> CudaDevice::load(const DeviceCode &code) {
  Current current(*this);
  cuda::Module module = nullptr;
  std::string log;
  // Machine code runs on its own capability and on later ones of the same major number.
  std::string_view machineCode;
  int capability = capabilityOf(about.target);
  for (int minor = capability % 10; minor >= 0 && machineCode.empty(); --minor)
    if (auto found = code.machineCode.find(std::to_string(capability / 10 * 10 + minor));
        found != code.machineCode.end())
      machineCode = found->second;
  if (!machineCode.empty() && loadImage(machineCode.data(), module, log) == cuda::kSuccess)
    return std::make_unique<CudaModule>(*this, module);
  std::string text(code.module); // the driver wants a zero at its end
  if (cuda::Result result = loadImage(text.c_str(), module, log))
    return fault(QUERN_UNSUPPORTED, about.id + ": the driver rejects the code for '" + code.target +
                                        "': " + driver.describe(result) + (log.empty() ? "" : "; it says: " + log));
  return std::make_unique<CudaModule>(*this, module);
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
  // The driver reads as many arguments as the kernel has, whatever the package says: 4 KiB is the most that one can
  // have.
  static uint64_t none = 0;
  std::array<void *, 512> arguments;
  arguments.fill(&none);
  for (size_t i = 0; i < std::min(launch.arguments.size(), arguments.size()); ++i)
    arguments[i] = const_cast<uint64_t *>(&launch.arguments[i].value);
  return check(driver.cuLaunchKernel(static_cast<cuda::Function>(launch.kernel), launch.grid[0], launch.grid[1],
                                     launch.grid[2], launch.threads, 1, 1, launch.sharedBytes, stream, arguments.data(),
                                     nullptr),
               "a kernel cannot be started");
}

Outcome<std::unique_ptr<DeviceRecording>> CudaDevice::record(std::span<const KernelLaunch> launches) {
  Current current(*this);
  cuda::Result begun = driver.cuStreamBeginCapture_v2(stream, cuda::kCaptureThreadLocal);
  if (begun == cuda::kNotSupported)
    return nullptr;
  Outcome<void> outcome = check(begun, "a step cannot be recorded");
  for (size_t i = 0; outcome && i < launches.size(); ++i)
    outcome = launch(launches[i]);
  cuda::Graph graph = nullptr;
  cuda::GraphExec made = nullptr;
  if (begun == cuda::kSuccess) { // also after a failure, or the stream stays captured
    auto ended = check(driver.cuStreamEndCapture(stream, &graph), "a step cannot be recorded");
    outcome = outcome ? ended : outcome;
  }
  if (outcome)
    outcome = check(driver.cuGraphInstantiateWithFlags(&made, graph, 0), "a step cannot be recorded");
  if (graph)
    driver.cuGraphDestroy(graph);
  if (!outcome)
    return tl::unexpected(std::move(outcome).error());
  return std::make_unique<CudaGraph>(*this, made);
}

Outcome<void> CudaDevice::synchronize() {
  Current current(*this);
  return check(driver.cuStreamSynchronize(stream), "the work given to the device failed");
}

/// Event 0 before the first launch, event i + 1 after launch i.
Outcome<void> CudaDevice::recordEvents(std::span<const KernelLaunch> launches, std::span<cuda::Event> events) {
  for (cuda::Event &event : events)
    if (auto made = check(driver.cuEventCreate(&event, 0), "times cannot be taken"); !made)
      return made;
  for (size_t i = 0; i < events.size(); ++i) {
    if (auto started = i == 0 ? Outcome<void>() : launch(launches[i - 1]); !started)
      return started;
    if (auto recorded = check(driver.cuEventRecord(events[i], stream), "times cannot be taken"); !recorded)
      return recorded;
  }
  return synchronize();
}

Outcome<void> CudaDevice::launchTimed(std::span<const KernelLaunch> launches, std::span<uint64_t> nanoseconds) {
  Current current(*this);
  std::vector<cuda::Event> events(launches.size() + 1, nullptr);
  Outcome<void> outcome = recordEvents(launches, events);
  for (size_t i = 0; outcome && i < launches.size(); ++i) {
    float milliseconds = 0;
    outcome = check(driver.cuEventElapsedTime(&milliseconds, events[i], events[i + 1]), "times cannot be taken");
    nanoseconds[i] += uint64_t(std::lround(double(milliseconds) * 1e6));
  }
  for (cuda::Event event : events)
    if (event)
      driver.cuEventDestroy_v2(event);
  return outcome;
}

} // namespace

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
