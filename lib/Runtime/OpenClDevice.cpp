#include "OpenClDevice.h"

#include "BuildCache.h"
#include "Cpu.h"
#include "Memory.h"
#include "OpenClDevices.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <mutex>

namespace quern::runtime {
namespace {

using opencl::Api;
using opencl::Found;
using opencl::kSuccess;

class OpenClDevice final : public Device {
public:
  OpenClDevice(const Api &api, opencl::MemoryApi memory, const Found &found, int index)
      : api(api), memory(memory), found(found) {
    about = opencl::describeDevice(api, found, index);
  }
  ~OpenClDevice() override;
  Outcome<void> start();

  Outcome<std::unique_ptr<DeviceModule>> load(const DeviceCode &code) override;
  Outcome<uint64_t> freeBytes() override;
  Outcome<DeviceAddress> allocate(uint64_t bytes) override;
  void release(DeviceAddress address) override;
  Outcome<void *> allocateHost(uint64_t bytes) override;
  void releaseHost(void *host) override { memory.clMemBlockingFreeINTEL(context, host); }
  Outcome<void> write(DeviceAddress to, const void *from, uint64_t bytes) override;
  Outcome<void> read(void *to, DeviceAddress from, uint64_t bytes) override;
  Outcome<void> clear(DeviceAddress to, uint64_t bytes) override;
  Outcome<void> launch(const KernelLaunch &launch) override;
  Outcome<std::unique_ptr<DeviceRecording>> record(std::span<const KernelLaunch>) override { return nullptr; }
  Outcome<void> synchronize() override { return check(api.clFinish(queue), "the work given to the device failed"); }
  Outcome<void> launchTimed(std::span<const KernelLaunch> launches, std::span<uint64_t> nanoseconds) override;

  /// `what` went wrong, for the message; nothing if `result` is a success.
  Outcome<void> check(int result, const std::string &what) const {
    if (result == kSuccess)
      return {};
    // A buffer larger than the device allows is said to be of an invalid size.
    bool full = result == opencl::kAllocationFailed || result == opencl::kOutOfResources ||
                result == opencl::kOutOfHostMemory || result == opencl::kInvalidBufferSize;
    return fault(full ? QUERN_OUT_OF_MEMORY : QUERN_DEVICE_FAILED,
                 about.id + ": " + what + ": " + opencl::describe(result));
  }

  const Api &api;

private:
  std::string buildLog(opencl::Program program) const;
  std::unique_ptr<DeviceModule> loadKept(std::span<const uint8_t> binary);
  std::vector<uint8_t> binaryOf(opencl::Program program) const;

  opencl::MemoryApi memory;
  Found found;
  opencl::Context context = nullptr;
  opencl::Queue queue = nullptr;
  std::mutex mutex; ///< guards what follows
  std::map<DeviceAddress, uint64_t> allocated; ///< bytes, by where they start
};

class OpenClModule final : public DeviceModule {
public:
  OpenClModule(OpenClDevice &device, opencl::Program program, std::string loaded) : device(device), program(program) {
    form = std::move(loaded);
  }
  ~OpenClModule() override {
    for (opencl::Kernel kernel : kernels)
      device.api.clReleaseKernel(kernel);
    device.api.clReleaseProgram(program);
  }

