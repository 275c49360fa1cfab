// `quern compile`, `quern convert` and `quern quantize`: hand over to `quern-compiler`, their flags and help included.
#include "Command.h"
#include "Common.h"

using namespace quern;

static cli::Command handOver(CLI::App &root, char **argv, const char *name, const char *description) {
  CLI::App *app = root.add_subcommand(name, description);
  app->set_help_flag();
  app->prefix_command();
  return {app, [argv] { return cli::handOverToCompiler(argv); }};
}

cli::Command cli::addCompile(CLI::App &root, char **argv) {
  return handOver(root, argv, "compile", "Compile a GGUF file, a Hugging Face folder or an ONNX file into a package");
}

cli::Command cli::addConvert(CLI::App &root, char **argv) {
  return handOver(root, argv, "convert", "Write a model as one GGUF file");
}

cli::Command cli::addQuantize(CLI::App &root, char **argv) {
  return handOver(root, argv, "quantize", "Give the tensors of a model other types");
}
