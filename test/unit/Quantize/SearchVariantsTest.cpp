// Every instruction set's searches give the bits of the baseline's.
#include "lib/Quantize/GroupTile.h"

#include <cstring>
#include <functional>
#include <gtest/gtest.h>
#include <random>

using namespace quern::quantize;

static constexpr int16_t kValues[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

static const std::pair<const char *, std::function<void(const Searches &, GroupTile &)>> kSearches[] = {
    {"symmetric", [](const Searches &s, GroupTile &tile) { s.symmetric(tile, 32); }},
    {"descent", [](const Searches &s, GroupTile &tile) { s.symmetricByDescent(tile, 4); }},
    {"minimum", [](const Searches &s, GroupTile &tile) { s.withMinimum(tile, 15, {-0.9f, 0.05f, 36, false}); }},
    {"magnitudes", [](const Searches &s, GroupTile &tile) { s.withMinimum(tile, 3, {-0.5f, 0.1f, 15, true}); }},
    {"table", [](const Searches &s, GroupTile &tile) { s.table(tile, kValues, 7); s.recodeTable(tile, kValues); }},
    {"extreme first", [](const Searches &s, GroupTile &tile) { s.extremeFirst(tile, 8); }},
    {"full range", [](const Searches &s, GroupTile &tile) { s.fullRange(tile, 31); s.recodeWithMinimum(tile, 31); }},
    {"to byte", [](const Searches &s, GroupTile &tile) { s.roundToByte(tile); }},
    {"power of two", [](const Searches &s, GroupTile &tile) { s.powerOfTwo(tile, kValues + 8, 8, 0.5f, 5, false); }},
    {"power of two, ties to even",
     [](const Searches &s, GroupTile &tile) { s.powerOfTwo(tile, kValues + 8, 8, 0.5f, 5, true); }},
    {"symmetric again", [](const Searches &s, GroupTile &tile) { s.symmetric(tile, 4); s.recodeSymmetric(tile, 4); }},
};

TEST(SearchVariants, AllGiveTheSameBits) {
  std::mt19937 generator(3);
  std::normal_distribution<float> normal(0, 1);
  std::vector<float> row(32 * kLanes), importance(row.size());
  for (size_t i = 0; i < row.size(); ++i) {
    row[i] = normal(generator);
    importance[i] = std::fabs(normal(generator));
  }
  int count = 0;
  const Searches *const *variants = allSearches(count);
  for (auto &[name, search] : kSearches)
    for (int lanes : {kLanes, 5})
      for (int variant = 0; variant < count; ++variant) {
        GroupTile tile{}, baseline{};
        for (auto [which, of] : {std::pair(variants[variant], &tile), std::pair(variants[0], &baseline)}) {
          of->group = 32;
          for (float &variance : of->variance)
            variance = 0.5f;
          which->load(*of, row.data(), importance.data(), lanes, Weighting::Scaled);
          search(*which, *of);
        }
        EXPECT_EQ(0, std::memcmp(&tile, &baseline, sizeof tile)) << name << ", variant " << variant;
      }
}
