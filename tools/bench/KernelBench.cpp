// quern-kernel-bench: the matmul kernel of each block format alone, for one token and for many, beside the read
// bandwidth and the peak of byte products that probes of the same code find. Flags are Google Benchmark's, e.g.
//   quern-kernel-bench --benchmark_filter=q4_K --benchmark_repetitions=5
#include "CompiledMatmul.h"

#include "dialects/DQ/DQ.h"
#include "dialects/LM/LM.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

#include <algorithm>
#include <benchmark/benchmark.h>

using namespace quern;
using namespace quern::bench;

constexpr int64_t kColumns = 1536;
constexpr int64_t kRowsStreamed = 131072; // 60 MB of the smallest format: beyond the caches
constexpr int64_t kRowsTiled = 8960;      // a feed-forward matrix of the 1.5B
constexpr int64_t kFewTokens = 16;        // up to here reading may be what takes the time
constexpr int64_t kManyTokens = 256;

/// Seconds of the kernel, and how near it comes to what its bytes and its operations allow.
static void measure(benchmark::State &state, mlir::MLIRContext &context, const std::string &element) {
  int64_t tokens = state.range(0);
  auto matmul =
      CompiledMatmul::make(context, element, tokens <= kFewTokens ? kRowsStreamed : kRowsTiled, kColumns, tokens);
  if (!matmul)
    return state.SkipWithError(matmul.error().message.c_str());
  CompiledMatmul &m = **matmul;
  m.run(tokens);
  double read = 0, seconds = 0;
  for (const char *name : {"probe_read_plain", "probe_read_prefetch", "probe_read_streams"})
    read = std::max(read, m.probe(name));
  double peak = m.probe(("probe_" + m.unit).c_str());
  for (auto _ : state) {
    double once = m.run(tokens);
    seconds += once;
    state.SetIterationTime(once);
  }
  double runs = double(state.iterations()), bytes = double(m.weightBytes);
  double operations = double(m.operationsPerRow * tokens);
  state.SetLabel(m.kernel);
  state.counters["GB/s"] = bytes * runs / seconds / 1e9;
  state.counters["GOP/s"] = operations * runs / seconds / 1e9;
  state.counters["of_limit"] = std::max(bytes / read, operations / peak) * runs / seconds;
}

int main(int argc, char **argv) {
  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  context.loadDialect<dq::DQDialect, lm::LMDialect, mlir::func::FuncDialect, mlir::arith::ArithDialect>();
  auto add = [&](const std::string &name, const std::string &element) {
    benchmark::RegisterBenchmark(name.c_str(), [&context, element](benchmark::State &state) {
      measure(state, context, element);
    })->Arg(1)->Arg(4)->Arg(8)->Arg(kFewTokens)->Arg(kManyTokens)->UseManualTime()->Unit(benchmark::kMillisecond);
  };
  for (dq::FormatAttr format : context.getLoadedDialect<dq::DQDialect>()->getFormats().list())
    add(format.getName().str(), "!dq.block<" + format.getName().str() + ">");
  for (const char *type : {"f16", "bf16", "f32"})
    add(type, type);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv))
    return 1;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
