#include "quern/Import/GGUF.h"
#include "GGUFParser.h"
#include "quern/Support/Quoted.h"

#include <algorithm>
#include <cstdio>
#include <cstring>

using namespace quern;
using namespace quern::gguf;

TypeTable::TypeTable()
    : types{{0, {"F32", 1, 4}},  {1, {"F16", 1, 2}},  {24, {"I8", 1, 1}},  {25, {"I16", 1, 2}},
            {26, {"I32", 1, 4}}, {27, {"I64", 1, 8}}, {28, {"F64", 1, 8}}, {30, {"BF16", 1, 2}}} {}

TypeTable::TypeTable(std::span<const formats::FormatSpec> specs) : TypeTable() {
  for (const formats::FormatSpec &spec : specs)
    add(spec);
}

void TypeTable::add(const formats::FormatSpec &spec) {
  uint32_t id = static_cast<uint32_t>(spec.ggufType);
  if (spec.ggufType < 0)
    for (id = kFirstOwn; formats.contains(id);)
      ++id;
  add(id, {spec.name, spec.block, spec.bytes});
  formats.insert_or_assign(id, spec);
}

uint32_t TypeTable::idOf(std::string_view name) const {
  for (const auto &[id, spec] : formats)
    if (spec.name == name)
      return id;
  return UINT32_MAX;
}

const formats::FormatSpec *TypeTable::format(uint32_t id) const {
  auto found = formats.find(id);
  return found == formats.end() ? nullptr : &found->second;
}

const TypeInfo *TypeTable::find(uint32_t id) const {
  auto found = types.find(id);
  return found == types.end() ? nullptr : &found->second;
}

std::string TypeTable::supported() const {
  std::string list;
  for (const auto &[id, info] : types)
    if (!isOwn(id))
      list += (list.empty() ? "" : ", ") + info.name + " (" + std::to_string(id) + ")";
  return list;
}

std::string_view gguf::typeName(ValueType type) {
  static constexpr std::string_view names[] = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                               "bool", "string", "array", "u64", "i64", "f64"};
  auto id = static_cast<uint32_t>(type);
  return id < std::size(names) ? names[id] : "unknown";
}

template <typename T> static T load(const Value &value, uint64_t i) {
  T element;
  std::memcpy(&element, value.bytes.data() + i * sizeof(T), sizeof(T));
  return element;
}

std::optional<Value::WideInt> Value::wideInteger(uint64_t i) const {
  auto fromSigned = [](int64_t v) { return WideInt{v < 0, static_cast<uint64_t>(v)}; };
  switch (type) {
  case ValueType::U8:
  case ValueType::Bool:
    return WideInt{false, load<uint8_t>(*this, i)};
  case ValueType::U16:
    return WideInt{false, load<uint16_t>(*this, i)};
  case ValueType::U32:
    return WideInt{false, load<uint32_t>(*this, i)};
  case ValueType::U64:
    return WideInt{false, load<uint64_t>(*this, i)};
  case ValueType::I8:
    return fromSigned(load<int8_t>(*this, i));
  case ValueType::I16:
    return fromSigned(load<int16_t>(*this, i));
  case ValueType::I32:
    return fromSigned(load<int32_t>(*this, i));
  case ValueType::I64:
    return fromSigned(load<int64_t>(*this, i));
  default:
    return std::nullopt;
  }
}

std::optional<double> Value::real(uint64_t i) const {
  if (type == ValueType::F32)
    return load<float>(*this, i);
  if (type == ValueType::F64)
    return load<double>(*this, i);
  std::optional<WideInt> wide = type == ValueType::Bool ? std::nullopt : wideInteger(i);
  if (!wide)
    return std::nullopt;
  return wide->negative ? static_cast<double>(static_cast<int64_t>(wide->bits)) : static_cast<double>(wide->bits);
}

const Tensor *File::tensor(std::string_view name) const {
  auto found = tensorIndex.find(name);
  return found == tensorIndex.end() ? nullptr : &tensorList[found->second];
}

