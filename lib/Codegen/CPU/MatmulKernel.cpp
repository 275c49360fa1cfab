// The matmul on packed panels: how panels and tokens are cut into tiles, and what becomes of a tile's sums.
#include "Kernels.h"
#include "MatmulTile.h"
#include "quern/Codegen/ActivationLayout.h"
#include "quern/Runtime/KernelABI.h"

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
        k(entry->getArgument(11)), counters(entry->getArgument(12)), countersStride(entry->getArgument(13)),
        weightSums(entry->getNumArguments() > 14 ? entry->getArgument(14) : BlockArgument()) {}

  void emit();

private:
  /// The panels that tiles begin with, and, for tiles of two, how far from each its second one is.
  struct Panels {
    Value first, last, distance;
  };
  /// How many rows of x there may be, and how many of them a tile takes at the most.
  struct Cut {
    unsigned least, most, tile;
  };
  static constexpr unsigned kAny = ~0u;          ///< `Cut::most` without a limit
  static constexpr unsigned kStreamedTokens = 2; ///< up to which reading two far panels is all that counts

  static constexpr int64_t kBlocksOfShare = 16; ///< into which a thread's panels are cut for few tokens

  void emitShare(Value owner, Value threads);
  void emitSingly(Value first, Value last, Cut cut);
  void emitFarPairs(Value first, Value last, Cut cut, unsigned tile);
  Value blockSize(Value panels, int64_t bytes);
  Value blocksOf(Value panels, Value size);
  void emitTiles(Panels panels, Cut cut, int64_t prefetch);
  void emitEqualTiles(Panels panels, Value from, Cut cut, int64_t prefetch);
  void emitTilesOf(Panels panels, Value token, Value size, Cut cut, int64_t prefetch);
  void emitTile(ArrayRef<Value> panels, Value token, unsigned tokens, int64_t prefetch);
  Value headerBytes();
  /// A token's 16 operands of the epilogue.
  Value auxAt(Value panel, Value token) {
    return e.at(e.at(aux, e.mul(token, auxStride)), e.mul(panel, kPanelRows * 4));
  }
  Value withoutZero(Value sum, Value panel, Value token);
  void finish(Value sum, Value panel, Value token);

  Emitter &e;
  const PanelLayout &layout;
  Epilogue epilogue;
  const Target &target;
  Value call, x, xStride, w, panelBytes, aux, auxStride, y, yStride, tokens, n, k, counters, countersStride;
  Value weightSums; ///< of each row of w, where rows of x have zero points
  Value counter;    ///< of the share whose blocks are taken
};

} // namespace

/// Tiles of one panel and many tokens unpack a code once for all of them; tiles of two panels share the activations.
/// Codes without high bits, which are cheap to unpack, take the latter for many tokens, and so do all plain formats for
/// one or two: two panels far from each other, line by line in turn, are what memory serves best. The rest take the
/// former (docs/performance.md). All ways give the same bits.
void MatmulEmitter::emit() {
  Value threads = e.callField(call, QUERN_CALL_THREADS, e.getI64Type());
  Value thread = e.callField(call, QUERN_CALL_THREAD, e.getI64Type());
  e.loop(e.i64(0), threads, e.i64(1), [&](Value turn) {
    Value owner = e.rem(e.add(thread, turn), threads);
    emitShare(owner, threads);
  });
}

/// What is left of a thread's share. A thread takes blocks of its own first and then those of the others, so that one
/// which the system holds up holds nobody up. Every element is folded by one thread, whichever it is.
void MatmulEmitter::emitShare(Value owner, Value threads) {
  counter = e.at(counters, e.mul(owner, countersStride));
  auto [first, last] = e.shareOf(owner, threads, e.div(e.add(n, kPanelRows - 1), kPanelRows));
  // Some tiles of one panel fill the registers sooner: an element of f32 or f16 has four sums, and one with a scale for
  // each 16 k has half a sum more.
  unsigned tile = layout.isFloat()     ? target.floatTokens
                  : layout.piece == 16 ? target.halvesTokens
                                       : target.tileTokens;
  if (layout.hasSuperBlocks() || target.pairTokens == 0)
    return emitSingly(first, last, {1, kAny, tile});
  if (layout.inPairs())
    return emitFarPairs(first, last, {1, kAny, target.pairTokens}, tile);
  bool pairsOfMany = !layout.isFloat() && layout.highBits == 0;
  Value pairs = e.less(tokens, e.i64(kStreamedTokens + 1));
  if (pairsOfMany)
    pairs = arith::OrIOp::create(e, pairs, e.less(e.i64(2 * tile), tokens));
  Cut cut = pairsOfMany ? Cut{1, kAny, target.pairTokens} : Cut{1, kStreamedTokens, kStreamedTokens};
  e.ifThenElse(
      pairs, [&] { emitFarPairs(first, last, cut, tile); }, [&] { emitSingly(first, last, {1, kAny, tile}); });
}

