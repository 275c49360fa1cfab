// What the driver's functions share: the device locked, the calling thread's contexts, a broken one reported.
#ifndef QUERN_TEST_PTX_DRIVER_CALLS_H
#define QUERN_TEST_PTX_DRIVER_CALLS_H

#include "test/ptx/driver/Device.h"

namespace quern::ptx {

/// Contexts of this thread, the current one last; null: none is current.
inline thread_local std::vector<CUcontext> contexts;

/// Runs `body` on the device, once cuInit has been called.
template <typename Body> CUresult onDevice(Body body) {
  Device &device = Device::get();
  std::lock_guard lock(device.mutex);
  return device.initialized ? body(device) : kNotInitialized;
}

/// Runs `body` in the current context, which has to be alive and whole.
template <typename Body> CUresult inContext(Body body) {
  return onDevice([&](Device &device) -> CUresult {
    if (contexts.empty() || !contexts.back() || device.retained == 0)
      return kInvalidContext;
    return device.broken ? device.broken : body(device);
  });
}

} // namespace quern::ptx

#endif // QUERN_TEST_PTX_DRIVER_CALLS_H
