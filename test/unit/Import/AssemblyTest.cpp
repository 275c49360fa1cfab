// Tensors whose rows are made when they are read: what comes out, and that no reader asks for many at a time.
#include "quern/Import/CheckNumbers.h"
#include "quern/Import/GGUFAssembly.h"
#include "quern/Import/WriteGGUF.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <filesystem>

using namespace quern;
using namespace quern::gguf;

namespace {

constexpr uint64_t kColumns = 1000, kRows = 8192; // 32.8 MB of f32
constexpr uint32_t kF32 = 0;

float valueAt(uint64_t row, uint64_t column) { return float(row) + float(column) / 1024; }

/// One tensor of rows that are made, and the greatest number of them that was asked for at once.
struct Made {
  std::atomic<uint64_t> most = 0;
  Result<File> file = fail("");

  explicit Made(std::string name = "w", bool inHalves = false, float last = valueAt(kRows - 1, kColumns - 1)) {
    Assembly assembly("folder");
    assembly.add("general.architecture", "llama");
    if (inHalves)
      assembly.setHeadsInHalves();
    assembly.addTensor(std::move(name), kF32, {kColumns, kRows}, "folder",
                       [this, last](uint64_t first, uint64_t count, std::byte *out) {
                         most = std::max<uint64_t>(most, count);
                         for (uint64_t row = first; row < first + count; ++row)
                           for (uint64_t column = 0; column < kColumns; ++column, out += sizeof(float)) {
                             bool end = row == kRows - 1 && column == kColumns - 1;
                             float value = end ? last : valueAt(row, column);
                             std::memcpy(out, &value, sizeof value);
                           }
                       });
    file = std::move(assembly).finish(TypeTable());
  }
};

std::string path(const char *name) { return testing::TempDir() + name; }

float at(std::span<const std::byte> bytes, uint64_t index) {
  float value;
  std::memcpy(&value, bytes.data() + index * sizeof(float), sizeof value);
  return value;
}

TEST(Assembly, MakesTheRowsThatAreRead) {
  Made made;
  ASSERT_TRUE(made.file) << made.file.error().message;
  const Tensor &tensor = *made.file->tensor("w");
  EXPECT_EQ(tensor.bytes(), 4 * kColumns * kRows);
  EXPECT_EQ(made.most, 0u) << "nothing is made before it is read";
  std::vector<std::byte> room;
  std::span<const std::byte> two = made.file->rows(tensor, 5, 2, room);
  ASSERT_EQ(two.size(), 2 * tensor.rowBytes());
  EXPECT_EQ(at(two, kColumns + 3), valueAt(6, 3));
  EXPECT_EQ(made.most, 2u);
}

TEST(Assembly, RefusesDataThatDoNotFitTheShape) {
  for (size_t bytes : {size_t(0), size_t(12), size_t(20)}) {
    Assembly assembly("folder");
    uint32_t part = assembly.addPart("folder", std::vector<std::byte>(bytes));
    assembly.addTensor("norm", kF32, {4}, part, assembly.part(part));
    auto file = std::move(assembly).finish(TypeTable());
    ASSERT_FALSE(file);
    EXPECT_EQ(file.error().message, "folder: tensor 'norm' has " + std::to_string(bytes) +
                                        " bytes of data, but its shape and type take 16");
  }
}

TEST(Assembly, NamesTensorsAsTheModelsOwnFileDoes) {
  Assembly assembly("folder");
  assembly.setOrigins("output.weight", {"lm_head.weight", "/lm_head/MatMul"});
  Result<File> file = std::move(assembly).finish(TypeTable());
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ(file->described("output.weight"), "'lm_head.weight' (output.weight)");
  EXPECT_EQ(file->origins("output.weight").size(), 2u);
  EXPECT_EQ(file->described("output_norm.weight"), "'output_norm.weight'");
}

TEST(Assembly, RefusesBytesThatAPartDoesNotHave) {
  Made made;
  ASSERT_TRUE(made.file);
  const Tensor &tensor = *made.file->tensor("w");
  std::vector<std::byte> room;
  uint64_t row = tensor.rowBytes();
  EXPECT_TRUE(made.file->read(tensor.part, row, row, room));
  EXPECT_NE(made.file->read(tensor.part, row, row / 2, room).error().message.find("only whole ones"),
            std::string::npos);
  EXPECT_NE(made.file->read(tensor.part, 4, row, room).error().message.find("only whole ones"), std::string::npos);
  EXPECT_NE(made.file->read(tensor.part, kRows * row, row, room).error().message.find("are asked for"),
            std::string::npos);
  EXPECT_NE(made.file->read(77, 0, 1, room).error().message.find("has no part 77"), std::string::npos);
}

TEST(Assembly, RefusesRowsThatBlocksDoNotDivide) {
  TypeTable types;
  types.add(99, {"B", 32, 18});
  Assembly assembly("folder");
  assembly.addTensor("w", 99, {48, 2}, "folder", [](uint64_t, uint64_t, std::byte *) {});
  Result<File> file = std::move(assembly).finish(types);
  ASSERT_FALSE(file);
  EXPECT_EQ(file.error().message,
            "folder: tensor 'w' has rows of 48 elements, which blocks of B do not divide");
}

TEST(Assembly, IsWrittenAFewRowsAtATime) {
  Made made;
  ASSERT_TRUE(made.file);
  std::string out = path("made.gguf");
  Status status = import::writeGGUF(*made.file, {}, out, {});
  ASSERT_TRUE(status) << status.error().message;
  EXPECT_LE(made.most * 4 * kColumns, uint64_t(1) << 20);
  Result<File> read = File::open(out, TypeTable());
  ASSERT_TRUE(read) << read.error().message;
  std::span<const std::byte> data = read->tensor("w")->data;
  for (uint64_t row : {uint64_t(0), kRows / 2, kRows - 1})
    EXPECT_EQ(at(data, row * kColumns + 7), valueAt(row, 7));
  std::filesystem::remove(out);
}

TEST(Assembly, BringsHeadsIntoPairsAFewRowsAtATime) {
  Made made("blk.0.attn_q.weight", /*inHalves=*/true);
  ASSERT_TRUE(made.file);
  std::string out = path("pairs.gguf");
  import::ModelConfig config;
  config.headDim = 64;
  ASSERT_TRUE(import::writeGGUF(*made.file, config, out, {}));
  EXPECT_LE(made.most, 64u);
  Result<File> read = File::open(out, TypeTable());
  ASSERT_TRUE(read);
  std::span<const std::byte> data = read->tensor("blk.0.attn_q.weight")->data;
  for (uint64_t row : {0, 1, 2, 63, 64, 65}) // even rows from a head's first half, odd ones from its second
    EXPECT_EQ(at(data, row * kColumns), valueAt(row / 64 * 64 + row % 2 * 32 + row % 64 / 2, 0));
  std::filesystem::remove(out);
}

TEST(Assembly, IsCheckedAFewRowsAtATime) {
  Made good, bad("w", false, std::numeric_limits<float>::infinity());
  ASSERT_TRUE(good.file && bad.file);
  auto none = [](uint32_t) -> const formats::FormatSpec * { return nullptr; };
  EXPECT_TRUE(import::checkNumbers(*good.file, none));
  EXPECT_LE(good.most * 4 * kColumns, uint64_t(1) << 20);
  Status status = import::checkNumbers(*bad.file, none);
  ASSERT_FALSE(status);
  EXPECT_NE(status.error().message.find("row 8191 has a value"), std::string::npos) << status.error().message;
}

} // namespace
