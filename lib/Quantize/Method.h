// What is searched for in each format, as data.
#ifndef QUERN_LIB_QUANTIZE_METHOD_H
#define QUERN_LIB_QUANTIZE_METHOD_H

#include "GroupTile.h"

#include <string_view>

namespace quern::quantize {

enum class Search {
  Symmetric,
  Descent,
  Minimum,
  Table,
  ExtremeFirst,
  FullRange,
  RoundToByte,
  PowerOfTwo,
  PowerOfTwoToEven, ///< weights between two codes go to the even one
};

/// How one group is quantized.
struct GroupMethod {
  Search search;
  Weighting weighting = Weighting::Square;
  Candidates candidates{};
};

/// How groups share a super-block.
enum class SuperMethod {
  None,
  Linear,  ///< scales and minimums are not negative
  Signed,  ///< the scale of greatest magnitude gets the lowest factor
  Table,   ///< as Signed; codes are derived from the super-scale before it is rounded
};

struct Method {
  std::string_view format;
  int reach;            ///< of the codes, see Searches
  GroupMethod plain;    ///< without importance
  GroupMethod weighted; ///< with it
  /// For Weighting::Scaled: variance is this times the mean square, over the row or over a block.
  float varianceFactor = 0;
  bool varianceOfRow = false;
  SuperMethod super = SuperMethod::None;
  int superReach = 0; ///< of the factors
};

/// Null if no search is known for the format.
const Method *findMethod(std::string_view format);

} // namespace quern::quantize

#endif // QUERN_LIB_QUANTIZE_METHOD_H
