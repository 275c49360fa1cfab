// Reads the manifest. Nothing in it is believed before it is checked here; what depends on other sections (entry
// offsets, sizes of weights) is checked where these are opened.
#include "quern/Runtime/Manifest.h"

#include "JsonFields.h"
#include "quern/Package/PackageFormat.h"
#include "quern/Runtime/KernelABI.h"

#include <algorithm>

namespace quern {
namespace {

using nlohmann::json;

void readModel(JsonFields &fields, const json &root, Manifest::Model &out) {
  const json *model = fields.object(root, "model");
  if (!model)
    return;
  out.kind = fields.text(*model, "kind");
  if (out.kind == "graph") {
    out.name = fields.text(*model, "name");
    out.parameters = fields.number(*model, "parameters", 0, kMaxBytes);
    return;
  }
  out.architecture = fields.text(*model, "architecture");
  out.name = fields.text(*model, "name");
  out.layers = fields.number(*model, "layers", 1, kMaxCount);
  out.hidden = fields.number(*model, "hidden", 1, kMaxCount);
  out.heads = fields.number(*model, "heads", 1, kMaxCount);
  out.kvHeads = fields.number(*model, "kv_heads", 1, kMaxCount);
  out.headDim = fields.number(*model, "head_dim", 1, kMaxCount);
  out.feedForward = fields.number(*model, "feed_forward", 1, kMaxCount);
  out.vocabulary = fields.number(*model, "vocabulary", 1, kMaxCount);
  out.contextLength = fields.number(*model, "context_length", 1, kMaxCount);
  out.parameters = fields.number(*model, "parameters", 0, kMaxBytes);
  if (out.kind != "language_model")
    fields.complain("model kind '" + out.kind +
                    "' is unknown to this runtime, which runs 'language_model' and 'graph'");
}

std::vector<Manifest::Tensor> readTensors(JsonFields &fields, const json &root, const char *key,
                                          const std::vector<std::string> &sizes, bool isGraph) {
  std::vector<Manifest::Tensor> out;
  const json *list = fields.array(root, key);
  if (!list)
    return out;
  for (const json &item : *list) {
    Manifest::Tensor tensor;
    tensor.name = fields.text(item, "name");
    tensor.type = fields.text(item, "type");
    const json *shape = fields.array(item, "shape");
    for (const json &dimension : shape ? *shape : json::array()) {
      if (isGraph && dimension.is_null())
        tensor.shape.push_back({-1, ""});
      else if (!dimension.is_string())
        tensor.shape.push_back({fields.whole(dimension, "shape of " + tensor.name, isGraph ? 0 : 1, kMaxCount), ""});
      else if (std::find(sizes.begin(), sizes.end(), dimension.get<std::string>()) == sizes.end())
        fields.complain("tensor '" + tensor.name + "' uses the unknown size '" + dimension.get<std::string>() + "'");
      else
        tensor.shape.push_back({-1, dimension.get<std::string>()});
    }
    out.push_back(std::move(tensor));
  }
  return out;
}

void readMemory(JsonFields &fields, const json &root, Manifest &out) {
  if (const json *arena = fields.object(root, "arena")) {
    out.arena.constant = fields.number(*arena, "constant", 0, kMaxBytes);
    out.arena.perThread = fields.number(*arena, "per_thread", 0, kMaxBytes);
    if (const json *sizes = fields.array(*arena, "sizes"))
      for (const json &size : *sizes)
        out.arena.sizes.push_back(fields.whole(size, "arena sizes", 0, kMaxBytes));
    if (out.arena.sizes.size() != out.sizes.size())
      fields.complain("'arena' should give one number for each of the " + std::to_string(out.sizes.size()) + " sizes");
  }
  if (out.model.kind == "graph")
    return; // neither cache nor text
  if (const json *cache = fields.object(root, "cache")) {
    out.cache.bytesPerPosition = fields.number(*cache, "bytes_per_position", 1, kMaxBytes);
    out.cache.granule = fields.number(*cache, "granule", 1, 1 << 20);
    out.cache.types["f16"] = out.cache.bytesPerPosition;
    if (cache->contains("types"))
      if (const json *types = fields.object(*cache, "types"))
        for (const auto &[name, bytes] : types->items())
          out.cache.types[name] = fields.whole(bytes, "cache type " + name, 1, kMaxBytes);
  }
}

void readCode(JsonFields &fields, const json &root, Manifest &out) {
  const json *list = fields.array(root, "code");
  for (const json &item : list ? *list : json::array()) {
    Manifest::Code code;
    code.target = fields.text(item, "target");
    code.section = fields.text(item, "section");
    code.features = fields.texts(item, "features");
    if (const json *entries = fields.object(item, "entries"))
      for (const auto &[name, offset] : entries->items())
        code.entries[name] = fields.whole(offset, "entry " + name, 0, kMaxBytes);
    if (code.section.rfind(package::kCodePrefix, 0) != 0)
      fields.complain("section '" + code.section + "' of target '" + code.target + "' is no code section");
    out.code.push_back(std::move(code));
  }
}

void readDevices(JsonFields &fields, const json &root, Manifest &out) {
  if (!root.contains("devices"))
    return;
  const json *list = fields.array(root, "devices");
  for (const json &item : list ? *list : json::array()) {
    Manifest::Device device;
    device.target = fields.text(item, "target");
    device.api = fields.text(item, "api");
    device.section = fields.text(item, "section");
    device.program = fields.text(item, "program");
    if (item.contains("cubins"))
      if (const json *cubins = fields.object(item, "cubins"))
        for (const auto &[capability, section] : cubins->items())
          device.cubins[capability] = fields.text(*cubins, capability.c_str());
    auto expect = [&](const std::string &section, const char *prefix) {
      if (section.rfind(prefix, 0) != 0)
        fields.complain("section '" + section + "' of device '" + device.target + "' should begin with '" + prefix +
                        "'");
    };
    expect(device.section, package::kDevicePrefix);
    expect(device.program, package::kProgramPrefix);
    for (const auto &cubin : device.cubins)
      expect(cubin.second, package::kCubinPrefix);
    if (device.api != "cuda" && device.api != "opencl")
      fields.complain("device '" + device.target + "' has the api '" + device.api + "'; known are cuda and opencl");
    out.devices.push_back(std::move(device));
  }
}

void readText(JsonFields &fields, const json &root, Manifest &out) {
  if (out.model.kind == "graph")
    return;
  if (const json *tokenizer = fields.object(root, "tokenizer")) {
    out.tokenizer.bos = fields.number(*tokenizer, "bos", -1, kMaxCount);
    out.tokenizer.addBos = fields.flag(*tokenizer, "add_bos");
    out.tokenizer.vocabulary = fields.number(*tokenizer, "vocabulary", 0, kMaxCount);
    if (const json *eos = fields.array(*tokenizer, "eos"))
      for (const json &id : *eos)
        out.tokenizer.eos.push_back(fields.whole(id, "eos", 0, kMaxCount));
  }
  out.chatTemplate = fields.text(root, "template");
  if (!root.contains("generation"))
    return;
  if (const json *generation = fields.object(root, "generation"))
    for (const auto &[name, value] : generation->items()) {
      if (!value.is_number())
        fields.complain("generation default '" + name + "' should be a number");
      else
        out.generation[name] = value.get<double>();
    }
}

} // namespace

Result<Manifest> parseManifest(std::string_view text, const std::string &source) {
  json root = parseJson(text);
  if (!root.is_object())
    return fail(source + ": the manifest is not a JSON object");
  JsonFields fields(source + ": manifest");
  int64_t format = fields.number(root, "format_version", 0, kMaxCount);
  int64_t abi = fields.number(root, "abi_version", 0, kMaxCount);
  bool known = format == int64_t(package::kFormatVersion) && abi >= int64_t(QUERN_KERNEL_ABI_OLDEST) &&
               abi <= int64_t(QUERN_KERNEL_ABI_VERSION);
  if (fields.error.empty() && !known)
    return fail(source + ": made for format version " + std::to_string(format) + " and kernel interface version " +
                std::to_string(abi) + ", this runtime has " + std::to_string(package::kFormatVersion) + " and " +
                std::to_string(QUERN_KERNEL_ABI_VERSION) + "; compile the model again");
  Manifest out;
  out.producer = fields.text(root, "producer");
  readModel(fields, root, out.model);
  out.sizes = fields.texts(root, "sizes");
  bool isGraph = out.model.kind == "graph";
  out.inputs = readTensors(fields, root, "inputs", out.sizes, isGraph);
  out.outputs = readTensors(fields, root, "outputs", out.sizes, isGraph);
  readMemory(fields, root, out);
  readCode(fields, root, out);
  readDevices(fields, root, out);
  readText(fields, root, out);
  if (!fields.error.empty())
    return fail(fields.error);
  return out;
}

} // namespace quern
