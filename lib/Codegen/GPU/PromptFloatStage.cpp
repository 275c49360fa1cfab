// Nothing is unpacked: 16 bytes at a time go from a row to where `ldmatrix` reads them.
#include "PromptFloatStage.h"

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

void FloatStage::begin(Value stage, Value place) {
  Eight eight = eightOf(stage);
  Value bytes, all = e.number(e.getI32Type(), 16), none = e.number(e.getI32Type(), 0);
  if (eight.isInRow)
    bytes = arith::SelectOp::create(e, eight.isInRow, all, none);
  for (auto [from, to] : llvm::zip_equal(sourcesOf(eight), targetsOf(place)))
    copy(from, to, bytes);
}

Emitter::Values FloatStage::load(Value stage) {
  Eight eight = eightOf(stage);
  Value zeros = e.number(e.i32s(4), 0);
  Emitter::Values loaded;
  for (Value from : sourcesOf(eight)) {
    Value four = e.load(e.i32s(4), from, 16);
    loaded.push_back(eight.isInRow ? arith::SelectOp::create(e, eight.isInRow, four, zeros) : four);
  }
  return loaded;
}

void FloatStage::store(Value place, ValueRange loaded) {
  for (auto [four, to] : llvm::zip_equal(loaded, targetsOf(place)))
    e.store(four, to, 16);
}

/// What a stage reaches beyond the row are zeros, of both factors: nothing is taken from there.
FloatStage::Eight FloatStage::eightOf(Value stage) const {
  int64_t eights = shape.width / 8;
  Value wanted = e.add(e.mul(stage, pieces()), pieceOfThread());
  if (eights % pieces() == 0)
    return {wanted, Value()};
  return {e.min(wanted, e.i64(eights - 1)), e.less(wanted, e.i64(eights))};
}

Emitter::Values FloatStage::sourcesOf(const Eight &eight) const {
  Emitter::Values sources;
  auto add = [&](Value rows, Value row) {
    sources.push_back(e.at(rows, e.mul(e.add(e.mul(row, shape.width / 8), eight.number), 16)));
  };
  for (int64_t more = 0; more < tile.rows; more += atOnce()) {
    Value row = e.add(operands.firstRow, e.add(firstOfThread(), more % tile.segmentRows()));
    add(operands.weights[more / tile.segmentRows()], isWhole() ? row : e.min(row, e.i64(shape.rows() - 1)));
  }
  for (int64_t part = 0; part < tile.tokenParts; ++part)
    for (int64_t more = 0; more < tile.tokens; more += atOnce())
      add(operands.codes, e.add(e.mul(token(e.add(firstOfThread(), more)), tile.tokenParts), part));
  return sources;
}

/// Rows of a thread lie as far apart as the order of pieces needs to be the same (PromptTile::place).
Emitter::Values FloatStage::targetsOf(Value place) const {
  Emitter::Values targets;
  Value weights = e.add(e.mul(place, tile.weightCodeBytes()), tile.weightPlace(e, firstOfThread(), pieceOfThread()));
  for (int64_t more = 0; more < tile.rows; more += atOnce())
    targets.push_back(e.at(memory.weightCodes, e.add(weights, more * tile.weightRowBytes())));
  Value first = tile.tokenPlace(e, firstOfThread(), pieceOfThread());
  Value tokens = e.add(e.mul(place, tile.tokenParts * tile.tokenCodeBytes()), first);
  for (int64_t more = 0; more < tile.tokenParts * tile.tokens; more += atOnce())
    targets.push_back(e.at(memory.tokenCodes, e.add(tokens, more * tile.tokenRowBytes())));
  return targets;
}
