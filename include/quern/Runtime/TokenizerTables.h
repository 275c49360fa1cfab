// Layout of the `tokenizer` section: tables of a byte-level BPE tokenizer, used where they are mapped and never parsed.
// Written by lib/Package/TokenizerBuilder, read by lib/Runtime. Little-endian; every table starts on a multiple of 8
// bytes of the section; offsets are in bytes from its start.
#ifndef QUERN_RUNTIME_TOKENIZERTABLES_H
#define QUERN_RUNTIME_TOKENIZERTABLES_H

#include <cstdint>

namespace quern::tokenizer {

inline constexpr char kMagic[8] = {'Q', 'U', 'E', 'R', 'N', 'T', 'O', 'K'};
inline constexpr uint32_t kVersion = 1;

/// Rules that cut text into pieces before BPE.
enum class PreTokenizer : uint32_t {
  Qwen2 = 0, ///< GGUF names `qwen2` and `deepseek-r1-qwen`: numbers stand alone, digit by digit
  Llama3 = 1 ///< GGUF name `llama-bpe`: as Qwen2, but up to three digits together
};

/// As in GGUF's `tokenizer.ggml.token_type`.
enum class TokenType : uint8_t { Undefined = 0, Normal, Unknown, Control, UserDefined, Unused, Byte };

enum Flags : uint32_t {
  kAddBos = 1,       ///< a plain text begins with the token `bos`
  kIgnoreMerges = 2, ///< a piece that is itself a token is that token, whatever the merges say
  kNormalizeNfc = 4  ///< text is brought to Unicode normal form C first
};

/// One merge: tokens `left` and `right`, side by side, become `merged`; lower ranks go first. An open-addressing hash
/// table of `mergeSlots` entries (a power of two, at most two thirds full), linear probing from `mergeHash(left, right)`;
/// a free slot has `merged` = kNone.
struct MergeSlot {
  uint32_t left;
  uint32_t right;
  uint32_t rank;
  uint32_t merged;
};
static_assert(sizeof(MergeSlot) == 16);

inline constexpr uint32_t kNone = 0xffffffffu;

/// A position and a number of elements.
struct Table {
  uint64_t offset;
  uint64_t count;
};

struct TablesHeader {
  char magic[8];
  uint32_t version;
  uint32_t flags;
  PreTokenizer preTokenizer;
  uint32_t tokenCount; ///< ids 0 .. tokenCount - 1
  uint32_t realTokens; ///< ids from here on are padding rows of the model's output: never sampled
  int32_t bos;         ///< -1: none
  int32_t eos;         ///< -1: none
  int32_t pad;         ///< -1: none
  Table bytes;         ///< u8: the tokens' bytes, one after the other (byte-mapping undone)
  Table offsets;       ///< u32 [tokenCount + 1]: token i is bytes[offsets[i] .. offsets[i + 1])
  Table types;         ///< u8 [tokenCount]: TokenType
  Table byteTokens;    ///< u32 [256]: token of each single byte
  Table merges;        ///< MergeSlot [power of two]
  Table lookup;        ///< u32 [power of two]: hash from bytes to Normal token, linear probing; kNone: free
  Table specials;      ///< u32: Control, UserDefined and Unknown tokens, by first byte, then longest first, then id
  Table endOfGeneration; ///< u32: tokens that end a reply, ascending
};
static_assert(sizeof(TablesHeader) == 40 + 8 * sizeof(Table));

/// First slot of a pair, before masking.
inline uint64_t mergeHash(uint32_t left, uint32_t right) {
  uint64_t x = (uint64_t(left) << 32 | right) * 0x9E3779B97F4A7C15u;
  return x ^ (x >> 29);
}

/// First slot of a byte string, before masking (64-bit FNV-1a, folded).
inline uint64_t bytesHash(const uint8_t *data, uint64_t size) {
  uint64_t x = 0xcbf29ce484222325u;
  for (uint64_t i = 0; i < size; ++i)
    x = (x ^ data[i]) * 0x100000001b3u;
  return x ^ (x >> 32);
}

} // namespace quern::tokenizer

#endif // QUERN_RUNTIME_TOKENIZERTABLES_H
