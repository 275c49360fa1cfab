// Tiles of block weights. For each piece of the fold (32 or 16 k) the integer dot products of all its codes are formed
// exactly, then folded as docs/numerics.md says. So the result of an element does not depend on the shape of the tile.
#include "MatmulTile.h"
#include "PanelReader.h"
#include "dialects/DQ/DQ.h"
#include "quern/Codegen/ActivationLayout.h"

#include <array>
#include <bit>

using namespace mlir;
using namespace quern::codegen;

namespace {

/// Tokens of a tile of one panel whose sums are formed together: enough to hide the latency of a product, few enough to
/// stay in registers beside the codes of a group and, for pieces of 16, the first half of each token's sum.
unsigned tokensTogether(const PanelLayout &layout) { return layout.piece == 16 ? 3 : 4; }

/// Where a group of 32 activations of a token lies: its codes, and its numbers as distances from `numbers`.
struct ActGroup {
  Value codes, numbers, sums16;
};

/// What has been made of a panel's group so far: the codes of its k-lines and the scales of its pieces.
struct Unpacked {
  std::array<Value, 16> codes; ///< of each k-line, a digit after the other
  std::array<std::pair<Value, Value>, 2> scales;
};

/// What a fold has reached: the sum of each element, and what its group's first piece of 16 adds to it, not yet times
/// the activations' scale.
struct Folded {
  llvm::MutableArrayRef<Value> sums, firstHalves;
};

class BlockFold {
public:
  BlockFold(Emitter &e, const MatmulTile &tile) : e(e), tile(tile), layout(tile.layout) {}

  Emitter::Values run();

private:
  using Supers = llvm::ArrayRef<PanelReader::Super>;
  using Readers = std::vector<PanelReader>;
  using Groups = llvm::MutableArrayRef<Unpacked>;

  /// One or two elements stream, the loop over their groups unrolled, lines in ascending order; a larger tile loops
  /// over the two groups of a sub-unit, which keeps LLVM from holding the accumulators of both.
  bool streams() const { return tile.elements() <= 2; }
  /// Few elements take two chains of dots, for latency; integers add exactly, in any order.
  unsigned chains() const { return layout.piece == 32 && layout.digits() == 1 && tile.elements() < 4 ? 2 : 1; }
  /// Sums of a piece: one for each chain, or for each digit.
  unsigned parts() const { return chains() * layout.digits(); }

  Emitter::Values overSubunits(Value first, Value end, ValueRange init, Supers supers);
  Emitter::Values foldSubunit(Value subunit, ValueRange carried, Supers supers);
  Readers readersAt(Value subunit);
  ActGroup actGroup(Value unit, Value group);
  void foldGroup(Readers &readers, ArrayRef<ActGroup> acts, Supers supers, MutableArrayRef<Value> sums);
  llvm::SmallVector<Value> dotPiece(Readers &readers, Groups groups, ArrayRef<ActGroup> acts, unsigned piece);
  Value startOfDot(const ActGroup &act, unsigned piece, unsigned chain);
  Value sumOfParts(ArrayRef<Value> dots);
  void scalePiece(Readers &readers, Groups groups, ArrayRef<ActGroup> acts, Supers supers, ArrayRef<Value> dots,
                  Folded folded, unsigned piece);
  void foldDot(Value dot, Value rowScale, Value d, Folded folded, unsigned element, unsigned piece);
  Value scaledSum(const ActGroup &act, Value scale, unsigned piece);

  Value load32(Value at, int64_t offset, Type type) { return e.load(type, e.at(at, offset), 4); }
  bool asSigned() const { return tile.signedCodes && layout.hasSignedForm(); }
  bool six() const { return layout.scale == ScaleLayout::SixBits; }

  Emitter &e;
  const MatmulTile &tile;
  const PanelLayout &layout;
  Value zeroShift; ///< bits of a shift that multiplies by the zero point, where a tile has it in a register
};

} // namespace

ActGroup BlockFold::actGroup(Value unit, Value group) {
  return {e.at(unit, e.mul(group, 32)), e.at(unit, e.mul(group, 4)), e.at(unit, e.mul(group, 8))};
}

/// -zero * (sum of the codes that this chain multiplies).
Value BlockFold::startOfDot(const ActGroup &act, unsigned piece, unsigned chain) {
  if (layout.zero == 0 || asSigned())
    return e.number(e.i32s(), 0);
  Value sum = layout.piece == 16 || chains() == 2
                  ? load32(act.sums16, kActSums16 + 4 * (layout.piece == 16 ? piece : chain), e.getI32Type())
                  : load32(act.numbers, kActSums32, e.getI32Type());
  Value starts = e.splat(sum, e.i32s());
  return zeroShift ? arith::ShLIOp::create(e, starts, zeroShift).getResult()
                   : e.shiftLeft(starts, std::countr_zero(layout.zero));
}

