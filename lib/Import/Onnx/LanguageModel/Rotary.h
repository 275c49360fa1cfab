// From the angles by which a graph turns its heads to a base and divisors.
#ifndef QUERN_LIB_IMPORT_ONNX_LANGUAGEMODEL_ROTARY_H
#define QUERN_LIB_IMPORT_ONNX_LANGUAGEMODEL_ROTARY_H

#include "quern/Support/Result.h"

#include <optional>
#include <vector>

namespace quern::import::language {

/// frequency[i] = theta^(-i / pairs) / factor[i].
struct Rotary {
  double theta;
  std::vector<float> factors; ///< empty: all are 1
};

/// `frequencies`: of each pair; known to about seven digits, or, if `coarse`, to three decimal places. `given`: the
/// base that a file beside the model names. Fails if no base explains them.
Result<Rotary> fitRotary(const std::vector<double> &frequencies, bool coarse, std::optional<double> given);

} // namespace quern::import::language

#endif // QUERN_LIB_IMPORT_ONNX_LANGUAGEMODEL_ROTARY_H
