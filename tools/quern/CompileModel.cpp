// `quern compile`: from a GGUF file, a Hugging Face folder or an ONNX file to a package.
#include "CompilerCommands.h"
#include "Common.h"
#include "Progress.h"
#include "QuantizeFlags.h"

#include "quern/Pipelines/Compile.h"
#include "quern/Pipelines/Phases.h"
#include "quern/Support/Threads.h"

#include <thread>

using namespace quern;
using namespace quern::cli;

static Status compile(pipelines::CompileOptions options) {
  if (options.output.empty() && options.stopAfter.empty())
    return fail("say where the package goes: -o OUT.quern");
  const quantize::AssignmentChoice &choice = options.assignment;
  if (!choice.given() && !choice.importance.empty())
    return fail("--imatrix needs --quant or --recipe");
  if (options.threads == 0)
    options.threads = std::max(1u, std::thread::hardware_concurrency());
  Progress bar("compiling");
  options.progress = [&](std::string_view stage, double fraction) {
    bar.relabel(std::string(stage));
    bar.update(fraction);
  };
  options.warning = [](const std::string &text) { std::fprintf(stderr, "\nwarning: %s\n", text.c_str()); };
  return pipelines::compileModel(options);
}

static std::string phaseHelp() {
  std::string names;
  for (const std::string &name : pipelines::phaseNames())
    names += (names.empty() ? "" : ", ") + name;
  return "Stop after this phase and write no package; one of " + names;
}

Command cli::addCompileModel(CLI::App &root) {
  CLI::App *app =
      root.add_subcommand("compile", "Compile a GGUF file, a Hugging Face folder or an ONNX file into a package");
  auto options = std::make_shared<pipelines::CompileOptions>();
  options->threads = 0;
  app->add_option("model", options->input,
                  "GGUF file, the first part of a split one, a Hugging Face folder, or an ONNX file (.onnx)")
      ->required();
  app->add_option("-o,--output", options->output, "The package to write");
  bindQuantizeFlags(*app, options->assignment);
  app->add_option("--target", options->targets,
                  "Make code for these processors and GPUs only, as cpu,nvptx:sm_80; may be given several times")
      ->delimiter(',')
      ->allow_extra_args(false);
  app->add_option("--ptxas", options->ptxas,
                  "NVIDIA's assembler, for machine code beside the PTX; none: PTX alone (default: that of PATH or "
                  "CUDA_HOME, where there is one)");
  app->add_option("--format", options->formatFiles,
                  "File that describes further block formats; may be given several times")
      ->allow_extra_args(false);
  app->add_flag("--forbid-slow-matmul", options->forbidSlowMatmul,
                "Fail, instead of warning, where a quantized weight would be multiplied as floats");
  app->add_option("--dump-phases", options->dumpPhases, "Folder for the IR after each phase");
  app->add_option("--stop-after", options->stopAfter, phaseHelp());
  app->add_option("-t,--threads", options->threads, "Threads that quantize and pack weights; 0: one for each processor")
      ->check(CLI::Range(0, kMostWorkers))
      ->capture_default_str();
  app->footer("\nExamples:\n"
              "  quern compile model.gguf -o model.quern\n"
              "  quern compile ./Qwen2.5-0.5B-Instruct -o model.quern\n"
              "  quern compile ./hf-folder --quant Q5_K_M -o model.quern\n"
              "  quern compile model.onnx -o model.quern\n"
              "  quern compile model.gguf -o model.quern --target x86-64-v2\n"
              "  quern compile model.gguf -o model.quern --target cpu,nvptx:sm_80\n"
              "  quern compile model.gguf --dump-phases=ir --stop-after=quantize");
  return {app, [options] { return compile(*options); }};
}
