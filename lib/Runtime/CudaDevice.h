// NVIDIA GPUs, by their driver library.
#ifndef QUERN_LIB_RUNTIME_CUDADEVICE_H
#define QUERN_LIB_RUNTIME_CUDADEVICE_H

#include "Device.h"

namespace quern::runtime {

/// The devices of the driver, none of them opened. Fails where there is no driver that can be used, and says why.
Outcome<std::vector<DeviceInfo>> listCudaDevices();

/// Whether code for `target` runs on a device of the list: "nvptx:sm_80" on an sm_80 and on all later ones.
bool cudaRuns(const DeviceInfo &device, const std::string &target);

/// Device `index` of the list.
Outcome<std::unique_ptr<Device>> openCudaDevice(int index);

} // namespace quern::runtime

#endif // QUERN_LIB_RUNTIME_CUDADEVICE_H
