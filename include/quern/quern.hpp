// The C++ face of the Quern runtime: owners and values over the C functions of quern.h, nothing more. Header only.
// Every call that can fail returns an Expected; errors carry the status and one sentence. std::expected where the
// standard library has it (C++23), else tl::expected (Debian: libexpected-dev).
#ifndef QUERN_QUERN_HPP
#define QUERN_QUERN_HPP

#include "quern/quern.h"

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>
#include <version>

#if defined(__cpp_lib_expected)
#include <expected>
#else
#include <tl/expected.hpp>
#endif

namespace quern::api {

/// Why a call failed: its status, and one sentence for the user.
struct Failure {
  quern_status status;
  std::string message;
};

#if defined(__cpp_lib_expected)
template <typename T> using Expected = std::expected<T, Failure>;
using Unexpected = std::unexpected<Failure>;
#else
template <typename T> using Expected = tl::expected<T, Failure>;
using Unexpected = tl::unexpected<Failure>;
#endif

namespace detail {
inline Unexpected failure(quern_status status) { return Unexpected(Failure{status, quern_last_error()}); }
inline Expected<void> check(quern_status status) {
  if (status != QUERN_OK)
    return failure(status);
  return {};
}
template <auto Free> struct Deleter {
  template <typename T> void operator()(T *handle) const { Free(handle); }
};
/// Calls `fill(data, capacity, &size)` with a guessed capacity, and again if that was too small.
template <typename Container, typename Fill> Expected<Container> grow(size_t guess, Fill fill) {
  Container out(guess, {});
  size_t size = 0;
  quern_status status = fill(out.data(), out.size(), &size);
  if (status == QUERN_BUFFER_TOO_SMALL) {
    out.resize(size);
    status = fill(out.data(), out.size(), &size);
  }
  if (status != QUERN_OK)
    return failure(status);
  out.resize(size);
  return out;
}
} // namespace detail

using ModelOptions = quern_model_options;
using SamplerOptions = quern_sampler_options;
using Message = quern_chat_message;

/// Default options, to be changed by the caller.
inline ModelOptions modelOptions() {
  ModelOptions options;
  quern_model_options_init(&options);
  return options;
}
inline SamplerOptions samplerOptions() {
  SamplerOptions options;
  quern_sampler_options_init(&options);
  return options;
}

/// A device; `problem` says why it cannot be used, or why there is none of a kind, which has no name.
struct Device {
  std::string id, name, target;
  uint64_t memoryBytes;
  std::string problem;
};

/// All devices of this machine, see quern_devices_visit.
inline Expected<std::vector<Device>> devices() {
  std::vector<Device> out;
  auto add = [](void *user, const quern_device_info *info) {
    static_cast<std::vector<Device> *>(user)->push_back(
        {info->id, info->name, info->target, info->memory_bytes, info->problem});
    return 0;
  };
  if (auto status = quern_devices_visit(add, &out); status != QUERN_OK)
    return detail::failure(status);
  return out;
}

/// Turns tokens into text as they come, never splitting a character. The text lives until the decoder's next call.
class Decoder {
public:
  explicit Decoder(quern_decoder *handle) : handle(handle) {}
  Expected<std::string_view> push(int32_t token) {
    const char *text = nullptr;
    size_t size = 0;
    if (auto status = quern_decoder_push(handle.get(), token, &text, &size); status != QUERN_OK)
      return detail::failure(status);
    return std::string_view(text, size);
  }
  Expected<std::string_view> finish() {
    const char *text = nullptr;
    size_t size = 0;
    if (auto status = quern_decoder_finish(handle.get(), &text, &size); status != QUERN_OK)
      return detail::failure(status);
    return std::string_view(text, size);
  }

private:
  std::unique_ptr<quern_decoder, detail::Deleter<quern_decoder_free>> handle;
};

/// A sequence of tokens with its key-value cache. Must not outlive its model.
class Session {
public:
  explicit Session(quern_session *handle) : handle(handle) {}
  quern_session *get() const { return handle.get(); }

  Expected<void> prefill(std::span<const int32_t> tokens) {
    return detail::check(quern_prefill(get(), tokens.data(), tokens.size()));
  }
  Expected<void> decode(int32_t token) { return detail::check(quern_decode(get(), token)); }
  /// `sink(first, rows, logits [rows, vocabulary])` returns false to stop.
  using LogitsSink = std::function<bool(size_t first, size_t rows, std::span<const float> logits)>;
  Expected<void> prefillAllLogits(std::span<const int32_t> tokens, size_t first, const LogitsSink &sink) {
    auto call = [](void *user, size_t first, size_t rows, const float *logits, size_t vocabulary) -> int {
      return (*static_cast<const LogitsSink *>(user))(first, rows, {logits, rows * vocabulary}) ? 0 : 1;
    };
    return detail::check(quern_prefill_all_logits(get(), tokens.data(), tokens.size(), first, call,
                                                  const_cast<LogitsSink *>(&sink)));
  }
  /// Logits after the last token, [vocabulary]; valid until the session changes.
  Expected<std::span<const float>> logits() const {
    const float *data = nullptr;
    size_t size = 0;
    if (auto status = quern_logits(get(), &data, &size); status != QUERN_OK)
      return detail::failure(status);
    return std::span<const float>(data, size);
  }
  Expected<void> truncate(int64_t length) { return detail::check(quern_session_truncate(get(), length)); }
  int64_t position() const { return quern_session_position(get()); }
  int64_t contextLength() const { return quern_session_context_length(get()); }
  std::span<const int32_t> tokens() const { return {quern_session_tokens(get()), size_t(position())}; }

private:
  std::unique_ptr<quern_session, detail::Deleter<quern_session_close>> handle;
};

/// Chooses next tokens. Must not outlive its model.
class Sampler {
public:
  explicit Sampler(quern_sampler *handle) : handle(handle) {}
  Expected<int32_t> sample(const Session &session) {
    int32_t token = -1;
    if (auto status = quern_sampler_sample(handle.get(), session.get(), &token); status != QUERN_OK)
      return detail::failure(status);
    return token;
  }

private:
  std::unique_ptr<quern_sampler, detail::Deleter<quern_sampler_free>> handle;
};

/// An open package.
class Model {
public:
  static Expected<Model> open(const std::string &path, const ModelOptions &options = modelOptions()) {
    quern_model *handle = nullptr;
    if (auto status = quern_model_open(path.c_str(), &options, &handle); status != QUERN_OK)
      return detail::failure(status);
    return Model(handle);
  }
  quern_model *get() const { return handle.get(); }

