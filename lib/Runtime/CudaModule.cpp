// Code on an NVIDIA GPU: modules, and launches that are recorded or timed.
#include "CudaDevice.h"

#include <array>
#include <cmath>
#include <cstring>

namespace quern::runtime {
namespace {

class CudaModule final : public DeviceModule {
public:
  CudaModule(CudaDevice &device, cuda::Module module, std::string loaded) : device(device), module(module) {
    form = std::move(loaded);
  }
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

} // namespace

/// Whether it is text, with at most a zero at its end.
static bool isText(std::string_view image) { return image.substr(0, image.find('\0')).size() + 1 >= image.size(); }

/// Whether the sections of an ELF file lie inside it, or it is text. The driver takes an address and no length.
static bool isWhole(std::string_view image) {
  auto read = [&](size_t at, auto number) {
    std::memcpy(&number, image.data() + at, sizeof number);
    return number;
  };
  constexpr size_t kHeader = 64, kSectionHeader = 64; // of ELF with 64 bits
  constexpr uint32_t kNoBits = 8;                     // a section without bytes in the file
  if (!image.starts_with("\x7f"
                         "ELF"))
    return isText(image);
  if (image.size() < kHeader)
    return false;
  uint64_t table = read(40, uint64_t()), entry = read(58, uint16_t()), count = read(60, uint16_t());
  if (entry != kSectionHeader || table > image.size() || count > (image.size() - table) / kSectionHeader)
    return false;
  for (uint64_t at = table; at < table + count * kSectionHeader; at += kSectionHeader) {
    uint64_t offset = read(at + 24, uint64_t()), size = read(at + 32, uint64_t());
    if (read(at + 4, uint32_t()) != kNoBits && (offset > image.size() || size > image.size() - offset))
      return false;
  }
  return true;
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
  mayOverlap = canOverlap(code.target);
  cuda::Module module = nullptr;
  std::string log;
  // Machine code runs on its own capability and on later ones of the same major number.
  auto found = code.machineCode.end();
  for (int minor = capability % 10; minor >= 0 && found == code.machineCode.end(); --minor)
    found = code.machineCode.find(std::to_string(capability / 10 * 10 + minor));
  std::string form = "PTX";
  if (found != code.machineCode.end()) {
    std::string image(found->second), what = "machine code for sm_" + found->first;
    cuda::Result result = isWhole(image) ? loadImage(image.c_str(), module, log) : cuda::kInvalidImage;
    if (result == cuda::kSuccess)
      return std::make_unique<CudaModule>(*this, module, what);
    form += ", since " + what + " cannot be used: " + driver.describe(result);
  }
  std::string text(code.module); // the driver wants a zero at its end
  if (cuda::Result result = isText(text) ? loadImage(text.c_str(), module, log) : cuda::kInvalidImage)
    return fault(QUERN_UNSUPPORTED, about.id + ": the driver rejects the code for '" + code.target +
                                        "': " + driver.describe(result) + (log.empty() ? "" : "; it says: " + log));
  return std::make_unique<CudaModule>(*this, module, form);
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

/// Event 0 before the first launch, event i + 1 after launch i.
Outcome<void> CudaDevice::recordEvents(std::span<const KernelLaunch> launches, std::span<cuda::Event> events) {
  for (cuda::Event &event : events)
    if (auto made = check(driver.cuEventCreate(&event, 0), "times cannot be taken"); !made)
      return made;
  for (size_t i = 0; i < events.size(); ++i) {
    KernelLaunch alone = i == 0 ? KernelLaunch() : launches[i - 1];
    alone.overlaps = false;
    if (auto started = i == 0 ? Outcome<void>() : launch(alone); !started)
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

} // namespace quern::runtime
