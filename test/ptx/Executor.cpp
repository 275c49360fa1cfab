#include "test/ptx/Executor.h"

#include "test/ptx/BlockOrder.h"
#include "test/ptx/Thread.h"

#include <algorithm>
#include <random>

namespace quern::ptx {
namespace {

class BlockRunner {
public:
  BlockRunner(const Kernel &kernel, GlobalMemory &memory, const LaunchShape &shape,
              std::span<const std::byte> parameters, const LaunchOptions &options)
      : kernel(kernel), shape(shape), options(options), shared(kernel, shape.dynamicSharedBytes), random(options.seed) {
    uint32_t count = shape.block[0] * shape.block[1] * shape.block[2];
    threads.resize(count);
    slots.resize(size_t(count) * kernel.initial.size());
    local.resize(size_t(count) * kernel.localBytes);
    for (uint32_t i = 0; i < count; ++i)
      order.push_back(i);
    block = {&kernel, &memory, &shared, parameters, 0, {}, kernel.hasAtomics ? &visibility : nullptr};
  }

  Status run(std::array<uint32_t, 3> blockIndex) {
    at = blockIndex;
    visibility.beginBlock((at[2] * shape.grid[1] + at[1]) * shape.grid[0] + at[0]);
    start();
    while (running > 0) {
      if (options.seed)
        std::ranges::shuffle(order, random);
      bool progress = false;
      for (uint32_t index : order)
        if (threads[index].state == Thread::ready) {
          QUERN_TRY(runThread(threads[index]));
          progress = true;
        }
      for (uint32_t warp = 0; warp * 32 < threads.size(); ++warp) {
        QUERN_ASSIGN(bool met, meetWarp(warp, false));
        progress |= met;
      }
      QUERN_ASSIGN(bool passed, passBarrier());
      if (!progress && !passed)
        QUERN_TRY(resolveStandstill());
    }
    return {};
  }

  LaunchCounts counts;

private:
  void start() {
    shared.clear();
    running = uint32_t(threads.size());
    block.epoch = 0;
    block.warpEpochs.assign((threads.size() + 31) / 32, 0);
    std::ranges::fill(local, std::byte(0xff));
    for (uint32_t i = 0; i < threads.size(); ++i) {
      Thread &thread = threads[i];
      thread = Thread();
      thread.index = i;
      thread.block = &block;
      thread.awaits = options.overlaps;
      thread.slots = slots.data() + i * kernel.initial.size();
      thread.local = local.data() + size_t(i) * kernel.localBytes;
      std::ranges::copy(kernel.initial, thread.slots);
      for (auto [slot, special] : kernel.specials)
        thread.slots[slot] = specialValue(thread, special);
    }
  }

  std::array<uint32_t, 3> position(const Thread &thread) const {
    return {thread.index % shape.block[0], thread.index / shape.block[0] % shape.block[1],
            thread.index / (shape.block[0] * shape.block[1])};
  }

  uint64_t specialValue(const Thread &thread, Special special) const {
    if (special == Special::laneid)
      return thread.lane();
    if (special == Special::warpid)
      return thread.warp();
    std::array<std::array<uint32_t, 3>, 4> values = {position(thread), shape.block, at, shape.grid};
    return values[size_t(special) / 3][size_t(special) % 3];
  }

  tl::unexpected<Error> fault(const Thread &thread, const std::string &why) const {
    auto triple = [](std::array<uint32_t, 3> index) {
      return "(" + std::to_string(index[0]) + "," + std::to_string(index[1]) + "," + std::to_string(index[2]) + ")";
    };
    return fail("kernel " + kernel.name + ", line " + std::to_string(kernel.instructions[thread.pc].line) + ", block " +
                triple(at) + ", thread " + triple(position(thread)) + ": " + why);
  }

  /// Until the thread waits or ends.
  Status runThread(Thread &thread) {
    while (true) {
      const Instruction &instruction = kernel.instructions[thread.pc];
      if (++counts.instructions > options.maxInstructions)
        return fault(thread, "the launch goes on after " + std::to_string(options.maxInstructions) + " instructions");
      if (instruction.guard >= 0 && thread.get<bool>(uint32_t(instruction.guard)) == instruction.guardNegated) {
        ++thread.pc;
        continue;
      }
      switch (instruction.together ? Step::warp : instruction.alone(thread, instruction)) {
      case Step::next:
        ++thread.pc;
        break;
      case Step::jump:
        thread.pc = instruction.target;
        break;
      case Step::block:
        thread.state = Thread::atBarrier;
        return {};
      case Step::warp:
        thread.state = Thread::atWarp;
        return {};
      case Step::exit:
        return endThread(thread);
      case Step::fault:
        return fault(thread, thread.why);
      }
    }
  }

