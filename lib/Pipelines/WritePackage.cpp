// What a compilation puts into the package: manifest, plan, tokenizer, code, weights.
#include "Compilation.h"
#include "quern/Codegen/CacheLayout.h"
#include "quern/Codegen/MemoryPlan.h"
#include "quern/Codegen/PackPlan.h"
#include "quern/Codegen/Passes.h"
#include "quern/Codegen/Spirv.h"
#include "quern/Package/PackageWriter.h"
#include "quern/Package/PackageFormat.h"

#include "nlohmann/json.hpp"

using namespace quern;
using namespace quern::pipelines;

static constexpr char kProducer[] = "quern 0.1.0";

static std::string cubinSection(const std::string &capability) { return package::kCubinPrefix + ("sm_" + capability); }

static Manifest::Tensor describeTensor(std::string name, std::string type, std::vector<Manifest::Dimension> shape) {
  return {std::move(name), std::move(type), std::move(shape)};
}

Manifest Compilation::describe() const {
  Manifest manifest;
  manifest.producer = kProducer;
  Manifest::Model &model = manifest.model;
  model.architecture = config.architecture;
  model.name = config.name;
  model.layers = config.layers;
  model.hidden = config.hidden;
  model.heads = config.heads;
  model.kvHeads = config.kvHeads;
  model.headDim = config.headDim;
  model.feedForward = config.feedForward;
  model.vocabulary = config.vocabulary;
  model.contextLength = config.contextLength;
  model.parameters = config.parameters;
  Manifest::Dimension tokens{-1, "tokens"}, outputs{-1, "outputs"}, vocabulary{config.vocabulary, ""};
  manifest.sizes = {"tokens", "outputs"};
  manifest.inputs = {describeTensor("token_ids", "i32", {tokens}), describeTensor("positions", "i32", {tokens}),
                     describeTensor("caches", "ptr", {tokens}), describeTensor("cache_capacities", "i64", {tokens}),
                     describeTensor("output_rows", "i32", {outputs})};
  manifest.outputs = {describeTensor("logits", "f32", {outputs, vocabulary})};
  manifest.arena = {0, arenaPerThread, arenaSizes.empty() ? std::vector<int64_t>(2) : arenaSizes};
  for (codegen::CacheKind kind : codegen::kCacheKinds) {
    codegen::CacheLayout layout{kind, config.kvHeads, config.headDim};
    int64_t keysAndValues = 2 * config.layers * config.kvHeads * layout.positionBytes();
    manifest.cache.types[codegen::cacheKindName(kind)] = keysAndValues;
  }
  manifest.cache.bytesPerPosition = manifest.cache.types["f16"];
  manifest.cache.granule = codegen::kKeyTile;
  for (const Emitted &code : emitted)
    manifest.code.push_back({code.target->name, package::kCodePrefix + code.target->name, code.target->required,
                             code.image.entries});
  for (const EmittedDevice &device : devices) {
    std::string name = deviceName(*device.target);
    const char *api = codegen::takesSpirv(*device.target) ? "opencl" : "cuda";
    manifest.devices.push_back({name, api, package::kDevicePrefix + name, package::kProgramPrefix + name, {}});
    for (const auto &machineCode : device.machineCode)
      manifest.devices.back().cubins[machineCode.first] = cubinSection(machineCode.first);
  }
  manifest.tokenizer.bos = tokenizer.bos;
  manifest.tokenizer.eos.assign(tokenizer.endOfGeneration.begin(), tokenizer.endOfGeneration.end());
  manifest.tokenizer.addBos = tokenizer.addBos;
  manifest.tokenizer.vocabulary = tokenizer.realTokens;
  manifest.chatTemplate = tokenizer.chatTemplate;
  manifest.generation = config.generation;
  return manifest;
}

static std::string nameOf(mlir::Type element) {
  if (auto block = mlir::dyn_cast<dq::BlockType>(element))
    return block.getFormat().getName().str();
  std::string name;
  llvm::raw_string_ostream(name) << element;
  return name;
}

