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

/// Those that can run our code, or an error that says what the others lack.
Outcome<std::vector<Found>> findUsable(const Api &api);

DeviceInfo describeDevice(const Api &api, const Found &found, int index);

} // namespace quern::runtime::opencl

#endif // QUERN_LIB_RUNTIME_OPENCLDEVICES_H