  Status endThread(Thread &thread) {
    if (!thread.copies.empty())
      return fault(thread, "ends before the cp.async in line " + std::to_string(thread.copies.front().line) +
                               " has been waited for");
    if (thread.awaits)
      return fault(thread, "ends without having waited for the launch before (griddepcontrol.wait)");
    thread.state = Thread::done;
    --running;
    return {};
  }

  std::span<Thread> lanesOf(uint32_t warp) {
    return std::span(threads).subspan(32 * warp, std::min<size_t>(32, threads.size() - 32 * warp));
  }

  uint32_t memberMask(const Thread &thread, const Instruction &instruction) const {
    return instruction.mask < 0 ? ~0u : thread.get<uint32_t>(uint32_t(instruction.mask));
  }

  /// Runs the first instruction of a warp at which all its members wait; with `standstill` also those that take whoever
  /// came. False if there is none.
  Result<bool> meetWarp(uint32_t warp, bool standstill) {
    for (Thread &leader : lanesOf(warp)) {
      if (leader.state != Thread::atWarp)
        continue;
      const Instruction &instruction = kernel.instructions[leader.pc];
      if (instruction.whoeverComes != standstill)
        continue;
      std::array<Thread *, 32> lanes{};
      QUERN_ASSIGN(bool complete, gather(leader, instruction, lanes));
      if (!complete)
        continue;
      if (instruction.together(lanes, instruction) == Step::fault)
        return faultOfOne(lanes);
      for (Thread *lane : lanes)
        if (lane) {
          lane->state = Thread::ready;
          ++lane->pc;
        }
      return true;
    }
    return false;
  }

  /// The lanes that wait with `leader`; false while one of its members is still to come.
  Result<bool> gather(Thread &leader, const Instruction &instruction, std::array<Thread *, 32> &lanes) {
    uint32_t mask = memberMask(leader, instruction);
    auto warp = lanesOf(leader.warp());
    if (instruction.wholeWarp && warp.size() < 32)
      return fault(leader, "needs a whole warp; the block's last one has " + std::to_string(warp.size()) + " threads");
    if (!(mask >> leader.lane() & 1))
      return fault(leader, "the member mask leaves out the lane itself");
    for (Thread &thread : warp) {
      if (!(mask >> thread.lane() & 1)) {
        if (instruction.liveWarp && thread.state != Thread::done)
          return fault(leader, "the member mask leaves out lane " + std::to_string(thread.lane()) +
                                   ", which has not ended; the executor knows barriers of whole warps only");
        continue;
      }
      bool here = thread.state == Thread::atWarp && thread.pc == leader.pc;
      if (here && memberMask(thread, instruction) != mask)
        return fault(thread, "the lanes of a warp do not agree about the member mask");
      if (here)
        lanes[thread.lane()] = &thread;
      else if (!instruction.whoeverComes && (instruction.wholeWarp || thread.state != Thread::done))
        return false;
    }
    return true;
  }

  tl::unexpected<Error> faultOfOne(std::span<Thread *const, 32> lanes) const {
    for (const Thread *lane : lanes)
      if (lane && !lane->why.empty())
        return fault(*lane, lane->why);
    return fail("kernel " + kernel.name + ": a fault without a reason");
  }

  /// Lets all threads of the block pass where each of them waits at a barrier.
  Result<bool> passBarrier() {
    if (running != threads.size() ||
        !std::ranges::all_of(threads, [](const Thread &thread) { return thread.state == Thread::atBarrier; }))
      return false;
    for (const Thread &thread : threads) {
      const Instruction &first = kernel.instructions[lanesOf(thread.warp()).front().pc];
      const Instruction &mine = kernel.instructions[thread.pc], &any = kernel.instructions[threads.front().pc];
      if (mine.wholeWarp && &mine != &first)
        return fault(thread, "divergent barrier: another lane of the warp waits at line " + std::to_string(first.line));
      if (threads.front().slots[any.slots[0]] != thread.slots[mine.slots[0]])
        return fault(thread,
                     "divergent barrier: another thread waits at another barrier in line " + std::to_string(any.line));
    }
    for (Thread &thread : threads) {
      thread.state = Thread::ready;
      ++thread.pc;
    }
    ++block.epoch;
    return true;
  }

