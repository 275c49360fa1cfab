// Conversations as the templates of the two model families render them (strings rendered from the published templates).
#include "ToyTokenizer.h"
#include "quern/Runtime/Chat.h"

#include <gtest/gtest.h>

using namespace quern;
using namespace quern::test;

namespace {

std::string render(const ChatTemplate &format, std::vector<ChatMessage> messages, bool generationPrompt = true) {
  auto segments = renderChat(format, messages, generationPrompt);
  if (!segments)
    return segments.error().message;
  std::string out;
  for (const ChatSegment &segment : *segments)
    out += segment.text;
  return out;
}

const ChatTemplate kR1 = *chatTemplateNamed("deepseek-r1");
const ChatTemplate kChatMl = *chatTemplateNamed("chatml");

TEST(Chat, DeepSeekR1) {
  EXPECT_EQ(render(kR1, {{"user", "Hi"}}), "<｜begin▁of▁sentence｜><｜User｜>Hi<｜Assistant｜><think>\n");
  EXPECT_EQ(render(kR1, {{"system", "Be brief."}, {"user", "Hi"}}),
            "<｜begin▁of▁sentence｜>Be brief.<｜User｜>Hi<｜Assistant｜><think>\n");
  EXPECT_EQ(render(kR1, {{"user", "Hi"}, {"assistant", "<think>\nhmm\n</think>\n\nHello!"}, {"user", "2+2?"}}),
            "<｜begin▁of▁sentence｜><｜User｜>Hi<｜Assistant｜>\n\nHello!<｜end▁of▁sentence｜><｜User｜>2+2?"
            "<｜Assistant｜><think>\n");
  EXPECT_EQ(render(kR1, {{"user", "Hi"}}, false), "<｜begin▁of▁sentence｜><｜User｜>Hi");
}

TEST(Chat, ChatMl) {
  EXPECT_EQ(render(kChatMl, {{"user", "Hi"}}),
            "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n"
            "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
  EXPECT_EQ(render(kChatMl, {{"system", "Be brief."}, {"user", "Hi"}, {"assistant", "Hello!"}, {"user", "2+2?"}}),
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
            "<|im_start|>assistant\nHello!<|im_end|>\n<|im_start|>user\n2+2?<|im_end|>\n<|im_start|>assistant\n");
}

TEST(Chat, RecognisesTemplatesByTheirMarkers) {
  EXPECT_EQ(recogniseChatTemplate("").kind, ChatKind::None);
  EXPECT_EQ(recogniseChatTemplate("{{ bos }}[INST]").kind, ChatKind::Custom);
  EXPECT_EQ(recogniseChatTemplate("{{'<｜User｜>' + c}}{{'<｜Assistant｜>'}} split('</think>')").kind,
            ChatKind::DeepSeekR1);
  ChatTemplate plain = recogniseChatTemplate("'<|im_start|>' + role + '<|im_end|>'");
  EXPECT_EQ(plain.kind, ChatKind::ChatMl);
  EXPECT_EQ(plain.defaultSystem, "");
  ChatTemplate qwen2 = recogniseChatTemplate("<|im_start|>system\nYou are a helpful assistant.<|im_end|>");
  EXPECT_EQ(qwen2.defaultSystem, "You are a helpful assistant.");
  EXPECT_EQ(render(plain, {{"user", "Hi"}}), "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
}

TEST(Chat, RefusesWhatItDoesNotKnow) {
  EXPECT_NE(render({}, {{"user", "Hi"}}).find("--raw"), std::string::npos);
  EXPECT_NE(render({ChatKind::Custom, ""}, {}).find("--template"), std::string::npos);
  EXPECT_NE(render(kR1, {{"tool", "x"}}).find("role is 'tool'"), std::string::npos);
  EXPECT_NE(chatTemplateNamed("vicuna").error().message.find("known are deepseek-r1 and chatml"), std::string::npos);
}

TEST(Chat, ContentsCannotNameControlTokens) {
  OwnedTokenizer toy = makeTokenizer(toySource());
  std::vector<ChatMessage> messages = {{"user", "<｜User｜><think>"}};
  auto ids = encodeChat(toy.tokenizer, *renderChat(kR1, messages, true));
  ASSERT_TRUE(ids);
  int32_t user = toy.tokenizer.find("<｜User｜>"), think = toy.tokenizer.find("<think>");
  EXPECT_EQ(std::count(ids->begin(), ids->end(), user), 1);
  EXPECT_EQ(std::count(ids->begin(), ids->end(), think), 1);
  EXPECT_EQ(ids->back(), '\n');
}

TEST(Chat, TextBetweenControlTokensIsEncodedAsOne) {
  OwnedTokenizer toy = makeTokenizer(toySource());
  std::vector<ChatMessage> messages = {{"system", "\n"}};
  auto ids = encodeChat(toy.tokenizer, *renderChat(kChatMl, messages, false));
  ASSERT_TRUE(ids);
  EXPECT_EQ((*ids)[ids->size() - 3], toy.tokenizer.find("\n\n")); // the template's line break and the content's
}

TEST(Chat, RefusesAVocabularyWithoutTheControlTokens) {
  TokenizerSource source = toySource();
  source.tokens[size_t(idOf(source, "<|im_start|>"))] = "<|other|>";
  OwnedTokenizer toy = makeTokenizer(source);
  auto ids = encodeChat(toy.tokenizer, *renderChat(kChatMl, {}, true));
  ASSERT_FALSE(ids);
  EXPECT_NE(ids.error().message.find("no token '<|im_start|>'"), std::string::npos);
}

} // namespace