/// The exact dot products of piece `piece` of a group: [(token * panels + panel) * parts + chain or digit].
llvm::SmallVector<Value> BlockFold::dotPiece(Readers &readers, Groups groups, ArrayRef<ActGroup> acts, unsigned piece) {
  unsigned panels = readers.size(), lines = layout.piece / 4;
  llvm::SmallVector<Value> dots;
  for (const ActGroup &act : acts) {
    llvm::SmallVector<Value> starts;
    for (unsigned part = 0; part < parts(); ++part)
      starts.push_back(startOfDot(act, piece, part));
    for (unsigned r = 0; r < panels; ++r)
      dots.append(starts);
  }
  for (unsigned i = 0; i < lines; ++i) {
    // Four-bit lines hold k-lines j and j + 4: taken together, so that a line is read and spent at once.
    unsigned local = layout.lowBits == 4 && lines == 8 ? i / 2 + i % 2 * 4 : i;
    unsigned line = piece * lines + local, digits = layout.digits(), chain = chains() == 2 ? local / 4 : 0;
    for (unsigned r = 0; r < panels; ++r)
      for (unsigned digit = 0; digit < digits; ++digit)
        if (Value &codes = groups[r].codes[line * digits + digit]; !codes)
          codes = readers[r].codes(line, asSigned(), digit);
    for (auto [t, act] : llvm::enumerate(acts)) {
      Value bytes = e.bitcast(e.splat(load32(act.codes, 4 * line, e.getI32Type()), e.i32s()), e.i8s());
      for (unsigned r = 0; r < panels; ++r)
        for (unsigned digit = 0; digit < digits; ++digit) {
          Value &dot = dots[(t * panels + r) * parts() + chain + digit];
          dot = quern::dq::DotOp::create(e, dot.getType(), dot, groups[r].codes[line * digits + digit], bytes,
                                         asSigned(), layout.largestCode(asSigned(), digit));
        }
    }
  }
  return dots;
}

Value BlockFold::sumOfParts(ArrayRef<Value> dots) {
  if (parts() == 1)
    return dots[0];
  Value more = layout.digitShift ? e.shiftLeft(dots[1], layout.digitShift) : dots[1];
  return e.createOrFold<arith::AddIOp>(dots[0], more);
}

/// d times the sum of the piece's codes.
Value BlockFold::scaledSum(const ActGroup &act, Value scale, unsigned piece) {
  Value sum = load32(act.numbers, kActScaledSums, e.getF32Type());
  if (layout.piece == 16)
    sum = e.negf(e.mulf(scale, e.toFloat(load32(act.sums16, kActSums16 + 4 * piece, e.getI32Type()))));
  return e.splat(sum, e.f32s());
}

/// Pieces of 16 without minimums take the activations' scale together: three operations in place of four for a group.
void BlockFold::foldDot(Value dot, Value rowScale, Value d, Folded folded, unsigned element, unsigned piece) {
  Value &sum = folded.sums[element];
  if (layout.piece == 32 || layout.hasMinimum())
    sum = e.fma(e.mulf(rowScale, d), dot, sum);
  else if (piece == 0)
    folded.firstHalves[element] = e.mulf(rowScale, dot);
  else
    sum = e.fma(d, e.fma(rowScale, dot, folded.firstHalves[element]), sum);
}

/// One step of the fold of each element.
void BlockFold::scalePiece(Readers &readers, Groups groups, ArrayRef<ActGroup> acts, Supers supers,
                           ArrayRef<Value> dots, Folded folded, unsigned piece) {
  unsigned panels = readers.size();
  for (unsigned r = 0; r < panels; ++r)
    if (!groups[r].scales[piece].first)
      groups[r].scales[piece] = readers[r].scales(piece, supers.empty() ? PanelReader::Super{} : supers[r]);
  for (auto [t, act] : llvm::enumerate(acts)) {
    Value scale = load32(act.numbers, kActScales, e.getF32Type()), d = e.splat(scale, e.f32s());
    Value codeSum = layout.hasMinimum() ? scaledSum(act, scale, piece) : Value();
    for (unsigned r = 0; r < panels; ++r) {
      unsigned element = t * panels + r;
      Value dot = sumOfParts(dots.slice(element * parts(), parts()));
      auto [rowScale, rowMinimum] = groups[r].scales[piece];
      foldDot(e.toFloat(dot), rowScale, d, folded, element, piece);
      if (layout.hasMinimum()) {
        Value minimum = layout.minimumAdded ? rowMinimum : e.negf(rowMinimum);
        folded.sums[element] = e.fma(minimum, codeSum, folded.sums[element]);
      }
    }
  }
}

void BlockFold::foldGroup(Readers &readers, ArrayRef<ActGroup> acts, Supers supers, MutableArrayRef<Value> sums) {
  unsigned panels = readers.size();
  llvm::SmallVector<Unpacked> groups(panels);
  // Two panels have too many codes to keep, so all their tokens go together.
  size_t together = panels == 1 ? tokensTogether(layout) : acts.size();
  for (size_t first = 0; first < acts.size(); first += together) {
    ArrayRef<ActGroup> some = acts.slice(first, std::min(together, acts.size() - first));
    llvm::SmallVector<Value> firstHalves(some.size() * panels);
    Folded folded{sums.slice(first * panels, firstHalves.size()), firstHalves};
    for (unsigned piece = 0; piece < 32 / layout.piece; ++piece)
      scalePiece(readers, groups, some, supers, dotPiece(readers, groups, some, piece), folded, piece);
  }
}

