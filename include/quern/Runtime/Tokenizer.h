// Byte-level BPE over mapped tables (TokenizerTables.h): text to tokens and back.
#ifndef QUERN_RUNTIME_TOKENIZER_H
#define QUERN_RUNTIME_TOKENIZER_H

#include "quern/Runtime/TokenizerTables.h"
#include "quern/Support/Result.h"

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace quern {

/// Which added tokens are recognised in a text.
enum class Specials {
  None,        ///< none: text that must not be able to steer the model
  UserDefined, ///< those that are text to the model (`<think>`, `<tool_call>`), as llama.cpp does by default
  All          ///< control tokens too (`<|im_start|>`)
};

/// Immutable once open; any number of threads may use one.
class Tokenizer {
public:
  /// Uses the tables where they lie; they must outlive the tokenizer, aligned to 8 bytes. `source` is for messages.
  static Result<Tokenizer> open(std::span<const uint8_t> tables, const std::string &source);

  /// Fails if the text is not UTF-8. `addBos`: put the begin token in front if the tokenizer is one that wants it.
  Result<std::vector<int32_t>> encode(std::string_view text, Specials specials, bool addBos) const;
  /// Appends the tokens of `text`.
  Status append(std::string_view text, Specials specials, std::vector<int32_t> &out) const;

  /// The token's bytes; empty for ids out of range.
  std::string_view bytes(int64_t token) const;
  tokenizer::TokenType type(int64_t token) const;
  /// Control and unknown tokens: those without text for the reader.
  bool isControl(int64_t token) const;
  bool endsGeneration(int64_t token) const;
  /// The token of exactly these bytes, added tokens before others; -1 if there is none.
  int32_t find(std::string_view text) const;

  int32_t bos() const { return header->bos; }
  int32_t eos() const { return header->eos; }
  bool addsBos() const { return header->flags & tokenizer::kAddBos && header->bos >= 0; }
  int64_t size() const { return header->tokenCount; }
  int64_t realTokens() const { return header->realTokens; } ///< ids from here on are never sampled
  std::span<const uint32_t> endOfGeneration() const { return ends; }

private:
  Tokenizer() = default;
  Status bind(std::span<const uint8_t> tables, const std::string &source);
  Status check(const std::string &source) const;
  size_t nextSpecial(std::string_view text, size_t from, Specials specials, uint32_t &token) const;
  void appendPlain(std::string_view text, std::vector<int32_t> &out) const;
  void appendPiece(std::string_view piece, std::vector<int32_t> &out) const;
  const tokenizer::MergeSlot *merge(uint32_t left, uint32_t right) const;
  uint32_t findNormal(std::string_view text) const;

  friend class Merger;
  const tokenizer::TablesHeader *header = nullptr;
  std::span<const uint8_t> blob;
  std::span<const uint32_t> offsets;
  std::span<const uint8_t> types;
  std::span<const uint32_t> byteTokens;
  std::span<const tokenizer::MergeSlot> merges;
  std::span<const uint32_t> lookup;
  std::span<const uint32_t> specials;
  std::span<const uint32_t> ends;
  std::array<uint32_t, 257> specialsByFirstByte{}; ///< where each first byte begins in `specials`
};

/// Turns bytes that come in pieces into text, never splitting a character; what is no UTF-8 becomes U+FFFD.
class TextStream {
public:
  /// Appends to `out` the text that these bytes complete.
  void push(std::string_view bytes, std::string &out);
  /// Appends U+FFFD for what is still held back.
  void finish(std::string &out);

private:
  std::string held;
};

} // namespace quern

#endif // QUERN_RUNTIME_TOKENIZER_H
