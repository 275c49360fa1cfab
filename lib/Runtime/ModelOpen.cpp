// Opening: everything that can be wrong with a package is found here, before any of its code runs.
#include "Model.h"
#include "ModelFaults.h"
#include "quern/Runtime/ElementBytes.h"

#include <algorithm>
#include <system_error>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace quern::runtime {

constexpr int64_t kDefaultChunk = 256;
constexpr int64_t kMostThreads = 1024;
constexpr int64_t kMostChunk = 65536;
constexpr size_t kCacheTypes = 3; ///< that a package of this version has code for

tl::unexpected<Fault> Model::broken(const std::string &what) const {
  return fault(QUERN_BAD_PACKAGE, parts.source + ": " + what);
}

/// What the package says, before any of its code is chosen.
static Outcome<ModelParts> readParts(const package::PackageReader &reader, const std::string &path) {
  ModelParts parts;
  parts.source = path;
  TRY_OR_FAULT(reader.require(package::kManifest));
  parts.manifestText = textOf(reader.find(package::kManifest));
  parts.templateText = textOf(reader.find(package::kTemplate));
  auto manifest = parseManifest(parts.manifestText, path);
  TRY_OR_FAULT(manifest);
  parts.manifest = *std::move(manifest);
  if (parts.manifest.model.kind == "graph") {
    parts.stepName = "graph";
  } else {
    TRY_OR_FAULT(reader.require(package::kTokenizer));
    parts.tokenizerTables = reader.find(package::kTokenizer)->bytes;
  }
  return parts;
}

Outcome<std::unique_ptr<Model>> Model::open(const std::string &path, const ModelOptions &options) {
  if (::access(path.c_str(), R_OK) != 0)
    return fault(QUERN_IO_ERROR, path + ": cannot be opened: " + std::strerror(errno));
  auto opened = package::PackageReader::open(path);
  TRY_OR_FAULT(opened);
  auto read = readParts(*opened, path);
  TRY_OR_FAULT(read);
  ModelParts parts = *std::move(read);

  if (options.verify)
    TRY_OR_FAULT(opened->verifyWeights(options.progress));
  TRY_OR_FAULT(chooseDevice(*opened, options, parts));
  Outcome<CodeImage> code;
  if (!parts.device)
    code = chooseProcessorCode(*opened, options, parts);
  TRY_OR_FAULT(code);

  auto model = assemble(std::move(parts), options);
  if (!model)
    return model;
  (*model)->reader.emplace(*std::move(opened));
  (*model)->code = *std::move(code);
  return model;
}

Outcome<CodeImage> Model::chooseProcessorCode(const package::PackageReader &reader, const ModelOptions &options,
                                              ModelParts &parts) {
  if (parts.manifest.code.empty() && !parts.manifest.devices.empty())
    return fault(QUERN_UNSUPPORTED, parts.source + ": has code for devices alone (" + parts.manifest.devices[0].target +
                                        "); run it with --device auto, or compile the model with --target cpu too");
  CpuFeatures cpu = CpuFeatures::detect();
  cpu.mask(options.masked);
  auto version = chooseCode(parts.manifest, cpu, options.target, parts.source);
  TRY_OR_FAULT(version);
  auto code = CodeImage::map(reader, **version);
  TRY_OR_FAULT(code);
  auto weights = reader.require(package::kWeights);
  TRY_OR_FAULT(weights);
  parts.weights = (*weights)->bytes;
  for (const auto &[name, offset] : (*version)->entries)
    parts.entries[name] = code->entry(offset);
  parts.target = (*version)->target;
  return code;
}

Outcome<std::unique_ptr<Model>> Model::assemble(ModelParts parts, const ModelOptions &options) {
  std::unique_ptr<Model> model(new Model);
  model->parts = std::move(parts);
  if (model->isGraph()) {
    TRY_OR_FAULT(model->bindCache(""));
    TRY_OR_FAULT(model->checkGraph());
  } else {
    TRY_OR_FAULT(model->bindCache(options.cacheType));
    TRY_OR_FAULT(model->bindTensors());
    TRY_OR_FAULT(model->bindText());
  }
  TRY_OR_FAULT(model->start(options));
  return model;
}

Outcome<void> Model::bindCache(const std::string &type) {
  Manifest::Cache &cache = parts.manifest.cache;
  if (!type.empty() && type != "f16") {
    std::string types, advice = cache.types.size() < kCacheTypes ? "; compile the model again for more" : "";
    for (const auto &known : cache.types)
      types += (types.empty() ? "" : ", ") + known.first;
    if (!cache.types.count(type))
      return fault(QUERN_UNSUPPORTED, parts.source + ": there is no code for a key-value cache of type '" + type +
                                          "' (--cache-type); the types are " + types + advice);
    cache.bytesPerPosition = cache.types[type];
    parts.stepName = "step_" + type;
    parts.step = nullptr;
  }
  if (parts.step || parts.device) // put together by a test, or no entry at all
    return {};
  auto found = parts.entries.find(parts.stepName);
  if (found == parts.entries.end())
    return broken("target '" + parts.target + "' has no entry '" + parts.stepName + "'");
  parts.step = found->second;
  return {};
}