BlockFold::Readers BlockFold::readersAt(Value subunit) {
  Readers readers;
  for (Value panel : tile.panels) {
    readers.emplace_back(e, layout, Value(), tile.prefetch);
    // Super-block scales in a header come before the sub-units.
    bool header = layout.hasSuperBlocks() && layout.scale != ScaleLayout::BytesAndHalf;
    Value base = !header ? panel : six() ? e.at(panel, kLineBytes) : e.at(panel, tile.headerBytes);
    readers.back().beginSubunit(e.at(base, e.mul(subunit, layout.subunitBytes())));
    if (streams())
      readers.back().loadHighLines();
  }
  return readers;
}

/// `carried`: the sums, then the six-bit layout's pair of each panel.
Emitter::Values BlockFold::foldSubunit(Value subunit, ValueRange carried, Supers supers) {
  unsigned elements = tile.elements(), panels = tile.panels.size();
  Emitter::Values next(carried);
  Readers readers = readersAt(subunit);
  llvm::SmallVector<Value> units;
  for (Value row : tile.activations)
    units.push_back(e.at(row, e.mul(subunit, kActUnitBytes)));
  auto actsOf = [&](Value group) { return llvm::map_to_vector(units, [&](Value u) { return actGroup(u, group); }); };

  Emitter::Values sums(llvm::ArrayRef(next).take_front(elements)), words;
  if (layout.hasSuperBlocks())
    for (PanelReader &reader : readers)
      words.push_back(reader.firstWords());
  auto fold = [&](auto group, Value index, ArrayRef<Value> now, MutableArrayRef<Value> into) {
    for (unsigned r = 0; r < panels; ++r)
      readers[r].enterGroup(group, now.empty() ? Value() : now[r]);
    foldGroup(readers, actsOf(index), supers, into);
  };
  auto shifted = [&](ArrayRef<Value> now) {
    Emitter::Values later;
    for (auto [r, word] : llvm::enumerate(now))
      later.push_back(readers[r].nextWords(word));
    return later;
  };
  if (streams()) {
    fold(0u, e.i64(0), words, sums);
    fold(1u, e.i64(1), shifted(words), sums);
  } else {
    sums.append(words);
    sums = e.loop(e.i64(0), e.i64(2), e.i64(1), sums, [&](Value group, ValueRange inner) {
      Emitter::Values values(inner), now(llvm::ArrayRef(values).drop_front(elements));
      fold(group, group, now, MutableArrayRef<Value>(values).take_front(elements));
      values.truncate(elements);
      values.append(shifted(now));
      return values;
    });
  }
  std::copy_n(sums.begin(), elements, next.begin());
  if (six())
    for (unsigned r = 0; r < panels; ++r)
      next[elements + r] = readers[r].gatherPair(next[elements + r]);
  return next;
}

Emitter::Values BlockFold::overSubunits(Value first, Value end, ValueRange init, Supers supers) {
  return e.loop(first, end, e.i64(1), init,
                [&](Value subunit, ValueRange carried) { return foldSubunit(subunit, carried, supers); });
}

Emitter::Values BlockFold::run() {
  unsigned elements = tile.elements();
  Emitter::Values init(elements, e.real(e.f32s(), 0));
  // Were the number of bits known to LLVM, it would shift one number and then spread it: two operations for one.
  if (!streams() && layout.zero && tile.vectorBits == 512)
    zeroShift = e.opaque(e.number(e.i32s(), std::countr_zero(layout.zero)));
  Value subunits = e.div(tile.k, kSubunit);
  if (!layout.hasSuperBlocks())
    return overSubunits(e.i64(0), subunits, init, {});

  // Super-blocks of four sub-units. The six-bit layout gathers the next super-block's scales on the way.
  PanelReader reader(e, layout);
  if (six())
    for (Value panel : tile.panels)
      init.push_back(reader.loadFirstPair(panel));
  Emitter::Values results = e.loop(e.i64(0), e.div(subunits, 4), e.i64(1), init, [&](Value block, ValueRange carried) {
    llvm::SmallVector<PanelReader::Super> supers;
    for (auto [r, panel] : llvm::enumerate(tile.panels))
      supers.push_back(six() ? reader.splitPair(carried[elements + r]) : reader.loadSuper(panel, block));
    Value first = e.mul(block, 4);
    return overSubunits(first, e.add(first, 4), carried, supers);
  });
  results.resize(elements);
  return results;
}

Emitter::Values quern::codegen::foldBlocks(Emitter &e, const MatmulTile &tile) { return BlockFold(e, tile).run(); }
