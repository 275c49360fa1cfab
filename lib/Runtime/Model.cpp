#include "Model.h"
#include "GraphCall.h"

#include <algorithm>
#include <utility>

namespace quern::runtime {

Outcome<void> Model::verifyWeights(const package::Progress &progress) const {
  if (!reader)
    return {};
  if (auto status = reader->verifyWeights(progress); !status)
    return tl::unexpected<Fault>(Fault(status.error()));
  return {};
}

/// `logits` may be null where tokens are chosen.
Outcome<void> Model::compute(std::span<const Row> rows, std::span<const int32_t> outputRows, float *logits,
                             const RowChoices &choices) {
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
    return parts.device->run(buffers, sizes, choices);
  program->run(stepEntry, buffers, sizes, profiling ? &profile : nullptr);
  return {};
}

/// Copies what the last step left on the device: of one row, or of all that are still wanted.
Outcome<void> Model::bringLeft(RowResult *only) {
  size_t width = size_t(vocabulary()), bytes = width * sizeof(float);
  for (size_t row = 0; row < left.size(); ++row) {
    if (!left[row] || (only && left[row] != only))
      continue;
    RowResult &result = *std::exchange(left[row], nullptr);
    result.logits.resize(width);
    if (auto read = parts.device->readOutput(0, row * bytes, bytes, result.logits.data()); !read) {
      result = {};
      return read;
    }
  }
  return {};
}

Outcome<void> Model::bringLogits(RowResult &result) {
  if (!parts.device)
    return {};
  std::lock_guard<std::mutex> lock(turn);
  return bringLeft(&result);
}

void Model::forget(RowResult &result) {
  {
    std::lock_guard<std::mutex> lock(turn);
    std::replace(left.begin(), left.end(), &result, static_cast<RowResult *>(nullptr));
  }
  result.logits.clear();
  result.chosen.reset();
}

Outcome<void> Model::step(std::span<const Row> rows, std::span<const int32_t> outputRows, float *logits) {
  std::lock_guard<std::mutex> lock(turn);
  if (auto brought = bringLeft(); !brought)
    return brought;
  return compute(rows, outputRows, logits, {});
}

/// The logits stay on the device.
Outcome<void> Model::stepChoosing(std::span<const Row> rows, std::span<const int32_t> outputRows,
                                  std::span<RowResult *const> results) {
  std::vector<int32_t> tokens(results.size());
  std::vector<RowDraw> draws;
  for (RowResult *result : results)
    if (parts.device->drawsTokens())
      draws.push_back(result->draw);
    else
      result->draw = RowDraw();
  if (auto done = compute(rows, outputRows, nullptr, {tokens.data(), draws}); !done)
    return done;
  left.assign(results.begin(), results.end());
  for (size_t i = 0; i < results.size(); ++i)
    if (tokens[i] != RowDraw::kNotDrawn)
      results[i]->chosen = tokens[i];
  return {};
}

Outcome<void> Model::step(std::span<const Row> rows, std::span<const int32_t> outputRows,
                          std::span<RowResult *const> results) {
  std::lock_guard<std::mutex> lock(turn);
  for (RowResult *result : results) {
    result->logits.clear();
    result->chosen.reset();
    std::replace(left.begin(), left.end(), result, static_cast<RowResult *>(nullptr));
  }
  if (auto brought = bringLeft(); !brought)
    return brought;
  left.clear();
  if (parts.device && parts.device->choosesTokens())
    return stepChoosing(rows, outputRows, results);
  size_t width = size_t(vocabulary());
  std::vector<float> several;
  std::vector<float> &logits = results.size() == 1 ? results[0]->logits : several; // no copy of a single row
  logits.resize(results.size() * width);
  auto done = compute(rows, outputRows, logits.data(), {});
  if (!done)
    logits.clear();
  for (size_t i = 0; done && !several.empty() && i < results.size(); ++i)
    results[i]->logits.assign(logits.begin() + long(i * width), logits.begin() + long((i + 1) * width));
  return done;
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