/// Each weight of a packed module: what it is, and where it lies.
static nlohmann::ordered_json describeTensors(mlir::ModuleOp module, const char *matrixLayout) {
  nlohmann::ordered_json tensors;
  for (auto source : module.getOps<dq::SourceOp>()) {
    auto type = mlir::cast<mlir::RankedTensorType>(source.getType());
    auto attribute = [&](const char *name) { return source->getAttrOfType<mlir::IntegerAttr>(name).getInt(); };
    tensors.push_back({{"name", source.getSymName().str()},
                       {"format", nameOf(type.getElementType())},
                       {"shape", std::vector<int64_t>(type.getShape())},
                       {"stored_bytes", source.getTypeBytes()},
                       {"offset", attribute(codegen::kPackedOffset)},
                       {"bytes", attribute(codegen::kPackedBytes)},
                       {"layout", type.getRank() == 2 ? matrixLayout : "vector"}});
  }
  return tensors;
}

std::string Compilation::describePlan() const {
  nlohmann::ordered_json plan;
  auto moduleOf = [](const mlir::OwningOpRef<mlir::ModuleOp> &module) { // whose accessors are not const
    return const_cast<mlir::OwningOpRef<mlir::ModuleOp> &>(module).get();
  };
  if (!emitted.empty())
    plan["tensors"] = describeTensors(moduleOf(module), "panels of 16 rows");
  if (!devices.empty())
    plan["device_tensors"] = describeTensors(moduleOf(deviceModule), "planes of 16 bytes");
  for (const Emitted &code : emitted)
    for (codegen::CacheKind kind : codegen::kCacheKinds)
      plan["ops"][code.target->name + codegen::cacheKindSuffix(kind)] = code.ops.at(size_t(kind));
  for (const Emitted &code : emitted)
    for (const codegen::CodeImage::Kernel &kernel : code.image.kernels)
      plan["kernels"][code.target->name].push_back(
          {{"name", kernel.name}, {"offset", kernel.offset}, {"bytes", kernel.bytes}});
  if (!emitted.empty())
    plan["arena"] = {{"bytes_per_token", arenaSizes[0]}, {"bytes_per_output", arenaSizes[1]},
                     {"bytes_per_thread", arenaPerThread}};
  return plan.dump(1) + "\n";
}

Status Compilation::writeWeights(package::PackageWriter &writer, const char *section, mlir::ModuleOp packed,
                                 codegen::PackedFor packedFor) {
  uint64_t bytes = uint64_t(codegen::packedSectionBytes(packed));
  return writer.addRegion(section, bytes, [&](package::PackageWriter::Region &region) {
    codegen::PackStreams streams;
    streams.source = import::sourceReader(*file);
    streams.write = [&](int64_t offset, std::span<const uint8_t> part) { return region.writeAt(offset, part); };
    streams.progress = [&](double fraction) { report("packing weights", fraction); };
    return codegen::packWeights(packed, packedFor, options.threads, streams);
  });
}

Status Compilation::write() {
  QUERN_ASSIGN(package::PackageWriter writer, package::PackageWriter::create(options.output));
  QUERN_TRY(writer.addSection(package::kManifest, printManifest(describe())));
  QUERN_TRY(writer.addSection(package::kPlan, describePlan()));
  QUERN_TRY(writer.addSection(package::kTokenizer, tokenizer.bytes));
  if (!chatTemplate.empty())
    QUERN_TRY(writer.addSection(package::kTemplate, chatTemplate));
  for (const Emitted &code : emitted)
    QUERN_TRY(writer.addSection(package::kCodePrefix + code.target->name, code.image.bytes));
  for (const EmittedDevice &device : devices) {
    std::string name = deviceName(*device.target);
    QUERN_TRY(writer.addSection(package::kDevicePrefix + name, device.code));
    QUERN_TRY(writer.addSection(package::kProgramPrefix + name, printDeviceProgram(device.program)));
    for (const auto &[capability, machineCode] : device.machineCode)
      QUERN_TRY(writer.addSection(cubinSection(capability), machineCode));
  }
  if (!emitted.empty())
    QUERN_TRY(writeWeights(writer, package::kWeights, *module, codegen::PackedFor::Cpu));
  if (!devices.empty())
    QUERN_TRY(writeWeights(writer, package::kDeviceWeights, *deviceModule, codegen::PackedFor::Gpu));
  return writer.finish();
}
