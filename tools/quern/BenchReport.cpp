#include "BenchReport.h"

#include "Common.h"
#include "MachineLimits.h"
#include "Table.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>

using namespace quern;
using namespace quern::cli;
using nlohmann::ordered_json;

std::string BenchTest::name() const {
  std::string text = prompt > 0 ? "pp" + std::to_string(prompt) : "tg" + std::to_string(generation);
  return depth > 0 ? text + " @ d" + std::to_string(depth) : text;
}

std::vector<StepShape> BenchTest::steps(int chunkTokens) const {
  std::vector<StepShape> out;
  for (int done = 0; done < prompt; done += chunkTokens) {
    int count = std::min(chunkTokens, prompt - done);
    out.push_back(StepShape::after(depth + done, count, done + count == prompt ? 1 : 0));
  }
  for (int i = 0; i < generation; ++i)
    out.push_back(StepShape::after(depth + i, 1, 1));
  return out;
}

std::vector<double> Measured::speeds() const {
  std::vector<double> out;
  for (uint64_t ns : nanoseconds)
    out.push_back(1e9 * test.tokens() / double(ns));
  return out;
}

template <typename T> static double mean(const std::vector<T> &values) {
  double sum = 0;
  for (T value : values)
    sum += double(value);
  return sum / double(values.size());
}

template <typename T> static double deviation(const std::vector<T> &values) {
  if (values.size() < 2)
    return 0;
  double center = mean(values), sum = 0;
  for (T value : values)
    sum += (double(value) - center) * (double(value) - center);
  return std::sqrt(sum / double(values.size() - 1));
}

static std::string processorName() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("model name"))
      return line.substr(std::min(line.size(), line.find(':') + 2));
  return "unknown";
}

static std::string modelType(const quern_model_info &info) {
  char size[32];
  bool billions = info.parameters >= 1000000000;
  std::snprintf(size, sizeof size, " %.1f%c", double(info.parameters) / (billions ? 1e9 : 1e6), billions ? 'B' : 'M');
  return info.architecture + std::string(size);
}

namespace {

/// What a whole test takes from memory and from the byte products, and which part of the machine's limits that is.
struct Shares {
  double memoryBytes = 0, dotOperations = 0;
  double read = 0, dot = 0; ///< medians over the repetitions, each against the limits around it
};

/// The kernel calls of one kernel.
struct KernelTotal {
  std::string kernel, op;
  int64_t calls = 0;
  double bytes = 0, operations = 0, predicted = 0, measured = 0; ///< of the whole test, seconds
  double ratio() const { return predicted > 0 ? measured / predicted : 0; }
};

} // namespace

static Shares sharesOf(const Measured &m) {
  Shares out;
  for (const StepShape &step : m.test.steps(m.info.chunk_tokens))
    for (const OpRecord &op : m.ops) {
      out.memoryBytes += op.memoryBytes(step);
      if (op.unit == "dot")
        out.dotOperations += op.operations(step);
    }
  std::vector<double> read, dot;
  for (size_t i = 0; i < m.nanoseconds.size(); ++i) {
    double seconds = double(m.nanoseconds[i]) / 1e9;
    read.push_back(m.limits[i].read > 0 ? out.memoryBytes / seconds / m.limits[i].read : 0);
    dot.push_back(m.limits[i].dot > 0 ? out.dotOperations / seconds / m.limits[i].dot : 0);
  }
  out.read = median(read);
  out.dot = median(dot);
  return out;
}

static std::vector<KernelTotal> kernelTotals(const Measured &m, int chunkTokens) {
  std::map<std::string, KernelTotal> totals;
  std::vector<StepShape> steps = m.test.steps(chunkTokens);
  Limits limits = median(m.limits);
  for (size_t i = 0; i < m.opNanoseconds.size(); ++i) {
    const OpRecord &op = m.ops[i];
    KernelTotal &total = totals[op.kernel];
    total.kernel = op.kernel;
    total.op = op.op;
    total.measured += m.opNanoseconds[i] / 1e9;
    for (const StepShape &step : steps) {
      ++total.calls;
      total.bytes += op.bytes(step);
      total.operations += op.operations(step);
      total.predicted += op.predicted(step, limits);
    }
  }
  std::vector<KernelTotal> out;
  for (auto &[name, total] : totals)
    out.push_back(std::move(total));
  std::ranges::sort(out, [](const auto &a, const auto &b) { return a.ratio() > b.ratio(); });
  return out;
}

static ordered_json perOpJson(const Measured &m) {
  ordered_json out = ordered_json::array();
  for (const KernelTotal &total : kernelTotals(m, m.info.chunk_tokens))
    out.push_back({{"kernel", total.kernel},
                   {"op", total.op},
                   {"calls", total.calls},
                   {"bytes", total.bytes},
                   {"operations", total.operations},
                   {"predicted_ns", total.predicted * 1e9},
                   {"measured_ns", total.measured * 1e9},
                   {"ratio", total.ratio()}});
  return out;
}

