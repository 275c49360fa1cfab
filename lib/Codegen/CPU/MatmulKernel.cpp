// The matmul on packed panels, for one token and for many, for every block format.
//
// A tile is R panels by T tokens. For each piece of the fold (32 or 16 k) the integer dot products of all its codes are
// formed exactly, then folded: acc = fma(s * sx, float(dot), acc), with a minimum acc = fma(-m, sx * sum, acc)
// (docs/numerics.md). So the result of an element depends on neither R nor T nor on how panels are split over threads.
#include "Kernels.h"
#include "PanelReader.h"
#include "dialects/DQ/DQ.h"
#include "quern/Codegen/ActivationLayout.h"

#include <bit>

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

/// Emits tiles of one matmul kernel; holds the function's arguments.
class MatmulEmitter {
public:
  MatmulEmitter(Emitter &e, const PanelLayout &layout, Epilogue epilogue, const Target &target, Block *entry)
      : e(e), layout(layout), epilogue(epilogue), target(target), call(entry->getArgument(0)), x(entry->getArgument(1)),
        xStride(entry->getArgument(2)), w(entry->getArgument(3)), panelBytes(entry->getArgument(4)),
        aux(entry->getArgument(5)), auxStride(entry->getArgument(6)), y(entry->getArgument(7)),
        yStride(entry->getArgument(8)), tokens(entry->getArgument(9)), n(entry->getArgument(10)),
        k(entry->getArgument(11)) {}

  void emit() {
    Value panels = e.div(e.add(n, kPanelRows - 1), kPanelRows);
    auto [first, last] = e.share(call, panels);
    unsigned step = target.tilePanels;
    // One token streams panel by panel; several take tiles of `tilePanels`, and what is left singly.
    Value single = arith::CmpIOp::create(e, arith::CmpIPredicate::eq, tokens, e.i64(1));
    Value whole = e.mul(e.div(e.sub(last, first), step), step);
    Value rest = e.add(first, arith::SelectOp::create(e, single, e.i64(0), whole));
    e.loop(first, rest, e.i64(step), [&](Value panel) { emitTokens(panel, step); });
    e.loop(rest, last, e.i64(1), [&](Value panel) { emitTokens(panel, 1); });
  }

private:
  /// All tokens of `panels` panels: tiles of tileTokens, then of halves, down to one.
  void emitTokens(Value panel, unsigned panels) {
    Value from = e.i64(0);
    for (unsigned tile = target.tileTokens; tile >= 1; tile /= 2) {
      Value count = e.mul(e.div(e.sub(tokens, from), tile), tile);
      Value to = e.add(from, count);
      e.loop(from, to, e.i64(tile), [&](Value token) { emitTile(panel, panels, token, tile); });
      from = to;
    }
  }

  void emitTile(Value panel, unsigned panels, Value token, unsigned tileTokens) {
    llvm::SmallVector<Value> rows, activations;
    for (unsigned r = 0; r < panels; ++r)
      rows.push_back(e.at(w, e.mul(e.add(panel, r), panelBytes)));
    for (unsigned t = 0; t < tileTokens; ++t)
      activations.push_back(e.at(x, e.mul(e.add(token, t), xStride)));
    Emitter::Values sums = layout.isFloat() ? foldFloats(rows, activations) : fold(rows, activations);
    for (unsigned t = 0; t < tileTokens; ++t)
      for (unsigned r = 0; r < panels; ++r)
        finish(sums[t * panels + r], e.add(panel, r), e.add(token, t));
  }

  Emitter::Values fold(ArrayRef<Value> rows, ArrayRef<Value> activations);
  Emitter::Values foldFloats(ArrayRef<Value> rows, ArrayRef<Value> activations);
  void foldSubunit(MutableArrayRef<PanelReader> readers, ArrayRef<Value> units, ArrayRef<PanelReader::Super> supers,
                   MutableArrayRef<Value> sums);
  void foldPiece(MutableArrayRef<PanelReader> readers, ArrayRef<Value> units, ArrayRef<PanelReader::Super> supers,
                 MutableArrayRef<Value> sums, unsigned piece);
  Value headerBytes();
  void finish(Value sum, Value panel, Value token);

  Emitter &e;
  const PanelLayout &layout;
  Epilogue epilogue;
  const Target &target;
  Value call, x, xStride, w, panelBytes, aux, auxStride, y, yStride, tokens, n, k;
};

} // namespace

