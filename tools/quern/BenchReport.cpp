#include "BenchReport.h"

#include "BenchCosts.h"
#include "Common.h"
#include "MachineLimits.h"
#include "Table.h"

#include <algorithm>
#include <cmath>
#include <fstream>

using namespace quern;
using namespace quern::cli;
using nlohmann::ordered_json;

std::string BenchTest::name() const {
  std::string text = prompt > 0 ? "pp" + std::to_string(prompt) : "tg" + std::to_string(generation);
  if (sequences > 1)
    text += " x " + std::to_string(sequences);
  return depth > 0 ? text + " @ d" + std::to_string(depth) : text;
}

std::vector<StepShape> BenchTest::steps(int chunkTokens) const {
  std::vector<StepShape> out;
  for (int done = 0; done < prompt; done += chunkTokens) {
    int count = std::min(chunkTokens, prompt - done);
    out.push_back(StepShape::after(depth + done, count, done + count == prompt ? 1 : 0));
  }
  for (int i = 0; i < generation; ++i)
    out.push_back(StepShape::together(depth + i, sequences));
  return out;
}

std::vector<double> Measured::speeds() const {
  std::vector<double> out;
  for (uint64_t ns : nanoseconds)
    out.push_back(1e9 * test.tokens() * test.sequences / double(ns));
  return out;
}

double Measured::ratioToOne() const {
  if (alone.empty())
    return 1;
  std::vector<double> ratios;
  for (size_t i = 0; i < alone.size(); ++i)
    ratios.push_back(test.sequences * double(alone[i]) / double(nanoseconds[i]));
  return median(ratios);
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

static ordered_json perOpJson(const Measured &m) {
  ordered_json out = ordered_json::array();
  for (const KernelTotal &total : kernelTotals(m))
    if (!m.device.empty())
      out.push_back({{"kernel", total.kernel}, {"op", total.op}, {"measured_ns", total.measured * 1e9}});
    else
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
                      {"gpu_info", m.device},
                      {"backends", "Quern"},
                      {"target", m.info.target},
                      {"model_filename", m.path},
                      {"model_type", modelType(m.info)},
                      {"model_size", m.info.weights_bytes},
                      {"model_n_params", m.info.parameters},
                      {"n_batch", m.info.chunk_tokens},
                      {"n_ubatch", m.info.chunk_tokens},
                      {"n_threads", m.info.threads},
                      {"type_k", m.cacheType},
                      {"type_v", m.cacheType},
                      {"n_prompt", m.test.prompt},
                      {"n_gen", m.test.generation},
                      {"n_depth", m.test.depth},
                      {"n_parallel", m.test.sequences},
                      {"test_time", m.time},
                      {"avg_ns", uint64_t(mean(m.nanoseconds))},
                      {"stddev_ns", uint64_t(deviation(m.nanoseconds))},
                      {"avg_ts", mean(speeds)},
                      {"stddev_ts", deviation(speeds)},
                      {"samples_ns", m.nanoseconds},
                      {"samples_ts", speeds}};
  if (m.test.sequences > 1) {
    out["ratio_to_one_sequence"] = m.ratioToOne();
    out["one_sequence_ns"] = m.alone;
  }
  if (!m.device.empty() && !m.opNanoseconds.empty())
    out["per_op"] = perOpJson(m);
  if (m.ops.empty() || !m.device.empty())
    return out;
  Limits limits = median(m.limits);
  Share memory = memoryShare(m);
  Bound bound = boundOf(m);
  out["memory_bytes"] = memory.amount;
  out["read_bandwidth"] = limits.read;
  out["read_share"] = memory.part;
  for (const Unit &unit : kUnits) {
    Share share = unitShare(m, unit);
    std::string name = unit.name;
    out[name + "_operations"] = share.amount;
    out[name + "_peak"] = limits.*unit.limit;
    out[name + "_share"] = share.part;
  }
  out["limit"] = bound.unit ? bound.unit->name : "read";
  out["limit_share"] = bound.share.part;
  if (!m.opNanoseconds.empty())
    out["per_op"] = perOpJson(m);
  return out;
}

