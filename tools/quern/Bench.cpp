// `quern bench`: speed of prompts and of generation, measured and reported as llama-bench does, so that one script
// reads both. Each test is a prompt of P tokens or a generation of N tokens after D tokens of context. Between the
// repetitions the package's probes measure what the machine can do.
#include "BenchReport.h"
#include "Command.h"
#include "Common.h"
#include "MachineLimits.h"
#include "Progress.h"

#include "quern/Runtime/PackageReader.h"

#include <chrono>
#include <ctime>
#include <random>

using namespace quern;
using namespace quern::cli;
using nlohmann::ordered_json;

namespace {
struct BenchOptions {
  ModelFlags model;
  std::vector<int> prompts{512}, generations{128}, depths{0}, threads{0}, sequences{1};
  int repetitions = 5, batch = 0;
  std::string output = "md";
  bool noWarmup = false, perOp = false;
};
} // namespace

static std::string now() {
  std::time_t seconds = std::time(nullptr);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", std::gmtime(&seconds));
  return text;
}

/// The test's tokens, once, after its context.
static Status runOnce(std::span<api::Session> sessions, const BenchTest &test, std::span<const int32_t> tokens) {
  std::vector<quern_session *> handles;
  for (api::Session &session : sessions) {
    QUERN_TRY(lift(session.truncate(test.depth)));
    handles.push_back(session.get());
  }
  if (test.prompt > 0)
    return lift(sessions.front().prefill(tokens.first(size_t(test.prompt))));
  std::vector<int32_t> next(sessions.size());
  for (int i = 0; i < test.generation; ++i) {
    for (size_t s = 0; s < next.size(); ++s) // each sequence has another token
      next[s] = tokens[(size_t(i) + s) % tokens.size()];
    QUERN_TRY(lift(api::decodeBatch(handles, next)));
  }
  return {};
}

static Result<uint64_t> timeOnce(std::span<api::Session> sessions, const BenchTest &test,
                                 std::span<const int32_t> tokens) {
  auto begin = std::chrono::steady_clock::now();
  QUERN_TRY(runOnce(sessions, test, tokens));
  return uint64_t((std::chrono::steady_clock::now() - begin).count());
}

static std::vector<int32_t> randomTokens(const api::Model &model, int count) {
  std::mt19937 random(1);
  std::vector<int32_t> tokens(static_cast<size_t>(count));
  for (int32_t &token : tokens)
    token = int32_t(random() % uint64_t(model.info().tokens));
  if (model.bos() >= 0)
    tokens.front() = model.bos();
  return tokens;
}

/// The repetitions, with the machine's limits taken before, between and after them.
static Status repeat(api::Model &model, std::span<api::Session> sessions, const BenchOptions &options,
                     MachineLimits &machine, std::span<const int32_t> tokens, Measured &out) {
  Progress bar(out.test.name());
  QUERN_ASSIGN(Limits before, machine.take(model));
  for (int i = 0; i < options.repetitions; ++i) {
    QUERN_ASSIGN(uint64_t taken, timeOnce(sessions, out.test, tokens));
    out.nanoseconds.push_back(taken);
    QUERN_ASSIGN(Limits after, machine.take(model));
    out.limits.push_back(median({before, after}));
    before = after;
    if (sessions.size() > 1) {
      QUERN_ASSIGN(uint64_t alone, timeOnce(sessions.first(1), out.test, tokens));
      out.alone.push_back(alone);
    }
    bar.update(double(i + 1) / options.repetitions);
  }
  return {};
}

/// Nanoseconds of each kernel call in one more set of repetitions, the mean of all.
static Status profile(api::Model &model, std::span<api::Session> sessions, const BenchOptions &options,
                      std::span<const int32_t> tokens, Measured &out) {
  if (out.ops.empty())
    return fail("'" + options.model.path + "' has no table of its kernel calls; compile the model again");
  QUERN_TRY(lift(model.startProfile()));
  for (int i = 0; i < options.repetitions; ++i)
    QUERN_TRY(runOnce(sessions, out.test, tokens));
  QUERN_ASSIGN(std::vector<uint64_t> times, lift(model.stopProfile()));
  if (times.size() != out.ops.size())
    return fail("'" + options.model.path + "' tells of " + std::to_string(times.size()) + " kernel calls and lists " +
                std::to_string(out.ops.size()) + "; compile the model again");
  for (uint64_t time : times)
    out.opNanoseconds.push_back(double(time) / options.repetitions);
  return {};
}

/// "" of the processor.
static std::string deviceOf(const api::Model &model) {
  quern_model_info info = model.info();
  return std::string_view(info.device) == "cpu" ? "" : std::string(info.device) + " (" + info.device_name + ")";
}

