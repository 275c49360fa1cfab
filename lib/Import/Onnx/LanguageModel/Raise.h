// Raising: what computes a part of a language model is replaced by the op that says so, on the function of `onnx` ops.
#ifndef QUERN_LIB_IMPORT_ONNX_LANGUAGEMODEL_RAISE_H
#define QUERN_LIB_IMPORT_ONNX_LANGUAGEMODEL_RAISE_H

#include "Parts.h"

namespace quern::import::language {

// Each returns how many parts it found. What is none, or cannot be looked at, stays as it is: `recognise` tells why.
size_t raiseEmbedding(mlir::func::FuncOp function);
size_t raiseNorms(mlir::func::FuncOp function);
size_t raiseFeedForward(mlir::func::FuncOp function);
size_t raiseAttention(mlir::func::FuncOp function);

/// The attention of one layer, and the value that it makes.
struct FoundLayerAttention {
  std::string value;
  FoundAttention found;
};
/// That of all layers from the last back, up to one whose attention is none, which have one layout.
std::vector<FoundLayerAttention> findAttention(const Graph &graph, HeadLayout &layout);

} // namespace quern::import::language

#endif // QUERN_LIB_IMPORT_ONNX_LANGUAGEMODEL_RAISE_H
