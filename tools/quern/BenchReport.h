// What `quern bench` has measured, and its forms: llama-bench's rows and JSON, and the table of kernels.
#ifndef QUERN_TOOLS_BENCHREPORT_H
#define QUERN_TOOLS_BENCHREPORT_H

#include "OpTable.h"
#include "quern/quern.h"

#include <nlohmann/json.hpp>

#include <string>
#include <vector>

namespace quern::cli {

/// A prompt of some tokens, or a generation of some in each of several sequences at once, after others of context.
struct BenchTest {
  int prompt, generation, depth, sequences = 1;
  std::string name() const;
  /// Of one sequence.
  int tokens() const { return prompt + generation; }
  /// The steps that the runtime makes of it.
  std::vector<StepShape> steps(int chunkTokens) const;
};

struct Measured {
  BenchTest test;
  quern_model_info info;
  std::string path, cacheType, time;
  std::vector<uint64_t> nanoseconds; ///< of each repetition
  std::vector<uint64_t> alone;       ///< of one sequence by itself after each repetition, where several are measured
  std::vector<Limits> limits;        ///< of the machine, around each repetition; zeros where there are no probes
  std::vector<OpRecord> ops;         ///< empty: the package has no table
  std::string device;                ///< "" of the processor, else "cuda:0 (NAME)"; kernels then have no costs
  std::vector<double> opNanoseconds; ///< of each kernel call in the whole test, where that was profiled

  std::vector<double> speeds() const; ///< tokens a second, of all sequences
  double ratioToOne() const;          ///< that speed to one sequence's; 1 of one
};

nlohmann::ordered_json toJson(const Measured &measured);
/// A row of the table of speeds; `first`: its head before it.
void printRow(const Measured &measured, bool first);
/// Kernels by name: predicted and measured time, worst ratio first.
void printPerOp(const Measured &measured);

} // namespace quern::cli

#endif // QUERN_TOOLS_BENCHREPORT_H
