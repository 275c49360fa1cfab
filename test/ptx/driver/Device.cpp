#include "test/ptx/driver/Device.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <cstring>

namespace quern::ptx {
namespace {

template <typename T> void readSetting(const char *name, T &value) {
  if (const char *text = std::getenv(name))
    std::from_chars(text, text + std::strlen(text), value);
}

} // namespace

DeviceSettings DeviceSettings::fromEnvironment() {
  DeviceSettings settings;
  readSetting("QUERN_FAKE_CUDA_SEED", settings.seed);
  readSetting("QUERN_FAKE_CUDA_MEMORY", settings.memoryBytes);
  readSetting("QUERN_FAKE_CUDA_CAPABILITY", settings.capability);
  readSetting("QUERN_FAKE_CUDA_VERSION", settings.version);
  readSetting("QUERN_FAKE_CUDA_DEVICES", settings.devices);
  readSetting("QUERN_FAKE_CUDA_GRAPHS", settings.graphs);
  readSetting("QUERN_FAKE_CUDA_FAIL_LAUNCH", settings.failLaunch);
  readSetting("QUERN_FAKE_CUDA_FAIL_ALLOCATION", settings.failAllocation);
  return settings;
}

CUresult Device::start() {
  settings = DeviceSettings::fromEnvironment();
  initialized = settings.devices > 0;
  launches = allocations = pinnings = moduleLoads = graphLaunches = overlapping = bytesRead = 0;
  return initialized ? kSuccess : kNoDevice;
}

size_t Device::live(std::string_view kind) const {
  const std::map<std::string_view, size_t> counts = {
      {"allocations", sizes.size()}, {"pinned", pinned.size()}, {"streams", streams.size()},
      {"modules", modules.size()},   {"events", events.size()}, {"graphs", graphs.size() + executables.size()},
      {"contexts", retained}};
  auto found = counts.find(kind);
  return found == counts.end() ? ~size_t(0) : found->second;
}

size_t Device::calls(std::string_view kind) const {
  const std::pair<std::string_view, size_t> counts[] = {{"allocations", allocations},
                                                        {"pinned", pinnings},
                                                        {"modules", moduleLoads},
                                                        {"graphs", graphLaunches},
                                                        {"overlapping launches", overlapping},
                                                        {"bytes read", bytesRead}};
  for (auto [name, count] : counts)
    if (name == kind)
      return count;
  return ~size_t(0);
}

Device &Device::get() {
  static Device device;
  return device;
}

CUresult Device::retain() {
  ++retained;
  return kSuccess;
}

/// The last release ends the context with all that it holds.
CUresult Device::release() {
  if (retained == 0)
    return kInvalidContext;
  if (--retained > 0)
    return kSuccess;
  streams.clear();
  defaultStream = {};
  graphs.clear();
  executables.clear();
  events.clear();
  pinned.clear();
  modules.clear();
  for (auto [pointer, bytes] : sizes)
    memory.release(pointer);
  sizes.clear();
  usedBytes = 0;
  broken = kSuccess;
  return kSuccess;
}

/// Bytes of shared memory that a block can have: CUDA C++ Programming Guide, technical specifications per compute
/// capability.
int Device::mostShared() const {
  const std::map<int, int> kilobytes = {{75, 64}, {80, 163}, {86, 99}, {87, 163}, {89, 99}, {90, 227}, {120, 99}};
  auto next = kilobytes.upper_bound(settings.capability);
  return next == kilobytes.begin() ? kSharedPerBlock : std::prev(next)->second << 10;
}

CUresult Device::attribute(int attribute, int &value) const {
  const std::map<int, int> values = {{kMaxThreadsPerBlock, 1024},
                                     {kMaxSharedPerBlock, kSharedPerBlock},
                                     {kWarpSize, 32},
                                     {kMultiprocessors, 108},
                                     {kCapabilityMajor, settings.capability / 10},
                                     {kCapabilityMinor, settings.capability % 10},
                                     {kMaxSharedOptIn, mostShared()}};
  auto found = values.find(attribute);
  if (found == values.end())
    return kInvalidValue;
  value = found->second;
  return kSuccess;
}

CUresult Device::load(const char *image, CUmodule &module, std::string &log) {
  ++moduleLoads;
  if (std::string_view(image).starts_with("\x7f"
                                          "ELF"))
    return kNoBinaryForGpu; // machine code is for real devices
  auto loaded = loadModule(image);
  if (!loaded) {
    log = loaded.error().message;
    return kInvalidPtx;
  }
  for (const Kernel &kernel : loaded->kernels)
    if (kernel.declaredSharedBytes > kSharedPerBlock)
      log = "kernel " + kernel.name + " declares more than 49152 bytes of shared memory";
  if (loaded->capability > settings.capability)
    log = "the module is for " + loaded->target + ", the device is sm_" + std::to_string(settings.capability);
  if (!log.empty())
    return kInvalidPtx;
  auto made = std::make_unique<FakeModule>();
  made->module = std::move(*loaded);
  module = made.get();
  modules.emplace(module, std::move(made));
  return kSuccess;
}

CUresult Device::unload(CUmodule module) {
  if (CUresult result = drainAll())
    return result;
  return modules.erase(module) ? kSuccess : kInvalidHandle;
}

CUresult Device::function(CUmodule module, const char *name, CUfunction &function) {
  auto found = modules.find(module);
  if (found == modules.end())
    return kInvalidHandle;
  const Kernel *kernel = found->second->module.find(name);
  if (!kernel)
    return kNotFound;
  auto &functions = found->second->functions;
  auto known = std::ranges::find_if(functions, [&](const auto &one) { return one->kernel == kernel; });
  if (known == functions.end())
    known = functions.insert(known, std::make_unique<FakeFunction>(kernel));
  function = known->get();
  return kSuccess;
}

bool Device::owns(CUfunction function) const {
  return std::ranges::any_of(modules, [&](const auto &entry) {
    return std::ranges::any_of(entry.second->functions, [&](const auto &one) { return one.get() == function; });
  });
}

CUresult Device::allowShared(CUfunction function, int bytes) {
  if (!owns(function))
    return kInvalidHandle;
  if (bytes < 0 || bytes > mostShared() - int(function->kernel->declaredSharedBytes))
    return kInvalidValue;
  function->dynamicShared = uint32_t(bytes);
  return kSuccess;
}

CUresult Device::allocate(size_t bytes, CUdeviceptr &pointer) {
  if (bytes == 0)
    return kInvalidValue;
  if (++allocations == settings.failAllocation || bytes > freeBytes())
    return kOutOfMemory;
  pointer = memory.allocate(bytes);
  if (pointer == 0)
    return kOutOfMemory;
  sizes.emplace(pointer, bytes);
  usedBytes += bytes;
  return kSuccess;
}

CUresult Device::free(CUdeviceptr pointer) {
  auto found = sizes.find(pointer);
  if (found == sizes.end())
    return kInvalidValue;
  if (CUresult result = drainAll())
    return result;
  usedBytes -= found->second;
  memory.release(pointer);
  sizes.erase(found);
  return kSuccess;
}

CUresult Device::copy(CUdeviceptr device, size_t bytes, const std::function<void(std::byte *)> &move) {
  if (CUresult result = synchronize(nullptr))
    return result;
  std::byte *place = memory.find(device, bytes);
  if (!place)
    return kInvalidValue;
  move(place);
  return kSuccess;
}

CUresult Device::allocateHost(size_t bytes, void *&pointer) {
  if (bytes == 0)
    return kInvalidValue;
  ++pinnings;
  auto storage = std::make_unique<std::byte[]>(bytes);
  pointer = storage.get();
  pinned.emplace(storage.get(), std::pair(bytes, std::move(storage)));
  return kSuccess;
}

CUresult Device::freeHost(void *pointer) {
  auto found = pinned.find(static_cast<std::byte *>(pointer));
  if (found == pinned.end())
    return kInvalidValue;
  if (CUresult result = drainAll())
    return result;
  pinned.erase(found);
  return kSuccess;
}

bool Device::isPinned(const void *pointer, size_t bytes) const {
  auto *place = static_cast<const std::byte *>(pointer);
  return std::ranges::any_of(pinned, [&](const auto &entry) {
    return place >= entry.first && place + bytes <= entry.first + entry.second.first;
  });
}

} // namespace quern::ptx
