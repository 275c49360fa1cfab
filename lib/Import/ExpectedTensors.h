// Private to readModelConfig.
#ifndef QUERN_LIB_IMPORT_EXPECTEDTENSORS_H
#define QUERN_LIB_IMPORT_EXPECTEDTENSORS_H

#include "quern/Import/ModelConfig.h"

namespace quern::import {

/// Whether the file holds exactly the tensors of such a model, in their shapes, vectors of valid numbers, and weights
/// in types that can be read. Errors name the tensor.
Status checkTensors(const gguf::File &file, const ModelConfig &config);

} // namespace quern::import

#endif // QUERN_LIB_IMPORT_EXPECTEDTENSORS_H
