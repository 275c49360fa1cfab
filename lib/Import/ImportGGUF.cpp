#include "quern/Import/ImportGGUF.h"
#include "quern/Formats/ColumnOrder.h"
#include "quern/Import/CheckNumbers.h"

#include "dialects/DQ/DQ.h"
#include "dialects/LM/LM.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Builders.h"

#include <algorithm>
#include <cmath>

using namespace mlir;
using namespace quern;

static constexpr int64_t kDynamic = ShapedType::kDynamic;

namespace {
/// Builds the graph of one model, op after op at the end of the entry function.
class GraphBuilder {
public:
  GraphBuilder(MLIRContext &context, const gguf::File &file, const import::ModelConfig &config)
      : file(file), config(config), builder(&context), module(ModuleOp::create(locationOf(file.path()))) {}

  OwningOpRef<ModuleOp> build();

private:
  Location locationOf(StringRef name);
  std::string inLayer(int64_t layer, StringRef name) { return ("blk." + Twine(layer) + "." + name).str(); }
  RankedTensorType rows(int64_t width) { return RankedTensorType::get({kDynamic, width}, builder.getF32Type()); }

  void declareSources();
  Type elementType(const gguf::Tensor &tensor);
  void beginEntry();
  Value weight(const std::string &name);
  Value matrix(const std::string &name);
  Value inOrderOf(const std::string &name, Value x);
  Value rounding(Value x, Location loc);
  Value linear(Value x, const std::string &name, const std::string &bias = {});
  Value norm(Value x, const std::string &name);
  Value attention(Value x, int64_t layer);
  Value feedForward(Value x, int64_t layer);
  void finish(Value x);

  const gguf::File &file;
  const import::ModelConfig &config;
  OpBuilder builder;
  OwningOpRef<ModuleOp> module;
  llvm::StringMap<Value> weights; ///< dq.weight and dequantized values by tensor name
  /// Of rows, those with columns in the order last asked for, and the order.
  llvm::DenseMap<Value, std::pair<Value, std::span<const std::byte>>> orders;
  llvm::DenseMap<Value, Value> rounded; ///< rows as dynamic quantization leaves them
  Value positions, caches, outputRows, tokenIds, angles;
};
} // namespace

/// The name, and below it what the model's own file calls that of which it was made.
Location GraphBuilder::locationOf(StringRef name) {
  auto named = [&](StringRef text, Location child) { return NameLoc::get(builder.getStringAttr(text), child); };
  SmallVector<Location> origins;
  for (const std::string &origin : file.origins(std::string_view(name)))
    origins.push_back(named(origin, builder.getUnknownLoc()));
  return named(name, builder.getFusedLoc(origins));
}

Type GraphBuilder::elementType(const gguf::Tensor &tensor) {
  if (tensor.type->name == "F32")
    return builder.getF32Type();
  if (tensor.type->name == "F16")
    return builder.getF16Type();
  if (tensor.type->name == "BF16")
    return builder.getBF16Type();
  if (tensor.type->name == "I32")
    return builder.getI32Type();
  auto *dialect = builder.getContext()->getLoadedDialect<dq::DQDialect>();
  return dq::BlockType::get(builder.getContext(), dialect->getFormats().lookup(tensor.type->name));
}

/// One dq.source for each tensor, in the order of the computation, so that the package's weights follow it.
void GraphBuilder::declareSources() {
  builder.setInsertionPointToEnd(module->getBody());
  for (const import::ExpectedTensor &expected : import::expectedTensors(config)) {
    const gguf::Tensor &tensor = *file.tensor(expected.name);
    SmallVector<int64_t> shape(tensor.dims.rbegin(), tensor.dims.rend());
    dq::SourceOp::create(builder, locationOf(expected.name), expected.name,
                         RankedTensorType::get(shape, elementType(tensor)), tensor.part, tensor.offset,
                         static_cast<int64_t>(tensor.bytes()));
  }
}

