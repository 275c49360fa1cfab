// The JSON header of a safetensors file, as it is told. Private to the reader (quern/Import/SafeTensors.h).
#ifndef QUERN_LIB_IMPORT_SAFETENSORSHEADER_H
#define QUERN_LIB_IMPORT_SAFETENSORSHEADER_H

#include "quern/Support/Result.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace quern::safetensors {

struct HeaderEntry {
  std::string name, dtype;
  std::vector<uint64_t> shape;   ///< at most kMaxRank
  std::vector<uint64_t> offsets; ///< two
};

inline constexpr size_t kMaxRank = 8;

/// The tensor entries in the order of the text; metadata are checked and left out. Fails with half a sentence ("tensor
/// 'x' has no shape") where the text is no such header. Takes memory in proportion to the entries only.
Result<std::vector<HeaderEntry>> parseHeader(std::string_view text);

} // namespace quern::safetensors

#endif // QUERN_LIB_IMPORT_SAFETENSORSHEADER_H
