#include "test/ptx/SharedMemory.h"

#include <algorithm>
#include <cstring>

namespace quern::ptx {

/// True where no barrier orders the two accesses.
bool Access::together(const Access &other) const {
  if (thread == nobody || other.thread == nobody || thread == other.thread || epoch != other.epoch)
    return false;
  return thread / 32 != other.thread / 32 || warpEpoch == other.warpEpoch;
}

SharedMemory::SharedMemory(const Kernel &kernel, uint32_t dynamicBytes) : variables(kernel.shared) {
  uint32_t total = kernel.sharedBytes;
  if (kernel.dynamicShared) {
    for (Place &variable : variables)
      if (variable.bytes == 0)
        variable.bytes = dynamicBytes;
    total = variables.back().address + dynamicBytes;
  }
  data.resize(total);
  owner.resize(total);
  states.resize(total);
  for (size_t i = 0; i < variables.size(); ++i)
    std::fill_n(owner.begin() + variables[i].address, variables[i].bytes, uint16_t(i + 1));
  clear();
}

void SharedMemory::clear() {
  std::ranges::fill(data, std::byte(0xff));
  std::ranges::fill(states, ByteState());
}

std::string SharedMemory::checkPlace(uint64_t address, uint32_t bytes) const {
  bool inside = address < data.size() && bytes <= data.size() - address && owner[address] != 0;
  if (inside && std::all_of(owner.begin() + address, owner.begin() + address + bytes,
                            [&](uint16_t one) { return one == owner[address]; }))
    return {};
  std::string text = std::to_string(bytes) + " bytes at shared address " + std::to_string(address) +
                     " are out of bounds; the block has";
  for (const Place &variable : variables)
    text += " " + variable.name + " at " + std::to_string(variable.address) + " of " + std::to_string(variable.bytes) +
            " bytes";
  return text + (variables.empty() ? " no shared memory" : "");
}

std::string SharedMemory::check(uint64_t address, uint32_t bytes, const Access &by, bool writes) const {
  auto race = [&](uint64_t at, const char *mine, const Access &other, const char *theirs) {
    const Place &variable = variables[owner[at] - 1];
    return "race in shared memory: " + std::string(mine) + " byte " + std::to_string(at - variable.address) + " of " +
           variable.name + ", which thread " + std::to_string(other.thread) + " " + theirs + " in line " +
           std::to_string(other.line) + ", without a barrier in between";
  };
  const char *mine = writes ? "writes" : "reads";
  for (uint64_t at = address; at < address + bytes; ++at) {
    const ByteState &state = states[at];
    if (state.copier.thread != Access::nobody)
      return std::string(mine) + " shared memory at address " + std::to_string(at) + ", where the cp.async of thread " +
             std::to_string(state.copier.thread) + " in line " + std::to_string(state.copier.line) +
             " has not been waited for";
    if (state.writer.together(by))
      return race(at, mine, state.writer, "wrote");
    for (const Access *reader : {&state.reader, &state.otherReader})
      if (writes && reader->together(by))
        return race(at, mine, *reader, "read");
  }
  return {};
}

std::string SharedMemory::load(uint64_t address, void *to, uint32_t bytes, const Access &by) {
  std::string wrong = checkPlace(address, bytes);
  if (wrong.empty())
    wrong = check(address, bytes, by, false);
  if (!wrong.empty())
    return wrong;
  std::memcpy(to, &data[address], bytes);
  for (uint64_t at = address; at < address + bytes; ++at) {
    ByteState &state = states[at];
    bool fresh = state.reader.thread == Access::nobody || state.reader.epoch != by.epoch;
    if (fresh) {
      state.reader = by;
      state.otherReader = Access();
    } else if (state.reader.thread / 32 == by.thread / 32 && state.reader.warpEpoch != by.warpEpoch) {
      state.reader = by; // ordered before this one for the warp; other warps still see a reader
    } else if (state.reader.thread != by.thread && (state.otherReader.thread == Access::nobody ||
                                                    state.otherReader.thread / 32 == state.reader.thread / 32)) {
      state.otherReader = by;
    }
  }
  return {};
}

std::string SharedMemory::store(uint64_t address, const void *from, uint32_t bytes, const Access &by) {
  std::string wrong = checkPlace(address, bytes);
  if (wrong.empty())
    wrong = check(address, bytes, by, true);
  if (wrong.empty())
    arrive(address, from, bytes, by);
  return wrong;
}

std::string SharedMemory::beginCopy(uint64_t address, uint32_t bytes, const Access &by) {
  std::string wrong = checkPlace(address, bytes);
  if (wrong.empty())
    wrong = check(address, bytes, by, true);
  for (uint64_t at = address; wrong.empty() && at < address + bytes; ++at)
    states[at].copier = by;
  return wrong;
}

void SharedMemory::arrive(uint64_t address, const void *from, uint32_t bytes, const Access &by) {
  std::memcpy(&data[address], from, bytes);
  for (uint64_t at = address; at < address + bytes; ++at) {
    states[at].writer = by;
    states[at].copier = Access();
  }
}

} // namespace quern::ptx
