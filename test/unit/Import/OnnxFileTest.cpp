// What the ONNX reader takes and refuses.
#include "TestOnnx.h"
#include "lib/Import/Onnx/LeanMessage.h"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <unistd.h>

using namespace quern;
using namespace quern::import;
using quern::import::test::OnnxModel;

static OnnxModel addition() {
  OnnxModel model;
  model.input("x", {2, 3}).node("Add", {"x", "w"}, {"y"}).output("y", {2, 3});
  model.initializer("w", {3})->set_raw_data(std::string(12, '\0'));
  return model;
}

/// The message of a model that must be refused.
static std::string refusal(const OnnxModel &model, const std::string &path = "folder/test.onnx") {
  auto file = model.read(path);
  EXPECT_FALSE(file.has_value());
  return file ? "" : file.error().message;
}

TEST(OnnxFile, ReadsAGraph) {
  auto file = addition().read();
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ(file->opset(""), 21);
  EXPECT_EQ(file->opset("ai.onnx"), 21); // the same domain
  EXPECT_EQ(file->opset("com.microsoft"), 0);
  EXPECT_EQ(describeNode(file->graph().node(0)), "'the_Add' (Add)");
  EXPECT_EQ(file->data(file->graph().initializer(0))->size(), 12u);
}

TEST(OnnxFile, NamesInMessagesAreCutAndHoldNoControlCharacters) {
  OnnxModel model = addition();
  onnx::NodeProto *node = model.graph->mutable_node(0);
  node->set_name("a\n\x1b[31m" + std::string(1 << 20, 'x'));
  node->set_op_type("Add\n");
  EXPECT_EQ(describeNode(*node), "'a??[31m" + std::string(73, 'x') + "...' (Add?)");
  node->set_input(0, "b\n" + std::string(1 << 20, 'y'));
  std::string message = refusal(model);
  EXPECT_NE(message.find("uses 'b?" + std::string(78, 'y') + "...', which nothing in the graph makes"),
            std::string::npos);
  EXPECT_LT(message.size(), 400u);
}

TEST(OnnxFile, ReadsTypedFieldsAsRawBytes) {
  OnnxModel model = addition();
  onnx::TensorProto *halves = model.initializer("halves", {2}, onnx::TensorProto::FLOAT16);
  halves->add_int32_data(0x3c00);
  halves->add_int32_data(0xbc00);
  onnx::TensorProto *nibbles = model.initializer("nibbles", {3}, 22); // INT4: two elements a byte, the first one low
  nibbles->add_int32_data(0x21);
  nibbles->add_int32_data(0x03);
  auto file = model.read();
  ASSERT_TRUE(file) << file.error().message;
  const uint8_t wanted[] = {0x00, 0x3c, 0x00, 0xbc};
  auto bytes = *file->data(file->graph().initializer(1));
  ASSERT_EQ(bytes.size(), 4u);
  EXPECT_EQ(std::memcmp(bytes.data(), wanted, 4), 0);
  bytes = *file->data(file->graph().initializer(2));
  ASSERT_EQ(bytes.size(), 2u);
  EXPECT_EQ(uint8_t(bytes[0]), 0x21);
}

/// A model with initializers on both sides of the size from which data stay in the mapped file.
static std::string withLargeData() {
  OnnxModel model = addition();
  model.initializer("large", {2000})->set_raw_data(std::string(7999, 'a') + "b");
  model.initializer("small", {1})->set_raw_data("abcd");
  model.initializer("larger", {5000}, onnx::TensorProto::INT8)->set_raw_data(std::string(4999, 'c') + "d");
  return model.message.SerializeAsString();
}

class OnFile : public ::testing::Test {
protected:
  void TearDown() override { std::filesystem::remove(path); }
  Result<OnnxFile> open(const std::string &bytes) const {
    std::ofstream(path, std::ios::binary) << bytes;
    return OnnxFile::open(path);
  }
  std::string path = ::testing::TempDir() + "quern-onnx-" + std::to_string(getpid()) + ".onnx";
};

TEST_F(OnFile, LargeDataAreNotParsed) {
  auto file = open(withLargeData());
  ASSERT_TRUE(file) << file.error().message;
  const char last[] = {'\0', 'b', 'd', 'd'};
  for (int i = 0; i < 4; ++i) {
    auto bytes = file->data(file->graph().initializer(i));
    ASSERT_TRUE(bytes) << bytes.error().message;
    EXPECT_EQ(char(bytes->back()), last[i]);
    EXPECT_EQ(file->graph().initializer(i).raw_data().empty(), i % 2 == 1);
  }
}

