// A recognised model in GGUF's terms: names, keys, and each constant in the order and type that GGUF has.
#include "quern/Import/Onnx/OnnxModel.h"
#include "../../HuggingFace/Parts.h"
#include "ImportedGraph.h"
#include "ModelFile.h"
#include "Rotary.h"
#include "quern/Support/Quoted.h"

#include <algorithm>
#include <filesystem>

using namespace quern;
using namespace quern::import;
using namespace quern::import::language;
namespace fs = std::filesystem;

namespace {
/// Fills an assembly with one model.
class ModelFile {
public:
  ModelFile(std::string path, LanguageModel model, std::shared_ptr<const void> weights, const gguf::TypeTable &types)
      : path(std::move(path)), model(std::move(model)), weights(std::move(weights)), types(types),
        folder(fs::path(this->path).has_parent_path() ? fs::path(this->path).parent_path().string() : ".") {}
  Result<gguf::File> make(bool withTokenizer);

private:
  tl::unexpected<Error> wrong(const std::string &what, const std::string &thing) const {
    return fail("'" + path + "': " + what + ": " + thing);
  }
  Status readFiles();
  Status describe();
  Status describeRotary();
  Status checkNorms() const;
  Status checkLayer(const Layer &layer, size_t number) const;
  void collect();
  void collectLayer(const Layer &layer, const std::string &prefix);
  void collectMatrix(const std::string &name, const Linear &linear);
  void addTensors(gguf::Assembly &assembly);

  std::string path;
  LanguageModel model;
  std::shared_ptr<const void> weights; ///< what the rows of matrices are made from, as long as there are any
  const gguf::TypeTable &types;
  std::string folder;
  HuggingFaceConfig config;
  std::optional<double> givenTheta;
  std::map<std::string, const Matrix *> matrices;
  std::map<std::string, std::vector<float>> vectors;
  std::map<std::string, Names> origins; ///< by our names of tensors and parts
  std::vector<std::string> dynamic;     ///< matrices whose products round their input
  uint32_t embeddingType = 0;
};
} // namespace

/// What config.json or genai_config.json say that a graph does not: context, token ids, sampling.
Status ModelFile::readFiles() {
  QUERN_ASSIGN(JsonObject checkpoint, JsonObject::readIfThere(folder + "/config.json"));
  QUERN_ASSIGN(JsonObject genai, JsonObject::readIfThere(folder + "/genai_config.json"));
  QUERN_ASSIGN(JsonObject inner, genai.child("model"));
  QUERN_ASSIGN(std::optional<int64_t> positions, checkpoint.find<int64_t>("max_position_embeddings"));
  QUERN_ASSIGN(std::optional<int64_t> context, inner.find<int64_t>("context_length"));
  config.model.contextLength = std::clamp<int64_t>(positions ? *positions : context.value_or(32768), 1, 1 << 30);
  QUERN_ASSIGN(JsonObject scaling, checkpoint.child("rope_parameters"));
  QUERN_ASSIGN(std::optional<double> theta, checkpoint.find<double>("rope_theta"));
  QUERN_ASSIGN(givenTheta, scaling.find<double>("rope_theta"));
  givenTheta = theta ? theta : givenTheta;
  QUERN_ASSIGN(std::optional<bool> window, checkpoint.find<bool>("use_sliding_window"));
  if (window.value_or(false))
    return checkpoint.error("'use_sliding_window' is true; sliding windows are not supported");
  QUERN_ASSIGN(std::optional<int64_t> width, checkpoint.find<int64_t>("sliding_window"));
  if (width && !window && *width < config.model.contextLength)
    return checkpoint.error("'sliding_window' is " + std::to_string(*width) + "; sliding windows are not supported");
  return readTokens(checkpoint.value("eos_token_id") ? checkpoint : inner, folder, config);
}

Status ModelFile::describeRotary() {
  auto fitted = fitRotary(model.layout.frequencies, model.layout.coarse, givenTheta);
  if (!fitted)
    return wrong("graph", fitted.error().message);
  config.model.ropeTheta = fitted->theta;
  config.ropeFactors = std::move(fitted->factors);
  config.model.ropeFactors = !config.ropeFactors.empty();
  return {};
}

