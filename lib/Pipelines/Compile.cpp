#include "Assembler.h"
#include "Compilation.h"
#include "quern/Codegen/MemoryPlan.h"
#include "quern/Codegen/Passes.h"
#include "quern/Import/Onnx/ImportOnnxGraph.h"
#include "quern/Import/Onnx/OnnxModel.h"
#include "quern/Import/Onnx/Passes.h"
#include "quern/Import/OpenModel.h"
#include "quern/Pipelines/Phases.h"
#include "quern/Transforms/Passes.h"

#include <algorithm>

using namespace quern;
using namespace quern::pipelines;

Compilation::Compilation(const CompileOptions &options, std::shared_ptr<import::OnnxFile> onnx)
    : options(options), phases(options, context), onnx(std::move(onnx)) {
  context.disableMultithreading();
  context.loadDialect<dq::DQDialect, lm::LMDialect>();
}

/// The ways from an ONNX file's own nodes to the model graph, which end phases of their own. False: stopped.
Result<bool> Compilation::raiseOnnx() {
  QUERN_ASSIGN(module, import::importOnnxGraph(context, onnx));
  QUERN_ASSIGN(bool stop, phases.endPhase("onnx", *import::withoutLargeConstants(*module)));
  if (stop)
    return false;
  QUERN_TRY(phases.run(*module, import::buildRaiseOnnxPipeline));
  QUERN_ASSIGN(stop, phases.endPhase("raise", *import::withoutLargeConstants(*module)));
  if (stop)
    return false;
  import::ConvertedOnnx converted;
  Status status =
      phases.run(*module, [&](mlir::OpPassManager &pm) { pm.addPass(import::createConvertOnnxToLM(converted)); });
  if (converted.error)
    return tl::unexpected(*converted.error);
  QUERN_TRY(status);
  file = std::move(converted.file);
  return true;
}

/// Opens and checks the input: formats, file, model, tokenizer. False: stopped where asked to.
Result<bool> Compilation::open() {
  for (const std::string &path : options.formatFiles)
    QUERN_TRY(context.getLoadedDialect<dq::DQDialect>()->getFormats().addFile(path));
  if (onnx) {
    QUERN_ASSIGN(bool whole, raiseOnnx());
    if (!whole)
      return false;
  } else {
    QUERN_ASSIGN(gguf::File opened, import::openModel(options.input, import::typeTable(context)));
    file.emplace(std::move(opened));
  }
  QUERN_ASSIGN(config, import::readModelConfig(*file));
  QUERN_TRY(import::checkNumbers(context, *file, options.threads));
  QUERN_ASSIGN(TokenizerSource source, import::readTokenizer(*file, config));
  chatTemplate = source.chatTemplate;
  auto built = buildTokenizer(source);
  if (!built)
    return fail("'" + options.input + "': " + built.error().message);
  tokenizer = *std::move(built);
  return true;
}

Result<bool> Compilation::runPhases() {
  if (!module)
    module = import::importModel(context, *file, config);
  QUERN_ASSIGN(bool stop, phases.endPhase("import", *module));
  if (const quantize::AssignmentChoice &choice = options.assignment; choice.given() && !stop)
    QUERN_TRY(phases.run(*module, [&](mlir::OpPassManager &pm) {
      pm.addPass(
          transforms::createAssignFormats({choice.mix, choice.recipe, choice.importance, choice.allowRequantize}));
    }));
  if (stop)
    return false;
  QUERN_TRY(phases.run(*module, buildQuantizePipeline));
  QUERN_TRY(phases.run(*module, [&](mlir::OpPassManager &pm) {
    pm.addPass(transforms::createLintMatmuls({.forbid = options.forbidSlowMatmul}));
  }));
  QUERN_ASSIGN(stop, phases.endPhase("quantize", *module));
  if (stop)
    return false;
  if (!targets.devices.empty()) {
    QUERN_ASSIGN(bool whole, planDevices());
    if (!whole && targets.cpu.empty())
      return false;
  }
  if (targets.cpu.empty())
    return true;
  using Build = void (*)(mlir::OpPassManager &);
  for (auto [name, build] : {std::pair<const char *, Build>("pack", buildPackPipeline),
                             std::pair<const char *, Build>("plan", buildPlanPipeline)}) {
    QUERN_TRY(phases.run(*module, build));
    QUERN_ASSIGN(stop, phases.endPhase(name, *module));
    if (stop)
      return false;
  }
  return true;
}

/// The op table as a list of records with the attribute's keys. `size` becomes the dynamic size's name.
static nlohmann::ordered_json describeOps(mlir::ArrayAttr table) {
  auto records = nlohmann::ordered_json::array();
  for (auto dictionary : table.getAsRange<mlir::DictionaryAttr>()) {
    nlohmann::ordered_json record;
    for (mlir::NamedAttribute field : dictionary) {
      if (auto text = mlir::dyn_cast<mlir::StringAttr>(field.getValue()))
        record[field.getName().str()] = text.getValue().str();
      else
        record[field.getName().str()] = mlir::cast<mlir::IntegerAttr>(field.getValue()).getInt();
    }
    record["size"] = dictionary.getAs<mlir::IntegerAttr>("size").getInt() == 0 ? "tokens" : "outputs";
    records.push_back(std::move(record));
  }
  return records;
}

