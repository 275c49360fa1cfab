// `quern run` on a compiled graph: tensors from and to .npy files.
#ifndef QUERN_TOOLS_RUNGRAPH_H
#define QUERN_TOOLS_RUNGRAPH_H

#include "Common.h"

namespace quern::cli {

struct GraphFiles {
  std::vector<std::string> inputs, outputs; ///< "name=file.npy"
};

/// Reads the inputs, runs the graph, writes the outputs asked for; says of the others what they are.
Status runGraph(api::Model &model, const GraphFiles &files);

} // namespace quern::cli

#endif // QUERN_TOOLS_RUNGRAPH_H
