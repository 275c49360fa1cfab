// `quern quantize`: from one GGUF file to another, with the types of a standard mix or of a recipe.
#include "CompilerCommands.h"
#include "Common.h"
#include "Progress.h"
#include "Table.h"

#include "quern/Import/HuggingFace.h"
#include "quern/Import/ImportGGUF.h"
#include "quern/Quantize/QuantizeFile.h"

#include "dialects/DQ/DQ.h"

#include "mlir/IR/MLIRContext.h"

#include <thread>

using namespace quern;
using namespace quern::cli;

namespace {
struct Options {
  std::string input, output, mix, recipe, importance;
  std::vector<std::string> formatFiles;
  unsigned threads = 0;
  bool dryRun = false, allowRequantize = false;
};
} // namespace

static std::string shapeText(const gguf::Tensor &tensor) {
  std::string text;
  for (auto dim = tensor.dims.rbegin(); dim != tensor.dims.rend(); ++dim)
    text += (text.empty() ? "" : "x") + std::to_string(*dim);
  return text;
}

static void print(const quantize::FilePlan &plan) {
  Table table({"tensor", ">shape", "from", "to", ">bytes"});
  uint64_t elements = 0;
  for (const quantize::TensorPlan &tensor : plan.tensors) {
    std::string kept(tensor.tensor->type->name);
    table.add({std::string(tensor.tensor->name), shapeText(*tensor.tensor), tensor.from ? tensor.from->name : kept,
               tensor.to ? tensor.to->name : kept, std::to_string(tensor.bytes)});
    elements += tensor.tensor->elements;
  }
  table.print();
  std::printf("\n%zu tensors, %llu bytes (%.3f GB), %.3f bits a weight\n", plan.tensors.size(),
              static_cast<unsigned long long>(plan.bytes()), double(plan.bytes()) / 1e9,
              8.0 * double(plan.bytes()) / double(elements));
}

static Result<std::unique_ptr<quantize::Assignment>> assignment(const Options &options) {
  if (options.mix.empty() == options.recipe.empty())
    return fail("say what the tensors become: either --quant MIX or --recipe FILE");
  return options.mix.empty() ? quantize::readRecipe(options.recipe) : quantize::standardMix(options.mix);
}

static Status run(const Options &options) {
  if (options.output.empty() && !options.dryRun)
    return fail("say where the file goes: -o OUT.gguf (or ask for sizes only: --dry-run)");
  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  dq::FormatRegistry &formats = context.getOrLoadDialect<dq::DQDialect>()->getFormats();
  for (const std::string &path : options.formatFiles)
    QUERN_TRY(formats.addFile(path));
  std::vector<const formats::FormatSpec *> specs;
  for (dq::FormatAttr format : formats.list())
    specs.push_back(&format.getSpec());
  quantize::ElementTypes types(specs);
  quantize::FileOptions settings;
  QUERN_ASSIGN(settings.assignment, assignment(options));
  if (!options.importance.empty()) {
    QUERN_ASSIGN(settings.importance, quantize::Importance::read(options.importance));
  }
  settings.allowRequantize = options.allowRequantize;
  settings.threads = options.threads ? options.threads : std::max(1u, std::thread::hardware_concurrency());
  QUERN_ASSIGN(gguf::File file, import::openModel(options.input, import::typeTable(context)));
  if (file.hasHeadsInHalves() && !options.dryRun)
    return fail(options.input + ": rows of this architecture have another order in GGUF files; first: quern convert " +
                options.input + " -o model.gguf");
  QUERN_ASSIGN(quantize::FilePlan plan, quantize::planFile(file, types, settings));
  if (options.dryRun) {
    print(plan);
    return {};
  }
  Progress bar("quantizing");
  settings.progress = [&](double fraction) { bar.update(fraction); };
  return quantize::writeFile(file, plan, settings, options.output);
}

Command cli::addQuantizeFile(CLI::App &root) {
  CLI::App *app = root.add_subcommand("quantize", "Give the tensors of a model other types");
  auto options = std::make_shared<Options>();
  app->add_option("model", options->input, "GGUF file, the first part of a split one, or a Hugging Face folder")
      ->required();
  app->add_option("-o,--output", options->output, "The GGUF file to write");
  app->add_option("--quant", options->mix, "A standard mix; one of " + quantize::standardMixNames());
  app->add_option("--recipe", options->recipe,
                  "JSON file: an object from tensor names, or regular expressions for them, to types");
  app->add_option("--imatrix", options->importance, "File that tells how much each column matters");
  app->add_option("--format", options->formatFiles,
                  "File that describes further block formats; may be given several times")
      ->allow_extra_args(false);
  app->add_flag("--dry-run", options->dryRun, "Print each tensor's type and size, and write nothing");
  app->add_flag("--allow-requantize", options->allowRequantize, "Quantize also what is quantized already");
  app->add_option("-t,--threads", options->threads, "Threads; 0: one for each processor")->capture_default_str();
  app->footer("\nExamples:\n"
              "  quern quantize model-bf16.gguf --quant Q5_K_M -o model-q5_k_m.gguf\n"
              "  quern quantize model-bf16.gguf --recipe recipe.json --imatrix model.imatrix -o model-mixed.gguf\n"
              "  quern quantize ./hf-folder --recipe recipe.json --dry-run");
  return {app, [options] { return run(*options); }};
}