  quern_model_info info() const {
    quern_model_info info{};
    info.struct_size = sizeof info;
    quern_model_get_info(get(), &info);
    return info;
  }
  std::string_view manifest() const {
    size_t size = 0;
    const char *text = quern_model_manifest(get(), &size);
    return {text, size};
  }
  Expected<void> verifyWeights(quern_progress progress = nullptr, void *user = nullptr) const {
    return detail::check(quern_model_verify_weights(get(), progress, user));
  }

  /// Bytes read or operations done by one of the package's probes, see quern_model_probe.
  Expected<uint64_t> probe(const std::string &name, int64_t rounds) {
    uint64_t work = 0;
    if (auto status = quern_model_probe(get(), name.c_str(), rounds, &work); status != QUERN_OK)
      return detail::failure(status);
    return work;
  }
  Expected<void> startProfile() { return detail::check(quern_model_profile_start(get())); }
  /// Nanoseconds of each kernel call since startProfile.
  Expected<std::vector<uint64_t>> stopProfile() {
    return detail::grow<std::vector<uint64_t>>(4096, [&](uint64_t *out, size_t capacity, size_t *count) {
      return quern_model_profile_stop(get(), out, capacity, count);
    });
  }

  Expected<Session> session(int64_t contextLength = 0) {
    quern_session *session = nullptr;
    if (auto status = quern_session_create(get(), contextLength, &session); status != QUERN_OK)
      return detail::failure(status);
    return Session(session);
  }
  Expected<Sampler> sampler(const SamplerOptions &options = samplerOptions()) const {
    quern_sampler *sampler = nullptr;
    if (auto status = quern_sampler_create(get(), &options, &sampler); status != QUERN_OK)
      return detail::failure(status);
    return Sampler(sampler);
  }
  /// `flags`: QUERN_SKIP_SPECIAL or 0.
  Expected<Decoder> decoder(uint32_t flags = QUERN_SKIP_SPECIAL) const {
    quern_decoder *decoder = nullptr;
    if (auto status = quern_decoder_create(get(), flags, &decoder); status != QUERN_OK)
      return detail::failure(status);
    return Decoder(decoder);
  }

  /// `flags`: QUERN_ADD_BOS, QUERN_PARSE_SPECIAL.
  Expected<std::vector<int32_t>> tokenize(std::string_view text, uint32_t flags = QUERN_ADD_BOS) const {
    return detail::grow<std::vector<int32_t>>(text.size() + 1, [&](int32_t *out, size_t capacity, size_t *count) {
      return quern_tokenize(get(), text.data(), text.size(), flags, out, capacity, count);
    });
  }
  Expected<std::string> detokenize(std::span<const int32_t> tokens, uint32_t flags = QUERN_SKIP_SPECIAL) const {
    return detail::grow<std::string>(8 * tokens.size() + 1, [&](char *out, size_t capacity, size_t *size) {
      return quern_detokenize(get(), tokens.data(), tokens.size(), flags, out, capacity, size);
    });
  }
  /// Tokens of a conversation; `chatTemplate` "" for the package's own.
  Expected<std::vector<int32_t>> chat(std::span<const Message> messages, const std::string &chatTemplate = "",
                                      uint32_t flags = QUERN_GENERATION_PROMPT) const {
    const char *name = chatTemplate.empty() ? nullptr : chatTemplate.c_str();
    return detail::grow<std::vector<int32_t>>(256, [&](int32_t *out, size_t capacity, size_t *count) {
      return quern_chat_tokenize(get(), name, messages.data(), messages.size(), flags, out, capacity, count);
    });
  }
  Expected<std::string_view> tokenBytes(int32_t token) const {
    const char *bytes = nullptr;
    size_t size = 0;
    if (auto status = quern_token_bytes(get(), token, &bytes, &size); status != QUERN_OK)
      return detail::failure(status);
    return std::string_view(bytes, size);
  }
  bool endsGeneration(int32_t token) const { return quern_token_ends_generation(get(), token) != 0; }
  int32_t findToken(std::string_view text) const { return quern_token_find(get(), text.data(), text.size()); }
  int32_t bos() const { return quern_bos_token(get()); }

private:
  explicit Model(quern_model *handle) : handle(handle) {}
  std::unique_ptr<quern_model, detail::Deleter<quern_model_close>> handle;
};

/// Appends tokens[i] to sessions[i] in one step.
inline Expected<void> decodeBatch(std::span<quern_session *const> sessions, std::span<const int32_t> tokens) {
  if (sessions.size() != tokens.size())
    return Unexpected(Failure{QUERN_INVALID_ARGUMENT, "a batch needs one token for each session"});
  return detail::check(quern_decode_batch(sessions.data(), tokens.data(), tokens.size()));
}

} // namespace quern::api

#endif // QUERN_QUERN_HPP
