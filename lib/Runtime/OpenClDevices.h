// Which devices of OpenCL can run a package's SPIR-V.
#ifndef QUERN_LIB_RUNTIME_OPENCLDEVICES_H
#define QUERN_LIB_RUNTIME_OPENCLDEVICES_H

#include "Device.h"
#include "OpenClApi.h"

#include <vector>

namespace quern::runtime::opencl {

struct Found {
  Platform platform;
  Device device;
};

struct Devices {
  std::vector<Found> usable;       ///< can run our code
  std::vector<DeviceInfo> refused; ///< the others, with what they lack
};

/// All devices of all platforms; an error, which says why, where none is usable.
Outcome<Devices> findDevices(const Api &api);

/// What programs that the driver compiled depend on, besides the device's name: "version of the driver, platform".
std::string describeDriver(const Api &api, const Found &found);

DeviceInfo describeDevice(const Api &api, const Found &found, int index);

} // namespace quern::runtime::opencl

#endif // QUERN_LIB_RUNTIME_OPENCLDEVICES_H
