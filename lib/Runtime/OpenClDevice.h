// Devices of OpenCL, by the system's loader.
#ifndef QUERN_LIB_RUNTIME_OPENCLDEVICE_H
#define QUERN_LIB_RUNTIME_OPENCLDEVICE_H

#include "Device.h"

namespace quern::runtime {

/// The devices of all platforms, none of them opened: those that can run our code, then the others with their problems.
/// Fails where there is no loader, or where devices are but none of them can, and says what they lack.
Outcome<std::vector<DeviceInfo>> listOpenClDevices();

/// Whether code for `target` runs on a device of the list: only "spirv" does.
bool openClRuns(const DeviceInfo &device, const std::string &target);

/// Device `index` of the list.
Outcome<std::unique_ptr<Device>> openOpenClDevice(int index);

} // namespace quern::runtime

#endif // QUERN_LIB_RUNTIME_OPENCLDEVICE_H
