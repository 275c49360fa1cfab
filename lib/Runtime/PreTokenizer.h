// Cuts text into the pieces that BPE works on, as the regular expressions of Qwen2 and Llama 3 do, in one pass and
// without backtracking.
#ifndef QUERN_LIB_RUNTIME_PRETOKENIZER_H
#define QUERN_LIB_RUNTIME_PRETOKENIZER_H

#include "quern/Runtime/TokenizerTables.h"

#include <string_view>

namespace quern::tokenizer {

/// Length in bytes of the first piece of a valid, non-empty UTF-8 text.
size_t firstPiece(std::string_view text, PreTokenizer rules);

} // namespace quern::tokenizer

#endif // QUERN_LIB_RUNTIME_PRETOKENIZER_H
