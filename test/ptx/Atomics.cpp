// Fences and atomic accesses: how blocks tell each other.
#include "test/ptx/Handlers.h"

#include <cstring>

namespace quern::ptx {
namespace {

constexpr uint8_t kReleases = 1, kAcquires = 2;

void fenceOf(Thread &t, uint32_t line) {
  if (!t.block->visibility)
    return;
  Access by = t.access();
  by.line = line;
  t.block->visibility->fence(by);
}

/// Blocks run one after the other, and every access is seen at once: a fence has nothing to do but to be noted. It
/// orders nothing that a barrier would have to, so the search for races in shared memory does not take it for one.
void fence(Decoder &d) {
  bool isOfBlock = false;
  while (true)
    if (d.take("cta"))
      isOfBlock = true;
    else if (d.takeOneOf({"acq_rel", "sc", "gpu", "gl", "sys"}) < 0)
      break;
  if (isOfBlock)
    return d.run([](Thread &, const Instruction &) { return Step::next; });
  d.run([](Thread &t, const Instruction &i) {
    fenceOf(t, i.line);
    return Step::next;
  });
}

template <typename T> struct Add {
  static T next(T old, T operand) { return T(old + operand); }
};
template <typename T> struct Increment {
  static T next(T old, T most) { return old >= most ? 0 : T(old + 1); }
};

template <template <typename> class Operation, typename T> struct Atomic {
  static Step run(Thread &t, const Instruction &i) {
    uint64_t address = t.slots[i.slots[1]] + uint64_t(i.offset);
    std::byte *place = globalBytes(t, address, sizeof(T));
    if (!place)
      return Step::fault;
    if (i.flags & kReleases)
      fenceOf(t, i.line);
    T old;
    std::memcpy(&old, place, sizeof(T));
    T next = Operation<T>::next(old, t.get<T>(i.slots[2]));
    std::memcpy(place, &next, sizeof(T));
    t.block->visibility->atomic(address, t.access());
    if (i.flags & kAcquires)
      fenceOf(t, i.line);
    t.set(i.slots[0], old);
    return Step::next;
  }
};
template <typename T> using AtomicAdd = Atomic<Add, T>;
template <typename T> using AtomicIncrement = Atomic<Increment, T>;

/// `atom.global.add` and `atom.global.inc`, for the whole device.
void atomic(Decoder &d) {
  d.setAtomic();
  constexpr uint8_t kFlags[] = {0, kAcquires, kReleases, kAcquires | kReleases};
  int order = d.takeOneOf({"relaxed", "acquire", "release", "acq_rel"});
  d.out.flags = order < 0 ? 0 : kFlags[order];
  d.ignore({"gpu", "sys"});
  if (!d.take("global"))
    d.refuse("is known in global memory, for the whole device only");
  int operation = d.takeOneOf({"add", "inc"});
  if (operation < 0)
    d.refuse("is known as .add and .inc only");
  Type type = d.takeType();
  d.run(operation == 1 ? select<AtomicIncrement, uint32_t>(type)
                       : select<AtomicAdd, uint32_t, uint64_t, int32_t>(type));
  d.destination();
  d.address();
  d.slot();
}

} // namespace

const OpcodeTable &atomicOpcodes() {
  static const OpcodeTable table = {{"atom", atomic}, {"fence", fence}, {"membar", fence}};
  return table;
}

} // namespace quern::ptx