Status ModelFile::describe() {
  ModelConfig &out = config.model;
  const Layer &first = model.layers.front();
  out.name = fs::path(path).stem() == "model" && fs::path(folder).has_filename() ? fs::path(folder).filename().string()
                                                                                 : fs::path(path).stem().string();
  out.layers = static_cast<int64_t>(model.layers.size());
  out.hidden = model.embedding.k;
  out.vocabulary = model.embedding.n;
  out.feedForward = first.down.weight.k;
  out.heads = model.layout.heads;
  out.kvHeads = model.layout.kvHeads;
  out.headDim = model.layout.size;
  out.normEps = model.finalNorm.epsilon;
  out.tied = model.tied();
  for (const Layer &layer : model.layers)
    out.attentionBias |= !layer.query.bias.empty() || !layer.key.bias.empty() || !layer.value.bias.empty();
  out.headNorms = model.layout.normed;
  out.architecture = out.headNorms ? "qwen3" : out.attentionBias ? "qwen2" : "llama";
  const char *other = model.layout.interleaved             ? "pairs neighbouring elements of its heads, as llama"
                      : out.headNorms && out.attentionBias ? "has biases on queries, keys or values, as qwen2"
                                                           : nullptr;
  if (out.architecture != "llama" && other)
    return wrong("graph", std::string(out.headNorms ? "norms the heads of queries and keys, as qwen3, but "
                                                    : "has biases on queries, keys or values, as qwen2, but ") +
                              other + "; both together are not supported");
  return describeRotary();
}

Status ModelFile::checkNorms() const {
  for (const Layer &layer : model.layers)
    for (const Norm *norm : {&layer.attentionNorm, &layer.feedForwardNorm})
      if (norm->epsilon != model.finalNorm.epsilon)
        return wrong("graph", "its norms have different epsilons, " + std::to_string(norm->epsilon) + " and " +
                                  std::to_string(model.finalNorm.epsilon) + ", which is not supported");
  return {};
}

/// The layers of one model are alike, and have no biases but those of queries, keys and values.
Status ModelFile::checkLayer(const Layer &layer, size_t number) const {
  std::string what = "layer " + std::to_string(number);
  for (const Linear *linear : {&layer.output, &layer.gate, &layer.up, &layer.down})
    if (std::ranges::any_of(linear->bias, [](float value) { return value != 0; }))
      return wrong(what, "the product with " + inQuotes(linear->weight.name) +
                             " has a bias; only those for queries, keys and values may have one");
  int64_t hidden = config.model.hidden, feedForward = config.model.feedForward;
  for (auto [linear, n, k] : {std::tuple(&layer.query, model.layout.heads * model.layout.size, hidden),
                              std::tuple(&layer.gate, feedForward, hidden), std::tuple(&layer.up, feedForward, hidden),
                              std::tuple(&layer.down, hidden, feedForward),
                              std::tuple(&layer.key, model.layout.kvHeads * model.layout.size, hidden),
                              std::tuple(&layer.value, model.layout.kvHeads * model.layout.size, hidden),
                              std::tuple(&layer.output, hidden, model.layout.heads * model.layout.size)})
    if (linear->weight.n != n || linear->weight.k != k)
      return wrong(what, "the matrix " + inQuotes(linear->weight.name) + " is of " + std::to_string(linear->weight.n) +
                             " outputs and " + std::to_string(linear->weight.k) + " inputs, but the others make it " +
                             std::to_string(n) + " and " + std::to_string(k));
  return {};
}

/// The matrix comes first of its names, then the nodes that multiply by it.
void ModelFile::collectMatrix(const std::string &name, const Linear &linear) {
  matrices[name] = &linear.weight;
  if (linear.dynamic)
    dynamic.push_back(name == "output.weight" ? config.model.outputTensor() : name);
  Names &names = origins[name];
  names.push_back(linear.weight.name);
  names.insert(names.end(), linear.nodes.begin(), linear.nodes.end());
}

void ModelFile::collectLayer(const Layer &layer, const std::string &prefix) {
  vectors[prefix + "attn_norm.weight"] = layer.attentionNorm.weight;
  vectors[prefix + "ffn_norm.weight"] = layer.feedForwardNorm.weight;
  vectors[prefix + "attn_q_norm.weight"] = layer.queryNorm;
  vectors[prefix + "attn_k_norm.weight"] = layer.keyNorm;
  origins[prefix + "attn_norm.weight"] = layer.attentionNorm.names;
  origins[prefix + "ffn_norm.weight"] = layer.feedForwardNorm.names;
  origins[prefix + "attn_q_norm.weight"] = {layer.queryNormName};
  origins[prefix + "attn_k_norm.weight"] = {layer.keyNormName};
  origins[prefix + "attn"] = layer.attention;
  origins[prefix + "ffn"] = layer.feedForward;
  for (auto [name, linear] :
       {std::pair("attn_q", &layer.query), std::pair("attn_k", &layer.key), std::pair("attn_v", &layer.value),
        std::pair("attn_output", &layer.output), std::pair("ffn_gate", &layer.gate), std::pair("ffn_up", &layer.up),
        std::pair("ffn_down", &layer.down)}) {
    collectMatrix(prefix + name + ".weight", *linear);
    origins[prefix + name + ".bias"] = {linear->biasName};
    std::vector<float> &bias = vectors[prefix + name + ".bias"];
    bias = linear->bias;
    bias.resize(static_cast<size_t>(linear->weight.n)); // no bias is one of zeros where others have one
  }
}

