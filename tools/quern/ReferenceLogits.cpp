// `quern logits --reference`: the logits of a GGUF file by the slow double-precision evaluator of the imported graph,
// with activations quantized as compiled code does, or as they are.
#include "Common.h"
#include "CompilerCommands.h"
#include "LogitsRecord.h"

#include "quern/Import/ImportGGUF.h"
#include "quern/Import/OpenModel.h"
#include "quern/Pipelines/Phases.h"
#include "quern/Reference/Evaluator.h"
#include "quern/Runtime/Tokenizer.h"
#include "quern/Support/Threads.h"

#include "dialects/DQ/DQ.h"

#include "mlir/Pass/PassManager.h"

#include <numeric>
#include <optional>
#include <thread>

using namespace quern;
using namespace quern::cli;

namespace {
struct ReferenceOptions {
  std::string path;
  std::vector<std::string> formatFiles;
  LogitsOptions logits;
  bool reference = false, floatActivations = false, separate = false;
  std::string keyType = "f16", valueType;
  unsigned threads = 0;
};

class ReferenceSource : public LogitsSource {
public:
  explicit ReferenceSource(const ReferenceOptions &options)
      : options(options), context(mlir::MLIRContext::Threading::DISABLED) {}

  /// Reads and imports the model; to be called once, first.
  Status open() {
    for (const std::string &path : options.formatFiles)
      QUERN_TRY(context.getOrLoadDialect<dq::DQDialect>()->getFormats().addFile(path));
    QUERN_ASSIGN(gguf::File opened, import::openModel(options.path, import::typeTable(context)));
    file.emplace(std::move(opened));
    QUERN_ASSIGN(import::ModelConfig config, import::readModelConfig(*file));
    unsigned threads = options.threads ? options.threads : std::max(1u, std::thread::hardware_concurrency());
    QUERN_TRY(import::checkNumbers(context, *file, threads));
    QUERN_ASSIGN(TokenizerSource source, import::readTokenizer(*file, config));
    QUERN_ASSIGN(image, buildTokenizer(source));
    QUERN_ASSIGN(Tokenizer tables, Tokenizer::open(image.bytes, options.path));
    tokenizer.emplace(std::move(tables));
    module = import::importModel(context, *file, config);
    if (!options.floatActivations)
      QUERN_TRY(quantizeActivations());
    evaluator.emplace(*module, import::sourceReader(*file), arithmetic(threads));
    return {};
  }

  Result<std::vector<int32_t>> tokenize(const std::string &text) override {
    return tokenizer->encode(text, Specials::All, /*addBos=*/true);
  }
  Status begin(int64_t) override {
    evaluator->clearCache();
    position = 0;
    return {};
  }
  Result<std::span<const float>> append(std::span<const int32_t> tokens) override {
    std::vector<int32_t> positions(tokens.size());
    std::iota(positions.begin(), positions.end(), position);
    position += int32_t(tokens.size());
    QUERN_ASSIGN(reference::Rows rows,
                 evaluator->step({tokens.begin(), tokens.end()}, positions, {int32_t(tokens.size()) - 1}));
    logits.assign(rows.values.begin(), rows.values.end());
    return std::span<const float>(logits);
  }

private:
  Status quantizeActivations() {
    mlir::PassManager passes(&context);
    pipelines::buildQuantizePipeline(passes);
    if (mlir::failed(passes.run(*module)))
      return fail("'" + options.path + "': the quantize phase failed");
    return {};
  }

  /// Rows are quantized to the very codes of compiled code; on others, which a last bit of f32 would choose, the
  /// comparison would measure the quantization once more.
  reference::Options arithmetic(unsigned threads) const {
    using reference::MultiplyAdd, reference::Precision;
    return {.precision = options.floatActivations ? Precision::Double : Precision::DoubleOnExactCodes,
            .multiplyAdd = options.separate ? MultiplyAdd::Separate : MultiplyAdd::Fused,
            .cache = options.floatActivations ? reference::CachePrecision::Unrounded : cachePrecision(),
            .threads = threads};
  }

  reference::CachePrecision cachePrecision() const {
    using reference::CachePrecision;
    if (options.keyType == "f32")
      return CachePrecision::Unrounded;
    return options.keyType == "q8_0" ? CachePrecision::Q8_0 : CachePrecision::F16;
  }

  const ReferenceOptions &options;
  mlir::MLIRContext context;
  std::optional<gguf::File> file;
  TokenizerImage image;
  std::optional<Tokenizer> tokenizer;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  std::optional<reference::Evaluator> evaluator;
  int32_t position = 0;
  std::vector<float> logits;
};
} // namespace

Command cli::addReferenceLogits(CLI::App &root) {
  CLI::App *app = root.add_subcommand("logits", "Print logits computed by the slow reference as JSON lines");
  auto options = std::make_shared<ReferenceOptions>();
  app->add_option("model", options->path, "GGUF file")->required();
  bindLogitsOptions(*app, options->logits);
  app->add_flag("--reference", options->reference, "Always so here");
  app->add_flag("--float-activations", options->floatActivations,
                "Neither activations, but where the file does so, nor cache are rounded");
  app->add_option("--format", options->formatFiles, "File that describes further block formats")
      ->allow_extra_args(false);
  app->add_flag("--no-fma", options->separate, "Quantize as code of targets without fused multiply-add does");
  bindCacheFlags(*app, options->keyType, options->valueType);
  app->add_option("-t,--threads", options->threads, "Threads; 0: one for each processor")
      ->check(CLI::Range(0, kMostWorkers));
  return {app, [options]() -> Status {
            QUERN_TRY(cacheType(options->keyType, options->valueType));
            ReferenceSource source(*options);
            QUERN_TRY(source.open());
            return writeLogits(options->logits, source);
          }};
}
