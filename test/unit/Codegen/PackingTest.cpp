// The packed layout: sizes, and where the codes of a panel lie, worked by hand from the drawing in PanelLayout.h.
#include "dialects/DQ/DQ.h"
#include "quern/Codegen/PanelLayout.h"
#include "quern/Formats/Encoder.h"

#include <gtest/gtest.h>
#include <random>

using namespace quern;
using codegen::PanelLayout;

namespace {
struct PackingTest : testing::Test {
  const formats::FormatSpec &spec(llvm::StringRef name) {
    return context.getOrLoadDialect<dq::DQDialect>()->getFormats().lookup(name).getSpec();
  }
  mlir::MLIRContext context;
};
} // namespace

// Bytes per weight stay those of the format: a panel is no larger than its 16 stored rows, but for padding of a short k
// and the six-bit scales of Q4_K and Q5_K, which take whole bytes.
TEST_F(PackingTest, PanelsAreAboutAsSmallAsTheStoredRows) {
  for (dq::FormatAttr format : context.getOrLoadDialect<dq::DQDialect>()->getFormats().list()) {
    const formats::FormatSpec &spec = format.getSpec();
    auto layout = PanelLayout::get(spec);
    ASSERT_TRUE(layout) << spec.name;
    int64_t k = 4096, stored = k / spec.block * spec.bytes * 16;
    EXPECT_LE(double(layout->bytes(16, k)), 1.13 * double(stored)) << spec.name;
    EXPECT_EQ(layout->panelBytes(k) % 64, 0) << spec.name;
    EXPECT_EQ(layout->bytes(17, k), 2 * layout->panelBytes(k)) << spec.name;
  }
}

// Q8_0: sub-unit of 64 k = one line of 2 x 16 f16 scales, then 16 lines; line j holds k = 4j .. 4j+3 of each row.
TEST_F(PackingTest, BytesOfQ8_0) {
  const formats::FormatSpec &format = spec("q8_0");
  auto layout = PanelLayout::get(format);
  ASSERT_TRUE(layout);
  std::vector<std::vector<uint8_t>> rows(16, std::vector<uint8_t>(68));
  std::mt19937 random(3);
  for (auto &row : rows)
    for (uint8_t &byte : row)
      byte = uint8_t(random());
  std::vector<const uint8_t *> pointers;
  for (auto &row : rows)
    pointers.push_back(row.data());
  std::vector<uint8_t> panel(layout->panelBytes(64));
  codegen::packPanel(*layout, &format, 64, pointers.data(), 16, panel.data());
  const uint8_t *unit = panel.data() + layout->headerBytes(64);
  for (int r = 0; r < 16; ++r)
    for (int k = 0; k < 64; ++k) {
      int block = k / 32;
      EXPECT_EQ(unit[block * 32 + r * 2], rows[r][block * 34]);
      EXPECT_EQ(unit[64 + k / 4 * 64 + r * 4 + k % 4], uint8_t(rows[r][block * 34 + 2 + k % 32] ^ 0x80))
          << "row " << r << ", k " << k; // codes as unsigned bytes: the top bit flipped
    }
}

TEST_F(PackingTest, MissingRowsAreZero) {
  for (dq::FormatAttr attr : context.getOrLoadDialect<dq::DQDialect>()->getFormats().list()) {
    const formats::FormatSpec &format = attr.getSpec();
    auto layout = PanelLayout::get(format);
    std::vector<float> values(256, 0.75f);
    std::vector<uint8_t> row(256 / format.block * format.bytes);
    formats::Encoder(format).encodeRow(values.data(), 256, row.data());
    std::vector<uint8_t> once(layout->panelBytes(256), 0xaa), again(layout->panelBytes(256), 0x55);
    const uint8_t *rows[] = {row.data()};
    codegen::packPanel(*layout, &format, 256, rows, 1, once.data());
    codegen::packPanel(*layout, &format, 256, rows, 1, again.data());
    EXPECT_EQ(once, again) << format.name << ": every byte of a panel is written";
  }
}
