#include "PromptHalfProduct.h"

#include "ByteProducts.h"
#include "HalfProducts.h"

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

void HalfProduct::add(Value place, int64_t chunk, Emitter::Values &sums) {
  const PromptTile &tile = block.tile;
  int64_t rows = chunk % tile.sixteenRows();
  Value piece = e.mul(e.add(e.mul(block.lanes.share, tile.steps()), chunk / tile.sixteenRows()), 2);
  if (rows == 0) {
    tokens.clear();
    for (int64_t part = 0; part < tile.tokenParts; ++part) {
      Value ofPart = e.add(e.mul(place, tile.tokenParts), part);
      for (int64_t from = 0; from < tile.warpTokens; from += 16)
        tokens.append(loadMatrices(e, block.lanes.placeOfTokens(ofPart, piece, from), /*transposed=*/false));
    }
  }
  Emitter::Values fragment = loadMatrices(e, block.lanes.placeOfRows(place, piece, rows), /*transposed=*/false);
  bool bfloat = block.shape.takes() == RowKind::BFloat;
  size_t eights = size_t(tile.eightTokens());
  for (size_t number = 0; number < tokens.size() / 2; ++number) {
    MutableArrayRef<Value> own = block.lanes.sumsOf(sums, rows).slice(4 * (number % eights), 4);
    ValueRange ofTokens = ValueRange(tokens).slice(2 * number, 2);
    llvm::copy(bfloat ? emitBfloatProduct(e, fragment, ofTokens, Emitter::Values(own))
                      : emitHalfProduct(e, block.target, fragment, ofTokens, Emitter::Values(own)),
               own.begin());
  }
}
