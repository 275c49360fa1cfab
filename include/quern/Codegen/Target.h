// CPU targets as data: what a pass may ask about the machine it emits code for. Adding a CPU is adding a row to the
// table in lib/Codegen/CPU/Target.cpp and, if it has a new dot instruction, one pattern in LowerDot.cpp.
#ifndef QUERN_CODEGEN_TARGET_H
#define QUERN_CODEGEN_TARGET_H

#include "quern/Support/Result.h"

#include <string>
#include <vector>

namespace quern::codegen {

/// How `dq.dot` is computed (see LowerDot.cpp).
enum class DotKind {
  Vnni,  ///< vpdpbusd: unsigned by signed bytes into i32
  Words, ///< pmaddubsw: pairs of products of unsigned by signed bytes in 16 bits, which must fit
};

struct Target {
  std::string name;   ///< as in the package, e.g. "x86-64-avx512vnni"
  std::string triple;
  std::string cpu;      ///< LLVM processor whose instructions may be used
  std::string features; ///< LLVM feature string on top of it
  std::vector<std::string> required; ///< CPUID features that the runtime checks
  DotKind dot;
  unsigned vectorBits; ///< of a register: 512, 256 or 128
  bool signedCodes;    ///< whole bytes are given to `dq.dot` as signed ones; otherwise with 128 added
  bool bfloatDot = false; ///< `dq.dot_pairs` is vdpbf16ps; a model without bf16 weights needs no code for the target
  bool fusedMultiplyAdd; ///< the fold uses fma; otherwise a multiply and an add
  bool halfConversions;  ///< f16 <-> f32 in hardware; otherwise expanded to integer operations
  unsigned tileTokens;   ///< tokens of a tile of one panel at the most
  unsigned halvesTokens; ///< the same for weights with a scale for each 16 k
  unsigned floatTokens;  ///< the same for float weights
  unsigned pairTokens;   ///< tokens of a tile of two panels at the most; 0: there are no such tiles
  int64_t cacheBytes;    ///< of panels that are meant to stay in the cache while rows of activations pass by
  unsigned attentionHeads; ///< query heads that share a pass over keys
  int64_t prefetchBytes; ///< how far ahead of a streamed panel to prefetch; 0: not at all
  int64_t farPrefetchBytes = 0; ///< the same for each of two far panels that are streamed in turn
  unsigned probeAccumulators = 2; ///< sums of 16 numbers that fill the registers, for `cpu-add-probes`
};

/// All targets, the most capable first; the last runs on any x86-64 of the last fifteen years.
const std::vector<Target> &cpuTargets();

/// The target of that name, or an error that lists the names.
Result<const Target *> findTarget(const std::string &name);

} // namespace quern::codegen

#endif // QUERN_CODEGEN_TARGET_H
