// Where the bits of weights lie for GPU kernels.
#include "test/unit/GPU/CompileMatvec.h"

namespace quern {
namespace {

constexpr const char *kFormats[] = {"q8_0",  "q4_0",       "q4_1",       "q5_0",   "q5_1",   "q2_K",
                                    "q3_K",  "q4_K",       "q5_K",       "q6_K",   "iq4_nl", "iq4_xs",
                                    "mxfp4", "mxfp6_e2m3", "mxfp6_e3m2", "i4_f32", "i5_f32", "i8_f32"};

/// The code of a weight as the header says where its bits lie.
unsigned codeAt(const GpuLayout &layout, const std::vector<uint8_t> &packed, int64_t rows, int64_t width, int64_t n,
                int64_t k) {
  unsigned code = 0, below = 0;
  for (size_t plane = 0; plane < layout.planes.size(); ++plane) {
    int64_t b = layout.planes[plane], q = k % layout.unit() / 4;
    int64_t byte = layout.regions(rows, width)[plane] + n * layout.rowBytes(width)[plane] +
                   (q / (32 / b) * layout.units(width) + k / layout.unit()) * 16 + q % 4 * 4 + k % 4;
    code |= (packed[byte] >> (b * (q % (32 / b) / 4)) & ((1 << b) - 1)) << below;
    below += b;
  }
  return code;
}

TEST(GpuLayouts, CodesLieWhereTheHeaderSays) {
  for (std::string name : kFormats) {
    formats::FormatSpec spec = specOf(name);
    auto layout = GpuLayout::get(spec);
    ASSERT_TRUE(layout) << layout.error().message;
    int64_t rows = 3, width = 768, blocks = width / spec.block;
    std::mt19937 random(5);
    std::vector<uint8_t> stored(rows * blocks * spec.bytes), packed(layout->bytes(rows, width));
    for (uint8_t &byte : stored)
      byte = uint8_t(random());
    codegen::packGpuWeight(*layout, &spec, rows, width, stored, packed);
    formats::DecodedBlock block;
    for (int64_t n = 0; n < rows; ++n)
      for (int64_t b = 0; b < blocks; ++b) {
        formats::Decoder(spec).decodeBlock(stored.data() + (n * blocks + b) * spec.bytes, block);
        for (int64_t i = 0; i < spec.block; ++i)
          ASSERT_EQ(codeAt(*layout, packed, rows, width, n, b * spec.block + i), block.code[i]) << name << " " << i;
      }
  }
}

TEST(GpuLayouts, TakeTheBytesOfTheStoredRows) {
  // But for scales of six bits, which take a byte.
  std::map<std::string, int64_t> more = {{"q3_K", 4}, {"iq4_xs", 2}};
  for (std::string name : kFormats) {
    formats::FormatSpec spec = specOf(name);
    EXPECT_EQ(GpuLayout::get(spec)->bytes(64, 4096), 64 * 4096 / spec.block * (spec.bytes + more[name])) << name;
  }
  EXPECT_EQ(GpuLayout::getFloat(2, true).bytes(64, 4096), 64 * 4096 * 2);
}

/// Weights are within what their scales allow, and not much below.
TEST(GpuLayouts, ScalesBoundWeights) {
  for (std::string name : kFormats) {
    std::mt19937 random(5);
    TestWeight weight(name, 16, 512, random);
    const GpuLayout &layout = weight.segment.layout;
    std::vector<std::vector<uint8_t>> regions;
    std::vector<int64_t> starts = layout.regions(16, 512);
    for (size_t i = 0; i < layout.rowBytes(512).size(); ++i)
      regions.emplace_back(&weight.packed[starts[i]], &weight.packed[starts[i]] + 16 * layout.rowBytes(512)[i]);
    float bound = layout.mostWeight(regions), most = 0;
    for (float number : weight.numbers)
      most = std::max(most, std::abs(number));
    EXPECT_TRUE(most <= bound && bound < 4 * most) << name << ": " << most << " " << bound;
  }
}

TEST(GpuLayouts, PlacesGoBeyond32Bits) {
  // The logits of a large model in f32: 151,936 rows of 8,192.
  EXPECT_EQ(GpuLayout::getFloat(4, false).bytes(151936, 8192), int64_t(151936) * 8192 * 4);
}

TEST(GpuLayouts, RefuseWhatKernelsDoNotRead) {
  formats::FormatSpec spec = specOf("q8_0");
  spec.name = "shifted";
  spec.codes.offset = -64;
  auto layout = GpuLayout::get(spec);
  ASSERT_FALSE(layout);
  EXPECT_EQ(layout.error().message, "format shifted: signed codes less a zero point have no GPU kernel");
}

TEST(GpuFaults, WrongLayout) {
  MatvecTest test({.segments = {}, .width = 256, .columns = 1}, {{"q4_0", 4}}, "sm_80");
  test.expectSums(test.run(1));
  // Two words of the first row's first unit change places, by which quads of codes meet each other's activations.
  std::vector<uint8_t> &packed = test.weights[0].packed;
  std::swap_ranges(packed.begin(), packed.begin() + 4, packed.begin() + 4);
  std::vector<float> wrong = test.run(1)[0];
  auto [sum, magnitude] = test.expected(test.activations(), 0, 0, 0);
  EXPECT_GT(std::abs(wrong[0] - sum), test.tolerance() * magnitude);
}

} // namespace
} // namespace quern
