// Compiles a graph of one matmul as `quern compile` would and calls it as the runtime would, without a file.
#include "CompiledMatmul.h"

#include "dialects/DQ/DQ.h"
#include "dialects/LM/LM.h"
#include "lib/Runtime/Cpu.h"
#include "quern/Codegen/Passes.h"
#include "quern/Codegen/PackPlan.h"
#include "quern/Pipelines/Phases.h"
#include "quern/Runtime/KernelABI.h"

#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"

#include <chrono>
#include <cstring>
#include <random>
#include <sys/mman.h>

using namespace quern;
using namespace quern::bench;

constexpr int64_t kPastTheEnd = 1 << 16; // prefetches and whole vectors may pass the end

/// The first target that this processor can run.
static Result<const codegen::Target *> nativeTarget() {
  runtime::CpuFeatures cpu = runtime::CpuFeatures::detect();
  for (const codegen::Target &target : codegen::cpuTargets())
    if (cpu.missing(target.required).empty())
      return &target;
  return fail("this processor can run the code of no target");
}

static Status runPasses(mlir::ModuleOp module, llvm::function_ref<void(mlir::OpPassManager &)> build) {
  mlir::PassManager passes(module.getContext());
  build(passes);
  if (mlir::failed(passes.run(module)))
    return fail("a compiler pass failed; see the diagnostics above");
  return {};
}

static int64_t storedBytes(mlir::MLIRContext &context, const std::string &element, int64_t count) {
  if (element == "f32")
    return count * 4;
  if (element == "f16" || element == "bf16")
    return count * 2;
  std::string name = element.substr(element.find('<') + 1, element.rfind('>') - element.find('<') - 1);
  const formats::FormatSpec &spec = context.getLoadedDialect<dq::DQDialect>()->getFormats().lookup(name).getSpec();
  return count / spec.block * spec.bytes;
}

/// The graph: rows of a table of floats, quantized where the weight is, times the weight.
static std::string graphText(mlir::MLIRContext &context, const std::string &element, int64_t n, int64_t k,
                             int64_t tokens) {
  std::string width = "x" + std::to_string(k) + "x", rows = "tensor<?" + width + "f32>", xRows = rows;
  std::string table = "tensor<" + std::to_string(tokens) + width + "f32>";
  std::string weight = "tensor<" + std::to_string(n) + width + element + ">";
  std::string y = "tensor<?x" + std::to_string(n) + "xf32>", x = "%x", quantize;
  if (element.starts_with("!dq.block")) {
    xRows = "tensor<?" + width + "!dq.act8<32>>";
  } else if (element == "bf16") {
    xRows = "tensor<?" + width + "bf16>";
  }
  if (xRows != rows) {
    x = "%xq";
    quantize = "  %xq = dq.quantize %x : " + rows + " -> " + xRows + "\n";
  }
  int64_t tableBytes = tokens * k * 4;
  return "dq.source @x : " + table + " in 0 at 0 bytes " + std::to_string(tableBytes) + "\n" + //
         "dq.source @w : " + weight + " in 0 at " + std::to_string(tableBytes) + " bytes " +
         std::to_string(storedBytes(context, element, n * k)) + "\n" +
         "func.func @matmul(%ids: tensor<?xi32> {lm.name = \"token_ids\", lm.size = \"tokens\"}) -> (" + y +
         " {lm.name = \"out\"}) {\n" +
         "  %xs = dq.weight @x : " + table + "\n" +
         "  %x = lm.embedding %ids, %xs : tensor<?xi32>, " + table + " -> " + rows + "\n" + quantize +
         "  %w = dq.weight @w : " + weight + "\n" +
         "  %y = dq.matmul " + x + ", [%w] : " + xRows + ", [" + weight + "] -> " + y + "\n" +
         "  return %y : " + y + "\n}\n";
}

CompiledMatmul::Bytes CompiledMatmul::allocate(int64_t bytes) {
  constexpr size_t kHugePage = 2 << 20;
  size_t whole = (size_t(bytes) + kHugePage - 1) / kHugePage * kHugePage;
  Bytes memory(static_cast<uint8_t *>(std::aligned_alloc(kHugePage, whole)));
  madvise(memory.get(), whole, MADV_HUGEPAGE);
  std::memset(memory.get(), 0, whole);
  return memory;
}

