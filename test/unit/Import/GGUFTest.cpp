#include "TestGGUF.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

using namespace quern;
using namespace quern::gguf;
using quern::gguf::test::Builder;

namespace {

TypeTable testTypes() {
  TypeTable types;
  types.add(8, {"q8_0", 32, 34});
  return types;
}

/// The message with which the bytes are refused, or "accepted".
std::string refusal(const std::vector<std::byte> &bytes) {
  Result<File> file = File::fromBytes(bytes, "x.gguf", testTypes());
  return file ? "accepted" : file.error().message;
}
std::string refusal(const Builder &builder) { return refusal(builder.build()); }

void expectRefusal(const Builder &builder, const std::string &part) {
  std::string message = refusal(builder);
  EXPECT_NE(message.find(part), std::string::npos) << message;
  EXPECT_TRUE(message.starts_with("x.gguf: ")) << message;
}

Builder small() {
  Builder builder;
  builder.string("general.architecture", "qwen2").u32("qwen2.block_count", 2);
  builder.tensor("a.weight", 8, {64, 3}, 2 * 3 * 34).tensor("b.bias", 0, {5}, 20);
  return builder;
}

TEST(GGUF, ReadsMetadataAndTensors) {
  std::vector<std::byte> bytes = small().build();
  Result<File> opened = File::fromBytes(bytes, "x.gguf", testTypes());
  ASSERT_TRUE(opened) << opened.error().message;
  File file = *std::move(opened);
  EXPECT_EQ(file.version(), 3u);
  EXPECT_EQ(*file.get<std::string_view>("general.architecture"), "qwen2");
  EXPECT_EQ(*file.get<int64_t>("qwen2.block_count"), 2);
  ASSERT_EQ(file.tensors().size(), 2u);
  const Tensor *a = file.tensor("a.weight");
  ASSERT_NE(a, nullptr);
  EXPECT_EQ(a->type->name, "q8_0");
  EXPECT_EQ(a->dims, (std::vector<uint64_t>{64, 3}));
  EXPECT_EQ(a->elements, 192u);
  EXPECT_EQ(a->data.size(), 204u);
  EXPECT_EQ(a->data.data(), bytes.data() + a->offset);
  EXPECT_EQ(file.tensor("b.bias")->data[7], std::byte{7});
  EXPECT_EQ(file.tensor("c"), nullptr);
}

TEST(GGUF, ReadsVersion2AndNoTensors) {
  Builder builder;
  builder.version = 2;
  builder.string("general.type", "vocab");
  EXPECT_EQ(refusal(builder), "accepted");
}

TEST(GGUF, ConvertsIntegersAndArrays) {
  Builder builder;
  builder.key("u8", ValueType::U8).put<uint8_t>(200);
  builder.key("i16", ValueType::I16).put<int16_t>(-3);
  builder.key("u64", ValueType::U64).put<uint64_t>(~uint64_t(0));
  builder.key("f32", ValueType::F32).put(1.5f);
  builder.key("yes", ValueType::Bool).put<uint8_t>(1);
  builder.array("strings", ValueType::String, 2).text("one").text("two");
  builder.array("ints", ValueType::I32, 3).put(1).put(-2).put(3);
  std::vector<std::byte> bytes = builder.build();
  Result<File> file = File::fromBytes(bytes, "x.gguf", testTypes());
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ(*file->get<int32_t>("u8"), 200);
  EXPECT_FALSE(file->get<int8_t>("u8"));
  EXPECT_EQ(*file->get<int64_t>("i16"), -3);
  EXPECT_FALSE(file->get<uint32_t>("i16"));
  EXPECT_EQ(*file->get<uint64_t>("u64"), ~uint64_t(0));
  EXPECT_FALSE(file->get<int64_t>("u64"));
  EXPECT_EQ(*file->get<double>("f32"), 1.5);
  EXPECT_EQ(*file->get<float>("u8"), 200.0f);
  EXPECT_EQ(*file->get<bool>("yes"), true);
  EXPECT_FALSE(file->get<int32_t>("yes"));
  EXPECT_EQ(*file->get<std::vector<std::string_view>>("strings"), (std::vector<std::string_view>{"one", "two"}));
  EXPECT_EQ(*file->get<std::vector<int64_t>>("ints"), (std::vector<int64_t>{1, -2, 3}));
  EXPECT_FALSE(file->get<std::vector<uint32_t>>("ints"));
  EXPECT_EQ(file->get<int>("none").error().message, "x.gguf: metadata key 'none' is missing");
  EXPECT_EQ(file->find<int>("none")->has_value(), false);
  EXPECT_EQ(file->find<int>("strings").error().message,
            "x.gguf: metadata key 'strings' must be a signed integer of at most 32 bits, but is an array of string");
}

// Every proper prefix must be refused: what is cut off is always needed.
TEST(GGUF, RefusesEveryTruncation) {
  std::vector<std::byte> bytes = small().build();
  for (size_t size = 0; size < bytes.size(); ++size)
    EXPECT_NE(refusal({bytes.begin(), bytes.begin() + size}), "accepted") << size;
}

TEST(GGUF, RefusesOtherFilesAndVersions) {
  Builder builder;
  for (uint32_t version : {0u, 1u, 4u}) {
    builder.version = version;
    expectRefusal(builder, "GGUF version " + std::to_string(version) + " is not supported");
  }
  builder.version = 0x03000000;
  expectRefusal(builder, "big-endian");
  std::vector<std::byte> bytes = small().build();
  bytes[0] = std::byte{'g'};
  EXPECT_NE(refusal(bytes).find("not a GGUF file"), std::string::npos);
}

TEST(GGUF, RefusesCountsBeyondTheEnd) {
  Builder builder = small();
  builder.tensorCount = uint64_t(1) << 60;
  expectRefusal(builder, "tensors, more than the file can hold");
  builder = small();
  builder.keyCount = ~uint64_t(0);
  expectRefusal(builder, "metadata keys, more than the file can hold");
  builder = Builder();
  builder.array("list", ValueType::U64, uint64_t(1) << 61).put(1);
  expectRefusal(builder, "ends inside the value of 'list'");
  builder = Builder();
  builder.array("list", ValueType::String, uint64_t(1) << 61).put(1);
  expectRefusal(builder, "ends inside the value of 'list'");
}

TEST(GGUF, RefusesBadStrings) {
  Builder builder;
  builder.key("text", ValueType::String).put<uint64_t>(1000).raw("short");
  expectRefusal(builder, "ends inside the value of 'text'");
  builder = Builder();
  builder.key("text", ValueType::String).put<uint64_t>(uint64_t(1) << 40);
  expectRefusal(builder, "a string of 1099511627776 bytes");
  expectRefusal(Builder().u32(std::string(70000, 'k'), 1), "a string of 70000 bytes");
  expectRefusal(Builder().u32("", 1), "a metadata key is empty");
  expectRefusal(Builder().u32("bad\xff", 1), "a metadata key is not valid UTF-8");
  expectRefusal(Builder().tensor("bad\xc3", 0, {4}, 16), "a tensor's name is not valid UTF-8");
  expectRefusal(Builder().tensor("", 0, {4}, 16), "a tensor has an empty name");
  expectRefusal(Builder().tensor(std::string(65, 't'), 0, {4}, 16), "a string of 65 bytes where 64 are allowed");
}

TEST(GGUF, RefusesBadValues) {
  Builder builder;
  builder.key("flag", ValueType::Bool).put<uint8_t>(2);
  expectRefusal(builder, "the bool of key 'flag' is neither 0 nor 1");
  builder = Builder();
  builder.array("list", ValueType::Array, 0);
  expectRefusal(builder, "key 'list' is an array of arrays");
  builder = Builder();
  builder.key("odd", static_cast<ValueType>(13)).put<uint64_t>(0);
  expectRefusal(builder, "key 'odd' has the unknown value type 13");
  expectRefusal(Builder().u32("k", 1).u32("k", 2), "metadata key 'k' appears twice");
}

TEST(GGUF, RefusesBadAlignment) {
  for (uint32_t alignment : {0u, 4u, 24u, 1u << 31})
    expectRefusal(Builder().u32("general.alignment", alignment), "'general.alignment' must be a power of two");
  expectRefusal(Builder().string("general.alignment", "32"), "'general.alignment' must be a power of two");
  expectRefusal(Builder().info("t", 0, {4}, 4), "tensor 't': its offset 4 is not a multiple of the alignment 32");
}

TEST(GGUF, HonoursAlignment) {
  Builder builder;
  builder.alignment = 256;
  builder.u32("general.alignment", 256).tensor("a", 0, {1}, 4).tensor("b", 0, {2}, 8);
  std::vector<std::byte> bytes = builder.build();
  Result<File> file = File::fromBytes(bytes, "x.gguf", testTypes());
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ(file->tensor("b")->offset % 256, 0u);
  EXPECT_EQ(file->tensor("b")->data[1], std::byte{1});
}

TEST(GGUF, RefusesBadTensors) {
  expectRefusal(Builder().tensor("t", 16, {256}, 66), "tensor 't' has the unsupported type 16; supported are F32 (0)");
  expectRefusal(Builder().tensor("t", 8, {40}, 34), "first dimension 40 is not a multiple of the block of 32");
  expectRefusal(Builder().tensor("t", 0, {}, 4), "tensor 't' has 0 dimensions");
  expectRefusal(Builder().tensor("t", 0, {1, 1, 1, 1, 1}, 4), "tensor 't' has 5 dimensions");
  expectRefusal(Builder().tensor("t", 0, {4, 0}, 16), "tensor 't' has a dimension of size 0");
  expectRefusal(Builder().tensor("t", 0, {uint64_t(1) << 40, uint64_t(1) << 40}, 16),
                "tensor 't' has too many elements");
  expectRefusal(Builder().tensor("t", 0, {uint64_t(1) << 62}, 16), "tensor 't' reaches beyond the end");
  expectRefusal(Builder().tensor("t", 0, {4}, 12), "tensor 't' reaches beyond the end");
  expectRefusal(Builder().info("t", 0, {4}, ~uint64_t(31)), "tensor 't' reaches beyond the end");
  expectRefusal(Builder().tensor("t", 0, {4}, 16).tensor("t", 0, {4}, 16), "tensor 't' appears twice");
  expectRefusal(Builder().tensor("a", 0, {9}, 36).tensor("b", 0, {4}, 16).info("c", 0, {4}, 32),
                "tensors 'a' and 'c' overlap");
}

/// Files of a test in a folder of its own, removed afterwards.
class GGUFFiles : public ::testing::Test {
protected:
  void SetUp() override {
    folder = std::filesystem::temp_directory_path() / ("quern-gguf-" + std::to_string(::getpid()) + "-" +
                                                       ::testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::create_directory(folder);
  }
  void TearDown() override { std::filesystem::remove_all(folder); }

  std::string write(const std::string &name, const Builder &builder) {
    std::vector<std::byte> bytes = builder.build();
    std::ofstream(folder / name, std::ios::binary)
        .write(reinterpret_cast<const char *>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    return folder / name;
  }
  static Builder part(uint16_t number, uint16_t count, int32_t total) {
    Builder builder;
    builder.key("split.no", ValueType::U16).put(number);
    builder.key("split.count", ValueType::U16).put(count);
    builder.key("split.tensors.count", ValueType::I32).put(total);
    return builder;
  }
  std::string open(const std::string &path) {
    Result<File> file = File::open(path, testTypes());
    return file ? "accepted" : file.error().message;
  }
  std::filesystem::path folder;
};

TEST_F(GGUFFiles, StaysMappedAfterMove) {
  Result<File> opened = File::open(write("a.gguf", small()), testTypes());
  ASSERT_TRUE(opened) << opened.error().message;
  File first = *std::move(opened);
  File second = std::move(first);
  EXPECT_EQ(second.tensor("b.bias")->data[19], std::byte{19});
  EXPECT_EQ(second.tensor("a.weight")->type->block, 32u);
}

TEST_F(GGUFFiles, RefusesWhatIsNoFile) {
  EXPECT_NE(open(folder / "none.gguf").find("No such file"), std::string::npos);
  EXPECT_NE(open(folder).find("expected a regular file"), std::string::npos);
  std::ofstream(folder / "empty.gguf");
  EXPECT_NE(open(folder / "empty.gguf").find("not a GGUF file"), std::string::npos);
}

TEST_F(GGUFFiles, JoinsSplitParts) {
  std::string first = write("m-00001-of-00002.gguf", part(0, 2, 2).u32("n", 7).tensor("a", 0, {4}, 16));
  std::string second = write("m-00002-of-00002.gguf", part(1, 2, 2).tensor("b", 0, {2}, 8));
  Result<File> file = File::open(first, testTypes());
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ(file->parts().size(), 2u);
  EXPECT_EQ(file->tensors().size(), 2u);
  EXPECT_EQ(file->tensor("b")->part, 1u);
  EXPECT_EQ(*file->get<int>("n"), 7);
  EXPECT_NE(open(second).find("is part 2 of a split file; give the first part"), std::string::npos);
}

TEST_F(GGUFFiles, RefusesBadSplits) {
  std::string first = write("m-00001-of-00002.gguf", part(0, 2, 2).tensor("a", 0, {4}, 16));
  EXPECT_NE(open(first).find("m-00002-of-00002.gguf: cannot open"), std::string::npos);
  write("m-00002-of-00002.gguf", part(0, 2, 2).tensor("b", 0, {2}, 8));
  EXPECT_NE(open(first).find("that it is part 2 of 2"), std::string::npos);
  write("m-00002-of-00002.gguf", part(1, 2, 2).tensor("a", 0, {2}, 8));
  EXPECT_NE(open(first).find("tensor 'a' appears twice"), std::string::npos);
  write("m-00002-of-00002.gguf", part(1, 2, 2));
  EXPECT_NE(open(first).find("'split.tensors.count' is 2, but the parts hold 1"), std::string::npos);
  std::string renamed = write("other.gguf", part(0, 2, 2).tensor("a", 0, {4}, 16));
  EXPECT_NE(open(renamed).find("its name must end in -00001-of-00002.gguf"), std::string::npos);
}

} // namespace
