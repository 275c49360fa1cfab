#include "quern/Import/GGUFWriter.h"
#include "quern/Support/AtomicFile.h"
#include "quern/Support/Quoted.h"

using namespace quern;
using namespace quern::gguf;

static constexpr uint64_t kAlignment = 32;
static constexpr size_t kFlush = size_t(1) << 20;

static uint64_t padding(uint64_t size) { return (kAlignment - size % kAlignment) % kAlignment; }

struct Writer::State {
  AtomicFile file;
  std::string buffer; ///< not yet in the file
  std::vector<TensorInfo> tensors;
  size_t current = 0;   ///< tensor that is being written
  uint64_t written = 0; ///< bytes of it

  template <typename T> void put(T value) { buffer.append(reinterpret_cast<const char *>(&value), sizeof value); }
  void putText(std::string_view text) {
    put<uint64_t>(text.size());
    buffer += text;
  }
  void putHeader(std::span<const File::Entry> metadata);
  void putValue(const Value &value);
  Status flush();
  void skipFull();
};

/// Keys that describe how the source was laid out, not the model.
static bool isLayoutKey(std::string_view key) { return key.starts_with("split.") || key == "general.alignment"; }

void Writer::State::putValue(const Value &value) {
  put<uint32_t>(static_cast<uint32_t>(value.isArray ? ValueType::Array : value.type));
  if (value.isArray) {
    put<uint32_t>(static_cast<uint32_t>(value.type));
    put<uint64_t>(value.count);
  }
  for (std::string_view text : value.strings)
    putText(text);
  buffer.append(reinterpret_cast<const char *>(value.bytes.data()), value.bytes.size());
}

void Writer::State::putHeader(std::span<const File::Entry> metadata) {
  uint64_t keys = 0;
  for (const File::Entry &entry : metadata)
    keys += !isLayoutKey(entry.key);
  buffer += "GGUF";
  put<uint32_t>(3);
  put<uint64_t>(tensors.size());
  put<uint64_t>(keys);
  for (const File::Entry &entry : metadata) {
    if (isLayoutKey(entry.key))
      continue;
    putText(entry.key);
    putValue(entry.value);
  }
  uint64_t offset = 0;
  for (const TensorInfo &tensor : tensors) {
    putText(tensor.name);
    put<uint32_t>(static_cast<uint32_t>(tensor.dims.size()));
    for (uint64_t dim : tensor.dims)
      put<uint64_t>(dim);
    put<uint32_t>(tensor.typeId);
    put<uint64_t>(offset);
    offset += tensor.bytes + padding(tensor.bytes);
  }
  buffer.append(padding(buffer.size()), '\0');
}

/// Ends tensors that have all their bytes.
void Writer::State::skipFull() {
  while (current < tensors.size() && written == tensors[current].bytes) {
    buffer.append(padding(written), '\0');
    written = 0;
    ++current;
  }
}

Status Writer::State::flush() {
  QUERN_TRY(file.append({reinterpret_cast<const uint8_t *>(buffer.data()), buffer.size()}));
  buffer.clear();
  return {};
}

Writer::Writer(std::unique_ptr<State> state) : state(std::move(state)) {}
Writer::Writer(Writer &&) noexcept = default;
Writer::~Writer() = default;

Result<Writer> Writer::create(const std::string &path, std::span<const File::Entry> metadata,
                              std::span<const TensorInfo> tensors) {
  for (const TensorInfo &tensor : tensors)
    if (TypeTable::isOwn(tensor.typeId))
      return fail(path + ": tensor " + inQuotes(tensor.name) + " has a block format that GGUF does not have; such a " +
                  "model can be compiled, but not be written as GGUF");
  QUERN_ASSIGN(AtomicFile file, AtomicFile::create(path));
  auto state = std::make_unique<State>(std::move(file));
  state->tensors.assign(tensors.begin(), tensors.end());
  state->putHeader(metadata);
  state->skipFull();
  return Writer(std::move(state));
}

Status Writer::write(std::span<const std::byte> data) {
  while (!data.empty()) {
    if (state->current == state->tensors.size())
      return fail(state->file.path() + ": more data than the tensors have");
    const TensorInfo &tensor = state->tensors[state->current];
    auto part = data.first(std::min<uint64_t>(data.size(), tensor.bytes - state->written));
    if (state->buffer.size() + part.size() <= kFlush) {
      state->buffer.append(reinterpret_cast<const char *>(part.data()), part.size());
    } else {
      QUERN_TRY(state->flush());
      QUERN_TRY(state->file.append({reinterpret_cast<const uint8_t *>(part.data()), part.size()}));
    }
    state->written += part.size();
    data = data.subspan(part.size());
    state->skipFull();
  }
  return {};
}

Status Writer::finish() {
  if (state->current < state->tensors.size())
    return fail(state->file.path() + ": tensor " + inQuotes(state->tensors[state->current].name) +
                " is not complete");
  QUERN_TRY(state->flush());
  return state->file.finish();
}
