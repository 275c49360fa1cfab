// Tells of a model that lies in files of another kind in GGUF's terms: metadata made on the spot, tensors as spans of
// those files, or made from them row by row. What comes out is a gguf::File like one that was read, so that everything
// behind it has one way in.
#ifndef QUERN_IMPORT_GGUFASSEMBLY_H
#define QUERN_IMPORT_GGUFASSEMBLY_H

#include "quern/Import/GGUF.h"

namespace quern::gguf {

class Assembly {
public:
  /// `label` stands for the path in errors.
  explicit Assembly(const std::string &label);

  /// Metadata, in the order of the file; a key must be given once.
  void add(const std::string &key, std::string text);
  void add(const std::string &key, const char *text) { add(key, std::string(text)); }
  void add(const std::string &key, uint32_t value) { addScalar(key, ValueType::U32, value); }
  void add(const std::string &key, int32_t value) { addScalar(key, ValueType::I32, value); }
  void add(const std::string &key, float value) { addScalar(key, ValueType::F32, value); }
  void add(const std::string &key, bool value) { addScalar(key, ValueType::Bool, static_cast<uint8_t>(value)); }
  void add(const std::string &key, std::vector<std::string> texts);
  void add(const std::string &key, std::span<const int32_t> values);

  /// A part of the model; returns its number. The mapping, or the memory, lives as long as the file.
  uint32_t addPart(const std::string &path, MappedFile mapping);
  uint32_t addPart(const std::string &path, std::vector<std::byte> memory);

  std::span<const std::byte> part(uint32_t number) const { return file.partList[number].bytes; }

  /// A tensor whose `data` lie in a part that was added.
  void addTensor(std::string name, uint32_t typeId, std::vector<uint64_t> dims, uint32_t part,
                 std::span<const std::byte> data);
  /// A tensor whose rows are made each time they are read, and never all at once; `path` is where from, for errors.
  /// What `make` refers to must live as long as the file.
  void addTensor(std::string name, uint32_t typeId, std::vector<uint64_t> dims, const std::string &path, RowMaker make);

  /// Says what the model's own file calls that of which tensor or part `name` was made; see File::origins.
  void setOrigins(const std::string &name, std::vector<std::string> origins) {
    file.originMap[name] = std::move(origins);
  }

  /// Of architecture llama: Q and K have the order of rows of the original checkpoints, heads in halves, where GGUF
  /// files have them in pairs.
  void setHeadsInHalves() { file.headsInHalves = true; }

  /// Fails on a name that is there twice.
  Result<File> finish(const TypeTable &types) &&;

private:
  template <typename T> void addScalar(const std::string &key, ValueType type, T value);
  Value &addEntry(const std::string &key);
  std::span<const std::byte> keep(std::string bytes);

  File file;
  std::vector<File::Entry> entries;
};

} // namespace quern::gguf

#endif // QUERN_IMPORT_GGUFASSEMBLY_H
