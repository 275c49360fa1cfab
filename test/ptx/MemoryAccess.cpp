// ld, st, cp.async and prefetch, with the checks of every access.
#include "test/ptx/Handlers.h"

#include <algorithm>
#include <utility>

namespace quern::ptx {
namespace {

constexpr std::initializer_list<std::string_view> kSpaces = {"global", "shared", "local", "param"};

std::string atAddress(uint64_t address) {
  char text[32];
  std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(address));
  return text;
}

/// Replaces a generic address by one of the state space whose window it lies in.
Space resolve(Space space, uint64_t &address) {
  if (space != Space::generic)
    return space;
  uint64_t window = address & kWindowMask;
  constexpr std::pair<uint64_t, Space> windows[] = {
      {kSharedWindow, Space::shared}, {kLocalWindow, Space::local}, {kParameterWindow, Space::param}};
  for (auto [begin, inside] : windows)
    if (window == begin) {
      address -= begin;
      return inside;
    }
  return Space::global;
}

/// Memory that needs no more than bounds: null, with the reason told, where the bytes are not all there.
const std::byte *findBytes(Thread &thread, Space space, uint64_t address, uint32_t bytes) {
  const Kernel &kernel = *thread.block->kernel;
  const std::byte *found = nullptr;
  const char *where = "global memory";
  if (space == Space::global) {
    found = thread.block->global->find(address, bytes);
  } else {
    where = space == Space::local ? "local memory" : "parameters";
    auto &places = space == Space::local ? kernel.local : kernel.parameters;
    bool inside = std::ranges::any_of(places, [&](const Place &place) {
      return address >= place.address && bytes <= place.bytes && address - place.address <= place.bytes - bytes;
    });
    const std::byte *base = space == Space::local ? thread.local : thread.block->parameters.data();
    found = inside ? base + address : nullptr;
  }
  if (!found)
    thread.why = std::to_string(bytes) + " bytes at address " + atAddress(address) + " are out of bounds of " + where +
                 (space == Space::global ? ": they lie in no allocation, or reach over its end" : "");
  return found;
}

bool aligned(Thread &thread, Space space, uint64_t address, uint32_t bytes) {
  if (address % bytes == 0)
    return true;
  thread.why = "misaligned access: " + std::to_string(bytes) + " bytes at " +
               (space == Space::shared ? "shared " : "") + "address " + atAddress(address);
  return false;
}

bool passed(Thread &thread, std::string wrong) {
  thread.why = std::move(wrong);
  return thread.why.empty();
}

Access accessOf(const Thread &thread, uint32_t line) {
  Access by = thread.access();
  by.line = line;
  return by;
}

constexpr char kUnawaited[] = " before the thread has waited for the launch before (griddepcontrol.wait)";

/// Of global memory that has been found.
bool mayRead(Thread &thread, uint64_t address) {
  return !thread.awaits || !thread.block->global->isWritten(address) ||
         passed(thread, std::string("reads what a kernel wrote,") + kUnawaited);
}

std::byte *findToWrite(Thread &thread, uint64_t address, uint32_t bytes) {
  if (!findBytes(thread, Space::global, address, bytes))
    return nullptr;
  if (thread.awaits && !passed(thread, std::string("writes") + kUnawaited))
    return nullptr;
  return thread.block->global->findToWrite(address, bytes);
}

bool isVisible(Thread &thread, uint64_t address, uint32_t bytes, uint32_t line) {
  if (!mayRead(thread, address))
    return false;
  const Visibility *visibility = thread.block->visibility;
  return !visibility || passed(thread, visibility->read(address, bytes, accessOf(thread, line)));
}

/// The instruction's elements of T, one after another: a vector is one access, aligned as a whole.
template <typename T> struct Load {
  static Step run(Thread &t, const Instruction &i) {
    T values[8];
    uint32_t count = i.width;
    uint64_t address = t.slots[i.slots[count]] + uint64_t(i.offset);
    if (!loadBytes(t, Space(i.flags), address, values, uint32_t(count * sizeof(T)), i.line))
      return Step::fault;
    for (uint32_t k = 0; k < count; ++k)
      t.set(i.slots[k], values[k]);
    return Step::next;
  }
};

template <typename T> struct Store {
  static Step run(Thread &t, const Instruction &i) {
    T values[8];
    uint32_t count = i.width;
    for (uint32_t k = 0; k < count; ++k)
      values[k] = t.get<T>(i.slots[1 + k]);
    uint64_t address = t.slots[i.slots[0]] + uint64_t(i.offset);
    return storeBytes(t, Space(i.flags), address, values, uint32_t(count * sizeof(T)), i.line) ? Step::next
                                                                                               : Step::fault;
  }
};

/// Hints of caching, and orders of accesses that a block alone cannot tell apart, change nothing.
void ignoreHints(Decoder &d) {
  d.ignore({"nc", "volatile", "weak", "ca", "cg", "cs", "lu", "cv", "wb", "wt", "L1::no_allocate", "L1::evict_first",
            "L1::evict_last", "L1::evict_normal", "L2::64B", "L2::128B", "L2::256B"});
}

/// The state space, the number of elements and their type.
Type accessModifiers(Decoder &d) {
  ignoreHints(d);
  int space = d.takeOneOf(kSpaces);
  d.out.flags = uint8_t(space + 1); // Space::generic where none is named
  ignoreHints(d);
  int vector = d.takeOneOf({"v2", "v4", "v8"});
  d.out.width = uint8_t(vector < 0 ? 1 : 2 << vector);
  if (vector == 2)
    d.needs(100);
  return d.takeType();
}

void load(Decoder &d) {
  d.run(select<Load, uint8_t, uint16_t, uint32_t, uint64_t, int8_t, int16_t, int32_t, int64_t, Half, Bfloat, float,
               double>(accessModifiers(d)));
  d.vector(d.out.width);
  d.address();
}

void store(Decoder &d) {
  d.run(select<Store, uint8_t, uint16_t, uint32_t, uint64_t, int8_t, int16_t, int32_t, int64_t, Half, Bfloat, float,
               double>(accessModifiers(d)));
  if (Space(d.out.flags) == Space::param)
    d.refuse("writes to a parameter");
  d.address();
  d.vector(d.out.width);
}

// cp.async: nothing moves before the thread waits, so that a missing wait is seen.

constexpr uint8_t kIgnoresSource = 1; ///< the last operand is a predicate, not a number of bytes

Step beginCopy(Thread &t, const Instruction &i) {
  uint64_t to = t.slots[i.slots[0]] + uint64_t(i.otherOffset), from = t.slots[i.slots[1]] + uint64_t(i.offset);
  uint32_t bytes = i.width, given = t.get<uint32_t>(i.slots[2]);
  uint32_t read = i.flags & kIgnoresSource ? (given & 1 ? 0 : bytes) : std::min(given, bytes);
  if (!aligned(t, Space::shared, to, bytes) || !aligned(t, Space::global, from, bytes))
    return Step::fault;
  if (read > 0 && (!findBytes(t, Space::global, from, read) || !mayRead(t, from)))
    return Step::fault;
  if (!passed(t, t.block->shared->beginCopy(to, bytes, accessOf(t, i.line))))
    return Step::fault;
  t.copies.push_back({from, uint32_t(to), read, bytes - read, i.line});
  return Step::next;
}

Step commitCopies(Thread &t, const Instruction &) {
  for (PendingCopy &copy : t.copies)
    if (!std::exchange(copy.committed, true))
      copy.group = t.groups;
  ++t.groups;
  return Step::next;
}

/// Finishes all groups but the last `slots[0]`.
Step waitForCopies(Thread &t, const Instruction &i) {
  uint64_t stillOpen = t.get<uint32_t>(i.slots[0]);
  for (const PendingCopy &copy : t.copies) {
    if (!copy.committed || copy.group + stillOpen >= t.groups)
      continue;
    std::array<std::byte, 16> bytes{};
    if (copy.bytes > 0) {
      const std::byte *from = findBytes(t, Space::global, copy.from, copy.bytes);
      if (!from || !isVisible(t, copy.from, copy.bytes, copy.line))
        return Step::fault;
      std::copy_n(from, copy.bytes, bytes.begin());
    }
    t.block->shared->arrive(copy.to, bytes.data(), copy.bytes + copy.zeros, accessOf(t, copy.line));
  }
  std::erase_if(t.copies, [&](const PendingCopy &copy) { return copy.committed && copy.group + stillOpen < t.groups; });
  return Step::next;
}

Step waitForAllCopies(Thread &t, const Instruction &i) {
  commitCopies(t, i);
  return waitForCopies(t, i);
}

void copyAsync(Decoder &d) {
  d.needs(80);
  if (d.take("commit_group"))
    return d.run(commitCopies);
  if (d.take("wait_group")) {
    d.slot();
    return d.run(waitForCopies);
  }
  if (d.take("wait_all")) {
    d.constantSlot(0);
    return d.run(waitForAllCopies);
  }
  ignoreHints(d);
  if (!d.take("shared") || !d.take("global"))
    d.refuse("is known from global to shared memory only");
  ignoreHints(d);
  d.address();
  d.out.otherOffset = std::exchange(d.out.offset, 0);
  d.address();
  const SyntaxOperand *size = d.peek();
  if (!size || size->kind != SyntaxOperand::number || (size->bits != 4 && size->bits != 8 && size->bits != 16))
    return d.refuse("copies other than 4, 8 or 16 bytes");
  d.out.width = uint8_t(size->bits);
  d.slot();
  if (d.operandsLeft()) { // the number of bytes that are read, or a predicate that none are; zeros follow
    d.out.flags = d.predicateNext() ? kIgnoresSource : 0;
    d.dropSlot();
    d.slot();
  }
  d.run(beginCopy);
}

void copy(Decoder &d) {
  if (!d.take("async"))
    return d.refuse("is known as cp.async only");
  copyAsync(d);
}

void prefetch(Decoder &d) {
  d.ignore({"global", "L1", "L2", "L2::evict_last", "L2::evict_normal"});
  d.address();
  d.run([](Thread &, const Instruction &) { return Step::next; });
}

} // namespace

