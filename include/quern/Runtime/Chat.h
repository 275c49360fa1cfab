// Chat templates: conversations in the exact form that DeepSeek-R1 distills and Qwen2.5 (ChatML) were trained on.
// A model file's template is a Jinja program; it is recognised by its markers, not run.
#ifndef QUERN_RUNTIME_CHAT_H
#define QUERN_RUNTIME_CHAT_H

#include "quern/Runtime/Tokenizer.h"
#include "quern/Support/Result.h"

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace quern {

enum class ChatKind { None, Custom, DeepSeekR1, ChatMl };

struct ChatTemplate {
  ChatKind kind = ChatKind::None;
  std::string defaultSystem; ///< ChatML: the system message of a conversation that has none; empty: no such message
};

/// "none", "custom", "deepseek-r1", "chatml".
const char *chatKindName(ChatKind kind);

/// What the text of a model file's template is; empty text: None.
ChatTemplate recogniseChatTemplate(std::string_view text);
/// The template that a user named; fails on an unknown name.
Result<ChatTemplate> chatTemplateNamed(std::string_view name);

struct ChatMessage {
  std::string_view role; ///< "system", "user", "assistant"
  std::string_view content;
};

/// A control token of the template by its text, or text between two of them.
struct ChatSegment {
  bool control;
  std::string text;
  Specials specials; ///< which added tokens the text may name
};

/// Fails on an unknown template (None, Custom) or role. `generationPrompt`: end with the opening of a reply.
Result<std::vector<ChatSegment>> renderChat(const ChatTemplate &format, std::span<const ChatMessage> messages,
                                            bool generationPrompt);
/// Tokens of the segments; fails if the vocabulary lacks one of the control tokens.
Result<std::vector<int32_t>> encodeChat(const Tokenizer &tokenizer, std::span<const ChatSegment> segments);

} // namespace quern

#endif // QUERN_RUNTIME_CHAT_H
