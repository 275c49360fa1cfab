// The commands of `quern-compiler`. Those that `quern` also has take the same flags.
#ifndef QUERN_TOOLS_COMPILERCOMMANDS_H
#define QUERN_TOOLS_COMPILERCOMMANDS_H

#include "Command.h"
#include "quern/Import/GGUF.h"

namespace quern::cli {

Command addCompileModel(CLI::App &root);
Command addConvertModel(CLI::App &root);
Command addInspectGguf(CLI::App &root);
Command addReferenceLogits(CLI::App &root);
Command addEncodeBlocks(CLI::App &root);
Command addQuantizeFile(CLI::App &root);
Command addOnnxOperators(CLI::App &root);

/// `quern inspect` of an ONNX file.
Status inspectOnnx(const std::string &path, const gguf::TypeTable &types, bool json);

/// The reason why a model in GGUF's terms cannot be compiled; empty if it can.
std::string whyNot(const gguf::File &file);

} // namespace quern::cli

#endif // QUERN_TOOLS_COMPILERCOMMANDS_H
