// Reads GGUF files, versions 2 and 3, split files included: metadata, and tensors as spans of the mapped file.
// Trusts nothing: every count, length and offset is checked against the file's end before it is used, so a File that
// opened is consistent, and each refusal is one sentence naming the file and the tensor or key. Free of MLIR.
#ifndef QUERN_IMPORT_GGUF_H
#define QUERN_IMPORT_GGUF_H

#include "quern/Formats/FormatSpec.h"
#include "quern/Support/MappedFile.h"
#include "quern/Support/Result.h"

#include <concepts>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

namespace quern::gguf {

/// How a tensor type is stored: `bytes` bytes for every `block` elements along ne0.
struct TypeInfo {
  std::string name;
  uint32_t block;
  uint32_t bytes;
};

/// Tensor types by GGUF id. A new table knows the plain types (F32, F16, BF16, F64, I8 to I64); the block formats are
/// added from their descriptions, so that the reader has no list of its own.
class TypeTable {
public:
  TypeTable();
  explicit TypeTable(std::span<const formats::FormatSpec> specs);

  /// Adds the format under its GGUF id, or, if GGUF does not have it (id -1), under an id of our own.
  void add(const formats::FormatSpec &spec);
  void add(uint32_t id, TypeInfo info) { types[id] = std::move(info); }

  const TypeInfo *find(uint32_t id) const;
  /// The id of a block format by its name; one that nothing has if there is no such format.
  uint32_t idOf(std::string_view name) const;
  /// True of formats that GGUF does not have: no file holds such ids.
  static bool isOwn(uint32_t id) { return id >= kFirstOwn; }
  /// The description of a block format; null for plain types.
  const formats::FormatSpec *format(uint32_t id) const;
  /// The names of all that GGUF has, as "F32 (0), F16 (1), ...", for error messages.
  std::string supported() const;

private:
  static constexpr uint32_t kFirstOwn = uint32_t(1) << 31;
  std::map<uint32_t, TypeInfo> types;
  std::map<uint32_t, formats::FormatSpec> formats;
};

/// Metadata value types with their ids in the file.
enum class ValueType : uint32_t { U8, I8, U16, I16, U32, I32, F32, Bool, String, Array, U64, I64, F64 };

/// "u32", "string", ...
std::string_view typeName(ValueType type);

/// One metadata value. Scalars are arrays of count 1 with isArray false. Strings are views into the file.
struct Value {
  ValueType type = ValueType::U8; ///< of the scalar, or of the array's elements; never Array
  bool isArray = false;
  uint64_t count = 1;
  std::span<const std::byte> bytes;      ///< packed little-endian elements, unaligned; empty for strings
  std::vector<std::string_view> strings; ///< one for each element, of strings only

  /// Element i as an integer (bool gives 0 or 1), if the type is one and it fits in T.
  template <std::integral T> std::optional<T> integer(uint64_t i) const;
  /// Element i as a real number, if the type is an integer or a float.
  std::optional<double> real(uint64_t i) const;

private:
  struct WideInt {
    bool negative;
    uint64_t bits; // two's complement
  };
  std::optional<WideInt> wideInteger(uint64_t i) const;
};

struct Tensor {
  std::string_view name;
  uint32_t typeId;
  const TypeInfo *type;       ///< from the file's own table; lives as long as the File
  std::vector<uint64_t> dims; ///< as in the file: ne0, the contiguous dimension, first; 1 to 4, all positive
  uint64_t elements;          ///< product of dims
  std::span<const std::byte> data; ///< empty if its rows are made when they are read; see File::rows
  uint32_t part;   ///< which of the file's parts holds it
  uint64_t offset; ///< of the first byte, from the start of that part

  uint64_t rows() const { return elements / dims[0]; }
  uint64_t rowBytes() const { return dims[0] / type->block * type->bytes; }
  uint64_t bytes() const { return rows() * rowBytes(); }
};

/// Makes rows `first` to `first + count` of a tensor, one after another at `out`. Several threads may call it at once.
using RowMaker = std::function<void(uint64_t first, uint64_t count, std::byte *out)>;

/// An opened GGUF model: all parts stay mapped while it lives. Movable; views and tensor pointers survive a move.
class File {
public:
  /// Opens `path`. If its metadata says that it is the first part of a split file, also opens the sibling parts.
  static Result<File> open(const std::string &path, const TypeTable &types);

  /// Reads an unsplit file from memory that must outlive the result; `label` stands for the path in errors.
  static Result<File> fromBytes(std::span<const std::byte> bytes, const std::string &label, const TypeTable &types);

  const std::string &path() const { return partList.front().path; }
  uint32_t version() const { return partList.front().version; }

  struct Part {
    std::string path;
    uint32_t version;
    std::span<const std::byte> bytes;
  };
  std::span<const Part> parts() const { return partList; }

  /// In the order of the file, parts in order.
  std::span<const Tensor> tensors() const { return tensorList; }
  /// Null if there is none of that name.
  const Tensor *tensor(std::string_view name) const;

  /// `bytes` bytes of a part: where they are mapped, or made in `room`, which is reused between calls of one thread.
  /// Fails where the part has no such bytes; of a tensor whose rows are made, only whole rows can be read.
  Result<std::span<const std::byte>> read(uint64_t part, uint64_t offset, uint64_t bytes,
                                          std::vector<std::byte> &room) const;
  /// The same of rows `first` to `first + count` of one of the file's tensors, which must have them.
  std::span<const std::byte> rows(const Tensor &tensor, uint64_t first, uint64_t count,
                                  std::vector<std::byte> &room) const;
  /// For who streams through the tensors: the memory of `data`, part of one, may go; it is read again when it is used.
  void release(std::span<const std::byte> data) const;

