// Undoes the byte mapping of token texts, resolves merges to ids, and lays out the hash tables.
#include "quern/Package/TokenizerBuilder.h"

#include "quern/Runtime/Chat.h"
#include "quern/Support/Quoted.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <unordered_map>

namespace quern {

using namespace tokenizer;

namespace {

/// The byte that each of the code points 0 to 0x143 stands for in byte-mapped text, -1: none. Printable Latin-1 stands
/// for itself; the other 68 bytes, ascending, are U+0100 and on.
const std::array<int, 0x144> &byteOfPoint() {
  static const std::array<int, 0x144> table = [] {
    std::array<int, 0x144> out;
    out.fill(-1);
    int next = 0x100;
    for (int byte = 0; byte < 256; ++byte) {
      bool printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
      out[size_t(printable ? byte : next++)] = byte;
    }
    return out;
  }();
  return table;
}

/// The bytes of byte-mapped text (all its characters lie below U+0144, so in UTF-8 they have one or two bytes); false
/// if it is not such text.
bool unmap(const std::string &text, std::string &out) {
  for (size_t i = 0; i < text.size(); ++i) {
    unsigned point = uint8_t(text[i]);
    if (point >= 0x80) {
      if (point < 0xC2 || point > 0xC5 || i + 1 == text.size() || (uint8_t(text[i + 1]) & 0xC0) != 0x80)
        return false;
      point = (point & 0x1F) << 6 | (uint8_t(text[++i]) & 0x3F);
    }
    if (point >= byteOfPoint().size() || byteOfPoint()[point] < 0)
      return false;
    out.push_back(char(byteOfPoint()[point]));
  }
  return true;
}

/// Everything between the source and the section.
class Builder {
public:
  explicit Builder(const TokenizerSource &source) : source(source) {}

  Result<TokenizerImage> build() {
    QUERN_TRY(readRules());
    QUERN_TRY(readTokens());
    QUERN_TRY(readIds());
    QUERN_TRY(readByteTokens());
    QUERN_TRY(readMerges());
    buildLookup();
    buildSpecials();
    buildEnds();
    return layOut();
  }

private:
  Status readRules() {
    if (source.model != "gpt2")
      return fail("tokenizer.ggml.model is " + inQuotes(source.model) + "; only 'gpt2' (byte-level BPE) is supported");
    bool qwen = source.pre == "qwen2" || source.pre == "deepseek-r1-qwen";
    if (!qwen && source.pre != "llama-bpe")
      return fail("tokenizer.ggml.pre is " + inQuotes(source.pre) +
                  "; supported are 'qwen2', 'deepseek-r1-qwen' and 'llama-bpe'");
    header.preTokenizer = qwen ? PreTokenizer::Qwen2 : PreTokenizer::Llama3;
    header.flags = qwen ? kNormalizeNfc : kIgnoreMerges;
    if (source.addBos.value_or(!qwen))
      header.flags |= kAddBos;
    return {};
  }

  Status readTokens() {
    if (source.tokens.empty() || source.tokens.size() > size_t(1) << 24)
      return fail("tokenizer.ggml.tokens has " + std::to_string(source.tokens.size()) + " entries");
    if (!source.tokenTypes.empty() && source.tokenTypes.size() != source.tokens.size())
      return fail("tokenizer.ggml.token_type has " + std::to_string(source.tokenTypes.size()) + " entries for " +
                  std::to_string(source.tokens.size()) + " tokens");
    ids.reserve(source.tokens.size());
    offsets.push_back(0);
    for (size_t i = 0; i < source.tokens.size(); ++i)
      QUERN_TRY(readToken(i));
    return {};
  }

