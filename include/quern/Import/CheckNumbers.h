// Damaged weights show themselves first where every bit matters: in the scales. Free of MLIR.
#ifndef QUERN_IMPORT_CHECKNUMBERS_H
#define QUERN_IMPORT_CHECKNUMBERS_H

#include "quern/Formats/FormatSpec.h"
#include "quern/Import/GGUF.h"

#include <functional>

namespace quern::import {

/// The description of a block format by its GGUF tensor type id; null if there is none.
using SpecLookup = std::function<const formats::FormatSpec *(uint32_t typeId)>;

/// Reads every scale and minimum of every block, and every element of the plain float types, with `threads` threads.
/// Fails, naming the first tensor and the row, if one is infinite or no number. `lookup` is called by one thread only.
Status checkNumbers(const gguf::File &file, const SpecLookup &lookup, unsigned threads = 1);

/// Whether every scale and minimum of `blocks` blocks that follow each other is a finite number.
bool finiteScales(const std::byte *at, uint64_t blocks, const formats::FormatSpec &spec);

} // namespace quern::import

#endif // QUERN_IMPORT_CHECKNUMBERS_H
