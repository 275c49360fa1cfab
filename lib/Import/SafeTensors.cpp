// The layout: u64 length of the header, the header (JSON), the data of all tensors without gaps to the end of the file.
#include "quern/Import/SafeTensors.h"
#include "SafeTensorsHeader.h"
#include "quern/Support/Half.h"
#include "quern/Support/Json.h"
#include "quern/Support/Quoted.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <set>

using namespace quern;
using namespace quern::safetensors;

namespace {
struct DType {
  std::string_view name;
  uint32_t bits;
};
} // namespace

static constexpr DType kTypes[] = {
    {"BOOL", 8},    {"U8", 8},          {"I8", 8},          {"F8_E4M3", 8}, {"F8_E5M2", 8}, {"F8_E8M0", 8},
    {"I16", 16},    {"U16", 16},        {"F16", 16},        {"BF16", 16},   {"I32", 32},    {"U32", 32},
    {"F32", 32},    {"I64", 64},        {"U64", 64},        {"F64", 64},    {"C64", 64},    {"F4", 4},
    {"F6_E2M3", 6}, {"F6_E3M2", 6},     {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8}};

/// Bytes of `count` elements, or nothing if that is no whole number of bytes or overflows.
static std::optional<uint64_t> byteSize(uint64_t count, uint32_t bits) {
  uint64_t total;
  if (__builtin_mul_overflow(count, uint64_t(bits), &total) || total % 8 != 0)
    return std::nullopt;
  return total / 8;
}

std::vector<float> safetensors::toFloats(const Tensor &tensor) {
  std::vector<float> values(tensor.elements);
  if (tensor.bits == 32) {
    std::memcpy(values.data(), tensor.data.data(), tensor.data.size());
    return values;
  }
  for (size_t i = 0; i < values.size(); ++i) {
    uint16_t bits;
    std::memcpy(&bits, tensor.data.data() + 2 * i, sizeof bits);
    values[i] = tensor.dtype == "BF16" ? bfloatToFloat(bits) : halfToFloat(bits);
  }
  return values;
}

/// Checks one entry by itself; `data` is everything after the header.
static Result<Tensor> describe(HeaderEntry &entry, std::span<const std::byte> data, uint64_t start, uint32_t part) {
  const std::string name = "tensor " + inQuotes(entry.name);
  auto type = std::ranges::find(kTypes, std::string_view(entry.dtype), &DType::name);
  if (type == std::end(kTypes))
    return fail(name + " has the unknown element type " + inQuotes(entry.dtype));
  uint64_t elements = 1, begin = entry.offsets[0], end = entry.offsets[1];
  for (uint64_t dim : entry.shape)
    if (__builtin_mul_overflow(elements, dim, &elements))
      return fail(name + " has more elements than 64 bits can count");
  std::optional<uint64_t> bytes = byteSize(elements, type->bits);
  if (!bytes)
    return fail(name + " has a size that is no whole number of bytes, or too large a one");
  if (begin > end || end > data.size())
    return fail(name + " lies at bytes " + std::to_string(begin) + " to " + std::to_string(end) + " of " +
                std::to_string(data.size()) + "; the file may be truncated");
  if (end - begin != *bytes)
    return fail(name + " takes " + std::to_string(end - begin) + " bytes, but its shape and type say " +
                std::to_string(*bytes));
  if ((start + begin) % std::max(1u, type->bits / 8) != 0)
    return fail(name + " is not aligned: byte " + std::to_string(start + begin) + " is no multiple of the size of " +
                entry.dtype + "; save the checkpoint again with a current writer");
  return Tensor{std::move(entry.name), type->name,         type->bits, std::move(entry.shape), elements,
                data.subspan(begin, *bytes), part, start + begin};
}

/// Tensors in the order of their data must follow one another, from the first byte to the last.
static Status checkPlaces(const std::vector<Tensor> &tensors, uint64_t start, uint64_t fileSize) {
  uint64_t at = start;
  for (const Tensor &tensor : tensors) {
    if (tensor.offset < at)
      return fail("tensor " + inQuotes(tensor.name) + " overlaps another one");
    if (tensor.offset > at)
      return fail("there is a gap of " + std::to_string(tensor.offset - at) + " bytes before tensor " +
                  inQuotes(tensor.name));
    at += tensor.data.size();
  }
  if (at != fileSize)
    return fail(std::to_string(fileSize - at) + " bytes at its end belong to no tensor");
  return {};
}

