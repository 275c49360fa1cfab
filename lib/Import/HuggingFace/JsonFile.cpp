#include "JsonFile.h"

#include "quern/Support/Json.h"
#include "quern/Support/MappedFile.h"

#include <cmath>
#include <filesystem>

using namespace quern;
using namespace quern::import;
using nlohmann::json;

static constexpr size_t kMaxText = size_t(256) << 20;

Result<std::string> import::readText(const std::string &path) {
  QUERN_ASSIGN(MappedFile mapping, MappedFile::open(path));
  std::span<const std::byte> bytes = mapping.bytes();
  if (bytes.size() > kMaxText)
    return fail(path + ": has " + std::to_string(bytes.size()) + " bytes, more than the " + std::to_string(kMaxText) +
                " that are read");
  return std::string(reinterpret_cast<const char *>(bytes.data()), bytes.size());
}

Result<JsonObject> JsonObject::read(const std::string &path) {
  QUERN_ASSIGN(std::string text, readText(path));
  json value = parseJson(text);
  if (!value.is_object())
    return fail(path + ": is no JSON object" +
                (value.is_discarded() ? ", or one that is damaged or nests more than " + std::to_string(kMaxJsonDepth) +
                                            " lists and objects"
                                      : ""));
  return JsonObject(path, std::move(value));
}

Result<JsonObject> JsonObject::readIfThere(const std::string &path) {
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored))
    return JsonObject(path, json::object());
  return read(path);
}

const json *JsonObject::value(const std::string &key) const {
  auto found = object.find(key);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

Result<JsonObject> JsonObject::child(const std::string &key) const {
  const json *found = value(key);
  if (found && !found->is_object())
    return error("'" + key + "' must be an object");
  return JsonObject(label + ": in '" + key + "'", found ? *found : json::object());
}

template <> Result<std::optional<int64_t>> JsonObject::find(const std::string &key) const {
  const json *found = value(key);
  if (!found)
    return std::optional<int64_t>();
  if (!found->is_number_integer() || (found->is_number_unsigned() && found->get<uint64_t>() > INT64_MAX))
    return error("'" + key + "' must be an integer");
  return std::optional(found->get<int64_t>());
}

template <> Result<std::optional<double>> JsonObject::find(const std::string &key) const {
  const json *found = value(key);
  if (!found)
    return std::optional<double>();
  if (!found->is_number() || !std::isfinite(found->get<double>()))
    return error("'" + key + "' must be a number");
  return std::optional(found->get<double>());
}

template <> Result<std::optional<bool>> JsonObject::find(const std::string &key) const {
  const json *found = value(key);
  if (!found)
    return std::optional<bool>();
  if (!found->is_boolean())
    return error("'" + key + "' must be true or false");
  return std::optional(found->get<bool>());
}

template <> Result<std::optional<std::string>> JsonObject::find(const std::string &key) const {
  const json *found = value(key);
  if (!found)
    return std::optional<std::string>();
  if (!found->is_string())
    return error("'" + key + "' must be a string");
  return std::optional(found->get<std::string>());
}
