#include "quern/Support/Half.h"

#include <cmath>
#include <gtest/gtest.h>

using namespace quern;

TEST(Half, EveryHalfComesBack) {
  for (unsigned bits = 0; bits < 65536; ++bits) {
    float value = halfToFloat(uint16_t(bits));
    if (std::isnan(value))
      EXPECT_TRUE(std::isnan(halfToFloat(floatToHalf(value)))) << bits;
    else
      EXPECT_EQ(floatToHalf(value), bits);
  }
}

// Between each two neighbours: the middle goes to the even one, anything beside it to the nearer one.
TEST(Half, RoundsToNearestEven) {
  for (unsigned bits = 0; bits < 0x7bff; ++bits) {
    float below = halfToFloat(uint16_t(bits)), above = halfToFloat(uint16_t(bits + 1)), middle = (below + above) / 2;
    EXPECT_EQ(floatToHalf(middle), bits + (bits & 1));
    EXPECT_EQ(floatToHalf(std::nextafter(middle, below)), bits);
    EXPECT_EQ(floatToHalf(-std::nextafter(middle, above)), (bits + 1) | 0x8000);
  }
}

TEST(Half, EndsOfTheRange) {
  EXPECT_EQ(floatToHalf(65519.996f), 0x7bff);
  EXPECT_EQ(floatToHalf(65520.0f), 0x7c00);
  EXPECT_EQ(floatToHalf(-INFINITY), 0xfc00);
  EXPECT_EQ(floatToHalf(0x1p-25f), 0); // the tie between 0 and the least subnormal
  EXPECT_EQ(floatToHalf(-0.0f), 0x8000);
  EXPECT_EQ(halfToFloat(1), 0x1p-24f);
}

TEST(Bfloat, RoundsToNearestEvenAndKeepsNaN) {
  EXPECT_EQ(floatToBfloat(1.0f), 0x3f80);
  EXPECT_EQ(floatToBfloat(std::bit_cast<float>(0x3f808000u)), 0x3f80);
  EXPECT_EQ(floatToBfloat(std::bit_cast<float>(0x3f818000u)), 0x3f82);
  EXPECT_TRUE(std::isnan(bfloatToFloat(floatToBfloat(std::bit_cast<float>(0x7f800001u)))));
}

TEST(E8M0, PowersOfTwo) {
  EXPECT_EQ(e8m0ToFloat(0), 0x1p-127f);
  EXPECT_EQ(e8m0ToFloat(1), 0x1p-126f);
  EXPECT_EQ(e8m0ToFloat(127), 1.0f);
  EXPECT_EQ(e8m0ToFloat(254), 0x1p127f);
  EXPECT_TRUE(std::isnan(e8m0ToFloat(255)));
}
