// Numbers of the host in the executor's memory, and back.
#ifndef QUERN_TEST_UNIT_PTX_BUFFERS_H
#define QUERN_TEST_UNIT_PTX_BUFFERS_H

#include "test/ptx/GlobalMemory.h"

#include <cstring>

namespace quern::ptx {

template <typename T> uint64_t upload(GlobalMemory &memory, const std::vector<T> &values) {
  uint64_t address = memory.allocate(values.size() * sizeof(T));
  std::memcpy(memory.find(address, 1), values.data(), values.size() * sizeof(T));
  return address;
}

template <typename T> void download(GlobalMemory &memory, uint64_t address, std::vector<T> &values) {
  std::memcpy(values.data(), memory.find(address, 1), values.size() * sizeof(T));
}

} // namespace quern::ptx

#endif // QUERN_TEST_UNIT_PTX_BUFFERS_H
