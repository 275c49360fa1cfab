#include "Model.h"
#include "GraphCall.h"

namespace quern::runtime {

Outcome<void> Model::verifyWeights(const package::Progress &progress) const {
  if (!reader)
    return {};
  if (auto status = reader->verifyWeights(progress); !status)
    return tl::unexpected<Fault>(Fault(status.error()));
  return {};
}

Outcome<void> Model::step(std::span<const Row> rows, std::span<const int32_t> outputRows, float *logits) {
  std::lock_guard<std::mutex> lock(turn);
  int64_t sizes[2];
  sizes[tokensSize] = int64_t(rows.size());
  sizes[outputsSize] = int64_t(outputRows.size());
  if (program)
    if (auto reserved = program->reserve(sizes); !reserved)
      return reserved;
  tokenIds.clear();
  positions.clear();
  caches.clear();
  cacheCapacities.clear();
  for (const Row &row : rows) {
    tokenIds.push_back(row.token);
    positions.push_back(row.position);
    caches.push_back(row.cache);
    cacheCapacities.push_back(row.cacheCapacity);
  }
  auto bufferOf = [&](Role role) -> void * {
    switch (role) {
    case Role::TokenIds:
      return tokenIds.data();
    case Role::Positions:
      return positions.data();
    case Role::Caches:
      return caches.data();
    case Role::CacheCapacities:
      return cacheCapacities.data();
    case Role::OutputRows:
      return const_cast<int32_t *>(outputRows.data()); // an input: the code only reads it
    case Role::Logits:
      return logits;
    }
    return nullptr;
  };
  std::vector<void *> buffers;
  for (Role role : roles)
    buffers.push_back(bufferOf(role));
  if (parts.device)
    return parts.device->run(buffers, sizes);
  program->run(stepEntry, buffers, sizes, profiling ? &profile : nullptr);
  return {};
}

Outcome<void> Model::compute(std::span<void *const> buffers, std::span<const int64_t> sizes,
                             std::span<QuernResult> results, const std::function<Outcome<void>()> &then) {
  std::lock_guard<std::mutex> lock(turn);
  GraphCall memory;
  QuernCall call{};
  call.abiVersion = QUERN_KERNEL_ABI_VERSION;
  call.threads = 1;
  call.weights = parts.weights.data();
  call.buffers = buffers.data();
  call.sizes = sizes.data();
  call.capacities = sizes.data();
  call.results = results.data();
  if (auto done = memory.run(parts.step, call); !done)
    return done;
  return then();
}

} // namespace quern::runtime