TEST_F(OnFile, IsReadAsTheWholeMessageIs) {
  std::string whole = withLargeData();
  for (size_t length : {size_t(0), size_t(3), whole.size() / 4, whole.size() - 1, whole.size()}) {
    std::string bytes = whole.substr(0, length);
    auto ours = open(bytes), theirs = OnnxFile::fromBytes(std::as_bytes(std::span(bytes)), path);
    ASSERT_EQ(ours.has_value(), theirs.has_value()) << length;
    if (!ours)
      EXPECT_EQ(ours.error().message, theirs.error().message);
  }
  auto twice = open(whole + whole); // two graphs are one, whose names are there twice
  ASSERT_FALSE(twice);
  EXPECT_NE(twice.error().message.find("twice"), std::string::npos) << twice.error().message;
}

/// Tags and lengths have at most 32 bits: one above must not stand for the graph.
TEST_F(OnFile, TagsBeyond32BitsAreRefused) {
  std::string graph = addition().message.graph().SerializeAsString();
  ASSERT_LT(graph.size(), 128u);
  std::string version("\x08\x0a\x42\x02\x10\x15", 6);
  std::string rest = std::string(1, char(graph.size())) + graph;
  EXPECT_TRUE(open(version + "\x3a" + rest));
  for (const char *tag : {"\xba\x80\x80\x80\x10", "\xba\x80\x80\x80\x80\x01", "\xba\x80\x80\x80\x80\x80\x01"}) {
    std::string bytes = version + tag + rest;
    EXPECT_FALSE(leaveOutData(std::as_bytes(std::span(bytes)))) << bytes.size();
    std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
    auto theirs = OnnxFile::fromBytes(std::as_bytes(std::span(bytes)), path);
    EXPECT_EQ(OnnxFile::open(path).has_value(), theirs.has_value());
  }
}

TEST_F(OnFile, DataOfAnotherLengthAreRefused) {
  OnnxModel model = addition();
  model.initializer("large", {2001})->set_raw_data(std::string(8000, 'a'));
  auto file = open(model.message.SerializeAsString());
  ASSERT_FALSE(file);
  EXPECT_NE(file.error().message.find("has 8000 bytes of data"), std::string::npos) << file.error().message;
}

TEST(OnnxFile, RefusesATruncatedMessageAtEveryLength) {
  std::string bytes = addition().message.SerializeAsString();
  size_t whole = 0;
  for (size_t length = 0; length < bytes.size(); ++length)
    whole += OnnxFile::fromBytes(std::as_bytes(std::span(bytes).first(length)), "t.onnx").has_value();
  EXPECT_EQ(whole, 0u); // the operator set, which comes last, is needed too
}

TEST(OnnxFile, RefusesVersionsItDoesNotKnow) {
  OnnxModel model = addition();
  model.message.set_ir_version(99);
  EXPECT_EQ(refusal(model), "'folder/test.onnx': has IR version 99; versions 3 to 14 can be read");
  model = addition();
  model.message.mutable_opset_import(0)->set_version(99);
  EXPECT_EQ(refusal(model),
            "'folder/test.onnx': uses version 99 of the standard operators; versions 1 to 28 are known");
}

TEST(OnnxFile, RefusesDanglingAndCyclicEdges) {
  OnnxModel model = addition();
  model.node("Relu", {"nowhere"}, {"z"});
  EXPECT_EQ(refusal(model),
            "'folder/test.onnx': node 'the_Relu' (Relu): uses 'nowhere', which nothing in the graph makes");
  model = addition();
  model.node("Relu", {"b"}, {"a"}).node("Neg", {"a"}, {"b"});
  EXPECT_EQ(refusal(model),
            "'folder/test.onnx': node 'the_Relu' (Relu): uses 'b', which only node 'the_Neg' (Neg) makes, "
            "at or after it; the graph is cyclic or its nodes are not in the order of computation");
}

TEST(OnnxFile, RefusesNamesThatAreMadeTwiceOrNever) {
  OnnxModel model = addition();
  model.node("Relu", {"x"}, {"y"});
  EXPECT_EQ(refusal(model),
            "'folder/test.onnx': node 'the_Relu' (Relu): 'y' is made twice; every value needs a name of "
            "its own");
  model = addition();
  model.output("z", {1});
  EXPECT_EQ(refusal(model), "'folder/test.onnx': output 'z': nothing in the graph makes it");
}