Result<std::vector<Tensor>> safetensors::parse(std::span<const std::byte> bytes, const std::string &path,
                                               uint32_t part) {
  uint64_t length = 0;
  if (bytes.size() < sizeof length)
    return fail(path + ": is too short for a safetensors file");
  std::memcpy(&length, bytes.data(), sizeof length);
  if (length > kMaxHeader)
    return fail(path + ": says that its header has " + std::to_string(length) + " bytes, more than the " +
                std::to_string(kMaxHeader) + " that safetensors allows; this is no safetensors file, or a damaged one");
  if (length > bytes.size() - sizeof length)
    return fail(path + ": its header of " + std::to_string(length) + " bytes reaches beyond the end of the file");
  std::string_view text(reinterpret_cast<const char *>(bytes.data()) + sizeof length, length);
  if (!text.starts_with('{'))
    return fail(path + ": its header does not begin with '{'; this is no safetensors file");
  auto entries = parseHeader(text);
  if (!entries)
    return fail(path + ": bad header: " + entries.error().message);
  uint64_t start = sizeof length + length;
  std::vector<Tensor> tensors;
  for (HeaderEntry &entry : *entries) {
    auto tensor = describe(entry, bytes.subspan(start), start, part);
    if (!tensor)
      return fail(path + ": " + tensor.error().message);
    tensors.push_back(*std::move(tensor));
  }
  std::ranges::sort(tensors, {}, [](const Tensor &t) { return std::pair(t.offset, t.data.size()); });
  if (Status placed = checkPlaces(tensors, start, bytes.size()); !placed)
    return fail(path + ": " + placed.error().message);
  return tensors;
}

const Tensor *Checkpoint::find(const std::string &name) const {
  auto found = byName.find(name);
  return found == byName.end() ? nullptr : &found->second;
}

Status Checkpoint::addPart(const std::string &path) {
  QUERN_ASSIGN(MappedFile mapping, MappedFile::open(path));
  QUERN_ASSIGN(std::vector<Tensor> tensors, parse(mapping.bytes(), path, static_cast<uint32_t>(partList.size())));
  partList.push_back({path, std::move(mapping)});
  for (Tensor &tensor : tensors) {
    std::string name = tensor.name;
    if (auto [place, isNew] = byName.try_emplace(name, std::move(tensor)); !isNew)
      return fail(path + ": tensor " + inQuotes(name) + " is also in " + partList[place->second.part].path);
  }
  return {};
}

/// A file's name without a folder: an index must not lead out of its own.
static bool isPlainName(const std::string &name) {
  return name.ends_with(".safetensors") && name.find_first_of(std::string_view("/\\\0", 3)) == std::string::npos;
}

Status Checkpoint::addShards(const std::string &folder, const std::string &index) {
  QUERN_ASSIGN(MappedFile mapping, MappedFile::open(index));
  std::span<const std::byte> bytes = mapping.bytes();
  if (bytes.size() > kMaxHeader)
    return fail(index + ": has more than " + std::to_string(kMaxHeader) + " bytes");
  auto json = parseJson({reinterpret_cast<const char *>(bytes.data()), bytes.size()});
  auto map = json.is_object() ? json.find("weight_map") : json.end();
  if (!json.is_object() || map == json.end() || !map->is_object() || map->empty())
    return fail(index + ": has no object 'weight_map' that says which file holds which tensor");
  std::set<std::string> files;
  for (const auto &[name, file] : map->items()) {
    if (!file.is_string() || !isPlainName(file.get<std::string>()))
      return fail(index + ": the file of tensor " + inQuotes(name) +
                  " must be the plain name of a .safetensors file");
    files.insert(file.get<std::string>());
  }
  for (const std::string &file : files)
    QUERN_TRY(addPart(folder + "/" + file));
  for (const auto &[name, file] : map->items()) {
    const Tensor *tensor = find(name);
    if (!tensor || partList[tensor->part].path != folder + "/" + file.get<std::string>())
      return fail(index + ": tensor " + inQuotes(name) + " is not in " + inQuotes(file.get<std::string>()));
  }
  if (map->size() != byName.size())
    return fail(index + ": lists " + std::to_string(map->size()) + " tensors, but its files hold " +
                std::to_string(byName.size()));
  return {};
}

Result<Checkpoint> Checkpoint::open(const std::string &folder) {
  Checkpoint checkpoint;
  const std::string single = folder + "/model.safetensors", index = single + ".index.json";
  std::error_code ignored;
  if (std::filesystem::exists(single, ignored))
    QUERN_TRY(checkpoint.addPart(single));
  else if (std::filesystem::exists(index, ignored))
    QUERN_TRY(checkpoint.addShards(folder, index));
  else
    return fail(folder + ": has neither model.safetensors nor model.safetensors.index.json");
  return checkpoint;
}
