// Tiles of f32, f16 and bf16 weights: four partial sums by k mod 4, each in ascending order, then (p0 + p1) + (p2 +
// p3).
#include "MatmulTile.h"

using namespace mlir;
using namespace quern::codegen;

/// One k of each panel, as f32.
static llvm::SmallVector<Value> loadWeights(Emitter &e, const MatmulTile &tile, Value at, int64_t j) {
  const PanelLayout &layout = tile.layout;
  int64_t lineBytes = kPanelRows * layout.floatBytes;
  Type element = layout.floatBytes == 4 ? Type(e.getF32Type())
                 : layout.bfloat        ? Type(e.getBF16Type())
                                        : Type(e.getF16Type());
  llvm::SmallVector<Value> weights;
  for (Value panel : tile.panels) {
    Value line = e.at(panel, e.add(e.mul(at, lineBytes), j * lineBytes));
    if (tile.prefetch && j * lineBytes % kLineBytes == 0)
      e.prefetch(e.at(line, tile.prefetch));
    Value weight = e.load(e.vec(kPanelRows, element), line, unsigned(lineBytes));
    weights.push_back(layout.floatBytes == 4 ? weight : e.widen(weight));
  }
  return weights;
}

Emitter::Values quern::codegen::foldFloats(Emitter &e, const MatmulTile &tile) {
  unsigned panels = tile.panels.size(), elements = tile.elements();
  Emitter::Values zeros(elements * 4, e.real(e.f32s(), 0));
  Emitter::Values partials = e.loop(e.i64(0), tile.k, e.i64(4), zeros, [&](Value at, ValueRange carried) {
    Emitter::Values sums(carried);
    for (int64_t j = 0; j < 4; ++j) {
      llvm::SmallVector<Value> weights = loadWeights(e, tile, at, j);
      for (auto [t, row] : llvm::enumerate(tile.activations)) {
        Value scalar = e.load(e.getF32Type(), e.at(row, e.add(e.mul(at, 4), 4 * j)), 4);
        Value value = e.splat(scalar, e.f32s());
        for (unsigned r = 0; r < panels; ++r) {
          Value &sum = sums[(t * panels + r) * 4 + j];
          sum = e.fma(weights[r], value, sum);
        }
      }
    }
    return sums;
  });
  Emitter::Values results;
  for (unsigned i = 0; i < elements; ++i)
    results.push_back(
        e.addf(e.addf(partials[4 * i], partials[4 * i + 1]), e.addf(partials[4 * i + 2], partials[4 * i + 3])));
  return results;
}
