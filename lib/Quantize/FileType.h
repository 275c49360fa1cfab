// GGUF's `general.file_type`: a number for what most of a file is made of.
#ifndef QUERN_LIB_QUANTIZE_FILETYPE_H
#define QUERN_LIB_QUANTIZE_FILETYPE_H

#include <cstdint>
#include <optional>
#include <string_view>

namespace quern::quantize {

/// Of files that are of one type throughout; for types of several mixes, the first one's.
std::optional<uint32_t> fileTypeOf(std::string_view type);

} // namespace quern::quantize

#endif // QUERN_LIB_QUANTIZE_FILETYPE_H
