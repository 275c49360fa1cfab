#include "test/unit/GPU/TestDevice.h"

#include "lib/Runtime/OpenClDevice.h"
#include "test/ptx/Executor.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace quern {
namespace {

/// Makes each launch in several orders of threads and blocks, all of which have to leave the same bytes.
class Executor final : public TestDevice {
public:
  explicit Executor(ptx::Module module) : module(std::move(module)) {}

  uint64_t upload(std::span<const std::byte> bytes, bool areWeights) override {
    uint64_t address = memory.allocate(bytes.size());
    std::byte *place = areWeights ? memory.find(address, bytes.size()) : memory.findToWrite(address, bytes.size());
    std::memcpy(place, bytes.data(), bytes.size());
    uploaded.emplace_back(place, bytes.size());
    return address;
  }

  void download(uint64_t address, std::span<std::byte> bytes) override {
    std::memcpy(bytes.data(), memory.find(address, bytes.size()), bytes.size());
  }

  Status launch(const TestLaunch &launch) override {
    const ptx::Kernel *kernel = module.find(launch.kernel);
    if (!kernel)
      return fail("no kernel " + launch.kernel);
    const Contents before = contents();
    Contents first;
    for (uint32_t order = 0; order < kOrders; ++order) {
      restore(before);
      ptx::LaunchOptions options;
      options.seed = launch.seed + order;
      options.overlaps = kernel->capability >= 90; // as code for such devices may be launched
      ptx::LaunchShape shape{launch.grid, {launch.threads, 1, 1}, launch.sharedBytes};
      QUERN_TRY(ptx::launch(*kernel, memory, shape, std::as_bytes(std::span(launch.arguments)), options));
      if (order == 0)
        first = contents();
      else if (contents() != first)
        return fail(launch.kernel + ": what comes out depends on the order of threads: orders " +
                    std::to_string(launch.seed) + " and " + std::to_string(options.seed) + " differ");
    }
    return {};
  }

private:
  static constexpr uint32_t kOrders = 3;
  using Contents = std::vector<std::vector<std::byte>>; ///< of all that was uploaded

  Contents contents() const {
    Contents out;
    for (std::span<std::byte> bytes : uploaded)
      out.emplace_back(bytes.begin(), bytes.end());
    return out;
  }
  void restore(const Contents &to) {
    for (size_t i = 0; i < uploaded.size(); ++i)
      std::ranges::copy(to[i], uploaded[i].begin());
  }

  ptx::Module module;
  ptx::GlobalMemory memory;
  std::vector<std::span<std::byte>> uploaded;
};

template <typename T> Result<T> withoutStatus(runtime::Outcome<T> outcome) {
  if (!outcome)
    return fail(outcome.error().message);
  if constexpr (std::is_void_v<T>)
    return {};
  else
    return std::move(*outcome);
}

/// The device, or why there is none.
Result<runtime::Device *> openClDevice() {
  ::setenv("QUERN_CACHE", "none", 0); // tests leave nothing behind, unless they are asked to
  static const auto device = runtime::openOpenClDevice(0);
  if (!device)
    return fail(device.error().message);
  return device->get();
}

class OpenClModule final : public TestDevice {
public:
  OpenClModule(runtime::Device &device, std::shared_ptr<runtime::DeviceModule> module)
      : device(device), module(std::move(module)) {}

  ~OpenClModule() override {
    for (const runtime::DeviceMemory &memory : allocated) {
      std::vector<std::byte> behind(kGuard.size());
      download(memory.address() + memory.size() - kGuard.size(), behind);
      EXPECT_TRUE(std::ranges::equal(behind, kGuard)) << "a kernel has written behind " << memory.size() << " bytes";
    }
  }

  uint64_t upload(std::span<const std::byte> bytes, bool) override {
    auto memory = runtime::DeviceMemory::allocate(device, bytes.size() + kGuard.size());
    if (!succeeds(memory))
      return 0;
    uint64_t address = memory->address();
    allocated.push_back(std::move(*memory));
    succeeds(device.write(address, bytes.data(), bytes.size()));
    succeeds(device.write(address + bytes.size(), kGuard.data(), kGuard.size()));
    succeeds(device.synchronize());
    return address;
  }

  void download(uint64_t address, std::span<std::byte> bytes) override {
    succeeds(device.read(bytes.data(), address, bytes.size()));
    succeeds(device.synchronize());
  }

  Status launch(const TestLaunch &launch) override {
    runtime::KernelLaunch made;
    QUERN_ASSIGN(made.kernel, withoutStatus(module->kernel(launch.kernel, launch.sharedBytes)));
    std::ranges::copy(launch.grid, made.grid);
    made.threads = launch.threads;
    made.sharedBytes = launch.sharedBytes;
    for (uint64_t value : launch.arguments)
      made.arguments.push_back({value, isAddress(value)});
    QUERN_TRY(withoutStatus(device.launch(made)));
    return withoutStatus(device.synchronize());
  }

private:
  static constexpr std::array<std::byte, 64> kGuard = [] {
    std::array<std::byte, 64> guard;
    guard.fill(std::byte{0xa5});
    return guard;
  }();

  template <typename T> static bool succeeds(const runtime::Outcome<T> &outcome) {
    EXPECT_TRUE(outcome) << outcome.error().message;
    return bool(outcome);
  }

  bool isAddress(uint64_t value) const {
    return std::ranges::any_of(allocated, [&](const runtime::DeviceMemory &memory) {
      return value >= memory.address() && value - memory.address() < memory.size();
    });
  }

  runtime::Device &device;
  std::shared_ptr<runtime::DeviceModule> module;
  std::vector<runtime::DeviceMemory> allocated;
};

/// Kept until the next one is asked for: compiling takes most of the time, and tests run a kernel several times.
Result<std::shared_ptr<runtime::DeviceModule>> compiledSpirv(runtime::Device &device, const std::string &code) {
  static std::pair<std::string, std::shared_ptr<runtime::DeviceModule>> last;
  if (last.first != code) {
    QUERN_ASSIGN(auto module, withoutStatus(device.load({"spirv", code, {}})));
    last = {code, std::move(module)};
  }
  return last.second;
}

bool isSpirv(const std::string &code) {
  constexpr uint32_t kMagic = 0x07230203;
  uint32_t first = 0;
  std::memcpy(&first, code.data(), std::min(code.size(), sizeof first));
  return first == kMagic;
}

} // namespace

std::string openClProblem() {
  auto device = openClDevice();
  return device ? "" : device.error().message;
}

Result<std::unique_ptr<TestDevice>> loadCode(const std::string &code) {
  if (!isSpirv(code)) {
    QUERN_ASSIGN(ptx::Module module, ptx::loadModule(code));
    return std::make_unique<Executor>(std::move(module));
  }
  QUERN_ASSIGN(runtime::Device * device, openClDevice());
  QUERN_ASSIGN(auto module, compiledSpirv(*device, code));
  return std::make_unique<OpenClModule>(*device, std::move(module));
}

} // namespace quern
