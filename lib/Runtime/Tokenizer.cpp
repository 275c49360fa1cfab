// Text to tokens: added tokens are split out first, the rest is normalised, cut into pieces, and each piece merged by
// rank. Cost is O(n log n) in the length of the text, whatever the text.
#include "quern/Runtime/Tokenizer.h"

#include "PreTokenizer.h"
#include "Unicode.h"

#include <algorithm>
#include <queue>

namespace quern {

using namespace tokenizer;

/// Merges one piece: a doubly linked list of tokens and a heap of candidate merges, lowest rank first, then leftmost.
/// A candidate is stale, and dropped when met, if its two tokens are no longer there.
class Merger {
public:
  Merger(const Tokenizer &tokenizer, std::string_view piece) : tokenizer(tokenizer) {
    symbols.reserve(piece.size());
    for (size_t i = 0; i < piece.size(); ++i)
      symbols.push_back({tokenizer.byteTokens[uint8_t(piece[i])], uint32_t(i) - 1, uint32_t(i) + 1});
    for (uint32_t i = 0; i + 1 < symbols.size(); ++i)
      offer(i);
  }

  void run(std::vector<int32_t> &out) {
    while (!candidates.empty()) {
      Candidate best = candidates.top();
      candidates.pop();
      if (isCurrent(best))
        apply(best);
    }
    for (uint32_t i = 0; i < symbols.size(); i = symbols[i].next) // symbol 0 always survives
      out.push_back(int32_t(symbols[i].token));
  }

private:
  struct Symbol {
    uint32_t token;
    uint32_t previous, next; ///< kNone before the first, the number of symbols after the last
  };
  struct Candidate {
    uint32_t rank, at;
    uint32_t left, right, merged;
    bool operator<(const Candidate &other) const { // std::priority_queue puts the largest on top
      return rank != other.rank ? rank > other.rank : at > other.at;
    }
  };

  void offer(uint32_t at) {
    uint32_t next = symbols[at].next;
    if (next >= symbols.size())
      return;
    if (const MergeSlot *slot = tokenizer.merge(symbols[at].token, symbols[next].token))
      candidates.push({slot->rank, at, slot->left, slot->right, slot->merged});
  }
  bool isCurrent(const Candidate &candidate) const {
    const Symbol &left = symbols[candidate.at];
    return left.token == candidate.left && left.next < symbols.size() && symbols[left.next].token == candidate.right;
  }
  void apply(const Candidate &candidate) {
    Symbol &left = symbols[candidate.at];
    Symbol &right = symbols[left.next];
    left.token = candidate.merged;
    left.next = right.next;
    right.token = kNone; // makes candidates that begin here stale
    if (left.next < symbols.size())
      symbols[left.next].previous = candidate.at;
    offer(candidate.at);
    if (left.previous != kNone)
      offer(left.previous);
  }

  const Tokenizer &tokenizer;
  std::vector<Symbol> symbols;
  std::priority_queue<Candidate> candidates;
};

void Tokenizer::appendPiece(std::string_view piece, std::vector<int32_t> &out) const {
  if (piece.size() == 1) {
    out.push_back(int32_t(byteTokens[uint8_t(piece[0])]));
    return;
  }
  if (header->flags & kIgnoreMerges)
    if (uint32_t token = findNormal(piece); token != kNone) {
      out.push_back(int32_t(token));
      return;
    }
  Merger(*this, piece).run(out);
}

void Tokenizer::appendPlain(std::string_view text, std::vector<int32_t> &out) const {
  std::string normal;
  if (header->flags & kNormalizeNfc && !unicode::isSurelyNfc(text)) {
    normal = unicode::normalizeNfc(text);
    text = normal;
  }
  while (!text.empty()) {
    size_t length = firstPiece(text, header->preTokenizer);
    appendPiece(text.substr(0, length), out);
    text.remove_prefix(length);
  }
}

/// Start of the leftmost added token at or after `from`, the longest of those that start there; npos if there is none.
size_t Tokenizer::nextSpecial(std::string_view text, size_t from, Specials wanted, uint32_t &token) const {
  if (wanted == Specials::None)
    return std::string_view::npos;
  for (size_t at = from; at < text.size(); ++at) {
    uint8_t first = uint8_t(text[at]);
    for (size_t i = specialsByFirstByte[first]; i < specialsByFirstByte[first + 1]; ++i) {
      bool asked = wanted == Specials::All || type(specials[i]) == TokenType::UserDefined;
      if (asked && text.substr(at).starts_with(bytes(specials[i]))) {
        token = specials[i];
        return at;
      }
    }
  }
  return std::string_view::npos;
}

Status Tokenizer::append(std::string_view text, Specials wanted, std::vector<int32_t> &out) const {
  if (size_t at = unicode::firstInvalid(text); at != std::string_view::npos)
    return fail("the text is not UTF-8 at byte " + std::to_string(at) + "; convert it to UTF-8 first");
  if (text.size() >= size_t(1) << 31)
    return fail("a text of " + std::to_string(text.size()) + " bytes is too long; the limit is 2 GiB");
  for (size_t at = 0; at < text.size();) {
    uint32_t token = kNone;
    size_t special = nextSpecial(text, at, wanted, token);
    appendPlain(text.substr(at, special == std::string_view::npos ? special : special - at), out);
    if (special == std::string_view::npos)
      break;
    out.push_back(int32_t(token));
    at = special + bytes(token).size();
  }
  return {};
}

Result<std::vector<int32_t>> Tokenizer::encode(std::string_view text, Specials wanted, bool addBos) const {
  std::vector<int32_t> out;
  if (addBos && addsBos())
    out.push_back(bos());
  QUERN_TRY(append(text, wanted, out));
  return out;
}

void TextStream::push(std::string_view bytes, std::string &out) {
  held += bytes;
  std::string_view rest = held;
  while (!rest.empty()) {
    unicode::Step next = unicode::step(rest);
    if (next.status == unicode::Utf8::Incomplete)
      break;
    if (next.status == unicode::Utf8::Valid)
      out += rest.substr(0, next.length);
    else
      unicode::appendUtf8(out, 0xFFFD);
    rest.remove_prefix(next.length);
  }
  held.erase(0, held.size() - rest.size());
}

void TextStream::finish(std::string &out) {
  if (!held.empty())
    unicode::appendUtf8(out, 0xFFFD); // what is held is one incomplete character
  held.clear();
}

} // namespace quern
