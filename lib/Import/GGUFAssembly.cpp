#include "quern/Import/GGUFAssembly.h"
#include "quern/Support/Quoted.h"

using namespace quern;
using namespace quern::gguf;

static constexpr uint32_t kVersion = 3; // whose terms these are

static std::string_view text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char *>(bytes.data()), bytes.size()};
}

/// Bytes of its own, in a place that stays when the file moves.
std::span<const std::byte> Assembly::keep(std::string bytes) {
  const std::string &kept = file.texts.emplace_back(std::move(bytes));
  return std::as_bytes(std::span(kept));
}

Assembly::Assembly(const std::string &label) { file.partList.push_back({label, kVersion, {}}); }

Value &Assembly::addEntry(const std::string &key) {
  return entries.emplace_back(File::Entry{text(keep(key)), {}}).value;
}

template <typename T> void Assembly::addScalar(const std::string &key, ValueType type, T value) {
  Value &entry = addEntry(key);
  entry.type = type;
  entry.bytes = keep(std::string(reinterpret_cast<const char *>(&value), sizeof value));
}
template void Assembly::addScalar(const std::string &, ValueType, uint32_t);
template void Assembly::addScalar(const std::string &, ValueType, int32_t);
template void Assembly::addScalar(const std::string &, ValueType, float);
template void Assembly::addScalar(const std::string &, ValueType, uint8_t);

void Assembly::add(const std::string &key, std::string value) {
  Value &entry = addEntry(key);
  entry.type = ValueType::String;
  entry.strings = {text(keep(std::move(value)))};
}

void Assembly::add(const std::string &key, std::vector<std::string> texts) {
  Value &entry = addEntry(key);
  entry.type = ValueType::String;
  entry.isArray = true;
  entry.count = texts.size();
  for (std::string &one : texts)
    entry.strings.push_back(text(keep(std::move(one))));
}

void Assembly::add(const std::string &key, std::span<const int32_t> values) {
  Value &entry = addEntry(key);
  entry.type = ValueType::I32;
  entry.isArray = true;
  entry.count = values.size();
  entry.bytes = keep(std::string(reinterpret_cast<const char *>(values.data()), values.size_bytes()));
}

uint32_t Assembly::addPart(const std::string &path, MappedFile mapping) {
  file.partList.push_back({path, kVersion, mapping.bytes()});
  file.mappings.push_back(std::move(mapping));
  return static_cast<uint32_t>(file.partList.size() - 1);
}

uint32_t Assembly::addPart(const std::string &path, std::vector<std::byte> memory) {
  file.partList.push_back({path, kVersion, file.memory.emplace_back(std::move(memory))});
  return static_cast<uint32_t>(file.partList.size() - 1);
}

void Assembly::addTensor(std::string name, uint32_t typeId, std::vector<uint64_t> dims, uint32_t part,
                         std::span<const std::byte> data) {
  uint64_t elements = 1;
  for (uint64_t dim : dims)
    elements *= dim;
  auto offset = static_cast<uint64_t>(data.data() - file.partList[part].bytes.data());
  file.tensorList.push_back({text(keep(std::move(name))), typeId, nullptr, std::move(dims), elements, data, part,
                             offset});
}

void Assembly::addTensor(std::string name, uint32_t typeId, std::vector<uint64_t> dims, const std::string &path,
                         RowMaker make) {
  uint32_t part = addPart(path, std::vector<std::byte>());
  file.made[part].make = std::move(make);
  addTensor(std::move(name), typeId, std::move(dims), part, file.partList[part].bytes);
}

Result<File> Assembly::finish(const TypeTable &types) && {
  for (Tensor &tensor : file.tensorList) {
    const TypeInfo *type = types.find(tensor.typeId);
    if (!type)
      return fail(file.path() + ": tensor type " + std::to_string(tensor.typeId) + " is not known");
    tensor.type = &file.usedTypes.try_emplace(tensor.typeId, *type).first->second;
    if (tensor.dims[0] % type->block != 0)
      return fail(file.path() + ": tensor " + inQuotes(tensor.name) + " has rows of " + std::to_string(tensor.dims[0]) +
                  " elements, which blocks of " + type->name + " do not divide");
    if (auto found = file.made.find(tensor.part); found != file.made.end()) {
      found->second.count = tensor.rows();
      found->second.bytes = tensor.rowBytes();
    } else if (tensor.data.size() != tensor.bytes()) {
      return fail(file.path() + ": tensor " + inQuotes(tensor.name) + " has " + std::to_string(tensor.data.size()) +
                  " bytes of data, but its shape and type take " + std::to_string(tensor.bytes()));
    }
  }
  file.keepMetadata(std::move(entries));
  QUERN_TRY(file.indexTensors());
  return std::move(file);
}
