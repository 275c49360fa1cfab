// `quern-compiler onnx-operators`: what can be imported, for the documentation and the tests.
#include "CompilerCommands.h"

#include "quern/Import/Onnx/ImportOnnx.h"

#include <cstdio>

using namespace quern;
using namespace quern::cli;

Command cli::addOnnxOperators(CLI::App &root) {
  CLI::App *app = root.add_subcommand("onnx-operators", "List the ONNX operators that can be compiled");
  return {app, []() -> Status {
            for (const std::string &name : import::onnxOperators())
              std::printf("%s\n", name.c_str());
            return {};
          }};
}
