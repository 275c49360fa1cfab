// The nearest-value encoder, in every format: encoded and decoded again, each weight is within half a step of its
// group's grid; and the grid is about as fine as the format's bits allow.
#include "AllFormats.h"
#include "quern/Formats/Decoder.h"
#include "quern/Formats/Encoder.h"

#include <algorithm>
#include <cmath>
#include <gtest/gtest.h>
#include <random>

using namespace quern::formats;

static std::vector<float> randomRow(size_t count, float deviation, float mean = 0) {
  std::mt19937 generator(7);
  std::normal_distribution<float> normal(mean, deviation);
  std::vector<float> row(count);
  for (float &x : row)
    x = normal(generator);
  return row;
}

static std::vector<float> throughFormat(const FormatSpec &spec, const std::vector<float> &row,
                                        std::vector<uint8_t> &blocks) {
  blocks.resize(row.size() / spec.block * spec.bytes);
  Encoder(spec).encodeRow(row.data(), int64_t(row.size()), blocks.data());
  std::vector<float> back(row.size());
  Decoder(spec).decodeRow(blocks.data(), int64_t(row.size()), back.data());
  return back;
}

static double rms(const std::vector<float> &row) {
  double sum = 0;
  for (float x : row)
    sum += double(x) * x;
  return std::sqrt(sum / double(row.size()));
}

/// The widest gap between neighbouring values of the format's codes.
static int widestGap(const FormatSpec &spec) {
  if (spec.table.empty())
    return 1;
  std::vector<int> values(spec.table.begin(), spec.table.end());
  std::sort(values.begin(), values.end());
  int widest = 0;
  for (size_t i = 1; i < values.size(); ++i)
    widest = std::max(widest, values[i] - values[i - 1]);
  return widest;
}

static int greatestMagnitude(const FormatSpec &spec) {
  int greatest = (1 << spec.codes.bits()) - 1;
  for (int value : spec.table)
    greatest = std::max(greatest, std::abs(value));
  return greatest;
}

TEST(Encoder, EachWeightIsWithinHalfAStep) {
  AllFormats formats;
  std::vector<float> row = randomRow(4096, 0.02f);
  for (const FormatSpec *spec : formats.list()) {
    SCOPED_TRACE(spec->name);
    std::vector<uint8_t> blocks;
    std::vector<float> back = throughFormat(*spec, row, blocks);
    Decoder decoder(*spec);
    DecodedBlock block;
    for (size_t k = 0; k < row.size(); ++k) {
      size_t g = k % spec->block / spec->group;
      if (k % spec->block == 0)
        decoder.decodeBlock(blocks.data() + k / spec->block * spec->bytes, block);
      float step = std::fabs(block.scale[g] * float(block.scaleFactor[g])) * float(widestGap(*spec));
      // Beyond the half step: a 16-bit number's rounding moves the ends of the grid (|w| < 0.1, 2^-11 of it, and as
      // much for the minimum); a factor may cover less by its slack of 1/128.
      float slack = spec->scale.sub ? std::fabs(block.scale[g]) * float(greatestMagnitude(*spec)) / 128 : 0.0f;
      if (spec->minimum && spec->minimum->sub)
        slack += std::fabs(block.minimum[g]) / 128;
      ASSERT_LE(std::fabs(back[k] - row[k]), 0.5f * step + 0.1f * 0x1p-10f + slack) << "at " << k;
    }
  }
}

TEST(Encoder, TheGridIsFine) {
  AllFormats formats;
  std::vector<float> row = randomRow(16384, 0.02f);
  for (const FormatSpec *spec : formats.list()) {
    std::vector<uint8_t> blocks;
    std::vector<float> error = throughFormat(*spec, row, blocks);
    for (size_t k = 0; k < row.size(); ++k)
      error[k] -= row[k];
    // A range of about 4.4 deviations (the extremes of 32 of them) in 2^bits steps of uniform error 1/sqrt(12) makes
    // 1.3 * 2^-bits; scales of few bits, powers of two and uneven tables cost up to as much again. Floats of few bits
    // have their widest steps where the numbers are: half a step of the upper half of the grid, over sqrt(3).
    double even = 2.6 * std::exp2(-double(spec->codes.bits()));
    double uneven = spec->table.empty() ? 0 : double(widestGap(*spec)) / greatestMagnitude(*spec) / std::sqrt(3.0);
    EXPECT_LT(rms(error) / rms(row), std::max(even, uneven)) << spec->name;
  }
}

TEST(Encoder, ZerosStayZeros) {
  AllFormats formats;
  for (const FormatSpec *spec : formats.list()) {
    std::vector<uint8_t> blocks;
    for (float x : throughFormat(*spec, std::vector<float>(256, 0.0f), blocks))
      ASSERT_LE(std::fabs(x), 0x1p-126f) << spec->name;
  }
}

TEST(Encoder, RowsOfOneSignAndSingleSpikes) {
  AllFormats formats;
  std::vector<float> positive = randomRow(512, 0.01f, 1.0f), spike(512, 0.0f);
  spike[300] = -3.0f;
  for (const FormatSpec *spec : formats.list()) {
    SCOPED_TRACE(spec->name);
    std::vector<uint8_t> blocks;
    std::vector<float> back = throughFormat(*spec, positive, blocks);
    double coarsest = 2.5 / double(1 << spec->codes.bits());
    for (size_t k = 0; k < back.size(); ++k)
      ASSERT_NEAR(back[k], positive[k], coarsest);
    EXPECT_NEAR(throughFormat(*spec, spike, blocks)[300], -3.0f, 3.0 * coarsest);
  }
}

TEST(Encoder, GreatWeightsSaturateTheScale) {
  AllFormats formats;
  for (const FormatSpec *spec : formats.list()) {
    std::vector<uint8_t> blocks;
    for (float x : throughFormat(*spec, randomRow(256, 1e9f), blocks))
      ASSERT_TRUE(std::isfinite(x)) << spec->name;
  }
}