std::span<const std::string> File::origins(std::string_view name) const {
  auto found = originMap.find(name);
  return found == originMap.end() ? std::span<const std::string>() : found->second;
}

std::string File::described(std::string_view name) const {
  std::span<const std::string> from = origins(name);
  return from.empty() ? inQuotes(name) : inQuotes(from.front()) + " (" + std::string(name) + ")";
}

Result<std::span<const std::byte>> File::read(uint64_t part, uint64_t offset, uint64_t bytes,
                                              std::vector<std::byte> &room) const {
  if (part >= partList.size())
    return fail(path() + ": has no part " + std::to_string(part));
  auto found = made.find(part);
  std::span<const std::byte> mapped = partList[part].bytes;
  uint64_t size = found == made.end() ? mapped.size() : found->second.count * found->second.bytes;
  if (offset > size || bytes > size - offset)
    return fail(partList[part].path + ": part " + std::to_string(part) + " has " + std::to_string(size) +
                " bytes, but " + std::to_string(bytes) + " at " + std::to_string(offset) + " are asked for");
  if (found == made.end())
    return mapped.subspan(offset, bytes);
  uint64_t rowBytes = found->second.bytes;
  if (offset % rowBytes != 0 || bytes % rowBytes != 0)
    return fail(partList[part].path + ": part " + std::to_string(part) + " is made in rows of " +
                std::to_string(rowBytes) + " bytes, and only whole ones can be read");
  room.resize(bytes);
  found->second.make(offset / rowBytes, bytes / rowBytes, room.data());
  return room;
}

std::span<const std::byte> File::rows(const Tensor &tensor, uint64_t first, uint64_t count,
                                      std::vector<std::byte> &room) const {
  uint64_t rowBytes = tensor.rowBytes();
  return *read(tensor.part, tensor.offset + first * rowBytes, count * rowBytes, room);
}

void File::release(std::span<const std::byte> data) const {
  for (const MappedFile &mapping : mappings)
    mapping.release(data);
}

const Value *File::value(std::string_view key) const {
  auto found = entryIndex.find(key);
  return found == entryIndex.end() ? nullptr : &entries[found->second].value;
}

tl::unexpected<Error> File::wrongKind(std::string_view key, const Value &value, const std::string &wanted) const {
  return fail(path() + ": metadata key " + inQuotes(key) + " must be " + wanted + ", but is " +
              (value.isArray ? "an array of " : "") + std::string(typeName(value.type)) +
              (value.isArray || value.type == ValueType::String ? "" : " or out of range"));
}

tl::unexpected<Error> File::missing(std::string_view key) const {
  return fail(path() + ": metadata key " + inQuotes(key) + " is missing");
}

Result<std::vector<File::Entry>> File::addPart(std::span<const std::byte> bytes, const std::string &path,
                                               const TypeTable &types) {
  QUERN_ASSIGN(ParsedPart parsed, parsePart(bytes, path, static_cast<uint32_t>(partList.size()), types));
  partList.push_back({path, parsed.version, bytes});
  for (Tensor &tensor : parsed.tensors) {
    tensor.type = &usedTypes.try_emplace(tensor.typeId, *tensor.type).first->second;
    tensorList.push_back(std::move(tensor));
  }
  return std::move(parsed.metadata);
}

void File::keepMetadata(std::vector<Entry> metadata) {
  entries = std::move(metadata);
  for (size_t i = 0; i < entries.size(); ++i)
    entryIndex.emplace(entries[i].key, i);
}

