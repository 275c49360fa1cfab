// `quern-compiler`: the subcommands of `quern` that need MLIR; `quern` starts it with its own arguments.
#include "CompilerCommands.h"

using namespace quern;

int main(int argc, char **argv) {
  CLI::App root("The part of quern that compiles; `quern` starts it.", "quern");
  root.require_subcommand(1);
  root.get_formatter()->column_width(36);
  return cli::runCommands(root,
                          {cli::addCompileModel(root), cli::addConvertModel(root), cli::addQuantizeFile(root),
                           cli::addInspectGguf(root), cli::addReferenceLogits(root), cli::addEncodeBlocks(root),
                           cli::addOnnxOperators(root)},
                          argc, argv);
}
