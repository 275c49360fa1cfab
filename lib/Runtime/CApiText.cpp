// The C API: text, chat, sampling.
#include "CApi.h"

#include "Unicode.h"

#include <cstring>

using namespace quern;
using namespace quern::runtime;

namespace {

/// Copies a result out, or says how much room it needs.
template <typename T>
Outcome<void> copyOut(const T *data, size_t size, T *out, size_t capacity, size_t *needed) {
  *needed = size;
  if (size > capacity)
    return fault(QUERN_BUFFER_TOO_SMALL,
                 "the result has " + std::to_string(size) + " elements, the buffer " + std::to_string(capacity));
  if (size > 0)
    std::memcpy(out, data, size * sizeof(T));
  return {};
}

Outcome<std::vector<ChatSegment>> render(const quern_model *model, const char *name, const quern_chat_message *messages,
                                         size_t count, uint32_t flags) {
  ChatTemplate format = model->impl->chatTemplate();
  // The package's own text knows the default system message, a name alone does not.
  if (name && std::string_view(name) != chatKindName(format.kind)) {
    auto named = chatTemplateNamed(name);
    if (!named)
      return as(QUERN_UNSUPPORTED, named);
    format = *std::move(named);
  }
  std::vector<ChatMessage> list;
  for (size_t i = 0; i < count; ++i) {
    QUERN_CHECK(need(messages[i].role && messages[i].content, "a message's role or content"));
    list.push_back({messages[i].role, messages[i].content});
  }
  auto segments = renderChat(format, list, flags & QUERN_GENERATION_PROMPT);
  if (!segments)
    return as(format.kind == ChatKind::None || format.kind == ChatKind::Custom ? QUERN_UNSUPPORTED
                                                                                : QUERN_INVALID_ARGUMENT,
              segments);
  return *std::move(segments);
}

} // namespace

quern_status quern_tokenize(const quern_model *model, const char *text, size_t size, uint32_t flags, int32_t *tokens,
                            size_t capacity, size_t *count) {
  return guarded([&]() -> Outcome<void> {
    QUERN_CHECK(need(model && count && (text || size == 0) && (tokens || capacity == 0), "an argument"));
    QUERN_CHECK(needText(*model));
    auto ids = model->impl->tokenizer().encode({text, size},
                                               flags & QUERN_PARSE_SPECIAL ? Specials::All : Specials::UserDefined,
                                               flags & QUERN_ADD_BOS);
    if (!ids)
      return as(QUERN_INVALID_ARGUMENT, ids);
    return copyOut(ids->data(), ids->size(), tokens, capacity, count);
  });
}

quern_status quern_detokenize(const quern_model *model, const int32_t *tokens, size_t count, uint32_t flags, char *text,
                              size_t capacity, size_t *size) {
  return guarded([&]() -> Outcome<void> {
    QUERN_CHECK(need(model && size && (tokens || count == 0) && (text || capacity == 0), "an argument"));
    QUERN_CHECK(needText(*model));
    const Tokenizer &tokenizer = model->impl->tokenizer();
    TextStream stream;
    std::string out;
    for (size_t i = 0; i < count; ++i)
      if (!(flags & QUERN_SKIP_SPECIAL && tokenizer.isControl(tokens[i])))
        stream.push(tokenizer.bytes(tokens[i]), out);
    stream.finish(out);
    return copyOut(out.data(), out.size(), text, capacity, size);
  });
}

quern_status quern_token_bytes(const quern_model *model, int32_t token, const char **bytes, size_t *size) {
  return guarded([&]() -> Outcome<void> {
    QUERN_CHECK(need(model && bytes && size, "an argument"));
    QUERN_CHECK(needText(*model));
    const Tokenizer &tokenizer = model->impl->tokenizer();
    if (token < 0 || token >= tokenizer.size())
      return fault(QUERN_INVALID_ARGUMENT, "token " + std::to_string(token) + " is not one of the " +
                                               std::to_string(tokenizer.size()) + " that the tokenizer has");
    *bytes = tokenizer.bytes(token).data();
    *size = tokenizer.bytes(token).size();
    return {};
  });
}

int quern_token_ends_generation(const quern_model *model, int32_t token) {
  return !model->impl->isGraph() && model->impl->tokenizer().endsGeneration(token) ? 1 : 0;
}

int32_t quern_token_find(const quern_model *model, const char *text, size_t size) {
  return model->impl->isGraph() ? -1 : model->impl->tokenizer().find({text, size});
}

int32_t quern_bos_token(const quern_model *model) {
  return model->impl->isGraph() ? -1 : model->impl->tokenizer().bos();
}

quern_status quern_decoder_create(const quern_model *model, uint32_t flags, quern_decoder **decoder) {
  return guarded([&]() -> Outcome<void> {
    QUERN_CHECK(need(model && decoder, "model or decoder"));
    QUERN_CHECK(needText(*model));
    *decoder = new quern_decoder{&model->impl->tokenizer(), (flags & QUERN_SKIP_SPECIAL) != 0, {}, {}};
    return {};
  });
}

