// The bytes of a tensor: raw, in a typed field of the message, or in a file beside the model.
#include "quern/Import/Onnx/OnnxFile.h"
#include "quern/Support/Quoted.h"

#include <charconv>
#include <filesystem>
#include <optional>

using namespace quern;
using namespace quern::import;
namespace fs = std::filesystem;

static std::string nameOf(const onnx::TensorProto &tensor) { return "tensor " + inQuotes(tensor.name()); }

static std::span<const std::byte> asBytes(const std::string &text) { return std::as_bytes(std::span(text)); }

/// Appends the low bytes of each number.
template <typename Field> static void append(std::string &out, const Field &values, size_t bytes) {
  for (auto value : values)
    out.append(reinterpret_cast<const char *>(&value), bytes);
}

/// What the typed fields hold, as raw bytes (this code runs on little-endian machines only).
static std::string collectFields(const onnx::TensorProto &tensor, const OnnxType &type) {
  std::string out;
  switch (tensor.data_type()) {
  case onnx::TensorProto::FLOAT:
  case onnx::TensorProto::COMPLEX64:
    append(out, tensor.float_data(), sizeof(float));
    break;
  case onnx::TensorProto::DOUBLE:
  case onnx::TensorProto::COMPLEX128:
    append(out, tensor.double_data(), sizeof(double));
    break;
  case onnx::TensorProto::INT64:
    append(out, tensor.int64_data(), 8);
    break;
  case onnx::TensorProto::UINT32:
  case onnx::TensorProto::UINT64:
    append(out, tensor.uint64_data(), size_t(type.bits) / 8);
    break;
  default: // an entry holds one element, or a byte of packed ones
    append(out, tensor.int32_data(), size_t(std::max(type.bits, 8)) / 8);
  }
  return out;
}

Result<std::span<const std::byte>> OnnxFile::data(const onnx::TensorProto &tensor) {
  const OnnxType *type = onnxType(tensor.data_type());
  if (!type)
    return wrong(nameOf(tensor), "has the unknown element type " + std::to_string(tensor.data_type()));
  if (tensor.has_segment())
    return wrong(nameOf(tensor), "is stored in segments, which nothing writes today; save the model again");
  auto count = countElements({tensor.dims().data(), size_t(tensor.dims_size())});
  if (!count)
    return wrong(nameOf(tensor), count.error().message);
  if (type->bits == 0)
    return std::span<const std::byte>(); // strings stay where they are
  int64_t bits;
  if (__builtin_mul_overflow(*count, int64_t(type->bits), &bits) || bits > INT64_MAX - 7)
    return wrong(nameOf(tensor), "its dimensions multiply to more bytes than any machine holds");
  int64_t bytes = (bits + 7) / 8;
  if (tensor.data_location() == onnx::TensorProto::EXTERNAL)
    return external(tensor, bytes);
  std::span<const std::byte> found = asBytes(tensor.raw_data());
  if (auto mapped = unparsed.find(&tensor); mapped != unparsed.end()) {
    found = mapped->second;
  } else if (!tensor.has_raw_data()) {
    auto known = owned.find(&tensor);
    if (known == owned.end())
      known = owned.emplace(&tensor, collectFields(tensor, *type)).first;
    found = asBytes(known->second);
  }
  if (int64_t(found.size()) != bytes)
    return wrong(nameOf(tensor), "has " + std::to_string(found.size()) +
                                     " bytes of data, but its dimensions and type " + type->name + " ask for " +
                                     std::to_string(bytes));
  return found;
}

/// A decimal number of at least 0.
static std::optional<int64_t> parseCount(const std::string &text) {
  int64_t value = -1;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0)
    return std::nullopt;
  return value;
}

Result<std::span<const std::byte>> OnnxFile::external(const onnx::TensorProto &tensor, int64_t bytes) {
  std::string location;
  int64_t offset = 0, length = bytes;
  for (const onnx::StringStringEntryProto &entry : tensor.external_data()) {
    if (entry.key() == "location")
      location = entry.value();
    if (entry.key() != "offset" && entry.key() != "length")
      continue;
    std::optional<int64_t> number = parseCount(entry.value());
    if (!number)
      return wrong(nameOf(tensor), "the " + entry.key() + " of its external data is " + inQuotes(entry.value()) +
                                       ", which is no size in bytes");
    (entry.key() == "offset" ? offset : length) = *number;
  }
  if (length != bytes)
    return wrong(nameOf(tensor), "its external data has " + std::to_string(length) +
                                     " bytes, but its dimensions and type ask for " + std::to_string(bytes));
  QUERN_ASSIGN(std::span<const std::byte> whole, mapped(location, nameOf(tensor)));
  if (uint64_t(offset) > whole.size() || uint64_t(length) > whole.size() - uint64_t(offset))
    return wrong(nameOf(tensor), "its external data reaches from byte " + std::to_string(offset) + " over " +
                                     std::to_string(length) + " bytes, but " + inQuotes(location) + " has only " +
                                     std::to_string(whole.size()));
  return whole.subspan(size_t(offset), size_t(length));
}

/// The file at `location`, which must lie in the model's folder even when links are followed: a model must not be able
/// to read other files of its user.
Result<std::span<const std::byte>> OnnxFile::mapped(const std::string &location, const std::string &tensor) {
  auto known = files.find(location);
  if (known != files.end())
    return known->second.bytes();
  if (location.empty())
    return wrong(tensor, "is stored outside the file, but no location says where");
  std::error_code error;
  fs::path folder = fs::weakly_canonical(fs::absolute(where, error).parent_path(), error);
  fs::path target = fs::weakly_canonical(folder / location, error);
  fs::path inside = target.lexically_relative(folder);
  bool leaves = error || fs::path(location).is_absolute() || inside.empty() || *inside.begin() == "..";
  for (const fs::path &part : fs::path(location))
    leaves |= part == "..";
  if (leaves)
    return wrong(tensor, "its external data " + inQuotes(location) +
                             " lies outside the model's folder; only files in that "
                             "folder are read");
  auto file = MappedFile::open(target.string());
  if (!file)
    return wrong(tensor, "its external data cannot be read: " + file.error().message);
  return files.emplace(location, *std::move(file)).first->second.bytes();
}
