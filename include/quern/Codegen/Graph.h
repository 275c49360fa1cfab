// Code for a graph of upstream ops that is no language model: from a function on tensors to the entry "graph" of an
// image. The runtime calls it on one thread; it takes memory and reports errors through the call (KernelABI.h).
#ifndef QUERN_CODEGEN_GRAPH_H
#define QUERN_CODEGEN_GRAPH_H

#include "quern/Codegen/Target.h"

namespace mlir {
class OpPassManager;
}

namespace quern::codegen {

/// Where an argument of the function comes from, as attributes of it: the number of the call's buffer, or the offset of
/// a constant in the package's weights.
inline constexpr char kGraphBuffer[] = "graph.buffer";
inline constexpr char kGraphWeight[] = "graph.weight";
/// For each dimension of an argument: the number of the dynamic size that it is, or -1 where it is static.
inline constexpr char kGraphSizes[] = "graph.sizes";

/// Fuses elementwise ops, and gives every tensor a buffer that is released after its last use. Afterwards no tensor.
void buildGraphBuffersPipeline(mlir::OpPassManager &pm);
/// Loops, and the entry's interface. Afterwards no linalg op, no allocation, no assertion.
void buildGraphLoopsPipeline(mlir::OpPassManager &pm);
/// Functions expanded to what the target has. Afterwards only ops of the llvm dialect.
void buildGraphLLVMPipeline(mlir::OpPassManager &pm, const Target &target);

} // namespace quern::codegen

#endif // QUERN_CODEGEN_GRAPH_H