/// Creates @step with its arguments, and moves the builder into it.
void GraphBuilder::beginEntry() {
  auto ids = RankedTensorType::get({kDynamic}, builder.getI32Type());
  auto cache = lm::CacheType::get(builder.getContext(), config.layers, config.kvHeads, config.headDim);
  auto type = builder.getFunctionType({ids, ids, cache, ids}, {rows(config.vocabulary)});
  auto entry = func::FuncOp::create(builder, module->getLoc(), import::kEntryName, type);
  auto describe = [&](unsigned index, StringRef name, StringRef size) {
    entry.setArgAttr(index, lm::kNameAttr, builder.getStringAttr(name));
    if (!size.empty())
      entry.setArgAttr(index, lm::kSizeAttr, builder.getStringAttr(size));
  };
  describe(0, "token_ids", "tokens");
  describe(1, "positions", "tokens");
  describe(2, "caches", "");
  describe(3, "output_rows", "outputs");
  entry.setResultAttr(0, lm::kNameAttr, builder.getStringAttr("logits"));
  Block *body = entry.addEntryBlock();
  tokenIds = body->getArgument(0);
  positions = body->getArgument(1);
  caches = body->getArgument(2);
  outputRows = body->getArgument(3);
  builder.setInsertionPointToEnd(body);
}

Value GraphBuilder::weight(const std::string &name) {
  Value &known = weights[name];
  if (!known) {
    auto source = module->lookupSymbol<dq::SourceOp>(name);
    known = dq::WeightOp::create(builder, source.getLoc(), cast<Type>(source.getType()), source.getSymName());
  }
  return known;
}

/// A weight matrix as f32, f16 or bf16 rows: block formats are dequantized, which later passes fuse away.
Value GraphBuilder::matrix(const std::string &name) {
  Value stored = weight(name);
  auto type = cast<RankedTensorType>(stored.getType());
  if (!isa<dq::BlockType>(type.getElementType()))
    return stored;
  Value &known = weights[name + " as f32"];
  if (!known)
    known = dq::DequantizeOp::create(builder, stored.getLoc(), type.clone(builder.getF32Type()), stored);
  return known;
}

/// Weights that read the same rows often have the same order: it is taken once.
Value GraphBuilder::inOrderOf(const std::string &name, Value x) {
  std::string order = formats::columnOrder(name);
  std::span<const std::byte> bytes = file.tensor(order)->data;
  auto &[known, place] = orders[x];
  if (place.empty() || !std::ranges::equal(place, bytes)) {
    known = lm::GatherColumnsOp::create(builder, locationOf(order), x.getType(), x, weight(order));
    place = bytes;
  }
  return known;
}

/// Rows quantized with one range each, and widened again; once for all weights that read them.
Value GraphBuilder::rounding(Value x, Location loc) {
  Value &known = rounded[x];
  if (!known) {
    Type element = dq::Act8Type::get(builder.getContext(), dq::Act8Type::kRow);
    Value codes = dq::QuantizeOp::create(builder, loc, cast<RankedTensorType>(x.getType()).clone(element), x);
    known = dq::DequantizeOp::create(builder, loc, x.getType(), codes);
  }
  return known;
}

Value GraphBuilder::linear(Value x, const std::string &name, const std::string &bias) {
  if (config.reordered.contains(name))
    x = inOrderOf(name, x);
  if (config.dynamicallyQuantized.contains(name))
    x = rounding(x, locationOf(name));
  Value w = matrix(name);
  Value b = bias.empty() ? Value() : weight(bias);
  int64_t width = cast<RankedTensorType>(w.getType()).getDimSize(0);
  return lm::LinearOp::create(builder, locationOf(name), rows(width), x, w, b);
}

Value GraphBuilder::norm(Value x, const std::string &name) {
  return lm::RmsNormOp::create(builder, locationOf(name), x.getType(), x, weight(name),
                               builder.getF32FloatAttr(config.normEps));
}

