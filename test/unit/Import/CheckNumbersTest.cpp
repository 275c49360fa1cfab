#include "quern/Import/CheckNumbers.h"
#include "TestGGUF.h"

#include <gtest/gtest.h>

using namespace quern;
using namespace quern::import;
using quern::gguf::test::Builder;

namespace {

// A block of 4 weights: two bf16 scales from byte 1 on, one for each pair; an e8m0 minimum in byte 0.
const formats::FormatSpec &pairs() {
  static const formats::FormatSpec spec = [] {
    formats::FormatSpec s;
    s.name = "pairs";
    s.ggufType = 77;
    s.block = 4;
    s.bytes = 9;
    s.group = 2;
    s.scale = {formats::ScaleKind::BF16, 1, 2, {}};
    s.minimum = formats::Scale{formats::ScaleKind::E8M0, 0, 0, {}};
    return s;
  }();
  return spec;
}

/// Three rows of two blocks of `pairs`, all bytes zero, and a F16 tensor; `change` damages them.
std::string check(const std::function<void(std::byte *blocks, std::byte *halves)> &change, unsigned threads = 1) {
  Builder builder;
  builder.tensor("blocks", 77, {8, 3}, 54).tensor("halves", 1, {2, 2}, 8).tensor("ids", 24, {4}, 4);
  std::vector<std::byte> bytes = builder.build();
  gguf::TypeTable types(std::span(&pairs(), 1));
  Result<gguf::File> file = gguf::File::fromBytes(bytes, "m.gguf", types);
  if (!file)
    return file.error().message;
  auto *blocks = bytes.data() + file->tensor("blocks")->offset, *halves = bytes.data() + file->tensor("halves")->offset;
  std::fill_n(blocks, 54, std::byte{0});
  std::fill_n(halves, 8, std::byte{0});
  change(blocks, halves);
  Status status = checkNumbers(
      *file, [](uint32_t id) { return id == 77 ? &pairs() : nullptr; }, threads);
  return status ? "good" : status.error().message;
}

void put(std::byte *at, uint16_t value) { std::memcpy(at, &value, 2); }

TEST(CheckNumbers, AcceptsFiniteNumbers) {
  EXPECT_EQ(check([](std::byte *blocks, std::byte *halves) {
              blocks[0] = std::byte{254};
              put(blocks + 1, 0xff7f);
              put(halves, 0xfbff);
              blocks[8] = std::byte{255}; // codes may be anything
            }),
            "good");
}

TEST(CheckNumbers, FindsEachKindOfBadScale) {
  for (unsigned threads : {1u, 3u}) {
    EXPECT_EQ(check([](std::byte *blocks, std::byte *) { put(blocks + 2 * 18 + 9 + 3, 0x7fc0); }, threads),
              "m.gguf: tensor 'blocks': row 2 has a scale that is infinite or no number; the file is damaged");
    EXPECT_EQ(check([](std::byte *blocks, std::byte *) { blocks[18] = std::byte{255}; }, threads),
              "m.gguf: tensor 'blocks': row 1 has a scale that is infinite or no number; the file is damaged");
  }
}

TEST(CheckNumbers, FindsBadElements) {
  EXPECT_EQ(check([](std::byte *, std::byte *halves) { put(halves + 6, 0xfc00); }),
            "m.gguf: tensor 'halves': row 1 has a value that is infinite or no number; the file is damaged");
}

} // namespace
