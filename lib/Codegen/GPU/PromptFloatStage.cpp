// Nothing is unpacked: 16 bytes at a time go from a row to where `ldmatrix` reads them.
#include "PromptFloatStage.h"

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

void FloatStage::begin(Value stage, Value place) {
  Eight eight = eightOf(stage);
  copyWeights(eight, place);
  for (int64_t part = 0; part < tile.tokenParts; ++part)
    copyTokens(eight, e.add(e.mul(place, tile.tokenParts), part), part);
}

/// What a stage reaches beyond the row are zeros, of both factors: nothing is read there.
FloatStage::Eight FloatStage::eightOf(Value stage) const {
  int64_t eights = shape.width / 8;
  Value wanted = e.add(e.mul(stage, pieces()), pieceOfThread());
  if (eights % pieces() == 0)
    return {wanted, Value()};
  Value isInRow = e.less(wanted, e.i64(eights));
  Value bytes = arith::SelectOp::create(e, isInRow, e.number(e.getI32Type(), 16), e.number(e.getI32Type(), 0));
  return {e.min(wanted, e.i64(eights - 1)), bytes};
}

/// Rows of a thread lie as far apart as the order of pieces needs to be the same (PromptTile::place).
void FloatStage::copyWeights(const Eight &eight, Value place) {
  Value start = e.add(e.mul(place, tile.weightCodeBytes()), tile.weightPlace(e, firstOfThread(), pieceOfThread()));
  for (int64_t more = 0; more < tile.rows; more += atOnce()) {
    Value row = e.add(operands.firstRow, e.add(firstOfThread(), more % tile.segmentRows()));
    if (!isWhole())
      row = e.min(row, e.i64(shape.rows() - 1));
    Value inWeight = e.mul(e.add(e.mul(row, shape.width / 8), eight.number), 16);
    Value from = e.at(operands.weights[more / tile.segmentRows()], inWeight);
    copy(from, e.at(memory.weightCodes, e.add(start, more * tile.weightRowBytes())), eight.bytes);
  }
}

/// `place` is the part's.
void FloatStage::copyTokens(const Eight &eight, Value place, int64_t part) {
  Value start = e.add(e.mul(place, tile.tokenCodeBytes()), tile.tokenPlace(e, firstOfThread(), pieceOfThread()));
  for (int64_t more = 0; more < tile.tokens; more += atOnce()) {
    Value row = e.add(e.mul(token(e.add(firstOfThread(), more)), tile.tokenParts), part);
    Value from = e.at(operands.codes, e.mul(e.add(e.mul(row, shape.width / 8), eight.number), 16));
    copy(from, e.at(memory.tokenCodes, e.add(start, more * tile.tokenRowBytes())), eight.bytes);
  }
}
