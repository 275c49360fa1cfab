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

static Result<std::unique_ptr<quantize::Assignment>> assignment(const QuantizeFlags &flags) {
  if (flags.mix.empty() == flags.recipe.empty())
    return fail("say what the tensors become: either --quant MIX or --recipe FILE");
  return flags.mix.empty() ? quantize::readRecipe(flags.recipe) : quantize::standardMix(flags.mix);
}

Status cli::quantizeModel(const QuantizeJob &job) {
  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  dq::FormatRegistry &formats = context.getOrLoadDialect<dq::DQDialect>()->getFormats();
  for (const std::string &path : job.formatFiles)
    QUERN_TRY(formats.addFile(path));
  std::vector<const formats::FormatSpec *> specs;
  for (dq::FormatAttr format : formats.list())
    specs.push_back(&format.getSpec());
  quantize::ElementTypes types(specs);
  quantize::FileOptions settings;
  QUERN_ASSIGN(settings.assignment, assignment(job.flags));
  if (!job.flags.importance.empty()) {
    QUERN_ASSIGN(settings.importance, quantize::Importance::read(job.flags.importance));
  }
  settings.allowRequantize = job.flags.allowRequantize;
  settings.threads = job.threads ? job.threads : std::max(1u, std::thread::hardware_concurrency());
  QUERN_ASSIGN(gguf::File file, import::openModel(job.input, import::typeTable(context)));
  if (file.hasHeadsInHalves() && !job.dryRun)
    return fail(job.input + ": rows of this architecture have another order in GGUF files; first: quern convert " +
                job.input + " -o model.gguf");
  QUERN_ASSIGN(quantize::FilePlan plan, quantize::planFile(file, types, settings));
  if (job.dryRun) {
    print(plan);
    return {};
  }
  settings.progress = job.progress;
  return quantize::writeFile(file, plan, settings, job.output);
}

void cli::bindQuantizeFlags(CLI::App &app, QuantizeFlags &flags) {
  app.add_option("--quant", flags.mix, "Quantize by a standard mix; one of " + quantize::standardMixNames());
  app.add_option("--recipe", flags.recipe,
                 "Quantize by a JSON file: an object from tensor names, or regular expressions for them, to types");
  app.add_option("--imatrix", flags.importance, "File that tells how much each column matters when quantizing");
  app.add_flag("--allow-requantize", flags.allowRequantize, "Quantize also what is quantized already");
}

static Status run(QuantizeJob job) {
  if (job.output.empty() && !job.dryRun)
    return fail("say where the file goes: -o OUT.gguf (or ask for sizes only: --dry-run)");
  Progress bar("quantizing");
  job.progress = [&](double fraction) { bar.update(fraction); };
  return quantizeModel(job);
}

Command cli::addQuantizeFile(CLI::App &root) {
  CLI::App *app = root.add_subcommand("quantize", "Give the tensors of a model other types");
  auto options = std::make_shared<QuantizeJob>();
  app->add_option("model", options->input, "GGUF file, the first part of a split one, or a Hugging Face folder")
      ->required();
  app->add_option("-o,--output", options->output, "The GGUF file to write");
  bindQuantizeFlags(*app, options->flags);
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
