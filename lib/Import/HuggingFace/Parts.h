// The pieces of a Hugging Face folder, one function each. Private to openHuggingFace.
#ifndef QUERN_LIB_IMPORT_HUGGINGFACE_PARTS_H
#define QUERN_LIB_IMPORT_HUGGINGFACE_PARTS_H

#include "Quantized.h"

#include "quern/Import/GGUFAssembly.h"
#include "quern/Import/ModelConfig.h"
#include "quern/Import/SafeTensors.h"

#include <optional>
#include <string>
#include <vector>

namespace quern::import {

/// What config.json and generation_config.json say.
struct HuggingFaceConfig {
  ModelConfig model; ///< all but parameters and attentionBias, which the tensors decide
  std::vector<float> ropeFactors; ///< divisors of the rotary frequencies, [D/2]; empty: none
  Packing packing;                ///< of quantized weights
  std::optional<int64_t> bos;     ///< token ids; the tokenizer's files go before them
  std::vector<int64_t> eos;
};

Result<HuggingFaceConfig> readHuggingFaceConfig(const std::string &folder);

/// Token ids by what `model` says, and what generation_config.json has in their place; and what that suggests for
/// sampling, if the model's makers sample at all.
Status readTokens(const JsonObject &model, const std::string &folder, HuggingFaceConfig &config);

/// The `general.*` and architecture keys of the model, whose matrices are mostly of the tensor type `typeId`.
void addModelKeys(gguf::Assembly &assembly, const HuggingFaceConfig &config, uint32_t typeId);

/// The checkpoint's name of a tensor that GGUF calls `name` (one of expectedTensors), without "rope_freqs.weight".
std::string checkpointName(const std::string &name);

/// Adds the checkpoint's tensors in the order of the computation; returns GGUF's number of the type of
/// most elements of matrices.
Result<uint32_t> addTensors(gguf::Assembly &assembly, const std::string &folder, safetensors::Checkpoint checkpoint,
                            const HuggingFaceConfig &config, const gguf::TypeTable &types);

/// The `tokenizer.*` keys, with as many tokens as the model has rows.
Status addTokenizer(gguf::Assembly &assembly, const std::string &folder, const HuggingFaceConfig &config);

} // namespace quern::import

#endif // QUERN_LIB_IMPORT_HUGGINGFACE_PARTS_H
