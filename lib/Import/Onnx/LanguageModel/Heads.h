// Where a language model begins and ends: look-ups of token ids, and the products that give logits.
#ifndef QUERN_LIB_IMPORT_ONNX_LANGUAGEMODEL_HEADS_H
#define QUERN_LIB_IMPORT_ONNX_LANGUAGEMODEL_HEADS_H

#include "LanguageModel.h"
#include "Projections.h"

namespace quern::import::language {

/// Where token ids become rows of a table.
struct Embedding {
  const GraphNode *node;
  std::string tokenIds, output;
  Matrix table;
};

/// A last product before an output of the graph.
struct Head {
  const Projection *projection;
  std::string output;
  bool isPlain; ///< only operators that keep rows lie between
};

/// The look-ups of inputs of whole numbers in constant tables: of token ids, and of positions in tables of cosines.
Result<std::vector<Embedding>> findLookUps(const Graph &graph);

/// The value behind which some rows are kept: before Slice or Gather, as graphs have that give the logits of the last
/// token only, and before what `strip` looks through.
std::string skipRows(const Graph &graph, std::string value);

/// The table whose rows a product may give logits for. Of those as wide as its input only the one with most rows can be
/// of token ids; others are of their types or positions. Null if it gives another number of them.
const Embedding *tableOf(const Projection &head, const std::vector<Embedding> &lookUps);

/// The last products that give as many numbers as the table of token ids has rows.
std::vector<Head> findHeads(const Graph &graph, const Projections &projections, const std::vector<Embedding> &lookUps);

} // namespace quern::import::language

#endif // QUERN_LIB_IMPORT_ONNX_LANGUAGEMODEL_HEADS_H
