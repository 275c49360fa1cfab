// What the lanes of a warp do together: shfl, vote, redux, activemask.
#include "test/ptx/Handlers.h"

#include <algorithm>

namespace quern::ptx {
namespace {

using Lanes = std::span<Thread *const, 32>;

uint32_t present(Lanes lanes) {
  uint32_t mask = 0;
  for (uint32_t lane = 0; lane < 32; ++lane)
    mask |= uint32_t(lanes[lane] != nullptr) << lane;
  return mask;
}

struct Source {
  uint32_t lane;
  bool inRange;
};

/// From which lane a shuffle reads. `packed` holds the clamp in bits 0-4 and the mask of segments in bits 8-12 (PTX
/// ISA, shfl.sync).
Source shuffleSource(int mode, uint32_t lane, uint32_t by, uint32_t packed) {
  uint32_t clamp = packed & 31, segments = packed >> 8 & 31;
  uint32_t last = (lane & segments) | (clamp & ~segments), first = lane & segments;
  by &= 31;
  switch (mode) {
  case 0:
    return {lane - by, int32_t(lane - by) >= int32_t(last)};
  case 1:
    return {lane + by, lane + by <= last};
  case 2:
    return {lane ^ by, (lane ^ by) <= last};
  default:
    return {first | (by & ~segments), (first | (by & ~segments)) <= last};
  }
}

Step shuffle(Lanes lanes, const Instruction &i) {
  std::array<uint32_t, 32> values{};
  for (uint32_t lane = 0; lane < 32; ++lane)
    if (lanes[lane])
      values[lane] = lanes[lane]->get<uint32_t>(i.slots[2]);
  for (uint32_t lane = 0; lane < 32; ++lane) {
    if (!lanes[lane])
      continue;
    Thread &t = *lanes[lane];
    Source source = shuffleSource(i.flags, lane, t.get<uint32_t>(i.slots[3]), t.get<uint32_t>(i.slots[4]));
    uint32_t from = source.inRange ? source.lane : lane;
    if (!lanes[from])
      return t.fault("reads lane " + std::to_string(from) + ", which does not take part in the shuffle");
    t.set(i.slots[0], values[from]);
    t.set(i.slots[1], source.inRange);
  }
  return Step::next;
}

void decodeShuffle(Decoder &d) {
  if (!d.take("sync"))
    d.refuse("is known as shfl.sync only");
  int mode = d.takeOneOf({"up", "down", "bfly", "idx"});
  if (mode < 0 || byteSize(d.takeType()) != 4)
    d.refuse("is known as up, down, bfly and idx of b32");
  d.out.flags = uint8_t(mode);
  d.pairOfDestinations();
  d.slots(3);
  d.memberMask();
  d.runTogether(shuffle);
}

Step vote(Lanes lanes, const Instruction &i) {
  uint32_t taking = present(lanes), yes = 0;
  for (uint32_t lane = 0; lane < 32; ++lane)
    if (lanes[lane])
      yes |= uint32_t(lanes[lane]->get<bool>(i.slots[1]) != bool(i.flags & 4)) << lane;
  for (Thread *thread : lanes) {
    if (!thread)
      continue;
    switch (i.flags & 3) {
    case 0:
      thread->set(i.slots[0], yes == taking);
      break;
    case 1:
      thread->set(i.slots[0], yes != 0);
      break;
    case 2:
      thread->set(i.slots[0], yes == 0 || yes == taking);
      break;
    default:
      thread->set(i.slots[0], yes);
    }
  }
  return Step::next;
}

void decodeVote(Decoder &d) {
  if (!d.take("sync"))
    d.refuse("is known as vote.sync only");
  int mode = d.takeOneOf({"all", "any", "uni", "ballot"});
  if (mode < 0)
    d.refuse("lacks a mode");
  d.out.flags = uint8_t(mode);
  d.takeType();
  d.destination();
  d.slot();
  d.memberMask();
  d.runTogether(vote);
}

template <typename T> T combine(int operation, T a, T b) {
  switch (operation) {
  case 0:
    return T(uint32_t(a) + uint32_t(b));
  case 1:
    return std::min(a, b);
  case 2:
    return std::max(a, b);
  case 3:
    return a & b;
  case 4:
    return a | b;
  default:
    return a ^ b;
  }
}

template <typename T> Step reduce(Lanes lanes, const Instruction &i) {
  T result{};
  bool first = true;
  for (Thread *thread : lanes)
    if (thread) {
      T value = thread->get<T>(i.slots[1]);
      result = first ? value : combine(i.flags, result, value);
      first = false;
    }
  for (Thread *thread : lanes)
    if (thread)
      thread->set(i.slots[0], result);
  return Step::next;
}

void decodeReduce(Decoder &d) {
  d.needs(80);
  if (!d.take("sync"))
    d.refuse("is known as redux.sync only");
  int operation = d.takeOneOf({"add", "min", "max", "and", "or", "xor"});
  Type type = d.takeType();
  if (operation < 0 || (type != Type::u32 && type != Type::s32))
    d.refuse("is known with integers of 32 bits only");
  d.out.flags = uint8_t(operation);
  d.destination();
  d.slot();
  d.memberMask();
  d.runTogether(type == Type::s32 ? reduce<int32_t> : reduce<uint32_t>);
}

void decodeActiveMask(Decoder &d) {
  d.takeType();
  d.destination();
  d.out.whoeverComes = true;
  d.runTogether([](Lanes lanes, const Instruction &i) {
    for (Thread *thread : lanes)
      if (thread)
        thread->set(i.slots[0], present(lanes));
    return Step::next;
  });
}

} // namespace

const OpcodeTable &warpOpcodes() {
  static const OpcodeTable table = {
      {"shfl", decodeShuffle}, {"vote", decodeVote}, {"redux", decodeReduce}, {"activemask", decodeActiveMask}};
  return table;
}

} // namespace quern::ptx
