// Branches, barriers of the block, waiting for another launch, and the end of a thread.
#include "test/ptx/Handlers.h"

namespace quern::ptx {
namespace {

void branch(Decoder &d) {
  d.ignore({"uni"});
  d.label();
  d.run([](Thread &, const Instruction &) { return Step::jump; });
}

void leave(Decoder &d) {
  d.ignore({"uni"});
  d.run([](Thread &, const Instruction &) { return Step::exit; });
}

void trap(Decoder &d) {
  d.run([](Thread &t, const Instruction &) { return t.fault("trap"); });
}

/// `bar.sync 0`, `barrier.cta.sync.aligned 0` and `bar.warp.sync mask`. Barriers of a part of the block are refused,
/// and those of a part of the warp, since races are told by counting a warp's barriers.
void barrier(Decoder &d) {
  if (d.take("warp")) {
    if (!d.take("sync"))
      d.refuse("is known as bar.warp.sync only");
    d.memberMask();
    d.out.liveWarp = true;
    return d.runTogether([](std::span<Thread *const, 32> lanes, const Instruction &) {
      for (Thread *thread : lanes)
        if (thread) {
          ++thread->block->warpEpochs[thread->warp()];
          break;
        }
      return Step::next;
    });
  }
  d.ignore({"cta"});
  if (!d.take("sync"))
    d.refuse("is known as a sync of the whole block only");
  d.out.wholeWarp = d.opcode() == "bar" || d.take("aligned");
  const SyntaxOperand *id = d.peek();
  if (d.operandsLeft() != 1 || !id || id->kind != SyntaxOperand::number || id->bits > 15)
    d.refuse("is known with the number of a barrier alone");
  d.slot();
  d.run([](Thread &, const Instruction &) { return Step::block; });
}

/// Launches run one after the other: the next one's start changes nothing, and waiting is noted.
void gridDependency(Decoder &d) {
  d.needs(90);
  if (d.take("launch_dependents"))
    return d.run([](Thread &, const Instruction &) { return Step::next; });
  if (!d.take("wait"))
    d.refuse("is known as wait and launch_dependents");
  d.run([](Thread &t, const Instruction &) {
    t.awaits = false;
    return Step::next;
  });
}

} // namespace

const OpcodeTable &controlOpcodes() {
  static const OpcodeTable table = {
      {"bra", branch},
      {"ret", leave},
      {"exit", leave},
      {"trap", trap},
      {"bar", barrier},
      {"barrier", barrier},
      {"griddepcontrol", gridDependency},
  };
  return table;
}

} // namespace quern::ptx
