// Importance of a model's columns, measured on calibration text and kept in a file ("imatrix"), as llama.cpp writes it.
#ifndef QUERN_QUANTIZE_IMPORTANCE_H
#define QUERN_QUANTIZE_IMPORTANCE_H

#include "quern/Support/Result.h"

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace quern::quantize {

class Importance {
public:
  /// Reads both kinds of file: GGUF with a pair of tensors `NAME.in_sum2` and `NAME.counts` for each weight, and the
  /// older list of names with sums. Errors: neither kind, cut off, numbers that are negative or not finite.
  static Result<Importance> read(const std::string &path);

  /// The mean square of what each column of the weight is multiplied with; null if the file does not tell. An error if
  /// it tells of another number of columns.
  Result<const float *> find(std::string_view weight, uint64_t columns) const;

private:
  std::string path;
  std::map<std::string, std::vector<float>, std::less<>> columns;
};

} // namespace quern::quantize

#endif // QUERN_QUANTIZE_IMPORTANCE_H
