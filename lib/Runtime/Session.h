// A sequence of tokens with its key-value cache, over a model that other sessions share.
#ifndef QUERN_LIB_RUNTIME_SESSION_H
#define QUERN_LIB_RUNTIME_SESSION_H

#include "Memory.h"
#include "Model.h"
#include "quern/Runtime/Sampler.h"

#include <functional>
#include <memory>
#include <span>
#include <vector>

namespace quern::runtime {

class Session {
public:
  ~Session();
  /// 0: the model's own context length.
  static Outcome<std::unique_ptr<Session>> create(Model &model, int64_t contextLength);

  Model &model() const { return *owner; }
  int64_t position() const { return int64_t(history.size()); }
  int64_t contextLength() const { return context; }
  std::span<const int32_t> tokens() const { return history; }
  Outcome<void> truncate(int64_t length);
  void setProgress(package::Progress callback) { progress = std::move(callback); }

  Outcome<void> prefill(std::span<const int32_t> tokens);
  /// Given logits [rows, vocabulary] of the tokens from `first` on; returns false to stop.
  using Sink = std::function<bool(size_t first, size_t rows, const float *logits)>;
  Outcome<void> prefillAllLogits(std::span<const int32_t> tokens, size_t first, const Sink &sink);
  /// One token for each of several distinct sessions of one model.
  static Outcome<void> decode(std::span<Session *const> sessions, std::span<const int32_t> tokens);
  Outcome<std::span<const float>> logits() const;
  /// What a sampler of these settings would choose, where a device has chosen so: when it made the logits, it took them
  /// to be sampled as the ones before were.
  std::optional<int32_t> chosen(const SamplerSettings &settings);

private:
  Session() = default;
  Outcome<void> takeCache();
  Outcome<void> takeDeviceCache();
  Outcome<void> check(std::span<const int32_t> tokens) const;
  Row row(int32_t token, int64_t position) const;
  /// The place for what a step gives for the last of `count` more tokens.
  RowResult *resultAfter(size_t count);
  /// Computes the next tokens in one step; logits of the last `outputs` of them go to `out`, or those of the last token
  /// to `last` where `out` is null.
  Outcome<void> advance(std::span<const int32_t> tokens, size_t outputs, float *out);
  Outcome<void> report(size_t done, size_t total) const;
  static Outcome<void> decodeStep(std::span<Session *const> sessions, std::span<const int32_t> tokens);

  Model *owner = nullptr;
  int64_t context = 0;
  int64_t capacity = 0; ///< context in whole granules
  Memory cache;             ///< of a model on the processor
  DeviceMemory deviceCache; ///< of one on a device
  std::vector<int32_t> history;
  mutable RowResult last; ///< of the last token; logits may come from the device when they are asked for
  std::optional<SamplerSettings> sampledBy; ///< the last time that it was
  package::Progress progress;
};

} // namespace quern::runtime

#endif // QUERN_LIB_RUNTIME_SESSION_H
