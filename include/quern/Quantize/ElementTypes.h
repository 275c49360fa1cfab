// The types that a tensor can be given, by name: plain floats and block formats. Free of MLIR.
#ifndef QUERN_QUANTIZE_ELEMENTTYPES_H
#define QUERN_QUANTIZE_ELEMENTTYPES_H

#include "quern/Formats/FormatSpec.h"

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace quern::quantize {

struct ElementType {
  std::string name;  ///< as people write it: "F16", "Q4_K"
  int ggufType;      ///< -1 if GGUF has none
  unsigned block;    ///< elements that are stored together, along a row
  unsigned bytes;    ///< of a block
  const formats::FormatSpec *spec; ///< null for plain floats

  bool isFloat() const;
  bool divides(uint64_t columns) const { return columns % block == 0; }
};

/// That of a block format, which must outlive it.
ElementType elementTypeOf(const formats::FormatSpec &spec);

class ElementTypes {
public:
  /// F32, F16, BF16 and the formats, which must outlive this.
  explicit ElementTypes(std::span<const formats::FormatSpec *const> specs);

  /// Null if there is none; upper and lower case are the same.
  const ElementType *find(std::string_view name) const;
  const ElementType *find(uint32_t ggufType) const;
  /// All names, for error messages.
  std::string names() const;

private:
  std::vector<ElementType> types;
};

} // namespace quern::quantize

#endif // QUERN_QUANTIZE_ELEMENTTYPES_H
