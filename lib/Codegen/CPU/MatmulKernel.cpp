// The matmul on packed panels: how panels and tokens are cut into tiles, and what becomes of a tile's sums.
#include "Kernels.h"
#include "MatmulTile.h"

#include <algorithm>

using namespace mlir;
using namespace quern::codegen;

StringRef quern::codegen::epilogueName(Epilogue epilogue) {
  switch (epilogue) {
  case Epilogue::None:
    return "store";
  case Epilogue::Bias:
    return "bias";
  case Epilogue::Residual:
    return "residual";
  case Epilogue::Swiglu:
    return "swiglu";
  }
  return "";
}

namespace {

/// Emits one matmul kernel; holds the function's arguments.
class MatmulEmitter {
public:
  MatmulEmitter(Emitter &e, const PanelLayout &layout, Epilogue epilogue, const Target &target, Block *entry)
      : e(e), layout(layout), epilogue(epilogue), target(target), call(entry->getArgument(0)), x(entry->getArgument(1)),
        xStride(entry->getArgument(2)), w(entry->getArgument(3)), panelBytes(entry->getArgument(4)),
        aux(entry->getArgument(5)), auxStride(entry->getArgument(6)), y(entry->getArgument(7)),
        yStride(entry->getArgument(8)), tokens(entry->getArgument(9)), n(entry->getArgument(10)),
        k(entry->getArgument(11)) {}

  void emit();

private:
  void emitSingly(Value first, Value last, unsigned least);
  void emitFarPairs(Value first, Value last);
  void emitTogether(Value first, Value last);
  void emitTokens(ArrayRef<Value> panels, unsigned least, int64_t prefetch);
  void emitTile(ArrayRef<Value> panels, Value token, unsigned tokens, int64_t prefetch);
  Value headerBytes();
  void finish(Value sum, Value panel, Value token);

  Emitter &e;
  const PanelLayout &layout;
  Epilogue epilogue;
  const Target &target;
  Value call, x, xStride, w, panelBytes, aux, auxStride, y, yStride, tokens, n, k;
};

} // namespace

/// Plain formats take two panels far from each other, line by line in turn, which memory serves faster than one stream.
/// Formats of super-blocks stream panel by panel with prefetches while memory is the limit, and take tiles of several
/// panels for many tokens (docs/performance.md). All ways give the same bits.
void MatmulEmitter::emit() {
  Value panels = e.div(e.add(n, kPanelRows - 1), kPanelRows);
  auto [first, last] = e.share(call, panels);
  // A tile of one panel of f32 or f16 fills the registers: an element has four sums.
  if ((layout.isFloat() && !layout.inPairs()) || target.tilePanels == 1)
    return emitSingly(first, last, 1);
  if (target.twoStreams && !layout.hasSuperBlocks())
    return emitFarPairs(first, last);
  Value few = e.less(tokens, e.i64(target.fewTokens + 1));
  e.ifThenElse(
      few, [&] { emitSingly(first, last, 1); }, [&] { emitTogether(first, last); });
}

void MatmulEmitter::emitSingly(Value first, Value last, unsigned least) {
  e.loop(first, last, e.i64(1), [&](Value panel) { emitTokens({panel}, least, target.prefetchBytes); });
}

void MatmulEmitter::emitFarPairs(Value first, Value last) {
  Value half = e.div(e.sub(last, first), 2), second = e.add(first, half);
  e.loop(first, second, e.i64(1), [&](Value panel) { emitTokens({panel, e.add(panel, half)}, 1, 0); });
  emitSingly(e.add(second, half), last, 1);
}

void MatmulEmitter::emitTogether(Value first, Value last) {
  unsigned step = target.tilePanels, least = target.fewTokens + 1;
  Value whole = e.add(first, e.mul(e.div(e.sub(last, first), step), step));
  e.loop(first, whole, e.i64(step), [&](Value panel) {
    llvm::SmallVector<Value> panels;
    for (unsigned r = 0; r < step; ++r)
      panels.push_back(e.add(panel, r));
    emitTokens(panels, least, 0);
  });
  emitSingly(whole, last, least);
}

/// The fewest tokens of a tile when at least `least` tokens are cut into as few nearly equal tiles of `most` as can be.
static unsigned smallestTile(unsigned least, unsigned most) {
  unsigned smallest = most;
  for (unsigned tokens = least; tokens <= least + most * most; ++tokens)
    smallest = std::min(smallest, tokens / ((tokens + most - 1) / most));
  return smallest;
}