Status File::indexTensors() {
  std::vector<const Tensor *> placed;
  for (size_t i = 0; i < tensorList.size(); ++i) {
    const Tensor &tensor = tensorList[i];
    placed.push_back(&tensor);
    if (!tensorIndex.emplace(tensor.name, i).second)
      return fail(partList[tensor.part].path + ": tensor " + inQuotes(tensor.name) + " appears twice");
  }
  std::sort(placed.begin(), placed.end(), [](const Tensor *a, const Tensor *b) {
    return std::pair(a->part, a->offset) < std::pair(b->part, b->offset);
  });
  for (size_t i = 1; i < placed.size(); ++i) {
    const Tensor &before = *placed[i - 1], &after = *placed[i];
    if (before.part == after.part && before.offset + before.bytes() > after.offset)
      return fail(partList[after.part].path + ": tensors " + inQuotes(before.name) + " and " + inQuotes(after.name) +
                  " overlap");
  }
  return {};
}

Result<File> File::fromBytes(std::span<const std::byte> bytes, const std::string &label, const TypeTable &types) {
  File file;
  QUERN_ASSIGN(std::vector<Entry> metadata, file.addPart(bytes, label, types));
  file.keepMetadata(std::move(metadata));
  QUERN_ASSIGN(std::optional<uint32_t> count, file.find<uint32_t>("split.count"));
  if (count.value_or(1) > 1)
    return fail(label + ": is one part of a split file, which can only be opened by its path");
  QUERN_TRY(file.indexTensors());
  return file;
}

static std::string siblingSuffix(uint32_t number, uint32_t count) {
  char suffix[64];
  std::snprintf(suffix, sizeof suffix, "-%05u-of-%05u.gguf", number, count);
  return suffix;
}

Status File::addSiblings(uint32_t count, const TypeTable &types) {
  const std::string first = path();
  const std::string suffix = siblingSuffix(1, count);
  if (!first.ends_with(suffix))
    return fail(first + ": is the first of " + std::to_string(count) + " parts, so its name must end in " + suffix);
  const std::string prefix = first.substr(0, first.size() - suffix.size());
  for (uint32_t i = 1; i < count; ++i) {
    const std::string sibling = prefix + siblingSuffix(i + 1, count);
    QUERN_ASSIGN(MappedFile mapping, MappedFile::open(sibling));
    QUERN_ASSIGN(std::vector<Entry> metadata, addPart(mapping.bytes(), sibling, types));
    mappings.push_back(std::move(mapping));
    auto holds = [&](std::string_view key, uint64_t wanted) {
      return std::any_of(metadata.begin(), metadata.end(), [&](const Entry &entry) {
        return entry.key == key && !entry.value.isArray && entry.value.integer<uint64_t>(0) == wanted;
      });
    };
    if (!holds("split.no", i) || !holds("split.count", count))
      return fail(sibling + ": does not say in 'split.no' and 'split.count' that it is part " + std::to_string(i + 1) +
                  " of " + std::to_string(count));
  }
  QUERN_ASSIGN(std::optional<uint64_t> total, find<uint64_t>("split.tensors.count"));
  if (total && *total != tensorList.size())
    return fail(first + ": 'split.tensors.count' is " + std::to_string(*total) + ", but the parts hold " +
                std::to_string(tensorList.size()) + " tensors");
  return {};
}

Result<File> File::open(const std::string &path, const TypeTable &types) {
  File file;
  QUERN_ASSIGN(MappedFile mapping, MappedFile::open(path));
  QUERN_ASSIGN(std::vector<Entry> metadata, file.addPart(mapping.bytes(), path, types));
  file.mappings.push_back(std::move(mapping));
  file.keepMetadata(std::move(metadata));
  QUERN_ASSIGN(std::optional<uint32_t> count, file.find<uint32_t>("split.count"));
  QUERN_ASSIGN(std::optional<uint32_t> number, file.find<uint32_t>("split.no"));
  if (number.value_or(0) != 0)
    return fail(path + ": is part " + std::to_string(*number + 1) +
                " of a split file; give the first part, ending in " + siblingSuffix(1, count.value_or(0)));
  if (count.value_or(1) > 1)
    QUERN_TRY(file.addSiblings(*count, types));
  QUERN_TRY(file.indexTensors());
  return file;
}
