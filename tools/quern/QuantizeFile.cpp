// `quern quantize`: from one GGUF file to another, with the types of a standard mix or of a recipe.
#include "CompilerCommands.h"
#include "Common.h"
#include "Progress.h"
#include "QuantizeFlags.h"
#include "Table.h"

#include "quern/Import/ImportGGUF.h"
#include "quern/Import/OpenModel.h"
#include "quern/Quantize/QuantizeFile.h"
#include "quern/Support/Threads.h"

#include "dialects/DQ/DQ.h"

#include "mlir/IR/MLIRContext.h"

#include <thread>

using namespace quern;
using namespace quern::cli;

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

namespace {
struct QuantizeJob {
  quantize::AssignmentChoice choice;
  std::string input;                    ///< GGUF file or Hugging Face folder
  std::string output;                   ///< GGUF file, written by atomic rename
  std::vector<std::string> formatFiles; ///< further block formats
  unsigned threads = 0;                 ///< 0: one for each processor
  bool dryRun = false;                  ///< print types and sizes, write nothing
};
} // namespace

static Status run(const QuantizeJob &job) {
  if (job.output.empty() && !job.dryRun)
    return fail("say where the file goes: -o OUT.gguf (or ask for sizes only: --dry-run)");
  Progress bar("quantizing");
  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  dq::FormatRegistry &formats = context.getOrLoadDialect<dq::DQDialect>()->getFormats();
  for (const std::string &path : job.formatFiles)
    QUERN_TRY(formats.addFile(path));
  std::vector<const formats::FormatSpec *> specs;
  for (dq::FormatAttr format : formats.list())
    specs.push_back(&format.getSpec());
  quantize::ElementTypes types(specs);
  quantize::FileOptions settings;
  QUERN_ASSIGN(settings.assignment, quantize::makeAssignment(job.choice));
  if (!job.choice.importance.empty()) {
    QUERN_ASSIGN(settings.importance, quantize::Importance::read(job.choice.importance));
  }
  settings.allowRequantize = job.choice.allowRequantize;
  settings.threads = job.threads ? job.threads : std::max(1u, std::thread::hardware_concurrency());
  QUERN_ASSIGN(gguf::File file, import::openModel(job.input, import::typeTable(context)));
  QUERN_ASSIGN(quantize::FilePlan plan, quantize::planFile(file, types, settings));
  if (job.dryRun) {
    print(plan);
    return {};
  }
  settings.progress = [&](double fraction) { bar.update(fraction); };
  return quantize::writeFile(file, plan, settings, job.output);
}

void cli::bindQuantizeFlags(CLI::App &app, quantize::AssignmentChoice &choice) {
  app.add_option("--quant", choice.mix, "Quantize by a standard mix; one of " + quantize::standardMixNames());
  app.add_option("--recipe", choice.recipe,
                 "Quantize by a JSON file: an object from tensor names, or regular expressions for them, to types");
  app.add_option("--imatrix", choice.importance, "File that tells how much each column matters when quantizing");
  app.add_flag("--allow-requantize", choice.allowRequantize, "Quantize also what is quantized already");
}

Command cli::addQuantizeFile(CLI::App &root) {
  CLI::App *app = root.add_subcommand("quantize", "Give the tensors of a model other types");
  auto options = std::make_shared<QuantizeJob>();
  app->add_option("model", options->input,
                  "GGUF file, the first part of a split one, a Hugging Face folder, or an ONNX file")
      ->required();
  app->add_option("-o,--output", options->output, "The GGUF file to write");
  bindQuantizeFlags(*app, options->choice);
  app->add_option("--format", options->formatFiles,
                  "File that describes further block formats; may be given several times")
      ->allow_extra_args(false);
  app->add_flag("--dry-run", options->dryRun, "Print each tensor's type and size, and write nothing");
  app->add_option("-t,--threads", options->threads, "Threads; 0: one for each processor")
      ->check(CLI::Range(0, kMostWorkers))
      ->capture_default_str();
  app->footer("\nExamples:\n"
              "  quern quantize model-bf16.gguf --quant Q5_K_M -o model-q5_k_m.gguf\n"
              "  quern quantize model-bf16.gguf --recipe recipe.json --imatrix model.imatrix -o model-mixed.gguf\n"
              "  quern quantize ./hf-folder --recipe recipe.json --dry-run");
  return {app, [options] { return run(*options); }};
}
