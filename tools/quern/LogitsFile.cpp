#include "LogitsFile.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>

using namespace quern;
using namespace quern::cli;

static constexpr char magic[8] = {'_', 'l', 'o', 'g', 'i', 't', 's', '_'};

std::vector<uint16_t> cli::encodeRecord(std::span<const float> logits, double logSumExp, size_t recordSize) {
  auto [lowest, highest] = std::minmax_element(logits.begin(), logits.end());
  float low = std::max(*lowest, *highest - 16.0f);
  float scale = (*highest - low) / 65535.0f;
  float smallest = float(low - logSumExp);
  std::vector<uint16_t> record(recordSize);
  std::memcpy(&record[0], &scale, sizeof scale);
  std::memcpy(&record[2], &smallest, sizeof smallest);
  if (scale > 0)
    for (size_t i = 0; i < logits.size(); ++i)
      record[4 + i] = logits[i] > low ? uint16_t(std::lrint((logits[i] - low) / scale)) : 0;
  return record;
}

Record cli::decodeRecord(std::span<const uint16_t> record) {
  Record out{0, 0, record.subspan(4)};
  std::memcpy(&out.scale, &record[0], sizeof out.scale);
  std::memcpy(&out.smallest, &record[2], sizeof out.smallest);
  return out;
}

template <typename T> static std::span<const uint8_t> bytesOf(std::span<const T> values) {
  return {reinterpret_cast<const uint8_t *>(values.data()), values.size_bytes()};
}

Result<LogitsFileWriter> LogitsFileWriter::create(const std::string &path, const LogitsFileHeader &header) {
  QUERN_ASSIGN(AtomicFile file, AtomicFile::create(path));
  int32_t numbers[] = {header.context, header.vocabulary, header.chunks};
  QUERN_TRY(file.append(bytesOf(std::span<const char>(magic))));
  QUERN_TRY(file.append(bytesOf(std::span<const int32_t>(numbers))));
  QUERN_TRY(file.append(bytesOf(std::span<const int32_t>(header.tokens))));
  return LogitsFileWriter(std::move(file));
}

Status LogitsFileWriter::write(std::span<const uint16_t> record) { return file.append(bytesOf(record)); }

Result<LogitsFileReader> LogitsFileReader::open(const std::string &path) {
  LogitsFileReader reader;
  reader.path = path;
  std::error_code error;
  uint64_t size = std::filesystem::file_size(path, error);
  if (!error)
    reader.file.open(path, std::ios::binary);
  if (error || !reader.file)
    return fail("cannot open '" + path + "'");
  char start[8];
  int32_t numbers[3];
  reader.file.read(start, sizeof start).read(reinterpret_cast<char *>(numbers), sizeof numbers);
  if (!reader.file || std::memcmp(start, magic, sizeof magic) != 0)
    return fail("'" + path + "' is no file of reference logits: it does not begin with \"_logits_\"");
  auto [context, vocabulary, chunks] = numbers;
  LogitsFileHeader &head = reader.head;
  head = {context, vocabulary, chunks, {}};
  uint64_t tokens = uint64_t(std::max(context, 0)) * uint64_t(std::max(chunks, 0));
  uint64_t scored = uint64_t(std::max(chunks, 0)) * uint64_t(std::max(context - 1 - context / 2, 0));
  if (context < 2 || vocabulary < 1 || chunks < 1 || tokens > size / 4 || scored > size / (2 * head.recordSize()) ||
      20 + 4 * tokens + 2 * scored * head.recordSize() != size)
    return fail("'" + path + "' is damaged: its length does not fit " + std::to_string(chunks) + " chunks of " +
                std::to_string(context) + " tokens over a vocabulary of " + std::to_string(vocabulary));
  head.tokens.resize(tokens);
  reader.record.resize(head.recordSize());
  if (!reader.file.read(reinterpret_cast<char *>(head.tokens.data()), long(4 * tokens)))
    return fail("cannot read '" + path + "'");
  return reader;
}

Result<std::span<const uint16_t>> LogitsFileReader::next() {
  if (!file.read(reinterpret_cast<char *>(record.data()), long(2 * record.size())))
    return fail("cannot read '" + path + "'");
  return std::span<const uint16_t>(record);
}
