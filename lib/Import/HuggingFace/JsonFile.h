// A JSON file whose outermost value is an object, with errors that name the file and the key.
#ifndef QUERN_LIB_IMPORT_HUGGINGFACE_JSONFILE_H
#define QUERN_LIB_IMPORT_HUGGINGFACE_JSONFILE_H

#include "quern/Support/Result.h"

#include <nlohmann/json.hpp>

#include <optional>
#include <string>

namespace quern::import {

/// The whole file as text; at most 256 MiB.
Result<std::string> readText(const std::string &path);

/// An object, and how errors call it ("folder/config.json").
class JsonObject {
public:
  JsonObject(std::string label, nlohmann::json object) : label(std::move(label)), object(std::move(object)) {}

  static Result<JsonObject> read(const std::string &path);
  /// The same, or an empty object if there is no such file.
  static Result<JsonObject> readIfThere(const std::string &path);

  /// The key's value, nothing if it is absent or null, an error if it is of another kind. T: int64_t, double, bool,
  /// std::string.
  template <typename T> Result<std::optional<T>> find(const std::string &key) const;
  /// The object of that key; an empty one if it is absent or null.
  Result<JsonObject> child(const std::string &key) const;
  /// Null if absent.
  const nlohmann::json *value(const std::string &key) const;

  tl::unexpected<Error> error(const std::string &message) const { return fail(label + ": " + message); }
  const std::string &name() const { return label; }

private:
  std::string label;
  nlohmann::json object;
};

} // namespace quern::import

#endif // QUERN_LIB_IMPORT_HUGGINGFACE_JSONFILE_H
