// `quern convert`: from a Hugging Face folder, or a GGUF file in parts, to one GGUF file.
#include "CompilerCommands.h"
#include "Progress.h"

#include "quern/Import/ImportGGUF.h"
#include "quern/Import/OpenModel.h"
#include "quern/Import/WriteGGUF.h"

#include "mlir/IR/MLIRContext.h"

#include <thread>

using namespace quern;
using namespace quern::cli;

namespace {
struct ConvertOptions {
  std::string input, output;
};
} // namespace

static Status convert(const ConvertOptions &options) {
  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  Progress bar("checking");
  QUERN_ASSIGN(gguf::File file, import::openModel(options.input, import::typeTable(context)));
  QUERN_ASSIGN(import::ModelConfig config, import::readModelConfig(file));
  QUERN_ASSIGN(TokenizerSource tokenizer, import::readTokenizer(file, config));
  QUERN_TRY(buildTokenizer(tokenizer)); // what it refuses is refused here rather than by who gets the file
  QUERN_TRY(import::checkNumbers(context, file, std::max(1u, std::thread::hardware_concurrency())));
  bar.relabel("writing");
  return import::writeGGUF(file, config, options.output, [&](double fraction) { bar.update(fraction); });
}

Command cli::addConvertModel(CLI::App &root) {
  CLI::App *app = root.add_subcommand("convert", "Write a model as one GGUF file");
  auto options = std::make_shared<ConvertOptions>();
  app->add_option("model", options->input, "Hugging Face folder, or a GGUF file")->required();
  app->add_option("-o,--output", options->output, "The GGUF file to write")->required();
  app->footer("\nExamples:\n"
              "  quern convert ./Qwen2.5-0.5B-Instruct -o qwen-bf16.gguf\n"
              "  quern convert split-00001-of-00003.gguf -o whole.gguf");
  return {app, [options] { return convert(*options); }};
}
