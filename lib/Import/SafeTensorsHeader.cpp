// An event handler rather than a document: it sees keys that appear twice, and stops at the first thing that does not
// belong, so that a hostile header of many megabytes never becomes a tree.
#include "SafeTensorsHeader.h"

#include "quern/Support/Quoted.h"

#include <nlohmann/json.hpp>

#include <unordered_set>

using namespace quern;
using namespace quern::safetensors;

namespace {

class HeaderEvents {
public:
  std::vector<HeaderEntry> entries;
  std::string error;

  bool start_object(size_t) {
    if (depth == 0 && !whole)
      whole = true;
    else if (depth != 1)
      return refuse(where() + " holds an object where none belongs");
    ++depth;
    fields.clear();
    return true;
  }

  bool key(std::string &text) {
    if (depth == 1) {
      if (!names.insert(text).second)
        return refuse("the name " + inQuotes(text) + " appears twice");
      inMetadata = text == "__metadata__";
      name = text;
      if (!inMetadata)
        entries.push_back({text, {}, {}, {}});
      return true;
    }
    if (!fields.insert(text).second)
      return refuse(where() + " has the key " + inQuotes(text) + " twice");
    if (!inMetadata && text != "dtype" && text != "shape" && text != "data_offsets")
      return refuse(where() + " has the unknown key " + inQuotes(text));
    field = text;
    return true;
  }

  bool end_object() {
    if (depth-- == 1 || inMetadata)
      return true;
    for (const char *needed : {"dtype", "shape", "data_offsets"})
      if (!fields.contains(needed))
        return refuse(where() + " has no " + needed);
    if (entries.back().offsets.size() != 2)
      return refuse(where() + " needs two data_offsets");
    return true;
  }

  bool start_array(size_t) {
    if (depth != 2 || inMetadata || inArray || field == "dtype")
      return refuse(where() + " holds an array where none belongs");
    return inArray = true;
  }
  bool end_array() {
    inArray = false;
    return true;
  }

  bool string(std::string &text) {
    if (depth != 2 || inArray || !(inMetadata || field == "dtype"))
      return refuse(where() + " holds text where none belongs");
    if (!inMetadata)
      entries.back().dtype = text;
    return true;
  }

  bool number_unsigned(uint64_t value) {
    if (!inArray)
      return refuse(where() + " holds a number where none belongs");
    std::vector<uint64_t> &list = field == "shape" ? entries.back().shape : entries.back().offsets;
    if (list.size() == kMaxRank)
      return refuse(where() + " has more than " + std::to_string(kMaxRank) + " numbers in its " + field);
    list.push_back(value);
    return true;
  }

  bool number_integer(int64_t) { return refuse(where() + " holds a negative number"); }
  bool number_float(double, const std::string &) { return refuse(where() + " holds a number that is no integer"); }
  bool null() { return refuse(where() + " holds a null"); }
  bool boolean(bool) { return refuse(where() + " holds a truth value"); }
  bool binary(nlohmann::json::binary_t &) { return refuse(where() + " holds binary data"); }
  bool parse_error(size_t position, const std::string &, const nlohmann::json::exception &) {
    return refuse("it is no JSON at byte " + std::to_string(position));
  }

private:
  std::string where() const { return names.empty() ? "it" : "tensor " + inQuotes(name); }
  bool refuse(std::string why) {
    if (error.empty())
      error = std::move(why);
    return false;
  }

  int depth = 0; ///< 1: among the tensors, 2: inside one
  bool whole = false, inMetadata = false, inArray = false;
  std::string name, field;
  std::unordered_set<std::string> names, fields;
};

} // namespace

Result<std::vector<HeaderEntry>> safetensors::parseHeader(std::string_view text) {
  HeaderEvents events;
  bool good = nlohmann::json::sax_parse(text, &events);
  if (!good || !events.error.empty())
    return fail(events.error.empty() ? "it is no JSON" : events.error);
  return std::move(events.entries);
}
