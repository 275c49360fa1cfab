// Copies a message field by field, in protobuf's wire format: each field is a tag, number * 8 + kind, and a varint
// (kind 0), 8 bytes (1), a length and as many bytes (2), or 4 bytes (5).
#include "LeanMessage.h"

#include <cstdint>

using namespace quern::import;
using Bytes = std::span<const std::byte>;

/// Numbers of fields: of the graph in ModelProto, initializers in GraphProto, raw_data in TensorProto.
static constexpr uint64_t kGraph = 7, kInitializer = 5, kRawData = 9;
static constexpr size_t kLarge = 4096; ///< bytes of data that are left out

namespace {
struct Field {
  uint64_t number = 0, kind = 0;
  Bytes whole;   ///< with tag and length
  Bytes content; ///< of kind 2
};
} // namespace

/// Of at most `bits` bits.
static std::optional<uint64_t> takeVarint(Bytes &from, unsigned bits = 64) {
  uint64_t value = 0;
  for (unsigned shift = 0; shift < bits && !from.empty(); shift += 7) {
    auto byte = std::to_integer<uint64_t>(from.front());
    from = from.subspan(1);
    value |= (byte & 127) << shift;
    if (byte < 128)
      return bits < 64 && value >> bits ? std::nullopt : std::optional(value);
  }
  return std::nullopt;
}

static std::optional<Field> takeField(Bytes &from) {
  Field field;
  Bytes start = from;
  std::optional<uint64_t> tag = takeVarint(from, 32);
  if (!tag)
    return std::nullopt;
  field.number = *tag >> 3;
  field.kind = *tag & 7;
  std::optional<uint64_t> length;
  if (field.kind == 0)
    length = takeVarint(from) ? std::optional<uint64_t>(0) : std::nullopt;
  else if (field.kind == 2)
    length = takeVarint(from, 32);
  else if (field.kind == 1 || field.kind == 5)
    length = field.kind == 1 ? 8 : 4;
  if (!length || *length > from.size())
    return std::nullopt;
  field.content = from.first(*length);
  from = from.subspan(*length);
  field.whole = start.first(start.size() - from.size());
  return field;
}

static void putVarint(std::string &out, uint64_t value) {
  for (; value >= 128; value >>= 7)
    out.push_back(static_cast<char>((value & 127) | 128));
  out.push_back(static_cast<char>(value));
}

static void putField(std::string &out, uint64_t number, const std::string &content) {
  putVarint(out, number << 3 | 2);
  putVarint(out, content.size());
  out += content;
}

static void put(std::string &out, Bytes bytes) {
  out.append(reinterpret_cast<const char *>(bytes.data()), bytes.size());
}

/// Copies all fields but those of `number` that hold bytes, which `replace` gives new content for or declines.
template <typename Replace> static std::optional<std::string> copy(Bytes message, uint64_t number, Replace replace) {
  std::string out;
  while (!message.empty()) {
    std::optional<Field> field = takeField(message);
    if (!field)
      return std::nullopt;
    if (field->number != number || field->kind != 2) {
      put(out, field->whole);
      continue;
    }
    std::optional<std::string> content = replace(field->content);
    if (!content)
      return std::nullopt;
    putField(out, number, *content);
  }
  return out;
}

/// Copies a tensor without its data, which `found` becomes.
static std::optional<std::string> copyTensor(Bytes tensor, Bytes &found) {
  int count = 0;
  auto out = copy(tensor, kRawData, [&](Bytes data) {
    found = data;
    return ++count == 1 ? std::optional<std::string>("") : std::nullopt;
  });
  return count == 1 ? out : std::nullopt;
}

std::optional<LeanMessage> quern::import::leaveOutData(Bytes model) {
  LeanMessage lean;
  int graphs = 0, initializers = 0;
  auto initializer = [&](Bytes tensor) -> std::optional<std::string> {
    Bytes data;
    std::optional<std::string> without = tensor.size() < kLarge ? std::nullopt : copyTensor(tensor, data);
    int number = initializers++;
    if (!without || data.size() < kLarge) {
      std::string whole;
      put(whole, tensor);
      return whole;
    }
    lean.data.emplace_back(number, data);
    return without;
  };
  auto graph = [&](Bytes content) {
    return ++graphs == 1 ? copy(content, kInitializer, initializer) : std::nullopt;
  };
  std::optional<std::string> message = copy(model, kGraph, graph);
  if (!message)
    return std::nullopt;
  lean.message = *std::move(message);
  return lean;
}
