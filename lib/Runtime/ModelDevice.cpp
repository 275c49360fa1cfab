// Choosing the device that a model runs on, and its code in the package.
#include "DeviceList.h"
#include "Memory.h"
#include "Model.h"
#include "ModelFaults.h"

#include <algorithm>

namespace quern::runtime {
namespace {

constexpr int64_t kDefaultChunk = 512; // prompts of more gain nothing, and take more memory

/// A form of the package's code and a device that it runs on.
struct Candidate {
  const Manifest::Device *code;
  DeviceChoice device;
};

std::string targetsOf(const Manifest &manifest) {
  std::string out;
  for (const Manifest::Code &code : manifest.code)
    out += (out.empty() ? "" : ", ") + code.target;
  for (const Manifest::Device &device : manifest.devices)
    out += (out.empty() ? "" : ", ") + device.target;
  return out.empty() ? "none" : out;
}

bool isAny(const std::string &target) { return target.empty() || target == "auto"; }

/// In the order in which they should be tried: the package's preference, then the devices'.
Outcome<std::vector<Candidate>> findCandidates(const ModelParts &parts, const ModelOptions &options) {
  const Manifest &manifest = parts.manifest;
  if (manifest.devices.empty() && options.device == "auto") // no need to look for drivers
    return fault(QUERN_UNSUPPORTED, parts.source + ": has no code for devices; compile the model for one too, e.g. "
                                                   "with --target nvptx:sm_80");
  auto devices = findDevices(options.device);
  if (!devices)
    return tl::unexpected(std::move(devices).error());
  std::vector<Candidate> out;
  for (const Manifest::Device &code : manifest.devices)
    for (const DeviceChoice &device : *devices)
      if ((isAny(options.target) || code.target == options.target) && code.api == device.kind->api &&
          device.kind->runs(device.info, code.target))
        out.push_back({&code, device});
  const DeviceInfo &first = (*devices)[0].info;
  if (out.empty())
    return fault(QUERN_UNSUPPORTED, parts.source + ": has no code for " + first.id + " (" + first.name + ", " +
                                        first.target + "); it has " + targetsOf(manifest) +
                                        (isAny(options.target) ? "" : ", and --target asks for " + options.target) +
                                        "; compile the model with --target " + first.target);
  return out;
}

/// The sizes of the largest step, in the manifest's order.
Outcome<std::vector<int64_t>> capacities(const ModelParts &parts, const DeviceProgram &program, int chunkTokens) {
  if (parts.manifest.sizes != std::vector<std::string>{"tokens", "outputs"})
    return fault(QUERN_BAD_PACKAGE, parts.source + ": a device's program is for the sizes 'tokens' and 'outputs'");
  int64_t chunk = std::min(chunkTokens > 0 ? int64_t(chunkTokens) : kDefaultChunk, program.mostTokens());
  return std::vector<int64_t>{chunk, std::min(chunk, int64_t(kLogitRows))};
}

Outcome<std::unique_ptr<DeviceRun>> open(const package::PackageReader &reader, const ModelParts &parts,
                                         const ModelOptions &options, const Candidate &candidate) {
  const Manifest::Device &code = *candidate.code;
  for (const std::string &name : {std::string(package::kDeviceWeights), code.section, code.program})
    TRY_OR_FAULT(reader.require(name));
  DeviceParts made;
  made.weights = reader.find(package::kDeviceWeights)->bytes;
  auto program = parseDeviceProgram(textOf(reader.find(code.program)), parts.manifest, made.weights.size(),
                                    parts.source + ": section '" + code.program + "'");
  TRY_OR_FAULT(program);
  auto sizes = capacities(parts, *program, options.chunkTokens);
  TRY_OR_FAULT(sizes);
  made.program = *std::move(program);
  made.capacities = *std::move(sizes);
  made.code = {code.target, textOf(reader.find(code.section)), {}};
  for (const auto &[kind, section] : code.cubins) {
    TRY_OR_FAULT(reader.require(section));
    made.code.machineCode[kind] = textOf(reader.find(section));
  }
  made.checkKernels = options.checkKernels;
  made.progress = options.progress;
  auto device = candidate.device.kind->open(candidate.device.index);
  TRY_OR_FAULT(device);
  return DeviceRun::create(*std::move(device), parts.manifest, std::move(made));
}

Outcome<std::unique_ptr<DeviceRun>> openAny(const package::PackageReader &reader, const ModelParts &parts,
                                            const ModelOptions &options) {
  if (parts.manifest.model.kind == "graph")
    return fault(QUERN_UNSUPPORTED, parts.source + ": a graph of tensors runs on the processor alone (--device cpu)");
  if (!options.cacheType.empty() && options.cacheType != "f16")
    return fault(QUERN_UNSUPPORTED,
                 "on a device the key-value cache is of type f16, not " + options.cacheType + " (--cache-type)");
  auto candidates = findCandidates(parts, options);
  TRY_OR_FAULT(candidates);
  Outcome<std::unique_ptr<DeviceRun>> first;
  for (const Candidate &candidate : *candidates) {
    auto opened = open(reader, parts, options, candidate);
    if (opened || opened.error().status == QUERN_CANCELLED)
      return opened;
    if (&candidate == &candidates->front())
      first = std::move(opened);
  }
  return first;
}

} // namespace

/// Leaves `parts.device` empty where the model is to run on the processor.
Outcome<void> Model::chooseDevice(const package::PackageReader &reader, const ModelOptions &options,
                                  ModelParts &parts) {
  bool isAuto = options.device == "auto";
  auto forProcessor = [&](const Manifest::Code &code) { return code.target == options.target; };
  const auto &code = parts.manifest.code;
  if (options.device.empty() || options.device == "cpu" ||
      (isAuto && std::any_of(code.begin(), code.end(), forProcessor)))
    return {};
  auto opened = openAny(reader, parts, options);
  if (opened) {
    parts.device = *std::move(opened);
    parts.target = parts.device->target();
    parts.weights = reader.find(package::kDeviceWeights)->bytes;
    return {};
  }
  const auto &devices = parts.manifest.devices;
  bool asksForDevice = std::any_of(devices.begin(), devices.end(),
                                   [&](const Manifest::Device &form) { return form.target == options.target; });
  if (!isAuto || code.empty() || asksForDevice || opened.error().status == QUERN_CANCELLED)
    return tl::unexpected(std::move(opened).error());
  parts.deviceNote = std::move(opened).error().message;
  return {};
}

Outcome<DeviceMemory> Model::deviceCache(int64_t capacity, int64_t contextLength) {
  std::lock_guard<std::mutex> lock(turn);
  const Manifest::Cache &cache = parts.manifest.cache;
  DeviceRun &run = *parts.device;
  uint64_t bytes, position = uint64_t(cache.bytesPerPosition);
  if (__builtin_mul_overflow(uint64_t(capacity), position, &bytes))
    bytes = UINT64_MAX;
  auto free = run.device().freeBytes();
  if (!free)
    return tl::unexpected(std::move(free).error());
  if (bytes <= *free) {
    auto memory = run.allocateCleared(bytes);
    if (memory || memory.error().status != QUERN_OUT_OF_MEMORY)
      return memory;
  }
  uint64_t granules = *free / std::max<uint64_t>(1, position * uint64_t(cache.granule));
  uint64_t fits = std::min(granules * uint64_t(cache.granule), uint64_t(contextLength - 1));
  std::string advice = fits == 0 ? "not even the shortest would fit; use the processor (--device cpu)"
                                 : "one of " + std::to_string(fits) + " would fit (-c " + std::to_string(fits) + ")";
  return fault(QUERN_OUT_OF_MEMORY, "the key-value cache of a context of " + std::to_string(contextLength) +
                                        " tokens needs " + describeBytes(bytes) + " on " + run.device().info().id +
                                        ", of which " + describeBytes(*free) + " are free; " + advice);
}

} // namespace quern::runtime