Value GraphBuilder::attention(Value x, int64_t layer) {
  Location loc = locationOf(inLayer(layer, "attn"));
  Value h = norm(x, inLayer(layer, "attn_norm.weight"));
  auto project = [&](StringRef name) {
    return linear(h, inLayer(layer, (name + ".weight").str()),
                  config.attentionBias ? inLayer(layer, (name + ".bias").str()) : std::string());
  };
  Value query = project("attn_q"), key = project("attn_k"), value = project("attn_v");
  if (config.headNorms) {
    query = norm(query, inLayer(layer, "attn_q_norm.weight"));
    key = norm(key, inLayer(layer, "attn_k_norm.weight"));
  }
  lm::RotaryStyle style =
      config.rotaryStyle == import::RotaryStyle::Half ? lm::RotaryStyle::Half : lm::RotaryStyle::Interleaved;
  query = lm::RotaryOp::create(builder, loc, query.getType(), style, query, angles);
  key = lm::RotaryOp::create(builder, loc, key.getType(), style, key, angles);
  auto scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(config.headDim)));
  Value mixed = lm::AttentionOp::create(builder, loc, query, key, value, positions, caches, layer, scale);
  Value out = linear(mixed, inLayer(layer, "attn_output.weight"));
  return arith::AddFOp::create(builder, loc, x, out);
}

Value GraphBuilder::feedForward(Value x, int64_t layer) {
  Location loc = locationOf(inLayer(layer, "ffn"));
  Value h = norm(x, inLayer(layer, "ffn_norm.weight"));
  Value gate = linear(h, inLayer(layer, "ffn_gate.weight"));
  Value up = linear(h, inLayer(layer, "ffn_up.weight"));
  Value gated = lm::SwigluOp::create(builder, loc, gate.getType(), gate, up);
  Value down = linear(gated, inLayer(layer, "ffn_down.weight"));
  return arith::AddFOp::create(builder, loc, x, down);
}

/// The logits of the wanted rows only: the others are dropped before the largest matmul.
void GraphBuilder::finish(Value x) {
  Value wanted = lm::GatherRowsOp::create(builder, locationOf("output_rows"), rows(config.hidden), x, outputRows);
  Value logits = linear(norm(wanted, "output_norm.weight"), config.outputTensor());
  func::ReturnOp::create(builder, logits.getLoc(), logits);
}

OwningOpRef<ModuleOp> GraphBuilder::build() {
  declareSources();
  beginEntry();
  Value x = lm::EmbeddingOp::create(builder, locationOf("token_embd.weight"), rows(config.hidden), tokenIds,
                                    matrix("token_embd.weight"));
  Value factors = config.ropeFactors ? weight("rope_freqs.weight") : Value();
  angles = lm::RotaryAnglesOp::create(builder, locationOf("rope"), rows(config.headDim), positions, factors,
                                      builder.getF64FloatAttr(config.ropeTheta));
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    x = attention(x, layer);
    x = feedForward(x, layer);
  }
  finish(x);
  return std::move(module);
}

gguf::TypeTable import::typeTable(MLIRContext &context) {
  gguf::TypeTable types;
  dq::FormatRegistry &formats = context.getOrLoadDialect<dq::DQDialect>()->getFormats();
  for (dq::FormatAttr format : formats.list())
    types.add(formats.spec(format));
  return types;
}

Status import::checkNumbers(MLIRContext &context, const gguf::File &file, unsigned threads) {
  gguf::TypeTable types = typeTable(context);
  return checkNumbers(file, [&](uint32_t typeId) { return types.format(typeId); }, threads);
}

dq::SourceReader import::sourceReader(const gguf::File &file) {
  return [&file](int64_t part, int64_t offset, int64_t bytes,
                 std::vector<std::byte> &room) -> Result<std::span<const uint8_t>> {
    QUERN_ASSIGN(std::span<const std::byte> read, file.read(uint64_t(part), uint64_t(offset), uint64_t(bytes), room));
    return std::span(reinterpret_cast<const uint8_t *>(read.data()), read.size());
  };
}

OwningOpRef<ModuleOp> import::importModel(MLIRContext &context, const gguf::File &file, const ModelConfig &config) {
  context.loadDialect<dq::DQDialect, lm::LMDialect, func::FuncDialect, arith::ArithDialect>();
  return GraphBuilder(context, file, config).build();
}

Result<OwningOpRef<ModuleOp>> import::importGGUF(MLIRContext &context, const gguf::File &file) {
  QUERN_ASSIGN(ModelConfig config, readModelConfig(file));
  return importModel(context, file, config);
}
