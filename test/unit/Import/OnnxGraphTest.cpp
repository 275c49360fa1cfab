// ONNX files as IR of their own nodes: odd ones, which must give IR that verifies, or an error.
#include "TestOnnx.h"
#include "dialects/Onnx/Onnx.h"
#include "lib/Import/Onnx/LanguageModel/Graph.h"
#include "quern/Import/Onnx/ImportOnnxGraph.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Parser/Parser.h"
#include <gtest/gtest.h>

using namespace quern;
using namespace quern::import;
using quern::import::test::OnnxModel;

namespace {

class OnnxGraph : public testing::Test {
protected:
  /// The function @graph of a model that can be read.
  mlir::func::FuncOp import(const OnnxModel &model) {
    auto file = model.read();
    EXPECT_TRUE(file) << file.error().message;
    auto made = importOnnxGraph(context, std::make_shared<OnnxFile>(*std::move(file)));
    EXPECT_TRUE(made) << made.error().message;
    module = *std::move(made);
    EXPECT_TRUE(mlir::succeeded(mlir::verify(*module)));
    return module->lookupSymbol<mlir::func::FuncOp>(onnxir::kGraphName);
  }

  mlir::MLIRContext context;
  mlir::OwningOpRef<mlir::ModuleOp> module;
};

TEST_F(OnnxGraph, LargeConstantsAreNotCopied) {
  OnnxModel model;
  model.input("x", {1, 32}).node("Add", {"x", "w"}, {"y"}).output("y", {1, 32});
  model.initializer("w", {32})->set_raw_data(std::string(128, '\1'));
  auto opened = model.read();
  ASSERT_TRUE(opened);
  auto file = std::make_shared<OnnxFile>(*std::move(opened));
  auto made = importOnnxGraph(context, file);
  ASSERT_TRUE(made) << made.error().message;
  auto function = (*made)->lookupSymbol<mlir::func::FuncOp>(onnxir::kGraphName);
  auto constant = *function.getOps<onnxir::ConstantOp>().begin();
  llvm::SmallVector<char> room;
  auto bytes = onnxir::rawBytes(constant.getValue(), room);
  ASSERT_TRUE(bytes);
  EXPECT_EQ(reinterpret_cast<const std::byte *>(bytes->data()), file->data(file->graph().initializer(0))->data());
  std::weak_ptr<OnnxFile> watched = file;
  file.reset();
  EXPECT_FALSE(watched.expired()) << "the context keeps the file";
}

TEST_F(OnnxGraph, SmallElementsArePackedAsInTheFile) {
  OnnxModel model;
  model.input("x", {3}).node("Identity", {"x"}, {"y"}).output("y", {3});
  model.initializer("codes", {3}, 21)->set_raw_data(std::string("\x21\x03", 2)); // UINT4
  model.initializer("flags", {2}, onnx::TensorProto::BOOL)->set_raw_data(std::string("\1\0", 2));
  for (onnxir::ConstantOp constant : import(model).getOps<onnxir::ConstantOp>()) {
    llvm::SmallVector<char> room;
    auto bytes = onnxir::rawBytes(constant.getValue(), room);
    ASSERT_TRUE(bytes);
    bool isCodes = constant.getType().getElementType().isUnsignedInteger(4);
    EXPECT_EQ(std::string(bytes->data(), bytes->size()), isCodes ? std::string("\x21\x03", 2) : std::string("\1\0", 2));
  }
}

TEST_F(OnnxGraph, AnOutputMayBeDescribedOtherwiseThanItIs) {
  OnnxModel model;
  model.input("x", {4}).output("y", {-1, -1});
  model.initializer("y", {4})->set_raw_data(std::string(16, '\0'));
  mlir::func::FuncOp function = import(model);
  EXPECT_TRUE(function.getResultAttr(0, onnxir::kNameAttr));
  EXPECT_FALSE(function.getResultAttr(0, onnxir::kDimsAttr));
}

TEST_F(OnnxGraph, AConstantWithAnotherOutputStaysANode) {
  OnnxModel model;
  model.input("x", {1}).node("Constant", {}, {"c", "d"}).node("Add", {"x", "d"}, {"y"}).output("y", {1});
  onnx::AttributeProto *value = model.graph->mutable_node(0)->add_attribute();
  value->set_name("value_float");
  value->set_type(onnx::AttributeProto::FLOAT);
  value->set_f(1);
  mlir::func::FuncOp function = import(model);
  EXPECT_TRUE(function.getOps<onnxir::ConstantOp>().empty());
  EXPECT_EQ((*function.getOps<onnxir::NodeOp>().begin()).getNumResults(), 2u);
}

/// The recogniser tells values apart by their names, also where IR names two alike, and one as another is renamed.
TEST_F(OnnxGraph, ValuesHaveNamesOfTheirOwn) {
  context.loadDialect<onnxir::OnnxDialect, mlir::func::FuncDialect>();
  module = mlir::parseSourceString<mlir::ModuleOp>(R"(
    func.func @graph(%x: tensor<4xf32> {onnx.name = "x"}) -> tensor<4xf32> {
      %a = onnx.node "Relu"(%x) to ["y"] : (tensor<4xf32>) -> tensor<4xf32>
      %b = onnx.node "Relu"(%a) to ["y%3"] : (tensor<4xf32>) -> tensor<4xf32>
      %c = onnx.node "Relu"(%b) to ["y"] : (tensor<4xf32>) -> tensor<4xf32>
      return %c : tensor<4xf32>
    })", &context);
  ASSERT_TRUE(module);
  language::Graph graph(*module->getOps<mlir::func::FuncOp>().begin());
  ASSERT_EQ(graph.nodes().size(), 3u);
  for (const language::GraphNode &node : graph.nodes())
    EXPECT_EQ(graph.producer(node.outputs[0]), &node);
}

} // namespace