void ModelFile::collect() {
  matrices["token_embd.weight"] = &model.embedding;
  origins["token_embd.weight"] = {model.embedding.name};
  std::ranges::copy(model.lookUp, std::back_inserter(origins["token_embd.weight"]));
  if (model.tied()) // then it is the head's matrix too
    std::ranges::copy(model.head.nodes, std::back_inserter(origins["token_embd.weight"]));
  collectMatrix("output.weight", model.head);
  vectors["output_norm.weight"] = model.finalNorm.weight;
  origins["output_norm.weight"] = model.finalNorm.names;
  origins["rope"] = origins["rope_freqs.weight"] = model.rotary;
  origins["output_rows"] = model.wantedRows;
  vectors["rope_freqs.weight"] = config.ropeFactors;
  for (size_t i = 0; i < model.layers.size(); ++i)
    collectLayer(model.layers[i], "blk." + std::to_string(i) + ".");
}

void ModelFile::addTensors(gguf::Assembly &assembly) {
  for (auto &[name, names] : origins) {
    std::erase(names, "");
    assembly.setOrigins(name, names);
  }
  for (const ExpectedTensor &expected : expectedTensors(config.model)) {
    if (expected.dims.size() != 2) {
      auto bytes = std::as_bytes(std::span(vectors.at(expected.name)));
      uint32_t part = assembly.addPart(path, std::vector<std::byte>(bytes.begin(), bytes.end()));
      assembly.addTensor(expected.name, /*F32*/ 0, expected.dims, part, assembly.part(part));
      continue;
    }
    MadeWeight made = matrices.at(expected.name)->made(types);
    if (expected.name == "token_embd.weight")
      embeddingType = made.typeId;
    assembly.addTensor(expected.name, made.typeId, expected.dims, path,
                       [weights = weights, rows = std::move(made.rows)](uint64_t first, uint64_t count,
                                                                        std::byte *out) { rows(first, count, out); });
  }
}

Result<gguf::File> ModelFile::make(bool withTokenizer) {
  QUERN_TRY(readFiles());
  QUERN_TRY(describe());
  QUERN_TRY(checkNorms());
  for (size_t i = 0; i < model.layers.size(); ++i)
    QUERN_TRY(checkLayer(model.layers[i], i));
  collect();
  gguf::Assembly assembly(path);
  if (config.model.architecture == "llama" && !model.layout.interleaved)
    assembly.setHeadsInHalves();
  addTensors(assembly);
  if (!dynamic.empty())
    assembly.add(kDynamicQuantize, dynamic);
  addModelKeys(assembly, config, gguf::TypeTable::isOwn(embeddingType) ? 0 : embeddingType);
  if (withTokenizer)
    QUERN_TRY(addTokenizer(assembly, folder, config));
  return std::move(assembly).finish(types);
}

bool import::isOnnxLanguageModel(OnnxFile &file) {
  auto imported = ImportedGraph::make(std::shared_ptr<OnnxFile>(std::shared_ptr<void>(), &file));
  return imported && hasLanguageModelShape((*imported)->graph());
}

Result<gguf::File> language::makeModelFile(std::string path, LanguageModel model, std::shared_ptr<const void> weights,
                                           const gguf::TypeTable &types, bool withTokenizer) {
  return ModelFile(std::move(path), std::move(model), std::move(weights), types).make(withTokenizer);
}

Result<gguf::File> import::openOnnxModel(OnnxFile opened, const gguf::TypeTable &types, bool withTokenizer) {
  QUERN_ASSIGN(auto imported, ImportedGraph::make(std::make_shared<OnnxFile>(std::move(opened))));
  imported->raise();
  QUERN_ASSIGN(LanguageModel model, recognise(imported->graph()));
  return makeModelFile(imported->path(), std::move(model), imported, types, withTokenizer);
}
