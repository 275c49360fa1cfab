// A matmul with many columns, bound by what is to be multiplied: a block makes a tile of rows and tokens.
#include "PromptMatmul.h"

#include "ByteProducts.h"
#include "CodeReader.h"
#include "PromptBlock.h"

using namespace mlir;
using namespace quern;
using namespace quern::codegen;

namespace {

/// What the largest part needs of shared memory.
int64_t memoryBytes(const PromptMatmul &shape, const GpuTarget &target) {
  int64_t most = 0;
  for (int64_t number = 0; number < shape.results(); ++number)
    most = std::max(most, promptMemoryBytes(promptTile(shape.part(number), target)));
  return most;
}

/// Whether tensor cores multiply such weights.
bool multipliesFloats(const GpuTarget &target, const GpuLayout &layout) {
  return layout.floatBytes == 2 && (layout.bfloat ? hasBfloatProducts(target) : target.halfProductDepth != 0);
}

/// A pointer to the shared memory that the launch asks for, aligned to 16; the module has one variable for it.
Value dynamicSharedMemory(Emitter &e) {
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

/// The arguments of a kernel, in their order.
struct Arguments {
  Arguments(const PromptMatmul &shape, ValueRange all) : tokens(all.back()) {
    auto take = [&](size_t count) {
      ValueRange taken = all.take_front(count);
      all = all.drop_front(count);
      return taken;
    };
    size_t segments = shape.segments.size();
    weights = take(segments), activations = take(shape.activations());
    biases = take(shape.bias ? segments : 0), residual = take(shape.residual);
    ys = take(shape.quantized ? 3 : size_t(shape.results()));
  }

  PromptArguments ofPart(const PromptMatmul &part, size_t number) const {
    return {weights.slice(number, part.segments.size()), activations,           part.bias ? biases[number] : Value(),
            part.residual ? residual[0] : Value(),       ys.drop_front(number), tokens};
  }

  ValueRange weights, activations, biases, residual, ys;
  Value tokens;
};

/// The parts from `number` on, each with its blocks; `block` counts from the first of these. What the later ones need
/// is in no register while one is made.
void emitParts(Emitter &e, const PromptMatmul &shape, const GpuTarget &target, const Arguments &arguments, Value block,
               Value memory, size_t number = 0) {
  PromptMatmul part = shape.part(int64_t(number));
  auto emit = [&] { emitPromptBlock(e, target, part, arguments.ofPart(part, number), block, memory); };
  if (int64_t(number) + 1 == shape.results())
    return emit();
  e.ifThenElse(e.less(block, e.i64(part.rowBlocks())), emit, [&] {
    emitParts(e, shape, target, arguments, e.sub(block, e.i64(part.rowBlocks())), memory, number + 1);
  });
}

} // namespace

PromptMatmul PromptMatmul::part(int64_t number) const {
  PromptMatmul part = *this;
  if (!swiglu)
    part.segments = {segments[size_t(number)]};
  return part;
}

int64_t PromptMatmul::rowBlocks() const {
  int64_t blocks = 0;
  for (int64_t number = 0; number < results(); ++number)
    blocks += (segments[size_t(number)].rows + blockRows() - 1) / blockRows();
  return blocks;
}

bool PromptMatmul::mustBeHalves() const {
  return !floats() &&
         !llvm::all_of(segments, [](const Matvec::Segment &segment) { return CodeReader::hasBytes(segment.layout); });
}

/// As for 512 tokens. The smaller a block, the more it reads for each product. A model of small matmuls waits for
/// launches more than for products, and keeps the integers of its codes.
void PromptMatmul::fit(const GpuTarget &target) {
  constexpr int64_t kLeastWeights = 1 << 20;
  int64_t rowsOfAll = 0;
  for (const Matvec::Segment &segment : segments)
    rowsOfAll += segment.rows;
  halves = mustBeHalves() || (target.promptHalves && !floats() && rowsOfAll * width >= kLeastWeights);
  constexpr int64_t kTokens = 512, kBlocksOfMultiprocessor = 4; // in residentBlocks
  struct Choice {
    Block block;
    double overhead;
  };
  double least = 0;
  bool ofHalves = halves || floats();
  std::vector<Choice> choices = {
      {{128, 128}, 1}, {{128, 64}, ofHalves ? 1.04 : 1.08}, {{64, 64}, ofHalves ? 1.58 : 1.2}};
  if (ofHalves || target.promptWarpTokens == 64)
    choices.insert(choices.begin(), Choice{{256, 128}, ofHalves ? 0.98 : 0.95});
  for (const Choice &choice : choices) {
    if (swiglu && choice.block.rows * choice.block.tokens < 128 * 128)
      break; // both sums of a result would belong to different warps
    bool addsMore = bias || results() > 1 || (residual && takes() != RowKind::BFloat);
    if (addsMore && choice.block.rows == 256)
      continue; // registers for all sums and the places of what is added
    PromptMatmul with = *this;
    with.block = choice.block;
    if (memoryBytes(with, target) > target.blockSharedBytes)
      continue;
    int64_t blocks = with.rowBlocks() * (kTokens / choice.block.tokens);
    int64_t multiprocessors = target.residentBlocks / kBlocksOfMultiprocessor;
    int64_t rounds = (blocks + multiprocessors - 1) / multiprocessors;
    double cost = double(rounds * choice.block.rows * choice.block.tokens) * choice.overhead;
    if (least == 0 || cost < least) {
      least = cost;
      block = choice.block;
    }
  }
}

std::string PromptMatmul::name() const {
  std::string name = std::string("prompt") + (halves ? "_f16" : "") + (swiglu ? "_swiglu" : "");
  for (const Matvec::Segment &segment : segments)
    name += "_" + segment.format + (swiglu || segments.size() == 1 ? "" : "_" + std::to_string(segment.rows));
  name += "_" + (swiglu || segments.size() == 1 ? std::to_string(rows()) : "") + "x" + std::to_string(width);
  if (block.rows != 128 || block.tokens != 128)
    name += "_by" + std::to_string(block.rows) + "x" + std::to_string(block.tokens);
  return name + (bias ? "_bias" : "") + (residual ? "_residual" : "") + (quantized ? "_act8" : "");
}

Status PromptMatmul::check(const GpuTarget &target) const {
  QUERN_TRY(checkSegments(segments, width, swiglu));
  if (swiglu && (bias || residual))
    return fail("swiglu of a sum with a bias or residual");
  for (const Matvec::Segment &segment : segments)
    if (segment.layout.isFloat() ? !multipliesFloats(target, segment.layout)
                                 : !hasByteProducts(target) && !CodeReader::hasBytes(segment.layout))
      return fail("format " + segment.format + " with more than " + std::to_string(Matvec::kMostColumns) +
                  " rows of activations");
  return {};
}

int64_t PromptMatmul::sharedBytes(const GpuTarget &target) const {
  int64_t mostDeclared = hasByteProducts(target) ? 48 << 10 : INT64_MAX, bytes = memoryBytes(*this, target);
  return bytes <= mostDeclared ? 0 : bytes;
}

gpu::GPUFuncOp codegen::emitPromptMatmul(gpu::GPUModuleOp module, const PromptMatmul &shape, const GpuTarget &target) {
  size_t segments = shape.segments.size();
  size_t pointers = segments + shape.activations() + (shape.bias ? segments : 0) + shape.residual +
                    (shape.quantized ? 3 : size_t(shape.results()));
  auto body = [&](Emitter &e, ValueRange arguments) {
    Value memory =
        shape.sharedBytes(target) ? dynamicSharedMemory(e) : sharedMemory(e, "tiles", memoryBytes(shape, target));
    emitParts(e, shape, target, Arguments(shape, arguments), blockIndex(e, gpu::Dimension::y), memory);
  };
  return emitKernel(module, {shape.name(), int64_t(pointers), /*blocks=*/0, PromptMatmul::kWarps, /*numbers=*/1}, body);
}
