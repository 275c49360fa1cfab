// The way of an ONNX graph that is no language model: import, buffers, then loops, LLVM and an image for each target.
#include "quern/Codegen/Graph.h"
#include "quern/Codegen/Image.h"
#include "quern/Import/Onnx/ImportOnnx.h"
#include "quern/Package/PackageFormat.h"
#include "quern/Package/PackageWriter.h"
#include "Compilation.h"

#include "mlir/Dialect/Arith/Transforms/BufferizableOpInterfaceImpl.h"
#include "mlir/Dialect/Bufferization/Transforms/FuncBufferizableOpInterfaceImpl.h"
#include "mlir/Dialect/ControlFlow/Transforms/BufferizableOpInterfaceImpl.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/Transforms/AllInterfaces.h"
#include "mlir/Dialect/SCF/Transforms/BufferizableOpInterfaceImpl.h"
#include "mlir/Dialect/Tensor/Transforms/BufferizableOpInterfaceImpl.h"

#include <algorithm>
#include <filesystem>

using namespace quern;
using namespace quern::pipelines;

/// Weights begin on multiples of this, as vector loads like it.
static constexpr int64_t kWeightAlignment = 64;

/// What bufferization of the importer's dialects needs.
static mlir::DialectRegistry interfaces() {
  mlir::DialectRegistry registry;
  mlir::arith::registerBufferizableOpInterfaceExternalModels(registry);
  mlir::bufferization::func_ext::registerBufferizableOpInterfaceExternalModels(registry);
  mlir::cf::registerBufferizableOpInterfaceExternalModels(registry);
  mlir::linalg::registerAllDialectInterfaceImplementations(registry);
  mlir::scf::registerBufferizableOpInterfaceExternalModels(registry);
  mlir::tensor::registerBufferizableOpInterfaceExternalModels(registry);
  return registry;
}

namespace {
class GraphCompilation {
public:
  GraphCompilation(const CompileOptions &options, import::OnnxFile file)
      : options(options), context(interfaces(), mlir::MLIRContext::Threading::DISABLED), runner(options, context),
        file(std::move(file)) {}
  /// False: stopped where asked to.
  Result<bool> compile();
  Status write();

private:
  Status describeArguments();
  Result<bool> emitTarget(const codegen::Target &target);

  const CompileOptions &options;
  mlir::MLIRContext context;
  PhaseRunner runner;
  import::OnnxFile file;
  import::OnnxGraph graph;
  std::vector<int64_t> offsets; ///< of the weights
  int64_t weightBytes = 0;
  struct Emitted {
    const codegen::Target *target;
    codegen::CodeImage image;
  };
  std::vector<Emitted> emitted;
};
} // namespace

/// Says of each argument where the runtime finds it.
Status GraphCompilation::describeArguments() {
  auto function = graph.module->lookupSymbol<mlir::func::FuncOp>(import::kGraphName);
  mlir::Builder b(function.getContext());
  unsigned index = 0;
  for (const Manifest::Tensor &input : graph.inputs) {
    llvm::SmallVector<int64_t> sizes;
    for (const Manifest::Dimension &dimension : input.shape)
      sizes.push_back(dimension.value >= 0 ? -1 : std::ranges::find(graph.sizes, dimension.size) - graph.sizes.begin());
    function.setArgAttr(index, codegen::kGraphBuffer, b.getI64IntegerAttr(index));
    function.setArgAttr(index++, codegen::kGraphSizes, b.getDenseI64ArrayAttr(sizes));
  }
  for (const onnx::TensorProto *weight : graph.weights) {
    QUERN_ASSIGN(std::span<const std::byte> bytes, file.data(*weight));
    offsets.push_back(weightBytes);
    function.setArgAttr(index, codegen::kGraphWeight, b.getI64IntegerAttr(weightBytes));
    llvm::SmallVector<int64_t> sizes(size_t(weight->dims_size()), -1);
    function.setArgAttr(index++, codegen::kGraphSizes, b.getDenseI64ArrayAttr(sizes));
    weightBytes = (weightBytes + int64_t(bytes.size()) + kWeightAlignment - 1) / kWeightAlignment * kWeightAlignment;
  }
  return {};
}

