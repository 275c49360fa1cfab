// An open package: its manifest, tokenizer and code, and the one step that language models are driven by.
#ifndef QUERN_LIB_RUNTIME_MODEL_H
#define QUERN_LIB_RUNTIME_MODEL_H

#include "DeviceRun.h"
#include "Fault.h"
#include "Profile.h"
#include "Program.h"
#include "quern/Runtime/Chat.h"
#include "quern/Runtime/Manifest.h"
#include "quern/Runtime/PackageReader.h"
#include "quern/Runtime/Tokenizer.h"

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace quern::runtime {

/// Rows of logits that one step makes at most: 64 rows of 152,000 are 39 MB, and 64 tokens are enough to use the
/// weights well.
constexpr size_t kLogitRows = size_t(DeviceProgram::kMostDrawn);

struct ModelOptions {
  int threads = 0;           ///< 0: one for each available processor
  int chunkTokens = 0;       ///< 0: 256; on a device as many as its code takes, at most 512
  std::string target;        ///< "", "auto" or a name
  std::string device;        ///< "" or "cpu", "auto", or as findDevices takes it
  bool checkKernels = false; ///< on a device, see DeviceParts
  std::string masked;        ///< see CpuFeatures::mask
  std::string cacheType;     ///< "" for "f16", or a name of the manifest's cache types
  int64_t contextLength = 0; ///< a device is taken only if a cache of so many tokens fits too; -1: of the model's own
  bool populate = false;
  bool verify = false;
  package::Progress progress;
};

/// What a model is made of; from a package, or put together by a test.
struct ModelParts {
  Manifest manifest;
  std::string manifestText, templateText, source;
  std::span<const uint8_t> tokenizerTables; ///< outlives the model
  std::span<const uint8_t> weights;         ///< outlives the model
  QuernEntry step = nullptr; ///< or the entry of a graph
  std::string stepName = "step"; ///< of `step` among the entries
  std::map<std::string, QuernEntry> entries; ///< all by name, for measuring; may be empty
  std::string target;
  std::unique_ptr<DeviceRun> device; ///< null: the processor
  std::string deviceNote;            ///< why "auto" took the processor; empty if it did not
};

/// One row of a step: a token at a position of a sequence whose cache begins at `cache`.
struct Row {
  int32_t token;
  int32_t position;
  void *cache;
  int64_t cacheCapacity;
};

/// What a step gives for a row. A device may choose a token and keep the logits until somebody asks for them or the
/// next step takes their place.
struct RowResult {
  std::vector<float> logits;     ///< [vocabulary]; empty: none, or on the device
  RowDraw draw;                  ///< what a step is given: how a device should choose; behind it: how it did
  std::optional<int32_t> chosen; ///< of the real tokens, as Sampler does with these settings; -1: no logit is a number
};

class Model {
public:
  static Outcome<std::unique_ptr<Model>> open(const std::string &path, const ModelOptions &options);
  static Outcome<std::unique_ptr<Model>> assemble(ModelParts parts, const ModelOptions &options);

  /// A graph of named tensors, see Request; else a language model, see step.
  bool isGraph() const { return parts.manifest.model.kind == "graph"; }
  const Manifest &manifest() const { return parts.manifest; }
  const std::string &manifestText() const { return parts.manifestText; }
  const std::string &target() const { return parts.target; }
  const Tokenizer &tokenizer() const { return *tokens; }
  const ChatTemplate &chatTemplate() const { return chat; }
  std::span<const uint8_t> weights() const { return parts.weights; }
  /// 0 on a device.
  int threads() const { return program ? program->threads() : 0; }
  /// Null where the model runs on the processor.
  DeviceRun *device() const { return parts.device.get(); }
  const std::string &deviceNote() const { return parts.deviceNote; }
  int64_t chunkTokens() const { return chunk; }
  int64_t vocabulary() const { return parts.manifest.model.vocabulary; }
  Outcome<void> verifyWeights(const package::Progress &progress) const;

  /// Computes the rows (at most `chunkTokens`) and the logits [outputRows.size(), vocabulary] of those whose indices
  /// are in `outputRows`, ascending. Takes turns with other callers.
  Outcome<void> step(std::span<const Row> rows, std::span<const int32_t> outputRows, float *logits);
  /// The same, where each output row has a result of its own, which stays where it is until `forget`.
  Outcome<void> step(std::span<const Row> rows, std::span<const int32_t> outputRows,
                     std::span<RowResult *const> results);
  /// Copies the logits from the device, if they are there.
  Outcome<void> bringLogits(RowResult &result);
  /// No one asks for this result any more; it is empty afterwards.
  void forget(RowResult &result);

  /// A cache in the device's memory, for a context of `contextLength` tokens; zero.
  Outcome<DeviceMemory> deviceCache(int64_t contextLength);

  /// Runs a graph on this thread, and `then` while its results are still there. Takes turns with other callers.
  Outcome<void> compute(std::span<void *const> buffers, std::span<const int64_t> sizes, std::span<QuernResult> results,
                        const std::function<Outcome<void>()> &then);

  /// From now on steps run the profiled code; fails if the package has none.
  Outcome<void> startProfile();
  /// Back to the usual code. Nanoseconds of each kernel call since startProfile, by its number in the op table.
  std::vector<uint64_t> stopProfile();
  /// Runs a probe of the package's code on all threads; returns the bytes or operations done by all.
  Outcome<uint64_t> probe(const std::string &name, int64_t rounds);

private:
  Model() = default;
  Outcome<void> compute(std::span<const Row> rows, std::span<const int32_t> outputRows, float *logits,
                        const RowChoices &choices);
  Outcome<void> stepChoosing(std::span<const Row> rows, std::span<const int32_t> outputRows,
                             std::span<RowResult *const> results);
  Outcome<void> bringLeft(RowResult *only = nullptr);
  Outcome<QuernEntry> entry(const std::string &name) const;
  static Outcome<void> chooseDevice(const package::PackageReader &reader, const ModelOptions &options,
                                    ModelParts &parts);
  static Outcome<CodeImage> chooseProcessorCode(const package::PackageReader &reader, const ModelOptions &options,
                                                ModelParts &parts);
  /// Takes the step for a cache of type `type`, "" for the usual one.
  Outcome<void> bindCache(const std::string &type);
  Outcome<void> bindTensors();
  Outcome<void> bindText();
  Outcome<void> checkGraph() const;
  Outcome<void> start(const ModelOptions &options);
  void populate(const package::Progress &progress);
  tl::unexpected<Fault> broken(const std::string &what) const;

  /// What the runtime passes for each named tensor of a language model's step.
  enum class Role { TokenIds, Positions, Caches, CacheCapacities, OutputRows, Logits };
  std::optional<Role> roleOf(const Manifest::Tensor &tensor, bool isOutput) const;

  std::optional<package::PackageReader> reader;
  CodeImage code;
  ModelParts parts;
  std::optional<Tokenizer> tokens;
  ChatTemplate chat;
  std::vector<Role> roles; ///< of inputs, then outputs
  size_t tokensSize = 0, outputsSize = 0;
  int64_t chunk = 0;
  std::unique_ptr<Program> program;

  std::mutex turn; ///< guards the program and what is below
  QuernEntry stepEntry = nullptr; ///< the plain or the profiled step
  bool profiling = false;
  Profile profile;
  std::vector<RowResult *> left; ///< whose logits the last step left on the device, by row; null: not wanted
  std::vector<int32_t> tokenIds, positions;
  std::vector<void *> caches;
  std::vector<int64_t> cacheCapacities;
};

} // namespace quern::runtime

#endif // QUERN_LIB_RUNTIME_MODEL_H
