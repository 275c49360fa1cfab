// What a GGUF file says about its model, checked: sizes, variants, the tensors that must be there, the tokenizer.
// Architectures: qwen2 and llama (with the R1 distills of both), and qwen3. Free of MLIR.
#ifndef QUERN_IMPORT_MODELCONFIG_H
#define QUERN_IMPORT_MODELCONFIG_H

#include "quern/Import/GGUF.h"
#include "quern/Package/TokenizerBuilder.h"

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace quern::import {

/// Which elements of a head the rotary embedding pairs: (i, i + D/2), or (2i, 2i + 1) where the file's Q and K rows are
/// permuted so (architecture llama).
enum class RotaryStyle { Half, Interleaved };

/// Our own metadata key, an array of names: the weights that an ONNX file multiplies by MatMulInteger what
/// DynamicQuantizeLinear gives.
inline constexpr char kDynamicQuantize[] = "quern.dynamic_quantize";

/// A decoder-only transformer. A: heads, G: kvHeads, D: headDim, H: hidden, F: feedForward, V: vocabulary.
struct ModelConfig {
  std::string architecture; ///< "qwen2", "qwen3" or "llama"
  std::string name;         ///< `general.name`, may be empty
  int64_t layers = 0, hidden = 0, heads = 0, kvHeads = 0, headDim = 0, feedForward = 0, vocabulary = 0;
  int64_t contextLength = 0;
  int64_t parameters = 0; ///< elements of all tensors
  double ropeTheta = 0;
  float normEps = 0;
  RotaryStyle rotaryStyle = RotaryStyle::Half;
  bool attentionBias = false; ///< q, k and v have biases
  bool headNorms = false;     ///< each head of q and k is normalized before it is rotated
  std::set<std::string> reordered; ///< weights whose columns have an order of their own (formats::columnOrder)
  /// Weights whose products quantize each row of their input as DynamicQuantizeLinear does (kDynamicQuantize).
  std::set<std::string> dynamicallyQuantized;
  bool ropeFactors = false;   ///< `rope_freqs.weight` divides the rotary frequencies
  /// What `general.sampling.*` suggests, by the manifest's names: "temperature", "top_k", "top_p", "min_p",
  /// "repetition_penalty". Only what the file says.
  std::map<std::string, double> generation;
  bool tied = false;          ///< no `output.weight`: the output uses `token_embd.weight`

  /// The tensor that computes the logits.
  const char *outputTensor() const { return tied ? "token_embd.weight" : "output.weight"; }
};

/// A tensor that the model needs; `dims` as in the file (ne0 first).
struct ExpectedTensor {
  std::string name;
  std::vector<uint64_t> dims;
};

/// In the order of the computation: embedding, layers, output.
std::vector<ExpectedTensor> expectedTensors(const ModelConfig &config);

/// Reads and checks the model's description, and that the file holds exactly its tensors, in shapes and types that can
/// be compiled: matrices in any float or block format, vectors in F32 and finite. Errors name the file and the key or
/// tensor: missing keys, sizes that do not fit together, unknown architectures, tensors or rotary scalings.
Result<ModelConfig> readModelConfig(const gguf::File &file);

/// Collects the `tokenizer.*` keys; their content is checked by buildTokenizer. Errors: missing or mistyped keys, more
/// tokens than the embedding has rows.
Result<TokenizerSource> readTokenizer(const gguf::File &file, const ModelConfig &config);

} // namespace quern::import

#endif // QUERN_IMPORT_MODELCONFIG_H
