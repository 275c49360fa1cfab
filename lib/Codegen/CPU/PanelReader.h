// Emits the reading of packed panels: scales, minimums and codes, for 16 rows at once (lanes = 16) or for the one row
// that an embedding looks up (lanes = 1). All that differs between formats below the packer is here.
#ifndef QUERN_LIB_CODEGEN_CPU_PANELREADER_H
#define QUERN_LIB_CODEGEN_CPU_PANELREADER_H

#include "Emitter.h"
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
  /// s, and m (null without minimums), of piece `index` of the sub-unit (64 / piece of them).
  std::pair<Value, Value> scales(unsigned index, const Super &super);

  /// The codes, unsigned or, `asSigned` (see PanelLayout::hasSignedForm), as signed bytes, of k-line `line` (0..7) of group `group` (0, 1): [lanes * 4] x i8.
  Value codes(unsigned group, unsigned line, bool asSigned = false);
  /// Reads the high-bit lines now, so that addresses ascend; otherwise they are read where needed.
  void loadHighLines();

private:
  Value loadLine(int64_t index, mlir::VectorType type, int64_t laneBytes, int64_t offset = 0);
  Value codeLine(int64_t index);
  Value highBits(unsigned group, unsigned line);

  Emitter &e;
  const PanelLayout &layout;
  Value lane;
  int64_t lanes;
  int64_t prefetch;
  Value subunit, scaleWords;
  llvm::SmallVector<Value> codeCache, highCache;
};

} // namespace quern::codegen

#endif // QUERN_LIB_CODEGEN_CPU_PANELREADER_H