Result<bool> GraphCompilation::emitTarget(const codegen::Target &target) {
  mlir::OwningOpRef<mlir::ModuleOp> code(mlir::cast<mlir::ModuleOp>((*graph.module)->clone()));
  QUERN_TRY(runner.run(*code, [&](mlir::OpPassManager &pm) { codegen::buildGraphLLVMPipeline(pm, target); }));
  QUERN_ASSIGN(bool stop, runner.endPhase("llvm", *code, target.name));
  if (stop)
    return false;
  QUERN_ASSIGN(std::vector<char> object, codegen::emitObject(*code, target, /*vectorize=*/true));
  QUERN_ASSIGN(codegen::CodeImage image, codegen::linkImage(object));
  emitted.push_back({&target, std::move(image)});
  return true;
}

Result<bool> GraphCompilation::compile() {
  if (options.assignment.given())
    return fail("--quant and --recipe are for language models, which '" + file.path() + "' is not");
  if (!options.formatFiles.empty() || options.forbidSlowMatmul)
    return fail("'" + file.path() + "': --format and --forbid-slow-matmul are for quantized language models");
  QUERN_ASSIGN(TargetChoice targets, chooseTargets(options.targets));
  if (!targets.devices.empty())
    return fail("'" + file.path() + "': there is code for GPUs of language models only; leave out --target " +
                deviceName(*targets.devices.front().code));
  static const std::vector<std::string> phases = {"import", "buffers", "loops", "llvm"};
  if (!options.stopAfter.empty() && std::ranges::find(phases, options.stopAfter) == phases.end())
    return fail("an ONNX graph has no phase '" + options.stopAfter + "'; its phases are import, buffers, loops, llvm");
  QUERN_ASSIGN(graph, import::importOnnx(context, file));
  QUERN_TRY(runner.verify(*graph.module));
  QUERN_TRY(describeArguments());
  QUERN_ASSIGN(bool stop, runner.endPhase("import", *graph.module));
  using Build = void (*)(mlir::OpPassManager &);
  for (auto [name, build] : {std::pair<const char *, Build>("buffers", codegen::buildGraphBuffersPipeline),
                             std::pair<const char *, Build>("loops", codegen::buildGraphLoopsPipeline)}) {
    if (stop)
      return false;
    QUERN_TRY(runner.run(*graph.module, build));
    QUERN_ASSIGN(stop, runner.endPhase(name, *graph.module));
  }
  if (stop)
    return false;
  for (const codegen::Target *target : targets.cpu) {
    // Graphs have no dot products of bf16 pairs: code for them would be that of another target again.
    if (targets.allCpu && target->bfloatDot)
      continue;
    QUERN_ASSIGN(bool whole, emitTarget(*target));
    if (!whole)
      return false;
  }
  return true;
}

Status GraphCompilation::write() {
  Manifest manifest;
  manifest.producer = "quern 0.1.0";
  manifest.model.kind = "graph";
  manifest.model.name = file.graph().name().empty() ? std::filesystem::path(file.path()).stem().string()
                                                     : file.graph().name();
  manifest.sizes = graph.sizes;
  manifest.inputs = graph.inputs;
  manifest.outputs = graph.outputs;
  manifest.arena.sizes.assign(graph.sizes.size(), 0);
  for (const onnx::TensorProto &tensor : file.graph().initializer())
    manifest.model.parameters += import::countElements({tensor.dims().data(), size_t(tensor.dims_size())}).value_or(0);
  for (const Emitted &code : emitted)
    manifest.code.push_back({code.target->name, package::kCodePrefix + code.target->name, code.target->required,
                             code.image.entries});
  QUERN_ASSIGN(package::PackageWriter writer, package::PackageWriter::create(options.output));
  QUERN_TRY(writer.addSection(package::kManifest, printManifest(manifest)));
  for (const Emitted &code : emitted)
    QUERN_TRY(writer.addSection(package::kCodePrefix + code.target->name, code.image.bytes));
  auto writeWeights = [&](package::PackageWriter::Region &region) -> Status {
    for (size_t i = 0; i < offsets.size(); ++i) {
      QUERN_ASSIGN(std::span<const std::byte> bytes, file.data(*graph.weights[i]));
      QUERN_TRY(region.writeAt(uint64_t(offsets[i]), {reinterpret_cast<const uint8_t *>(bytes.data()), bytes.size()}));
    }
    return {};
  };
  QUERN_TRY(writer.addRegion(package::kWeights, uint64_t(weightBytes), writeWeights));
  return writer.finish();
}

Status pipelines::compileGraph(const CompileOptions &options, import::OnnxFile file) {
  GraphCompilation compilation(options, std::move(file));
  QUERN_ASSIGN(bool whole, compilation.compile());
  return whole ? compilation.write() : Status();
}
