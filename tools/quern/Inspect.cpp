// `quern inspect`: what a package holds. Model files are shown by `quern-compiler`, which knows the block formats.
#include "Command.h"
#include "Common.h"
#include "OpTable.h"
#include "Progress.h"
#include "Table.h"

#include "quern/Runtime/Manifest.h"
#include "quern/Runtime/PackageReader.h"
#include "quern/Support/Json.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

using namespace quern;
using namespace quern::cli;
using nlohmann::ordered_json;

namespace {
struct InspectOptions {
  std::string path;
  bool verify = false, json = false;
};
} // namespace

static std::string asText(std::span<const uint8_t> bytes) { return {bytes.begin(), bytes.end()}; }

static std::string hashText(const uint64_t hash[2]) {
  char text[33];
  std::snprintf(text, sizeof text, "%016llx%016llx", (unsigned long long)hash[1], (unsigned long long)hash[0]);
  return text;
}

static ordered_json sectionsJson(const package::PackageReader &reader) {
  ordered_json all = ordered_json::array();
  for (const package::Section &section : reader.sections())
    all.push_back({{"name", section.name},
                   {"offset", section.offset},
                   {"bytes", section.bytes.size()},
                   {"xxh3_128", hashText(section.hash)}});
  return all;
}

static void printTensors(const char *kind, const std::vector<Manifest::Tensor> &tensors) {
  for (const Manifest::Tensor &tensor : tensors) {
    std::string shape;
    for (const Manifest::Dimension &dimension : tensor.shape)
      shape += (shape.empty() ? "" : ", ") + (dimension.value >= 0    ? std::to_string(dimension.value)
                                              : dimension.size.empty() ? "?"
                                                                       : dimension.size);
    std::printf("%-10s %s: %s [%s]\n", kind, tensor.name.c_str(), tensor.type.c_str(), shape.c_str());
  }
}

static void printGraph(const Manifest &manifest) {
  std::printf("graph      %s, %.1f M parameters\n", manifest.model.name.c_str(),
              double(manifest.model.parameters) / 1e6);
  std::printf("producer   %s\n", manifest.producer.c_str());
  printTensors("input", manifest.inputs);
  printTensors("output", manifest.outputs);
}

static void printModel(const Manifest &manifest) {
  const Manifest::Model &model = manifest.model;
  std::printf("model      %s (%s), %.1f M parameters\n", model.name.c_str(), model.architecture.c_str(),
              double(model.parameters) / 1e6);
  std::printf("shape      %lld layers, hidden %lld, heads %lld / %lld of %lld, feed-forward %lld, vocabulary %lld, "
              "context %lld\n",
              (long long)model.layers, (long long)model.hidden, (long long)model.heads, (long long)model.kvHeads,
              (long long)model.headDim, (long long)model.feedForward, (long long)model.vocabulary,
              (long long)model.contextLength);
  std::printf("producer   %s\n", manifest.producer.c_str());
  std::printf("template   %s\n", manifest.chatTemplate.c_str());
  std::printf("cache      for each position:");
  for (const auto &[type, bytes] : manifest.cache.types)
    std::printf(" %s in %s", formatBytes(double(bytes)).c_str(), type.c_str());
  std::printf("\n");
  std::printf("arena      %s, %s for each thread", formatBytes(double(manifest.arena.constant)).c_str(),
              formatBytes(double(manifest.arena.perThread)).c_str());
  for (size_t i = 0; i < manifest.arena.sizes.size() && i < manifest.sizes.size(); ++i)
    std::printf(", %s for each of %s", formatBytes(double(manifest.arena.sizes[i])).c_str(), manifest.sizes[i].c_str());
  std::printf("\n");
}

static void printCode(const Manifest &manifest, const package::PackageReader &reader) {
  std::printf("\ncode, first choice first\n");
  Table table({"target", ">bytes", "needs"});
  for (const Manifest::Code &code : manifest.code) {
    std::string features;
    for (const std::string &feature : code.features)
      features += (features.empty() ? "" : " ") + feature;
    const package::Section *section = reader.find(code.section);
    table.add({code.target, std::to_string(section ? section->bytes.size() : 0), features});
  }
  table.print();
  if (manifest.devices.empty())
    return;
  std::printf("\ncode for devices\n");
  Table devices({"target", "api", ">bytes", ">bytes of the program", "machine code"});
  for (const Manifest::Device &device : manifest.devices) {
    const package::Section *section = reader.find(device.section), *program = reader.find(device.program);
    std::string machineCode;
    for (const auto &cubin : device.cubins)
      machineCode += (machineCode.empty() ? "sm_" : " sm_") + cubin.first;
    devices.add({device.target, device.api, std::to_string(section ? section->bytes.size() : 0),
                 std::to_string(program ? program->bytes.size() : 0), machineCode});
  }
  devices.print();
}

/// Lists of records as tables, members of objects as one line each.
static bool isListOfRecords(const ordered_json &value) {
  return value.is_array() && !value.empty() && value.front().is_object();
}

