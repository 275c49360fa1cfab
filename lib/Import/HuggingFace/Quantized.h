// Linear layers that GPTQ or AWQ quantized, laid out anew in GGUF's block formats: the integers less their zero points
// and the scales stay what they are. Private to openHuggingFace.
#ifndef QUERN_LIB_IMPORT_HUGGINGFACE_QUANTIZED_H
#define QUERN_LIB_IMPORT_HUGGINGFACE_QUANTIZED_H

#include "../BlockLayout.h"
#include "JsonFile.h"

#include "quern/Import/SafeTensors.h"

namespace quern::import {

/// How a checkpoint packs quantized weights [N, K]. GPTQ and AWQ: into words of 32 bits, scales are [K/group, N], f16.
struct Packing {
  enum class Method { None, Gptq, Awq, Float8 };
  Method method = Method::None;
  int64_t bits = 4;      ///< 4, or 8 (GPTQ)
  int64_t group = -1;    ///< columns with one scale and zero point; -1: all
  bool lessOne = false;  ///< zero points are stored less one (GPTQ's first version)
  int64_t blockRows = 0, blockColumns = 0; ///< Float8: weights with one scale; 0: one for the tensor, or for each row
};

/// From config.json's `quantization_config`. Refuses other methods, bits and versions by name.
Result<Packing> readPacking(const JsonObject &json);

/// The tensors of one quantized layer [N, K] of the checkpoint, found and checked.
struct PackedLayer {
  std::string name; ///< of the weight
  Packing packing;
  std::span<const std::byte> weight, zeros, scales; ///< in the checkpoint's mapping
  int64_t rows, columns, group;
  std::vector<std::string> names; ///< of all tensors
  std::vector<int32_t> order; ///< the columns, group by group; empty: as they lie
};

/// `layer` without ".qweight". Errors name the tensor: missing, of another shape or type than the packing makes it,
/// groups that do not divide a row, or of unequal size.
Result<PackedLayer> findPacked(const safetensors::Checkpoint &checkpoint, const std::string &layer,
                               const Packing &packing, int64_t rows, int64_t columns);

/// Columns in the layer's order, as the common layout says; in F32, which is exact, where groups are no multiple of 32.
/// Rows are made when they are read. Fails where a difference does not fit a signed byte.
Result<MadeWeight> unpack(PackedLayer layer, const gguf::TypeTable &types);

} // namespace quern::import

#endif // QUERN_LIB_IMPORT_HUGGINGFACE_QUANTIZED_H
