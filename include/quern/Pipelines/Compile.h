// The whole way from a model file to a package.
#ifndef QUERN_PIPELINES_COMPILE_H
#define QUERN_PIPELINES_COMPILE_H

#include "quern/Quantize/Assignment.h"
#include "quern/Support/Result.h"

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace quern::pipelines {

struct CompileOptions {
  std::string input;                    ///< a GGUF file, the first part of a split one, a Hugging Face folder, or ONNX
  std::string output;                   ///< the package, written by atomic rename
  quantize::AssignmentChoice assignment; ///< what weights become on their way; empty: they stay what they are
  std::vector<std::string> targets;     ///< names of targets, "cpu" for all of the CPU; empty: those
  std::vector<std::string> formatFiles; ///< further block formats
  std::string ptxas;                    ///< NVIDIA's assembler; empty: where there is one, "none": no machine code
  std::string dumpPhases;               ///< folder for the IR after each phase; empty: none
  std::string stopAfter;                ///< name of a phase; nothing is written after it
  unsigned threads = 2;                 ///< for packing
  bool forbidSlowMatmul = false;        ///< fail where a quantized weight would be multiplied as floats
  std::function<void(std::string_view stage, double fraction)> progress; ///< may be empty
  std::function<void(const std::string &)> warning;                      ///< told one sentence each; may be empty
};

/// Compiles a language model, or an ONNX file that is a graph of another kind. Errors name the file, the tensor or the
/// op; nothing half-written is left behind.
Status compileModel(const CompileOptions &options);

} // namespace quern::pipelines

#endif // QUERN_PIPELINES_COMPILE_H