Status CompiledMatmul::emit(mlir::ModuleOp module) {
  QUERN_ASSIGN(const codegen::Target *target, nativeTarget());
  sectionBytes = codegen::packedSectionBytes(module);
  QUERN_TRY(runPasses(module, [&](mlir::OpPassManager &pm) { pipelines::buildKernelsPipeline(pm, *target); }));
  auto function = module.lookupSymbol<mlir::func::FuncOp>("matmul_profiled");
  rowBytes = function->getAttrOfType<mlir::DenseI64ArrayAttr>(codegen::kArenaSizes)[0];
  perThread = function->getAttrOfType<mlir::IntegerAttr>(codegen::kArenaPerThread).getInt();
  auto table = function->getAttrOfType<mlir::ArrayAttr>(codegen::kOpTable);
  op = int64_t(table.size()) - 1;
  auto record = mlir::cast<mlir::DictionaryAttr>(table[size_t(op)]);
  kernel = record.getAs<mlir::StringAttr>("kernel").getValue().str();
  weightBytes = record.getAs<mlir::IntegerAttr>("weight_bytes").getInt();
  operationsPerRow = record.getAs<mlir::IntegerAttr>("operations_per_row").getInt();
  unit = record.getAs<mlir::StringAttr>("unit").str();
  QUERN_TRY(runPasses(module, [&](mlir::OpPassManager &pm) { pipelines::buildLLVMPipeline(pm, *target); }));
  QUERN_ASSIGN(std::vector<char> object, codegen::emitObject(module, *target));
  QUERN_ASSIGN(image, codegen::linkImage(object));
  return {};
}

Status CompiledMatmul::compile(mlir::MLIRContext &context, const std::string &text) {
  auto module = mlir::parseSourceString<mlir::ModuleOp>(text, mlir::ParserConfig(&context));
  if (!module)
    return fail("the graph of the matmul does not parse; see the diagnostics above");
  QUERN_TRY(runPasses(*module, [](mlir::OpPassManager &pm) {
    pipelines::buildPackPipeline(pm);
    pipelines::buildPlanPipeline(pm);
  }));
  QUERN_TRY(emit(*module));
  code = mmap(nullptr, image.bytes.size(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (code == MAP_FAILED)
    return fail("the system gives no memory for code");
  std::memcpy(code, image.bytes.data(), image.bytes.size());
  if (mprotect(code, image.bytes.size(), PROT_READ | PROT_EXEC) != 0)
    return fail("the system does not let code run that was made in memory");
  return {};
}

Result<std::unique_ptr<CompiledMatmul>> CompiledMatmul::make(mlir::MLIRContext &context, const std::string &element,
                                                             int64_t n, int64_t k, int64_t tokens) {
  std::unique_ptr<CompiledMatmul> made(new CompiledMatmul);
  QUERN_TRY(made->compile(context, graphText(context, element, n, k, tokens)));
  made->tokens = tokens;
  made->weights = allocate(made->sectionBytes + kPastTheEnd);
  made->arena = allocate(made->rowBytes * tokens + made->perThread + kPastTheEnd);
  made->out.resize(size_t(tokens * n));
  for (int32_t t = 0; t < tokens; ++t)
    made->ids.push_back(t);
  // Small positive halves, whatever the layout: no product of them is so small or great that it would be slow.
  std::mt19937_64 random(1);
  auto *words = reinterpret_cast<uint64_t *>(made->weights.get());
  for (int64_t i = 0; i < made->sectionBytes / 8; ++i)
    words[i] = (random() & 0x0fff0fff0fff0fff) | 0x2000200020002000;
  return made;
}

CompiledMatmul::~CompiledMatmul() {
  if (code && code != MAP_FAILED)
    munmap(code, image.bytes.size());
}

double CompiledMatmul::run(int64_t rows) {
  struct Clock {
    std::vector<std::chrono::steady_clock::time_point> marks;
  } clock;
  clock.marks.resize(size_t(op) + 1);
  void *buffers[] = {ids.data(), out.data()};
  QuernCall call{};
  call.abiVersion = QUERN_KERNEL_ABI_VERSION;
  call.threads = 1;
  call.weights = weights.get();
  call.arena = arena.get();
  call.buffers = buffers;
  call.sizes = &rows;
  call.capacities = &tokens;
  call.barrier = [](void *) {};
  call.mark = [](const QuernCall *from, int64_t index) {
    static_cast<Clock *>(from->markContext)->marks[size_t(index)] = std::chrono::steady_clock::now();
  };
  call.markContext = &clock;
  reinterpret_cast<QuernEntry>(static_cast<uint8_t *>(code) + image.entries.at("matmul_profiled"))(&call);
  return std::chrono::duration<double>(clock.marks[size_t(op)] - clock.marks[size_t(op) - 1]).count();
}

double CompiledMatmul::probe(const char *name) {
  int64_t results[16] = {};
  void *buffers[] = {results};
  QuernCall call{};
  call.abiVersion = QUERN_KERNEL_ABI_VERSION;
  call.threads = 1;
  call.weights = weights.get();
  call.buffers = buffers;
  auto entry = reinterpret_cast<QuernEntry>(static_cast<uint8_t *>(code) + image.entries.at(name));
  for (int64_t sizes[] = {1, sectionBytes};; sizes[0] *= 2) {
    call.sizes = sizes;
    auto begin = std::chrono::steady_clock::now();
    entry(&call);
    double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    if (seconds > 4e-3) // long enough to be timed
      return double(results[0]) / seconds;
  }
}
