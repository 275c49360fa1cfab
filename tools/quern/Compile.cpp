// `quern compile`: hands over to `quern-compiler`, its flags and help included.
#include "Command.h"
#include "Common.h"

using namespace quern;

cli::Command cli::addCompile(CLI::App &root, char **argv) {
  CLI::App *app = root.add_subcommand("compile", "Compile a GGUF model into a package");
  app->set_help_flag();
  app->prefix_command();
  return {app, [argv] { return handOverToCompiler(argv); }};
}
