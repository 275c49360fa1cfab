// `quern`: runs, measures and inspects compiled models. Needs the runtime only; what needs MLIR is done by
// `quern-compiler`, which this program starts.
#include "Command.h"

#include "quern/quern.h"

#include <string_view>

using namespace quern;

/// llama.cpp's short names, which the parser of flags does not take: after one dash it expects one letter.
static void spellOut(char **argv) {
  static char keys[] = "--cache-type-k", values[] = "--cache-type-v";
  for (; *argv; ++argv)
    if (std::string_view name = *argv; name == "-ctk" || name == "-ctv")
      *argv = name == "-ctk" ? keys : values;
}

int main(int argc, char **argv) {
  spellOut(argv);
  CLI::App root("Compiles quantized language models ahead of time, and runs what it has compiled.\n");
  root.footer("\nExamples:\n"
              "  quern compile model.gguf -o model.quern\n"
              "  quern run model.quern -p \"Why is the sky blue?\" -n 128\n"
              "  quern COMMAND --help");
  root.set_version_flag("--version", std::string("quern ") + quern_version());
  root.require_subcommand(1);
  root.get_formatter()->column_width(36);
  return cli::runCommands(root,
                          {cli::addCompile(root, argv), cli::addConvert(root, argv), cli::addQuantize(root, argv),
                           cli::addRun(root), cli::addInspect(root, argv), cli::addBench(root),
                           cli::addPerplexity(root), cli::addLogits(root, argv), cli::addDevices(root)},
                          argc, argv);
}
