#include "../LanguageModel/Raise.h"
#include "quern/Import/Onnx/Passes.h"

using namespace quern;

namespace quern::import {
#define GEN_PASS_DEF_ONNXDECOMPOSE
#define GEN_PASS_DEF_ONNXRAISEEMBEDDING
#define GEN_PASS_DEF_ONNXRAISERMSNORM
#define GEN_PASS_DEF_ONNXRAISESWIGLU
#define GEN_PASS_DEF_ONNXRAISEATTENTION
#include "lib/Import/Onnx/Raise/Passes.h.inc"
} // namespace quern::import

namespace {
struct Decompose : import::impl::OnnxDecomposeBase<Decompose> {
  void runOnOperation() override {
    if (!getOperation().isExternal())
      import::language::decompose(getOperation());
  }
};

/// A pass that does what `raise` does.
template <typename Base, size_t (*raise)(mlir::func::FuncOp)> struct RaisingPass : Base {
  void runOnOperation() override {
    if (!this->getOperation().isExternal())
      this->raised += raise(this->getOperation());
  }
};

using namespace import::impl;
using namespace import::language;
struct Embedding : RaisingPass<OnnxRaiseEmbeddingBase<Embedding>, raiseEmbedding> {};
struct RmsNorm : RaisingPass<OnnxRaiseRmsNormBase<RmsNorm>, raiseNorms> {};
struct Swiglu : RaisingPass<OnnxRaiseSwigluBase<Swiglu>, raiseFeedForward> {};
struct Attention : RaisingPass<OnnxRaiseAttentionBase<Attention>, raiseAttention> {};
} // namespace
