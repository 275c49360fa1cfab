#include "Device.h"

namespace quern::runtime {

Outcome<DeviceMemory> DeviceMemory::allocate(Device &device, uint64_t bytes) {
  DeviceMemory out;
  if (bytes == 0)
    return out;
  auto address = device.allocate(bytes);
  if (!address)
    return tl::unexpected(std::move(address).error());
  out.device = &device;
  out.start = *address;
  out.bytes = bytes;
  return out;
}

Outcome<StagingMemory> StagingMemory::allocate(Device &device, uint64_t bytes) {
  StagingMemory out;
  if (bytes == 0)
    return out;
  auto memory = device.allocateHost(bytes);
  if (!memory)
    return tl::unexpected(std::move(memory).error());
  out.device = &device;
  out.start = static_cast<uint8_t *>(*memory);
  return out;
}

} // namespace quern::runtime
