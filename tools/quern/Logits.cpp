// `quern logits`: the logits of a package along greedy or given continuations; `--reference` hands over.
#include "Command.h"
#include "Common.h"
#include "LogitsRecord.h"

#include <optional>

using namespace quern;
using namespace quern::cli;

namespace {
class PackageLogits : public LogitsSource {
public:
  explicit PackageLogits(api::Model model) : model(std::move(model)) {}

  Result<std::vector<int32_t>> tokenize(const std::string &text) override {
    return lift(model.tokenize(text, QUERN_ADD_BOS | QUERN_PARSE_SPECIAL));
  }
  Status begin(int64_t length) override {
    session.reset();
    QUERN_ASSIGN(session, lift(model.session(length)));
    return {};
  }
  Result<std::span<const float>> append(std::span<const int32_t> tokens) override {
    QUERN_TRY(lift(session->prefill(tokens)));
    return lift(session->logits());
  }

private:
  api::Model model;
  std::optional<api::Session> session;
};
} // namespace

Command cli::addLogits(CLI::App &root, char **argv) {
  struct All {
    ModelFlags model;
    LogitsOptions logits;
    std::vector<std::string> formatFiles;
    bool reference = false, floatActivations = false, noFma = false;
  };
  auto options = std::make_shared<All>();
  CLI::App *app = root.add_subcommand("logits", "Print the largest logits of each step as JSON lines");
  app->add_option("model", options->model.path, "Package (.quern); with --reference a GGUF file")->required();
  bindLogitsOptions(*app, options->logits);
  app->add_flag("--reference", options->reference, "Use the slow double-precision reference on a GGUF file");
  app->add_flag("--float-activations", options->floatActivations,
                "With --reference: round neither activations, but where the file does so, nor cache");
  app->add_flag("--no-fma", options->noFma,
                "With --reference: quantize as code of targets without fused multiply-add does");
  app->add_option("--format", options->formatFiles, "With --reference: file that describes further block formats")
      ->allow_extra_args(false);
  bindModelFlags(*app, options->model);
  app->footer("\nExamples:\n"
              "  quern logits model.quern --prompts prompts.txt -n 64 --top 20 > ours.jsonl\n"
              "  quern logits model.quern --prompts prompts.txt --follow theirs.jsonl > ours.jsonl\n"
              "  quern logits model.gguf --prompts prompts.txt --reference > reference.jsonl");
  return {app, [options, argv]() -> Status {
            if (options->reference)
              return handOverToCompiler(argv);
            if (options->floatActivations)
              return fail("--float-activations is for --reference: compiled code always quantizes activations");
            if (options->noFma)
              return fail("--no-fma is for --reference: compiled code does what its target has");
            QUERN_ASSIGN(api::Model model, openModel(options->model));
            PackageLogits source(std::move(model));
            return writeLogits(options->logits, source);
          }};
}
