// Flags that say what a model's tensors become, shared by `quern quantize` and `quern compile`.
#ifndef QUERN_TOOLS_QUANTIZEFLAGS_H
#define QUERN_TOOLS_QUANTIZEFLAGS_H

#include "quern/Quantize/Assignment.h"

#include <CLI/CLI.hpp>

namespace quern::cli {

void bindQuantizeFlags(CLI::App &app, quantize::AssignmentChoice &choice);

} // namespace quern::cli

#endif // QUERN_TOOLS_QUANTIZEFLAGS_H