/// One piece: exact dot products of its k-lines, then one step of the fold of each element of the tile.
void MatmulEmitter::foldPiece(MutableArrayRef<PanelReader> readers, ArrayRef<Value> units,
                              ArrayRef<PanelReader::Super> supers, MutableArrayRef<Value> sums, unsigned piece) {
  unsigned lines = layout.piece / 4, firstLine = piece * lines, panels = readers.size();
  // A lone element takes two chains of dots, for latency; integers add exactly, in any order.
  unsigned chains = layout.piece == 32 && panels * units.size() < 4 ? 2 : 1;
  bool asSigned = target.signedCodes && layout.hasSignedForm();
  auto load32 = [&](Value unit, int64_t offset, Type type) { return e.load(type, e.at(unit, offset), 4); };
  auto start = [&](Value unit, unsigned chain) -> Value {
    if (layout.zero == 0 || asSigned)
      return e.number(e.i32s(), 0);
    bool sixteen = layout.piece == 16 || chains == 2;
    int64_t offset = sixteen ? kActSums16 + 4 * (layout.piece == 16 ? piece : 2 * piece + chain)
                             : kActSums32 + 4 * piece;
    Value sum = e.splat(load32(unit, offset, e.getI32Type()), e.i32s());
    return e.shiftLeft(sum, std::countr_zero(layout.zero));
  };
  llvm::SmallVector<Value> dots(panels * units.size() * chains);
  for (unsigned t = 0; t < units.size(); ++t)
    for (unsigned c = 0; c < chains; ++c) {
      Value initial = start(units[t], c);
      for (unsigned r = 0; r < panels; ++r)
        dots[(t * panels + r) * chains + c] = initial;
    }
  for (unsigned i = 0; i < lines; ++i) {
    // Four-bit lines hold k-lines j and j + 4: taken together, so that a line is read and spent at once.
    unsigned local = layout.lowBits == 4 && lines == 8 ? i / 2 + i % 2 * 4 : i;
    unsigned line = firstLine + local;
    unsigned chain = chains == 2 ? local / 4 : 0;
    llvm::SmallVector<Value> codes;
    for (PanelReader &reader : readers) {
      Value code = reader.codes(line / 8, line % 8, asSigned);
      codes.push_back(code);
    }
    for (unsigned t = 0; t < units.size(); ++t) {
      Value word = e.splat(load32(units[t], 4 * line, e.getI32Type()), e.i32s());
      Value bytes = e.bitcast(word, e.i8s());
      for (unsigned r = 0; r < panels; ++r) {
        Value &dot = dots[(t * panels + r) * chains + chain];
        dot = quern::dq::DotOp::create(e, dot.getType(), dot, codes[r], bytes, asSigned, layout.largestCode(asSigned));
      }
    }
  }
  llvm::SmallVector<std::pair<Value, Value>> scales;
  for (unsigned r = 0; r < panels; ++r)
    scales.push_back(readers[r].scales(piece, supers.empty() ? PanelReader::Super{} : supers[r]));
  unsigned group = layout.piece == 32 ? piece : piece / 2;
  for (unsigned t = 0; t < units.size(); ++t) {
    Value scale = load32(units[t], kActScales + 4 * group, e.getF32Type());
    Value sx = e.splat(scale, e.f32s()), scaledSum;
    if (layout.hasMinimum()) {
      Value sum;
      if (layout.piece == 32) {
        sum = load32(units[t], kActScaledSums + 4 * group, e.getF32Type());
      } else {
        Value negated = e.toFloat(load32(units[t], kActSums16 + 4 * piece, e.getI32Type()));
        sum = e.negf(e.mulf(scale, negated));
      }
      scaledSum = e.splat(sum, e.f32s());
    }
    for (unsigned r = 0; r < panels; ++r) {
      Value dot = dots[(t * panels + r) * chains];
      if (chains == 2)
        dot = e.createOrFold<arith::AddIOp>(dot, dots[(t * panels + r) * chains + 1]);
      Value &sum = sums[t * panels + r];
      sum = e.fma(e.mulf(scales[r].first, sx), e.toFloat(dot), sum);
      if (layout.hasMinimum()) {
        Value minimum = layout.minimumAdded ? scales[r].second : e.negf(scales[r].second);
        sum = e.fma(minimum, scaledSum, sum);
      }
    }
  }
}

void MatmulEmitter::foldSubunit(MutableArrayRef<PanelReader> readers, ArrayRef<Value> units,
                                ArrayRef<PanelReader::Super> supers, MutableArrayRef<Value> sums) {
  for (unsigned piece = 0; piece < kSubunit / layout.piece; ++piece)
    foldPiece(readers, units, supers, sums, piece);
}