Result<bool> Compilation::emitTarget(const codegen::Target &target) {
  mlir::OwningOpRef<mlir::ModuleOp> code(mlir::cast<mlir::ModuleOp>((*module)->clone()));
  QUERN_TRY(phases.run(*code, [&](mlir::OpPassManager &pm) { buildKernelsPipeline(pm, target); }));
  QUERN_ASSIGN(bool stop, phases.endPhase("kernels", *code, target.name));
  if (stop)
    return false;
  Emitted result{&target, {}, {}};
  result.ops.fill(nlohmann::ordered_json::array());
  for (auto function : code->getOps<mlir::func::FuncOp>()) {
    auto sizes = function->getAttrOfType<mlir::DenseI64ArrayAttr>(codegen::kArenaSizes);
    if (!sizes)
      continue;
    arenaSizes.assign(sizes.asArrayRef().begin(), sizes.asArrayRef().end());
    if (auto table = function->getAttrOfType<mlir::ArrayAttr>(codegen::kOpTable))
      for (codegen::CacheKind kind : codegen::kCacheKinds)
        if (function.getName() == std::string("step") + codegen::cacheKindSuffix(kind) + codegen::kProfiledSuffix)
          result.ops[size_t(kind)] = describeOps(table);
    int64_t perThread = function->getAttrOfType<mlir::IntegerAttr>(codegen::kArenaPerThread).getInt();
    arenaPerThread = std::max(arenaPerThread, perThread);
  }
  QUERN_TRY(phases.run(*code, [&](mlir::OpPassManager &pm) { buildLLVMPipeline(pm, target); }));
  QUERN_ASSIGN(stop, phases.endPhase("llvm", *code, target.name));
  if (stop)
    return false;
  QUERN_ASSIGN(std::vector<char> object, codegen::emitObject(*code, target));
  QUERN_ASSIGN(result.image, codegen::linkImage(object));
  emitted.push_back(std::move(result));
  return true;
}

/// True if a matmul reads bf16 weights.
static bool multipliesBfloats(mlir::ModuleOp module) {
  return module
      .walk([](dq::MatmulOp op) {
        auto rows = mlir::cast<mlir::RankedTensorType>(op.getX().getType());
        return rows.getElementType().isBF16() ? mlir::WalkResult::interrupt() : mlir::WalkResult::advance();
      })
      .wasInterrupted();
}

Result<bool> Compilation::emitTargets() {
  if (targets.allCpu && !multipliesBfloats(*module))
    std::erase_if(targets.cpu, [](const codegen::Target *target) { return target->bfloatDot; });
  double made = 0, all = double(targets.cpu.size() + targets.devices.size());
  for (const codegen::Target *target : targets.cpu) {
    report("generating code", made++ / all);
    QUERN_ASSIGN(bool whole, emitTarget(*target));
    if (!whole)
      return false;
  }
  for (const DeviceTarget &target : targets.devices) {
    report("generating code", made++ / all);
    QUERN_ASSIGN(bool whole, emitDevice(target));
    if (!whole)
      return false;
  }
  report("generating code", 1);
  return true;
}

Result<bool> Compilation::compile() {
  QUERN_ASSIGN(targets, chooseTargets(options.targets));
  QUERN_ASSIGN(assembler, findAssembler(options.ptxas));
  if (!options.stopAfter.empty() && std::ranges::find(phaseNames(), options.stopAfter) == phaseNames().end()) {
    std::string names;
    for (const std::string &name : phaseNames())
      names += (names.empty() ? "" : ", ") + name;
    return fail("there is no phase '" + options.stopAfter + "'; the phases are " + names);
  }
  if (!onnx && (options.stopAfter == "onnx" || options.stopAfter == "raise"))
    return fail("only ONNX files have the phase '" + options.stopAfter + "', and '" + options.input + "' is none");
  QUERN_ASSIGN(bool whole, open());
  if (!whole)
    return false;
  QUERN_ASSIGN(whole, runPhases());
  if (!whole)
    return false;
  return emitTargets();
}

Status pipelines::compileModel(const CompileOptions &options) {
  std::shared_ptr<import::OnnxFile> onnx;
  if (std::string name = import::onnxFileOf(options.input); !name.empty()) {
    QUERN_ASSIGN(import::OnnxFile opened, import::OnnxFile::open(name));
    if (!import::isOnnxLanguageModel(opened))
      return compileGraph(options, std::move(opened));
    onnx = std::make_shared<import::OnnxFile>(std::move(opened));
  }
  Compilation compilation(options, std::move(onnx));
  QUERN_ASSIGN(bool whole, compilation.compile());
  return whole ? compilation.write() : Status();
}
