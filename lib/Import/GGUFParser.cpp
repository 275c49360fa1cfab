// The layout (GGUF v2 and v3, packed little-endian):
//   "GGUF", u32 version, u64 tensors, u64 keys, keys, tensor infos, padding to the alignment, tensor data
// Every count is compared with the bytes that are left before anything is allocated for it.
#include "GGUFParser.h"

#include "quern/Support/Quoted.h"

#include <bit>
#include <cstring>
#include <unordered_set>
#include <utf8proc.h>

static_assert(std::endian::native == std::endian::little, "values are read from the file without swapping bytes");

namespace quern::gguf {

static constexpr uint64_t maxString = uint64_t(1) << 30;
static constexpr uint64_t maxKey = 65535;
static constexpr uint64_t maxTensorName = 64;
static constexpr uint64_t maxAlignment = uint64_t(1) << 30;
static constexpr uint64_t smallestKey = 8 + 4 + 1;            // empty key, one-byte value
static constexpr uint64_t smallestTensorInfo = 8 + 4 + 4 + 8; // empty name, no dimensions

static bool isUtf8(std::string_view text) {
  auto at = reinterpret_cast<const utf8proc_uint8_t *>(text.data());
  auto left = static_cast<utf8proc_ssize_t>(text.size());
  while (left > 0) {
    utf8proc_int32_t codepoint;
    utf8proc_ssize_t length = utf8proc_iterate(at, left, &codepoint);
    if (length <= 0)
      return false;
    at += length;
    left -= length;
  }
  return true;
}

/// Bytes of one element; 0 for strings and arrays, and for ids that are no value type.
static uint64_t elementSize(ValueType type) {
  static constexpr uint8_t sizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
  auto id = static_cast<uint32_t>(type);
  return id < std::size(sizes) ? sizes[id] : 0;
}

namespace {
class Parser {
public:
  Parser(std::span<const std::byte> bytes, const std::string &path, uint32_t part, const TypeTable &types)
      : bytes(bytes), path(path), part(part), types(types) {}

  Result<ParsedPart> parse();

private:
  /// Reads the next number; `what` and `subject` say where the file ended if it did.
  template <typename T> Result<T> number(std::string_view what, std::string_view subject = {});
  Result<std::string_view> string(uint64_t limit, std::string_view what, std::string_view subject = {});
  Status header();
  Status key();
  Result<Value> value(std::string_view key);
  Status packedElements(Value &value, std::string_view key);
  Status stringElements(Value &value, std::string_view key);
  Status readAlignment();
  Status tensorInfo();
  Status dimensions(Tensor &tensor);
  Status placeTensors();

  uint64_t left() const { return bytes.size() - at; }
  tl::unexpected<Error> error(const std::string &message) const { return fail(path + ": " + message); }
  tl::unexpected<Error> truncated(std::string_view what, std::string_view subject) const {
    return error("the file is truncated: it ends inside " + std::string(what) +
                 (subject.empty() ? "" : " of " + inQuotes(subject)));
  }

  std::span<const std::byte> bytes;
  const std::string &path;
  uint32_t part;
  const TypeTable &types;
  uint64_t at = 0;
  uint64_t tensorCount = 0, keyCount = 0;
  uint64_t alignment = 32;
  ParsedPart result;
};
} // namespace

template <typename T> Result<T> Parser::number(std::string_view what, std::string_view subject) {
  if (left() < sizeof(T))
    return truncated(what, subject);
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof(T));
  at += sizeof(T);
  return value;
}

Result<std::string_view> Parser::string(uint64_t limit, std::string_view what, std::string_view subject) {
  QUERN_ASSIGN(uint64_t length, number<uint64_t>(what, subject));
  if (length > limit)
    return error("a string of " + std::to_string(length) + " bytes where " + std::to_string(limit) +
                 " are allowed, in " + std::string(what) + (subject.empty() ? "" : " of " + inQuotes(subject)));
  if (length > left())
    return truncated(what, subject);
  std::string_view text(reinterpret_cast<const char *>(bytes.data()) + at, length);
  at += length;
  return text;
}

