// Making a DeviceRun: memory, kernels, weights.
#include "DeviceRun.h"
#include "Memory.h"
#include "quern/Runtime/ElementBytes.h"

#include <algorithm>
#include <cstring>

namespace quern::runtime {

constexpr uint64_t kAlignment = 256; // of tensors, and what every device aligns its allocations to

Outcome<std::unique_ptr<DeviceRun>> DeviceRun::create(std::unique_ptr<Device> device, Manifest manifest,
                                                      DeviceParts parts) {
  std::unique_ptr<DeviceRun> run(new DeviceRun(std::move(device), std::move(manifest), std::move(parts)));
  for (auto step : {&DeviceRun::placeTensors, &DeviceRun::takeMemory, &DeviceRun::findKernels, &DeviceRun::copyWeights})
    if (auto done = (run.get()->*step)(); !done)
      return tl::unexpected(std::move(done).error());
  return run;
}

uint64_t DeviceRun::bytesOf(const Manifest::Tensor &tensor, std::span<const int64_t> sizes) const {
  uint64_t bytes = tensor.type == "ptr" ? sizeof(DeviceAddress) : elementBytes(tensor.type);
  for (const Manifest::Dimension &dimension : tensor.shape) {
    auto size = std::find(manifest.sizes.begin(), manifest.sizes.end(), dimension.size);
    int64_t value = dimension.value >= 0           ? dimension.value
                    : size != manifest.sizes.end() ? sizes[size_t(size - manifest.sizes.begin())]
                                                   : 0;
    if (__builtin_mul_overflow(bytes, uint64_t(value), &bytes))
      return UINT64_MAX;
  }
  return bytes;
}

Outcome<void> DeviceRun::placeTensors() {
  constexpr uint64_t kMost = uint64_t(1) << 46;
  auto take = [&](uint64_t bytes) {
    uint64_t at = tensorBytes;
    tensorBytes += (bytes + kAlignment - 1) / kAlignment * kAlignment;
    return at;
  };
  for (bool isOutput : {false, true}) {
    for (const Manifest::Tensor &tensor : isOutput ? manifest.outputs : manifest.inputs) {
      uint64_t bytes = bytesOf(tensor, parts.capacities);
      if (bytes > kMost || tensorBytes > kMost)
        return fault(QUERN_BAD_PACKAGE, "tensor '" + tensor.name + "' is larger than any device's memory");
      (isOutput ? outputs : inputs).push_back({&tensor, take(bytes)});
    }
    if (!isOutput && drawsTokens())
      drawsAt = take(sizeof(RowDraw) * uint64_t(DeviceProgram::kMostDrawn));
    inputBytes = isOutput ? inputBytes : tensorBytes;
  }
  if (choosesTokens())
    choicesAt = take(sizeof(int32_t) * uint64_t(parts.capacities.back()));
  return {};
}

Outcome<void> DeviceRun::takeMemory() {
  uint64_t arenaBytes = uint64_t(parts.program.arena.at(parts.capacities));
  uint64_t counterBytes = sizeof(int32_t) * uint64_t(parts.program.counters);
  uint64_t needed = parts.weights.size() + arenaBytes + counterBytes + tensorBytes;
  auto free = owner->freeBytes();
  if (!free)
    return tl::unexpected(std::move(free).error());
  auto tooMuch = [&](const std::string &why) {
    return fault(QUERN_OUT_OF_MEMORY, "the model needs " + describeBytes(needed) + " on " + owner->info().id + " (" +
                                          describeBytes(parts.weights.size()) + " of weights, the rest to work in), " +
                                          why + "; use another device or " + describeProcessor(manifest));
  };
  if (needed > *free)
    return tooMuch("of which " + describeBytes(*free) + " are free");
  struct {
    DeviceMemory *memory;
    uint64_t bytes;
  } const wanted[] = {
      {&weights, parts.weights.size()}, {&arena, arenaBytes}, {&counters, counterBytes}, {&tensors, tensorBytes}};
  for (auto [memory, bytes] : wanted) {
    auto taken = DeviceMemory::allocate(*owner, bytes);
    if (!taken)
      return taken.error().status == QUERN_OUT_OF_MEMORY
                 ? tooMuch("of which " + describeBytes(bytes) + " are refused in one piece, though " +
                           describeBytes(*free) + " are free")
                 : tl::unexpected(std::move(taken).error());
    *memory = *std::move(taken);
  }
  auto host = StagingMemory::allocate(*owner, tensorBytes);
  if (!host)
    return tl::unexpected(std::move(host).error());
  staging = *std::move(host);
  return counterBytes ? clear(counters) : Outcome<void>();
}

Outcome<void> DeviceRun::findKernels() {
  auto loaded = owner->load(parts.code);
  if (!loaded)
    return tl::unexpected(std::move(loaded).error());
  module = *std::move(loaded);
  std::map<std::string, int64_t> shared; // the most that any launch gives the kernel
  for (const LaunchPlan &plan : parts.program.plans)
    for (const Launch &launch : plan.launches) {
      int64_t &most = shared[launch.kernel];
      most = std::max(most, launch.sharedBytes);
    }
  std::map<std::string, DeviceKernel> byName;
  for (const auto &[name, bytes] : shared) {
    auto kernel = module->kernel(name, uint32_t(bytes));
    if (!kernel)
      return tl::unexpected(std::move(kernel).error());
    byName[name] = *kernel;
  }
  for (const LaunchPlan &plan : parts.program.plans) {
    hasRun.emplace_back(plan.launches.size(), false);
    std::vector<DeviceKernel> &list = kernels.emplace_back();
    for (const Launch &launch : plan.launches)
      list.push_back(byName[launch.kernel]);
  }
  return {};
}

/// In pieces through two buffers: one is filled from the file while the other is on its way.
Outcome<void> DeviceRun::copyWeights() {
  constexpr size_t kPiece = size_t(16) << 20;
  size_t total = parts.weights.size(), piece = std::min(kPiece, total);
  auto buffers = StagingMemory::allocate(*owner, 2 * piece);
  if (!buffers)
    return tl::unexpected(std::move(buffers).error());
  for (size_t done = 0, half = 0; done < total; half = 1 - half) {
    size_t count = std::min(piece, total - done);
    uint8_t *buffer = buffers->data() + half * piece;
    std::memcpy(buffer, parts.weights.data() + done, count);
    if (auto arrived = owner->synchronize(); !arrived) // the piece before this one
      return arrived;
    if (auto sent = owner->write(weights.address() + done, buffer, count); !sent)
      return sent;
    done += count;
    if (parts.progress && !parts.progress(done, total)) {
      static_cast<void>(owner->synchronize()); // the buffers are about to go
      return fault(QUERN_CANCELLED, "copying the weights to " + owner->info().id + " was stopped");
    }
  }
  return owner->synchronize();
}

} // namespace quern::runtime
