// The rotary embedding: the compiler's table, and the kernel that rotates and writes the cache, against double
// precision.
#include "test/unit/GPU/EmitKernels.h"

#include "lib/Codegen/GPU/Rotary.h"
#include "quern/Support/Half.h"

#include <cmath>

namespace quern {
namespace {

using codegen::RotaryCache;

constexpr double kTheta = 1e6;

double frequency(int64_t i, int64_t headDim) { return std::pow(kTheta, -2.0 * double(i) / double(headDim)); }

TEST(GpuRotaryTable, IsAccurateToItsLastPosition) {
  int64_t headDim = 128, half = headDim / 2, positions = 131072;
  auto table = codegen::makeRotaryTable(kTheta, {}, headDim, positions);
  ASSERT_EQ(table.size(), size_t((256 + 512) * half * 2));
  double worst = 0;
  for (int64_t p : {0, 1, 255, 256, 257, 4095, 65535, 100000, 131071})
    for (int64_t i = 0; i < half; ++i) {
      const float *fine = &table[(p % 256 * half + i) * 2], *coarse = &table[((256 + p / 256) * half + i) * 2];
      float cos = coarse[0] * fine[0] - coarse[1] * fine[1], sin = coarse[1] * fine[0] + coarse[0] * fine[1];
      double angle = double(p) * frequency(i, headDim);
      worst = std::max({worst, std::abs(cos - std::cos(angle)), std::abs(sin - std::sin(angle))});
    }
  EXPECT_LT(worst, 0x1p-22);
}

TEST(GpuRotaryTable, DividesByFactors) {
  std::vector<float> factors = {1, 2, 4, 8};
  auto table = codegen::makeRotaryTable(kTheta, factors, 8, 300);
  ASSERT_EQ(table.size(), size_t((256 + 2) * 4 * 2));
  for (int64_t i = 0; i < 4; ++i) {
    double angle = 256 * frequency(i, 8) / factors[i]; // the second coarse row
    EXPECT_NEAR(table[(257 * 4 + i) * 2], std::cos(angle), 0x1p-24);
    EXPECT_NEAR(table[(257 * 4 + i) * 2 + 1], std::sin(angle), 0x1p-24);
  }
}

/// Two rows, of two sequences with caches of their own, whose layer 1 of 2 is written.
struct RotaryProblem {
  RotaryProblem(const RotaryCache &r, int32_t position)
      : r(r), positions{position, 300}, capacities{(position / 64 + 1) * 64, 320},
        query(normalFloats(2 * r.heads * r.headDim, 1)), key(normalFloats(2 * r.kvHeads * r.headDim, 2)),
        value(normalFloats(key.size(), 3)), queryGain(normalFloats(r.headDim, 4)), keyGain(normalFloats(r.headDim, 5)) {
  }

  /// Element d of a head, normed and rotated in double precision.
  double rotated(const float *head, const std::vector<float> &gain, int64_t position, int64_t d) const {
    int64_t half = r.headDim / 2, pair = r.interleaved ? d / 2 : d % half;
    int64_t first = r.interleaved ? 2 * pair : pair, second = r.interleaved ? first + 1 : first + half;
    double factor = 1, squares = 0;
    if (r.headEps) {
      for (int64_t i = 0; i < r.headDim; ++i)
        squares += double(head[i]) * head[i];
      factor = 1 / std::sqrt(squares / double(r.headDim) + *r.headEps);
    }
    auto number = [&](int64_t i) { return r.headEps ? head[i] * factor * gain[i] : head[i]; };
    double angle = double(position) * frequency(pair, r.headDim), a = number(first), b = number(second);
    return d == first ? a * std::cos(angle) - b * std::sin(angle) : b * std::cos(angle) + a * std::sin(angle);
  }

