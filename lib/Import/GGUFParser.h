// Parses one GGUF part: header, metadata, tensor list. Private to the reader (quern/Import/GGUF.h).
#ifndef QUERN_LIB_IMPORT_GGUFPARSER_H
#define QUERN_LIB_IMPORT_GGUFPARSER_H

#include "quern/Import/GGUF.h"

namespace quern::gguf {

struct ParsedPart {
  uint32_t version;
  std::vector<File::Entry> metadata; ///< keys are unique
  std::vector<Tensor> tensors;       ///< `type` points into the given table; spans lie inside the part
};

/// Checks everything that one part alone can tell; that tensors do not overlap is checked by the caller.
Result<ParsedPart> parsePart(std::span<const std::byte> bytes, const std::string &path, uint32_t part,
                             const TypeTable &types);

} // namespace quern::gguf

#endif // QUERN_LIB_IMPORT_GGUFPARSER_H