Status Parser::header() {
  if (bytes.size() < 4 || std::memcmp(bytes.data(), "GGUF", 4) != 0)
    return error("not a GGUF file: it does not begin with the letters GGUF");
  at = 4;
  QUERN_ASSIGN(result.version, number<uint32_t>("the header"));
  if (result.version != 0 && (result.version & 0xffff) == 0)
    return error("the file is big-endian; only little-endian GGUF files are supported");
  if (result.version != 2 && result.version != 3)
    return error("GGUF version " + std::to_string(result.version) + " is not supported; convert it to version 2 or 3");
  QUERN_ASSIGN(tensorCount, number<uint64_t>("the header"));
  QUERN_ASSIGN(keyCount, number<uint64_t>("the header"));
  if (keyCount > left() / smallestKey)
    return error("the header announces " + std::to_string(keyCount) + " metadata keys, more than the file can hold");
  if (tensorCount > left() / smallestTensorInfo)
    return error("the header announces " + std::to_string(tensorCount) + " tensors, more than the file can hold");
  return {};
}

Status Parser::packedElements(Value &value, std::string_view key) {
  uint64_t size = elementSize(value.type);
  if (value.count > left() / size)
    return truncated("the value", key);
  value.bytes = bytes.subspan(at, value.count * size);
  at += value.bytes.size();
  if (value.type == ValueType::Bool)
    for (std::byte byte : value.bytes)
      if (byte > std::byte{1})
        return error("the bool of key " + inQuotes(key) + " is neither 0 nor 1");
  return {};
}

Status Parser::stringElements(Value &value, std::string_view key) {
  if (value.count > left() / 8)
    return truncated("the value", key);
  value.strings.reserve(value.count);
  for (uint64_t i = 0; i < value.count; ++i) {
    QUERN_ASSIGN(std::string_view one, string(maxString, "the value", key));
    value.strings.push_back(one);
  }
  return {};
}

Result<Value> Parser::value(std::string_view key) {
  Value value;
  QUERN_ASSIGN(value.type, number<ValueType>("the value", key));
  if (value.type == ValueType::Array) {
    value.isArray = true;
    QUERN_ASSIGN(value.type, number<ValueType>("the value", key));
    QUERN_ASSIGN(value.count, number<uint64_t>("the value", key));
    if (value.type == ValueType::Array)
      return error("key " + inQuotes(key) + " is an array of arrays, which is not supported");
  }
  if (value.type == ValueType::String)
    QUERN_TRY(stringElements(value, key));
  else if (elementSize(value.type) != 0)
    QUERN_TRY(packedElements(value, key));
  else
    return error("key " + inQuotes(key) + " has the unknown value type " +
                 std::to_string(static_cast<uint32_t>(value.type)));
  return value;
}

Status Parser::key() {
  QUERN_ASSIGN(std::string_view name, string(maxKey, "a metadata key"));
  if (name.empty())
    return error("a metadata key is empty");
  if (!isUtf8(name))
    return error("a metadata key is not valid UTF-8 (key number " + std::to_string(result.metadata.size()) + ")");
  QUERN_ASSIGN(Value found, value(name));
  result.metadata.push_back({name, std::move(found)});
  return {};
}

Status Parser::readAlignment() {
  for (const File::Entry &entry : result.metadata) {
    if (entry.key != "general.alignment")
      continue;
    std::optional<uint64_t> found = entry.value.isArray ? std::nullopt : entry.value.integer<uint64_t>(0);
    if (!found || *found < 8 || *found > maxAlignment || !std::has_single_bit(*found))
      return error("key 'general.alignment' must be a power of two from 8 to " + std::to_string(maxAlignment));
    alignment = *found;
  }
  return {};
}