  RotaryCache r;
  std::vector<int32_t> positions;
  std::vector<int64_t> capacities;
  std::vector<float> query, key, value, queryGain, keyGain;
};

void expectRotary(const RotaryCache &r, int32_t position, const std::string &chip, uint32_t seed) {
  RotaryProblem p(r, position);
  const std::vector<int32_t> &positions = p.positions;
  const std::vector<int64_t> &capacities = p.capacities;
  GpuProgram program(emitCode(chip, [&](auto module, auto &target) { emitRotaryCache(module, r, target); }));
  auto table = codegen::makeRotaryTable(kTheta, {}, r.headDim, 131072);
  std::vector<uint64_t> caches;
  for (int64_t capacity : capacities)
    caches.push_back(program.upload(std::vector<uint16_t>(2 * 2 * r.kvHeads * capacity * r.headDim, 0x7e00)));
  uint64_t out = program.upload(std::vector<float>(p.query.size()));
  std::vector<uint64_t> arguments = {program.upload(p.query), program.upload(p.key), program.upload(p.value)};
  if (r.headEps)
    arguments.insert(arguments.end(), {program.upload(p.queryGain), program.upload(p.keyGain)});
  arguments.insert(arguments.end(), {program.upload(table), program.upload(positions), program.upload(caches),
                                     program.upload(capacities), out, /*layer=*/1});
  auto status = program.launch(r.name(), {uint32_t(r.blocks()), 2, 1}, 128, arguments, seed);
  ASSERT_TRUE(status) << status.error().message;
  auto query = program.download<float>(out, p.query.size());
  for (int64_t row = 0; row < 2; ++row) {
    for (int64_t i = 0; i < r.heads * r.headDim; ++i) {
      int64_t d = i % r.headDim, head = row * r.heads * r.headDim + i - d;
      double expected = p.rotated(&p.query[head], p.queryGain, positions[row], d);
      EXPECT_NEAR(query[head + d], expected, 0x1p-19) << r.name() << " row " << row << " element " << i;
    }
    auto cache = program.download<uint16_t>(caches[row], 2 * 2 * r.kvHeads * capacities[row] * r.headDim);
    for (int64_t i = 0; i < r.kvHeads * r.headDim; ++i) {
      int64_t d = i % r.headDim, which = i / r.headDim, head = row * r.kvHeads * r.headDim + i - d;
      auto entry = [&](int64_t values) {
        int64_t place = ((2 + values) * r.kvHeads + which) * capacities[row] + positions[row];
        return halfToFloat(cache[place * r.headDim + d]);
      };
      double expected = p.rotated(&p.key[head], p.keyGain, positions[row], d);
      EXPECT_NEAR(entry(0), expected, std::abs(expected) * 0x1p-11 + 0x1p-18) << r.name() << " key " << i;
      EXPECT_EQ(entry(1), halfToFloat(floatToHalf(p.value[head + d]))) << r.name() << " value " << i;
      // Neighbouring positions stay as they were.
      int64_t before = ((2 * r.kvHeads + which) * capacities[row] + positions[row] - 1) * r.headDim + d;
      EXPECT_EQ(cache[before], 0x7e00);
    }
  }
}

TEST(GpuRotaryCache, AgreesWithDoublePrecision) {
  expectRotary({3, 1, 64}, 5000, "sm_80", 1);
  expectRotary({2, 1, 96, true}, 255, "sm_75", 2);
  expectRotary({3, 1, 80, false, 1e-6}, 256, "sm_90", 3);
  expectRotary({2, 2, 14, true, 1e-6}, 131071, "sm_80", 0);
}

TEST_F(OpenCl, RotaryCacheAgreesWithDoublePrecision) {
  expectRotary({3, 1, 64}, 5000, "spirv", 0);
  expectRotary({2, 2, 14, true, 1e-6}, 131071, "spirv", 0);
}

TEST(GpuRotaryCache, ATooShortCacheIsFound) {
  RotaryCache r{2, 1, 64};
  GpuProgram program(emitCode("sm_80", [&](auto module, auto &target) { emitRotaryCache(module, r, target); }));
  uint64_t rows = program.upload(normalFloats(2 * 64, 1));
  uint64_t cache = program.upload(std::vector<uint16_t>(2 * 64 * 64));
  uint64_t table = program.upload(codegen::makeRotaryTable(kTheta, {}, 64, 128));
  std::vector<uint64_t> arguments = {rows,
                                     rows,
                                     rows,
                                     table,
                                     program.upload(std::vector<int32_t>{64}),
                                     program.upload(std::vector<uint64_t>{cache}),
                                     program.upload(std::vector<int64_t>{64}),
                                     rows,
                                     0};
  auto status = program.launch(r.name(), {uint32_t(r.blocks()), 1, 1}, 128, arguments, 1);
  ASSERT_FALSE(status);
  EXPECT_THAT(status.error().message, testing::HasSubstr("out of bounds of global memory"));
}

} // namespace
} // namespace quern
