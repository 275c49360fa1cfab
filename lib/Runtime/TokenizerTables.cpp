// Binds the mapped tables and checks what reading them relies on. Slots of the hash tables are checked when they are
// met, so that opening does not touch the large ones.
#include "quern/Runtime/Tokenizer.h"

#include <cstring>

namespace quern {

using namespace tokenizer;

namespace {

/// Views one table; empty if it does not lie inside the section.
template <typename T> bool view(std::span<const uint8_t> tables, const Table &table, std::span<const T> &out) {
  if (table.offset % 8 != 0 || table.offset > tables.size() || table.count > (tables.size() - table.offset) / sizeof(T))
    return false;
  out = {reinterpret_cast<const T *>(tables.data() + table.offset), size_t(table.count)};
  return true;
}

bool isPowerOfTwo(size_t value) { return value != 0 && (value & (value - 1)) == 0; }

} // namespace

Status Tokenizer::bind(std::span<const uint8_t> tables, const std::string &source) {
  header = reinterpret_cast<const TablesHeader *>(tables.data());
  if (tables.size() < sizeof(TablesHeader) || reinterpret_cast<uintptr_t>(tables.data()) % 8 != 0 ||
      std::memcmp(header->magic, kMagic, sizeof kMagic) != 0)
    return fail(source + ": the tokenizer section holds no tokenizer tables");
  if (header->version != kVersion)
    return fail(source + ": tokenizer tables of version " + std::to_string(header->version) + ", this runtime reads " +
                std::to_string(kVersion) + "; compile the model again");
  bool inside = view(tables, header->bytes, blob) && view(tables, header->offsets, offsets) &&
                view(tables, header->types, types) && view(tables, header->byteTokens, byteTokens) &&
                view(tables, header->merges, merges) && view(tables, header->lookup, lookup) &&
                view(tables, header->specials, specials) && view(tables, header->endOfGeneration, ends);
  if (!inside)
    return fail(source + ": a tokenizer table reaches beyond its section");
  return {};
}

Status Tokenizer::check(const std::string &source) const {
  auto broken = [&](const char *what) { return fail(source + ": tokenizer tables: " + what); };
  uint64_t count = header->tokenCount;
  if (offsets.size() != count + 1 || types.size() != count || byteTokens.size() != 256)
    return broken("the number of tokens differs from table to table");
  if (!isPowerOfTwo(merges.size()) || !isPowerOfTwo(lookup.size()))
    return broken("a hash table's size is no power of two");
  if (header->preTokenizer != PreTokenizer::Qwen2 && header->preTokenizer != PreTokenizer::Llama3)
    return broken("unknown pre-tokenizer");
  bool ids = header->realTokens <= count && header->bos < int64_t(count) && header->eos < int64_t(count);
  for (std::span<const uint32_t> list : {byteTokens, specials, ends})
    for (uint32_t token : list)
      ids &= token < count;
  if (!ids)
    return broken("a token id is out of range");
  for (size_t i = 0; i < count; ++i)
    if (offsets[i] > offsets[i + 1])
      return broken("token offsets do not ascend");
  if (offsets[count] > blob.size())
    return broken("token bytes reach beyond their table");
  for (uint32_t token : specials)
    if (offsets[token] == offsets[token + 1])
      return broken("an added token has no text");
  for (size_t i = 1; i < specials.size(); ++i)
    if (blob[offsets[specials[i - 1]]] > blob[offsets[specials[i]]])
      return broken("added tokens are not in order");
  return {};
}

Result<Tokenizer> Tokenizer::open(std::span<const uint8_t> tables, const std::string &source) {
  Tokenizer out;
  QUERN_TRY(out.bind(tables, source));
  QUERN_TRY(out.check(source));
  size_t at = 0;
  for (size_t byte = 0; byte <= 256; ++byte) {
    while (at < out.specials.size() && out.blob[out.offsets[out.specials[at]]] < byte)
      ++at;
    out.specialsByFirstByte[byte] = uint32_t(at);
  }
  return out;
}

std::string_view Tokenizer::bytes(int64_t token) const {
  if (token < 0 || token >= size())
    return {};
  uint32_t begin = offsets[size_t(token)], end = offsets[size_t(token) + 1];
  return {reinterpret_cast<const char *>(blob.data()) + begin, end - begin};
}

TokenType Tokenizer::type(int64_t token) const {
  return token < 0 || token >= size() ? TokenType::Undefined : TokenType(types[size_t(token)]);
}

bool Tokenizer::isControl(int64_t token) const {
  return type(token) == TokenType::Control || type(token) == TokenType::Unknown;
}

bool Tokenizer::endsGeneration(int64_t token) const {
  for (uint32_t end : ends)
    if (int64_t(end) == token)
      return true;
  return false;
}

const MergeSlot *Tokenizer::merge(uint32_t left, uint32_t right) const {
  size_t mask = merges.size() - 1;
  size_t slot = size_t(mergeHash(left, right)) & mask;
  for (size_t probes = 0; probes <= mask; ++probes, slot = (slot + 1) & mask) {
    const MergeSlot &found = merges[slot];
    if (found.merged == kNone)
      return nullptr;
    if (found.left == left && found.right == right)
      return found.merged < header->tokenCount ? &found : nullptr;
  }
  return nullptr;
}

uint32_t Tokenizer::findNormal(std::string_view text) const {
  size_t mask = lookup.size() - 1;
  size_t slot = size_t(bytesHash(reinterpret_cast<const uint8_t *>(text.data()), text.size())) & mask;
  for (size_t probes = 0; probes <= mask; ++probes, slot = (slot + 1) & mask) {
    if (lookup[slot] == kNone)
      return kNone;
    if (bytes(lookup[slot]) == text && lookup[slot] < header->tokenCount)
      return lookup[slot];
  }
  return kNone;
}

int32_t Tokenizer::find(std::string_view text) const {
  if (text.empty())
    return -1;
  uint8_t first = uint8_t(text[0]);
  for (size_t i = specialsByFirstByte[first]; i < specialsByFirstByte[first + 1]; ++i)
    if (bytes(specials[i]) == text)
      return int32_t(specials[i]);
  uint32_t token = findNormal(text);
  return token == kNone ? -1 : int32_t(token);
}

} // namespace quern
