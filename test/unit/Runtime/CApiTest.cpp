// The C API and its C++ face over a real package file, whose code is a few instructions put together by hand.
#include "FakeModel.h"
#include "quern/Package/PackageFormat.h"
#include "quern/Package/PackageWriter.h"
#include "quern/quern.hpp"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <gtest/gtest.h>

using namespace quern;
using namespace quern::test;
namespace fs = std::filesystem;

namespace {

// mov rax, [rdi + 40]; mov rax, [rax + 40]; mov dword [rax + 4 * 97], 1.0f; ret: every token is followed by 'a'.
constexpr uint8_t kCode[] = {0x48, 0x8B, 0x47, 0x28, 0x48, 0x8B, 0x40, 0x28, 0xC7, 0x80, 0x84, 0x01,
                             0x00, 0x00, 0x00, 0x00, 0x80, 0x3F, 0xC3};

class CApiTest : public ::testing::Test {
protected:
  void SetUp() override {
#if !defined(__x86_64__)
    GTEST_SKIP() << "the code of the test's package is for x86-64";
#endif
    folder = fs::temp_directory_path() / ("quern-capi-" + std::to_string(::getpid()));
    fs::create_directories(folder);
    path = (folder / "model.quern").string();
    source = toySource();
    manifest = fakeManifest(int64_t(source.tokens.size()));
    manifest.code = {{"future", "code.future", {"teleport"}, {{"step", 0}}},
                     {"x86-64", "code.x86-64", {"sse2"}, {{"step", 0}}}};
    write();
  }
  void TearDown() override { fs::remove_all(folder); }

  void write() {
    auto writer = package::PackageWriter::create(path);
    ASSERT_TRUE(writer);
    ASSERT_TRUE(writer->addSection(package::kManifest, printManifest(manifest)));
    ASSERT_TRUE(writer->addSection(package::kTokenizer, buildTokenizer(source)->bytes));
    ASSERT_TRUE(writer->addSection(package::kTemplate, chatTemplate));
    ASSERT_TRUE(writer->addSection("code.future", std::span(kCode)));
    ASSERT_TRUE(writer->addSection("code.x86-64", std::span(kCode)));
    ASSERT_TRUE(writer->addSection(package::kWeights, std::vector<uint8_t>(100000, 1)));
    ASSERT_TRUE(writer->finish());
  }
  api::Expected<api::Model> open(const std::function<void(api::ModelOptions &)> &change = {}) {
    api::ModelOptions options = api::modelOptions();
    options.threads = 2;
    if (change)
      change(options);
    return api::Model::open(path, options);
  }

  fs::path folder;
  std::string path, chatTemplate = "<|im_start|><|im_end|>";
  TokenizerSource source;
  Manifest manifest;
};

TEST_F(CApiTest, OpensRunsAndAnswers) {
  auto model = open();
  ASSERT_TRUE(model) << model.error().message;
  auto info = model->info();
  EXPECT_STREQ(info.target, "x86-64");
  EXPECT_STREQ(info.architecture, "qwen2");
  EXPECT_STREQ(info.chat_template, "chatml");
  EXPECT_EQ(info.threads, 2);
  EXPECT_EQ(info.tokens, info.vocabulary - 1);
  EXPECT_EQ(model->manifest(), printManifest(manifest));

  auto session = model->session(100);
  ASSERT_TRUE(session) << session.error().message;
  ASSERT_TRUE(session->prefill(*model->tokenize("hello")));
  auto options = api::samplerOptions();
  options.temperature = 0;
  auto sampler = model->sampler(options);
  auto decoder = model->decoder();
  std::string text;
  for (int i = 0; i < 3; ++i) {
    int32_t token = *sampler->sample(*session);
    text += *decoder->push(token);
    ASSERT_TRUE(session->decode(token));
  }
  EXPECT_EQ(text, "aaa");
  EXPECT_EQ(session->position(), 4);
  EXPECT_EQ(session->logits()->size(), size_t(info.vocabulary));
}

TEST_F(CApiTest, SeveralSessionsInOneBatch) {
  auto model = open();
  auto a = model->session(64), b = model->session(128);
  quern_session *sessions[] = {a->get(), b->get()};
  int32_t tokens[] = {1, 2};
  ASSERT_TRUE(api::decodeBatch(sessions, tokens));
  EXPECT_EQ(a->tokens()[0], 1);
  EXPECT_EQ(b->tokens()[0], 2);
  EXPECT_FALSE(api::decodeBatch(sessions, std::span(tokens).first(1)));
}

TEST_F(CApiTest, ChoosesCode) {
  auto forced = open([](auto &options) { options.target = "future"; });
  ASSERT_FALSE(forced);
  EXPECT_EQ(forced.error().status, QUERN_UNSUPPORTED);
  EXPECT_NE(forced.error().message.find("future lacks teleport"), std::string::npos);
  auto masked = open([](auto &options) { options.masked_features = "sse2"; });
  ASSERT_FALSE(masked);
  EXPECT_NE(masked.error().message.find("x86-64 lacks sse2"), std::string::npos);
}

TEST_F(CApiTest, ChoosesTheCacheType) {
  EXPECT_TRUE(open([](auto &options) { options.cache_type = "f16"; }));
  auto missing = open([](auto &options) { options.cache_type = "q8_0"; });
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().status, QUERN_UNSUPPORTED);
  EXPECT_NE(missing.error().message.find("no code for a key-value cache of type 'q8_0' (--cache-type); "
                                         "the types are f16; compile the model again"),
            std::string::npos);
  // Options of before this field; what lies behind them is not read.
  EXPECT_TRUE(open([](auto &options) {
    options.struct_size = offsetof(quern_model_options, cache_type);
    options.cache_type = "q8_0";
  }));
}

