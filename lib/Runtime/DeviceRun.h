// Runs a device's program: all memory taken and the weights copied when it is made, then step after step. Knows named
// tensors and dynamic sizes, and nothing of language models.
#ifndef QUERN_LIB_RUNTIME_DEVICERUN_H
#define QUERN_LIB_RUNTIME_DEVICERUN_H

#include "Device.h"
#include "quern/Runtime/DeviceProgram.h"
#include "quern/Runtime/Manifest.h"
#include "quern/Runtime/PackageReader.h"

#include <map>

namespace quern::runtime {

/// What a DeviceRun is made of, besides the device.
struct DeviceParts {
  DeviceProgram program;
  DeviceCode code;
  std::span<const uint8_t> weights;
  std::vector<int64_t> capacities; ///< the largest value of each dynamic size
  bool checkKernels = false;       ///< wait for each kernel, so that a failure is told of the one that made it
  package::Progress progress;      ///< of copying the weights, in bytes; when it stops that, opening fails
};

/// What else a step takes and gives for each of its last size.
struct RowChoices {
  int32_t *tokens = nullptr;      ///< null: not wanted; else only of programs that choose tokens
  std::span<const RowDraw> draws; ///< empty, or only for programs that draw, and at most kMostDrawn
  bool draw() const;              ///< whether any row is drawn
};

/// The processor as messages name it where a device does not do: with the option that asks for it, or, if the package
/// has no code for it, with what to compile.
std::string describeProcessor(const Manifest &manifest);

class DeviceRun {
public:
  static Outcome<std::unique_ptr<DeviceRun>> create(std::unique_ptr<Device> device, Manifest manifest,
                                                    DeviceParts parts);

  Device &device() { return *owner; }
  const std::string &target() const { return parts.code.target; }
  const std::string &codeForm() const { return module->form; }
  std::span<const int64_t> capacities() const { return parts.capacities; }

  /// Copies the inputs, runs the plan for sizes[0] and copies the outputs: buffers and sizes as Program::run takes
  /// them, the sizes at least 0 and at most the capacities. Fails naming the op, where that can be told, if a kernel
  /// fails; from then on all calls fail. An output whose buffer is null stays on the device until the next run.
  Outcome<void> run(std::span<void *const> buffers, std::span<const int64_t> sizes, const RowChoices &rows = {});
  bool choosesTokens() const { return parts.program.choosesTokens(); }
  bool drawsTokens() const { return parts.program.drawsTokens(); }
  /// Bytes of an output of the last run.
  Outcome<void> readOutput(size_t output, uint64_t offset, uint64_t bytes, void *to);

  /// Makes memory of the device zero, and waits for it.
  Outcome<void> clear(const DeviceMemory &memory);

  /// From now on each kernel is timed.
  void startProfile();
  /// Nanoseconds since then of each launch of the program, all plans one after the other.
  std::vector<uint64_t> stopProfile();

private:
  /// A named tensor: its place in device memory, and the same in the staging memory.
  struct Place {
    const Manifest::Tensor *tensor;
    uint64_t offset;
  };
  /// The launches of a plan for some sizes, and where each stands in the plan.
  struct Prepared {
    std::vector<KernelLaunch> launches;
    std::vector<size_t> numbers;
  };

  DeviceRun(std::unique_ptr<Device> device, Manifest manifest, DeviceParts parts)
      : owner(std::move(device)), manifest(std::move(manifest)), parts(std::move(parts)) {}
  Outcome<void> placeTensors();
  Outcome<void> takeMemory();
  Outcome<void> findKernels();
  Outcome<void> copyWeights();
  uint64_t bytesOf(const Manifest::Tensor &tensor, std::span<const int64_t> sizes) const;
  size_t planFor(int64_t tokens) const;
  Prepared prepare(size_t plan, std::span<const int64_t> sizes, bool draws) const;
  KernelArgument argument(const LaunchArgument &from, std::span<const int64_t> sizes) const;
  Outcome<void> launchPlan(size_t plan, std::span<const int64_t> sizes, bool draws);
  Outcome<void> launchChecked(size_t plan, const Prepared &prepared);
  Outcome<void> launchTimed(size_t plan, const Prepared &prepared);
  /// A step's sizes, and whether it draws.
  using StepKey = std::pair<std::vector<int64_t>, bool>;
  Outcome<DeviceRecording *> record(const StepKey &key, const Prepared &prepared);
  Outcome<void> step(std::span<void *const> buffers, std::span<const int64_t> sizes, const RowChoices &rows);
  Outcome<void> askFor(uint64_t offset, uint64_t bytes) {
    return bytes ? owner->read(staging.data() + offset, tensors.address() + offset, bytes) : Outcome<void>();
  }
  /// Remembers a failure that leaves the device unusable.
  tl::unexpected<Fault> breakDown(Fault fault, const std::string &where);

  std::unique_ptr<Device> owner; ///< the last to go
  const Manifest manifest;
  DeviceParts parts;
  std::unique_ptr<DeviceModule> module;
  DeviceMemory weights, arena, counters, tensors;
  StagingMemory staging; ///< as `tensors`
  std::vector<Place> inputs, outputs;
  uint64_t choicesAt = 0, drawsAt = 0;            ///< behind all tensors, all inputs
  uint64_t inputBytes = 0, tensorBytes = 0;       ///< of inputs and draws, and of all
  std::vector<std::vector<DeviceKernel>> kernels; ///< of each plan's launches
  std::vector<std::vector<bool>> hasRun;          ///< each plan's launches
  std::map<StepKey, std::unique_ptr<DeviceRecording>> recordings;
  bool canRecord = true, profiling = false;
  std::vector<uint64_t> times;
  std::string broken; ///< why nothing can be run any more; empty: it can
};

} // namespace quern::runtime

#endif // QUERN_LIB_RUNTIME_DEVICERUN_H
