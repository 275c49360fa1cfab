#include "PromptTile.h"

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

Value PromptTile::codePlace(Emitter &e, Value row, Value sixteenth) const {
  constexpr int64_t kBankBytes = 128;
  Value turned = arith::XOrIOp::create(e, sixteenth, e.rem(e.div(row, kBankBytes / stage()), e.i64(sixteens())));
  return e.add(e.mul(row, stage()), e.mul(turned, 16));
}

Value PromptTile::rowScaleIndex(Emitter &e, Value row) const {
  int64_t warpRows = kWarpRows / segments; // of a segment
  Value segment = e.div(row, segmentRows()), inSegment = e.rem(row, e.i64(segmentRows()));
  Value warp = e.div(inSegment, warpRows);
  Value inWarp = e.add(e.mul(segment, warpRows), e.rem(inSegment, e.i64(warpRows)));
  Value place = e.add(e.mul(e.rem(inWarp, e.i64(8)), kWarpRows / 8), e.div(inWarp, 8));
  return e.add(e.mul(warp, kWarpRows), place);
}

Value PromptTile::tokenScaleIndex(Emitter &e, Value token) {
  Value warp = e.div(token, kWarpTokens), inWarp = e.rem(token, e.i64(kWarpTokens));
  Value pair = e.div(e.rem(inWarp, e.i64(8)), 2), eight = e.div(inWarp, 8);
  Value place = e.add(e.mul(pair, kWarpTokens / 4), e.add(e.mul(eight, 2), e.rem(inWarp, e.i64(2))));
  return e.add(e.mul(warp, kWarpTokens), place);
}

Value PromptTile::warpRow(Emitter &e, Value warp, int64_t sixteenRows) const {
  Value inSegment = e.add(e.mul(warp, kWarpRows / segments), rowInSegment(sixteenRows));
  return e.add(inSegment, segmentOf(sixteenRows) * segmentRows());
}

struct PromptMemory::Part {
  Value PromptMemory::*pointer;
  int64_t bytes;
};

std::vector<PromptMemory::Part> PromptMemory::parts(const PromptTile &tile) {
  std::vector<Part> parts = {{&PromptMemory::weightCodes, 2 * tile.weightCodeBytes()},
                             {&PromptMemory::tokenCodes, 2 * tile.tokenCodeBytes()},
                             {&PromptMemory::weightScales, 2 * tile.weightScaleBytes()},
                             {&PromptMemory::tokenScales, 2 * tile.tokenScaleBytes()}};
  if (tile.minimums) {
    parts.push_back({&PromptMemory::weightMinimums, 2 * tile.minimumBytes()});
    parts.push_back({&PromptMemory::tokenSums, 2 * tile.sumBytes()});
  }
  if (tile.rawPlanes)
    parts.push_back({&PromptMemory::raw, tile.rawPlanes * PromptTile::kThreads * 16});
  return parts;
}

int64_t PromptMemory::bytes(const PromptTile &tile) {
  int64_t total = 0;
  for (const Part &part : parts(tile))
    total += part.bytes;
  return total;
}

PromptMemory::PromptMemory(Emitter &e, const PromptTile &tile, Value start) {
  for (const Part &part : parts(tile)) {
    this->*part.pointer = start;
    start = e.at(start, part.bytes);
  }
}
