// Attention over splits of the keys, and the merge of the splits, against double precision.
#include "test/unit/GPU/AttentionProblem.h"

#include "lib/Codegen/GPU/DecodeAttention.h"
#include "lib/Codegen/GPU/Rotary.h"
#include "quern/Codegen/GpuLayout.h"
#include "quern/Reference/Rows.h"

namespace quern {
namespace {

using codegen::DecodeAttention;
using codegen::MergeAttention;

constexpr double kTheta = 1e4;

/// What a fused kernel takes besides.
struct NewRows {
  std::vector<float> key, value, queryGain, keyGain;
};

struct DecodeRun {
  std::vector<float> out;
  std::vector<int8_t> codes;
  std::vector<float> scales;
  std::vector<int16_t> sums;
  Status status;
};

/// A problem's buffers on a device, and the launches of its attention.
class DecodeProblem {
public:
  DecodeProblem(AttentionProblem &p, const DecodeAttention &attention, const std::string &code, const NewRows &fresh)
      : p(p), attention(attention), program(code) {
    p.upload(program);
    positions = program.upload(p.positions);
    arguments = {program.upload(p.query)};
    if (attention.fused) {
      arguments.insert(arguments.end(), {program.upload(fresh.key), program.upload(fresh.value)});
      if (attention.headEps)
        arguments.insert(arguments.end(), {program.upload(fresh.queryGain), program.upload(fresh.keyGain)});
      arguments.push_back(program.upload(codegen::makeRotaryTable(kTheta, {}, p.headDim, 8192)));
    }
    arguments.insert(arguments.end(), {positions, p.addressesOfRows, p.capacitiesOfRows});
    int64_t width = p.heads * p.headDim, padded = codegen::gpuRowWidth(width);
    counters = program.upload(std::vector<int32_t>(p.rows() * attention.countersOfRow()));
    out = program.upload(std::vector<float>(p.rows() * width));
    quantized = {program.upload(std::vector<int8_t>(p.rows() * padded, 1)),
                 program.upload(std::vector<float>(p.rows() * padded / 32, 1)),
                 program.upload(std::vector<int16_t>(p.rows() * padded / 16, 1))};
  }

  /// Gives f32 and quantized rows; the cache is read back.
  DecodeRun run(uint32_t seed) {
    DecodeRun result;
    for (bool isQuantized : {false, true}) {
      std::vector<uint64_t> results = isQuantized ? quantized : std::vector<uint64_t>{out};
      result.status = attention.merges ? launchMerging(isQuantized, results, seed) : launchBoth(results, seed);
      if (!result.status)
        return result;
    }
    p.readBack(program);
    int64_t width = p.heads * p.headDim, padded = codegen::gpuRowWidth(width);
    result.out = program.download<float>(out, p.rows() * width);
    result.codes = program.download<int8_t>(quantized[0], p.rows() * padded);
    result.scales = program.download<float>(quantized[1], p.rows() * padded / 32);
    result.sums = program.download<int16_t>(quantized[2], p.rows() * padded / 16);
    return result;
  }

private:
  Status launch(const DecodeAttention &kernel, const std::vector<uint64_t> &more, uint32_t seed) {
    values = program.upload(std::vector<float>(p.rows() * attention.valueBytes() / 4, NAN));
    states = program.upload(std::vector<float>(p.rows() * attention.stateBytes() / 4, NAN));
    std::vector<uint64_t> all = arguments;
    all.insert(all.end(), {values, states});
    all.insert(all.end(), more.begin(), more.end());
    all.push_back(uint64_t(p.kLayer));
    uint32_t heads = uint32_t(p.kvHeads * kernel.passes());
    return program.launch(kernel.name(), {uint32_t(kernel.splits()), heads, uint32_t(p.rows())},
                          uint32_t(32 * kernel.warps()), all, seed);
  }

  Status launchMerging(bool isQuantized, std::vector<uint64_t> results, uint32_t seed) {
    DecodeAttention kernel = attention;
    kernel.quantized = isQuantized;
    results.insert(results.begin(), counters);
    QUERN_TRY(launch(kernel, results, seed));
    for (int32_t counter : program.download<int32_t>(counters, p.rows() * attention.countersOfRow()))
      EXPECT_EQ(counter, 0);
    return {};
  }

  Status launchBoth(const std::vector<uint64_t> &results, uint32_t seed) {
    QUERN_TRY(launch(attention, {}, seed));
    MergeAttention merge{p.heads, p.headDim, attention.splits(), results.size() > 1};
    std::vector<uint64_t> pointers = {values, states, positions};
    pointers.insert(pointers.end(), results.begin(), results.end());
    return program.launch(merge.name(), {uint32_t(merge.groups()), uint32_t(p.rows()), 1}, 128, pointers, seed);
  }