static std::string limitText(const Measured &m) {
  if (m.ops.empty() || !m.device.empty())
    return "-";
  Bound bound = boundOf(m);
  Limits limits = median(m.limits);
  char text[64];
  if (bound.unit)
    std::snprintf(text, sizeof text, "%.1f %% of %.0f GOP/s %s", 100 * bound.share.part,
                  limits.*bound.unit->limit / 1e9, bound.unit->name);
  else
    std::snprintf(text, sizeof text, "%.1f %% of %.1f GB/s", 100 * bound.share.part, limits.read / 1e9);
  return text;
}

/// "123.4 ± 1.2", and for several sequences how many times one's speed that is.
static std::string speedText(const Measured &m) {
  std::vector<double> speeds = m.speeds();
  char text[64];
  int size = std::snprintf(text, sizeof text, "%.2f ± %.2f", mean(speeds), deviation(speeds));
  if (m.test.sequences > 1)
    std::snprintf(text + size, sizeof text - size_t(size), " (%.2f x one)", m.ratioToOne());
  return text;
}

void cli::printRow(const Measured &m, bool first) {
  if (first)
    std::printf("| %-16s | %10s | %10s | %-18s | %7s | %-14s | %30s | %25s |\n"
                "| ---------------- | ---------: | ---------: | ------------------ | ------: | -------------- | "
                "-----------------------------: | ------------------------: |\n",
                "model", "size", "params", "target", "threads", "test", "t/s", "of the machine's");
  char params[32];
  std::snprintf(params, sizeof params, "%.2f M", double(m.info.parameters) / 1e6);
  std::printf("| %-16s | %10s | %10s | %-18s | %7d | %-14s | %31s | %25s |\n", modelType(m.info).c_str(),
              formatBytes(double(m.info.weights_bytes)).c_str(), params, m.info.target, m.info.threads,
              (m.test.name() + (m.cacheType == "f16" ? "" : " " + m.cacheType)).c_str(), speedText(m).c_str(),
              limitText(m).c_str());
  std::fflush(stdout);
}

static std::string number(const char *format, double value) {
  char text[32];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

/// A device's kernels: their time alone, longest first.
static void printTimes(const Measured &m, const std::vector<KernelTotal> &totals, double all) {
  std::printf("\n%s, %s: %.3f ms in kernels\n", m.test.name().c_str(), m.device.c_str(), all * 1e3);
  Table table({"kernel", "op", ">measured us", ">of the time"});
  for (const KernelTotal &total : totals)
    table.add({total.kernel, total.op, number("%.1f", total.measured * 1e6),
               number("%.1f %%", 100 * total.measured / all)});
  table.print();
}

void cli::printPerOp(const Measured &m) {
  std::vector<KernelTotal> totals = kernelTotals(m);
  double all = 0;
  for (const KernelTotal &total : totals)
    all += total.measured;
  if (!m.device.empty())
    return printTimes(m, totals, all);
  Limits limits = median(m.limits);
  std::printf("\n%s, %d thread(s): %.3f ms in kernels; limits %.1f GB/s", m.test.name().c_str(), m.info.threads,
              all * 1e3, limits.read / 1e9);
  for (const Unit &unit : kUnits)
    std::printf(", %.0f GOP/s of %s", limits.*unit.limit / 1e9, unit.what);
  std::printf("\n");
  Table table({"kernel", "op", ">calls", ">MB", ">MOP", ">predicted us", ">measured us", ">ratio", ">of the time"});
  for (const KernelTotal &total : totals)
    table.add({total.kernel, total.op, std::to_string(total.calls), number("%.2f", total.bytes / 1e6),
               number("%.2f", total.operations / 1e6), number("%.1f", total.predicted * 1e6),
               number("%.1f", total.measured * 1e6), number("%.2f", total.ratio()),
               number("%.1f %%", 100 * total.measured / all)});
  table.print();
}