void MatmulEmitter::emitSingly(Value first, Value last, Cut cut) {
  Value size = blockSize(e.sub(last, first), target.cacheBytes);
  e.takeItems(counter, blocksOf(e.sub(last, first), size), [&](Value block) {
    Value from = e.add(first, e.mul(block, size));
    emitTiles({from, e.min(e.add(from, size), last), {}}, cut, target.prefetchBytes);
  });
}

/// Where the number of panels is odd, the last of them is a block of its own, in tiles of up to `tile` tokens.
void MatmulEmitter::emitFarPairs(Value first, Value last, Cut cut, unsigned tile) {
  Value panels = e.sub(last, first), half = e.div(panels, 2), middle = e.add(first, half);
  Value size = blockSize(half, target.cacheBytes / 2), blocks = blocksOf(half, size);
  // Whole bytes, of which nothing is made before they are multiplied, keep memory busy by themselves.
  int64_t prefetch = layout.inPairs() || layout.lowBits == 8 ? 0 : target.farPrefetchBytes;
  e.takeItems(counter, e.add(blocks, e.rem(panels, e.i64(2))), [&](Value block) {
    e.ifThenElse(
        e.less(block, blocks),
        [&] {
          Value from = e.add(first, e.mul(block, size));
          emitTiles({from, e.min(e.add(from, size), middle), half}, cut, prefetch);
        },
        [&] { emitTiles({e.sub(last, e.i64(1)), last, {}}, {1, kAny, tile}, target.prefetchBytes); });
  });
}

/// Panels of a block. They stay in the outer cache while tiles of tokens pass by, and the rows of a tile in the inner
/// one while the panels of a block do. With few tokens nothing has to stay, and blocks are small enough to share out.
Value MatmulEmitter::blockSize(Value panels, int64_t bytes) {
  Value kept = e.div(e.i64(bytes), panelBytes), shared = e.div(panels, kBlocksOfShare);
  Value most = arith::SelectOp::create(e, e.less(tokens, e.i64(kStreamedTokens + 1)), e.min(kept, shared), kept);
  return arith::MaxSIOp::create(e, most, e.i64(1));
}

Value MatmulEmitter::blocksOf(Value panels, Value size) { return e.div(e.add(panels, e.sub(size, e.i64(1))), size); }

/// The fewest rows of a tile when `cut.least` to `cut.most` rows are cut into as few nearly equal tiles as can be.
static unsigned smallestTile(unsigned least, unsigned most, unsigned tile) {
  unsigned smallest = tile;
  for (unsigned rows = least; rows <= std::min(most, least + tile * tile); ++rows)
    smallest = std::min(smallest, rows / ((rows + tile - 1) / tile));
  return smallest;
}

/// The products of all rows with these panels. The first tile prefetches, since it is the one that meets the panels in
/// memory. Where nothing is made of codes before they are multiplied, it is as large as can be, so that memory is
/// waited for beside as many products as can be, and the others share the rest; otherwise all are nearly equal.
void MatmulEmitter::emitTiles(Panels panels, Cut cut, int64_t prefetch) {
  if (!prefetch || cut.most != kAny || layout.lowBits != 8)
    return emitEqualTiles(panels, e.i64(0), cut, prefetch);
  Value first = e.min(tokens, e.i64(cut.tile));
  emitTilesOf(panels, e.i64(0), first, cut, prefetch);
  emitEqualTiles(panels, first, cut, 0);
}

/// Rows from `from` on, in tiles of nearly equal size.
void MatmulEmitter::emitEqualTiles(Panels panels, Value from, Cut cut, int64_t prefetch) {
  Value rows = e.sub(tokens, from), tiles = e.div(e.add(rows, cut.tile - 1), cut.tile);
  Value some = arith::MaxSIOp::create(e, tiles, e.i64(1)), small = e.div(rows, some), larger = e.rem(rows, some);
  auto emitAt = [&](Value tile, Cut part, int64_t distance) {
    Value token = e.add(from, e.add(e.mul(tile, small), e.min(tile, larger)));
    Value size = arith::SelectOp::create(e, e.less(tile, larger), e.add(small, 1), small);
    emitTilesOf(panels, token, size, part, distance);
  };
  if (prefetch)
    emitAt(e.i64(0), cut, prefetch);
  if (prefetch && cut.most <= cut.tile)
    return;
  Cut rest = prefetch ? Cut{cut.tile + 1, cut.most, cut.tile} : cut;
  e.loop(e.i64(prefetch ? 1 : 0), tiles, e.i64(1), [&](Value tile) { emitAt(tile, rest, 0); });
}