TEST(OnnxFile, RefusesNodesThatMakeNothing) {
  OnnxModel model = addition();
  model.node("Constant", {}, {});
  EXPECT_EQ(refusal(model),
            "'folder/test.onnx': node 'the_Constant' (Constant): makes nothing; a node has at least one output");
}

TEST(OnnxFile, RefusesWrongDimensions) {
  OnnxModel model = addition();
  model.graph->mutable_initializer(0)->set_dims(0, 4);
  EXPECT_EQ(refusal(model),
            "'folder/test.onnx': tensor 'w': has 12 bytes of data, but its dimensions and type f32 ask for "
            "16");
  model.graph->mutable_initializer(0)->set_dims(0, -4);
  EXPECT_EQ(refusal(model), "'folder/test.onnx': tensor 'w': a dimension is -4");
  model.graph->mutable_initializer(0)->set_dims(0, INT64_MAX);
  model.graph->mutable_initializer(0)->add_dims(2);
  EXPECT_EQ(refusal(model), "'folder/test.onnx': tensor 'w': its dimensions multiply to more elements than any machine "
                            "holds");
  model = addition();
  OnnxModel::describe(model.graph->mutable_input(0), "x", {-7});
  EXPECT_EQ(refusal(model), "'folder/test.onnx': input 'x': has the dimension -7; dimensions are not negative");
  model = addition();
  model.graph->mutable_initializer(0)->set_data_type(77);
  EXPECT_EQ(refusal(model), "'folder/test.onnx': tensor 'w': has the unknown element type 77");
}

namespace {
/// A model in a folder of its own whose weight lies in "w.bin" of 20 bytes.
struct ExternalData : testing::Test {
  std::filesystem::path folder = std::filesystem::path(testing::TempDir()) / "quern_onnx_external";
  OnnxModel model = addition();
  onnx::TensorProto *weight = model.graph->mutable_initializer(0);

  ExternalData() {
    std::filesystem::create_directories(folder / "model");
    std::ofstream(folder / "model" / "w.bin") << "0123456789abcdefghij";
    std::ofstream(folder / "secret.bin") << "0123456789abcdefghij";
    weight->clear_raw_data();
    weight->set_data_location(onnx::TensorProto::EXTERNAL);
  }
  ~ExternalData() override { std::filesystem::remove_all(folder); }
  void entry(const std::string &key, const std::string &value) {
    onnx::StringStringEntryProto *added = weight->add_external_data();
    added->set_key(key);
    added->set_value(value);
  }
  std::string path() const { return (folder / "model" / "m.onnx").string(); }
  std::string refused() const {
    std::string message = refusal(model, path()), prefix = "'" + path() + "': tensor 'w': ";
    return message.starts_with(prefix) ? message.substr(prefix.size()) : message;
  }
};
} // namespace

TEST_F(ExternalData, IsMappedFromTheModelsFolder) {
  entry("location", "w.bin");
  entry("offset", "8");
  auto file = model.read(path());
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ(std::memcmp(file->data(file->graph().initializer(0))->data(), "89abcdefghij", 12), 0);
}

TEST_F(ExternalData, TooShortIsRefused) {
  entry("location", "w.bin");
  entry("offset", "9");
  EXPECT_EQ(refused(), "its external data reaches from byte 9 over 12 bytes, but 'w.bin' has only 20");
}

TEST_F(ExternalData, OfAnotherLengthIsRefused) {
  entry("location", "w.bin");
  entry("length", "11");
  EXPECT_EQ(refused(), "its external data has 11 bytes, but its dimensions and type ask for 12");
}

TEST_F(ExternalData, WithAnOddOffsetIsRefused) {
  entry("location", "w.bin");
  entry("offset", "-8");
  EXPECT_EQ(refused(), "the offset of its external data is '-8', which is no size in bytes");
}

TEST_F(ExternalData, OutsideTheFolderIsRefused) {
  std::filesystem::create_symlink(folder / "secret.bin", folder / "model" / "link.bin");
  for (const std::string &location : {std::string("../secret.bin"), (folder / "secret.bin").string(),
                                      std::string("sub/../../secret.bin"), std::string("link.bin")}) {
    weight->clear_external_data();
    entry("location", location);
    EXPECT_EQ(refused(), "its external data '" + location +
                             "' lies outside the model's folder; only files in that "
                             "folder are read");
  }
}

TEST_F(ExternalData, MissingIsRefused) {
  entry("location", "gone.bin");
  EXPECT_NE(refused().find("its external data cannot be read: "), std::string::npos);
  weight->clear_external_data();
  EXPECT_EQ(refused(), "is stored outside the file, but no location says where");
}
