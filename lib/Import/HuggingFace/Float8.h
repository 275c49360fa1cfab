// Linear layers in floats of 8 bits (E4M3) with scales beside them, widened to bf16 as their makers' converters do.
// Private to openHuggingFace.
#ifndef QUERN_LIB_IMPORT_HUGGINGFACE_FLOAT8_H
#define QUERN_LIB_IMPORT_HUGGINGFACE_FLOAT8_H

#include "Quantized.h"

namespace quern::import {

/// Of config.json's `quantization_config` with method "fp8", or "compressed-tensors" of format "float-quantized".
Result<Packing> readFloat8(const JsonObject &json);

/// The weight [N, K] of `layer` (its name without ".weight") as rows of bf16, made when they are read: each number
/// times its scale, rounded to f32, then to bf16. It reads the checkpoint's mapping, which must outlive it. Scales are
/// `weight_scale_inv` of blocks, or one `weight_scale` for the tensor or for each row. Appends the names of the tensors
/// that it used. Errors name the tensor: missing, or of another shape or type.
Result<MadeWeight> widenFloat8(const safetensors::Checkpoint &checkpoint, const std::string &layer,
                               const Packing &packing, int64_t rows, int64_t columns, std::vector<std::string> &names);

} // namespace quern::import

#endif // QUERN_LIB_IMPORT_HUGGINGFACE_FLOAT8_H
