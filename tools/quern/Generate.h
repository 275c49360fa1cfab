// Continues a session token by token and streams the text; shared by one-shot runs and chat.
#ifndef QUERN_TOOLS_GENERATE_H
#define QUERN_TOOLS_GENERATE_H

#include "Common.h"

namespace quern::cli {

struct Generation {
  std::string text;   ///< all that was streamed
  int64_t tokens = 0; ///< sampled, the ending one included
  double promptSeconds = 0, seconds = 0;
  int64_t promptTokens = 0; ///< computed now, not found in the session
  bool interrupted = false;
};

/// Ctrl-C ends the reply that is being generated, not the program, while one of these lives.
class InterruptGuard {
public:
  InterruptGuard();
  ~InterruptGuard();
  static bool interrupted();

private:
  void (*previous)(int);
};

/// Brings `session` to hold `prompt`, keeping the common beginning, then samples until a token that ends the reply,
/// `limit` tokens (negative: none), or a full context. Text goes to standard output as it comes.
Result<Generation> generate(const api::Model &model, api::Session &session, api::Sampler &sampler,
                            std::span<const int32_t> prompt, int64_t limit);

/// Speeds of prompt and reply, on standard error.
void printTimings(const Generation &generation);

} // namespace quern::cli

#endif // QUERN_TOOLS_GENERATE_H
