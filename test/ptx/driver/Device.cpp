#include "test/ptx/driver/Device.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <cstring>

namespace quern::ptx {
namespace {

constexpr int kSharedPerBlock = 48 << 10, kSharedOptIn = 163 << 10; // of an A100, in bytes

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
  return settings;
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
  defaultStream.waiting.clear();
  modules.clear();
  for (auto [pointer, bytes] : sizes)
    memory.release(pointer);
  sizes.clear();
  usedBytes = 0;
  broken = kSuccess;
  return kSuccess;
}

CUresult Device::attribute(int attribute, int &value) const {
  const std::map<int, int> values = {{kMaxThreadsPerBlock, 1024},
                                     {kMaxSharedPerBlock, kSharedPerBlock},
                                     {kWarpSize, 32},
                                     {kMultiprocessors, 108},
                                     {kCapabilityMajor, settings.capability / 10},
                                     {kCapabilityMinor, settings.capability % 10},
                                     {kMaxSharedOptIn, kSharedOptIn}};
  auto found = values.find(attribute);
  if (found == values.end())
    return kInvalidValue;
  value = found->second;
  return kSuccess;
}

CUresult Device::load(const char *image, CUmodule &module, std::string &log) {
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
  if (bytes < 0 || bytes > kSharedOptIn - int(function->kernel->declaredSharedBytes))
    return kInvalidValue;
  function->dynamicShared = uint32_t(bytes);
  return kSuccess;
}

CUresult Device::allocate(size_t bytes, CUdeviceptr &pointer) {
  if (bytes == 0)
    return kInvalidValue;
  if (bytes > freeBytes())
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

CUresult Device::createStream(bool nonBlocking, CUstream &stream) {
  auto made = std::make_unique<FakeStream>();
  made->nonBlocking = nonBlocking;
  stream = made.get();
  streams.emplace(stream, std::move(made));
  return kSuccess;
}

FakeStream *Device::find(CUstream stream) {
  if (!stream)
    return &defaultStream;
  auto found = streams.find(stream);
  return found == streams.end() ? nullptr : found->second.get();
}

CUresult Device::destroyStream(CUstream stream) {
  if (!stream || !find(stream))
    return kInvalidHandle;
  CUresult result = synchronize(stream);
  streams.erase(stream);
  return result;
}

CUresult Device::launch(CUfunction function, const LaunchShape &shape, CUstream stream, void **parameters) {
  FakeStream *queue = find(stream);
  if (!queue || !owns(function))
    return kInvalidHandle;
  const Kernel &kernel = *function->kernel;
  uint32_t allowed = std::max(function->dynamicShared, uint32_t(kSharedPerBlock) - kernel.declaredSharedBytes);
  if (shape.dynamicSharedBytes > allowed || (!parameters && kernel.parameterBytes))
    return kInvalidValue;
  if (auto fine = checkLaunch(kernel, shape); !fine) {
    fault = fine.error().message;
    return kInvalidValue;
  }
  std::vector<std::byte> bytes(kernel.parameterBytes);
  for (size_t i = 0; i < kernel.parameters.size(); ++i)
    std::memcpy(bytes.data() + kernel.parameters[i].address, parameters[i], kernel.parameters[i].bytes);
  if (!stream) // the default stream waits for the others
    if (CUresult result = synchronize(nullptr))
      return result;
  queue->waiting.push_back({function, shape, std::move(bytes)});
  return kSuccess;
}

CUresult Device::drain(FakeStream &stream) {
  while (!stream.waiting.empty()) {
    if (broken)
      return broken;
    FakeStream::Launch launch = std::move(stream.waiting.front());
    stream.waiting.pop_front();
    LaunchOptions options;
    options.seed = settings.seed;
    auto counts = ptx::launch(*launch.function->kernel, memory, launch.shape, launch.parameters, options);
    if (!counts) {
      fault = counts.error().message;
      broken = kLaunchFailed;
    }
  }
  return broken;
}

CUresult Device::drainAll() {
  if (CUresult result = synchronize(nullptr))
    return result;
  for (auto &entry : streams)
    if (CUresult result = drain(*entry.second))
      return result;
  return kSuccess;
}

CUresult Device::synchronize(CUstream stream) {
  FakeStream *found = find(stream);
  if (!found)
    return kInvalidHandle;
  if (!stream || !found->nonBlocking) // blocking streams and the default one wait for each other
    if (CUresult result = drain(defaultStream))
      return result;
  if (!stream)
    for (auto &entry : streams)
      if (!entry.second->nonBlocking)
        if (CUresult result = drain(*entry.second))
          return result;
  return drain(*found);
}

} // namespace quern::ptx