/// Tiles of `size` rows, a number that `cut` allows, from row `token` on: one for each of these panels.
void MatmulEmitter::emitTilesOf(Panels panels, Value token, Value size, Cut cut, int64_t prefetch) {
  for (unsigned count = smallestTile(cut.least, cut.most, cut.tile); count <= cut.tile; ++count) {
    Value fits = arith::CmpIOp::create(e, arith::CmpIPredicate::eq, size, e.i64(count));
    e.ifThen(fits, [&] {
      e.loop(panels.first, panels.last, e.i64(1), [&](Value panel) {
        llvm::SmallVector<Value> tile{panel};
        if (panels.distance)
          tile.push_back(e.add(panel, panels.distance));
        emitTile(tile, token, count, prefetch);
      });
    });
  }
}

void MatmulEmitter::emitTile(ArrayRef<Value> panels, Value token, unsigned count, int64_t prefetch) {
  // Signed codes are multiplied by what is not -128, which a code less 128 may be.
  bool signedCodes = target.signedCodes && !weightSums;
  MatmulTile tile{layout, {}, {}, k, headerBytes(), signedCodes, target.vectorBits, prefetch};
  for (Value panel : panels)
    tile.panels.push_back(e.at(w, e.mul(panel, panelBytes)));
  for (unsigned t = 0; t < count; ++t)
    tile.activations.push_back(e.at(x, e.mul(e.add(token, t), xStride)));
  // What the epilogue adds or gates lies in another row, and so another page, for each token: asked for only at the end
  // of the fold, it would be waited for.
  if (epilogue == Epilogue::Residual || epilogue == Epilogue::Swiglu)
    for (unsigned t = 0; t < count; ++t)
      for (Value panel : panels)
        e.prefetch(auxAt(panel, e.add(token, t)));
  Emitter::Values sums = layout.inPairs()   ? foldPairs(e, tile)
                         : layout.isFloat() ? foldFloats(e, tile)
                                            : foldBlocks(e, tile);
  for (unsigned t = 0; t < count; ++t)
    for (unsigned r = 0; r < panels.size(); ++r)
      finish(sums[t * panels.size() + r], panels[r], e.add(token, t));
}

/// What the sub-units leave of a panel.
Value MatmulEmitter::headerBytes() { return e.sub(panelBytes, e.mul(e.div(k, kSubunit), layout.subunitBytes())); }

/// Less the row's zero point times the sums of the rows of weights.
Value MatmulEmitter::withoutZero(Value sum, Value panel, Value token) {
  Value units = e.mul(e.div(k, kActUnit), kActUnitBytes), row = e.at(x, e.mul(token, xStride));
  Value factor = e.splat(e.load(e.getF32Type(), e.at(row, units), 4), e.f32s());
  return e.fma(factor, e.load(e.f32s(), e.at(weightSums, e.mul(panel, kPanelRows * 4)), 64), sum);
}

/// The epilogue of 16 elements, and their store.
void MatmulEmitter::finish(Value sum, Value panel, Value token) {
  Value row = e.mul(panel, kPanelRows);
  Value out = e.at(e.at(y, e.mul(token, yStride)), e.mul(row, 4));
  if (weightSums)
    sum = withoutZero(sum, panel, token);
  if (epilogue != Epilogue::None) {
    Value extra = e.load(e.f32s(), auxAt(panel, token), 4);
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
                                        bool zeros, const Target &target) {
  MLIRContext *context = module.getContext();
  Type ptr = LLVM::LLVMPointerType::get(context), i64 = IntegerType::get(context, 64);
  llvm::SmallVector<Type> arguments{ptr, ptr, i64, ptr, i64, ptr, i64, ptr, i64, i64, i64, i64, ptr, i64};
  if (zeros)
    arguments.push_back(ptr);
  func::FuncOp kernel = beginKernel(module, name, arguments);
  Emitter e(module.getLoc(), context);
  Block *entry = &kernel.getBody().front();
  e.setInsertionPointToEnd(entry);
  // A step may ask for no logits; then there is nothing to divide into tiles.
  Value some = e.less(e.i64(0), entry->getArgument(9));
  e.ifThen(some, [&] { MatmulEmitter(e, layout, epilogue, target, entry).emit(); });
  func::ReturnOp::create(e);
  return kernel;
}
