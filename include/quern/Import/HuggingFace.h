// Hugging Face folders: config.json, generation_config.json, *.safetensors, tokenizer.json, tokenizer_config.json and
// chat_template.jinja, told in GGUF's terms, so that all that takes GGUF files takes them too. Free of MLIR.
#ifndef QUERN_IMPORT_HUGGINGFACE_H
#define QUERN_IMPORT_HUGGINGFACE_H

#include "quern/Import/GGUF.h"

namespace quern::import {

/// Opens a folder of model type qwen2, qwen3 or llama. Matrices stay in the mapped files as they are (F32, F16, BF16);
/// vectors are widened to F32, as GGUF files have them. Errors name the file, and the key or tensor as the checkpoint
/// calls it: missing files, other model types, activations, rotary scalings or quantizations, tensors that are missing,
/// unexpected or of another shape, tokenizers other than the byte-level BPE of these families.
Result<gguf::File> openHuggingFace(const std::string &folder, const gguf::TypeTable &types);

} // namespace quern::import

#endif // QUERN_IMPORT_HUGGINGFACE_H
