// Compiles graphs written as text for a target of this machine and calls their entries, as the runtime does but from
// memory: no file, no package.
#ifndef QUERN_TEST_UNIT_CODEGEN_COMPILEDMODULE_H
#define QUERN_TEST_UNIT_CODEGEN_COMPILEDMODULE_H

#include "quern/Codegen/Target.h"

#include "llvm/ADT/StringRef.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Pass/PassManager.h"

#include <map>
#include <memory>
#include <string>
#include <vector>

/// The text of a module under construction, and the bytes of its weights.
struct ModuleText {
  /// Declares a weight of that type ("tensor<37x512x!dq.block<q8_0>>") that holds these bytes.
  void source(const std::string &name, const std::string &type, const void *data, size_t bytes);
  void source(const std::string &name, const std::string &type, const std::vector<uint8_t> &bytes) {
    source(name, type, bytes.data(), bytes.size());
  }
  void source(const std::string &name, const std::string &type, const std::vector<float> &values) {
    source(name, type, values.data(), values.size() * sizeof(float));
  }

  std::string text;
  std::vector<uint8_t> file;
};

/// A module in machine code. Every entry takes `%ids: tensor<?xi32> {lm.name = "token_ids", lm.size = "tokens"}`,
/// perhaps more, and returns one f32 tensor with a row for each.
class CompiledModule {
public:
  /// Null after a test failure has been reported. `prepare` adds passes that come before those of code generation.
  static std::unique_ptr<CompiledModule> make(mlir::MLIRContext &context, const ModuleText &module,
                                              const quern::codegen::Target &target,
                                              llvm::function_ref<void(mlir::OpPassManager &)> prepare = nullptr);
  ~CompiledModule();

  /// Calls an entry with token ids 0 .. tokens-1 on that many threads; returns [tokens, width] row-major.
  std::vector<float> call(const std::string &entry, int64_t tokens, int64_t width, int64_t threads) const;
  /// Calls an entry with these ids, and `more`: the buffers of its other arguments.
  std::vector<float> call(const std::string &entry, std::vector<int32_t> ids, const std::vector<void *> &more,
                          int64_t width, int64_t threads) const;

private:
  struct Entry {
    int64_t offset, rowBytes, perThread;
  };
  bool compile(mlir::ModuleOp module, const quern::codegen::Target &target);
  bool pack(mlir::ModuleOp module, const std::vector<uint8_t> &file);

  std::map<std::string, Entry> entries;
  std::vector<uint8_t> weights;
  void *code = nullptr;
  size_t codeBytes = 0;
};

/// Whether this machine runs code for the target.
bool runsHere(const quern::codegen::Target &target);

#endif // QUERN_TEST_UNIT_CODEGEN_COMPILEDMODULE_H
