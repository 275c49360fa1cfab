// Builds the `tokenizer` section (quern/Runtime/TokenizerTables.h) from what a model file says about its tokenizer.
#ifndef QUERN_PACKAGE_TOKENIZERBUILDER_H
#define QUERN_PACKAGE_TOKENIZERBUILDER_H

#include "quern/Runtime/TokenizerTables.h"
#include "quern/Support/Result.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace quern {

/// A tokenizer as GGUF's `tokenizer.*` keys describe it; other importers bring theirs into this form.
struct TokenizerSource {
  std::string model;                 ///< `tokenizer.ggml.model`; only "gpt2" (byte-level BPE)
  std::string pre;                   ///< `tokenizer.ggml.pre`: "qwen2", "deepseek-r1-qwen", "llama-bpe"
  std::vector<std::string> tokens;   ///< `tokenizer.ggml.tokens`: Normal ones byte-mapped (Ġ), the others as they are
  std::vector<int32_t> tokenTypes;   ///< `tokenizer.ggml.token_type`, one for each token; empty: all Normal
  std::vector<std::string> merges;   ///< `tokenizer.ggml.merges`: "A B", best first
  int64_t bos = -1, eos = -1, eot = -1, pad = -1; ///< `tokenizer.ggml.{bos,eos,eot,padding}_token_id`; -1: absent
  std::optional<bool> addBos;        ///< `tokenizer.ggml.add_bos_token`; absent: what the pre-tokenizer usually wants
  std::string chatTemplate;          ///< `tokenizer.chat_template`; empty: absent
};

/// The section's bytes, and what the manifest repeats of them.
struct TokenizerImage {
  std::vector<uint8_t> bytes;
  int32_t bos = -1;
  std::vector<int32_t> endOfGeneration; ///< ascending
  bool addBos = false;
  int64_t realTokens = 0;   ///< ids from here on are padding
  std::string chatTemplate; ///< name for the manifest: "deepseek-r1", "chatml", "custom" or "none"
};

/// Fails with a sentence naming the key and the token on an unknown model or pre-tokenizer, counts that differ,
/// duplicate tokens, ids out of range, merges whose parts or product are no tokens, missing single-byte tokens.
Result<TokenizerImage> buildTokenizer(const TokenizerSource &source);

} // namespace quern

#endif // QUERN_PACKAGE_TOKENIZERBUILDER_H
