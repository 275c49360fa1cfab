#include "Graph.h"

#include "dialects/Onnx/Onnx.h"

#include "mlir/IR/Builders.h"

using namespace quern;
using namespace quern::import;
using quern::onnxir::NodeOp;

namespace {
/// Makes the nodes that one is split into, at its place and under its name.
class Splitter {
public:
  explicit Splitter(NodeOp node) : node(node), builder(node) {}
  void split();

private:
  mlir::Value input(size_t i) {
    bool isThere = i < node.getInputs().size() && !mlir::isa<mlir::NoneType>(node.getInputs()[i].getType());
    return isThere ? node.getInputs()[i] : mlir::Value();
  }
  /// The name of output `i`, empty if it is left out.
  std::string output(size_t i) {
    auto names = node.getOutputsAttr();
    return names && i < names.size() ? mlir::cast<mlir::StringAttr>(names[i]).str() : "";
  }
  mlir::Value make(const char *op, mlir::ValueRange inputs, mlir::Type type, const std::string &name,
                   mlir::DictionaryAttr attributes = {});

  NodeOp node;
  mlir::OpBuilder builder;
};
} // namespace

mlir::Value Splitter::make(const char *op, mlir::ValueRange inputs, mlir::Type type, const std::string &name,
                           mlir::DictionaryAttr attributes) {
  auto made = NodeOp::create(builder, node.getLoc(), type, builder.getStringAttr(op), mlir::StringAttr(), inputs,
                             attributes, builder.getStrArrayAttr({name}), node.getOpTypeAttr());
  return made.getResult(0);
}

void Splitter::split() {
  auto wants = [&](unsigned i) { return i < node.getNumResults() && !node.getResult(i).use_empty(); };
  if (!input(0) || !input(1) || !input(2) || wants(1) || wants(2))
    return; // its mean and deviation have no place in a language model
  mlir::Type type = node.getResult(0).getType();
  mlir::Value skip = input(1);
  if (mlir::Value bias = input(3))
    skip = make("Add", {skip, bias}, type, output(0) + " (biased)");
  std::string name = output(3).empty() ? output(0) + " (sum)" : output(3);
  mlir::Value sum = make("Add", {input(0), skip}, node.getNumResults() > 3 ? node.getResult(3).getType() : type, name);
  mlir::NamedAttrList attributes(node.getNodeAttributesAttr());
  if (!attributes.get("epsilon")) // the fused operator has a default of its own
    attributes.set("epsilon", builder.getF32FloatAttr(1e-12f));
  mlir::Value normed = make("SimplifiedLayerNormalization", {sum, input(2)}, type, output(0),
                            attributes.getDictionary(builder.getContext()));
  node.getResult(0).replaceAllUsesWith(normed);
  if (node.getNumResults() > 3)
    node.getResult(3).replaceAllUsesWith(sum);
  node.erase();
}

void language::decompose(mlir::func::FuncOp function) {
  for (NodeOp node : llvm::make_early_inc_range(function.getOps<NodeOp>()))
    if (std::string op = node.getOperator();
        op == "com.microsoft.SkipSimplifiedLayerNormalization" || op == "SkipSimplifiedLayerNormalization")
      Splitter(node).split();
}