  /// What the model's own file calls that of which a tensor, or a part of the graph ("blk.0.attn"), was made: tensors
  /// and nodes. Empty for all that was read from GGUF; see Assembly::setOrigins.
  std::span<const std::string> origins(std::string_view name) const;
  /// A tensor's name for messages, as the user's file has it: "'lm_head.weight' (output.weight)".
  std::string described(std::string_view name) const;

  /// The first part's metadata, in the order of the file.
  struct Entry {
    std::string_view key;
    Value value;
  };
  std::span<const Entry> metadata() const { return entries; }
  /// Null if there is none of that name.
  const Value *value(std::string_view key) const;

  /// Of architecture llama: whether the rows of Q and K have the order of the original checkpoints, heads in halves.
  /// False for every file that was read; see Assembly.
  bool hasHeadsInHalves() const { return headsInHalves; }

  /// The value of `key` as T, nothing if absent, an error if it is of another kind or does not fit. T: an integer type
  /// (accepts every integer width), bool, float or double (also from integers), std::string_view, or a std::vector of
  /// one of these for arrays.
  template <typename T> Result<std::optional<T>> find(std::string_view key) const;
  /// The same, and an error if absent.
  template <typename T> Result<T> get(std::string_view key) const;

private:
  friend class Assembly;
  struct MadeRows {
    RowMaker make;
    uint64_t count = 0, bytes = 0; ///< of one row
  };
  template <typename T> static std::optional<T> element(const Value &value, uint64_t i);
  tl::unexpected<Error> wrongKind(std::string_view key, const Value &value, const std::string &wanted) const;
  tl::unexpected<Error> missing(std::string_view key) const;
  /// Reads one more part and appends its tensors; its metadata is returned for the caller to check or keep.
  Result<std::vector<Entry>> addPart(std::span<const std::byte> bytes, const std::string &path, const TypeTable &types);
  Status addSiblings(uint32_t count, const TypeTable &types);
  /// Refuses duplicate names and tensors that share bytes.
  Status indexTensors();
  void keepMetadata(std::vector<Entry> metadata);

  std::vector<MappedFile> mappings;
  std::deque<std::string> texts;             // of assembled files: what metadata and names point to,
  std::deque<std::vector<std::byte>> memory; // and parts that are no mapped file; their elements do not move
  std::unordered_map<uint64_t, MadeRows> made; // and, by part, tensors whose rows are made
  std::map<std::string, std::vector<std::string>, std::less<>> originMap;
  bool headsInHalves = false;
  std::vector<Part> partList;
  std::map<uint32_t, TypeInfo> usedTypes; // nodes do not move: Tensor::type points here
  std::vector<Tensor> tensorList;
  std::unordered_map<std::string_view, size_t> tensorIndex;
  std::vector<Entry> entries;
  std::unordered_map<std::string_view, size_t> entryIndex;
};

template <std::integral T> std::optional<T> Value::integer(uint64_t i) const {
  std::optional<WideInt> wide = wideInteger(i);
  if (!wide)
    return std::nullopt;
  if (wide->negative) {
    auto value = static_cast<int64_t>(wide->bits);
    return std::in_range<T>(value) ? std::optional<T>(static_cast<T>(value)) : std::nullopt;
  }
  return std::in_range<T>(wide->bits) ? std::optional<T>(static_cast<T>(wide->bits)) : std::nullopt;
}

namespace detail {
template <typename T> inline constexpr bool isVector = false;
template <typename T> inline constexpr bool isVector<std::vector<T>> = true;

template <typename T> std::string kindName() {
  if constexpr (std::same_as<T, bool>)
    return "a bool";
  else if constexpr (std::integral<T>)
    return std::string(std::is_signed_v<T> ? "a signed" : "an unsigned") + " integer of at most " +
           std::to_string(8 * sizeof(T)) + " bits";
  else if constexpr (std::floating_point<T>)
    return "a number";
  else
    return "a string";
}
} // namespace detail

template <typename T> std::optional<T> File::element(const Value &value, uint64_t i) {
  if constexpr (std::same_as<T, bool>)
    return value.type == ValueType::Bool ? std::optional<bool>(value.integer<int>(i) != 0) : std::nullopt;
  else if constexpr (std::integral<T>)
    return value.type == ValueType::Bool ? std::nullopt : value.integer<T>(i);
  else if constexpr (std::floating_point<T>)
    return value.real(i);
  else
    return value.type == ValueType::String ? std::optional<T>(value.strings[i]) : std::nullopt;
}

template <typename T> Result<std::optional<T>> File::find(std::string_view key) const {
  const Value *found = value(key);
  if (!found)
    return std::optional<T>();
  if constexpr (detail::isVector<T>) {
    using Element = typename T::value_type;
    if (!found->isArray)
      return wrongKind(key, *found, "an array");
    T all;
    all.reserve(found->count);
    for (uint64_t i = 0; i < found->count; ++i) {
      std::optional<Element> one = element<Element>(*found, i);
      if (!one)
        return wrongKind(key, *found, "an array, each element " + detail::kindName<Element>());
      all.push_back(*one);
    }
    return std::optional<T>(std::move(all));
  } else {
    std::optional<T> one = found->isArray ? std::nullopt : element<T>(*found, 0);
    if (!one)
      return wrongKind(key, *found, detail::kindName<T>());
    return one;
  }
}

template <typename T> Result<T> File::get(std::string_view key) const {
  QUERN_ASSIGN(std::optional<T> found, find<T>(key));
  if (!found)
    return missing(key);
  return *std::move(found);
}

} // namespace quern::gguf

#endif // QUERN_IMPORT_GGUF_H
