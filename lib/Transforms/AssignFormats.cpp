// Weights get other element types, to be quantized when they are packed. See Passes.td.
#include "quern/Formats/ColumnOrder.h"
#include "quern/Quantize/Assignment.h"
#include "quern/Quantize/Importance.h"
#include "quern/Transforms/Names.h"
#include "quern/Transforms/Passes.h"
#include "quern/Transforms/StoredRows.h"

#include "mlir/IR/AsmState.h"
#include "mlir/IR/DialectResourceBlobManager.h"

namespace quern::transforms {
#define GEN_PASS_DEF_ASSIGNFORMATS
#include "lib/Transforms/Passes.h.inc"
} // namespace quern::transforms

using namespace mlir;
using namespace quern;

static std::vector<uint64_t> dimsOf(RankedTensorType type) {
  return {type.getShape().rbegin(), type.getShape().rend()};
}

/// What reads the weight takes f32, which blocks are dequantized to, or floats as they are stored.
static void retype(dq::WeightOp weight, Type element) {
  auto type = cast<RankedTensorType>(weight.getOut().getType()).clone(element);
  Value out = weight.getOut(), wide;
  out.setType(type);
  OpBuilder builder(weight->getContext());
  builder.setInsertionPointAfter(weight);
  for (OpOperand &use : llvm::make_early_inc_range(out.getUses())) {
    auto dequantize = dyn_cast<dq::DequantizeOp>(use.getOwner());
    if (isa<dq::BlockType>(element) && !dequantize) {
      if (!wide)
        wide = dq::DequantizeOp::create(builder, weight.getLoc(), type.clone(builder.getF32Type()), out);
      use.set(wide);
    } else if (!isa<dq::BlockType>(element) && dequantize) {
      dequantize.getOut().replaceAllUsesWith(out);
      dequantize.erase();
    }
  }
}

namespace {

struct AssignFormats : transforms::impl::AssignFormatsBase<AssignFormats> {
  using AssignFormatsBase::AssignFormatsBase;

  void runOnOperation() override {
    if (Status status = choose(); !status) {
      emitError(UnknownLoc::get(&getContext())) << status.error().message;
      return signalPassFailure();
    }
    for (auto [source, type] : llvm::zip_equal(sources, chosen))
      if (Status status = assign(source, type); !status) {
        source.emitError() << status.error().message;
        return signalPassFailure();
      }
    llvm::SmallVector<dq::WeightOp> weights; // first, as readers are erased
    getOperation().walk([&](dq::WeightOp weight) { weights.push_back(weight); });
    for (dq::WeightOp weight : weights)
      if (Type element = changed.lookup(weight.getSource()))
        retype(weight, element);
  }

private:
  dq::FormatRegistry &formats() { return getContext().getLoadedDialect<dq::DQDialect>()->getFormats(); }

  /// Fills `sources` and `chosen`.
  Status choose() {
    QUERN_ASSIGN(auto assignment, quantize::makeAssignment({mix, recipe, importance, allowRequantize}));
    if (!importance.empty()) {
      QUERN_ASSIGN(columns, quantize::Importance::read(importance));
    }
    std::vector<const formats::FormatSpec *> specs;
    for (dq::FormatAttr format : formats().list())
      specs.push_back(&format.getSpec());
    types.emplace(specs);
    std::vector<quantize::TensorShape> shapes;
    for (auto source : getOperation().getOps<dq::SourceOp>()) {
      sources.push_back(source);
      shapes.push_back({source.getSymName().str(), dimsOf(cast<RankedTensorType>(source.getType()))});
    }
    QUERN_ASSIGN(chosen, assignment->assign(shapes, *types, columns.has_value()));
    return {};
  }

  Type elementOf(const quantize::ElementType &type) {
    Builder builder(&getContext());
    if (type.spec)
      return dq::BlockType::get(&getContext(), formats().lookup(type.spec->name));
    return type.name == "F32"   ? builder.getF32Type()
           : type.name == "F16" ? builder.getF16Type()
                                : builder.getBF16Type();
  }

  Status assign(dq::SourceOp source, const quantize::ElementType *to) {
    auto type = cast<RankedTensorType>(source.getType());
    std::optional<quantize::ElementType> from = transforms::elementTypeOf(type.getElementType());
    if (!to || (from && from->name == to->name))
      return {};
    std::string quoted = "'" + source.getSymName().str() + "'"; // the location adds the name in the model's own file
    QUERN_TRY(quantize::checkChange(quoted, from ? &*from : nullptr, *to, allowRequantize));
    if (source.getStored())
      return fail("weight " + transforms::describe(source) + " has been given a type already");
    QUERN_TRY(quantize::RowConverter::create(*from, *to));
    Type element = elementOf(*to);
    source.setStoredAttr(TypeAttr::get(type));
    source.setTypeAttr(TypeAttr::get(type.clone(element)));
    changed[source.getSymName()] = element;
    ++assigned;
    return to->spec && columns ? setImportance(source) : Status();
  }

  Status setImportance(dq::SourceOp source) {
    int64_t count = source.getStoredType().getDimSize(1);
    QUERN_ASSIGN(const float *numbers, columns->find(source.getSymName().str(), uint64_t(count)));
    if (!numbers)
      return {};
    if (getOperation().lookupSymbol(formats::columnOrder(source.getSymName().str())))
      return fail("weight " + transforms::describe(source) + " has its columns in an order of their own, which an "
                  "importance matrix does not know; quantize without one");
    ArrayRef bytes(reinterpret_cast<const char *>(numbers), size_t(count) * sizeof(float));
    auto blob = HeapAsmResourceBlob::allocateAndCopyWithAlign(bytes, alignof(float), /*dataIsMutable=*/false);
    source.setImportanceAttr(DenseResourceElementsAttr::get(
        RankedTensorType::get({count}, Float32Type::get(&getContext())), source.getSymName(), std::move(blob)));
    return {};
  }

  std::optional<quantize::ElementTypes> types;
  std::optional<quantize::Importance> columns;
  std::vector<dq::SourceOp> sources;
  std::vector<const quantize::ElementType *> chosen; ///< for each source; null: it stays what it is
  llvm::StringMap<Type> changed;                     ///< new element types by symbol
};

} // namespace