bool loadBytes(Thread &thread, Space space, uint64_t address, void *to, uint32_t bytes, uint32_t line) {
  space = resolve(space, address);
  if (!aligned(thread, space, address, bytes))
    return false;
  if (space == Space::shared)
    return passed(thread, thread.block->shared->load(address, to, bytes, accessOf(thread, line)));
  const std::byte *from = findBytes(thread, space, address, bytes);
  if (from && space == Space::global && !isVisible(thread, address, bytes, line))
    return false;
  if (from)
    std::memcpy(to, from, bytes);
  return from != nullptr;
}

bool storeBytes(Thread &thread, Space space, uint64_t address, const void *from, uint32_t bytes, uint32_t line) {
  space = resolve(space, address);
  if (!aligned(thread, space, address, bytes))
    return false;
  if (space == Space::shared)
    return passed(thread, thread.block->shared->store(address, from, bytes, accessOf(thread, line)));
  if (space == Space::param)
    return passed(thread, "writes to a parameter");
  std::byte *to = space == Space::global ? findToWrite(thread, address, bytes)
                                         : const_cast<std::byte *>(findBytes(thread, space, address, bytes));
  Visibility *visibility = thread.block->visibility;
  if (to && space == Space::global && visibility &&
      !passed(thread, visibility->write(address, bytes, accessOf(thread, line))))
    return false;
  if (to)
    std::memcpy(to, from, bytes);
  return to != nullptr;
}

std::byte *globalBytes(Thread &thread, uint64_t address, uint32_t bytes) {
  if (!aligned(thread, Space::global, address, bytes))
    return nullptr;
  return findToWrite(thread, address, bytes);
}

const OpcodeTable &memoryOpcodes() {
  static const OpcodeTable table = {{"ld", load}, {"ldu", load},          {"st", store},
                                    {"cp", copy}, {"prefetch", prefetch}, {"prefetchu", prefetch}};
  return table;
}

} // namespace quern::ptx
