// Rows of a table, to the bit what the format's decoder gives.
#include "test/unit/GPU/EmitKernels.h"

#include "dialects/DQ/DQ.h"
#include "lib/Codegen/GPU/Embedding.h"
#include "quern/Formats/Decoder.h"
#include "quern/Formats/Encoder.h"
#include "quern/Support/Half.h"

namespace quern {
namespace {

using codegen::Embedding;
using codegen::GpuLayout;

constexpr int64_t kRows = 5;
const std::vector<int32_t> kIds = {3, 0, 4, 3};

std::vector<float> run(const Embedding &embedding, const std::vector<uint8_t> &table, const std::string &chip) {
  GpuProgram program(emitCode(chip, [&](auto module, auto &target) { emitEmbedding(module, embedding, target); }));
  uint64_t out = program.upload(std::vector<float>(kIds.size() * embedding.width));
  auto status = program.launch(embedding.name(), {uint32_t(embedding.blocks()), uint32_t(kIds.size()), 1}, 128,
                               {program.upload(kIds), program.upload(table), out}, 1);
  EXPECT_TRUE(status) << status.error().message;
  return program.download<float>(out, kIds.size() * embedding.width);
}

void expectRows(const std::string &format, int64_t width, const std::string &chip) {
  mlir::MLIRContext context;
  const formats::FormatSpec &spec = context.getOrLoadDialect<dq::DQDialect>()->getFormats().lookup(format).getSpec();
  auto layout = GpuLayout::get(spec);
  ASSERT_TRUE(layout) << layout.error().message;
  int64_t rowBytes = width / spec.block * spec.bytes;
  std::vector<uint8_t> stored(kRows * rowBytes), packed(layout->bytes(kRows, width));
  auto numbers = normalFloats(kRows * width, 5);
  formats::Encoder encoder(spec);
  for (int64_t row = 0; row < kRows; ++row)
    encoder.encodeRow(&numbers[row * width], width, &stored[row * rowBytes]);
  packGpuWeight(*layout, &spec, kRows, width, stored, packed);
  auto got = run({{*layout, format, kRows}, width}, packed, chip);
  std::vector<float> expected(width);
  for (size_t t = 0; t < kIds.size(); ++t) {
    formats::Decoder(spec).decodeRow(&stored[kIds[t] * rowBytes], width, expected.data());
    for (int64_t k = 0; k < width; ++k)
      ASSERT_EQ(got[t * width + k], expected[k]) << format << " row " << t << " element " << k;
  }
}

TEST(GpuEmbedding, DecodesBlockFormats) {
  for (std::string format : {"q8_0", "q4_0", "q4_1", "q5_0", "q5_1", "iq4_nl", "mxfp4"})
    expectRows(format, 96, "sm_80");
  for (std::string format : {"q2_K", "q3_K", "q4_K", "q5_K", "q6_K", "iq4_xs"})
    expectRows(format, 768, "sm_80");
  expectRows("q5_1", 224, "sm_75");
  expectRows("q8_0", 896, "sm_90");
}

TEST_F(OpenCl, EmbeddingDecodesBlockFormats) {
  for (std::string format : {"q8_0", "q4_0", "q4_1", "q5_0", "q5_1", "iq4_nl", "mxfp4"})
    expectRows(format, 96, "spirv");
  for (std::string format : {"q2_K", "q3_K", "q4_K", "q5_K", "q6_K", "iq4_xs"})
    expectRows(format, 768, "spirv");
}

void expectWidened(const std::string &chip) {
  int64_t width = 37; // rows are filled up to 16 bytes
  auto numbers = normalFloats(kRows * width, 6);
  for (auto [format, bytes, bfloat] : {std::tuple{"f32", 4u, false}, {"f16", 2u, false}, {"bf16", 2u, true}}) {
    GpuLayout layout = GpuLayout::getFloat(bytes, bfloat);
    std::vector<uint8_t> stored(kRows * width * bytes), packed(layout.bytes(kRows, width));
    std::vector<float> rounded(numbers);
    for (size_t i = 0; i < numbers.size(); ++i) {
      uint32_t bits = std::bit_cast<uint32_t>(numbers[i]);
      if (bytes == 2) {
        bits = bfloat ? bits >> 16 : floatToHalf(numbers[i]);
        rounded[i] = bfloat ? bfloatToFloat(uint16_t(bits)) : halfToFloat(uint16_t(bits));
      }
      std::memcpy(&stored[i * bytes], &bits, bytes);
    }
    packGpuWeight(layout, nullptr, kRows, width, stored, packed);
    auto got = run({{layout, format, kRows}, width}, packed, chip);
    for (size_t t = 0; t < kIds.size(); ++t)
      for (int64_t k = 0; k < width; ++k)
        EXPECT_EQ(got[t * width + k], rounded[kIds[t] * width + k]) << format << " " << t << " " << k;
  }
}

TEST(GpuEmbedding, WidensFloats) { expectWidened("sm_75"); }
TEST_F(OpenCl, EmbeddingWidensFloats) { expectWidened("spirv"); }

TEST(GpuEmbedding, AnIdBeyondTheTableIsFound) {
  GpuLayout layout = GpuLayout::getFloat(4, false);
  Embedding embedding{{layout, "f32", kRows}, 64};
  GpuProgram program(emitCode("sm_80", [&](auto module, auto &target) { emitEmbedding(module, embedding, target); }));
  uint64_t table = program.upload(std::vector<float>(kRows * 64)), out = program.upload(std::vector<float>(64));
  auto status = program.launch(embedding.name(), {uint32_t(embedding.blocks()), 1, 1}, 128,
                               {program.upload(std::vector<int32_t>{kRows}), table, out}, 1);
  ASSERT_FALSE(status);
  EXPECT_THAT(status.error().message, testing::HasSubstr("out of bounds of global memory"));
}

} // namespace
} // namespace quern
