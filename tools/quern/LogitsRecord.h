// `quern logits`: one JSON line for each prompt, {"prompt_tokens": [...], "steps": [{"lse": ..., "top": [[id, logit],
// ...]}, ...]}: for each step the log-sum-exp over the whole vocabulary and the largest logits, descending. The model
// behind it is the compiled package or the slow reference.
#ifndef QUERN_TOOLS_LOGITSRECORD_H
#define QUERN_TOOLS_LOGITSRECORD_H

#include "quern/Support/Result.h"

#include <CLI/CLI.hpp>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace quern::cli {

struct LogitsOptions {
  std::string prompts; ///< file, one prompt a line
  std::string follow;  ///< file of the same shape whose tokens are followed; empty: greedy
  int steps = 64;
  int top = 20;
};

void bindLogitsOptions(CLI::App &app, LogitsOptions &options);

/// A model that gives logits token by token.
class LogitsSource {
public:
  virtual ~LogitsSource() = default;
  /// With special tokens parsed, and the beginning token where the model wants one.
  virtual Result<std::vector<int32_t>> tokenize(const std::string &text) = 0;
  /// Starts a new sequence that will hold `length` tokens.
  virtual Status begin(int64_t length) = 0;
  /// Appends tokens; the logits after the last one, valid until the next call.
  virtual Result<std::span<const float>> append(std::span<const int32_t> tokens) = 0;
};

/// Writes the lines to standard output, each as soon as it is known.
Status writeLogits(const LogitsOptions &options, LogitsSource &source);

} // namespace quern::cli

#endif // QUERN_TOOLS_LOGITSRECORD_H
