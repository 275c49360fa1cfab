#include "PromptLanes.h"

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

PromptLanes::PromptLanes(Emitter &e, const PromptTile &tile, const PromptMemory &memory, Value thread)
    : lane(e.rem(thread, e.i64(32))), e(e), tile(tile), memory(memory) {
  Value warp = e.div(thread, 32), part = e.rem(warp, e.i64(tile.parts()));
  share = tile.split() == 1 ? e.i64(0) : e.div(warp, tile.parts());
  warpRow = e.div(part, tile.warpsOfTokens());
  warpToken = e.rem(part, e.i64(tile.warpsOfTokens()));
  rowOfLane = e.div(lane, 4);
  tokenOfLane = e.mul(e.rem(lane, e.i64(4)), 2);
}

MutableArrayRef<Value> PromptLanes::sumsOf(MutableArrayRef<Value> sums, int64_t sixteenRows) const {
  return sums.slice(size_t(sixteenRows * tile.eightTokens() * 4), size_t(tile.eightTokens() * 4));
}

Value PromptLanes::placeOfRows(Value buffer, Value piece, int64_t sixteenRows) const {
  Value row = e.add(tile.warpRow(e, warpRow, sixteenRows), e.rem(lane, e.i64(16)));
  Value place = tile.weightPlace(e, row, e.add(e.div(lane, 16), piece));
  return e.at(memory.weightCodes, e.add(e.mul(buffer, tile.weightCodeBytes()), place));
}

Value PromptLanes::placeOfTokens(Value buffer, Value piece, int64_t from) const {
  Value ofSixteen = e.add(e.mul(e.div(lane, 16), 8), e.rem(lane, e.i64(8)));
  Value token = e.add(e.mul(warpToken, tile.warpTokens), e.add(ofSixteen, from));
  Value place = tile.tokenPlace(e, token, e.add(e.rem(e.div(lane, 8), e.i64(2)), piece));
  return e.at(memory.tokenCodes, e.add(e.mul(buffer, tile.tokenCodeBytes()), place));
}
