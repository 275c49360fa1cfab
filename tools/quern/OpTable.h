// What each kernel call of a step has to do, as the compiler wrote it into the package's plan, and how long that takes
// a machine that reads and computes at its limits.
#ifndef QUERN_TOOLS_OPTABLE_H
#define QUERN_TOOLS_OPTABLE_H

#include "quern/Runtime/PackageReader.h"
#include "quern/Support/Result.h"

#include <nlohmann/json.hpp>

#include <string>
#include <vector>

namespace quern::cli {

/// One step: its rows, the rows whose logits are wanted, the positions of the key-value cache that any row looks at,
/// and the pairs of a row and a position it looks at.
struct StepShape {
  int64_t tokens, outputs, keys, pairs;

  /// `tokens` rows of one sequence after `depth` others.
  static StepShape after(int64_t depth, int64_t tokens, int64_t outputs) {
    return {tokens, outputs, depth + tokens, tokens * depth + tokens * (tokens + 1) / 2};
  }
  /// One row of each of `sequences` sequences of their own, each after `depth` others; all logits are wanted.
  static StepShape together(int64_t depth, int64_t sequences) {
    return {sequences, sequences, sequences * (depth + 1), sequences * (depth + 1)};
  }
};

/// What a machine can do: bytes a second, operations a second.
struct Limits {
  double read = 0, dot = 0, pairs = 0, fma = 0;

  /// Operations a second of a unit of the op table; 0 of one that is not known.
  double peak(std::string_view unit) const;
};

/// What kernels compute on, as the op table names it, and its limit.
struct Unit {
  const char *name, *what;
  double Limits::*limit;
};
inline constexpr Unit kUnits[] = {{"dot", "byte products", &Limits::dot},
                                  {"pairs", "bf16", &Limits::pairs},
                                  {"fma", "f32", &Limits::fma}};

/// A record of the op table; see docs/package-format.md.
struct OpRecord {
  std::string kernel, op, name, size, unit;
  int64_t weightBytes, weightBytesPerRow, activationBytesPerRow, cacheBytesPerKey;
  int64_t operationsPerRow, operationsPerPair;

  /// Bytes of weights and cache, which come from memory.
  double memoryBytes(const StepShape &step) const;
  /// The same and the activations, read and written.
  double bytes(const StepShape &step) const;
  double operations(const StepShape &step) const;
  /// Seconds at the limits: the bytes' or the operations', whichever are more.
  double predicted(const StepShape &step, const Limits &limits) const;

private:
  double rows(const StepShape &step) const { return double(size == "outputs" ? step.outputs : step.tokens); }
};

/// The plan as the compiler wrote it; null if the package has none.
Result<nlohmann::ordered_json> readPlan(const package::PackageReader &reader);

/// The records of one target's code, in the order of its kernel calls; none if the plan does not have them.
Result<std::vector<OpRecord>> readOpTable(const nlohmann::ordered_json &plan, const std::string &target,
                                          const std::string &path);

/// The launches of the program for one device target, all plans one after the other, by name and without costs.
Result<std::vector<OpRecord>> readLaunches(const package::PackageReader &reader, const std::string &target);

} // namespace quern::cli

#endif // QUERN_TOOLS_OPTABLE_H
