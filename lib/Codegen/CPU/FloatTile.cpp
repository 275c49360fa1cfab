// Tiles of float weights. f32 and f16: four partial sums by k mod 4, each in ascending order, then (p0 + p1) + (p2 +
// p3). bf16, times bf16 activations: two partial sums of the even and the odd pairs of k, then p0 + p1.
#include "MatmulTile.h"
#include "dialects/DQ/DQ.h"

using namespace mlir;
using namespace quern::codegen;

/// One k of each panel, as f32.
static llvm::SmallVector<Value> loadWeights(Emitter &e, const MatmulTile &tile, Value at, int64_t j) {
  const PanelLayout &layout = tile.layout;
  int64_t lineBytes = kPanelRows * layout.floatBytes;
  Type element = layout.floatBytes == 4 ? Type(e.getF32Type()) : Type(e.getF16Type());
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

Emitter::Values quern::codegen::foldPairs(Emitter &e, const MatmulTile &tile) {
  constexpr int64_t kPairs = 4; // of a turn; k is a multiple of 16
  unsigned panels = tile.panels.size(), elements = tile.elements();
  VectorType bfloats = e.vec(2 * kPanelRows, e.getBF16Type());
  Emitter::Values zeros(elements * 2, e.real(e.f32s(), 0));
  auto partials = e.loop(e.i64(0), e.div(tile.k, 2), e.i64(kPairs), zeros, [&](Value at, ValueRange carried) {
    Emitter::Values sums(carried);
    for (int64_t j = 0; j < kPairs; ++j) {
      llvm::SmallVector<Value> weights;
      for (Value panel : tile.panels) {
        Value line = e.at(panel, e.add(e.mul(at, kLineBytes), j * kLineBytes));
        if (tile.prefetch)
          e.prefetch(e.at(line, tile.prefetch));
        weights.push_back(e.load(bfloats, line, kLineBytes));
      }
      for (auto [t, row] : llvm::enumerate(tile.activations)) {
        Value pair = e.load(e.getI32Type(), e.at(row, e.add(e.mul(at, 4), 4 * j)), 4);
        Value value = e.bitcast(e.splat(pair, e.i32s()), bfloats);
        for (unsigned r = 0; r < panels; ++r) {
          Value &sum = sums[(t * panels + r) * 2 + j % 2];
          sum = quern::dq::DotPairsOp::create(e, sum.getType(), sum, weights[r], value);
        }
      }
    }
    return sums;
  });
  Emitter::Values results;
  for (unsigned i = 0; i < elements; ++i)
    results.push_back(e.addf(partials[2 * i], partials[2 * i + 1]));
  return results;
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
