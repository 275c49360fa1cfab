// What the subcommands share: errors of the C API as Results, opening a package with the usual flags, whole files.
#ifndef QUERN_TOOLS_COMMON_H
#define QUERN_TOOLS_COMMON_H

#include "quern/Support/Result.h"
#include "quern/quern.hpp"

#include <CLI/CLI.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace quern::cli {

/// The same value or sentence as a Result.
template <typename T> Result<T> lift(api::Expected<T> value) {
  if (!value)
    return fail(std::move(value).error().message);
  if constexpr (std::is_void_v<T>)
    return {};
  else
    return *std::move(value);
}

/// Flags of every command that opens a package.
struct ModelFlags {
  std::string path;
  std::string target = "auto";
  std::string maskedFeatures;
  std::string keyType = "f16", valueType; ///< of the cache; no value type: the keys' one
  std::string device; ///< "" is "auto", without a word about it where the package has no code for devices
  bool checkKernels = false;
  int threads = 0;
};

/// Binds `--cache-type` and llama.cpp's `--cache-type-k` and `--cache-type-v`.
void bindCacheFlags(CLI::App &app, std::string &keyType, std::string &valueType);

/// Fails where keys and values are to have different types.
Result<std::string> cacheType(const std::string &keyType, const std::string &valueType);

/// Binds the cache's type, `--device`, `--check-kernels`, `--target`, `--mask-features` and, if wanted, `-t`.
void bindModelFlags(CLI::App &app, ModelFlags &flags, bool withThreads = true);

/// Opens a package. A GGUF file is refused with the command that compiles it. Where a device was to be chosen and the
/// processor is, a line on standard error says why.
/// A device that has to have memory for a context too is told its length, or -1 for the model's own.
Result<api::Model> openModel(const ModelFlags &flags, int chunkTokens = 0, int64_t contextLength = 0);

bool isGguf(const std::string &path);
/// ONNX files have no magic number; the name ends in .onnx.
bool isOnnx(const std::string &path);

/// The whole file; fails on directories and on what cannot be read.
Result<std::string> readFile(const std::string &path);

/// Lines without their ends; empty ones are left out.
std::vector<std::string> nonEmptyLines(const std::string &text);

/// `bytes` as "12.3 MiB".
std::string formatBytes(double bytes);

/// Natural logarithm of the sum of the exponentials of all logits, accumulated in double.
double logSumExp(std::span<const float> logits);

/// Replaces this process by `quern-compiler` with the same arguments. The compiler is a program of its own so that
/// running a model neither needs nor loads MLIR and LLVM. Returns only if that fails.
Status handOverToCompiler(char **argv);

} // namespace quern::cli

#endif // QUERN_TOOLS_COMMON_H
