// A subcommand of `quern` or `quern-compiler`: its flags, bound to CLI11, and what it does once they are parsed.
#ifndef QUERN_TOOLS_COMMAND_H
#define QUERN_TOOLS_COMMAND_H

#include "quern/Support/Result.h"

#include <CLI/CLI.hpp>

#include <functional>
#include <vector>

namespace quern::cli {

struct Command {
  CLI::App *app; ///< owned by the root app; tells whether the user named this command
  std::function<Status()> run;
};

/// Parses the arguments, runs the command that they name, prints its error as one sentence. Returns the exit status:
/// 0, 1 for a command that failed, 2 for arguments that make no sense. No exception leaves it.
int runCommands(CLI::App &root, const std::vector<Command> &commands, int argc, char **argv);

// The commands of `quern`, which needs the runtime only. `argv` is kept for those that hand over to `quern-compiler`.
Command addCompile(CLI::App &root, char **argv);
Command addConvert(CLI::App &root, char **argv);
Command addQuantize(CLI::App &root, char **argv);
Command addRun(CLI::App &root);
Command addInspect(CLI::App &root, char **argv);
Command addBench(CLI::App &root);
Command addDevices(CLI::App &root);
Command addPerplexity(CLI::App &root);
Command addLogits(CLI::App &root, char **argv);

} // namespace quern::cli

#endif // QUERN_TOOLS_COMMAND_H
