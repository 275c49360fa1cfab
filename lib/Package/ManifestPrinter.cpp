// Writes the manifest; the inverse of parseManifest.
#include "quern/Package/PackageFormat.h"
#include "quern/Runtime/KernelABI.h"
#include "quern/Runtime/Manifest.h"

#include <nlohmann/json.hpp>

namespace quern {

using nlohmann::ordered_json;

static ordered_json printTensors(const std::vector<Manifest::Tensor> &tensors) {
  ordered_json out = ordered_json::array();
  for (const Manifest::Tensor &tensor : tensors) {
    ordered_json shape = ordered_json::array();
    for (const Manifest::Dimension &dimension : tensor.shape) {
      if (dimension.value < 0 && dimension.size.empty())
        shape.push_back(nullptr);
      else if (dimension.value < 0)
        shape.push_back(dimension.size);
      else
        shape.push_back(dimension.value);
    }
    out.push_back({{"name", tensor.name}, {"type", tensor.type}, {"shape", shape}});
  }
  return out;
}

static ordered_json printModel(const Manifest::Model &model) {
  if (model.kind == "graph")
    return {{"kind", model.kind}, {"name", model.name}, {"parameters", model.parameters}};
  return {{"kind", model.kind},
          {"architecture", model.architecture},
          {"name", model.name},
          {"layers", model.layers},
          {"hidden", model.hidden},
          {"heads", model.heads},
          {"kv_heads", model.kvHeads},
          {"head_dim", model.headDim},
          {"feed_forward", model.feedForward},
          {"vocabulary", model.vocabulary},
          {"context_length", model.contextLength},
          {"parameters", model.parameters}};
}

static ordered_json printCode(const std::vector<Manifest::Code> &versions) {
  ordered_json out = ordered_json::array();
  for (const Manifest::Code &code : versions)
    out.push_back({{"target", code.target},
                   {"features", code.features},
                   {"section", code.section},
                   {"entries", ordered_json(code.entries)}});
  return out;
}

static ordered_json printDevices(const std::vector<Manifest::Device> &devices) {
  ordered_json out = ordered_json::array();
  for (const Manifest::Device &device : devices) {
    ordered_json item = {{"target", device.target},
                         {"api", device.api},
                         {"section", device.section},
                         {"program", device.program}};
    if (!device.cubins.empty())
      item["cubins"] = device.cubins;
    out.push_back(std::move(item));
  }
  return out;
}

std::string printManifest(const Manifest &manifest) {
  ordered_json root;
  root["format_version"] = package::kFormatVersion;
  root["abi_version"] = QUERN_KERNEL_ABI_VERSION;
  root["producer"] = manifest.producer;
  root["model"] = printModel(manifest.model);
  root["sizes"] = manifest.sizes;
  root["inputs"] = printTensors(manifest.inputs);
  root["outputs"] = printTensors(manifest.outputs);
  root["arena"] = {{"constant", manifest.arena.constant},
                   {"per_thread", manifest.arena.perThread},
                   {"sizes", manifest.arena.sizes}};
  bool isGraph = manifest.model.kind == "graph";
  if (!isGraph)
    root["cache"] = {{"bytes_per_position", manifest.cache.bytesPerPosition}, {"granule", manifest.cache.granule}};
  if (!manifest.cache.types.empty())
    root["cache"]["types"] = manifest.cache.types;
  root["code"] = printCode(manifest.code);
  if (!manifest.devices.empty())
    root["devices"] = printDevices(manifest.devices);
  if (!isGraph) {
    root["tokenizer"] = {{"bos", manifest.tokenizer.bos},
                         {"eos", manifest.tokenizer.eos},
                         {"add_bos", manifest.tokenizer.addBos},
                         {"vocabulary", manifest.tokenizer.vocabulary}};
    root["template"] = manifest.chatTemplate;
  }
  if (!manifest.generation.empty())
    root["generation"] = manifest.generation;
  // A name that is not UTF-8 is shown with U+FFFD rather than refused.
  return root.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

} // namespace quern
