#include "quern/Import/SafeTensors.h"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>

using namespace quern;
using namespace quern::safetensors;

namespace {

/// A file's bytes from its header's text and a number of data bytes (0, 1, 2, ...).
std::vector<std::byte> file(const std::string &header, size_t data) {
  std::vector<std::byte> bytes(8 + header.size() + data);
  uint64_t length = header.size();
  std::memcpy(bytes.data(), &length, 8);
  std::memcpy(bytes.data() + 8, header.data(), header.size());
  for (size_t i = 0; i < data; ++i)
    bytes[8 + header.size() + i] = std::byte(i);
  return bytes;
}

/// The header filled up with spaces to a multiple of eight, as writers do.
std::string padded(std::string header) { return header + std::string((8 - header.size() % 8) % 8, ' '); }

std::string refusal(const std::vector<std::byte> &bytes) {
  auto tensors = parse(bytes, "x.safetensors");
  return tensors ? "accepted" : tensors.error().message;
}
std::string refusal(const std::string &header, size_t data = 0) { return refusal(file(padded(header), data)); }

void expectRefusal(const std::string &message, const std::string &part) {
  EXPECT_TRUE(message.starts_with("x.safetensors: ")) << message;
  EXPECT_NE(message.find(part), std::string::npos) << message;
}

const std::string kTwo = R"({"__metadata__":{"format":"pt"},"b":{"dtype":"BF16","shape":[2,3],"data_offsets":[4,16]},)"
                         R"("a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}})";

TEST(SafeTensors, ReadsTensorsInTheOrderOfTheData) {
  std::vector<std::byte> bytes = file(padded(kTwo), 16);
  auto tensors = parse(bytes, "x", 3);
  ASSERT_TRUE(tensors) << tensors.error().message;
  ASSERT_EQ(tensors->size(), 2u);
  const Tensor &a = (*tensors)[0], &b = (*tensors)[1];
  EXPECT_EQ(a.name, "a");
  EXPECT_EQ(a.elements, 1u);
  EXPECT_EQ(b.dtype, "BF16");
  EXPECT_EQ(b.bits, 16u);
  EXPECT_EQ(b.shape, (std::vector<uint64_t>{2, 3}));
  EXPECT_EQ(b.part, 3u);
  EXPECT_EQ(b.data.data(), bytes.data() + b.offset);
  EXPECT_EQ(b.data.front(), std::byte(4));
  EXPECT_EQ(b.data.size(), 12u);
}

TEST(SafeTensors, ReadsEmptyTensorsAndHalfBytes) {
  EXPECT_EQ(refusal(R"({"e":{"dtype":"F32","shape":[0,7],"data_offsets":[0,0]},)"
                    R"("f":{"dtype":"F4","shape":[2,3],"data_offsets":[0,3]}})", 3), "accepted");
  EXPECT_EQ(refusal("{}"), "accepted");
}

TEST(SafeTensors, RefusesLengthsThatCannotBe) {
  expectRefusal(refusal(std::vector<std::byte>(7)), "too short");
  std::vector<std::byte> bytes = file("{}", 0);
  bytes[0] = std::byte(3);
  expectRefusal(refusal(bytes), "reaches beyond the end");
  bytes[7] = std::byte(0x10);
  expectRefusal(refusal(bytes), "more than the 100000000 that safetensors allows");
  expectRefusal(refusal(std::string(" {}")), "does not begin with '{'");
}

TEST(SafeTensors, RefusesHeadersOfAnotherForm) {
  for (auto [header, part] : std::initializer_list<std::pair<const char *, const char *>>{
           {"{", "no JSON"},
           {"{} {}", "no JSON"},
           {R"({"a":1})", "holds a number where none belongs"},
           {R"({"a":[]})", "holds an array where none belongs"},
           {R"({"a":{"shape":[[1]]}})", "holds an array where none belongs"},
           {R"({"a":{"shape":[{}]}})", "holds an object where none belongs"},
           {R"({"a":{"shape":[-1]}})", "negative"},
           {R"({"a":{"shape":[1.5]}})", "no integer"},
           {R"({"a":{"shape":[1,1,1,1,1,1,1,1,1]}})", "more than 8 numbers"},
           {R"({"a":{"dtype":null}})", "holds a null"},
           {R"({"a":{"color":"red"}})", "unknown key 'color'"},
           {R"({"a":{"dtype":"F32","dtype":"F32"}})", "the key 'dtype' twice"},
           {R"({"a":{"dtype":"F32","shape":[]}})", "tensor 'a' has no data_offsets"},
           {R"({"a":{"dtype":"F32","shape":[],"data_offsets":[0]}})", "needs two data_offsets"},
           {R"({"__metadata__":{"n":1}})", "holds a number where none belongs"},
           {R"({"a":{"dtype":"Q9","shape":[],"data_offsets":[0,0]}})", "unknown element type 'Q9'"}})
    expectRefusal(refusal(std::string(header)), part);
  std::string twice = R"("a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]})";
  expectRefusal(refusal("{" + twice + "," + twice + "}", 1), "the name 'a' appears twice");
}