  Status readToken(size_t i) {
    const std::string &text = source.tokens[i];
    int32_t type = source.tokenTypes.empty() ? int32_t(TokenType::Normal) : source.tokenTypes[i];
    if (type < 0 || type > int32_t(TokenType::Unused))
      return fail("token " + std::to_string(i) + " " + inQuotes(text) + " has type " + std::to_string(type) +
                  ", which byte-level BPE does not know");
    if (!ids.emplace(text, uint32_t(i)).second)
      return fail("token " + inQuotes(text) + " is in tokenizer.ggml.tokens twice, as " + std::to_string(ids.at(text)) +
                  " and " + std::to_string(i));
    std::string plain;
    if (TokenType(type) != TokenType::Normal)
      plain = text;
    else if (!unmap(text, plain))
      return fail("token " + std::to_string(i) + " " + inQuotes(text) +
                  " is a normal token but is not byte-mapped text");
    if (blob.size() + plain.size() >= kNone)
      return fail("the tokens have more than 4 GiB of text");
    blob += plain;
    offsets.push_back(uint32_t(blob.size()));
    types.push_back(uint8_t(type));
    return {};
  }

  Status readIds() {
    auto take = [&](const char *key, int64_t id, int32_t &out) -> Status {
      if (id < -1 || id >= int64_t(types.size()))
        return fail(std::string("tokenizer.ggml.") + key + " is " + std::to_string(id) + ", but there are " +
                    std::to_string(types.size()) + " tokens");
      out = int32_t(id);
      return {};
    };
    QUERN_TRY(take("bos_token_id", source.bos, header.bos));
    QUERN_TRY(take("eos_token_id", source.eos, header.eos));
    QUERN_TRY(take("eot_token_id", source.eot, endOfTurn));
    QUERN_TRY(take("padding_token_id", source.pad, header.pad));
    if (header.flags & kAddBos && header.bos < 0)
      return fail("tokenizer.ggml.add_bos_token is set, but tokenizer.ggml.bos_token_id is missing");
    header.tokenCount = header.realTokens = uint32_t(types.size());
    while (header.realTokens > 0 && TokenType(types[header.realTokens - 1]) == TokenType::Unused)
      --header.realTokens;
    return {};
  }

  Status readByteTokens() {
    byteTokens.assign(256, kNone);
    for (uint32_t i = 0; i < types.size(); ++i)
      if (TokenType(types[i]) == TokenType::Normal && offsets[i + 1] - offsets[i] == 1)
        byteTokens[uint8_t(blob[offsets[i]])] = i;
    for (size_t byte = 0; byte < 256; ++byte)
      if (byteTokens[byte] == kNone)
        return fail("the vocabulary has no token for the single byte " + std::to_string(byte));
    return {};
  }

  /// Id of a normal token by its byte-mapped text.
  uint32_t normalToken(const std::string &text) const {
    auto it = ids.find(text);
    return it == ids.end() || TokenType(types[it->second]) != TokenType::Normal ? kNone : it->second;
  }

  Status readMerges() {
    size_t slots = 2;
    while (slots * 2 < source.merges.size() * 3) // at most two thirds full
      slots *= 2;
    merges.assign(slots, MergeSlot{0, 0, 0, kNone});
    for (size_t rank = 0; rank < source.merges.size(); ++rank) {
      const std::string &text = source.merges[rank];
      size_t space = text.size() < 2 ? std::string::npos : text.find(' ', 1);
      if (space == std::string::npos || space + 1 == text.size())
        return fail("merge " + std::to_string(rank) + " " + inQuotes(text) + " is not two tokens and a space between");
      std::string left = text.substr(0, space), right = text.substr(space + 1);
      MergeSlot slot{normalToken(left), normalToken(right), uint32_t(rank), normalToken(left + right)};
      for (auto [id, part] : {std::pair{slot.left, &left}, {slot.right, &right}})
        if (id == kNone)
          return fail("merge " + std::to_string(rank) + " " + inQuotes(text) + " uses " + inQuotes(*part) +
                      ", which is no token");
      if (slot.merged == kNone)
        return fail("merge " + std::to_string(rank) + " " + inQuotes(text) + " makes " + inQuotes(left + right) +
                    ", which is no token");
      insert(slot);
    }
    return {};
  }

  void insert(const MergeSlot &slot) {
    size_t mask = merges.size() - 1, at = size_t(mergeHash(slot.left, slot.right)) & mask;
    for (; merges[at].merged != kNone; at = (at + 1) & mask)
      if (merges[at].left == slot.left && merges[at].right == slot.right)
        return; // a repeated merge: the first has the better rank
    merges[at] = slot;
  }

  std::string_view bytes(uint32_t token) const {
    return std::string_view(blob).substr(offsets[token], offsets[token + 1] - offsets[token]);
  }