/// What one row (a token, or a row of logits) costs in each kernel, the kernel calls of a step summed by name.
static void printCosts(const std::vector<OpRecord> &ops, const std::string &target, const std::string &cacheType) {
  struct Total {
    std::string kernel, op;
    int64_t calls = 0, weightBytes = 0, cacheBytes = 0, operations = 0, pairOperations = 0;
  };
  std::vector<Total> totals;
  for (const OpRecord &record : ops) {
    auto found = std::ranges::find(totals, record.kernel, &Total::kernel);
    if (found == totals.end())
      found = totals.insert(found, {record.kernel, record.op});
    ++found->calls;
    found->weightBytes += record.weightBytes + record.weightBytesPerRow;
    found->cacheBytes += record.cacheBytesPerKey;
    found->operations += record.operationsPerRow;
    found->pairOperations += record.operationsPerPair;
  }
  std::printf("\ncost of one row, %s, cache of %s\n", target.c_str(), cacheType.c_str());
  Table table({"kernel", "op", ">calls", ">weight bytes", ">operations", ">cache bytes a key", ">operations a key"});
  for (const Total &total : totals)
    table.add({total.kernel, total.op, std::to_string(total.calls), std::to_string(total.weightBytes),
               std::to_string(total.operations), std::to_string(total.cacheBytes),
               std::to_string(total.pairOperations)});
  table.print();
}

static Status printCosts(const Manifest &manifest, const ordered_json &plan, const std::string &path) {
  for (const Manifest::Code &code : manifest.code)
    for (const auto &[type, bytes] : manifest.cache.types) {
      QUERN_ASSIGN(std::vector<OpRecord> ops, readOpTable(plan, code.target + (type == "f16" ? "" : "_" + type), path));
      if (!ops.empty())
        printCosts(ops, code.target, type);
    }
  return {};
}

static void printPlan(const ordered_json &plan) {
  if (!plan.is_object())
    return;
  for (const auto &[key, value] : plan.items()) {
    if (key == "ops") // hundreds of records for each target; printCosts sums them
      continue;
    std::printf("\n%s\n", key.c_str());
    if (isListOfRecords(value)) {
      printRecords(value);
    } else if (value.is_object()) {
      for (const auto &[name, member] : value.items()) {
        std::printf("  %s: %s\n", name.c_str(), isListOfRecords(member) ? "" : member.dump().c_str());
        if (isListOfRecords(member))
          printRecords(member);
      }
    } else {
      std::printf("  %s\n", value.dump().c_str());
    }
  }
}

static Status verifyWeights(const package::PackageReader &reader) {
  Progress bar("verifying the weights");
  return reader.verifyWeights([&](uint64_t done, uint64_t total) {
    bar.update(double(done) / double(total));
    return true;
  });
}

static Status inspect(const InspectOptions &options) {
  QUERN_ASSIGN(package::PackageReader reader, package::PackageReader::open(options.path));
  QUERN_ASSIGN(const package::Section *section, reader.require(package::kManifest));
  QUERN_ASSIGN(Manifest manifest, parseManifest(asText(section->bytes), options.path));
  QUERN_ASSIGN(ordered_json plan, readPlan(reader));
  if (options.verify)
    QUERN_TRY(verifyWeights(reader));
  if (options.json) {
    ordered_json all = {{"kind", "package"},
                        {"path", options.path},
                        {"bytes", reader.fileSize()},
                        {"weights_verified", options.verify},
                        {"sections", sectionsJson(reader)},
                        {"manifest", parseJson<ordered_json>(asText(section->bytes))},
                        {"plan", plan}};
    std::printf("%s\n", all.dump(2, ' ', false, ordered_json::error_handler_t::replace).c_str());
    return {};
  }
  std::printf("package    %s, format %u, %s\n", options.path.c_str(), package::kFormatVersion,
              formatBytes(double(reader.fileSize())).c_str());
  manifest.model.kind == "graph" ? printGraph(manifest) : printModel(manifest);
  printCode(manifest, reader);
  std::printf("\nsections\n");
  printRecords(sectionsJson(reader));
  printPlan(plan);
  QUERN_TRY(printCosts(manifest, plan, options.path));
  if (options.verify)
    std::printf("\nall sections, the weights included, are as they were written\n");
  return {};
}

Command cli::addInspect(CLI::App &root, char **argv) {
  CLI::App *app =
      root.add_subcommand("inspect", "Show what a package, a GGUF or ONNX file, or a Hugging Face folder holds");
  auto options = std::make_shared<InspectOptions>();
  app->add_option("file", options->path, "Package (.quern), GGUF or ONNX file (.onnx), or Hugging Face folder")
      ->required();
  app->add_flag("--verify", options->verify, "Check the hash of the weights too");
  app->add_flag("--json", options->json, "Print JSON");
  app->footer("\nExamples:\n"
              "  quern inspect model.quern --verify\n"
              "  quern inspect model.gguf --json\n"
              "  quern inspect model.onnx\n"
              "  quern inspect ./hf-folder");
  return {app, [options, argv] {
            std::error_code unknown;
            bool isModel = isGguf(options->path) || isOnnx(options->path) ||
                           std::filesystem::is_directory(options->path, unknown);
            return isModel ? handOverToCompiler(argv) : inspect(*options);
          }};
}
