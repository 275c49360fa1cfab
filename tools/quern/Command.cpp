#include "Command.h"

#include <cstdio>
#include <new>

using namespace quern;

static int runParsed(const std::vector<cli::Command> &commands) {
  for (const cli::Command &command : commands) {
    if (!command.app->parsed())
      continue;
    Status status = command.run();
    if (status)
      return 0;
    std::fflush(stdout);
    std::fprintf(stderr, "error: %s\n", status.error().message.c_str());
    return 1;
  }
  return 2;
}

int cli::runCommands(CLI::App &root, const std::vector<Command> &commands, int argc, char **argv) {
  try {
    root.parse(argc, argv);
    return runParsed(commands);
  } catch (const CLI::Success &help) {
    return root.exit(help);
  } catch (const CLI::ParseError &error) {
    root.exit(error);
    return 2;
  } catch (const std::bad_alloc &) {
    std::fprintf(stderr, "error: out of memory\n");
    return 1;
  } catch (const std::exception &error) { // from a library below; ours return their errors
    std::fprintf(stderr, "error: %s\n", error.what());
    return 1;
  }
}
