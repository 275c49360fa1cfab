// NVIDIA GPUs, by their driver library.
#ifndef QUERN_LIB_RUNTIME_CUDADEVICE_H
#define QUERN_LIB_RUNTIME_CUDADEVICE_H

#include "CudaDriver.h"
#include "Device.h"

namespace quern::runtime {

/// The devices of the driver, none of them opened. Fails where there is no driver that can be used, and says why.
Outcome<std::vector<DeviceInfo>> listCudaDevices();

/// Whether code for `target` runs on a device of the list: "nvptx:sm_80" on an sm_80 and on all later ones.
bool cudaRuns(const DeviceInfo &device, const std::string &target);

/// Device `index` of the list.
Outcome<std::unique_ptr<Device>> openCudaDevice(int index);

class CudaDevice final : public Device {
public:
  CudaDevice(const cuda::Driver &driver, int index);
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
    explicit Current(const CudaDevice &device)
        : driver(device.driver), pushed(driver.cuCtxPushCurrent_v2(device.context) == cuda::kSuccess) {}
    ~Current() {
      cuda::Context ignored;
      if (pushed) // else the one on top is somebody else's
        driver.cuCtxPopCurrent_v2(&ignored);
    }

  private:
    const cuda::Driver &driver;
    bool pushed;
  };

  const cuda::Driver &driver;
  cuda::Stream stream = nullptr;

private:
  /// Whether launches of code for `target` may overlap: it is for devices that can, where kernels wait, and the driver
  /// keeps it in graphs.
  bool canOverlap(const std::string &target) const;
  cuda::Result loadImage(const void *image, cuda::Module &module, std::string &log) const;
  Outcome<void> recordEvents(std::span<const KernelLaunch> launches, std::span<cuda::Event> events);

  int index;
  cuda::DeviceIndex device = 0;
  int capability = 0;      ///< 80 of an sm_80
  bool mayOverlap = false; ///< launches of the code that has been loaded
  cuda::Context context = nullptr;
};

} // namespace quern::runtime

#endif // QUERN_LIB_RUNTIME_CUDADEVICE_H
