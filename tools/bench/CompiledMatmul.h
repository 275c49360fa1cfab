// One matmul, compiled for this processor in memory, with the probes of its code.
#ifndef QUERN_TOOLS_BENCH_COMPILEDMATMUL_H
#define QUERN_TOOLS_BENCH_COMPILEDMATMUL_H

#include "quern/Codegen/Image.h"
#include "quern/Support/Result.h"

#include "mlir/IR/MLIRContext.h"

#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

namespace quern::bench {

/// y[t, n] = sum_k x[t, k] w[n, k] for random x and w, on one thread.
class CompiledMatmul {
public:
  /// `element` is the weight's type as in MLIR: "f16", "!dq.block<q4_K>". At most `tokens` rows of x.
  static Result<std::unique_ptr<CompiledMatmul>> make(mlir::MLIRContext &context, const std::string &element,
                                                      int64_t n, int64_t k, int64_t tokens);
  ~CompiledMatmul();

  /// Seconds that the matmul kernel takes on that many rows, without the quantization of its activations.
  double run(int64_t tokens);
  /// Bytes or operations a second of one of the code's probes.
  double probe(const char *name);

  std::string kernel;           ///< name of the matmul's kernel
  std::string unit;             ///< what it computes on, as in the op table
  int64_t weightBytes = 0;      ///< read for any number of rows
  int64_t operationsPerRow = 0; ///< multiplications and additions

private:
  CompiledMatmul() = default;
  Status compile(mlir::MLIRContext &context, const std::string &text);
  Status emit(mlir::ModuleOp module);

  struct Free {
    void operator()(uint8_t *memory) const { std::free(memory); }
  };
  using Bytes = std::unique_ptr<uint8_t, Free>;
  static Bytes allocate(int64_t bytes);

  codegen::CodeImage image;
  void *code = nullptr; ///< the image, executable
  Bytes weights, arena;
  int64_t sectionBytes = 0, rowBytes = 0, perThread = 0, tokens = 0;
  int64_t op = 0; ///< number of the matmul's call
  std::vector<int32_t> ids;
  std::vector<float> out;
};

} // namespace quern::bench

#endif // QUERN_TOOLS_BENCH_COMPILEDMATMUL_H
