// The quantizers against what ggml's encoders make of the same 256 weights (reference C, no fused multiply-add).
#include "quern/Formats/Decoder.h"
#include "quern/Formats/Encoder.h"
#include "quern/Quantize/Quantizer.h"

#include "test/unit/Formats/AllFormats.h"

#include <cmath>
#include <gtest/gtest.h>
#include <random>

using namespace quern;
using quantize::Quantizer;

namespace {
/// The hash of all bytes of 256 weights: FNV-1a of 64 bits from the start value 1469598103934665603.
struct Golden {
  const char *format;
  bool weighted;
  uint64_t hash;
};
} // namespace

static constexpr Golden kGolden[] = {
    {"q4_0", false, 0xe82a0786118798c2},   {"q4_1", false, 0x70bd2dfd4d86b14b}, {"q5_0", false, 0xb2029359dcb03a81},
    {"q5_1", false, 0x2e7c7691147c269f},   {"q8_0", false, 0xd678e5ccd4bbf198}, {"q2_K", false, 0x6b73207d2865f4cc},
    {"q3_K", false, 0xf24673d4c4064405},   {"q4_K", false, 0xcdf3f59fb1e68c67}, {"q5_K", false, 0x12bdf8febadd2757},
    {"q6_K", false, 0xe2d08ad659fadf0b},   {"iq4_xs", false, 0x97e0ceb2b2bc7192}, {"mxfp4", false, 0x361832e679598e29},
    {"iq4_nl", false, 0xccb8b67f868a55c4}, {"q4_0", true, 0xc10039ec0549960a},  {"q4_K", true, 0x63d555d5c5c3ac35},
    {"q5_K", true, 0x818e8f7927beef90},    {"q6_K", true, 0x1946446ec783085e},  {"q3_K", true, 0xca2e77d64324aeba},
    {"q2_K", true, 0xc890127b2e41d03f},
};

static uint64_t hash(const std::vector<uint8_t> &bytes) {
  uint64_t h = 1469598103934665603u;
  for (uint8_t byte : bytes)
    h = (h ^ byte) * 1099511628211u;
  return h;
}

static std::vector<uint8_t> quantizeRow(const formats::FormatSpec &spec, const std::vector<float> &row,
                                        const float *importance) {
  std::vector<uint8_t> bytes(row.size() / spec.block * spec.bytes);
  Result<Quantizer> quantizer = Quantizer::create(spec);
  EXPECT_TRUE(quantizer) << quantizer.error().message;
  if (quantizer)
    quantizer->quantizeRow(row.data(), int64_t(row.size()), importance, bytes.data());
  return bytes;
}

TEST(Quantizer, BytesAreThoseOfTheReferenceEncoder) {
  AllFormats formats;
  std::vector<float> row, importance;
  for (int i = 0; i < 256; ++i) {
    row.push_back(float((i * 7919 + 13) % 1000 - 500) / 256);
    importance.push_back(float(1 + (37 * i) % 11));
  }
  for (const Golden &golden : kGolden)
    EXPECT_EQ(hash(quantizeRow(formats.get(golden.format), row, golden.weighted ? importance.data() : nullptr)),
              golden.hash)
        << golden.format << (golden.weighted ? " with importance" : "");
}

static std::vector<float> normalRow(size_t count) {
  std::mt19937 generator(11);
  std::normal_distribution<float> normal(0, 0.02f);
  std::vector<float> row(count);
  for (float &x : row)
    x = normal(generator);
  return row;
}

static double squareError(const formats::FormatSpec &spec, const std::vector<float> &row,
                          const std::vector<uint8_t> &bytes) {
  std::vector<float> back(row.size());
  formats::Decoder(spec).decodeRow(bytes.data(), int64_t(row.size()), back.data());
  double sum = 0;
  for (size_t i = 0; i < row.size(); ++i)
    sum += (double(back[i]) - row[i]) * (double(back[i]) - row[i]);
  return sum;
}

namespace {
/// A float of the microscaling formats: bits of the fraction, the greatest exponent and number.
struct Micro {
  const char *format;
  int fractionBits, leastExponent, greatestExponent;
  float greatest;
};
} // namespace

/// To the nearest number of the format, ties to even, saturating: in units of its last place.
static float roundedTo(const Micro &micro, float x) {
  int exponent = x == 0 ? micro.leastExponent : std::max(std::ilogb(x), micro.leastExponent);
  float unit = std::ldexp(1.0f, exponent - micro.fractionBits);
  return std::clamp(std::nearbyint(x / unit) * unit, -micro.greatest, micro.greatest);
}