/// Reads the dimensions and computes the number of elements and of bytes; the data span gets its size, not its place.
Status Parser::dimensions(Tensor &tensor) {
  const std::string name = "tensor " + inQuotes(tensor.name);
  QUERN_ASSIGN(uint32_t rank, number<uint32_t>("the description", tensor.name));
  if (rank < 1 || rank > 4)
    return error(name + " has " + std::to_string(rank) + " dimensions; 1 to 4 are supported");
  tensor.elements = 1;
  for (uint32_t i = 0; i < rank; ++i) {
    QUERN_ASSIGN(uint64_t dim, number<uint64_t>("the description", tensor.name));
    if (dim == 0)
      return error(name + " has a dimension of size 0");
    if (dim > (uint64_t(1) << 62) / tensor.elements)
      return error(name + " has too many elements: the product of its dimensions overflows");
    tensor.elements *= dim;
    tensor.dims.push_back(dim);
  }
  return {};
}

Status Parser::tensorInfo() {
  Tensor tensor;
  tensor.part = part;
  QUERN_ASSIGN(tensor.name, string(maxTensorName, "a tensor's name"));
  if (tensor.name.empty())
    return error("a tensor has an empty name");
  if (!isUtf8(tensor.name))
    return error("a tensor's name is not valid UTF-8 (tensor number " + std::to_string(result.tensors.size()) + ")");
  QUERN_TRY(dimensions(tensor));
  QUERN_ASSIGN(tensor.typeId, number<uint32_t>("the description", tensor.name));
  QUERN_ASSIGN(tensor.offset, number<uint64_t>("the description", tensor.name));
  tensor.type = types.find(tensor.typeId);
  const std::string name = "tensor " + inQuotes(tensor.name);
  if (!tensor.type || TypeTable::isOwn(tensor.typeId))
    return error(name + " has the unsupported type " + std::to_string(tensor.typeId) + "; supported are " +
                 types.supported());
  if (tensor.dims[0] % tensor.type->block != 0)
    return error(name + ": its first dimension " + std::to_string(tensor.dims[0]) +
                 " is not a multiple of the block of " + std::to_string(tensor.type->block) + " elements of " +
                 tensor.type->name);
  result.tensors.push_back(std::move(tensor));
  return {};
}

/// Turns offsets inside the data section into spans of the part.
Status Parser::placeTensors() {
  if (result.tensors.empty())
    return {};
  uint64_t start = (at + alignment - 1) / alignment * alignment; // no overflow: both are far below 2^63
  uint64_t size = start < bytes.size() ? bytes.size() - start : 0;
  for (Tensor &tensor : result.tensors) {
    const std::string name = "tensor " + inQuotes(tensor.name);
    if (tensor.offset % alignment != 0)
      return error(name + ": its offset " + std::to_string(tensor.offset) + " is not a multiple of the alignment " +
                   std::to_string(alignment));
    uint64_t blocks = tensor.elements / tensor.type->block;
    if (tensor.offset > size || blocks > (size - tensor.offset) / tensor.type->bytes)
      return error(name + " reaches beyond the end of the file; the file may be truncated");
    tensor.offset += start;
    tensor.data = bytes.subspan(tensor.offset, blocks * tensor.type->bytes);
  }
  return {};
}

Result<ParsedPart> Parser::parse() {
  QUERN_TRY(header());
  std::unordered_set<std::string_view> seen;
  for (uint64_t i = 0; i < keyCount; ++i) {
    QUERN_TRY(key());
    if (!seen.insert(result.metadata.back().key).second)
      return error("metadata key " + inQuotes(result.metadata.back().key) + " appears twice");
  }
  QUERN_TRY(readAlignment());
  for (uint64_t i = 0; i < tensorCount; ++i)
    QUERN_TRY(tensorInfo());
  QUERN_TRY(placeTensors());
  return std::move(result);
}

Result<ParsedPart> parsePart(std::span<const std::byte> bytes, const std::string &path, uint32_t part,
                             const TypeTable &types) {
  return Parser(bytes, path, part, types).parse();
}

} // namespace quern::gguf
