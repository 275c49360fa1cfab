// Names from files in messages.
#include "quern/Support/Quoted.h"

#include <gtest/gtest.h>

using namespace quern;

TEST(Quoted, KeepsNamesAsTheyAre) {
  EXPECT_EQ(inQuotes(""), "''");
  EXPECT_EQ(inQuotes("blk.0.attn_q.weight"), "'blk.0.attn_q.weight'");
  EXPECT_EQ(printable("größe"), "größe");
  EXPECT_EQ(printable(std::string(80, 'x')), std::string(80, 'x'));
}

TEST(Quoted, ReplacesControlCharacters) { EXPECT_EQ(inQuotes("a\nb\x1b[31m\x7f"), "'a?b?[31m?'"); }

TEST(Quoted, CutsLongNames) { EXPECT_EQ(inQuotes(std::string(81, 'x')), "'" + std::string(80, 'x') + "...'"); }
