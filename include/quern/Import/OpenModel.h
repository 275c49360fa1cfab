// One way in for all that a language model can come as. Free of MLIR.
#ifndef QUERN_IMPORT_OPENMODEL_H
#define QUERN_IMPORT_OPENMODEL_H

#include "quern/Import/GGUF.h"

namespace quern::import {

/// Opens what `path` is, in GGUF's terms: a GGUF file, a Hugging Face folder (see openHuggingFace), an ONNX file of a
/// language model, or a folder that holds one as model.onnx (see openOnnxModel).
Result<gguf::File> openModel(const std::string &path, const gguf::TypeTable &types);

/// The ONNX file that `path` is or holds: by its name, which ends in ".onnx", or the model.onnx of a folder without a
/// safetensors checkpoint. Empty if there is none.
std::string onnxFileOf(const std::string &path);

} // namespace quern::import

#endif // QUERN_IMPORT_OPENMODEL_H
