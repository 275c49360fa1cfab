// Text between two control tokens is encoded as one, template and content together, so that the tokens are those of
// the whole rendered conversation; only control tokens that a content spells out stay plain text.
#include "quern/Runtime/Chat.h"

namespace quern {
namespace {

constexpr std::string_view kBegin = "<｜begin▁of▁sentence｜>", kEnd = "<｜end▁of▁sentence｜>";
constexpr std::string_view kUser = "<｜User｜>", kAssistant = "<｜Assistant｜>", kThink = "<think>";
constexpr std::string_view kThinkEnd = "</think>";
constexpr std::string_view kImStart = "<|im_start|>", kImEnd = "<|im_end|>";

constexpr std::string_view kQwenSystem = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.";
/// System messages that Qwen templates put in front of a conversation without one; the first contains the last.
constexpr std::string_view kSystems[] = {
    kQwenSystem, "Please reason step by step, and put your final answer within \\boxed{}.",
    "You are a helpful assistant."};

bool contains(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

class Renderer {
public:
  void control(std::string_view token) { segments.push_back({true, std::string(token), Specials::All}); }
  void text(std::string_view text, Specials specials = Specials::None) {
    if (text.empty())
      return;
    if (segments.empty() || segments.back().control)
      segments.push_back({false, "", Specials::None});
    segments.back().text += text;
    if (specials != Specials::None)
      segments.back().specials = specials;
  }
  std::vector<ChatSegment> segments;
};

/// A reply may name what is text to the model (`<tool_call>`): the model wrote it. Others may name nothing.
Specials specialsOf(const ChatMessage &message) {
  return message.role == "assistant" ? Specials::UserDefined : Specials::None;
}

void renderDeepSeek(Renderer &out, std::span<const ChatMessage> messages, bool generationPrompt) {
  out.control(kBegin);
  std::string_view system;
  for (const ChatMessage &message : messages)
    if (message.role == "system")
      system = message.content;
  out.text(system);
  for (const ChatMessage &message : messages) {
    if (message.role == "user") {
      out.control(kUser);
      out.text(message.content);
    } else if (message.role == "assistant") {
      size_t reasoning = message.content.rfind(kThinkEnd);
      out.control(kAssistant);
      out.text(reasoning == std::string_view::npos ? message.content
                                                   : message.content.substr(reasoning + kThinkEnd.size()),
               specialsOf(message));
      out.control(kEnd);
    }
  }
  if (!generationPrompt)
    return;
  out.control(kAssistant);
  out.control(kThink);
  out.text("\n");
}

void renderChatMl(Renderer &out, const std::string &defaultSystem, std::span<const ChatMessage> messages,
                  bool generationPrompt) {
  auto add = [&](const ChatMessage &message) {
    out.control(kImStart);
    out.text(std::string(message.role) + "\n");
    out.text(message.content, specialsOf(message));
    out.control(kImEnd);
    out.text("\n");
  };
  if (!defaultSystem.empty() && (messages.empty() || messages[0].role != "system"))
    add({"system", defaultSystem});
  for (const ChatMessage &message : messages)
    add(message);
  if (!generationPrompt)
    return;
  out.control(kImStart);
  out.text("assistant\n");
}

} // namespace

const char *chatKindName(ChatKind kind) {
  switch (kind) {
  case ChatKind::DeepSeekR1:
    return "deepseek-r1";
  case ChatKind::ChatMl:
    return "chatml";
  case ChatKind::Custom:
    return "custom";
  case ChatKind::None:
    break;
  }
  return "none";
}

ChatTemplate recogniseChatTemplate(std::string_view text) {
  if (text.empty())
    return {};
  if (contains(text, kUser) && contains(text, kAssistant) && contains(text, "think>"))
    return {ChatKind::DeepSeekR1, ""};
  if (!contains(text, kImStart) || !contains(text, kImEnd))
    return {ChatKind::Custom, ""};
  for (std::string_view system : kSystems)
    if (contains(text, system))
      return {ChatKind::ChatMl, std::string(system)};
  return {ChatKind::ChatMl, ""};
}

Result<ChatTemplate> chatTemplateNamed(std::string_view name) {
  if (name == "deepseek-r1")
    return ChatTemplate{ChatKind::DeepSeekR1, ""};
  if (name == "chatml")
    return ChatTemplate{ChatKind::ChatMl, std::string(kQwenSystem)};
  return fail("chat template '" + std::string(name) + "' is unknown; known are deepseek-r1 and chatml");
}

Result<std::vector<ChatSegment>> renderChat(const ChatTemplate &format, std::span<const ChatMessage> messages,
                                            bool generationPrompt) {
  if (format.kind == ChatKind::None || format.kind == ChatKind::Custom)
    return fail(std::string(format.kind == ChatKind::None ? "the model has no chat template"
                                                          : "the model's chat template is not one of those known") +
                "; give the prompt as it is with --raw, or name a template with --template deepseek-r1 or chatml");
  for (const ChatMessage &message : messages)
    if (message.role != "system" && message.role != "user" && message.role != "assistant")
      return fail("a message's role is '" + std::string(message.role) + "'; it should be system, user or assistant");
  Renderer out;
  if (format.kind == ChatKind::DeepSeekR1)
    renderDeepSeek(out, messages, generationPrompt);
  else
    renderChatMl(out, format.defaultSystem, messages, generationPrompt);
  return std::move(out.segments);
}

Result<std::vector<int32_t>> encodeChat(const Tokenizer &tokenizer, std::span<const ChatSegment> segments) {
  std::vector<int32_t> out;
  for (const ChatSegment &segment : segments) {
    if (!segment.control) {
      QUERN_TRY(tokenizer.append(segment.text, segment.specials, out));
      continue;
    }
    int32_t token = tokenizer.find(segment.text);
    if (token < 0)
      return fail("the model's vocabulary has no token '" + segment.text +
                  "', which the chat template needs; give the prompt as it is with --raw, or name another with "
                  "--template");
    out.push_back(token);
  }
  return out;
}

} // namespace quern
