// `quern bench`: speed of prompts and of generation, measured and reported as llama-bench does, so that one script
// reads both. Each test is a prompt of P tokens or a generation of N tokens after D tokens of context.
#include "Command.h"
#include "Common.h"
#include "Progress.h"

#include <nlohmann/json.hpp>

#include <chrono>
#include <cmath>
#include <ctime>
#include <fstream>
#include <random>

using namespace quern;
using namespace quern::cli;
using nlohmann::ordered_json;

namespace {
struct BenchOptions {
  ModelFlags model;
  std::vector<int> prompts{512}, generations{128}, depths{0}, threads{0};
  int repetitions = 5, batch = 0;
  std::string output = "md";
  bool noWarmup = false;
};

struct Test {
  int prompt, generation, depth;
  std::string name() const {
    std::string text = prompt > 0 ? "pp" + std::to_string(prompt) : "tg" + std::to_string(generation);
    return depth > 0 ? text + " @ d" + std::to_string(depth) : text;
  }
  int tokens() const { return prompt + generation; }
};

struct Measured {
  Test test;
  quern_model_info info;
  std::string path, time;
  std::vector<uint64_t> nanoseconds;

  std::vector<double> speeds() const {
    std::vector<double> out;
    for (uint64_t ns : nanoseconds)
      out.push_back(1e9 * test.tokens() / double(ns));
    return out;
  }
};
} // namespace

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

static std::string now() {
  std::time_t seconds = std::time(nullptr);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", std::gmtime(&seconds));
  return text;
}

static Status runOnce(api::Session &session, const Test &test, std::span<const int32_t> tokens) {
  if (test.prompt > 0)
    return lift(session.prefill(tokens.first(size_t(test.prompt))));
  for (int i = 0; i < test.generation; ++i)
    QUERN_TRY(lift(session.decode(tokens[size_t(i)])));
  return {};
}

static Result<Measured> measure(api::Model &model, const BenchOptions &options, const Test &test) {
  Measured out{test, model.info(), options.model.path, now(), {}};
  QUERN_ASSIGN(api::Session session, lift(model.session(test.depth + test.tokens())));
  std::mt19937 random(1);
  std::vector<int32_t> tokens(size_t(std::max(test.depth, test.tokens())));
  for (int32_t &token : tokens)
    token = int32_t(random() % uint64_t(out.info.tokens));
  if (model.bos() >= 0)
    tokens.front() = model.bos();

  if (test.depth > 0)
    QUERN_TRY(lift(session.prefill(std::span(tokens).first(size_t(test.depth)))));
  if (!options.noWarmup) {
    Test warmup{test.prompt, std::min(test.generation, 1), test.depth};
    QUERN_TRY(runOnce(session, warmup, tokens));
  }
  Progress bar(test.name());
  for (int i = 0; i < options.repetitions; ++i) {
    QUERN_TRY(lift(session.truncate(test.depth)));
    auto begin = std::chrono::steady_clock::now();
    QUERN_TRY(runOnce(session, test, tokens));
    out.nanoseconds.push_back(uint64_t((std::chrono::steady_clock::now() - begin).count()));
    bar.update(double(i + 1) / options.repetitions);
  }
  return out;
}

static std::string modelType(const quern_model_info &info) {
  char size[32];
  bool billions = info.parameters >= 1000000000;
  std::snprintf(size, sizeof size, " %.1f%c", double(info.parameters) / (billions ? 1e9 : 1e6), billions ? 'B' : 'M');
  return info.architecture + std::string(size);
}

static ordered_json toJson(const Measured &m) {
  std::vector<double> speeds = m.speeds();
  return {{"build_commit", quern_version()},
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
}

static void printRow(const Measured &m, bool first) {
  if (first)
    std::printf("| %-16s | %10s | %10s | %-18s | %7s | %-14s | %18s |\n"
                "| ---------------- | ---------: | ---------: | ------------------ | ------: | -------------- | "
                "-----------------: |\n",
                "model", "size", "params", "target", "threads", "test", "t/s");
  std::vector<double> speeds = m.speeds();
  char params[32], speed[48];
  std::snprintf(params, sizeof params, "%.2f M", double(m.info.parameters) / 1e6);
  std::snprintf(speed, sizeof speed, "%.2f ± %.2f", mean(speeds), deviation(speeds));
  std::printf("| %-16s | %10s | %10s | %-18s | %7d | %-14s | %19s |\n", modelType(m.info).c_str(),
              formatBytes(double(m.info.weights_bytes)).c_str(), params, m.info.target, m.info.threads,
              m.test.name().c_str(), speed);
  std::fflush(stdout);
}

static std::vector<Test> allTests(const BenchOptions &options) {
  std::vector<Test> tests;
  for (int depth : options.depths) {
    for (int prompt : options.prompts)
      tests.push_back({prompt, 0, depth});
    for (int generation : options.generations)
      tests.push_back({0, generation, depth});
  }
  std::erase_if(tests, [](const Test &test) { return test.tokens() == 0; });
  return tests;
}

static Status bench(const BenchOptions &options) {
  ordered_json results = ordered_json::array();
  bool first = true;
  for (int threads : options.threads) {
    ModelFlags flags = options.model;
    flags.threads = threads;
    QUERN_ASSIGN(api::Model model, openModel(flags, options.batch));
    for (const Test &test : allTests(options)) {
      QUERN_ASSIGN(Measured measured, measure(model, options, test));
      if (options.output == "md")
        printRow(measured, first);
      else if (options.output == "jsonl")
        std::printf("%s\n", toJson(measured).dump().c_str());
      else
        results.push_back(toJson(measured));
      first = false;
    }
  }
  if (options.output == "json")
    std::printf("%s\n", results.dump(2).c_str());
  return {};
}

Command cli::addBench(CLI::App &root) {
  CLI::App *app = root.add_subcommand("bench", "Measure prompt and generation speed");
  auto options = std::make_shared<BenchOptions>();
  auto list = [app](const char *flags, std::vector<int> &values, const char *help) {
    app->add_option(flags, values, help)->delimiter(',')->check(CLI::NonNegativeNumber);
  };
  app->add_option("-m,--model", options->model.path, "Package (.quern)")->required();
  list("-p,--n-prompt", options->prompts, "Prompt lengths, e.g. 128,512; 0: none (512)");
  list("-n,--n-gen", options->generations, "Generation lengths; 0: none (128)");
  list("-d,--n-depth", options->depths, "Tokens of context before the measured ones (0)");
  list("-t,--threads", options->threads, "Thread numbers, e.g. 1,2; 0: one for each processor (0)");
  app->add_option("-r,--repetitions", options->repetitions, "Times to repeat each test")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  app->add_option("-b,--batch-size", options->batch, "Tokens in one step of a prompt; 0: the runtime's choice")
      ->check(CLI::NonNegativeNumber);
  app->add_option("-o,--output", options->output, "md, json or jsonl")
      ->capture_default_str()
      ->check(CLI::IsMember({"md", "json", "jsonl"}));
  app->add_flag("--no-warmup", options->noWarmup, "Measure from the first run on");
  bindModelFlags(*app, options->model, /*withThreads=*/false);
  app->footer("\nExamples:\n"
              "  quern bench -m model.quern\n"
              "  quern bench -m model.quern -p 128,512 -n 64 -t 1,2 -r 3 -o json");
  return {app, [options] { return bench(*options); }};
}
