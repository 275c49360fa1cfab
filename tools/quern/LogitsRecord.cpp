#include "LogitsRecord.h"
#include "quern/Support/Json.h"
#include "Common.h"
#include "Progress.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdio>
#include <numeric>

using namespace quern;
using namespace quern::cli;

namespace {
struct FollowedPrompt {
  std::vector<int32_t> promptTokens, continuation;
};
} // namespace

void cli::bindLogitsOptions(CLI::App &app, LogitsOptions &options) {
  app.add_option("--prompts", options.prompts, "File with one prompt a line; \\n in it is a line break")->required();
  app.add_option("-n,--predict", options.steps, "Steps for each prompt")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  app.add_option("--top", options.top, "Logits to print for each step")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  app.add_option("--follow", options.follow, "Output of an earlier run: continue along its tokens, not greedily");
}

/// "\n" becomes a line break; another backslash stays.
static std::string unescape(const std::string &line) {
  std::string out;
  for (size_t i = 0; i < line.size(); ++i) {
    bool lineBreak = line[i] == '\\' && i + 1 < line.size() && line[i + 1] == 'n';
    out += lineBreak ? '\n' : line[i];
    i += lineBreak;
  }
  return out;
}

/// The likeliest token of each step is what the run continued with.
static Result<FollowedPrompt> parseFollowed(const std::string &line, const std::string &where) {
  nlohmann::json json = parseJson(line);
  auto malformed = fail(where + " is not a line of `quern logits` output");
  if (!json.is_object() || !json.contains("prompt_tokens") || !json.contains("steps") || !json["steps"].is_array() ||
      !json["prompt_tokens"].is_array())
    return malformed;
  FollowedPrompt out;
  for (const nlohmann::json &token : json["prompt_tokens"]) {
    if (!token.is_number_integer())
      return malformed;
    out.promptTokens.push_back(token.get<int32_t>());
  }
  for (const nlohmann::json &step : json["steps"]) {
    nlohmann::json::json_pointer first("/top/0/0");
    if (!step.is_object() || !step.contains(first) || !step[first].is_number_integer())
      return malformed;
    out.continuation.push_back(step[first].get<int32_t>());
  }
  return out;
}

static Result<std::vector<FollowedPrompt>> readFollowed(const std::string &path) {
  std::vector<FollowedPrompt> all;
  QUERN_ASSIGN(std::string text, readFile(path));
  for (const std::string &line : nonEmptyLines(text)) {
    QUERN_ASSIGN(FollowedPrompt one,
                 parseFollowed(line, "line " + std::to_string(all.size() + 1) + " of '" + path + "'"));
    all.push_back(std::move(one));
  }
  return all;
}

/// The `count` largest, ties to the lowest id.
static std::vector<int32_t> largest(std::span<const float> logits, size_t count) {
  std::vector<int32_t> ids(logits.size());
  std::iota(ids.begin(), ids.end(), 0);
  count = std::min(count, ids.size());
  std::partial_sort(ids.begin(), ids.begin() + long(count), ids.end(), [&](int32_t a, int32_t b) {
    return logits[size_t(a)] != logits[size_t(b)] ? logits[size_t(a)] > logits[size_t(b)] : a < b;
  });
  ids.resize(count);
  return ids;
}

static std::string printStep(std::span<const float> logits, std::span<const int32_t> top) {
  char text[64];
  std::snprintf(text, sizeof text, "{\"lse\": %.9g, \"top\": [", logSumExp(logits));
  std::string out = text;
  for (size_t i = 0; i < top.size(); ++i) {
    std::snprintf(text, sizeof text, "%s[%d, %.9g]", i ? ", " : "", top[i], double(logits[size_t(top[i])]));
    out += text;
  }
  return out + "]}";
}

static Status writePrompt(const LogitsOptions &options, LogitsSource &source, const std::vector<int32_t> &prompt,
                          const FollowedPrompt *followed) {
  size_t steps = size_t(options.steps);
  if (followed)
    steps = std::min(steps, followed->continuation.size());
  QUERN_TRY(source.begin(int64_t(prompt.size() + steps)));
  std::string line = "{\"prompt_tokens\": [";
  for (size_t i = 0; i < prompt.size(); ++i)
    line += (i ? ", " : "") + std::to_string(prompt[i]);
  line += "], \"steps\": [";
  std::vector<int32_t> next = prompt;
  for (size_t step = 0; step < steps; ++step) {
    QUERN_ASSIGN(std::span<const float> logits, source.append(next));
    std::vector<int32_t> top = largest(logits, size_t(options.top));
    line += (step ? ", " : "") + printStep(logits, top);
    next = {followed ? followed->continuation[step] : top.front()};
  }
  line += "]}\n";
  std::fwrite(line.data(), 1, line.size(), stdout);
  std::fflush(stdout);
  return {};
}

Status cli::writeLogits(const LogitsOptions &options, LogitsSource &source) {
  QUERN_ASSIGN(std::string text, readFile(options.prompts));
  std::vector<std::string> prompts = nonEmptyLines(text);
  std::vector<FollowedPrompt> followed;
  if (!options.follow.empty()) {
    QUERN_ASSIGN(followed, readFollowed(options.follow));
    if (followed.size() != prompts.size())
      return fail("'" + options.follow + "' follows " + std::to_string(followed.size()) + " prompts, but '" +
                  options.prompts + "' holds " + std::to_string(prompts.size()));
  }
  Progress bar("logits");
  for (size_t i = 0; i < prompts.size(); ++i) {
    QUERN_ASSIGN(std::vector<int32_t> tokens, source.tokenize(unescape(prompts[i])));
    const FollowedPrompt *along = followed.empty() ? nullptr : &followed[i];
    if (along && along->promptTokens != tokens)
      return fail("prompt " + std::to_string(i + 1) + " of '" + options.prompts + "' has other tokens than in '" +
                  options.follow + "': follow a run of the same prompts and tokenizer");
    QUERN_TRY(writePrompt(options, source, tokens, along));
    bar.update(double(i + 1) / double(prompts.size()));
  }
  return {};
}
