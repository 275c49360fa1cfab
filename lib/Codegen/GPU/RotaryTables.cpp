// The tables of cosines and sines, as weights beside the model's own. See Passes.td.
#include "Rotary.h"
#include "quern/Codegen/DeviceCode.h"
#include "quern/Codegen/Passes.h"

#include "mlir/IR/DialectResourceBlobManager.h"

#include <cstring>

namespace quern::codegen {
#define GEN_PASS_DEF_MAKEROTARYTABLES
#include "lib/Codegen/GPU/Passes.h.inc"
} // namespace quern::codegen

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

/// The factors of an op's frequencies; none where it has none.
static Result<std::vector<float>> readFactors(lm::RotaryAnglesOp op, const dq::SourceReader &file) {
  std::vector<float> factors;
  if (!op.getFactors())
    return factors;
  auto weight = op.getFactors().getDefiningOp<dq::WeightOp>();
  if (!weight)
    return fail("the factors of rotary frequencies are no weight");
  auto source = SymbolTable::lookupNearestSymbolFrom<dq::SourceOp>(weight, weight.getSourceAttr());
  std::vector<std::byte> room;
  auto bytes = source.readBytes(file, 0, source.getByteSize(), room);
  if (!bytes)
    return fail("weight '" + source.getSymName().str() + "': " + bytes.error().message);
  factors.resize(bytes->size() / sizeof(float));
  std::memcpy(factors.data(), bytes->data(), factors.size() * sizeof(float));
  return factors;
}

static dq::SourceOp addSource(OpBuilder &builder, Location loc, const std::vector<float> &table) {
  auto data = RankedTensorType::get(int64_t(table.size() * sizeof(float)), builder.getI8Type());
  ArrayRef<char> bytes(reinterpret_cast<const char *>(table.data()), table.size() * sizeof(float));
  auto blob = HeapAsmResourceBlob::allocateAndCopyWithAlign(bytes, alignof(float), /*dataIsMutable=*/false);
  auto resource = DenseResourceElementsAttr::get(data, "rotary_table", std::move(blob));
  auto type = RankedTensorType::get(int64_t(table.size()), builder.getF32Type());
  return dq::SourceOp::create(builder, loc, "rotary_table", type, resource);
}

Status codegen::makeRotaryTables(ModuleOp module, const dq::SourceReader &file, int64_t positions) {
  SymbolTable symbols(module);
  Status status;
  module.walk([&](lm::RotaryAnglesOp op) {
    auto factors = readFactors(op, file);
    if (!factors) {
      status = fail(factors.error().message);
      return WalkResult::interrupt();
    }
    int64_t headDim = op.getOut().getType().getDimSize(1);
    OpBuilder builder = OpBuilder::atBlockBegin(module.getBody());
    dq::SourceOp source =
        addSource(builder, op.getLoc(), makeRotaryTable(op.getTheta().convertToDouble(), *factors, headDim, positions));
    op->setAttr(kRotaryTable, FlatSymbolRefAttr::get(module.getContext(), symbols.insert(source)));
    return WalkResult::advance();
  });
  return status;
}

namespace {

struct MakeRotaryTables : codegen::impl::MakeRotaryTablesBase<MakeRotaryTables> {
  using MakeRotaryTablesBase::MakeRotaryTablesBase;

  void runOnOperation() override {
    auto noFile = [](int64_t, int64_t, int64_t, std::vector<std::byte> &) -> Result<std::span<const uint8_t>> {
      return fail("this pass reads no files");
    };
    if (Status made = makeRotaryTables(getOperation(), noFile, positions); !made) {
      getOperation().emitError(made.error().message);
      signalPassFailure();
    }
  }
};

} // namespace
