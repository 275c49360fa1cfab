// ONNX files of language models (qwen2, qwen3 and llama), told in GGUF's terms, so that all that takes GGUF files takes
// them too. Free of MLIR.
#ifndef QUERN_IMPORT_ONNX_ONNXMODEL_H
#define QUERN_IMPORT_ONNX_ONNXMODEL_H

#include "quern/Import/GGUF.h"
#include "quern/Import/Onnx/OnnxFile.h"

namespace quern::import {

/// Whether the graph looks up token ids in a table and gives, from states of its width, as many logits as it has rows.
bool isOnnxLanguageModel(OnnxFile &file);

/// Recognises the model by its data flow and by what its parts compute, never by names. Float weights stay F32, F16 or
/// BF16; integers with scales and zero points become block formats that hold them exactly. The tokenizer, sampling
/// parameters and context length come from the files beside it: tokenizer.json, and config.json or genai_config.json,
/// which may be absent; without the tokenizer, the graph alone can be looked at. No weight is copied as a whole: rows
/// are made when they are read. Errors name the node that is not what a language model has there.
Result<gguf::File> openOnnxModel(OnnxFile file, const gguf::TypeTable &types, bool withTokenizer = true);

} // namespace quern::import

#endif // QUERN_IMPORT_ONNX_ONNXMODEL_H
