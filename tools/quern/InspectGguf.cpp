// `quern inspect` of a model file: what a GGUF file holds, and whether that is a model that can be compiled.
#include "Common.h"
#include "CompilerCommands.h"
#include "Table.h"

#include "quern/Import/ImportGGUF.h"
#include "quern/Import/OpenModel.h"

#include "dialects/DQ/DQ.h"

#include "mlir/IR/MLIRContext.h"

#include <filesystem>
#include <map>

using namespace quern;
using namespace quern::cli;
using nlohmann::ordered_json;

namespace {
struct InspectOptions {
  std::string path;
  std::vector<std::string> formatFiles;
  bool verify = false, json = false;
};
} // namespace

static ordered_json scalar(const gguf::Value &value, uint64_t i) {
  if (value.type == gguf::ValueType::String)
    return std::string(value.strings[i]);
  if (value.type == gguf::ValueType::Bool)
    return *value.integer<uint8_t>(i) != 0;
  if (std::optional<int64_t> integer = value.integer<int64_t>(i))
    return *integer;
  if (std::optional<uint64_t> large = value.integer<uint64_t>(i))
    return *large;
  return value.real(i).value_or(0);
}

/// A long array is described by its length and type only.
static ordered_json valueJson(const gguf::Value &value) {
  constexpr uint64_t longest = 8;
  if (!value.isArray)
    return scalar(value, 0);
  if (value.count > longest)
    return "[" + std::to_string(value.count) + " x " + std::string(gguf::typeName(value.type)) + "]";
  ordered_json array = ordered_json::array();
  for (uint64_t i = 0; i < value.count; ++i)
    array.push_back(scalar(value, i));
  return array;
}

static ordered_json tensorsJson(const gguf::File &file) {
  ordered_json all = ordered_json::array();
  for (const gguf::Tensor &tensor : file.tensors())
    all.push_back({{"name", tensor.name},
                   {"format", tensor.type->name},
                   {"shape", std::vector<uint64_t>(tensor.dims.rbegin(), tensor.dims.rend())},
                   {"part", tensor.part},
                   {"offset", tensor.offset},
                   {"bytes", tensor.bytes()}});
  return all;
}

static ordered_json formatsJson(const gguf::File &file) {
  struct Total {
    uint64_t tensors = 0, elements = 0, bytes = 0;
  };
  std::map<std::string, Total> totals;
  for (const gguf::Tensor &tensor : file.tensors()) {
    Total &total = totals[tensor.type->name];
    ++total.tensors;
    total.elements += tensor.elements;
    total.bytes += tensor.bytes();
  }
  ordered_json all = ordered_json::array();
  for (const auto &[name, total] : totals)
    all.push_back({{"format", name}, {"tensors", total.tensors}, {"elements", total.elements}, {"bytes", total.bytes}});
  return all;
}

static bool isFolder(const std::string &path) {
  std::error_code unknown;
  return std::filesystem::is_directory(path, unknown);
}

static void print(const gguf::File &file, const std::string &compilable) {
  if (isFolder(file.path()))
    std::printf("folder     %s, %zu tensors, named as in GGUF\n", file.path().c_str(), file.tensors().size());
  else
    std::printf("GGUF       %s, version %u, %zu part(s), %zu tensors\n", file.path().c_str(), file.version(),
                file.parts().size(), file.tensors().size());
  std::printf("compiles   %s\n", compilable.empty() ? "yes" : ("no: " + compilable).c_str());
  std::printf("\nmetadata\n");
  Table metadata({"key", "value"});
  for (const gguf::File::Entry &entry : file.metadata()) {
    std::string value = valueJson(entry.value).dump(-1, ' ', false, ordered_json::error_handler_t::replace);
    constexpr size_t widest = 96;
    if (value.size() > widest)
      value = value.substr(0, widest) + "... (" + std::to_string(value.size()) + " bytes)";
    metadata.add({std::string(entry.key), value});
  }
  metadata.print();
  std::printf("\nformats\n");
  printRecords(formatsJson(file));
  std::printf("\ntensors\n");
  printRecords(tensorsJson(file));
}

std::string cli::whyNot(const gguf::File &file) {
  auto config = import::readModelConfig(file);
  if (!config)
    return config.error().message;
  auto tokenizer = import::readTokenizer(file, *config);
  return tokenizer ? std::string() : tokenizer.error().message;
}

static Status inspect(const InspectOptions &options) {
  if (options.verify)
    return fail("--verify checks packages; a model to be compiled carries no hashes");
  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  for (const std::string &path : options.formatFiles)
    QUERN_TRY(context.getOrLoadDialect<dq::DQDialect>()->getFormats().addFile(path));
  gguf::TypeTable types = import::typeTable(context);
  if (isOnnx(options.path))
    return inspectOnnx(options.path, types, options.json);
  QUERN_ASSIGN(gguf::File file, import::openModel(options.path, types));
  std::string compilable = whyNot(file);
  if (!options.json) {
    print(file, compilable);
    return {};
  }
  ordered_json metadata = ordered_json::object();
  for (const gguf::File::Entry &entry : file.metadata())
    metadata[std::string(entry.key)] = valueJson(entry.value);
  ordered_json all = {{"kind", isFolder(options.path) ? "folder" : "gguf"},
                      {"path", options.path},
                      {"version", file.version()},
                      {"parts", file.parts().size()},
                      {"compiles", compilable.empty()},
                      {"reason", compilable},
                      {"metadata", metadata},
                      {"formats", formatsJson(file)},
                      {"tensors", tensorsJson(file)}};
  std::printf("%s\n", all.dump(2, ' ', false, ordered_json::error_handler_t::replace).c_str());
  return {};
}

Command cli::addInspectGguf(CLI::App &root) {
  CLI::App *app = root.add_subcommand("inspect", "Show what a GGUF or ONNX file or a Hugging Face folder holds");
  auto options = std::make_shared<InspectOptions>();
  app->add_option("file", options->path, "GGUF or ONNX file, or Hugging Face folder")->required();
  app->add_flag("--verify", options->verify, "Packages only");
  app->add_flag("--json", options->json, "Print JSON");
  app->add_option("--format", options->formatFiles, "File that describes further block formats")
      ->allow_extra_args(false);
  return {app, [options] { return inspect(*options); }};
}
