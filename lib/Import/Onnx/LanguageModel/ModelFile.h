#ifndef QUERN_LIB_IMPORT_ONNX_LANGUAGEMODEL_MODELFILE_H
#define QUERN_LIB_IMPORT_ONNX_LANGUAGEMODEL_MODELFILE_H

#include "LanguageModel.h"

#include "quern/Import/GGUF.h"

namespace quern::import::language {

/// The model in GGUF's terms, with what the files beside `path` say. `weights` keeps what the matrices lie in as long
/// as the file is there. Fails on what GGUF's architectures do not have.
Result<gguf::File> makeModelFile(std::string path, LanguageModel model, std::shared_ptr<const void> weights,
                                 const gguf::TypeTable &types, bool withTokenizer);

} // namespace quern::import::language

#endif // QUERN_LIB_IMPORT_ONNX_LANGUAGEMODEL_MODELFILE_H
