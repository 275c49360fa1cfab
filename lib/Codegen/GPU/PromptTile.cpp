#include "PromptTile.h"

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

Value PromptTile::codePlace(Emitter &e, Value row, Value sixteenth) {
  Value turned = arith::XOrIOp::create(e, sixteenth, e.rem(e.div(row, 2), e.i64(kSixteens)));
  return e.add(e.mul(row, kStage), e.mul(turned, 16));
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

/// A pointer to the shared memory that the launch asks for, aligned to 16; the module has one variable for it.
static Value dynamicSharedMemory(Emitter &e) {
  constexpr unsigned kWorkgroup = 3;
  constexpr StringLiteral name = "dynamic_shared_memory";
  auto module = e.getInsertionBlock()->getParentOp()->getParentOfType<gpu::GPUModuleOp>();
  if (!module.lookupSymbol(name)) {
    OpBuilder::InsertionGuard guard(e);
    e.setInsertionPointToStart(module.getBody());
    LLVM::GlobalOp::create(e, LLVM::LLVMArrayType::get(e.getI8Type(), 0), /*isConstant=*/false, LLVM::Linkage::External,
                           name, /*value=*/Attribute(), /*alignment=*/16, kWorkgroup);
  }
  return LLVM::AddressOfOp::create(e, LLVM::LLVMPointerType::get(e.getContext(), kWorkgroup), name);
}

struct PromptMemory::Part {
  const char *name;
  Value PromptMemory::*pointer;
  int64_t bytes;
};

std::vector<PromptMemory::Part> PromptMemory::parts(const PromptTile &tile) {
  std::vector<Part> parts = {{"weights", &PromptMemory::weightCodes, 2 * PromptTile::kCodeBytes},
                             {"tokens", &PromptMemory::tokenCodes, 2 * PromptTile::kCodeBytes},
                             {"weight_scales", &PromptMemory::weightScales, 2 * tile.weightScaleBytes()},
                             {"token_scales", &PromptMemory::tokenScales, 2 * PromptTile::kTokenScaleBytes}};
  if (tile.minimums) {
    parts.push_back({"minimums", &PromptMemory::weightMinimums, 2 * tile.minimumBytes()});
    parts.push_back({"sums", &PromptMemory::tokenSums, 2 * tile.sumBytes()});
  }
  if (tile.rawPlanes)
    parts.push_back({"packed", &PromptMemory::raw, tile.rawPlanes * PromptTile::kThreads * 16});
  return parts;
}

int64_t PromptMemory::dynamicBytes(const PromptTile &tile) {
  int64_t mostDeclared = tile.tensorCores ? 48 << 10 : INT64_MAX;
  int64_t total = 0;
  for (const Part &part : parts(tile))
    total += part.bytes;
  return total <= mostDeclared ? 0 : total;
}

PromptMemory::PromptMemory(Emitter &e, const PromptTile &tile) {
  bool declared = dynamicBytes(tile) == 0;
  Value next = declared ? Value() : dynamicSharedMemory(e);
  for (const Part &part : parts(tile)) {
    this->*part.pointer = declared ? sharedMemory(e, part.name, part.bytes) : next;
    next = declared ? Value() : e.at(next, part.bytes);
  }
}
