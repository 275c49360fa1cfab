// `quern run`: answers one prompt, or holds a conversation when none is given on a terminal.
#include "Command.h"
#include "quern/Support/Json.h"
#include "Common.h"
#include "Generate.h"
#include "RunGraph.h"

#include <nlohmann/json.hpp>

#include <cstdio>
#include <iostream>
#include <optional>
#include <random>
#include <unistd.h>

using namespace quern;
using namespace quern::cli;

namespace {
struct RunOptions {
  ModelFlags model;
  std::optional<std::string> prompt;
  std::string promptFile, system, chatTemplate;
  int64_t limit = -1, context = 0;
  std::optional<float> temperature, topP, minP, repeatPenalty;
  std::optional<int> topK;
  int repeatLastN = 64;
  int64_t seed = -1;
  bool raw = false, verbose = false;
  GraphFiles files; ///< of a model that is a graph
};

/// A conversation and the model it is held with.
struct Chat {
  const RunOptions &options;
  api::Model &model;
  std::vector<std::pair<std::string, std::string>> turns; ///< role, content

  std::vector<api::Message> messages() const {
    std::vector<api::Message> out;
    for (const auto &[role, content] : turns)
      out.push_back({role.c_str(), content.c_str()});
    return out;
  }
};
} // namespace

/// What the user gave, else what the package suggests, else the runtime's default.
static quern_sampler_options samplerOptions(const RunOptions &options, const api::Model &model) {
  nlohmann::json manifest = parseJson(model.manifest());
  auto choose = [&](auto given, const char *key, auto fallback) {
    if (given)
      return *given;
    auto defaults = manifest.find("generation");
    if (defaults != manifest.end() && defaults->is_object() && defaults->contains(key) && (*defaults)[key].is_number())
      return (*defaults)[key].template get<decltype(fallback)>();
    return fallback;
  };
  quern_sampler_options out = api::samplerOptions();
  out.temperature = choose(options.temperature, "temperature", out.temperature);
  out.top_k = choose(options.topK, "top_k", int(out.top_k));
  out.top_p = choose(options.topP, "top_p", out.top_p);
  out.min_p = choose(options.minP, "min_p", out.min_p);
  out.repeat_penalty = choose(options.repeatPenalty, "repetition_penalty", out.repeat_penalty);
  out.repeat_last_n = options.repeatLastN;
  out.seed = options.seed >= 0 ? uint64_t(options.seed) : std::random_device{}();
  return out;
}

/// The reply's opening that the template puts into the prompt ("<think>\n" for R1 models) is shown as part of the
/// reply.
static Result<std::string> replyOpening(const Chat &chat) {
  std::vector<api::Message> messages = chat.messages();
  const char *name = chat.options.chatTemplate.empty() ? nullptr : chat.options.chatTemplate.c_str();
  QUERN_ASSIGN(std::string text, lift(api::detail::grow<std::string>(1024, [&](char *out, size_t room, size_t *size) {
                 return quern_chat_render(chat.model.get(), name, messages.data(), messages.size(),
                                          QUERN_GENERATION_PROMPT, out, room, size);
               })));
  std::string opening = "<think>\n";
  return text.ends_with(opening) ? opening : std::string();
}

/// Answers the conversation so far; the reply is streamed and returned.
static Result<Generation> reply(Chat &chat, api::Session &session, api::Sampler &sampler) {
  QUERN_ASSIGN(std::vector<int32_t> tokens, lift(chat.model.chat(chat.messages(), chat.options.chatTemplate)));
  QUERN_ASSIGN(std::string opening, replyOpening(chat));
  std::fputs(opening.c_str(), stdout);
  QUERN_ASSIGN(Generation generation, generate(chat.model, session, sampler, tokens, chat.options.limit));
  generation.text = opening + generation.text;
  return generation;
}

static Status converse(Chat &chat, api::Session &session, api::Sampler &sampler) {
  std::fprintf(stderr, "Chat with %s. /clear forgets, /exit or Ctrl-D ends, Ctrl-C stops a reply.\n",
               chat.model.info().name);
  size_t kept = chat.turns.size(); // the system prompt
  for (std::string line; std::fputs("> ", stdout), std::fflush(stdout), std::getline(std::cin, line);) {
    if (line == "/exit")
      return {};
    if (line == "/clear")
      chat.turns.resize(kept);
    if (line.empty() || line == "/clear")
      continue;
    chat.turns.emplace_back("user", line);
    QUERN_ASSIGN(Generation generation, reply(chat, session, sampler));
    std::fputc('\n', stdout);
    if (chat.options.verbose)
      printTimings(generation);
    chat.turns.emplace_back("assistant", std::move(generation.text));
  }
  std::fputc('\n', stdout);
  return {};
}

/// The prompt from the flags or a pipe; nothing if the user is to type it.
static Result<std::optional<std::string>> findPrompt(const RunOptions &options) {
  if (options.prompt)
    return options.prompt;
  if (!options.promptFile.empty()) {
    QUERN_ASSIGN(std::string text, readFile(options.promptFile));
    return std::optional(std::move(text));
  }
  if (isatty(STDIN_FILENO))
    return std::optional<std::string>();
  return std::optional(std::string{std::istreambuf_iterator<char>(std::cin), std::istreambuf_iterator<char>()});
}