  void buildLookup() {
    size_t slots = 2;
    while (slots < types.size() * 2)
      slots *= 2;
    lookup.assign(slots, kNone);
    for (uint32_t i = 0; i < types.size(); ++i) {
      if (TokenType(types[i]) != TokenType::Normal || bytes(i).empty())
        continue;
      size_t at = size_t(bytesHash(reinterpret_cast<const uint8_t *>(bytes(i).data()), bytes(i).size())) & (slots - 1);
      while (lookup[at] != kNone)
        at = (at + 1) & (slots - 1);
      lookup[at] = i;
    }
  }

  bool isAdded(uint32_t token) const {
    TokenType type = TokenType(types[token]);
    return type == TokenType::Control || type == TokenType::UserDefined || type == TokenType::Unknown;
  }

  void buildSpecials() {
    for (uint32_t i = 0; i < types.size(); ++i)
      if (isAdded(i) && !bytes(i).empty())
        specials.push_back(i);
    std::sort(specials.begin(), specials.end(), [&](uint32_t a, uint32_t b) {
      uint8_t firstA = uint8_t(bytes(a)[0]), firstB = uint8_t(bytes(b)[0]);
      if (firstA != firstB)
        return firstA < firstB;
      return bytes(a).size() != bytes(b).size() ? bytes(a).size() > bytes(b).size() : a < b;
    });
  }

  /// The declared ones, and those that end a turn, a text or a file by the custom of these model families.
  void buildEnds() {
    constexpr std::string_view kEnds[] = {"<|im_end|>",  "<|endoftext|>",   "<|eot_id|>",  "<|end_of_text|>",
                                          "<|eom_id|>",  "<|fim_pad|>",     "<|repo_name|>", "<|file_sep|>",
                                          "<｜end▁of▁sentence｜>"};
    for (uint32_t token : specials)
      if (std::find(std::begin(kEnds), std::end(kEnds), bytes(token)) != std::end(kEnds))
        ends.push_back(token);
    for (int32_t token : {header.eos, endOfTurn})
      if (token >= 0)
        ends.push_back(uint32_t(token));
    std::sort(ends.begin(), ends.end());
    ends.erase(std::unique(ends.begin(), ends.end()), ends.end());
  }

  template <typename T> void put(std::vector<uint8_t> &out, Table &table, const T *data, size_t count) {
    out.resize((out.size() + 7) / 8 * 8);
    table = {out.size(), count};
    const uint8_t *begin = reinterpret_cast<const uint8_t *>(data);
    out.insert(out.end(), begin, begin + count * sizeof(T));
  }

  TokenizerImage layOut() {
    TokenizerImage image;
    std::vector<uint8_t> &out = image.bytes;
    std::memcpy(header.magic, kMagic, sizeof kMagic);
    header.version = kVersion;
    out.resize(sizeof header);
    put(out, header.bytes, blob.data(), blob.size());
    put(out, header.offsets, offsets.data(), offsets.size());
    put(out, header.types, types.data(), types.size());
    put(out, header.byteTokens, byteTokens.data(), byteTokens.size());
    put(out, header.merges, merges.data(), merges.size());
    put(out, header.lookup, lookup.data(), lookup.size());
    put(out, header.specials, specials.data(), specials.size());
    put(out, header.endOfGeneration, ends.data(), ends.size());
    std::memcpy(out.data(), &header, sizeof header);
    image.bos = header.bos;
    image.endOfGeneration.assign(ends.begin(), ends.end());
    image.addBos = header.flags & kAddBos;
    image.realTokens = header.realTokens;
    image.chatTemplate = chatKindName(recogniseChatTemplate(source.chatTemplate).kind);
    return image;
  }

  const TokenizerSource &source;
  TablesHeader header{};
  int32_t endOfTurn = -1;
  std::unordered_map<std::string, uint32_t> ids;
  std::string blob;
  std::vector<uint32_t> offsets, byteTokens, lookup, specials, ends;
  std::vector<uint8_t> types;
  std::vector<MergeSlot> merges;
};

} // namespace

Result<TokenizerImage> buildTokenizer(const TokenizerSource &source) { return Builder(source).build(); }

} // namespace quern
