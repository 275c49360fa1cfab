// The table of CPU targets.
#include "quern/Codegen/Target.h"

using namespace quern;
using namespace quern::codegen;

// 32 zmm registers hold 12 f32 and 12 i32 accumulators of a tile beside codes and activations.
static const Target avx512vnni = {
    .name = "x86-64-avx512vnni",
    .triple = "x86_64-unknown-linux-gnu",
    .cpu = "x86-64-v3",
    .features = "+avx512f,+avx512bw,+avx512vl,+avx512dq,+avx512vnni,+gfni,-prefer-256-bit",
    .required = {"avx2", "fma", "f16c", "bmi", "bmi2", "lzcnt", "movbe", "avx512f", "avx512bw", "avx512vl", "avx512dq",
                 "avx512vnni", "gfni"},
    .dot = DotKind::Vnni,
    .vectorBits = 512,
    .signedCodes = false,
    .fusedMultiplyAdd = true,
    .halfConversions = true,
    .tileTokens = 12,
    .halvesTokens = 9,
    .floatTokens = 6,
    .pairTokens = 5,
    .cacheBytes = 640 << 10,
    .attentionHeads = 8,
    .prefetchBytes = 8192,
    .farPrefetchBytes = 3072,
    .probeAccumulators = 12,
};

/// The same processor with vdpbf16ps.
static Target withBfloatDot(Target target) {
  target.name = "x86-64-avx512bf16";
  target.features += ",+avx512bf16";
  target.required.push_back("avx512bf16");
  target.bfloatDot = true;
  return target;
}

// 16 ymm registers: the sums of a panel and four tokens are twice as many halves of 8 rows.
static const Target avx2 = {
    .name = "x86-64-avx2",
    .triple = "x86_64-unknown-linux-gnu",
    .cpu = "x86-64-v3",
    .features = "",
    .required = {"avx2", "fma", "f16c", "bmi", "bmi2", "lzcnt", "movbe"},
    .dot = DotKind::Words,
    .vectorBits = 256,
    .signedCodes = true,
    .fusedMultiplyAdd = true,
    .halfConversions = true,
    .tileTokens = 4,
    .halvesTokens = 4,
    .floatTokens = 4,
    .pairTokens = 0,
    .cacheBytes = 256 << 10,
    .attentionHeads = 2,
    .prefetchBytes = 8192,
    .probeAccumulators = 4,
};

/// The same processor with vpdpbusd, which takes all unsigned bytes.
static Target withAvxVnni(Target target) {
  target.name = "x86-64-avxvnni";
  target.features = "+avxvnni";
  target.required.push_back("avxvnni");
  target.dot = DotKind::Vnni;
  target.signedCodes = false;
  return target;
}

const std::vector<Target> &codegen::cpuTargets() {
  static const std::vector<Target> targets = {
      withBfloatDot(avx512vnni),
      avx512vnni,
      withAvxVnni(avx2),
      avx2,
      {.name = "x86-64-v2",
       .triple = "x86_64-unknown-linux-gnu",
       .cpu = "x86-64-v2",
       .features = "",
       .required = {"sse3", "ssse3", "sse4.1", "sse4.2", "popcnt", "cx16"},
       .dot = DotKind::Words,
       .vectorBits = 128,
       .signedCodes = true,
       .fusedMultiplyAdd = false,
       .halfConversions = false,
       .tileTokens = 1,
       .halvesTokens = 1,
       .floatTokens = 1,
       .pairTokens = 0,
       .cacheBytes = 128 << 10,
       .attentionHeads = 1,
       .prefetchBytes = 2048},
  };
  return targets;
}

Result<const Target *> codegen::findTarget(const std::string &name) {
  std::string names;
  for (const Target &target : cpuTargets()) {
    if (target.name == name)
      return &target;
    names += (names.empty() ? "" : ", ") + target.name;
  }
  return fail("there is no target '" + name + "'; the targets are " + names);
}