std::optional<Model::Role> Model::roleOf(const Manifest::Tensor &tensor, bool isOutput) const {
  struct Known {
    const char *name, *type, *size;
    Role role;
  };
  static constexpr Known kKnown[] = {{"token_ids", "i32", "tokens", Role::TokenIds},
                                     {"positions", "i32", "tokens", Role::Positions},
                                     {"caches", "ptr", "tokens", Role::Caches},
                                     {"cache_capacities", "i64", "tokens", Role::CacheCapacities},
                                     {"output_rows", "i32", "outputs", Role::OutputRows},
                                     {"logits", "f32", "outputs", Role::Logits}};
  for (const Known &known : kKnown) {
    bool logits = known.role == Role::Logits;
    if (tensor.name != known.name || tensor.type != known.type || logits != isOutput)
      continue;
    bool shape = tensor.shape.size() == (logits ? 2u : 1u) && tensor.shape[0].size == known.size &&
                 (!logits || tensor.shape[1].value == vocabulary());
    if (shape)
      return known.role;
  }
  return std::nullopt;
}

Outcome<void> Model::bindTensors() {
  const Manifest &manifest = parts.manifest;
  auto sizeIndex = [&](const char *name) {
    return size_t(std::find(manifest.sizes.begin(), manifest.sizes.end(), name) - manifest.sizes.begin());
  };
  tokensSize = sizeIndex("tokens");
  outputsSize = sizeIndex("outputs");
  if (manifest.sizes.size() != 2 || tokensSize + outputsSize != 1)
    return broken("the dynamic sizes of a language model should be 'tokens' and 'outputs'");
  for (bool isOutput : {false, true})
    for (const Manifest::Tensor &tensor : isOutput ? manifest.outputs : manifest.inputs) {
      std::optional<Role> role = roleOf(tensor, isOutput);
      if (!role)
        return broken("this runtime does not know the " + std::string(isOutput ? "output" : "input") + " '" +
                      tensor.name + "' of type " + tensor.type + " and its shape");
      if (std::find(roles.begin(), roles.end(), *role) != roles.end())
        return broken("tensor '" + tensor.name + "' is there twice");
      roles.push_back(*role);
    }
  if (std::find(roles.begin(), roles.end(), Role::Logits) == roles.end())
    return broken("the package has no output 'logits'");
  return {};
}

/// Types that have a size, and a source for each dynamic size.
Outcome<void> Model::checkGraph() const {
  for (const std::vector<Manifest::Tensor> *list : {&parts.manifest.inputs, &parts.manifest.outputs})
    for (const Manifest::Tensor &tensor : *list) {
      if (elementBytes(tensor.type) == 0)
        return broken("tensor '" + tensor.name + "' has the unknown type " + tensor.type);
      for (const Manifest::Dimension &dimension : tensor.shape)
        if (list == &parts.manifest.inputs && dimension.value < 0 && dimension.size.empty())
          return broken("input '" + tensor.name + "' has a size without a name");
    }
  return {};
}

Outcome<void> Model::bindText() {
  auto opened = Tokenizer::open(parts.tokenizerTables, parts.source);
  TRY_OR_FAULT(opened);
  tokens = *std::move(opened);
  if (tokens->realTokens() > vocabulary())
    return broken("the tokenizer has " + std::to_string(tokens->realTokens()) + " tokens, the model " +
                  std::to_string(vocabulary()));
  chat = recogniseChatTemplate(parts.templateText);
  return {};
}

Outcome<void> Model::start(const ModelOptions &options) {
  int64_t threads = isGraph() ? 1 : options.threads == 0 ? availableProcessors() : options.threads;
  chunk = options.chunkTokens == 0 ? kDefaultChunk : options.chunkTokens;
  if (threads < 1 || threads > kMostThreads)
    return fault(QUERN_INVALID_ARGUMENT, "the number of threads is " + std::to_string(threads) +
                                             "; it should be from 1 to " + std::to_string(kMostThreads));
  if (chunk < 1 || chunk > kMostChunk)
    return fault(QUERN_INVALID_ARGUMENT, "the prompt chunk is " + std::to_string(chunk) +
                                             " tokens; it should be from 1 to " + std::to_string(kMostChunk));
  if (parts.device) {
    chunk = parts.device->capacities()[0];
    return {};
  }
  try {
    program = std::make_unique<Program>(parts.manifest, parts.weights.data(), int(threads));
  } catch (const std::system_error &) {
    return fault(QUERN_OUT_OF_MEMORY,
                 "the system cannot start " + std::to_string(threads) + " threads; use fewer (-t)");
  }
  stepEntry = parts.step;
  if (options.populate)
    populate(options.progress);
  else
    ::madvise(const_cast<uint8_t *>(parts.weights.data()), parts.weights.size(), MADV_WILLNEED);
  if (isGraph())
    return {};
  int64_t capacities[2];
  capacities[tokensSize] = chunk;
  capacities[outputsSize] = 1;
  return program->reserve(capacities);
}

/// Maps all pages of the weights now, from all threads; those not in memory are read from disk.
void Model::populate(const package::Progress &progress) {
  constexpr size_t kPiece = size_t(64) << 20;
  auto touch = [&](size_t begin, size_t end) {
    constexpr int kPopulateRead = 22; // MADV_POPULATE_READ, Linux 5.14
    if (begin >= end || ::madvise(const_cast<uint8_t *>(parts.weights.data()) + begin, end - begin, kPopulateRead) == 0)
      return;
    for (size_t at = begin; at < end; at += 4096)
      static_cast<void>(*const_cast<const volatile uint8_t *>(&parts.weights[at]));
  };
  size_t total = parts.weights.size();
  for (size_t begin = 0; begin < total; begin += kPiece) {
    size_t end = std::min(begin + kPiece, total);
    size_t share = ((end - begin) / size_t(program->threads()) + 4095) / 4096 * 4096;
    program->threadPool().run([&](int thread) {
      size_t from = begin + share * size_t(thread);
      bool last = thread + 1 == program->threads();
      touch(std::min(from, end), last ? end : std::min(from + share, end));
    });
    if (progress && !progress(end, total))
      return; // the rest is read when it is used
  }
}

} // namespace quern::runtime
