// `quern inspect` of an ONNX file: what it takes and gives, its operators, and which of them cannot be compiled.
#include "Common.h"
#include "CompilerCommands.h"
#include "Table.h"

#include "quern/Import/Onnx/OnnxModel.h"
#include "quern/Import/Onnx/ImportOnnx.h"

using namespace quern;
using namespace quern::cli;
using nlohmann::ordered_json;

static std::string typeName(int32_t id) {
  const import::OnnxType *type = import::onnxType(id);
  return type ? type->name : "type " + std::to_string(id);
}

/// Inputs that have an initializer of their name are constants, not inputs.
static ordered_json valuesJson(const google::protobuf::RepeatedPtrField<onnx::ValueInfoProto> &values,
                               const onnx::GraphProto &graph) {
  ordered_json all = ordered_json::array();
  for (const onnx::ValueInfoProto &value : values) {
    auto hasName = [&](const onnx::TensorProto &tensor) { return tensor.name() == value.name(); };
    if (std::any_of(graph.initializer().begin(), graph.initializer().end(), hasName))
      continue;
    ordered_json shape = ordered_json::array();
    for (const auto &dimension : value.type().tensor_type().shape().dim()) {
      if (dimension.has_dim_value())
        shape.push_back(dimension.dim_value());
      else
        shape.push_back(dimension.dim_param().empty() ? "?" : dimension.dim_param());
    }
    all.push_back(
        {{"name", value.name()}, {"type", typeName(value.type().tensor_type().elem_type())}, {"shape", shape}});
  }
  return all;
}

static ordered_json operatorsJson(const import::OnnxFile &file) {
  ordered_json all = ordered_json::array();
  for (const import::OnnxOperatorUse &use : import::operatorsOf(file))
    all.push_back({{"operator", use.name}, {"nodes", use.count}, {"supported", use.supported}});
  return all;
}

static Result<ordered_json> initializersJson(import::OnnxFile &file) {
  struct Total {
    int64_t tensors = 0, elements = 0;
    uint64_t bytes = 0, external = 0;
  };
  std::map<std::string, Total> totals;
  for (const onnx::TensorProto &tensor : file.graph().initializer()) {
    QUERN_ASSIGN(std::span<const std::byte> data, file.data(tensor));
    Total &total = totals[typeName(tensor.data_type())];
    ++total.tensors;
    total.elements += import::countElements({tensor.dims().data(), size_t(tensor.dims_size())}).value_or(0);
    total.bytes += data.size();
    total.external += tensor.data_location() == onnx::TensorProto::EXTERNAL ? data.size() : 0;
  }
  ordered_json all = ordered_json::array();
  for (const auto &[name, total] : totals)
    all.push_back({{"type", name},
                   {"tensors", total.tensors},
                   {"elements", total.elements},
                   {"bytes", total.bytes},
                   {"bytes_outside", total.external}});
  return all;
}

static void print(const ordered_json &all) {
  std::printf("ONNX       %s, IR version %s, operators", all["path"].get<std::string>().c_str(),
              all["ir_version"].dump().c_str());
  for (const auto &[domain, version] : all["opsets"].items())
    std::printf(" %s %s", domain.c_str(), version.dump().c_str());
  std::printf("\nproducer   %s\n", all["producer"].get<std::string>().c_str());
  std::string missing;
  for (const ordered_json &use : all["operators"])
    if (!use["supported"].get<bool>())
      missing += (missing.empty() ? "" : ", ") + use["operator"].get<std::string>() + " (" + use["nodes"].dump() + ")";
  if (all.contains("compiles") && all["compiles"].get<bool>())
    std::printf("compiles   as a language model, by what its operators compute together\n");
  else if (all.contains("compiles"))
    std::printf("compiles   not as the language model that it is: %s\n", all["reason"].get<std::string>().c_str());
  else
    std::printf("supported  %s\n", missing.empty() ? "all operators" : ("all but " + missing).c_str());
  for (const char *part : {"inputs", "outputs", "operators", "initializers"}) {
    std::printf("\n%s\n", part);
    printRecords(all[part]);
  }
}

/// The reason why the language model cannot be compiled; empty if it can.
static std::string whyNoModel(import::OnnxFile file, const gguf::TypeTable &types) {
  auto model = import::openOnnxModel(std::move(file), types);
  return model ? whyNot(*model) : model.error().message;
}

Status cli::inspectOnnx(const std::string &path, const gguf::TypeTable &types, bool json) {
  QUERN_ASSIGN(import::OnnxFile file, import::OnnxFile::open(path));
  QUERN_ASSIGN(ordered_json initializers, initializersJson(file));
  ordered_json opsets = ordered_json::object();
  for (const onnx::OperatorSetIdProto &set : file.model().opset_import())
    opsets[set.domain().empty() ? "ai.onnx" : set.domain()] = set.version();
  ordered_json all = {{"kind", "onnx"},
                      {"path", path},
                      {"producer", file.model().producer_name() + " " + file.model().producer_version()},
                      {"ir_version", file.model().ir_version()},
                      {"opsets", opsets},
                      {"language_model", import::isOnnxLanguageModel(file)},
                      {"nodes", file.graph().node_size()},
                      {"inputs", valuesJson(file.graph().input(), file.graph())},
                      {"outputs", valuesJson(file.graph().output(), file.graph())},
                      {"operators", operatorsJson(file)},
                      {"initializers", initializers}};
  if (all["language_model"].get<bool>()) {
    all["reason"] = whyNoModel(std::move(file), types);
    all["compiles"] = all["reason"].get<std::string>().empty();
  }
  if (json)
    std::printf("%s\n", all.dump(2, ' ', false, ordered_json::error_handler_t::replace).c_str());
  else
    print(all);
  return {};
}
