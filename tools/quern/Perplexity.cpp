// `quern perplexity`: perplexity of a text in chunks, and the KL divergence from saved reference logits, both as
// llama-perplexity defines them: each chunk starts from an empty cache, its second half is scored; where the tokenizer
// adds a beginning token, it takes the place of each chunk's first.
#include "Command.h"
#include "Common.h"
#include "Divergence.h"
#include "LogitsFile.h"
#include "Progress.h"

#include <nlohmann/json.hpp>

#include <cmath>
#include <optional>

using namespace quern;
using namespace quern::cli;

namespace {
struct PerplexityOptions {
  ModelFlags model;
  std::string text, base;
  int context = 512, chunks = -1;
  bool divergence = false;
};

/// Negative log-likelihoods, natural logarithm.
struct Likelihood {
  double sum = 0, squares = 0;
  int64_t count = 0;

  void add(double nll) {
    sum += nll;
    squares += nll * nll;
    ++count;
  }
  double perplexity() const { return std::exp(sum / double(count)); }
  double uncertainty() const {
    double mean = sum / double(count);
    return count > 1
               ? perplexity() * std::sqrt(std::max(0.0, squares / double(count) - mean * mean) / double(count - 1))
               : 0;
  }
};

/// Told of each scored prediction, in order: its logits and the token that came.
using Score = std::function<Status(std::span<const float> logits, int32_t actual)>;
} // namespace

/// Evaluates all chunks and hands on the scored positions context/2 .. context-2 of each.
static Status scoreChunks(api::Model &model, const LogitsFileHeader &text, const Score &score,
                          const std::function<void(int chunk)> &afterChunk) {
  size_t context = size_t(text.context), first = context / 2;
  QUERN_ASSIGN(api::Session session, lift(model.session(text.context)));
  QUERN_ASSIGN(std::vector<int32_t> beginning, lift(model.tokenize("", QUERN_ADD_BOS)));
  Progress bar("perplexity");
  for (int chunk = 0; chunk < text.chunks; ++chunk) {
    std::span<const int32_t> tokens = std::span(text.tokens).subspan(size_t(chunk) * context, context);
    std::vector<int32_t> evaluated(tokens.begin(), tokens.end() - 1);
    if (!beginning.empty())
      evaluated.front() = beginning.front();
    QUERN_TRY(lift(session.truncate(0)));
    Status status;
    auto sink = [&](size_t row, size_t rows, std::span<const float> logits) {
      size_t vocabulary = logits.size() / rows;
      for (size_t i = 0; i < rows && status; ++i)
        status = score(logits.subspan(i * vocabulary, vocabulary), tokens[row + i + 1]);
      bar.update((chunk + double(row + rows) / double(context)) / text.chunks);
      return status.has_value();
    };
    Status computed = lift(session.prefillAllLogits(evaluated, first, sink));
    QUERN_TRY(status);
    QUERN_TRY(computed);
    afterChunk(chunk);
  }
  return {};
}

static Result<LogitsFileHeader> readText(const PerplexityOptions &options, const api::Model &model) {
  if (options.text.empty())
    return fail("give the text to be predicted with -f FILE");
  QUERN_ASSIGN(std::string text, readFile(options.text));
  QUERN_ASSIGN(std::vector<int32_t> tokens, lift(model.tokenize(text, QUERN_ADD_BOS)));
  int64_t chunks = int64_t(tokens.size()) / options.context;
  if (chunks < 2)
    return fail("'" + options.text + "' has " + std::to_string(tokens.size()) + " tokens, at least " +
                std::to_string(2 * options.context) + " are needed: give a longer text or a smaller -c");
  if (options.chunks > 0)
    chunks = std::min<int64_t>(chunks, options.chunks);
  tokens.resize(size_t(chunks * options.context));
  return LogitsFileHeader{options.context, int32_t(model.info().vocabulary), int32_t(chunks), std::move(tokens)};
}

static Status perplexity(const PerplexityOptions &options, api::Model &model) {
  QUERN_ASSIGN(LogitsFileHeader text, readText(options, model));
  std::optional<LogitsFileWriter> base;
  if (!options.base.empty()) {
    QUERN_ASSIGN(LogitsFileWriter writer, LogitsFileWriter::create(options.base, text));
    base.emplace(std::move(writer));
  }
  Likelihood likelihood;
  auto score = [&](std::span<const float> logits, int32_t actual) -> Status {
    double sum = logSumExp(logits);
    likelihood.add(sum - logits[size_t(actual)]);
    return base ? base->write(encodeRecord(logits, sum, text.recordSize())) : Status();
  };
  QUERN_TRY(scoreChunks(model, text, score, [&](int chunk) {
    std::printf("[%d]%.4f,", chunk + 1, likelihood.perplexity());
    std::fflush(stdout);
  }));
  std::printf("\nFinal estimate: PPL = %.4f +/- %.5f\n", likelihood.perplexity(), likelihood.uncertainty());
  return base ? base->finish() : Status();
}

static Status divergence(const PerplexityOptions &options, api::Model &model) {
  QUERN_ASSIGN(LogitsFileReader reader, LogitsFileReader::open(options.base));
  const LogitsFileHeader &text = reader.header();
  quern_model_info info = model.info();
  if (text.vocabulary != info.vocabulary)
    return fail("'" + options.base + "' is for a vocabulary of " + std::to_string(text.vocabulary) +
                ", the model has " + std::to_string(info.vocabulary));
  for (int32_t token : text.tokens)
    if (token < 0 || token >= info.vocabulary)
      return fail("'" + options.base + "' is damaged: token " + std::to_string(token) + " is out of range");
  Divergence divergence;
  auto score = [&](std::span<const float> logits, int32_t actual) -> Status {
    QUERN_ASSIGN(std::span<const uint16_t> record, reader.next());
    divergence.add(decodeRecord(record), logits, actual);
    return {};
  };
  QUERN_TRY(scoreChunks(model, text, score, [](int) {}));
  divergence.print();
  return {};
}

Command cli::addPerplexity(CLI::App &root) {
  CLI::App *app = root.add_subcommand("perplexity", "Measure perplexity, or divergence from reference logits");
  auto options = std::make_shared<PerplexityOptions>();
  app->add_option("model", options->model.path, "Package (.quern)")->required();
  app->add_option("-f,--file", options->text, "Text to be predicted");
  app->add_option("-c,--ctx-size", options->context, "Tokens in a chunk")
      ->capture_default_str()
      ->check(CLI::Range(4, 1 << 20));
  app->add_option("--chunks", options->chunks, "Use at most this many chunks; -1: all");
  CLI::Option *base = app->add_option("--kl-divergence-base", options->base,
                                      "File of reference logits: written, or with --kl-divergence read");
  app->add_flag("--kl-divergence", options->divergence, "Compare with the reference logits")->needs(base);
  bindModelFlags(*app, options->model);
  app->footer("\nExamples:\n"
              "  quern perplexity f16.quern -f wiki.test.raw --kl-divergence-base f16.logits\n"
              "  quern perplexity q4.quern --kl-divergence-base f16.logits --kl-divergence");
  return {app, [options]() -> Status {
            QUERN_ASSIGN(api::Model model, openModel(options->model));
            return options->divergence ? divergence(*options, model) : perplexity(*options, model);
          }};
}
