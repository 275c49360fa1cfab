// A device with memory of its own that runs kernels: what the runtime needs of CUDA, OpenCL and their like.
//
// All work of a device is done in the order in which it was given; the host waits by `synchronize`. Any thread may
// call: allocate, release and freeBytes at any time, the rest one at a time. A kernel that fails breaks its device:
// from then on all calls fail.
#ifndef QUERN_LIB_RUNTIME_DEVICE_H
#define QUERN_LIB_RUNTIME_DEVICE_H

#include "Fault.h"

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace quern::runtime {

/// An address in a device's memory, as kernels see it; 0 is none.
using DeviceAddress = uint64_t;

/// A kernel of a loaded module; lives as long as the module.
using DeviceKernel = void *;

struct KernelArgument {
  uint64_t value;
  bool isAddress; ///< else a whole number
};

struct KernelLaunch {
  DeviceKernel kernel = nullptr;
  uint32_t grid[3] = {1, 1, 1}; ///< blocks, none of them 0
  uint32_t threads = 1;         ///< of a block
  uint32_t sharedBytes = 0;     ///< dynamic
  bool overlaps = false;        ///< may start while the launch before it runs, for whose end its kernel waits
  std::vector<KernelArgument> arguments;
};

/// One form of a package's code for a device, as bytes of the package.
struct DeviceCode {
  std::string target;                                  ///< "nvptx:sm_80"
  std::string_view module;                             ///< PTX text, SPIR-V
  std::map<std::string, std::string_view> machineCode; ///< by kind of device ("80"); may be empty
};

class DeviceModule {
public:
  virtual ~DeviceModule() = default;
  /// What of the code was loaded, for users: "machine code for sm_80", "PTX".
  std::string form;
  /// A kernel that may use `sharedBytes` of dynamic shared memory. Fails naming the kernel.
  virtual Outcome<DeviceKernel> kernel(const std::string &name, uint32_t sharedBytes) = 0;
};

/// Launches that the device keeps, to do all of them at one call.
class DeviceRecording {
public:
  virtual ~DeviceRecording() = default;
  virtual Outcome<void> launch() = 0;
};

struct DeviceInfo {
  std::string id;     ///< "cuda:0"
  std::string name;   ///< as its maker calls it
  std::string api;    ///< of Manifest::Device: "cuda", "opencl"
  std::string target; ///< the code that fits it best: "nvptx:sm_86"
  uint64_t memoryBytes = 0;
  std::string problem;      ///< why it cannot be used, where it cannot; `id` is then that of its kind: "opencl"
  bool isProcessor = false; ///< one of the machine's own, which runs only where it was asked for by name
};

/// Memory must not outlive its device, nor modules and recordings.
class Device {
public:
  virtual ~Device() = default;
  const DeviceInfo &info() const { return about; }

  /// Fails with the driver's log where it rejects the module.
  virtual Outcome<std::unique_ptr<DeviceModule>> load(const DeviceCode &code) = 0;

  virtual Outcome<uint64_t> freeBytes() = 0;
  /// Aligned to 256 bytes at least. QUERN_OUT_OF_MEMORY where there is not enough.
  virtual Outcome<DeviceAddress> allocate(uint64_t bytes) = 0;
  virtual void release(DeviceAddress address) = 0;
  /// Memory of the host that the device copies from and to without the processor.
  virtual Outcome<void *> allocateHost(uint64_t bytes) = 0;
  virtual void releaseHost(void *memory) = 0;

  // These return at once; host memory, of allocateHost, has to stay as it is until `synchronize`.
  virtual Outcome<void> write(DeviceAddress to, const void *from, uint64_t bytes) = 0;
  virtual Outcome<void> read(void *to, DeviceAddress from, uint64_t bytes) = 0;
  virtual Outcome<void> clear(DeviceAddress to, uint64_t bytes) = 0;
  virtual Outcome<void> launch(const KernelLaunch &launch) = 0;

  /// Null where the driver cannot do it.
  virtual Outcome<std::unique_ptr<DeviceRecording>> record(std::span<const KernelLaunch> launches) = 0;
  /// Waits until all is done that was given before; fails where a kernel has failed.
  virtual Outcome<void> synchronize() = 0;
  /// Runs launches one after the other and adds the nanoseconds of each to its place in `nanoseconds`.
  virtual Outcome<void> launchTimed(std::span<const KernelLaunch> launches, std::span<uint64_t> nanoseconds) = 0;

protected:
  DeviceInfo about;
};

/// An allocation of a device.
class DeviceMemory {
public:
  DeviceMemory() = default;
  static Outcome<DeviceMemory> allocate(Device &device, uint64_t bytes);
  DeviceMemory(DeviceMemory &&other) noexcept { swap(other); }
  DeviceMemory &operator=(DeviceMemory &&other) noexcept {
    swap(other);
    return *this;
  }
  ~DeviceMemory() {
    if (start)
      device->release(start);
  }
  DeviceAddress address() const { return start; }
  uint64_t size() const { return bytes; }

private:
  void swap(DeviceMemory &other) {
    std::swap(device, other.device);
    std::swap(start, other.start);
    std::swap(bytes, other.bytes);
  }
  Device *device = nullptr;
  DeviceAddress start = 0;
  uint64_t bytes = 0;
};

/// Memory of the host for a device's copies.
class StagingMemory {
public:
  StagingMemory() = default;
  static Outcome<StagingMemory> allocate(Device &device, uint64_t bytes);
  StagingMemory(StagingMemory &&other) noexcept { swap(other); }
  StagingMemory &operator=(StagingMemory &&other) noexcept {
    swap(other);
    return *this;
  }
  ~StagingMemory() {
    if (start)
      device->releaseHost(start);
  }
  uint8_t *data() const { return start; }

private:
  void swap(StagingMemory &other) {
    std::swap(device, other.device);
    std::swap(start, other.start);
  }
  Device *device = nullptr;
  uint8_t *start = nullptr;
};

} // namespace quern::runtime

#endif // QUERN_LIB_RUNTIME_DEVICE_H