Emitter::Values MatmulEmitter::fold(ArrayRef<Value> rows, ArrayRef<Value> activations) {
  unsigned panels = rows.size(), elements = panels * activations.size();
  bool streams = elements == 1;
  auto makeReaders = [&](Value subunit) {
    std::vector<PanelReader> readers;
    for (unsigned r = 0; r < panels; ++r) {
      readers.emplace_back(e, layout, Value(), streams ? target.prefetchBytes : 0);
      Value header = layout.scale == ScaleLayout::SixBits ? e.i64(kLineBytes) : headerBytes();
      Value base = layout.hasSuperBlocks() && layout.scale != ScaleLayout::BytesAndHalf ? e.at(rows[r], header)
                                                                                       : rows[r];
      readers.back().beginSubunit(e.at(base, e.mul(subunit, layout.subunitBytes())));
      if (streams)
        readers.back().loadHighLines();
    }
    return readers;
  };
  auto unitsAt = [&](Value subunit) {
    llvm::SmallVector<Value> units;
    for (Value row : activations)
      units.push_back(e.at(row, e.mul(subunit, kActUnitBytes)));
    return units;
  };
  Emitter::Values zeros(elements, e.real(e.f32s(), 0));
  Value subunits = e.div(k, kSubunit), one = e.i64(1);
  if (!layout.hasSuperBlocks())
    return e.loop(e.i64(0), subunits, one, zeros, [&](Value subunit, ValueRange carried) {
      Emitter::Values sums(carried);
      auto readers = makeReaders(subunit);
      foldSubunit(readers, unitsAt(subunit), {}, sums);
      return sums;
    });

  // Super-blocks of four sub-units. The six-bit layout gathers the next super-block's scales on the way.
  bool six = layout.scale == ScaleLayout::SixBits;
  Emitter::Values init = zeros;
  if (six)
    for (Value row : rows)
      init.push_back(PanelReader(e, layout).loadFirstPair(row));
  Emitter::Values results = e.loop(e.i64(0), e.div(subunits, 4), one, init, [&](Value block, ValueRange carried) {
    llvm::SmallVector<PanelReader::Super> supers;
    for (unsigned r = 0; r < panels; ++r) {
      PanelReader reader(e, layout);
      supers.push_back(six ? reader.splitPair(carried[elements + r]) : reader.loadSuper(rows[r], block));
    }
    Value first = e.mul(block, 4);
    return e.loop(first, e.add(first, 4), one, carried, [&](Value subunit, ValueRange inner) {
      Emitter::Values next(inner);
      auto readers = makeReaders(subunit);
      foldSubunit(readers, unitsAt(subunit), supers, MutableArrayRef<Value>(next).take_front(elements));
      if (six)
        for (unsigned r = 0; r < panels; ++r)
          next[elements + r] = readers[r].gatherPair(next[elements + r]);
      return next;
    });
  });
  results.resize(elements);
  return results;
}

/// Float weights: four partial sums by k mod 4, each in ascending order, then (p0 + p1) + (p2 + p3).
Emitter::Values MatmulEmitter::foldFloats(ArrayRef<Value> rows, ArrayRef<Value> activations) {
  unsigned panels = rows.size(), elements = panels * activations.size();
  int64_t lineBytes = kPanelRows * layout.floatBytes;
  Type element = layout.floatBytes == 4 ? Type(e.getF32Type())
                 : layout.bfloat       ? Type(e.getBF16Type())
                                       : Type(e.getF16Type());
  Emitter::Values zeros(elements * 4, e.real(e.f32s(), 0));
  Emitter::Values partials = e.loop(e.i64(0), k, e.i64(4), zeros, [&](Value at, ValueRange carried) {
    Emitter::Values sums(carried);
    for (unsigned j = 0; j < 4; ++j) {
      llvm::SmallVector<Value> weights;
      for (Value row : rows) {
        Value line = e.at(row, e.add(e.mul(at, lineBytes), j * lineBytes));
        if (elements == 1 && target.prefetchBytes && j * lineBytes % kLineBytes == 0)
          e.prefetch(e.at(line, target.prefetchBytes));
        Value weight = e.load(e.vec(kPanelRows, element), line, unsigned(lineBytes));
        weights.push_back(layout.floatBytes == 4 ? weight : e.widen(weight));
      }
      for (unsigned t = 0; t < activations.size(); ++t) {
        Value scalar = e.load(e.getF32Type(), e.at(activations[t], e.add(e.mul(at, 4), 4 * j)), 4);
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
    results.push_back(e.addf(e.addf(partials[4 * i], partials[4 * i + 1]),
                             e.addf(partials[4 * i + 2], partials[4 * i + 3])));
  return results;
}

Value MatmulEmitter::headerBytes() {
  // The header is what the sub-units leave of a panel.
  return e.sub(panelBytes, e.mul(e.div(k, kSubunit), layout.subunitBytes()));
}

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
  func::FuncOp kernel =
      beginKernel(module, name, {ptr, ptr, i64, ptr, i64, ptr, i64, ptr, i64, i64, i64, i64});
  Emitter e(module.getLoc(), context);
  Block *entry = &kernel.getBody().front();
  e.setInsertionPointToEnd(entry);
  MatmulEmitter(e, layout, epilogue, target, entry).emit();
  func::ReturnOp::create(e);
  return kernel;
}
