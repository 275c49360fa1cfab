// Sixteen groups of weights side by side, one in each lane, and the searches over them. A group's sums must be taken
// one weight after the other (the order fixes the result), so the parallel work is in the lanes.
//
// The searches are compiled once for each instruction set, from the same source, and give the same bits in each. This
// header is seen by those variants, so it has no inline function that a linker might take from the wrong one.
#ifndef QUERN_LIB_QUANTIZE_GROUPTILE_H
#define QUERN_LIB_QUANTIZE_GROUPTILE_H

#include <cstdint>

namespace quern::quantize {

constexpr int kLanes = 16;
constexpr int kMaxGroup = 32;

/// What an error counts for; with x the weight and q its column's importance.
enum class Weighting {
  Square,       ///< x^2
  Magnitude,    ///< |x|
  RmsMagnitude, ///< sqrt(mean of the group's x^2) + |x|
  Importance,   ///< q
  Scaled,       ///< q * sqrt(variance + x^2), `variance` of each lane given by the caller
};

/// Candidates of the search with a minimum: steps (greatest + first + i * step) / range, for i = 0 to last.
struct Candidates {
  float first, step;
  int last;
  bool absolute; ///< errors count by magnitude, not by square
};

/// Lanes without a group hold zeros and give zeros.
struct GroupTile {
  int group;                          ///< weights in each group, at most kMaxGroup
  alignas(64) float x[kMaxGroup][kLanes];
  alignas(64) float weight[kMaxGroup][kLanes];
  alignas(64) float variance[kLanes]; ///< for Weighting::Scaled
  alignas(64) float scale[kLanes];
  alignas(64) float minimum[kLanes];  ///< subtracted: w = scale * code - minimum
  alignas(64) uint8_t code[kMaxGroup][kLanes];
};

/// One instruction set's functions. Each reads x (and weight) of a tile and writes scale, minimum and code. `reach` is
/// how far codes go: to 0 .. reach with a minimum, else -reach .. reach - 1, stored plus reach.
struct Searches {
  /// Fills x from `lanes` groups that follow each other at `row`, and weight from them and `importance` (may be null).
  void (*load)(GroupTile &, const float *row, const float *importance, int lanes, Weighting);
  /// The codes of `lanes` groups, one after the other.
  void (*store)(const GroupTile &, int lanes, uint8_t *codes);

  // Searches by weighted error.
  void (*symmetric)(GroupTile &, int reach);
  void (*symmetricByDescent)(GroupTile &, int reach);
  void (*withMinimum)(GroupTile &, int reach, const Candidates &);
  void (*table)(GroupTile &, const int16_t *values, int tries); ///< 16 ascending values

  // One formula, no search.
  void (*extremeFirst)(GroupTile &, int reach);  ///< the greatest magnitude gets code 0
  void (*fullRange)(GroupTile &, int reach);     ///< least and greatest weight get codes 0 and reach
  void (*roundToByte)(GroupTile &);              ///< codes -127 to 127, as their low eight bits
  /// Scales are powers of two, their exponent that of the greatest magnitude less `exponentOfGreatest`; of codes that
  /// are as near, the first; or an even one before an odd one. `values` are the numbers of `count` codes, times `unit`.
  void (*powerOfTwo)(GroupTile &, const int16_t *values, int count, float unit, int exponentOfGreatest, bool toEven);

  // Codes again, from `scale` and `minimum` as they are stored; groups with scale 0 keep theirs.
  void (*recodeSymmetric)(GroupTile &, int reach);
  void (*recodeWithMinimum)(GroupTile &, int reach);
  void (*recodeTable)(GroupTile &, const int16_t *values); ///< groups with scale 0 get the code nearest to 0
};

/// The fastest variant that this processor runs.
const Searches &searches();

/// All variants that this processor runs, and their number: for tests.
const Searches *const *allSearches(int &count);

} // namespace quern::quantize

#endif // QUERN_LIB_QUANTIZE_GROUPTILE_H