ordered_json cli::toJson(const Measured &m) {
  std::vector<double> speeds = m.speeds();
  ordered_json out = {{"build_commit", quern_version()},
                      {"build_number", 0},
                      {"cpu_info", processorName()},
                      {"gpu_info", ""},
                      {"backends", "Quern"},
                      {"target", m.info.target},
                      {"model_filename", m.path},
                      {"model_type", modelType(m.info)},
                      {"model_size", m.info.weights_bytes},
                      {"model_n_params", m.info.parameters},
                      {"n_batch", m.info.chunk_tokens},
                      {"n_ubatch", m.info.chunk_tokens},
                      {"n_threads", m.info.threads},
                      {"n_prompt", m.test.prompt},
                      {"n_gen", m.test.generation},
                      {"n_depth", m.test.depth},
                      {"test_time", m.time},
                      {"avg_ns", uint64_t(mean(m.nanoseconds))},
                      {"stddev_ns", uint64_t(deviation(m.nanoseconds))},
                      {"avg_ts", mean(speeds)},
                      {"stddev_ts", deviation(speeds)},
                      {"samples_ns", m.nanoseconds},
                      {"samples_ts", speeds}};
  if (m.ops.empty())
    return out;
  Shares shares = sharesOf(m);
  Limits limits = median(m.limits);
  out["memory_bytes"] = shares.memoryBytes;
  out["dot_operations"] = shares.dotOperations;
  out["read_bandwidth"] = limits.read;
  out["dot_peak"] = limits.dot;
  out["fma_peak"] = limits.fma;
  out["read_share"] = shares.read;
  out["dot_share"] = shares.dot;
  if (!m.opNanoseconds.empty())
    out["per_op"] = perOpJson(m);
  return out;
}

/// For a prompt the share of the peak of byte products, for generation that of the read bandwidth.
static std::string limitText(const Measured &m) {
  if (m.ops.empty())
    return "-";
  Shares shares = sharesOf(m);
  Limits limits = median(m.limits);
  bool prompt = m.test.prompt > 0;
  char text[64];
  std::snprintf(text, sizeof text, prompt ? "%.1f %% of %.0f GOP/s" : "%.1f %% of %.1f GB/s",
                100 * (prompt ? shares.dot : shares.read), (prompt ? limits.dot : limits.read) / 1e9);
  return text;
}

void cli::printRow(const Measured &m, bool first) {
  if (first)
    std::printf("| %-16s | %10s | %10s | %-18s | %7s | %-14s | %18s | %21s |\n"
                "| ---------------- | ---------: | ---------: | ------------------ | ------: | -------------- | "
                "-----------------: | --------------------: |\n",
                "model", "size", "params", "target", "threads", "test", "t/s", "of the machine's");
  std::vector<double> speeds = m.speeds();
  char params[32], speed[48];
  std::snprintf(params, sizeof params, "%.2f M", double(m.info.parameters) / 1e6);
  std::snprintf(speed, sizeof speed, "%.2f ± %.2f", mean(speeds), deviation(speeds));
  std::printf("| %-16s | %10s | %10s | %-18s | %7d | %-14s | %19s | %21s |\n", modelType(m.info).c_str(),
              formatBytes(double(m.info.weights_bytes)).c_str(), params, m.info.target, m.info.threads,
              m.test.name().c_str(), speed, limitText(m).c_str());
  std::fflush(stdout);
}

void cli::printPerOp(const Measured &m) {
  std::vector<KernelTotal> totals = kernelTotals(m, m.info.chunk_tokens);
  double all = 0;
  for (const KernelTotal &total : totals)
    all += total.measured;
  Limits limits = median(m.limits);
  std::printf("\n%s, %d thread(s): %.3f ms in kernels; limits %.1f GB/s, %.0f GOP/s of byte products, %.0f of f32\n",
              m.test.name().c_str(), m.info.threads, all * 1e3, limits.read / 1e9, limits.dot / 1e9, limits.fma / 1e9);
  Table table({"kernel", "op", ">calls", ">MB", ">MOP", ">predicted us", ">measured us", ">ratio", ">of the time"});
  auto number = [](const char *format, double value) {
    char text[32];
    std::snprintf(text, sizeof text, format, value);
    return std::string(text);
  };
  for (const KernelTotal &total : totals)
    table.add({total.kernel, total.op, std::to_string(total.calls), number("%.2f", total.bytes / 1e6),
               number("%.2f", total.operations / 1e6), number("%.1f", total.predicted * 1e6),
               number("%.1f", total.measured * 1e6), number("%.2f", total.ratio()),
               number("%.1f %%", 100 * total.measured / all)});
  table.print();
}