TEST(SafeTensors, RefusesDataThatDoNotFit) {
  auto one = [](const std::string &name, const std::string &rest) { return "\"" + name + "\":{" + rest + "}"; };
  std::string a = one("a", R"("dtype":"U8","shape":[4],"data_offsets":[0,4])");
  expectRefusal(refusal("{" + a + "}", 3), "may be truncated");
  expectRefusal(refusal("{" + a + "}", 5), "1 bytes at its end belong to no tensor");
  expectRefusal(refusal("{" + a + "," + one("b", R"("dtype":"U8","shape":[4],"data_offsets":[3,7])") + "}", 7),
                "tensor 'b' overlaps");
  expectRefusal(refusal("{" + a + "," + one("b", R"("dtype":"U8","shape":[2],"data_offsets":[5,7])") + "}", 7),
                "gap of 1 bytes before tensor 'b'");
  expectRefusal(refusal("{" + one("b", R"("dtype":"U8","shape":[2],"data_offsets":[2,0])") + "}", 2), "truncated");
  expectRefusal(refusal("{" + one("b", R"("dtype":"F16","shape":[3],"data_offsets":[0,4])") + "}", 4),
                "takes 4 bytes, but its shape and type say 6");
  expectRefusal(refusal("{" + one("b", R"("dtype":"F4","shape":[3],"data_offsets":[0,2])") + "}", 2), "whole number");
  std::string huge = R"("dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0])";
  expectRefusal(refusal("{" + one("b", huge) + "}"), "more elements than 64 bits");
  std::string word = "{" + one("u", R"("dtype":"U8","shape":[1],"data_offsets":[0,1])") + "," +
                     one("w", R"("dtype":"F32","shape":[1],"data_offsets":[1,5])") + "}";
  expectRefusal(refusal(word, 5), "tensor 'w' is not aligned");
}

/// A folder for one test, with files written into it.
class Folder {
public:
  explicit Folder(const char *name) : path(testing::TempDir() + name) {
    std::filesystem::remove_all(path);
    std::filesystem::create_directories(path);
  }
  ~Folder() { std::filesystem::remove_all(path); }
  void write(const std::string &name, const std::vector<std::byte> &bytes) const {
    std::ofstream(path + "/" + name, std::ios::binary)
        .write(reinterpret_cast<const char *>(bytes.data()), std::streamsize(bytes.size()));
  }
  void writeText(const std::string &name, const std::string &text) const { std::ofstream(path + "/" + name) << text; }
  std::string refusal() const {
    auto opened = Checkpoint::open(path);
    return opened ? "accepted" : opened.error().message;
  }
  const std::string path;
};

std::vector<std::byte> oneByte(const std::string &name) {
  return file(padded("{\"" + name + R"(":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})"), 1);
}

TEST(SafeTensors, OpensShards) {
  Folder folder("quern-shards");
  EXPECT_NE(folder.refusal().find("neither model.safetensors nor"), std::string::npos);
  folder.write("m-1.safetensors", oneByte("a"));
  folder.write("m-2.safetensors", oneByte("b"));
  folder.writeText("model.safetensors.index.json", R"({"weight_map":{"a":"m-1.safetensors","b":"m-2.safetensors"}})");
  auto opened = Checkpoint::open(folder.path);
  ASSERT_TRUE(opened) << opened.error().message;
  EXPECT_EQ(opened->tensors().size(), 2u);
  ASSERT_NE(opened->find("b"), nullptr);
  EXPECT_EQ(opened->parts()[opened->find("b")->part].path, folder.path + "/m-2.safetensors");
  EXPECT_EQ(opened->find("c"), nullptr);
}

TEST(SafeTensors, RefusesBadIndices) {
  Folder folder("quern-bad-index");
  folder.write("m-1.safetensors", oneByte("a"));
  folder.write("m-2.safetensors", oneByte("a"));
  for (auto [index, part] : std::initializer_list<std::pair<const char *, const char *>>{
           {"[]", "no object 'weight_map'"},
           {R"({"weight_map":{}})", "no object 'weight_map'"},
           {R"({"weight_map":{"a":"../m-1.safetensors"}})", "must be the plain name"},
           {R"({"weight_map":{"a":7}})", "must be the plain name"},
           {R"({"weight_map":{"a":"m-3.safetensors"}})", "m-3.safetensors: cannot open"},
           {R"({"weight_map":{"b":"m-1.safetensors"}})", "tensor 'b' is not in 'm-1.safetensors'"},
           {R"({"weight_map":{"a":"m-1.safetensors","b":"m-2.safetensors"}})", "tensor 'a' is also in"}}) {
    folder.writeText("model.safetensors.index.json", index);
    EXPECT_NE(folder.refusal().find(part), std::string::npos) << folder.refusal();
  }
}

} // namespace
