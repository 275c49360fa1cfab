// From an opened model, whatever its files were, to one GGUF file. Free of MLIR.
#ifndef QUERN_IMPORT_WRITEGGUF_H
#define QUERN_IMPORT_WRITEGGUF_H

#include "quern/Import/GGUF.h"
#include "quern/Import/ModelConfig.h"

#include <functional>

namespace quern::import {

/// Whether the rows of this tensor are those of heads that the rotary embedding turns: Q and K, weights and biases.
bool hasRotatedHeads(std::string_view name);

/// Where row `row` of heads in pairs, as GGUF has them, lies in heads in halves: 2i at i, 2i + 1 at D/2 + i.
uint64_t rowInHalves(uint64_t row, uint64_t headDim);

/// Fails where a weight has columns in an order of their own.
Status refuseReordered(const gguf::File &file);

/// Writes the model, whose description was read from the same file, to `path`: metadata and tensors as they are, heads
/// of llama's Q and K in pairs as GGUF has them. Streams: takes no memory for tensors. Nothing half-written is left.
/// `progress`, called now and then with the share that is done, may be empty.
Status writeGGUF(const gguf::File &file, const ModelConfig &config, const std::string &path,
                 const std::function<void(double)> &progress = {});

} // namespace quern::import

#endif // QUERN_IMPORT_WRITEGGUF_H
