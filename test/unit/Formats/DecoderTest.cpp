// Decoding against ggml's own blocks, bit for bit, and against the formula worked by hand.
#include "AllFormats.h"
#include "GoldenVectors.h"
#include "quern/Formats/Decoder.h"

#include <cmath>
#include <cstring>
#include <gtest/gtest.h>

using namespace quern::formats;

static std::vector<uint8_t> fromHex(llvm::StringRef hex) {
  std::vector<uint8_t> bytes;
  for (size_t i = 0; i < hex.size(); i += 2)
    bytes.push_back(uint8_t(std::stoi(hex.substr(i, 2).str(), nullptr, 16)));
  return bytes;
}

static uint64_t hash(const void *data, size_t size) {
  uint64_t h = 1469598103934665603u;
  for (size_t i = 0; i < size; ++i)
    h = (h ^ static_cast<const uint8_t *>(data)[i]) * 1099511628211u;
  return h;
}

TEST(Decoder, WholeBlocksAgreeBitForBit) {
  AllFormats formats;
  for (const GoldenBlock &golden : goldenBlocks) {
    SCOPED_TRACE(golden.format);
    const FormatSpec &spec = formats.get(golden.format);
    std::vector<uint8_t> block = fromHex(golden.hex);
    ASSERT_EQ(block.size(), spec.bytes);
    ASSERT_EQ(hash(block.data(), block.size()), golden.encodedHash);
    float row[256];
    Decoder(spec).decodeRow(block.data(), 256, row);
    EXPECT_EQ(hash(row, sizeof row), golden.decodedHash);
  }
}

TEST(Decoder, FirstValuesOfShortBlocksAgree) {
  AllFormats formats;
  for (const GoldenStart &golden : goldenStarts) {
    SCOPED_TRACE(golden.format);
    const FormatSpec &spec = formats.get(golden.format);
    std::vector<uint8_t> block = fromHex(golden.hex);
    ASSERT_EQ(block.size(), spec.bytes);
    float row[32];
    Decoder(spec).decodeRow(block.data(), 32, row);
    for (int i = 0; i < 4; ++i)
      EXPECT_FLOAT_EQ(row[i], golden.values[i]) << "at " << i;
  }
}

TEST(Decoder, GroupPartsAgreeWithTheRow) {
  AllFormats formats;
  for (const GoldenBlock &golden : goldenBlocks) {
    const FormatSpec &spec = formats.get(golden.format);
    std::vector<uint8_t> bytes = fromHex(golden.hex);
    float row[256];
    Decoder decoder(spec);
    decoder.decodeRow(bytes.data(), 256, row);
    DecodedBlock block;
    decoder.decodeBlock(bytes.data(), block);
    for (unsigned k = 0; k < 256; ++k) {
      unsigned g = k / spec.group;
      double exact = double(block.scale[g]) * block.scaleFactor[g] * block.value[k] -
                     double(block.minimum[g]) * block.minimumFactor[g];
      EXPECT_NEAR(row[k], exact, 1e-6) << golden.format << " at " << k; // |w| < 2.2: a few roundings of 2^-24
    }
  }
}

// The nibble and the fifth bit of weight 20 lie in byte 6 + 4 (high) and byte 2 + 2, bit 4.
TEST(Decoder, PlacesOfQ5_0ByHand) {
  AllFormats formats;
  uint8_t block[22] = {0x00, 0x38}; // 0.5
  block[6 + 4] = 0x30;
  block[2 + 2] = 1 << 4;
  float row[32];
  Decoder(formats.get("q5_0")).decodeRow(block, 32, row);
  EXPECT_EQ(row[20], 0.5f * (19 - 16));
  EXPECT_EQ(row[4], 0.5f * -16);
}

TEST(Decoder, BrokenScalesShowInTheResult) {
  AllFormats formats;
  uint8_t block[34] = {0x01, 0x7e, 1};
  float row[32];
  Decoder decoder(formats.get("q8_0"));
  decoder.decodeRow(block, 32, row);
  EXPECT_TRUE(std::isnan(row[0]) && std::isnan(row[1]));
  block[0] = 0x00, block[1] = 0xfc;
  decoder.decodeRow(block, 32, row);
  EXPECT_EQ(row[0], -INFINITY);
  EXPECT_TRUE(std::isnan(row[1])); // infinity times code 0
}

TEST(Decoder, EndsOfTheExponentRangeOfMxfp4) {
  AllFormats formats;
  uint8_t block[17] = {0, 0x77};
  float row[32];
  Decoder decoder(formats.get("mxfp4"));
  decoder.decodeRow(block, 32, row);
  EXPECT_EQ(row[0], 6 * 0x1p-127f);
  block[0] = 254;
  decoder.decodeRow(block, 32, row);
  EXPECT_EQ(row[0], INFINITY); // 6 * 2^127
  block[0] = 255;
  decoder.decodeRow(block, 32, row);
  EXPECT_TRUE(std::isnan(row[0]));
}
