// The file of reference log-probabilities that llama-perplexity's --kl-divergence-base writes and reads:
// "_logits_", i32 n_ctx, n_vocab, n_chunk, i32 tokens[n_chunk * n_ctx], then for each scored token a record of
// 2 * ceil(n_vocab / 2) + 4 u16: f32 scale, f32 smallest log-probability, one u16 code for each vocabulary entry.
#ifndef QUERN_TOOLS_LOGITSFILE_H
#define QUERN_TOOLS_LOGITSFILE_H

#include "quern/Support/AtomicFile.h"

#include <cstdint>
#include <fstream>
#include <span>
#include <string>
#include <vector>

namespace quern::cli {

struct LogitsFileHeader {
  int32_t context, vocabulary, chunks;
  std::vector<int32_t> tokens; ///< [chunks * context]

  size_t recordSize() const { return 2 * ((size_t(vocabulary) + 1) / 2) + 4; } ///< in u16
};

/// Encodes log-probabilities within 16 of the largest logit into 16 bits: [recordSize] codes.
std::vector<uint16_t> encodeRecord(std::span<const float> logits, double logSumExp, size_t recordSize);

/// Scale and smallest log-probability of a record; log p(i) = scale * codes[i] + smallest.
struct Record {
  float scale, smallest;
  std::span<const uint16_t> codes;
  float logProbability(size_t i) const { return scale * float(codes[i]) + smallest; }
};
Record decodeRecord(std::span<const uint16_t> record);

/// The file appears when finished.
class LogitsFileWriter {
public:
  static Result<LogitsFileWriter> create(const std::string &path, const LogitsFileHeader &header);
  Status write(std::span<const uint16_t> record);
  Status finish() { return file.finish(); }

private:
  explicit LogitsFileWriter(AtomicFile file) : file(std::move(file)) {}
  AtomicFile file;
};

class LogitsFileReader {
public:
  static Result<LogitsFileReader> open(const std::string &path);
  const LogitsFileHeader &header() const { return head; }
  /// The next record, valid until the next call.
  Result<std::span<const uint16_t>> next();

private:
  std::string path;
  std::ifstream file;
  LogitsFileHeader head;
  std::vector<uint16_t> record;
};

} // namespace quern::cli

#endif // QUERN_TOOLS_LOGITSFILE_H
