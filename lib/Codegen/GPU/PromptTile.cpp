#include "PromptTile.h"

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

Value PromptTile::place(Emitter &e, Value row, Value piece, int64_t rowBytes) const {
  constexpr int64_t kBankBytes = 128, kPieces = kBankBytes / 16;
  int64_t rowsOfBanks = std::max<int64_t>(1, kBankBytes / rowBytes), pieces = std::min(kPieces, rowBytes / 16);
  Value turned = arith::XOrIOp::create(e, piece, e.rem(e.div(row, rowsOfBanks), e.i64(pieces)));
  if (rowBytes > kBankBytes)
    turned = arith::XOrIOp::create(e, turned, e.mul(e.div(piece, kPieces), kPieces / groups));
  return e.add(e.mul(row, rowBytes), e.mul(turned, 16));
}

Value PromptTile::rowScaleIndex(Emitter &e, Value row) const {
  int64_t warpRows = kWarpRows / segments; // of a segment
  Value segment = e.div(row, segmentRows()), inSegment = e.rem(row, e.i64(segmentRows()));
  Value warp = e.div(inSegment, warpRows);
  Value inWarp = e.rem(inSegment, e.i64(warpRows));
  Value sixteenRows = e.add(e.mul(e.div(inWarp, 16), segments), segment);
  Value pair = e.add(e.mul(e.rem(inWarp, e.i64(8)), 2), e.rem(e.div(inWarp, 8), e.i64(2)));
  return e.add(e.mul(warp, kWarpRows), e.add(e.mul(sixteenRows, 16), pair));
}

Value PromptTile::tokenScaleIndex(Emitter &e, Value token) {
  Value pair = e.div(e.rem(token, e.i64(8)), 2), eight = e.rem(e.div(token, 8), e.i64(2));
  Value place = e.add(e.mul(pair, 4), e.add(e.mul(eight, 2), e.rem(token, e.i64(2))));
  return e.add(e.mul(e.div(token, 16), 16), place);
}

Value PromptTile::filled(Emitter &e, Value number) const {
  int64_t ofQuarter = 8 / groups;
  Value inSixteen = e.rem(number, e.i64(16)), pairs = e.div(inSixteen, 2 * ofQuarter);
  Value upper = e.rem(e.div(inSixteen, ofQuarter), e.i64(2));
  Value place = e.add(e.add(e.mul(pairs, ofQuarter), e.rem(inSixteen, e.i64(ofQuarter))), e.mul(upper, 8));
  return e.add(e.mul(e.div(number, 16), 16), place);
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
  std::vector<Part> parts = {{&PromptMemory::weightCodes, tile.places * tile.weightCodeBytes()},
                             {&PromptMemory::tokenCodes, tile.places * tile.tokenParts * tile.tokenCodeBytes()}};
  if (!tile.halves) {
    parts.push_back({&PromptMemory::weightScales, 2 * tile.groups * tile.weightScaleBytes()});
    parts.push_back({&PromptMemory::tokenScales, 2 * tile.groups * tile.tokenScaleBytes()});
  }
  if (tile.minimums && !tile.halves) {
    parts.push_back({&PromptMemory::weightMinimums, 2 * tile.groups * tile.minimumBytes()});
    parts.push_back({&PromptMemory::tokenSums, 2 * tile.groups * tile.sumBytes()});
  }
  if (tile.rawPieces && tile.rawPlaces())
    parts.push_back({&PromptMemory::raw, tile.rawPlaces() * tile.rawBytes()});
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