  Outcome<DeviceKernel> kernel(const std::string &name, uint32_t) override {
    int result = kSuccess;
    opencl::Kernel kernel = device.api.clCreateKernel(program, name.c_str(), &result);
    auto done = device.check(result, "the package's code has no kernel '" + name + "'");
    if (!done)
      return tl::unexpected(std::move(done).error());
    kernels.push_back(kernel);
    // Caches are reached by addresses that lie in memory, not by arguments.
    unsigned yes = 1;
    result = device.api.clSetKernelExecInfo(kernel, opencl::kIndirectDeviceAccess, sizeof yes, &yes);
    done = device.check(result, "kernel '" + name + "' cannot be prepared");
    if (!done)
      return tl::unexpected(std::move(done).error());
    return kernel;
  }

private:
  OpenClDevice &device;
  opencl::Program program;
  std::vector<opencl::Kernel> kernels;
};

Outcome<void> OpenClDevice::start() {
  int result = kSuccess;
  context = api.clCreateContext(nullptr, 1, &found.device, nullptr, nullptr, &result);
  if (!context)
    return check(result, "the device cannot be opened");
  queue = api.clCreateCommandQueueWithProperties(context, found.device, nullptr, &result);
  return check(result, "the device cannot be used");
}

OpenClDevice::~OpenClDevice() {
  if (queue)
    api.clReleaseCommandQueue(queue);
  if (context)
    api.clReleaseContext(context);
}

std::string OpenClDevice::buildLog(opencl::Program program) const {
  size_t bytes = 0;
  api.clGetProgramBuildInfo(program, found.device, opencl::kProgramBuildLog, 0, nullptr, &bytes);
  std::string log(bytes, '\0');
  api.clGetProgramBuildInfo(program, found.device, opencl::kProgramBuildLog, bytes, log.data(), nullptr);
  log = log.c_str();
  while (!log.empty() && (log.back() == '\n' || log.back() == ' '))
    log.pop_back();
  return log;
}

/// Null where the driver does not take it, whatever the reason: another driver's, or damaged in a way that it sees.
std::unique_ptr<DeviceModule> OpenClDevice::loadKept(std::span<const uint8_t> binary) {
  if (binary.empty())
    return nullptr;
  const unsigned char *bytes = binary.data();
  size_t size = binary.size();
  int status = kSuccess, result = kSuccess;
  opencl::Program program =
      api.clCreateProgramWithBinary(context, 1, &found.device, &size, &bytes, &status, &result);
  if (!program)
    return nullptr;
  auto module = std::make_unique<OpenClModule>(*this, program, "SPIR-V, compiled by an earlier run");
  bool taken = result == kSuccess && status == kSuccess &&
               api.clBuildProgram(program, 1, &found.device, "", nullptr, nullptr) == kSuccess;
  return taken ? std::move(module) : nullptr;
}

/// Empty where the driver does not tell.
std::vector<uint8_t> OpenClDevice::binaryOf(opencl::Program program) const {
  size_t bytes = 0;
  if (api.clGetProgramInfo(program, opencl::kProgramBinarySizes, sizeof bytes, &bytes, nullptr) != kSuccess)
    return {};
  std::vector<uint8_t> binary(bytes);
  unsigned char *place = binary.data();
  if (api.clGetProgramInfo(program, opencl::kProgramBinaries, sizeof place, &place, nullptr) != kSuccess)
    return {};
  return binary;
}

/// Whether the instructions of a SPIR-V module end where it does, as those of one that was cut off do not. Drivers look
/// less closely: Intel's for processors crashes.
static bool isWhole(std::string_view module) {
  constexpr size_t kHeaderWords = 5;
  constexpr uint32_t kMagic = 0x07230203, kFunctionEnd = 56;
  size_t words = module.size() / sizeof(uint32_t), at = kHeaderWords;
  auto word = [&](size_t index) {
    uint32_t value;
    std::memcpy(&value, module.data() + index * sizeof value, sizeof value);
    return value;
  };
  uint32_t last = 0;
  if (module.size() % sizeof(uint32_t) != 0 || words < kHeaderWords || word(0) != kMagic)
    return false;
  for (size_t length = 1; at < words && length > 0; at += length) {
    last = word(at) & 0xFFFF;
    length = word(at) >> 16;
  }
  return at == words && last == kFunctionEnd;
}

Outcome<std::unique_ptr<DeviceModule>> OpenClDevice::load(const DeviceCode &code) {
  int result = kSuccess;
  std::string log;
  if (!isWhole(code.module))
    return fault(QUERN_BAD_PACKAGE, about.id + ": the code for '" + code.target +
                                        "' is no whole module of SPIR-V; compile the model again");
  std::optional<BuildCache> cache = BuildCache::ofUser();
  // Processors of one name may differ in what they can do, above all in virtual machines.
  const std::string driver = opencl::describeDriver(api, found),
                    features = about.isProcessor ? CpuFeatures::detect().describe() : "";
  const std::string_view parts[] = {code.module, about.name, driver, features};
  Hash128 key = BuildCache::keyOf(parts);
  if (auto module = cache ? loadKept(cache->find(key)) : nullptr)
    return module;
  opencl::Program program = api.clCreateProgramWithIL(context, code.module.data(), code.module.size(), &result);
  if (program) {
    auto module = std::make_unique<OpenClModule>(*this, program, "SPIR-V");
    result = api.clBuildProgram(program, 1, &found.device, "", nullptr, nullptr);
    if (result == kSuccess && cache)
      cache->keep(key, binaryOf(program));
    if (result == kSuccess)
      return module;
    log = buildLog(program);
  }
  return fault(QUERN_UNSUPPORTED, about.id + ": the driver rejects the code for '" + code.target +
                                      "': " + opencl::describe(result) + (log.empty() ? "" : "; it says: " + log));
}

/// OpenCL does not tell what others have; a processor's memory is that of the machine.
Outcome<uint64_t> OpenClDevice::freeBytes() {
  std::lock_guard lock(mutex);
  uint64_t used = 0;
  for (auto [address, bytes] : allocated)
    used += bytes;
  uint64_t free = about.memoryBytes - std::min(used, about.memoryBytes);
  return about.isProcessor ? std::min(free, availableMemory()) : free;
}

Outcome<DeviceAddress> OpenClDevice::allocate(uint64_t bytes) {
  int result = kSuccess;
  void *start = memory.clDeviceMemAllocINTEL(context, found.device, nullptr, bytes, 256, &result);
  if (auto made = check(result, std::to_string(bytes) + " bytes of memory are refused"); !made)
    return tl::unexpected(std::move(made).error());
  std::lock_guard lock(mutex);
  allocated[reinterpret_cast<DeviceAddress>(start)] = bytes;
  return reinterpret_cast<DeviceAddress>(start);
}

void OpenClDevice::release(DeviceAddress address) {
  {
    std::lock_guard lock(mutex); // the driver may give the address out again as soon as it is free
    allocated.erase(address);
  }
  memory.clMemBlockingFreeINTEL(context, reinterpret_cast<void *>(address));
}

Outcome<void *> OpenClDevice::allocateHost(uint64_t bytes) {
  int result = kSuccess;
  void *host = memory.clHostMemAllocINTEL(context, nullptr, bytes, 64, &result);
  if (auto made = check(result, std::to_string(bytes) + " bytes of the host's memory are refused"); !made)
    return tl::unexpected(std::move(made).error());
  return host;
}

Outcome<void> OpenClDevice::write(DeviceAddress to, const void *from, uint64_t bytes) {
  int result = memory.clEnqueueMemcpyINTEL(queue, /*blocking=*/0, reinterpret_cast<void *>(to), from, bytes, 0, nullptr,
                                           nullptr);
  return check(result, "a copy to the device failed");
}

Outcome<void> OpenClDevice::read(void *to, DeviceAddress from, uint64_t bytes) {
  int result = memory.clEnqueueMemcpyINTEL(queue, /*blocking=*/0, to, reinterpret_cast<const void *>(from), bytes, 0,
                                           nullptr, nullptr);
  return check(result, "a copy from the device failed");
}

Outcome<void> OpenClDevice::clear(DeviceAddress to, uint64_t bytes) {
  uint8_t zero = 0;
  int result = memory.clEnqueueMemFillINTEL(queue, reinterpret_cast<void *>(to), &zero, 1, bytes, 0, nullptr, nullptr);
  return check(result, "memory cannot be cleared");
}

/// A kernel that uses shared memory of the launch's size takes it as its last argument (emitSpirv).
Outcome<void> OpenClDevice::launch(const KernelLaunch &launch) {
  auto kernel = static_cast<opencl::Kernel>(launch.kernel);
  int result = kSuccess;
  unsigned count = 0;
  for (const KernelArgument &argument : launch.arguments) {
    if (argument.isAddress)
      result = memory.clSetKernelArgMemPointerINTEL(kernel, count, reinterpret_cast<const void *>(argument.value));
    else
      result = api.clSetKernelArg(kernel, count, sizeof argument.value, &argument.value);
    if (auto taken = check(result, "a kernel does not take argument " + std::to_string(count)); !taken)
      return taken;
    ++count;
  }
  if (launch.sharedBytes > 0)
    result = api.clSetKernelArg(kernel, count, launch.sharedBytes, nullptr);
  if (auto taken =
          check(result, "a kernel cannot have " + std::to_string(launch.sharedBytes) + " bytes of shared memory");
      !taken)
    return taken;
  size_t local[3] = {launch.threads, 1, 1};
  size_t global[3] = {size_t(launch.grid[0]) * launch.threads, launch.grid[1], launch.grid[2]};
  result = api.clEnqueueNDRangeKernel(queue, kernel, 3, nullptr, global, local, 0, nullptr, nullptr);
  return check(result, "a kernel cannot be started");
}

Outcome<void> OpenClDevice::launchTimed(std::span<const KernelLaunch> launches, std::span<uint64_t> nanoseconds) {
  if (auto before = synchronize(); !before)
    return before;
  for (size_t i = 0; i < launches.size(); ++i) {
    auto begin = std::chrono::steady_clock::now();
    if (auto started = launch(launches[i]); !started)
      return started;
    if (auto done = synchronize(); !done)
      return done;
    nanoseconds[i] += uint64_t(std::chrono::nanoseconds(std::chrono::steady_clock::now() - begin).count());
  }
  return {};
}

} // namespace

Outcome<std::unique_ptr<Device>> openOpenClDevice(int index) {
  auto api = Api::load();
  if (!api)
    return tl::unexpected(std::move(api).error());
  auto devices = opencl::findDevices(**api);
  if (!devices)
    return tl::unexpected(std::move(devices).error());
  if (index < 0 || size_t(index) >= devices->usable.size())
    return fault(QUERN_UNSUPPORTED, "there is no OpenCL device " + std::to_string(index));
  const Found &found = devices->usable[size_t(index)];
  auto memory = opencl::MemoryApi::find(**api, found.platform, opencl::describeDevice(**api, found, index).name);
  if (!memory)
    return tl::unexpected(std::move(memory).error());
  auto device = std::make_unique<OpenClDevice>(**api, *memory, found, index);
  if (auto started = device->start(); !started)
    return tl::unexpected(std::move(started).error());
  return device;
}

} // namespace quern::runtime