/// The shared exponent is that of the greatest magnitude less the format's greatest (OCP Microscaling 1.0, 6.3).
TEST(Quantizer, MicroscalingFloatsAreThoseOfTheSpecification) {
  AllFormats formats;
  std::vector<float> row = normalRow(8192);
  for (size_t i = 0; i < 4096; ++i)
    row[i] = std::nearbyint(row[i] * 512) / 1024; // many ties
  for (float &x : std::span(row).subspan(0, 32))
    x *= 0x1p-125f;
  for (float &x : std::span(row).subspan(32, 32))
    x = std::ldexp(x, 130);
  for (Micro micro : {Micro{"mxfp6_e2m3", 3, 0, 2, 7.5f}, Micro{"mxfp6_e3m2", 2, -2, 4, 28.0f}}) {
    const formats::FormatSpec &spec = formats.get(micro.format);
    std::vector<uint8_t> bytes = quantizeRow(spec, row, nullptr);
    std::vector<float> back(row.size());
    formats::Decoder(spec).decodeRow(bytes.data(), int64_t(row.size()), back.data());
    for (size_t i = 0; i < row.size(); ++i) {
      float most = 0;
      for (size_t k = i / 32 * 32; k < i / 32 * 32 + 32; ++k)
        most = std::max(most, std::fabs(row[k]));
      int exponent = std::clamp(std::ilogb(most) - micro.greatestExponent, -127, 127);
      ASSERT_EQ(back[i], std::ldexp(roundedTo(micro, std::ldexp(row[i], -exponent)), exponent))
          << micro.format << " " << i << ": " << row[i];
    }
  }
}

TEST(Quantizer, ErrsLessThanTheNearestValuesOfAPlainScale) {
  AllFormats formats;
  std::vector<float> row = normalRow(8192);
  for (const char *name : {"q2_K", "q3_K", "q4_K", "q5_K", "q6_K", "iq4_nl", "iq4_xs"}) {
    const formats::FormatSpec &spec = formats.get(name);
    std::vector<uint8_t> plain(row.size() / spec.block * spec.bytes);
    formats::Encoder(spec).encodeRow(row.data(), int64_t(row.size()), plain.data());
    EXPECT_LT(squareError(spec, row, quantizeRow(spec, row, nullptr)), squareError(spec, row, plain)) << name;
  }
}

TEST(Quantizer, ImportantColumnsErrLess) {
  AllFormats formats;
  std::vector<float> row = normalRow(8192), importance(row.size());
  for (size_t i = 0; i < row.size(); ++i)
    importance[i] = i % 4 == 0 ? 100.0f : 0.01f;
  for (const char *name :
       {"q4_0", "q4_1", "q5_0", "q5_1", "q2_K", "q3_K", "q4_K", "q5_K", "q6_K", "iq4_nl", "iq4_xs"}) {
    const formats::FormatSpec &spec = formats.get(name);
    auto importantError = [&](const std::vector<uint8_t> &bytes) {
      std::vector<float> back(row.size());
      formats::Decoder(spec).decodeRow(bytes.data(), int64_t(row.size()), back.data());
      double sum = 0;
      for (size_t i = 0; i < row.size(); i += 4)
        sum += (double(back[i]) - row[i]) * (double(back[i]) - row[i]);
      return sum;
    };
    double weighted = importantError(quantizeRow(spec, row, importance.data()));
    EXPECT_LT(weighted, importantError(quantizeRow(spec, row, nullptr))) << name;
  }
}

TEST(Quantizer, ZerosComeBack) {
  AllFormats formats;
  for (const Golden &golden : kGolden) {
    if (golden.weighted)
      continue;
    const formats::FormatSpec &spec = formats.get(golden.format);
    std::vector<float> zeros(512, 0.0f), importance(512, 1.0f), back(512);
    for (const float *weights : {static_cast<const float *>(nullptr), static_cast<const float *>(importance.data())}) {
      std::vector<uint8_t> bytes = quantizeRow(spec, zeros, weights);
      formats::Decoder(spec).decodeRow(bytes.data(), 512, back.data());
      for (float x : back)
        ASSERT_EQ(std::fabs(x), 0.0f) << golden.format;
    }
  }
}

TEST(Quantizer, SubnormalWeightsGiveFiniteOnes) {
  AllFormats formats;
  std::vector<float> row = normalRow(512), importance(512, 1.0f), back(512);
  for (float &x : row)
    x *= 0x1p-140f;
  for (const Golden &golden : kGolden) {
    const formats::FormatSpec &spec = formats.get(golden.format);
    std::vector<uint8_t> bytes = quantizeRow(spec, row, golden.weighted ? importance.data() : nullptr);
    formats::Decoder(spec).decodeRow(bytes.data(), 512, back.data());
    for (float x : back)
      ASSERT_LE(std::fabs(x), 1e-30f) << golden.format;
  }
}

TEST(Quantizer, ARowIsItsBlocks) {
  AllFormats formats;
  std::vector<float> row = normalRow(768); // three super-blocks: a tile and a half of the formats with 8 groups
  for (const Golden &golden : kGolden) {
    if (golden.weighted)
      continue;
    const formats::FormatSpec &spec = formats.get(golden.format);
    std::vector<uint8_t> pieces, whole = quantizeRow(spec, row, nullptr);
    for (size_t i = 0; i < row.size(); i += spec.block) {
      std::vector<uint8_t> one = quantizeRow(spec, {row.begin() + i, row.begin() + i + spec.block}, nullptr);
      pieces.insert(pieces.end(), one.begin(), one.end());
    }
    EXPECT_EQ(whole, pieces) << golden.format;
  }
}

TEST(Quantizer, RefusesFormatsWithoutASearch) {
  formats::FormatSpec spec{};
  spec.name = "mine";
  Result<Quantizer> quantizer = Quantizer::create(spec);
  ASSERT_FALSE(quantizer);
  EXPECT_EQ(quantizer.error().message, "there is no quantizer for the block format 'mine'");
}
