// Takes values out of JSON that is not to be trusted, for the readers of manifests and programs.
#ifndef QUERN_LIB_RUNTIME_JSONFIELDS_H
#define QUERN_LIB_RUNTIME_JSONFIELDS_H

#include "quern/Support/Json.h"

#include <cstdint>
#include <string>
#include <vector>

namespace quern {

constexpr int64_t kMaxBytes = int64_t(1) << 44; // 16 TiB: beyond any machine, and products of two stay checkable
constexpr int64_t kMaxCount = int64_t(1) << 31;

/// Takes values out of JSON objects and remembers the first thing that was wrong.
class JsonFields {
public:
  using json = nlohmann::json;

  /// `source` is for messages: the file, and the section of it.
  explicit JsonFields(std::string source) : source(std::move(source)) {}

  void complain(const std::string &what) {
    if (error.empty())
      error = source + ": " + what;
  }
  /// The member `key` of a type, or null.
  const json *get(const json &object, const char *key, json::value_t type, const char *typeName) {
    auto it = object.is_object() ? object.find(key) : object.end();
    if (!object.is_object() || it == object.end() || it->type() != type) {
      complain(std::string("'") + key + "' should be " + typeName);
      return nullptr;
    }
    return &*it;
  }
  const json *object(const json &parent, const char *key) {
    return get(parent, key, json::value_t::object, "an object");
  }
  const json *array(const json &parent, const char *key) { return get(parent, key, json::value_t::array, "a list"); }
  std::string text(const json &parent, const char *key) {
    const json *value = get(parent, key, json::value_t::string, "a string");
    return value ? value->get<std::string>() : std::string();
  }
  bool flag(const json &parent, const char *key) {
    const json *value = get(parent, key, json::value_t::boolean, "true or false");
    return value && value->get<bool>();
  }
  /// A number from `low` to `high`; `low` where it is none.
  int64_t whole(const json &value, const std::string &key, int64_t low, int64_t high) {
    bool fits = value.is_number_integer() &&
                !(value.is_number_unsigned() && value.get<uint64_t>() > uint64_t(INT64_MAX)) &&
                value.get<int64_t>() >= low && value.get<int64_t>() <= high;
    if (!fits)
      complain("'" + key + "' should be a whole number from " + std::to_string(low) + " to " + std::to_string(high));
    return fits ? value.get<int64_t>() : low;
  }
  int64_t number(const json &parent, const char *key, int64_t low, int64_t high) {
    auto it = parent.is_object() ? parent.find(key) : parent.end();
    if (!parent.is_object() || it == parent.end()) {
      complain(std::string("'") + key + "' is missing");
      return low;
    }
    return whole(*it, key, low, high);
  }
  std::vector<std::string> texts(const json &parent, const char *key) {
    std::vector<std::string> out;
    if (const json *list = array(parent, key))
      for (const json &item : *list) {
        if (!item.is_string())
          complain(std::string("'") + key + "' should hold strings");
        else
          out.push_back(item.get<std::string>());
      }
    return out;
  }

  std::string source;
  std::string error;
};

} // namespace quern

#endif // QUERN_LIB_RUNTIME_JSONFIELDS_H
