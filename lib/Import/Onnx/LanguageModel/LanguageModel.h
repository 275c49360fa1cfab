// What the recogniser finds: the configuration of a decoder-only transformer and the constants in their roles.
#ifndef QUERN_LIB_IMPORT_ONNX_LANGUAGEMODEL_LANGUAGEMODEL_H
#define QUERN_LIB_IMPORT_ONNX_LANGUAGEMODEL_LANGUAGEMODEL_H

#include "Matrix.h"

namespace quern::import::language {

/// What the file calls the nodes, or the constants, that a part was found in.
using Names = std::vector<std::string>;

struct Linear {
  Matrix weight;
  std::vector<float> bias; ///< empty: none
  Names nodes;
  std::string biasName;
  bool dynamic = false; ///< its input is rounded by DynamicQuantizeLinear
};

/// x * weight / sqrt(mean(x^2) + epsilon).
struct Norm {
  std::vector<float> weight;
  float epsilon;
  Names names; ///< of the weight and of nodes
};

/// How heads are cut and turned: the same in all layers.
struct HeadLayout {
  int64_t heads = 0, kvHeads = 0, size = 0;
  bool interleaved = false;        ///< pairs are (2i, 2i + 1), else (i, i + size / 2)
  std::vector<double> frequencies; ///< angle of each pair for one position, [size / 2]
  bool coarse = false;             ///< read from tables of 16-bit floats
  bool normed = false;             ///< heads of queries and keys are normed before they are turned
};

struct Layer {
  Norm attentionNorm, feedForwardNorm;
  Linear query, key, value, output, gate, up, down;
  std::vector<float> queryNorm, keyNorm; ///< weights of the norms of each head, [size]; empty if there are none
  std::string queryNormName, keyNormName;
  Names attention, feedForward; ///< nodes between the products, and the sums with the hidden state
};

struct LanguageModel {
  Matrix embedding;
  std::vector<Layer> layers;
  Norm finalNorm;
  Linear head;
  HeadLayout layout;
  Names lookUp, rotary, wantedRows; ///< nodes; of `rotary`, or tables of cosines
  bool tied() const { return head.weight.sameAs(embedding); }
};

/// Whether the graph looks up whole numbers in a table and its last product, of rows as wide as the table's, gives as
/// many numbers as it has rows, whatever comes behind it: then it is a language model, or an error. Of several tables
/// of that width the one with most rows counts.
bool hasLanguageModelShape(const Graph &graph);

/// Walks from the logits back to the token ids. Errors name the node that is not what it should be there, and what was
/// expected.
Result<LanguageModel> recognise(const Graph &graph);

} // namespace quern::import::language

#endif // QUERN_LIB_IMPORT_ONNX_LANGUAGEMODEL_LANGUAGEMODEL_H
