// Choosing the device that a model runs on, and its code in the package.
#include "DeviceList.h"
#include "Memory.h"
#include "Model.h"
#include "ModelFaults.h"

#include <algorithm>
#include <set>

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
  bool others = false; // candidates but for --target
  for (const Manifest::Device &code : manifest.devices)
    for (const DeviceChoice &device : *devices) {
      if (code.api != device.kind->api || !device.kind->runs(device.info, code.target))
        continue;
      bool wanted = isAny(options.target) || code.target == options.target;
      if (wanted)
        out.push_back({&code, device});
      others |= !wanted;
    }
  if (!out.empty())
    return out;
  const DeviceInfo &first = (*devices)[0].info;
  std::string device = first.id + " (" + first.name + ", " + first.target + ")";
  if (others)
    return fault(QUERN_UNSUPPORTED, parts.source + ": has no code '" + options.target + "' (--target) that runs on " +
                                        device + "; it has " + targetsOf(manifest) +
                                        "; leave --target out for what fits");
  return fault(QUERN_UNSUPPORTED, parts.source + ": has no code for " + device + "; it has " + targetsOf(manifest) +
                                      "; compile the model with --target " + first.target);
}

/// The most positions, in whole granules, below `capacity` of a cache that the device gives memory for. It is asked for
/// that memory: what is free may be in pieces, or more than a device gives at once.
uint64_t longestCache(Device &device, const Manifest::Cache &cache, uint64_t free, uint64_t capacity) {
  uint64_t granule = uint64_t(cache.granule), bytes;
  if (__builtin_mul_overflow(uint64_t(cache.bytesPerPosition), granule, &bytes) || bytes == 0)
    return 0;
  uint64_t fits = 0, most = std::min(free / bytes, capacity / granule - 1); // in granules
  while (fits < most) {
    uint64_t middle = most - (most - fits) / 2;
    if (DeviceMemory::allocate(device, middle * bytes))
      fits = middle;
    else
      most = middle - 1;
  }
  return fits * granule;
}

/// Memory for the cache of a context of so many tokens, at most as many as the model takes, or as many for -1.
Outcome<DeviceMemory> cacheMemory(Device &device, const Manifest &manifest, int64_t contextLength) {
  const Manifest::Cache &cache = manifest.cache;
  if (contextLength < 0 || contextLength > manifest.model.contextLength)
    contextLength = manifest.model.contextLength;
  uint64_t granule = uint64_t(cache.granule), capacity = (uint64_t(contextLength) + granule - 1) / granule * granule;
  uint64_t bytes;
  if (__builtin_mul_overflow(capacity, uint64_t(cache.bytesPerPosition), &bytes))
    bytes = UINT64_MAX;
  auto free = device.freeBytes();
  TRY_OR_FAULT(free);
  if (bytes <= *free) {
    auto memory = DeviceMemory::allocate(device, bytes);
    if (memory || memory.error().status != QUERN_OUT_OF_MEMORY)
      return memory;
  }
  std::string why = bytes > *free ? ", of which " + describeBytes(*free) + " are free"
                                  : ", which are refused in one piece, though " + describeBytes(*free) + " are free";
  std::string fits = std::to_string(longestCache(device, cache, *free, capacity));
  std::string advice = fits == "0" ? "not even the shortest would fit; use " + describeProcessor(manifest)
                                   : "one of " + fits + " would fit (-c " + fits + ")";
  return fault(QUERN_OUT_OF_MEMORY, "the key-value cache of a context of " + std::to_string(contextLength) +
                                        " tokens needs " + describeBytes(bytes) + " on " + device.info().id + why +
                                        "; " + advice);
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
  auto run = DeviceRun::create(*std::move(device), parts.manifest, std::move(made));
  if (run && options.contextLength != 0)
    TRY_OR_FAULT(cacheMemory((*run)->device(), parts.manifest, options.contextLength)); // given back at once
  return run;
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
  std::set<std::string> full; // other code needs as much
  for (const Candidate &candidate : *candidates) {
    if (full.count(candidate.device.info.id))
      continue;
    auto opened = open(reader, parts, options, candidate);
    if (opened || opened.error().status == QUERN_CANCELLED)
      return opened;
    if (opened.error().status == QUERN_OUT_OF_MEMORY)
      full.insert(candidate.device.info.id);
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

Outcome<DeviceMemory> Model::deviceCache(int64_t contextLength) {
  std::lock_guard<std::mutex> lock(turn);
  auto memory = cacheMemory(parts.device->device(), parts.manifest, contextLength);
  TRY_OR_FAULT(memory);
  TRY_OR_FAULT(parts.device->clear(*memory));
  return memory;
}

} // namespace quern::runtime
