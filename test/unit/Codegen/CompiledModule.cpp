#include "CompiledModule.h"

#include "quern/Codegen/Image.h"
#include "quern/Codegen/PackPlan.h"
#include "quern/Codegen/Passes.h"
#include "quern/Pipelines/Phases.h"
#include "quern/Runtime/KernelABI.h"

#include "lib/Runtime/Cpu.h"

#include "mlir/Dialect/Quant/IR/Quant.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"

#include <cstring>
#include <gtest/gtest.h>
#include <numeric>
#include <pthread.h>
#include <sys/mman.h>
#include <thread>

using namespace quern;

static uint8_t *aligned(std::vector<uint8_t> &bytes) {
  return reinterpret_cast<uint8_t *>((reinterpret_cast<uintptr_t>(bytes.data()) + 63) & ~uintptr_t(63));
}

void ModuleText::source(const std::string &name, const std::string &type, const void *data, size_t bytes) {
  text += "dq.source @" + name + " : " + type + " in 0 at " + std::to_string(file.size()) + " bytes " +
          std::to_string(bytes) + "\n";
  auto *from = static_cast<const uint8_t *>(data);
  file.insert(file.end(), from, from + bytes);
}

static bool runPasses(mlir::ModuleOp module, llvm::function_ref<void(mlir::OpPassManager &)> build) {
  mlir::PassManager passes(module.getContext());
  build(passes);
  return mlir::succeeded(passes.run(module));
}

std::unique_ptr<CompiledModule> CompiledModule::make(mlir::MLIRContext &context, const ModuleText &text,
                                                     const codegen::Target &target,
                                                     llvm::function_ref<void(mlir::OpPassManager &)> prepare) {
  context.loadDialect<dq::DQDialect, lm::LMDialect, mlir::func::FuncDialect, mlir::arith::ArithDialect,
                      mlir::quant::QuantDialect>();
  auto module = mlir::parseSourceString<mlir::ModuleOp>(text.text, mlir::ParserConfig(&context));
  std::unique_ptr<CompiledModule> compiled(new CompiledModule);
  if (!module || (prepare && !runPasses(*module, prepare)) || !compiled->compile(*module, target) ||
      !compiled->pack(*module, text.file)) {
    ADD_FAILURE() << "cannot compile for " << target.name << ":\n" << text.text;
    return nullptr;
  }
  return compiled;
}

/// Makes the image from a copy; leaves the packer's plan in the module itself.
bool CompiledModule::compile(mlir::ModuleOp module, const codegen::Target &target) {
  auto plan = [](mlir::OpPassManager &pm) { pipelines::buildPackPipeline(pm), pipelines::buildPlanPipeline(pm); };
  auto kernels = [&](mlir::OpPassManager &pm) { pipelines::buildKernelsPipeline(pm, target); };
  auto lower = [&](mlir::OpPassManager &pm) { pipelines::buildLLVMPipeline(pm, target); };
  if (!runPasses(module, plan))
    return false;
  mlir::OwningOpRef<mlir::ModuleOp> copy(module.clone());
  if (!runPasses(*copy, kernels))
    return false;
  for (auto function : copy->getOps<mlir::func::FuncOp>())
    if (auto sizes = function->getAttrOfType<mlir::DenseI64ArrayAttr>(codegen::kArenaSizes))
      entries[function.getName().str()] = {
          0, sizes[0], function->getAttrOfType<mlir::IntegerAttr>(codegen::kArenaPerThread).getInt()};
  if (!runPasses(*copy, lower))
    return false;
  auto object = codegen::emitObject(*copy, target);
  auto image = object ? codegen::linkImage(*object) : Result<codegen::CodeImage>(fail(object.error().message));
  if (!image) {
    ADD_FAILURE() << image.error().message;
    return false;
  }
  for (auto &[name, entry] : entries)
    entry.offset = image->entries.at(name);
  codeBytes = image->bytes.size();
  code = mmap(nullptr, codeBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  std::memcpy(code, image->bytes.data(), codeBytes);
  return mprotect(code, codeBytes, PROT_READ | PROT_EXEC) == 0;
}

bool CompiledModule::pack(mlir::ModuleOp module, const std::vector<uint8_t> &file) {
  weights.resize(codegen::packedSectionBytes(module) + 64 + 16384); // prefetches and whole vectors may pass the end
  codegen::PackStreams streams;
  streams.source = [&](int64_t, int64_t offset, int64_t bytes, auto &) -> Result<std::span<const uint8_t>> {
    return std::span(file).subspan(size_t(offset), size_t(bytes));
  };
  streams.write = [&](int64_t offset, std::span<const uint8_t> bytes) -> Status {
    std::memcpy(aligned(weights) + offset, bytes.data(), bytes.size());
    return {};
  };
  Status packed = codegen::packWeights(module, codegen::PackedFor::Cpu, 2, streams);
  if (!packed)
    ADD_FAILURE() << packed.error().message;
  return bool(packed);
}

CompiledModule::~CompiledModule() {
  if (code)
    munmap(code, codeBytes);
}

std::vector<float> CompiledModule::call(const std::string &name, int64_t tokens, int64_t width, int64_t threads) const {
  std::vector<int32_t> ids(tokens);
  std::iota(ids.begin(), ids.end(), 0);
  return call(name, ids, {}, width, threads);
}

std::vector<float> CompiledModule::call(const std::string &name, std::vector<int32_t> ids,
                                        const std::vector<void *> &more, int64_t width, int64_t threads) const {
  const Entry &entry = entries.at(name);
  int64_t tokens = int64_t(ids.size());
  std::vector<float> out(tokens * width + 1, 12345.0f); // one more, which must stay
  std::vector<uint8_t> arena(entry.rowBytes * tokens + entry.perThread * threads + 128);
  std::vector<void *> buffers = {ids.data()};
  buffers.insert(buffers.end(), more.begin(), more.end());
  buffers.push_back(out.data());
  pthread_barrier_t barrier;
  pthread_barrier_init(&barrier, nullptr, unsigned(threads));
  QuernCall call{};
  call.abiVersion = QUERN_KERNEL_ABI_VERSION;
  call.threads = threads;
  call.weights = aligned(const_cast<std::vector<uint8_t> &>(weights));
  call.arena = aligned(arena);
  call.buffers = buffers.data();
  call.sizes = call.capacities = &tokens;
  call.barrier = [](void *context) { pthread_barrier_wait(static_cast<pthread_barrier_t *>(context)); };
  call.barrierContext = &barrier;
  auto function = reinterpret_cast<QuernEntry>(static_cast<uint8_t *>(code) + entry.offset);
  std::vector<std::thread> others;
  for (int64_t thread = 1; thread < threads; ++thread)
    others.emplace_back([=] {
      QuernCall own = call;
      own.thread = thread;
      function(&own);
    });
  function(&call);
  for (std::thread &other : others)
    other.join();
  pthread_barrier_destroy(&barrier);
  EXPECT_EQ(out.back(), 12345.0f) << name << " wrote behind its output";
  out.pop_back();
  return out;
}

bool runsHere(const codegen::Target &target) {
  return runtime::CpuFeatures::detect().missing(target.required).empty();
}