void quern_decoder_free(quern_decoder *decoder) { delete decoder; }

quern_status quern_decoder_push(quern_decoder *decoder, int32_t token, const char **text, size_t *size) {
  return guarded([&]() -> Outcome<void> {
    QUERN_CHECK(need(decoder && text && size, "an argument"));
    decoder->text.clear();
    if (!decoder->skipSpecial || !decoder->tokenizer->isControl(token))
      decoder->stream.push(decoder->tokenizer->bytes(token), decoder->text);
    *text = decoder->text.c_str();
    *size = decoder->text.size();
    return {};
  });
}

quern_status quern_decoder_finish(quern_decoder *decoder, const char **text, size_t *size) {
  return guarded([&]() -> Outcome<void> {
    QUERN_CHECK(need(decoder && text && size, "an argument"));
    decoder->text.clear();
    decoder->stream.finish(decoder->text);
    *text = decoder->text.c_str();
    *size = decoder->text.size();
    return {};
  });
}

quern_status quern_chat_tokenize(const quern_model *model, const char *chat_template,
                                 const quern_chat_message *messages, size_t message_count, uint32_t flags,
                                 int32_t *tokens, size_t capacity, size_t *count) {
  return guarded([&]() -> Outcome<void> {
    QUERN_CHECK(need(model && count && (messages || message_count == 0) && (tokens || capacity == 0), "an argument"));
    QUERN_CHECK(needText(*model));
    auto segments = render(model, chat_template, messages, message_count, flags);
    QUERN_CHECK(segments);
    for (const ChatSegment &segment : *segments)
      if (unicode::firstInvalid(segment.text) != std::string_view::npos)
        return fault(QUERN_INVALID_ARGUMENT, "a message is not UTF-8; convert it to UTF-8 first");
    auto ids = encodeChat(model->impl->tokenizer(), *segments);
    if (!ids)
      return as(QUERN_UNSUPPORTED, ids);
    return copyOut(ids->data(), ids->size(), tokens, capacity, count);
  });
}

quern_status quern_chat_render(const quern_model *model, const char *chat_template, const quern_chat_message *messages,
                               size_t message_count, uint32_t flags, char *text, size_t capacity, size_t *size) {
  return guarded([&]() -> Outcome<void> {
    QUERN_CHECK(need(model && size && (messages || message_count == 0) && (text || capacity == 0), "an argument"));
    QUERN_CHECK(needText(*model));
    auto segments = render(model, chat_template, messages, message_count, flags);
    QUERN_CHECK(segments);
    std::string out;
    for (const ChatSegment &segment : *segments)
      out += segment.text;
    return copyOut(out.data(), out.size(), text, capacity, size);
  });
}

void quern_sampler_options_init(quern_sampler_options *options) {
  SamplerSettings defaults;
  *options = {sizeof *options,        defaults.temperature, defaults.topK,          defaults.topP, defaults.minP,
              defaults.repeatPenalty, defaults.repeatLastN, defaults.seed};
}

quern_status quern_sampler_create(const quern_model *model, const quern_sampler_options *options,
                                  quern_sampler **sampler) {
  return guarded([&]() -> Outcome<void> {
    QUERN_CHECK(need(model && sampler, "model or sampler"));
    QUERN_CHECK(needText(*model));
    SamplerSettings settings;
    if (options) {
      if (options->struct_size != sizeof *options)
        return fault(QUERN_INVALID_ARGUMENT, "the options were not set up by quern_sampler_options_init");
      settings = {options->temperature,    options->top_k,         options->top_p, options->min_p,
                  options->repeat_penalty, options->repeat_last_n, options->seed};
    }
    auto created = Sampler::create(settings);
    if (!created)
      return as(QUERN_INVALID_ARGUMENT, created);
    *sampler = new quern_sampler{&model->impl->tokenizer(), *std::move(created)};
    return {};
  });
}

void quern_sampler_free(quern_sampler *sampler) { delete sampler; }

quern_status quern_sampler_sample(quern_sampler *sampler, const quern_session *session, int32_t *token) {
  return guarded([&]() -> Outcome<void> {
    QUERN_CHECK(need(sampler && session && token, "an argument"));
    auto known = session->impl->chosen(sampler->impl.settings());
    auto logits = known ? Outcome<std::span<const float>>() : session->impl->logits();
    QUERN_CHECK(logits);
    auto chosen = known ? Sampler::chosen(*known)
                        : sampler->impl.sample(logits->first(size_t(sampler->tokenizer->realTokens())),
                                               session->impl->tokens());
    if (!chosen)
      return as(QUERN_BAD_PACKAGE, chosen);
    *token = *chosen;
    return {};
  });
}