  /// Nobody can go on: lanes at an activemask are those that are active; else it is a deadlock.
  Status resolveStandstill() {
    if (running == 0)
      return {};
    for (uint32_t warp = 0; warp * 32 < threads.size(); ++warp) {
      QUERN_ASSIGN(bool met, meetWarp(warp, true));
      if (met)
        return {};
    }
    size_t barrier = size_t(std::ranges::count(threads, Thread::atBarrier, &Thread::state));
    size_t atWarp = size_t(std::ranges::count(threads, Thread::atWarp, &Thread::state));
    auto waiting = std::ranges::find_if(threads, [](const Thread &thread) { return thread.state != Thread::done; });
    return fault(*waiting, (barrier ? "divergent barrier" : "deadlock") + std::string(": of ") +
                               std::to_string(threads.size()) + " threads " + std::to_string(barrier) +
                               " wait at a barrier, " + std::to_string(atWarp) + " for lanes of their warp, and " +
                               std::to_string(threads.size() - running) + " have ended");
  }

  const Kernel &kernel;
  const LaunchShape &shape;
  const LaunchOptions &options;
  SharedMemory shared;
  Visibility visibility;
  std::mt19937 random;
  Block block;
  std::vector<Thread> threads;
  std::vector<uint64_t> slots;
  std::vector<std::byte> local;
  std::vector<uint32_t> order;
  std::array<uint32_t, 3> at{};
  uint32_t running = 0;
};

tl::unexpected<Error> wrongLaunch(const Kernel &kernel, const std::string &why) {
  return fail("kernel " + kernel.name + ": " + why);
}

} // namespace

Status checkLaunch(const Kernel &kernel, const LaunchShape &shape) {
  uint64_t count = 1;
  for (int axis = 0; axis < 3; ++axis) {
    if (shape.grid[axis] == 0 || shape.block[axis] == 0 || shape.block[axis] > 1024)
      return wrongLaunch(kernel, "a grid needs at least one block, a block 1 to 1024 threads");
    count *= shape.block[axis];
  }
  if (shape.grid[0] > 0x7fffffff || shape.grid[1] > 0xffff || shape.grid[2] > 0xffff || shape.block[2] > 64)
    return wrongLaunch(kernel, "a grid takes at most 2147483647 x 65535 x 65535 blocks, a block 64 threads in z");
  if (count > 1024 || (kernel.maxThreads && count > kernel.maxThreads))
    return wrongLaunch(kernel, "a block of " + std::to_string(count) + " threads is launched; at most " +
                                   std::to_string(kernel.maxThreads ? kernel.maxThreads : 1024) + " are allowed");
  if (kernel.requiredBlock[0] && kernel.requiredBlock != shape.block)
    return wrongLaunch(kernel, "the block is not of the size that .reqntid asks for");
  return {};
}

Result<LaunchCounts> launch(const Kernel &kernel, GlobalMemory &memory, const LaunchShape &shape,
                            std::span<const std::byte> parameters, const LaunchOptions &options) {
  QUERN_TRY(checkLaunch(kernel, shape));
  if (parameters.size() != kernel.parameterBytes)
    return wrongLaunch(kernel, std::to_string(parameters.size()) + " bytes of parameters are given; it takes " +
                                   std::to_string(kernel.parameterBytes));
  BlockRunner runner(kernel, memory, shape, parameters, options);
  uint64_t columns = shape.grid[0], plane = columns * shape.grid[1], count = plane * shape.grid[2];
  BlockOrder order(count, options.seed);
  for (uint64_t i = 0; i < count; ++i) {
    uint64_t block = order.take();
    QUERN_TRY(
        runner.run({uint32_t(block % columns), uint32_t(block / columns % shape.grid[1]), uint32_t(block / plane)}));
  }
  return runner.counts;
}

} // namespace quern::ptx
