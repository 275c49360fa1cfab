#include "Generate.h"
#include "Progress.h"

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>

using namespace quern;

static volatile std::sig_atomic_t interruptSeen = 0;

cli::InterruptGuard::InterruptGuard() {
  interruptSeen = 0;
  previous = std::signal(SIGINT, [](int) { interruptSeen = 1; });
}
cli::InterruptGuard::~InterruptGuard() { std::signal(SIGINT, previous); }
bool cli::InterruptGuard::interrupted() { return interruptSeen != 0; }

static double secondsSince(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

static void emit(std::string_view text, std::string &all) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
  all += text;
}

/// Computes what of `prompt` the session does not hold yet; always at least its last token, whose logits are needed.
static Status prefill(api::Session &session, std::span<const int32_t> prompt, cli::Generation &out) {
  std::span<const int32_t> held = session.tokens();
  size_t common = std::mismatch(held.begin(), held.end(), prompt.begin(), prompt.end()).first - held.begin();
  common = std::min(common, prompt.size() - 1);
  QUERN_TRY(cli::lift(session.truncate(int64_t(common))));
  std::span<const int32_t> rest = prompt.subspan(common);
  out.promptTokens = int64_t(rest.size());

  cli::Progress bar("reading the prompt");
  auto onProgress = [](void *user, uint64_t done, uint64_t total) -> int {
    static_cast<cli::Progress *>(user)->update(double(done) / double(total));
    return cli::InterruptGuard::interrupted() ? 1 : 0;
  };
  quern_session_set_progress(session.get(), onProgress, &bar);
  auto begin = std::chrono::steady_clock::now();
  Status status = cli::lift(session.prefill(rest));
  out.promptSeconds = secondsSince(begin);
  quern_session_set_progress(session.get(), nullptr, nullptr);
  return status;
}

Result<cli::Generation> cli::generate(const api::Model &model, api::Session &session, api::Sampler &sampler,
                                      std::span<const int32_t> prompt, int64_t limit) {
  Generation out;
  if (prompt.empty())
    return fail("the prompt is empty: give at least one token of text");
  InterruptGuard guard;
  QUERN_TRY(prefill(session, prompt, out));
  QUERN_ASSIGN(api::Decoder decoder, lift(model.decoder()));
  auto begin = std::chrono::steady_clock::now();
  while (limit < 0 || out.tokens < limit) {
    out.interrupted = InterruptGuard::interrupted();
    if (out.interrupted)
      break;
    QUERN_ASSIGN(int32_t token, lift(sampler.sample(session)));
    ++out.tokens;
    if (model.endsGeneration(token))
      break;
    QUERN_ASSIGN(std::string_view text, lift(decoder.push(token)));
    emit(text, out.text);
    bool last = out.tokens == limit || session.position() == session.contextLength();
    if (last)
      break;
    QUERN_TRY(lift(session.decode(token)));
  }
  QUERN_ASSIGN(std::string_view rest, lift(decoder.finish()));
  emit(rest, out.text);
  out.seconds = secondsSince(begin);
  return out;
}

void cli::printTimings(const Generation &g) {
  std::fprintf(stderr, "prompt: %lld tokens in %.3f s (%.1f tokens/s)\n", (long long)g.promptTokens, g.promptSeconds,
               g.promptSeconds > 0 ? g.promptTokens / g.promptSeconds : 0.0);
  std::fprintf(stderr, "reply:  %lld tokens in %.3f s (%.1f tokens/s)\n", (long long)g.tokens, g.seconds,
               g.seconds > 0 ? g.tokens / g.seconds : 0.0);
}
