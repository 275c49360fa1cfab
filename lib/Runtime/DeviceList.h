// The kinds of devices that the runtime knows, and the devices that this machine has of them.
#ifndef QUERN_LIB_RUNTIME_DEVICELIST_H
#define QUERN_LIB_RUNTIME_DEVICELIST_H

#include "Device.h"

namespace quern::runtime {

/// A kind of devices, by the interface that drives them.
struct DeviceKind {
  const char *api; ///< of Manifest::Device, and the beginning of a device's name: "cuda"
  /// The devices, none of them opened, by their numbers. Fails where there is no driver that can be used, and
  /// says why.
  Outcome<std::vector<DeviceInfo>> (*list)();
  /// Whether code for `target` runs on a device of the list.
  bool (*runs)(const DeviceInfo &device, const std::string &target);
  Outcome<std::unique_ptr<Device>> (*open)(int index); ///< of the list
};

/// All kinds, in order of preference.
std::span<const DeviceKind> deviceKinds();

struct DeviceChoice {
  const DeviceKind *kind;
  int index; ///< of the kind's list
  DeviceInfo info;
};

/// The devices that `name` means: "auto" all but processors, "cuda" all of that kind, "cuda:1" the one with that
/// number. Fails with what is there if it means none.
Outcome<std::vector<DeviceChoice>> findDevices(const std::string &name);

} // namespace quern::runtime

#endif // QUERN_LIB_RUNTIME_DEVICELIST_H
