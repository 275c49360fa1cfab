// Emits the reading of packed panels: scales, minimums and codes, for 16 rows at once (lanes = 16) or for the one row
// that an embedding looks up (lanes = 1). All that differs between formats below the packer is here.
#ifndef QUERN_LIB_CODEGEN_CPU_PANELREADER_H
#define QUERN_LIB_CODEGEN_CPU_PANELREADER_H

#include "lib/Codegen/Common/Emitter.h"
#include "quern/Codegen/PanelLayout.h"

namespace quern::codegen {

class PanelReader {
public:
  using Value = mlir::Value;

  /// `lane` selects one row of the panel (lanes = 1); null reads all 16. `prefetch` bytes ahead of each line, 0: none.
  PanelReader(Emitter &e, const PanelLayout &layout, Value lane = {}, int64_t prefetch = 0)
      : e(e), layout(layout), lane(lane), lanes(lane ? 1 : kPanelRows), prefetch(prefetch) {}

  /// Super-block scales, or the six-bit layout's next ones; empty for plain scales.
  struct Super {
    Value d, dmin;
  };
  /// From the header of super-block `index` (an i64 value).
  Super loadSuper(Value panel, Value index);
  /// Six-bit layout: the dword (D | Dm << 16) of each row, from the header.
  Value loadFirstPair(Value panel);
  Super splitPair(Value pair);

  /// Reads the scale lines of the sub-unit at `subunit` (a pointer). Call first in each sub-unit.
  void beginSubunit(Value subunit);
  /// Six-bit layout: the pair gathered so far with this sub-unit's byte shifted in.
  Value gatherPair(Value pair);
  /// Reads the high-bit lines of both groups now, so that addresses ascend; otherwise they are read where needed.
  void loadHighLines();

  /// Turns to group 0 or 1 (32 k) of the sub-unit, known now or in a loop over the groups. `words` are the scale words
  /// shifted to the group (null without super-blocks): firstWords() for group 0, nextWords() of that for group 1.
  void enterGroup(unsigned index, Value words);
  void enterGroup(Value index, Value words);
  Value firstWords() const { return scaleWords; }
  Value nextWords(Value words) { return words ? e.shiftRight(words, layout.groupShift()) : words; }

  /// s, and m (null without minimums), of piece `index` of the group (32 / piece of them).
  std::pair<Value, Value> scales(unsigned index, const Super &super);
  /// The codes of k-line `line` (0..7) of the group, [lanes * 4] x i8: unsigned, or, `asSigned`, as signed bytes (see
  /// PanelLayout::hasSignedForm). Of layouts with two digits one of them.
  Value codes(unsigned line, bool asSigned = false, unsigned digit = 0);

private:
  Value loadLine(Value line, mlir::VectorType type, int64_t laneBytes);
  Value codeLine(int64_t index);
  Value lowBits(unsigned line);
  Value highBits(unsigned line);
  Value lookUp(unsigned line, bool asSigned, unsigned digit);
  Value moveBits(Value bytes, int64_t left);
  mlir::VectorType lineBytes() { return e.i8s(lanes * 4); }

  Emitter &e;
  const PanelLayout &layout;
  Value lane;
  int64_t lanes;
  int64_t prefetch;
  Value subunit, scaleWords;
  Value groupScales, codeStart, highStart, words; ///< of the group
  llvm::SmallVector<Value> codeCache, highCache; ///< lines of the group that have been read
  llvm::SmallVector<Value> allHighLines; ///< of the sub-unit, after loadHighLines
};

} // namespace quern::codegen

#endif // QUERN_LIB_CODEGEN_CPU_PANELREADER_H