  AttentionProblem &p;
  DecodeAttention attention;
  GpuProgram program;
  std::vector<uint64_t> arguments, quantized;
  uint64_t positions, counters, out, values = 0, states = 0;
};

DecodeRun run(AttentionProblem &p, const DecodeAttention &attention, const std::string &code, const NewRows &fresh,
              uint32_t seed) {
  return DecodeProblem(p, attention, code, fresh).run(seed);
}

std::string ptxOf(const AttentionProblem &p, DecodeAttention attention, const std::string &chip) {
  return emitCode(chip, [&](auto module, auto &target) {
    if (!attention.merges)
      emitDecodeAttention(module, attention, target);
    for (bool quantized : {false, true}) {
      attention.quantized = quantized;
      if (attention.merges)
        emitDecodeAttention(module, attention, target);
      else
        emitMergeAttention(module, {p.heads, p.headDim, attention.splits(), quantized}, target);
    }
  });
}

/// To the bit what the merge gives as f32, and zeros behind the row.
void expectQuantized(const AttentionProblem &p, const DecodeRun &got) {
  int64_t width = p.heads * p.headDim, padded = codegen::gpuRowWidth(width);
  reference::Rows rows(p.rows(), width);
  rows.values.assign(got.out.begin(), got.out.end());
  reference::Act8Rows expected = reference::quantize(rows);
  for (int64_t t = 0; t < p.rows(); ++t)
    for (int64_t k = 0; k < width; ++k) {
      ASSERT_EQ(got.codes[t * padded + k], expected.codes[t * width + k]) << t << " " << k;
      ASSERT_EQ(got.scales[(t * padded + k) / 32], expected.scales[t * expected.groups() + k / 32]);
      ASSERT_EQ(got.sums[(t * padded + k) / 16], expected.sums[t * expected.sumsOfRow() + k / 16]);
    }
  for (int64_t t = 0; t < p.rows(); ++t)
    for (int64_t k = (width + 31) / 32 * 32; k < padded; ++k) {
      ASSERT_EQ(got.codes[t * padded + k], 0);
      ASSERT_EQ(got.scales[(t * padded + k) / 32], 0);
      ASSERT_EQ(got.sums[(t * padded + k) / 16], 0);
    }
}

void expectRows(const std::vector<float> &got, const std::vector<double> &expected, const std::string &name) {
  // Values are of the order of 1. A score, the sum of headDim products, is off by some 2^-22 of its terms, a weight
  // by that and by the exponential's own error, and weights add up to 1.
  for (size_t i = 0; i < expected.size(); ++i)
    ASSERT_NEAR(got[i], expected[i], 0x1p-16) << name << " " << i;
}

void expectAttention(AttentionProblem p, const std::string &chip, uint32_t seed, bool merges = false) {
  DecodeAttention attention{p.heads, p.kvHeads, p.headDim, p.scale()};
  attention.merges = merges;
  DecodeRun got = run(p, attention, ptxOf(p, attention, chip), {}, seed);
  ASSERT_TRUE(got.status) << got.status.error().message;
  expectRows(got.out, p.expected({p.query.begin(), p.query.end()}), attention.name());
  expectQuantized(p, got);
}

TEST(GpuDecodeAttention, AgreesWithDoublePrecision) {
  expectAttention({6, 2, 64, {0, 37, 300}, {0, 1, 2}}, "sm_80", 1);
  expectAttention({7, 1, 128, {130}, {0}}, "sm_75", 2);
  expectAttention({3, 3, 96, {64, 65}, {0, 0}}, "sm_90", 3);
  expectAttention({10, 1, 80, {97}, {0}}, "sm_80", 2); // two passes of five heads
  expectAttention({1, 1, 256, {33}, {0}}, "sm_80", 0);
}

TEST(GpuDecodeAttention, SplitsLongRows) {
  AttentionProblem p(8, 8, 16, {5000, 4095}, {0, 1});
  DecodeAttention attention{8, 8, 16, p.scale()};
  ASSERT_EQ(attention.splits(), 32); // of 256 keys for 5,001 of them, of 128 for 4,096
  expectAttention(p, "sm_80", 1);
}

TEST(GpuDecodeAttention, TheLastWarpMerges) {
  expectAttention({6, 2, 64, {0, 37, 300}, {0, 1, 2}}, "sm_80", 1, true);
  expectAttention({7, 1, 128, {130}, {0}}, "sm_75", 2, true);      // the last warp has one head
  expectAttention({3, 3, 96, {64, 65}, {0, 0}}, "sm_90", 3, true); // numbers of the row to fill up
  expectAttention({6, 3, 96, {70}, {0}}, "sm_80", 0, true);        // four numbers of a lane are of either head
  expectAttention({3, 1, 32, {200}, {0}}, "sm_80", 4, true);
  expectAttention({2, 1, 256, {33}, {0}}, "sm_80", 0, true);
  expectAttention({17, 1, 32, {97}, {0}}, "sm_80", 2, true); // two passes, of which the second has idle warps
}

TEST(GpuDecodeAttention, ManySplitsAreMergedInBunches) {
  // 32 splits of keys; 33, of which the last has one; 157 of the 256 that there are.
  expectAttention({2, 1, 32, {1023, 1024}, {0, 1}}, "sm_80", 1, true);
  expectAttention({1, 1, 32, {5000}, {0}}, "sm_80", 2, true);
}

/// A head's vector in double precision, normed and rotated.
std::vector<double> turned(const DecodeAttention &a, const float *head, const std::vector<float> &gain,
                           int64_t position) {
  std::vector<double> x(head, head + a.headDim), out(x);
  if (a.headEps) {
    double squares = 0;
    for (double number : x)
      squares += number * number;
    for (int64_t d = 0; d < a.headDim; ++d)
      x[d] *= gain[d] / std::sqrt(squares / double(a.headDim) + *a.headEps);
  }
  for (int64_t i = 0; i < a.headDim / 2; ++i) {
    int64_t first = a.interleaved ? 2 * i : i, second = a.interleaved ? first + 1 : i + a.headDim / 2;
    double angle = double(position) * std::pow(kTheta, -2.0 * double(i) / double(a.headDim));
    out[first] = x[first] * std::cos(angle) - x[second] * std::sin(angle);
    out[second] = x[second] * std::cos(angle) + x[first] * std::sin(angle);
  }
  return out;
}

/// Calls f(row, head, d, key, value) for each number of the new keys and values.
template <typename F>
void forEachNew(const AttentionProblem &p, const DecodeAttention &attention, const NewRows &fresh, F f) {
  for (int64_t row = 0; row < p.rows(); ++row)
    for (int64_t head = 0; head < p.kvHeads; ++head) {
      int64_t at = (row * p.kvHeads + head) * p.headDim;
      auto key = turned(attention, &fresh.key[at], fresh.keyGain, p.positions[row]);
      for (int64_t d = 0; d < p.headDim; ++d)
        f(row, head, d, key[d], fresh.value[at + d]);
    }
}

/// As RotaryCache does.
void writeCache(AttentionProblem &p, const DecodeAttention &attention, const NewRows &fresh) {
  forEachNew(p, attention, fresh, [&](int64_t row, int64_t head, int64_t d, double key, float value) {
    auto &cache = p.caches[p.sequences[row]];
    cache[p.placeOf(row, false, head, p.positions[row], d)] = floatToHalf(float(key));
    cache[p.placeOf(row, true, head, p.positions[row], d)] = floatToHalf(value);
  });
}

void expectWritten(const AttentionProblem &p, const DecodeAttention &attention, const NewRows &fresh) {
  forEachNew(p, attention, fresh, [&](int64_t row, int64_t head, int64_t d, double key, float value) {
    EXPECT_NEAR(p.cached(row, false, head, p.positions[row], d), key, std::abs(key) * 0x1p-11 + 0x1p-18);
    EXPECT_EQ(p.cached(row, true, head, p.positions[row], d), halfToFloat(floatToHalf(value)));
  });
}

/// `writes`: the kernel writes the cache; otherwise it was written before, and stays as it is.
void expectFused(AttentionProblem p, bool interleaved, std::optional<double> eps, const std::string &chip,
                 bool merges = false, bool writes = true) {
  DecodeAttention attention{p.heads, p.kvHeads, p.headDim, p.scale(), true, interleaved, eps, writes};
  attention.merges = merges;
  NewRows fresh{normalFloats(p.rows() * p.kvHeads * p.headDim, 21), normalFloats(p.rows() * p.kvHeads * p.headDim, 22),
                normalFloats(p.headDim, 23), normalFloats(p.headDim, 24)};
  if (!writes)
    writeCache(p, attention, fresh);
  auto before = p.caches;
  DecodeRun got = run(p, attention, ptxOf(p, attention, chip), fresh, 1);
  ASSERT_TRUE(got.status) << got.status.error().message;
  if (writes)
    expectWritten(p, attention, fresh);
  else
    EXPECT_EQ(p.caches, before);
  std::vector<double> queries;
  for (int64_t row = 0; row < p.rows(); ++row)
    for (int64_t head = 0; head < p.heads; ++head) {
      const float *from = &p.query[(row * p.heads + head) * p.headDim];
      std::ranges::copy(turned(attention, from, fresh.queryGain, p.positions[row]), std::back_inserter(queries));
    }
  expectRows(got.out, p.expected(queries), attention.name());
}

TEST(GpuDecodeAttention, RotatesAndWritesTheCache) {
  expectFused({6, 2, 64, {0, 300}, {0, 1}}, false, {}, "sm_80");
  expectFused({2, 1, 96, {130}, {0}}, false, 1e-6, "sm_75");
  expectFused({3, 1, 80, {31}, {0}}, true, 1e-6, "sm_90");
  expectFused({2, 2, 128, {4100}, {0}}, true, {}, "sm_80");
}

TEST(GpuDecodeAttention, RotatesWritesTheCacheAndMerges) {
  expectFused({6, 2, 64, {0, 300}, {0, 1}}, false, {}, "sm_80", true);
  expectFused({2, 1, 96, {130}, {0}}, false, 1e-6, "sm_75", true);
  expectFused({2, 2, 128, {4100}, {0}}, true, {}, "sm_90", true);
}

/// Where rows are of one sequence, the cache was written before.
TEST(GpuDecodeAttention, RotatesAndReadsTheCache) {
  expectFused({4, 2, 64, {299, 300, 70}, {0, 0, 1}}, false, {}, "sm_80", false, /*writes=*/false);
  expectFused({3, 1, 80, {98, 97}, {0, 0}}, true, 1e-6, "sm_75", false, /*writes=*/false);
}

TEST_F(OpenCl, DecodeAttentionRotatesAndReadsTheCache) {
  expectFused({4, 2, 64, {299, 300, 70}, {0, 0, 1}}, false, {}, "spirv", false, /*writes=*/false);
}

TEST_F(OpenCl, DecodeAttentionRotatesAndWritesTheCache) {
  expectFused({6, 2, 64, {0, 300}, {0, 1}}, false, {}, "spirv");
  expectFused({3, 1, 80, {31}, {0}}, true, 1e-6, "spirv");
}

TEST(GpuDecodeAttention, RemovedBarriersAreFound) {
  AttentionProblem p(2, 1, 64, {100}, {0});
  DecodeAttention attention{2, 1, 64, p.scale()};
  for (const std::string &ptx : withoutEach(ptxOf(p, attention, "sm_80"), "bar.sync"))
    for (uint32_t seed : {0u, 1u, 2u}) {
      DecodeRun got = run(p, attention, ptx, {}, seed);
      ASSERT_FALSE(got.status);
      EXPECT_THAT(got.status.error().message, testing::HasSubstr("race in shared memory"));
    }
}

/// The error of merging two rows, with a fault in the PTX.
std::string errorOfMerging(const std::string &ptx, AttentionProblem p, const DecodeAttention &attention,
                           uint32_t seed) {
  DecodeRun got = run(p, attention, ptx, {}, seed);
  return got.status ? "" : got.status.error().message;
}

TEST(GpuDecodeAttention, RemovedFencesAreFound) {
  AttentionProblem p(2, 1, 64, {100, 70}, {0, 1});
  DecodeAttention attention{2, 1, 64, p.scale()};
  attention.merges = true;
  std::string ptx = ptxOf(p, attention, "sm_80");
  size_t counter = ptx.find("atom.global.inc");
  ASSERT_NE(counter, std::string::npos);
  auto without = [&](size_t at) { return ptx.substr(0, ptx.rfind('\n', at)) + ptx.substr(ptx.find('\n', at)); };
  for (uint32_t seed : {0u, 1u, 2u}) {
    EXPECT_EQ(errorOfMerging(ptx, p, attention, seed), "");
    for (size_t at : {ptx.rfind("fence.acq_rel.gpu", counter), ptx.find("fence.acq_rel.gpu", counter),
                      ptx.rfind("bar.warp.sync", counter), ptx.find("bar.warp.sync", counter)})
      EXPECT_THAT(errorOfMerging(without(at), p, attention, seed),
                  testing::HasSubstr("of which no fences and atomic accesses in between tell"));
  }
}

TEST(GpuDecodeAttention, ARemovedCounterIsFound) {
  AttentionProblem p(2, 1, 64, {100}, {0});
  DecodeAttention attention{2, 1, 64, p.scale()};
  attention.merges = true;
  std::string ptx = ptxOf(p, attention, "sm_80");
  // Whoever comes takes itself for the last.
  size_t at = ptx.find("atom.global.inc.u32"), end = ptx.find(';', at);
  ASSERT_NE(at, std::string::npos);
  size_t counter = ptx.find('%', at), most = ptx.rfind(',', end);
  std::string told = "mov.b32 " + ptx.substr(counter, ptx.find(',', counter) - counter) + ptx.substr(most, end - most);
  ptx.insert(end + 1, told + ";");
  for (uint32_t seed : {0u, 1u, 2u})
    EXPECT_THAT(errorOfMerging(ptx, p, attention, seed), testing::HasSubstr("overwrites what thread "));
}

} // namespace
} // namespace quern
