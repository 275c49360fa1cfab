// Builds GGUF files in memory, right or wrong at will.
#ifndef QUERN_TEST_UNIT_IMPORT_TESTGGUF_H
#define QUERN_TEST_UNIT_IMPORT_TESTGGUF_H

#include "quern/Import/GGUF.h"

#include <cstring>

namespace quern::gguf::test {

/// Growing packed little-endian bytes.
struct Bytes {
  std::vector<std::byte> data;

  template <typename T> Bytes &put(T value) {
    const auto *from = reinterpret_cast<const std::byte *>(&value);
    data.insert(data.end(), from, from + sizeof(T));
    return *this;
  }
  Bytes &text(std::string_view value) {
    put<uint64_t>(value.size());
    return raw(value);
  }
  Bytes &raw(std::string_view value) {
    const auto *from = reinterpret_cast<const std::byte *>(value.data());
    data.insert(data.end(), from, from + value.size());
    return *this;
  }
};

/// A file in the making. The counts follow what was added unless they are set.
struct Builder {
  uint32_t version = 3;
  uint64_t alignment = 32; ///< of the data section; add general.alignment too if it is not 32
  std::optional<uint64_t> tensorCount, keyCount;
  uint64_t tensors = 0, keys = 0;
  Bytes keyBytes, infoBytes, dataBytes;

  Bytes &key(std::string_view name, ValueType type) {
    ++keys;
    return keyBytes.text(name).put(type);
  }
  Builder &u32(std::string_view name, uint32_t value) {
    key(name, ValueType::U32).put(value);
    return *this;
  }
  Builder &string(std::string_view name, std::string_view value) {
    key(name, ValueType::String).text(value);
    return *this;
  }
  Bytes &array(std::string_view name, ValueType element, uint64_t count) {
    return key(name, ValueType::Array).put(element).put(count);
  }
  /// Only the description, at a given offset.
  Builder &info(std::string_view name, uint32_t type, std::initializer_list<uint64_t> dims, uint64_t offset) {
    ++tensors;
    infoBytes.text(name).put<uint32_t>(dims.size());
    for (uint64_t dim : dims)
      infoBytes.put(dim);
    infoBytes.put(type).put(offset);
    return *this;
  }
  /// The description and `bytes` bytes of data (numbered from 0) after those before it.
  Builder &tensor(std::string_view name, uint32_t type, std::initializer_list<uint64_t> dims, uint64_t bytes) {
    dataBytes.data.resize((dataBytes.data.size() + alignment - 1) / alignment * alignment);
    info(name, type, dims, dataBytes.data.size());
    for (uint64_t i = 0; i < bytes; ++i)
      dataBytes.put(static_cast<uint8_t>(i));
    return *this;
  }
  std::vector<std::byte> build() const {
    Bytes out;
    out.raw("GGUF").put(version).put(tensorCount.value_or(tensors)).put(keyCount.value_or(keys));
    out.data.insert(out.data.end(), keyBytes.data.begin(), keyBytes.data.end());
    out.data.insert(out.data.end(), infoBytes.data.begin(), infoBytes.data.end());
    out.data.resize((out.data.size() + alignment - 1) / alignment * alignment);
    out.data.insert(out.data.end(), dataBytes.data.begin(), dataBytes.data.end());
    return out.data;
  }
};

} // namespace quern::gguf::test

#endif // QUERN_TEST_UNIT_IMPORT_TESTGGUF_H
