#include "Session.h"

#include <algorithm>
#include <numeric>
#include <sys/mman.h>

namespace quern::runtime {

Outcome<std::unique_ptr<Session>> Session::create(Model &model, int64_t contextLength) {
  const Manifest &manifest = model.manifest();
  int64_t most = manifest.model.contextLength;
  if (contextLength == 0)
    contextLength = most;
  if (contextLength < 1 || contextLength > most)
    return fault(QUERN_INVALID_ARGUMENT, "a context of " + std::to_string(contextLength) +
                                             " tokens was asked for; the model takes 1 to " + std::to_string(most) +
                                             " (-c)");
  std::unique_ptr<Session> session(new Session);
  session->owner = &model;
  session->context = contextLength;
  int64_t granule = manifest.cache.granule;
  session->capacity = (contextLength + granule - 1) / granule * granule;
  if (auto taken = model.device() ? session->takeDeviceCache() : session->takeCache(); !taken)
    return tl::unexpected(std::move(taken).error());
  return session;
}

Session::~Session() {
  if (owner->device())
    owner->forget(last);
}

Outcome<void> Session::takeDeviceCache() {
  auto memory = owner->deviceCache(context);
  if (!memory)
    return tl::unexpected(std::move(memory).error());
  deviceCache = *std::move(memory);
  return {};
}

Outcome<void> Session::takeCache() {
  uint64_t bytes;
  if (__builtin_mul_overflow(uint64_t(capacity), uint64_t(owner->manifest().cache.bytesPerPosition), &bytes))
    bytes = UINT64_MAX;
  auto memory = Memory::allocate(bytes, "the key-value cache of a context of " + std::to_string(context) + " tokens",
                                 "use a smaller context (-c)");
  if (!memory)
    return tl::unexpected(std::move(memory).error());
  cache = *std::move(memory);
  // A long context is read through in each step; large pages keep address translation out of its way. A hint only.
  ::madvise(cache.data(), cache.size(), MADV_HUGEPAGE);
  return {};
}

Outcome<void> Session::truncate(int64_t length) {
  if (length < 0 || length > position())
    return fault(QUERN_INVALID_ARGUMENT, "cannot cut a session of " + std::to_string(position()) + " tokens to " +
                                             std::to_string(length));
  if (length == position())
    return {};
  history.resize(size_t(length));
  owner->forget(last);
  return {};
}

Outcome<void> Session::check(std::span<const int32_t> tokens) const {
  int64_t vocabulary = owner->vocabulary();
  for (int32_t token : tokens)
    if (token < 0 || token >= vocabulary)
      return fault(QUERN_INVALID_ARGUMENT, "token " + std::to_string(token) + " is not in the vocabulary of " +
                                               std::to_string(vocabulary));
  if (tokens.size() > size_t(context - position()))
    return fault(QUERN_CONTEXT_FULL, std::to_string(tokens.size()) + " more tokens do not fit: the session holds " +
                                         std::to_string(position()) + " of its context of " +
                                         std::to_string(context) + "; make the context longer (-c)");
  return {};
}

Row Session::row(int32_t token, int64_t position) const {
  void *place = owner->device() ? reinterpret_cast<void *>(deviceCache.address()) : cache.data();
  return {token, int32_t(position), place, capacity};
}

RowResult *Session::resultAfter(size_t count) {
  std::optional<RowDraw> draw = sampledBy ? drawOn(*sampledBy, history.size() + count) : std::nullopt;
  last.draw = draw.value_or(RowDraw());
  return &last;
}

std::optional<int32_t> Session::chosen(const SamplerSettings &settings) {
  sampledBy = settings;
  std::optional<RowDraw> draw = drawOn(settings, history.size());
  return draw == last.draw ? last.chosen : std::nullopt;
}

Outcome<void> Session::advance(std::span<const int32_t> tokens, size_t outputs, float *out) {
  std::vector<Row> rows;
  for (size_t i = 0; i < tokens.size(); ++i)
    rows.push_back(row(tokens[i], position() + int64_t(i)));
  std::vector<int32_t> outputRows(outputs);
  std::iota(outputRows.begin(), outputRows.end(), int32_t(tokens.size() - outputs));
  RowResult *result = resultAfter(tokens.size());
  auto done = out || outputs == 0 ? owner->step(rows, outputRows, out) : owner->step(rows, outputRows, {&result, 1});
  if (!done)
    return done;
  history.insert(history.end(), tokens.begin(), tokens.end());
  return {};
}

Outcome<void> Session::report(size_t done, size_t total) const {
  if (progress && !progress(done, total))
    return fault(QUERN_CANCELLED, "stopped after " + std::to_string(done) + " of " + std::to_string(total) + " tokens");
  return {};
}

Outcome<void> Session::prefill(std::span<const int32_t> tokens) {
  return prefillAllLogits(tokens, tokens.size(), {});
}

Outcome<void> Session::prefillAllLogits(std::span<const int32_t> tokens, size_t first, const Sink &sink) {
  if (tokens.empty())
    return fault(QUERN_INVALID_ARGUMENT, "there are no tokens to process");
  if (auto fits = check(tokens); !fits)
    return fits;
  first = std::min(first, tokens.size());
  size_t vocabulary = size_t(owner->vocabulary()), chunk = size_t(owner->chunkTokens());
  owner->forget(last);
  std::vector<float> logits;
  for (size_t done = 0; done < tokens.size();) {
    bool wanted = done >= first;
    size_t most = wanted ? std::min(chunk, kLogitRows) : std::min(chunk, first - done);
    size_t count = std::min(most, tokens.size() - done);
    bool isLast = done + count == tokens.size();
    size_t outputs = wanted ? count : isLast ? 1 : 0;
    logits.resize(wanted ? count * vocabulary : 0);
    if (auto stepped = advance(tokens.subspan(done, count), outputs, wanted ? logits.data() : nullptr); !stepped)
      return stepped;
    if (wanted && !sink(done, count, logits.data()))
      return fault(QUERN_CANCELLED, "stopped after " + std::to_string(done + count) + " tokens");
    done += count;
    if (isLast && wanted)
      last.logits.assign(logits.end() - long(vocabulary), logits.end());
    if (auto reported = report(done, tokens.size()); !reported && !isLast)
      return reported;
  }
  return {};
}

Outcome<void> Session::decode(std::span<Session *const> sessions, std::span<const int32_t> tokens) {
  for (size_t i = 0; i < sessions.size(); ++i) {
    if (sessions[i]->owner != sessions[0]->owner)
      return fault(QUERN_INVALID_ARGUMENT, "the sessions of a batch belong to different models");
    if (std::find(sessions.begin(), sessions.begin() + long(i), sessions[i]) != sessions.begin() + long(i))
      return fault(QUERN_INVALID_ARGUMENT, "a session is in the batch twice");
    if (auto fits = sessions[i]->check(tokens.subspan(i, 1)); !fits)
      return fits;
  }
  for (size_t done = 0; done < sessions.size();) {
    size_t count = std::min({sessions.size() - done, size_t(sessions[0]->owner->chunkTokens()), kLogitRows});
    if (auto stepped = decodeStep(sessions.subspan(done, count), tokens.subspan(done, count)); !stepped)
      return stepped;
    done += count;
  }
  return {};
}

Outcome<void> Session::decodeStep(std::span<Session *const> sessions, std::span<const int32_t> tokens) {
  std::vector<Row> rows;
  std::vector<RowResult *> results;
  for (size_t i = 0; i < sessions.size(); ++i) {
    rows.push_back(sessions[i]->row(tokens[i], sessions[i]->position()));
    results.push_back(sessions[i]->resultAfter(1));
  }
  std::vector<int32_t> outputRows(sessions.size());
  std::iota(outputRows.begin(), outputRows.end(), 0);
  if (auto stepped = sessions[0]->owner->step(rows, outputRows, results); !stepped)
    return stepped;
  for (size_t i = 0; i < sessions.size(); ++i)
    sessions[i]->history.push_back(tokens[i]);
  return {};
}

Outcome<std::span<const float>> Session::logits() const {
  if (auto brought = owner->bringLogits(last); !brought)
    return tl::unexpected(std::move(brought).error());
  if (last.logits.empty())
    return fault(QUERN_INVALID_ARGUMENT, "the session has no logits yet; process a token first");
  return std::span<const float>(last.logits);
}

} // namespace quern::runtime