/// Prompts are for language models, tensors for graphs.
static Status checkFlags(const RunOptions &options, const api::Model &model) {
  bool isGraph = quern_model_is_graph(model.get());
  if (isGraph && (options.prompt || !options.promptFile.empty()))
    return fail("'" + options.model.path + "' is a graph of tensors and takes no prompt; give its inputs: --inputs "
                "NAME=FILE.npy");
  if (!isGraph && (!options.files.inputs.empty() || !options.files.outputs.empty()))
    return fail("'" + options.model.path + "' is a language model; --inputs and --outputs are for graphs, give it a "
                "prompt: -p TEXT");
  return {};
}

static Status run(const RunOptions &options) {
  QUERN_ASSIGN(api::Model model, openModel(options.model, 0, options.context > 0 ? options.context : -1));
  QUERN_TRY(checkFlags(options, model));
  if (quern_model_is_graph(model.get()))
    return runGraph(model, options.files);
  QUERN_ASSIGN(std::optional<std::string> prompt, findPrompt(options));
  if (!prompt && options.raw)
    return fail("--raw needs a prompt: give one with -p or --file");
  QUERN_ASSIGN(api::Session session, lift(model.session(options.context)));
  quern_sampler_options sampling = samplerOptions(options, model);
  QUERN_ASSIGN(api::Sampler sampler, lift(model.sampler(sampling)));
  if (options.verbose) {
    quern_model_info info = model.info();
    std::string where = info.threads > 0 ? std::to_string(info.threads) + " threads"
                                         : std::string(info.device) + " (" + info.device_name + ")";
    std::string code = info.target + (*info.device_code ? std::string(" (") + info.device_code + ")" : "");
    std::fprintf(stderr, "%s: %s, code for %s, %s, context %lld, temperature %g, seed %llu\n", info.name,
                 info.architecture, code.c_str(), where.c_str(), (long long)session.contextLength(),
                 sampling.temperature, (unsigned long long)sampling.seed);
  }

  Chat chat{options, model, {}};
  if (!options.system.empty())
    chat.turns.emplace_back("system", options.system);
  if (!prompt)
    return converse(chat, session, sampler);
  Result<Generation> generation = Generation{};
  if (options.raw) {
    QUERN_ASSIGN(std::vector<int32_t> tokens, lift(model.tokenize(*prompt, QUERN_ADD_BOS | QUERN_PARSE_SPECIAL)));
    generation = generate(model, session, sampler, tokens, options.limit);
  } else {
    chat.turns.emplace_back("user", *prompt);
    generation = reply(chat, session, sampler);
  }
  QUERN_TRY(generation);
  std::fputc('\n', stdout);
  if (options.verbose)
    printTimings(*generation);
  return {};
}

static void bindSampling(CLI::App &app, RunOptions &options) {
  app.add_option("--temp", options.temperature,
                 "Temperature; 0: always the likeliest token (default: the package's, else 0.6)");
  app.add_option("--top-k", options.topK, "Sample from the K likeliest tokens; 0: off");
  app.add_option("--top-p", options.topP,
                 "Sample from the likeliest tokens that make up this probability; 1: off (0.95)");
  app.add_option("--min-p", options.minP, "Drop tokens below this part of the largest probability; 0: off");
  app.add_option("--repeat-penalty", options.repeatPenalty, "Divide the logits of tokens already seen; 1: off");
  app.add_option("--repeat-last-n", options.repeatLastN, "How many tokens the penalty looks back; -1: all")
      ->capture_default_str();
  app.add_option("-s,--seed", options.seed, "Seed of the random draws; -1: another one each time");
}

Command cli::addRun(CLI::App &root) {
  CLI::App *app = root.add_subcommand("run", "Answer a prompt, or chat");
  auto options = std::make_shared<RunOptions>();
  app->add_option("model", options->model.path, "Package (.quern)")->required();
  app->add_option("-p,--prompt", options->prompt, "The prompt; without it, a chat on a terminal, else standard input");
  app->add_option("-f,--file", options->promptFile, "File that holds the prompt");
  app->add_option("-n,--predict", options->limit, "Most tokens of a reply; -1: until it ends")->capture_default_str();
  app->add_option("-c,--ctx-size", options->context, "Most tokens of the conversation; 0: the model's own")
      ->check(CLI::NonNegativeNumber);
  app->add_option("--sys,--system-prompt", options->system, "System prompt");
  app->add_flag("--raw", options->raw, "Give the prompt to the model as it is, without chat template");
  app->add_option("--template", options->chatTemplate, "Chat template instead of the package's: deepseek-r1 or chatml");
  app->add_flag("--verbose", options->verbose,
                "Print code version, threads or device, seed and speeds to standard error");
  app->add_option("--inputs", options->files.inputs, "Of a graph: NAME=FILE.npy for each input")->expected(1, -1);
  app->add_option("--outputs", options->files.outputs, "Of a graph: NAME=FILE.npy for outputs to be written")
      ->expected(1, -1);
  bindModelFlags(*app, options->model);
  bindSampling(*app, *options);
  app->footer("\nExamples:\n"
              "  quern run model.quern -p \"Why is the sky blue?\" -n 128\n"
              "  quern run model.quern --temp 0 --raw -p \"Once upon a time\" -n 64\n"
              "  quern run model.quern -c 8192                  # chat\n"
              "  quern run model.quern --device cuda            # on a GPU; compile with --target nvptx:sm_80\n"
              "  quern run graph.quern --inputs x=x.npy --outputs y=y.npy");
  return {app, [options] { return run(*options); }};
}