/// All tokens, at least `least`, of these panels, in tiles of nearly equal size.
void MatmulEmitter::emitTokens(ArrayRef<Value> panels, unsigned least, int64_t prefetch) {
  unsigned most = target.tileTokens;
  Value tiles = e.div(e.add(tokens, most - 1), most), small = e.div(tokens, tiles), larger = e.rem(tokens, tiles);
  e.loop(e.i64(0), tiles, e.i64(1), [&](Value tile) {
    Value from = e.add(e.mul(tile, small), e.min(tile, larger));
    Value size = arith::SelectOp::create(e, e.less(tile, larger), e.add(small, 1), small);
    for (unsigned count = smallestTile(least, most); count <= most; ++count) {
      Value fits = arith::CmpIOp::create(e, arith::CmpIPredicate::eq, size, e.i64(count));
      e.ifThen(fits, [&] { emitTile(panels, from, count, prefetch); });
    }
  });
}

void MatmulEmitter::emitTile(ArrayRef<Value> panels, Value token, unsigned count, int64_t prefetch) {
  MatmulTile tile{layout, {}, {}, k, headerBytes(), target.signedCodes, prefetch};
  for (Value panel : panels)
    tile.panels.push_back(e.at(w, e.mul(panel, panelBytes)));
  for (unsigned t = 0; t < count; ++t)
    tile.activations.push_back(e.at(x, e.mul(e.add(token, t), xStride)));
  Emitter::Values sums = layout.inPairs()   ? foldPairs(e, tile)
                         : layout.isFloat() ? foldFloats(e, tile)
                                            : foldBlocks(e, tile);
  for (unsigned t = 0; t < count; ++t)
    for (unsigned r = 0; r < panels.size(); ++r)
      finish(sums[t * panels.size() + r], panels[r], e.add(token, t));
}

/// What the sub-units leave of a panel.
Value MatmulEmitter::headerBytes() { return e.sub(panelBytes, e.mul(e.div(k, kSubunit), layout.subunitBytes())); }

/// The epilogue of 16 elements, and their store.
void MatmulEmitter::finish(Value sum, Value panel, Value token) {
  Value row = e.mul(panel, kPanelRows), bytes = e.mul(row, 4);
  Value out = e.at(e.at(y, e.mul(token, yStride)), bytes);
  if (epilogue != Epilogue::None) {
    Value extra = e.load(e.f32s(), e.at(e.at(aux, e.mul(token, auxStride)), bytes), 4);
    sum = epilogue == Epilogue::Swiglu ? e.mulf(emitSilu(e, extra), sum) : e.addf(sum, extra);
  }
  Value left = e.sub(n, row);
  auto branch = scf::IfOp::create(e, e.less(left, e.i64(kPanelRows)), /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(e);
  e.setInsertionPointToStart(branch.thenBlock());
  llvm::SmallVector<int32_t> lanes;
  for (int32_t lane = 0; lane < kPanelRows; ++lane)
    lanes.push_back(lane);
  Value index = arith::ConstantOp::create(e, DenseIntElementsAttr::get(e.i32s(), lanes));
  Value limit = e.splat(arith::TruncIOp::create(e, e.getI32Type(), left), e.i32s());
  Value mask = arith::CmpIOp::create(e, arith::CmpIPredicate::slt, index, limit);
  LLVM::MaskedStoreOp::create(e, sum, out, mask, 4);
  e.setInsertionPointToStart(branch.elseBlock());
  e.store(sum, out, 4);
}

func::FuncOp quern::codegen::emitMatmul(ModuleOp module, StringRef name, const PanelLayout &layout, Epilogue epilogue,
                                        const Target &target) {
  MLIRContext *context = module.getContext();
  Type ptr = LLVM::LLVMPointerType::get(context), i64 = IntegerType::get(context, 64);
  func::FuncOp kernel = beginKernel(module, name, {ptr, ptr, i64, ptr, i64, ptr, i64, ptr, i64, i64, i64, i64});
  Emitter e(module.getLoc(), context);
  Block *entry = &kernel.getBody().front();
  e.setInsertionPointToEnd(entry);
  // A step may ask for no logits; then there is nothing to divide into tiles.
  Value some = e.less(e.i64(0), entry->getArgument(9));
  e.ifThen(some, [&] { MatmulEmitter(e, layout, epilogue, target, entry).emit(); });
  func::ReturnOp::create(e);
  return kernel;
}