TEST_F(CApiTest, ConvertsText) {
  auto model = open();
  std::string text = "hello <think>\xF0\x9F\xA6\x99";
  auto ids = model->tokenize(text, QUERN_PARSE_SPECIAL);
  ASSERT_TRUE(ids);
  EXPECT_EQ(*model->detokenize(*ids), text);
  ids->push_back(model->findToken("<|im_end|>"));
  EXPECT_TRUE(model->endsGeneration(ids->back()));
  EXPECT_EQ(*model->detokenize(*ids), text);
  EXPECT_EQ(*model->detokenize(*ids, 0), text + "<|im_end|>");
  EXPECT_EQ(*model->tokenBytes('a'), "a");
  EXPECT_FALSE(model->tokenBytes(-1));
  auto bad = model->tokenize("\xFF");
  ASSERT_FALSE(bad);
  EXPECT_EQ(bad.error().status, QUERN_INVALID_ARGUMENT);
}

TEST_F(CApiTest, SaysHowMuchRoomItNeeds) {
  auto model = open();
  size_t count = 0;
  int32_t tokens[2];
  EXPECT_EQ(quern_tokenize(model->get(), "abc", 3, 0, tokens, 2, &count), QUERN_BUFFER_TOO_SMALL);
  EXPECT_EQ(count, 3u);
  EXPECT_EQ(quern_tokenize(model->get(), "abc", 3, 0, nullptr, 0, &count), QUERN_BUFFER_TOO_SMALL);
  EXPECT_EQ(quern_tokenize(nullptr, "abc", 3, 0, tokens, 2, &count), QUERN_INVALID_ARGUMENT);
}

TEST_F(CApiTest, Chats) {
  auto model = open();
  api::Message messages[] = {{"user", "hello"}};
  auto ids = model->chat(messages);
  ASSERT_TRUE(ids) << ids.error().message;
  EXPECT_EQ(*model->detokenize(*ids, 0), "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n");
  auto r1 = model->chat(messages, "deepseek-r1");
  EXPECT_EQ(*model->detokenize(*r1, 0), "<｜begin▁of▁sentence｜><｜User｜>hello<｜Assistant｜><think>\n");
  EXPECT_EQ(model->chat(messages, "vicuna").error().status, QUERN_UNSUPPORTED);
  char text[100];
  size_t size = 0;
  ASSERT_EQ(quern_chat_render(model->get(), "deepseek-r1", messages, 1, 0, text, sizeof text, &size), QUERN_OK);
  EXPECT_EQ(std::string(text, size), "<｜begin▁of▁sentence｜><｜User｜>hello");
}

TEST_F(CApiTest, RefusesAnUnknownTemplate) {
  chatTemplate = "[INST]";
  write();
  auto model = open();
  api::Message messages[] = {{"user", "hello"}};
  auto ids = model->chat(messages);
  ASSERT_FALSE(ids);
  EXPECT_EQ(ids.error().status, QUERN_UNSUPPORTED);
  EXPECT_NE(ids.error().message.find("--raw"), std::string::npos);
  EXPECT_NE(ids.error().message.find("--template"), std::string::npos);
}

TEST_F(CApiTest, DescribesItsTensors) {
  auto model = open();
  EXPECT_EQ(quern_model_input_count(model->get()), 5u);
  quern_tensor_info info;
  ASSERT_EQ(quern_model_output(model->get(), 0, &info), QUERN_OK);
  EXPECT_STREQ(info.name, "logits");
  EXPECT_EQ(info.rank, 2u);
  EXPECT_EQ(info.shape[0], -1);
  EXPECT_STREQ(info.dimension_names[0], "outputs");
  EXPECT_EQ(info.shape[1], manifest.model.vocabulary);
  EXPECT_EQ(quern_model_output(model->get(), 1, &info), QUERN_INVALID_ARGUMENT);
}

TEST_F(CApiTest, VerifiesAndPopulates) {
  uint64_t reported = 0;
  auto model = open([&](auto &options) {
    options.populate = options.verify_weights = 1;
    options.progress_user = &reported;
    options.progress = [](void *user, uint64_t done, uint64_t) {
      *static_cast<uint64_t *>(user) = done;
      return 0;
    };
  });
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_EQ(reported, 100000u);
  EXPECT_TRUE(model->verifyWeights());
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(-1, std::ios::end);
  file.put(0);
  file.close();
  EXPECT_TRUE(open());
  auto damaged = open([](auto &options) { options.verify_weights = 1; });
  ASSERT_FALSE(damaged);
  EXPECT_EQ(damaged.error().status, QUERN_BAD_PACKAGE);
}

TEST_F(CApiTest, RefusesWhatIsNoPackage) {
  auto missing = api::Model::open((folder / "missing").string());
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().status, QUERN_IO_ERROR);
  manifest.code[1].entries["step"] = 4096;
  write();
  EXPECT_NE(open().error().message.find("entry 'step' of target 'x86-64' lies outside"), std::string::npos);
  manifest.code[1].entries.clear();
  write();
  EXPECT_NE(open().error().message.find("has no entry 'step'"), std::string::npos);
  std::ofstream(path) << "{}";
  auto bad = open();
  EXPECT_EQ(bad.error().status, QUERN_BAD_PACKAGE);
  EXPECT_STREQ(quern_status_name(bad.error().status), "bad package");
  quern_model *model = nullptr;
  EXPECT_EQ(quern_model_open(nullptr, nullptr, &model), QUERN_INVALID_ARGUMENT);
}

} // namespace