static Result<Measured> measure(api::Model &model, const BenchOptions &options, const std::vector<OpRecord> &ops,
                                MachineLimits &machine, const BenchTest &test) {
  Measured out{test, model.info(),    options.model.path, options.model.keyType, now(), {}, {}, {},
               ops,  deviceOf(model), {}};
  std::vector<int32_t> tokens = randomTokens(model, std::max(test.depth, test.tokens()));
  std::vector<api::Session> sessions;
  for (int i = 0; i < test.sequences; ++i) {
    QUERN_ASSIGN(api::Session session, lift(model.session(test.depth + test.tokens())));
    if (test.depth > 0)
      QUERN_TRY(lift(session.prefill(std::span(tokens).first(size_t(test.depth)))));
    sessions.push_back(std::move(session));
  }
  BenchTest shortened = test;
  shortened.generation = std::min(test.generation, 1);
  if (!options.noWarmup)
    QUERN_TRY(runOnce(sessions, shortened, tokens));
  QUERN_TRY(repeat(model, sessions, options, machine, tokens, out));
  if (options.perOp)
    QUERN_TRY(profile(model, sessions, options, tokens, out));
  return out;
}

/// The op table of the code in use, or a device's launches; none in a package of an earlier compiler.
static Result<std::vector<OpRecord>> opTable(const BenchOptions &options, const api::Model &model) {
  QUERN_ASSIGN(package::PackageReader reader, package::PackageReader::open(options.model.path));
  if (!deviceOf(model).empty())
    return readLaunches(reader, model.info().target);
  QUERN_ASSIGN(nlohmann::ordered_json plan, readPlan(reader));
  const std::string &cache = options.model.keyType;
  return readOpTable(plan, model.info().target + (cache == "f16" ? "" : "_" + cache), options.model.path);
}

static std::vector<BenchTest> allTests(const BenchOptions &options) {
  std::vector<BenchTest> tests;
  for (int depth : options.depths) {
    for (int prompt : options.prompts)
      tests.push_back({prompt, 0, depth});
    for (int generation : options.generations)
      for (int sequences : options.sequences)
        tests.push_back({0, generation, depth, sequences});
  }
  std::erase_if(tests, [](const BenchTest &test) { return test.tokens() == 0; });
  return tests;
}

static Status bench(const BenchOptions &options) {
  nlohmann::ordered_json results = nlohmann::ordered_json::array();
  std::vector<Measured> all;
  for (int threads : options.threads) {
    ModelFlags flags = options.model;
    flags.threads = threads;
    QUERN_ASSIGN(api::Model model, openModel(flags, options.batch));
    QUERN_ASSIGN(std::vector<OpRecord> ops, opTable(options, model));
    MachineLimits machine;
    if (!ops.empty() && deviceOf(model).empty())
      QUERN_TRY(machine.prepare(model));
    for (const BenchTest &test : allTests(options)) {
      QUERN_ASSIGN(Measured measured, measure(model, options, ops, machine, test));
      if (options.output == "md")
        printRow(measured, all.empty());
      else if (options.output == "jsonl")
        std::printf("%s\n", toJson(measured).dump().c_str());
      else
        results.push_back(toJson(measured));
      measured.info.architecture = measured.info.target = nullptr; // which live as long as the model
      all.push_back(std::move(measured));
    }
  }
  if (options.output == "json")
    std::printf("%s\n", results.dump(2).c_str());
  if (options.output == "md" && options.perOp)
    for (const Measured &measured : all)
      printPerOp(measured);
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
  app->add_option("--parallel", options->sequences,
                  "Sequences generated at once, e.g. 1,4,8: speed of all together, and beside that of one (1)")
      ->delimiter(',')
      ->check(CLI::PositiveNumber);
  app->add_option("-r,--repetitions", options->repetitions, "Times to repeat each test")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  app->add_option("-b,--batch-size", options->batch, "Tokens in one step of a prompt; 0: the runtime's choice")
      ->check(CLI::NonNegativeNumber);
  app->add_option("-o,--output", options->output, "md, json or jsonl")
      ->capture_default_str()
      ->check(CLI::IsMember({"md", "json", "jsonl"}));
  app->add_flag("--per-op", options->perOp,
                "Also show each kernel's time beside what memory and processor would allow, worst first");
  app->add_flag("--no-warmup", options->noWarmup, "Measure from the first run on");
  bindModelFlags(*app, options->model, /*withThreads=*/false);
  app->footer("\nExamples:\n"
              "  quern bench -m model.quern\n"
              "  quern bench -m model.quern -p 128,512 -n 64 -t 1,2 -r 3 -o json\n"
              "  quern bench -m model.quern -p 0 -n 32 --parallel 1,4,8\n"
              "  quern bench -m model.quern -p 512 -n 32 -t 1 --per-op\n"
              "  quern bench -m model.quern --device cuda --per-op");
  return {app, [options] { return bench(*options); }};
}
