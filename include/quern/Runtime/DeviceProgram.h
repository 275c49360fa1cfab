// What a package has to be run on a GPU with: the device's form of KernelABI.h. A list of launches takes the place of
// an entry function, so that the runtime knows neither layers nor formats on a device either.
#ifndef QUERN_RUNTIME_DEVICEPROGRAM_H
#define QUERN_RUNTIME_DEVICEPROGRAM_H

#include "quern/Support/Result.h"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace quern {

struct Manifest;

/// constant + sum over the dynamic sizes s of perSize[s] * s, in the manifest's order of sizes. No number is negative.
struct SizeExpression {
  int64_t constant = 0;
  std::vector<int64_t> perSize; ///< one for each size, or none if all are 0

  /// `sizes` has one value for each size. Does not overflow for sizes up to the program's most tokens.
  int64_t at(std::span<const int64_t> sizes) const {
    int64_t sum = constant;
    for (size_t i = 0; i < perSize.size(); ++i)
      sum += perSize[i] * sizes[i];
    return sum;
  }
};

/// How an output's token is drawn from its row of logits, as the runtime's Sampler does it without a penalty; in device
/// memory one after the other.
struct RowDraw {
  float inverseTemperature = 0; ///< 1 / temperature; 0: not drawn, the likeliest token is chosen
  float topP = 1;               ///< 1 or more: off
  float minP = 0;               ///< 0 or less: off
  float random = 0;             ///< uniform in [0, 1 - 2^-23]
  int32_t topK = 0;             ///< 0 or less: off
  bool operator==(const RowDraw &) const = default;

  /// In place of a token: the program could not draw one, the host has to.
  static constexpr int32_t kNotDrawn = -2;
};

/// A kernel argument of 8 bytes.
struct LaunchArgument {
  enum class Kind {
    Weights,  ///< address: the device's weights, plus `offset`
    Arena,    ///< address: the arena, plus `place` with the largest sizes that the arena was made for
    Input,    ///< address of the named input `index` in device memory
    Output,   ///< address of the named output `index` in device memory
    Choice,   ///< address of an i32 for each value of the last dynamic size ("outputs"): the row's token
    Draw,     ///< address of a RowDraw for each of them; launches that take it are made where a row is drawn
    Counters, ///< address of the program's i32 counters, zero before and after each launch
    Size,     ///< i64: the dynamic size `index` of this call
    Constant  ///< i64: `offset`
  };
  Kind kind;
  int64_t offset = 0;
  int64_t index = 0;
  SizeExpression place;
};

/// One dimension of a grid: `numerator` with the sizes of the call, divided by `divisor`, rounded up. 0 blocks: no
/// launch.
struct GridDimension {
  SizeExpression numerator;
  int64_t divisor = 1;

  int64_t at(std::span<const int64_t> sizes) const {
    int64_t value = numerator.at(sizes);
    return value / divisor + (value % divisor != 0);
  }
};

/// A launch that is made only where the dynamic size `index` of the call is `least` to `most`: kernels for a number of
/// outputs stand in one plan.
struct LaunchCondition {
  int64_t index = 0;
  int64_t least = 0, most = INT64_MAX;

  bool holds(std::span<const int64_t> sizes) const {
    return sizes[size_t(index)] >= least && sizes[size_t(index)] <= most;
  }
};

struct Launch {
  std::string kernel;
  GridDimension grid[3];
  int64_t threads = 0;     ///< of a block, in x
  int64_t sharedBytes = 0; ///< dynamic shared memory, beyond what the kernel declares
  std::optional<LaunchCondition> when;
  std::vector<LaunchArgument> arguments;
  bool takes(LaunchArgument::Kind kind) const;
  std::string op, name; ///< the op that it was made for, and the tensor or layer: for messages and profiles
};

/// The launches of a step whose first dynamic size ("tokens") lies in a range. Each reads what those before it wrote.
struct LaunchPlan {
  int64_t least = 1, most = 1; ///< tokens
  std::vector<Launch> launches;
};

struct DeviceProgram {
  static constexpr int64_t kVersion = 1;
  SizeExpression arena; ///< bytes, with the largest sizes of a call
  /// i32 by which blocks of a launch tell each other that they have ended. All launches share them: they are zero when
  /// a model is opened, and each launch leaves them so. A launch that fails need not, as its device is not used again.
  int64_t counters = 0;
  /// Whether each kernel waits for the launch before its own to end before it touches what kernels write: it may then
  /// be started before that. Absent in the text where it is false.
  bool overlaps = false;
  std::vector<LaunchPlan> plans; ///< ascending, without gaps, from 1 token on
  int64_t mostTokens() const { return plans.empty() ? 0 : plans.back().most; }
  /// Whether all plans choose the likeliest token of each row of logits, and whether all can draw one.
  bool choosesTokens() const;
  bool drawsTokens() const;
  /// Rows that one step draws at most.
  static constexpr int64_t kMostDrawn = 64;
};

/// The program as JSON, all keys as the fields are called; an expression without sizes is a number.
std::string printDeviceProgram(const DeviceProgram &program);

/// Reads and checks: types and ranges; that plans follow each other; that weights lie within the `weightsBytes` of
/// their section, places within the arena for any sizes up to the most tokens, and inputs, outputs and sizes among the
/// manifest's; that grids are none that no device takes; and that nothing overflows. `source` is for messages: the file
/// and the section.
Result<DeviceProgram> parseDeviceProgram(std::string_view json, const Manifest &manifest, uint64_t weightsBytes,
                                         const std::string &source);

} // namespace quern

#endif // QUERN_RUNTIME_DEVICEPROGRAM_H
