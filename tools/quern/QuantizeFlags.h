// Flags that say what a model's tensors become, shared by `quern quantize` and `quern compile`.
#ifndef QUERN_TOOLS_QUANTIZEFLAGS_H
#define QUERN_TOOLS_QUANTIZEFLAGS_H

#include "quern/Support/Result.h"

#include <CLI/CLI.hpp>

#include <functional>
#include <string>
#include <vector>

namespace quern::cli {

struct QuantizeFlags {
  std::string mix, recipe, importance;
  bool allowRequantize = false;

  bool given() const { return !mix.empty() || !recipe.empty(); }
};

void bindQuantizeFlags(CLI::App &app, QuantizeFlags &flags);

struct QuantizeJob {
  QuantizeFlags flags;
  std::string input;                    ///< GGUF file or Hugging Face folder
  std::string output;                   ///< GGUF file, written by atomic rename
  std::vector<std::string> formatFiles; ///< further block formats
  unsigned threads = 0;                 ///< 0: one for each processor
  bool dryRun = false;                  ///< print types and sizes, write nothing
  std::function<void(double fraction)> progress;
};

Status quantizeModel(const QuantizeJob &job);

} // namespace quern::cli

#endif // QUERN_TOOLS_QUANTIZEFLAGS_H
